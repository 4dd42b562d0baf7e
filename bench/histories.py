"""Data with a history: one file, and how each version is made of the one before, in place.

Owns what changes between versions; every change follows from the version's number alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from bench.workloads import PERTURBATION, TABLE_LINE, fill, write_table

TABLE_NAME, MODEL_NAME = "table.csv", "model.safetensors"
HISTORY_TABLE_BYTES, MODEL_BYTES = 500_000_000, 200_000_000
APPENDED, CORRECTED_CELLS = 0.002, 100

# Sizes of layers differ; every second tensor is half as wide a type. Normal values of the spread
# that trained weights have.
TENSORS, TENSOR_SIGMA, SPREAD = 200, 0.5, 0.02
RENEWED_TENSORS = 0.05
HALF, FULL = "BF16", "F32"
WIDTHS = {HALF: 2, FULL: 4}
Floats = NDArray[np.float32]


def versions(folder: Path, scale: float) -> None:
    """`table.csv`: 500 MB, the first version."""
    folder.mkdir(parents=True)
    rows = int(HISTORY_TABLE_BYTES * scale) // len(TABLE_LINE)
    write_table(folder / TABLE_NAME, rows, np.random.default_rng(6))


def next_table(path: Path, number: int) -> None:
    """Append 0.2 % of rows and correct 100 cells anywhere."""
    rng = np.random.default_rng([6, number])
    width = len(TABLE_LINE)
    rows = path.stat().st_size // width
    with path.open("r+b") as file:
        for row in rng.choice(rows, CORRECTED_CELLS, replace=False).tolist():
            file.seek(row * width)
            file.write(b"%09d" % rng.integers(10**8, 10**9))
        file.seek(rows * width)
        file.write(fill(TABLE_LINE, int(rows * APPENDED), rng).tobytes())


def checkpoints(folder: Path, scale: float) -> None:
    """`model.safetensors`: 200 MB in 200 tensors, bfloat16 and float32, the first checkpoint."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    kinds = [FULL] * (TENSORS // 2) + [HALF] * (TENSORS - TENSORS // 2)
    parts = rng.lognormal(0, TENSOR_SIGMA, TENSORS)
    width = np.array([WIDTHS[kind] for kind in kinds])
    counts = parts / (parts * width).sum() * MODEL_BYTES * scale
    with (folder / MODEL_NAME).open("wb") as file:
        file.write(header_of(kinds, [int(count) for count in counts]))
        for kind, count in zip(kinds, counts, strict=True):
            file.write(encoded(kind, normal(rng, int(count))))


def next_checkpoint(path: Path, number: int) -> None:
    """Renew 5 % of the tensors altogether."""
    rng = np.random.default_rng([7, number])
    with path.open("r+b") as file:
        places = list(tensors_of(file))
        for index in rng.choice(len(places), math.ceil(len(places) * RENEWED_TENSORS), False):
            kind, start, size_bytes = places[index]
            file.seek(start)
            file.write(encoded(kind, normal(rng, size_bytes // WIDTHS[kind])))


def next_drift(path: Path, number: int) -> None:
    """Move every value of every tensor by about a thousandth of the values' spread."""
    rng = np.random.default_rng([8, number])
    with path.open("r+b") as file:
        for kind, start, size_bytes in list(tensors_of(file)):
            file.seek(start)
            values = decoded(kind, file.read(size_bytes))
            file.seek(start)
            file.write(encoded(kind, values + normal(rng, len(values)) * np.float32(PERTURBATION)))


def header_of(kinds: list[str], counts: list[int]) -> bytes:
    """Return the head of a safetensors file: its length, then JSON padded to 8 bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    start = 0
    for index, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
        end = start + count * WIDTHS[kind]
        header[f"layers.{index}.weight"] = {
            "dtype": kind,
            "shape": [count],
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def tensors_of(file: BinaryIO) -> Iterator[tuple[str, int, int]]:
    """Type, place in the file and size in bytes of every tensor of a safetensors file."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            yield tensor["dtype"], 8 + length + start, end - start


def normal(rng: np.random.Generator, count: int) -> Floats:
    """Return values as weights have them."""
    values: Floats = rng.standard_normal(count, np.float32) * np.float32(SPREAD)
    return values


def encoded(kind: str, values: Floats) -> bytes:
    """Return values in a tensor's type; bfloat16 is the upper half of float32, rounded."""
    if kind == FULL:
        return values.tobytes()
    bits = values.view(np.uint32)
    rounded = bits + (np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1)))
    upper: NDArray[np.uint16] = (rounded >> np.uint32(16)).astype(np.uint16)
    return upper.tobytes()


def decoded(kind: str, data: bytes) -> Floats:
    """Return the values of a tensor's bytes."""
    if kind == FULL:
        return np.frombuffer(data, np.float32)
    upper = np.frombuffer(data, np.uint16).astype(np.uint32)
    values: Floats = (upper << np.uint32(16)).view(np.float32)
    return values
