"""A file read at any place is what is there, in memory or not, on file systems of both manners."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from dvlite.storage import directio
from dvlite.storage.directio import DirectSource

DATA = random.Random(1).randbytes((9 << 20) + 1234)
PLACES = [
    (0, len(DATA)),
    (1, 100),
    (4096, 1 << 20),
    (5000, 3_000_001),
    (len(DATA) - 70_000, 70_000),
]


@contextmanager
def source(path: Path, in_memory: bool) -> Iterator[DirectSource]:
    path.write_bytes(DATA)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not in_memory:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        file = DirectSource(descriptor)
        yield file
        file.close()
    finally:
        os.close(descriptor)


def read(file: DirectSource, offset: int, length: int) -> bytes:
    data = bytearray(length)
    count = file.read(memoryview(data), offset)
    return bytes(data[:count])


@pytest.mark.parametrize("in_memory", [True, False])
def test_any_place_by_any_thread(tmp_path: Path, in_memory: bool) -> None:
    places = PLACES * 3
    random.Random(2).shuffle(places)
    with source(tmp_path / "file", in_memory) as file, ThreadPoolExecutor(4) as pool:
        for place, data in zip(
            places, pool.map(lambda place: read(file, *place), places), strict=True
        ):
            assert data == DATA[place[0] : sum(place)]


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("beyond", [1, 5000, 1 << 20])
def test_what_the_file_does_not_have_is_not_there(
    tmp_path: Path, in_memory: bool, beyond: int
) -> None:
    with source(tmp_path / "file", in_memory) as file:
        assert read(file, 123, len(DATA) + beyond) == DATA[123:]
        assert read(file, len(DATA), 1 << 20) == b""
        assert read(file, len(DATA) + beyond, 1 << 20) == b""


def test_where_there_is_no_direct_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder, source(Path(folder, "f"), False) as file:
        assert read(file, 5000, 3 << 20) == DATA[5000 : 5000 + (3 << 20)]
    monkeypatch.setattr(directio, "_DIRECT", 0)
    with TemporaryDirectory() as folder, source(Path(folder, "f"), False) as file:
        assert read(file, 5000, 3 << 20) == DATA[5000 : 5000 + (3 << 20)]


def test_what_is_not_in_memory_is_not_brought_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for a page at each look."""
    ordinary = 0
    preadv = os.preadv

    def counted(number: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        nonlocal ordinary
        count = preadv(number, buffers, offset, flags)
        if number == file._descriptor and not flags:
            ordinary += count
        return count

    with source(tmp_path / "file", False) as file:
        if file._direct < 0 or is_in_memory(file, len(DATA) - 100):
            pytest.skip("NOT TESTED: direct reading (this file system has none)")
        monkeypatch.setattr(os, "preadv", counted)
        assert read(file, 0, len(DATA)) == DATA
    assert ordinary == 0


def is_in_memory(file: DirectSource, offset: int) -> bool:
    """So is all on tmpfs, which cannot say so."""
    try:
        return os.preadv(file._descriptor, [bytearray(1)], offset, os.RWF_NOWAIT) > 0
    except OSError as error:
        return not isinstance(error, BlockingIOError)
