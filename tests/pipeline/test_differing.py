"""How far two results are apart: in each kind of file, and never by running what is in it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.pipeline.differing import difference

np = pytest.importorskip("numpy", reason="NOT TESTED: differences of arrays (needs numpy)")


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def safetensors(**arrays: Any) -> bytes:
    head, body = {}, b""
    names = {"float32": "F32", "float64": "F64", "int64": "I64", "uint16": "BF16"}
    for name, array in arrays.items():
        data = array.tobytes()
        offsets = [len(body), len(body) + len(data)]
        dtype = names[str(array.dtype)]
        head[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps({"__metadata__": {"a": "b"}, **head}).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_metrics_are_compared_key_by_key() -> None:
    found = difference(b'{"a": 1, "b": {"c": 2.5}, "d": "x"}', b"a: 1\nb: {c: 2}\ne: 1\n", "m.yaml")
    assert (found.largest, found.where, found.changed, found.total) == (0.5, "b.c", 3, 4)
    assert difference(b'{"a": [1, 2]}', b'{"a": [1, 4]}', "m.json").where == "a[1]"


def test_tables_are_compared_cell_by_cell() -> None:
    old, new = b"step,loss\n0,1.0\n1,0.5\n", b"step,loss\n0,1.0\n1,0.25\n"
    found = difference(old, new, "loss.csv")
    assert (found.largest, found.changed, found.total) == (0.25, 1, 6)
    assert found.where == "row 2, loss (2)"
    assert difference(b"a\tb\n1\tx\n", b"a\tb\n1\ty\n", "t.tsv").changed == 1
    assert difference(b'{"a": 1}\n{"a": 2}\n', b'{"a": 1}\n{"a": 5}\n', "t.jsonl").largest == 3


def test_arrays_are_compared_number_by_number() -> None:
    old = np.arange(12, dtype=np.float32).reshape(3, 4)
    new = old.copy()
    new[1, 2] += 0.5
    new[0, 0] = np.nan
    found = difference(npy(old), npy(new), "w.npy")
    assert (found.largest, found.changed, found.total) == (0.5, 2, 12)
    both = difference(npy(new), npy(new.copy()), "w.npy")
    assert both.changed == 0
    assert "shape (3, 4) became (4, 3)" in difference(npy(old), npy(old.T), "w.npy").text
    streams = io.BytesIO(), io.BytesIO()
    np.savez(streams[0], a=old, b=old)
    np.savez_compressed(streams[1], a=old, b=old + 2)
    found = difference(streams[0].getvalue(), streams[1].getvalue(), "w.npz")
    assert (found.largest, found.where, found.changed) == (2.0, "b", 12)


def test_safetensors_are_compared_tensor_by_tensor() -> None:
    one, two = np.ones((2, 2), dtype=np.float32), np.ones(3, dtype=np.int64)
    found = difference(safetensors(a=one, b=two), safetensors(a=one * 3, b=two), "m.safetensors")
    assert (found.largest, found.where, found.changed, found.total) == (2.0, "a", 4, 7)
    half = np.array([0x3F80, 0x4000], dtype=np.uint16)  # 1.0 and 2.0 as bfloat16
    other = np.array([0x3F80, 0x4040], dtype=np.uint16)  # 3.0
    assert difference(safetensors(a=half), safetensors(a=other), "m.safetensors").largest == 1.0
    assert (
        "other arrays: b"
        in difference(safetensors(a=one, b=two), safetensors(a=one), "m.safetensors").text
    )


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (str(self.path), "w")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    evil = npy(np.array([_Evil(tmp_path / "made")], dtype=object))
    assert "cannot be compared" in difference(evil, evil + b"x", "w.npy").text
    assert difference(pickle.dumps(1), pickle.dumps(2), "m.pkl").text == ""
    assert not (tmp_path / "made").exists()


def test_bombs_are_refused() -> None:
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(600):
            member.write(bytes(1 << 20))
    found = difference(stream.getvalue(), npy(np.zeros(1)), "w.npz")
    assert "more than can be compared" in found.text


def test_what_its_reader_cannot_read_is_told_apart() -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.arange(1000))
    whole = stream.getvalue()
    damaged = bytearray(whole)
    damaged[60:200] = bytes(one ^ 0x55 for one in damaged[60:200])
    locked = bytearray(whole)
    locked[whole.find(b"PK\x01\x02") + 8] |= 1
    locked[whole.find(b"PK\x03\x04") + 6] |= 1
    head = (
        b"{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999,), }".ljust(117) + b"\n"
    )
    huge = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head
    no_names = (3).to_bytes(8, "little") + b"[1]"
    for old, new, name in (
        (whole, bytes(damaged), "w.npz"),
        (whole, bytes(locked), "w.npz"),
        (npy(np.zeros(1)), huge, "w.npy"),
        (safetensors(), no_names, "w.safetensors"),
    ):
        assert "cannot be compared" in difference(old, new, name).text
        assert "cannot be compared" in difference(new, old, name).text


@given(
    st.sampled_from(
        ["m.json", "m.yaml", "t.csv", "t.tsv", "t.jsonl", "w.npy", "w.npz", "m.safetensors", "x"]
    ),
    st.binary(max_size=200),
    st.binary(max_size=200),
)
def test_any_bytes_are_compared_or_told_apart(name: str, old: bytes, new: bytes) -> None:
    difference(old, new, name)
