"""The data of the benchmarks, made from fixed seeds: the same bytes everywhere.

Owns what each workload looks like; knows nothing of tools or time. Every function fills a folder
that does not exist yet. `scale` 1 is the published size; less shrinks counts and bytes alike.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

FOLDERS = 100
SMALL_FILES, LABEL_FILES, MILLION_FILES = 100_000, 20_000, 1_000_000
BIG_BYTES, TABLE_BYTES, TENSOR_BYTES = 2_000_000_000, 870_000_000, 256_000_000

# The spread of sizes (sigma of the logarithm) puts 95 % of the small files between 1.7 and 39 KB,
# as crops, tokenized clips and annotation files are.
MEDIAN_BYTES, SIGMA, LEAST_BYTES = 8192, 0.8, 64

# In the templates `#` becomes a random digit and `@` one that is not 0.
LABEL_LINE = b"@# 0.###### 0.###### 0.###### 0.######\n"
JSON_LINE = (
    b' {"id": @######, "label": "class_@#", "box": [@##, @##, @##, @##], "score": 0.####},\n'
)
TABLE_LINE = (
    b"@########,2024-0@-1#T1#:2#:3#.###Z,@.########,-@.########,0.########,class_@#,"
    b"@####.##,0.######,true,@##\n"
)
BLOCK_ROWS, BLOCK_VALUES = 200_000, 8_000_000

# Every value of a fine-tuned tensor moves, by about this part of the values' own spread.
PERTURBATION = 1e-3


def fill(template: bytes, rows: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return `rows` copies of a template line as a (rows, width) array of bytes, digits drawn."""
    line = np.frombuffer(template, np.uint8)
    text = np.tile(line, (rows, 1))
    for mark, lowest in ((b"#", b"0"), (b"@", b"1")):
        places = np.flatnonzero(line == ord(mark))
        digits = rng.integers(ord(lowest), ord("9") + 1, (rows, len(places)), np.uint8)
        text[:, places] = digits
    return text


def text_of(template: bytes, size_bytes: int, rng: np.random.Generator) -> bytes:
    """Return template lines, cut to a size."""
    rows = -(-size_bytes // len(template))
    return fill(template, rows, rng).tobytes()[:size_bytes]


def sizes_of(count: int, rng: np.random.Generator) -> list[int]:
    """Draw file sizes in bytes, log-normal around 8 KB."""
    drawn = rng.lognormal(np.log(MEDIAN_BYTES), SIGMA, count)
    return [max(LEAST_BYTES, int(size)) for size in drawn]


def write_tree(folder: Path, contents: Callable[[int], bytes], count: int, folders: int) -> None:
    """Write `count` files, spread evenly over numbered folders."""
    for number in range(min(folders, count)):
        (folder / f"d{number:03d}").mkdir(parents=True)
    for number in range(count):
        path = folder / f"d{number % folders:03d}" / f"f{number:06d}"
        path.write_bytes(contents(number))


def small(folder: Path, scale: float) -> None:
    """`data/`: 100,000 files around 8 KB; half random bytes, a quarter each JSON and labels."""
    rng = np.random.default_rng(1)
    sizes = sizes_of(max(FOLDERS, int(SMALL_FILES * scale)), rng)

    def content(number: int) -> bytes:
        # The folder number follows the file number, so the kind must not.
        kind = number // FOLDERS % 4
        if kind < 2:
            return rng.bytes(sizes[number])
        return text_of(JSON_LINE if kind == 2 else LABEL_LINE, sizes[number], rng)

    write_tree(folder / "data", content, len(sizes), FOLDERS)


def labels(folder: Path, scale: float) -> None:
    """`data/`: 20,000 files of JSON and label text only."""
    rng = np.random.default_rng(2)
    sizes = sizes_of(max(FOLDERS, int(LABEL_FILES * scale)), rng)

    def content(number: int) -> bytes:
        template = JSON_LINE if number // FOLDERS % 2 else LABEL_LINE
        return text_of(template, sizes[number], rng)

    write_tree(folder / "data", content, len(sizes), FOLDERS)


def million(folder: Path, scale: float) -> None:
    """`data/`: 1,000,000 tiny files in 1,000 folders; only their number matters."""
    write_tree(folder / "data", lambda n: b"%d\n" % n, int(MILLION_FILES * scale), 1000)


def big(folder: Path, scale: float) -> None:
    """`weights.bin`: 2 GB of normally distributed float16 values."""
    rng = np.random.default_rng(3)
    left = int(BIG_BYTES * scale) // 2
    folder.mkdir(parents=True)
    with (folder / "weights.bin").open("wb") as file:
        while left:
            values = rng.standard_normal(min(left, BLOCK_VALUES), np.float32)
            file.write(values.astype(np.float16).tobytes())
            left -= len(values)


def tensors(folder: Path, scale: float) -> None:
    """`v1.bin`, `v2.bin`: 256 MB of float16 weights, and the same with every value moved a bit."""
    rng = np.random.default_rng(4)
    left = int(TENSOR_BYTES * scale) // 2
    folder.mkdir(parents=True)
    with (folder / "v1.bin").open("wb") as first, (folder / "v2.bin").open("wb") as second:
        while left:
            values = rng.standard_normal(min(left, BLOCK_VALUES), np.float32) * 0.02
            moved = values + rng.standard_normal(len(values), np.float32) * 0.02 * PERTURBATION
            first.write(values.astype(np.float16).tobytes())
            second.write(moved.astype(np.float16).tobytes())
            left -= len(values)


def table(folder: Path, scale: float) -> None:
    """`v1.csv`: 870 MB; `v2.csv`: 10 blocks of 10 rows inserted and 50 cells changed."""
    rng = np.random.default_rng(5)
    rows = int(TABLE_BYTES * scale) // len(TABLE_LINE)
    folder.mkdir(parents=True)
    write_table(folder / "v1.csv", rows, rng)
    second_version(folder / "v1.csv", folder / "v2.csv", rng)


def write_table(path: Path, rows: int, rng: np.random.Generator) -> None:
    """Write a table of so many rows."""
    with path.open("wb") as file:
        for start in range(0, rows, BLOCK_ROWS):
            file.write(fill(TABLE_LINE, min(BLOCK_ROWS, rows - start), rng).tobytes())


def second_version(first: Path, second: Path, rng: np.random.Generator) -> None:
    """Copy a table with the published edits at random rows."""
    width = len(TABLE_LINE)
    rows = first.stat().st_size // width
    inserts = sorted(rng.choice(rows, 10, replace=False).tolist())
    with first.open("rb") as old, second.open("wb") as new:
        for start, end in zip([0, *inserts], [*inserts, rows], strict=True):
            copy_part(old, new, (end - start) * width)
            if end != rows:
                new.write(fill(TABLE_LINE, 10, rng).tobytes())
    with second.open("r+b") as file:
        for row in rng.choice(rows, 50, replace=False).tolist():
            file.seek(row * width)
            file.write(b"%09d" % rng.integers(10**8, 10**9))


def copy_part(source: IO[bytes], target: IO[bytes], size_bytes: int) -> None:
    """Copy the next bytes of one open file to another."""
    while size_bytes:
        content = source.read(min(size_bytes, 1 << 20))
        target.write(content)
        size_bytes -= len(content)
