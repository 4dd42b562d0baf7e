"""Pointers: golden bytes, strict reading, and which paths can have one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import ConflictError, CorruptError, DvliteError, FormatVersionError, PathError
from dvlite.workspace.pointer import Pointer, check_trackable, covering, fold, parse, render

OID = bytes(range(32))
GOLDEN = (
    b"dvlite: 1\nkind: tree\n"
    b"oid: blake3:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
    b"size: 1234567\nfiles: 10000\n"
)
TREE = Pointer("tree", OID, 1234567, 10000)


def test_the_bytes_of_a_pointer_never_change() -> None:
    assert render(TREE) == GOLDEN
    executable = GOLDEN.replace(b"tree", b"file").replace(b"10000", b"1") + b"executable: yes\n"
    assert render(Pointer("file", OID, 1234567, executable=True)) == executable


def test_unknown_keys_stay_in_their_order() -> None:
    data = GOLDEN + b"zeta: 1\nalpha: two words: and a colon\n"
    assert render(parse(data, "x.dvl")) == data


def test_line_ends_of_windows_are_read() -> None:
    assert parse(GOLDEN.replace(b"\n", b"\r\n"), "x.dvl") == TREE


def test_a_newer_version_is_refused_with_the_way_out() -> None:
    with pytest.raises(FormatVersionError, match="format version 2") as caught:
        parse(GOLDEN.replace(b"dvlite: 1", b"dvlite: 2"), "x.dvl")
    assert "upgrade" in (caught.value.hint or "")


def test_conflict_markers_are_a_conflict_and_not_damage() -> None:
    data = b"<<<<<<< HEAD\n" + GOLDEN + b"=======\n" + GOLDEN + b">>>>>>> theirs\n"
    with pytest.raises(ConflictError):
        parse(data, "x.dvl")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOLDEN[:-1],
        GOLDEN + b"size: 1\n",
        GOLDEN.replace(b"tree", b"folder"),
        GOLDEN.replace(b"1234567", b"-1"),
        GOLDEN.replace(b"1234567", b"01"),
        GOLDEN.replace(b"1234567", b"9" * 20),
        GOLDEN.replace(b"0001", b"0O01"),
        GOLDEN.replace(b"size: ", b"size:"),
        GOLDEN + b"executable: yes\n",
        GOLDEN.replace(b"tree", b"file"),
        GOLDEN + b"\xff: 1\n",
        GOLDEN + b"x: " + b"y" * (64 << 10) + b"\n",
    ],
)
def test_what_render_would_not_write_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        parse(data, "x.dvl")


@given(st.integers(0, len(GOLDEN) - 1), st.integers(1, 255))
def test_a_damaged_byte_is_refused_or_means_what_it_says(at: int, flip: int) -> None:
    data = bytearray(GOLDEN)
    data[at] ^= flip
    try:
        read = parse(bytes(data), "x.dvl")
    except DvliteError:
        return
    assert parse(render(read), "x.dvl") == read


@given(st.data())
def test_lines_changed_at_will_are_refused_or_mean_what_they_say(data: st.DataObject) -> None:
    lines = GOLDEN.splitlines(keepends=True)
    odd = st.one_of(
        st.sampled_from([*lines, b"executable: yes\n", b"kind: file\n", b"files: 1\n", b"\r\n"]),
        st.binary(max_size=12),
        st.text(max_size=8).map(lambda text: f"key: {text}\n".encode()),
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines)))
        lines[at : at + data.draw(st.integers(0, 1))] = [data.draw(odd)]
    try:
        read = parse(b"".join(lines), "x.dvl")
    except DvliteError:
        return
    assert parse(render(read), "x.dvl") == read
    assert render(parse(render(read), "x.dvl")) == render(read)


@pytest.mark.parametrize(
    "path", ["x.dvl", "a/.git/x", ".GIT", "sub/git~1", ".dvlite/x", "n" * 252, "a/..", "."]
)
def test_some_paths_cannot_have_a_pointer(path: str) -> None:
    with pytest.raises(PathError):
        check_trackable(path)


def test_a_path_inside_a_tracked_folder_is_covered_by_it() -> None:
    file = Pointer("file", OID, 1)
    pointers = {"a/b": TREE, "c": file}
    assert covering(pointers, "a/b/x/y") == ("a/b", "x/y")
    assert covering(pointers, "c") == ("c", "")
    assert covering(pointers, "c/x") is None
    assert covering(pointers, "a") is None


def test_names_that_some_systems_take_for_one_fold_alike() -> None:
    assert fold("Straße") == fold("STRASSE")
    assert fold("e\u0301") == fold("é")
    assert fold("a") != fold("b")
