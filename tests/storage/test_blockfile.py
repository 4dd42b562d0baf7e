"""A file filled in any order is what was written, and its hash too."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from blake3 import blake3

from dvlite.storage import blockfile
from dvlite.storage.blockfile import BlockFile

BLOCK = 4 << 20


def parts_of(data: bytes, seed: int) -> list[tuple[int, bytes]]:
    source, parts, at = random.Random(seed), [], 0
    while at < len(data):
        length = source.randrange(1, 300_000)
        parts.append((at, data[at : at + length]))
        at += length
    return parts


def filled(path: Path, data: bytes, parts: list[tuple[int, bytes]], threads: int) -> bytes:
    file = BlockFile(str(path), len(data))
    try:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda part: file.write(part[1], part[0]), parts))
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
