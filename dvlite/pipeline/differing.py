"""How far two versions of a result are apart, in numbers where it holds numbers.

Owns what is understood: files of metrics (JSON, YAML, TOML), tables (CSV, TSV), JSON lines, and
arrays (NumPy's `.npy` and `.npz`, safetensors). Everything else is only told apart. Inputs are
hostile: nothing is unpickled, sizes are bounded before anything is unpacked.
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.pipeline.params import flatten, read_params

# What is compared number by number; more is only told apart.
MAX_BYTES = 512 << 20
_VALUES = (".json", ".yaml", ".yml", ".toml")
_TABLES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs. `largest`: the largest absolute difference of two numbers, at `where`;
    `changed` of `total` values differ. `text`: what cannot be said in numbers."""

    text: str = ""
    largest: float | None = None
    where: str = ""
    changed: int = 0
    total: int = 0


def difference(old: bytes, new: bytes, name: str) -> Difference:
    """How two files differ that are not the same; `name` tells what they hold."""
    suffix = "." + name.rpartition(".")[2].lower()
    if max(len(old), len(new)) > MAX_BYTES:
        return Difference("too large to be compared by their values")
    try:
        if suffix in _VALUES:
            return _pairs(dict(_values(old, name)), dict(_values(new, name)))
        if suffix == ".jsonl":
            return _pairs(dict(_lines(old)), dict(_lines(new)))
        if suffix in _TABLES:
            return _pairs(dict(_cells(old, suffix)), dict(_cells(new, suffix)))
        arrays = {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors}.get(suffix)
        return _arrays(arrays, old, new) if arrays is not None else Difference()
    except Exception as error:  # of many readers, none of which says what it may raise
        return Difference(f"cannot be compared by their values: {error}")


# -- values ----------------------------------------------------------------------------------------


def _values(data: bytes, name: str) -> Iterator[tuple[str, Any]]:
    for key, value in flatten(read_params(data, name)):
        if isinstance(value, list):
            yield from ((f"{key}[{number}]", item) for number, item in enumerate(value))
        else:
            yield key, value


def _lines(data: bytes) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
        if line.strip():
            for key, value in flatten(json.loads(line)):
                yield f"line {number}, {key}" if key else f"line {number}", value


def _cells(data: bytes, suffix: str) -> Iterator[tuple[str, Any]]:
    rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=_TABLES[suffix])
    header: list[str] = []
    for number, row in enumerate(rows):
        if not number:
            header = row
        for at, cell in enumerate(row):
            column = header[at] if number and at < len(header) else str(at + 1)
            yield f"row {number}, {column} ({at + 1})", _number(cell)


def _number(cell: str) -> Any:
    try:
        return float(cell)
    except ValueError:
        return cell


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Difference:
    changed, largest, where = 0, None, ""
    for key, value in new.items():
        before = old.get(key)
        if key not in old or before is None or _same(before, value):
            changed += key not in old or (before is not value and not _same(before, value))
            continue
        changed += 1
        if _is_number(before) and _is_number(value):
            apart = abs(float(value) - float(before))
            if math.isnan(apart):
                apart = math.inf
            if largest is None or apart > largest:
                largest, where = apart, key
    gone = len(old.keys() - new.keys())
    total = len(old.keys() | new.keys())
    return Difference("", largest, where, changed + gone, total)


def _same(old: Any, new: Any) -> bool:
    both_nan = old != old and new != new
    return bool(old == new) or bool(both_nan)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -- arrays ----------------------------------------------------------------------------------------

Arrays = dict[str, Any]


def _arrays(read: Callable[[bytes], Arrays], old: bytes, new: bytes) -> Difference:
    try:
        import numpy as np
    except ImportError:
        return Difference("their numbers are compared where NumPy is installed")
    before, after = read(old), read(new)
    if before.keys() != after.keys():
        names = sorted(before.keys() ^ after.keys())
        return Difference(f"other arrays: {', '.join(names[:5])}")
    largest, where, changed, total = None, "", 0, 0
    for name, one in after.items():
        other = before[name]
        if one.shape != other.shape:
            return Difference(f"{name or 'the array'}: shape {other.shape} became {one.shape}")
        differs = (one != other) & ~((one != one) & (other != other))
        changed, total = changed + int(differs.sum()), total + int(one.size)
        if differs.any() and np.issubdtype(one.dtype, np.number):
            wide = np.complex128 if np.iscomplexobj(one) else np.float64
            with np.errstate(all="ignore"):
                apart = np.abs(one[differs].astype(wide) - other[differs].astype(wide))
            most = float(np.nanmax(apart)) if not np.isnan(apart).all() else math.inf
            if largest is None or most > largest:
                largest, where = most, name
    return Difference("", largest, where, changed, total)


def _npy(data: bytes) -> Arrays:
    import numpy as np

    return {"": np.load(io.BytesIO(data), allow_pickle=False)}


def _npz(data: bytes) -> Arrays:
    import numpy as np

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > MAX_BYTES:
            raise ValueError("it holds more than can be compared")
        return {
            info.filename.removesuffix(".npy"): np.load(
                io.BytesIO(archive.read(info)), allow_pickle=False
            )
            for info in infos
        }


_DTYPES = {
    **{"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2"},
    **{"I8": "i1", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "BOOL": "?"},
}


def _safetensors(data: bytes) -> Arrays:
    import numpy as np

    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise ValueError("it is cut short")
    found: Arrays = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = about["data_offsets"]
        body = data[8 + length + begin : 8 + length + end]
        if about["dtype"] == "BF16":  # the upper half of a float32
            halves = np.frombuffer(body, "<u2").astype("<u4") << 16
            found[name] = halves.view("<f4").reshape(about["shape"])
        else:
            found[name] = np.frombuffer(body, _DTYPES[about["dtype"]]).reshape(about["shape"])
    return found
