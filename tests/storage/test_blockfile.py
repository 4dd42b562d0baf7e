"""A file filled in any order is what was written, and its hash too."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from dvlite.storage import blockfile
from dvlite.storage.blockfile import BlockFile
from dvlite.storage.directio import DirectSource

BLOCK = 4 << 20


def parts_of(data: bytes, seed: int) -> list[tuple[int, bytes]]:
    source, parts, at = random.Random(seed), [], 0
    while at < len(data):
        length = source.randrange(1, 300_000)
        parts.append((at, data[at : at + length]))
        at += length
    return parts


def put(file: BlockFile, offset: int, part: bytes) -> None:
    """Puts a part where it belongs in memory, if it can."""
    place = file.place(offset, len(part))
    if place is None:
        file.write(part, offset)
    else:
        place[:] = part
        file.placed(offset, len(part))


def write(file: BlockFile, offset: int, part: bytes) -> None:
    """Puts a part where it belongs by copying it."""
    file.write(part, offset)


def filled(
    path: Path,
    data: bytes,
    parts: list[tuple[int, bytes]],
    threads: int,
    how: Callable[[BlockFile, int, bytes], None] = write,
) -> bytes:
    file = BlockFile(str(path), len(data))
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: how(file, *part), parts))
        return file.finish()
    finally:
        file.close()


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "nearly"])
@pytest.mark.parametrize("size", [1, 4096, BLOCK, BLOCK + 1, 3 * BLOCK - 5000, 9 * BLOCK + 12_345])
@pytest.mark.parametrize("blocks", [2, 16])
def test_parts_in_any_order_make_the_file(
    tmp_path: Path, order: str, size: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockfile, "_BLOCKS", blocks)
    data = random.Random(size).randbytes(size)
    parts = parts_of(data, size)
    if order == "backward":
        parts.reverse()
    elif order == "shuffled":
        random.Random(1).shuffle(parts)
    elif order == "nearly":
        parts.sort(key=lambda part: part[0] + random.Random(part[0]).randrange(BLOCK))
    assert filled(tmp_path / "file", data, parts, 4) == blake3(data).digest()
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("blocks", [2, 16])
def test_parts_may_be_made_in_place(
    tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockfile, "_BLOCKS", blocks)
    data = random.Random(3).randbytes(5 * BLOCK + 77)
    parts = parts_of(data, 3)
    random.Random(2).shuffle(parts)
    assert filled(tmp_path / "file", data, parts, 4, put) == blake3(data).digest()
    assert (tmp_path / "file").read_bytes() == data


def test_a_place_is_inside_one_block_and_counts_once_it_is_filled(tmp_path: Path) -> None:
    data = random.Random(4).randbytes(BLOCK + 100)
    file = BlockFile(str(tmp_path / "file"), len(data))
    try:
        assert file.place(BLOCK - 10, 20) is None
        place = file.place(0, 1000)  # given up: what was to be there did not come whole
        assert place is not None
        place[:10] = b"y" * 10
        file.write(data, 0)
        assert file.finish() == blake3(data).digest()
    finally:
        file.close()
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize("until", [BLOCK - 1, BLOCK, BLOCK + 100])
def test_a_place_that_others_write_to_meanwhile_gives_no_hash(tmp_path: Path, until: int) -> None:
    data = random.Random(6).randbytes(BLOCK + 100)
    file = BlockFile(str(tmp_path / "file"), len(data))
    try:
        place = file.place(0, 1000)
        assert place is not None
        file.write(data[:until], 0)
        place[:] = b"y" * 1000
        file.placed(0, 1000)
        file.write(data[until:], until)
        assert file.finish() == b""
    finally:
        file.close()


def test_one_part_may_span_several_blocks(tmp_path: Path) -> None:
    data = random.Random(7).randbytes(5 * BLOCK + 77)
    assert filled(tmp_path / "file", data, [(0, data)], 1) == blake3(data).digest()
    assert (tmp_path / "file").read_bytes() == data


def test_without_direct_writing_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockfile, "_open_directly", lambda path: -1)
    data = random.Random(8).randbytes(2 * BLOCK + 77)
    assert filled(tmp_path / "file", data, parts_of(data, 8), 3) == blake3(data).digest()
    assert (tmp_path / "file").read_bytes() == data


def test_a_path_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        BlockFile(str(tmp_path / "file"), 10)
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("blocks", [2, 16])
def test_runs_of_another_file_are_what_they_were_there(
    tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockfile, "_BLOCKS", blocks)
    data = random.Random(9).randbytes(5 * BLOCK + 4321)
    (tmp_path / "source").write_bytes(b"before" + data)
    runs = [(at, min(len(data) - at, 1_777_777)) for at in range(0, len(data), 1_777_777)]
    random.Random(2).shuffle(runs)
    file = BlockFile(str(tmp_path / "file"), len(data))
    with open(tmp_path / "source", "rb") as source, ThreadPoolExecutor(4) as pool:
        here = DirectSource(source.fileno())
        whole = pool.map(lambda run: file.write_from(here, run[0] + 6, run[1], run[0]), runs)
        assert all(whole)
    assert file.finish() == blake3(data).digest()
    file.close()
    assert (tmp_path / "file").read_bytes() == data


def test_a_run_beyond_the_end_of_its_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"short")
    file = BlockFile(str(tmp_path / "file"), 100)
    with open(tmp_path / "source", "rb") as source:
        assert not file.write_from(DirectSource(source.fileno()), 0, 100, 0)
    file.close()


@pytest.mark.parametrize("blocks", [2, 16])
def test_a_copy_gets_the_same_bytes(
    tmp_path: Path, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blockfile, "_BLOCKS", blocks)
    data = random.Random(4).randbytes(4 * BLOCK + 99)
    second = os.open(tmp_path / "second", os.O_RDWR | os.O_CREAT)
    file = BlockFile(str(tmp_path / "file"), len(data), (second, -1))
    parts = parts_of(data, 3)
    random.Random(3).shuffle(parts)
    for offset, part in parts:
        file.write(part, offset)
    assert file.has_copy and file.finish() == blake3(data).digest()
    file.close()
    assert (tmp_path / "second").read_bytes() == (tmp_path / "file").read_bytes() == data


def test_a_full_disk_ends_the_copy_alone(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(BLOCK + 99)
    file = BlockFile(str(tmp_path / "file"), len(data), (os.open("/dev/full", os.O_RDWR), -1))
    file.write(data, 0)
    assert not file.has_copy and file.finish() == blake3(data).digest()
    file.close()
    assert (tmp_path / "file").read_bytes() == data


@pytest.mark.parametrize(
    "again", [(0, BLOCK), (BLOCK, BLOCK), (5, 10), (2 * BLOCK, 9), (-4, BLOCK)]
)
def test_bytes_that_are_written_twice_are_never_taken_for_what_was_hashed(
    tmp_path: Path, again: tuple[int, int]
) -> None:
    """As a recipe on a hostile remote can make it: the bytes in memory had the right hash."""
    data = random.Random(8).randbytes(3 * BLOCK - 5000)
    offset = again[0] % len(data)
    for parts in ([(0, data), (offset, bytes(again[1]))], [(offset, bytes(again[1])), (0, data)]):
        (tmp_path / "file").unlink(missing_ok=True)
        assert filled(tmp_path / "file", data, parts, 1) == b""
    (tmp_path / "source").write_bytes(data)
    number = os.open(tmp_path / "source", os.O_RDONLY)
    source = DirectSource(number)
    file = BlockFile(str(tmp_path / "other"), len(data))
    assert file.write_from(source, 0, len(data), 0) and file.write_from(source, 0, 10, BLOCK)
    assert file.finish() == b""
    file.close()
    os.close(number)
