"""Chunks of files that are on this machine, copied into a large file that is being fetched.

Owns where they are, and the copying: neighbours in one go, several at once. 870 MB copied chunk by
chunk by one thread, each hashed again, took longer than fetching them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from dvlite.errors import CorruptError
from dvlite.storage.blockfile import BlockFile
from dvlite.storage.chunker import cut
from dvlite.storage.directio import DirectSource
from dvlite.storage.oid import hash_bytes

# Neighbours are copied together up to this much; with so many threads that is little memory.
_RUN_BYTES = 4 << 20

# A chunk is found this far before and after its place in the new file: memory stays bounded
# (70 MB) however large the files are.
_WINDOW = 8 << 30


class OtherBytesError(CorruptError):
    """What was put together of good parts is not what was wanted."""


class Run(NamedTuple):
    """Bytes that are copied at once."""

    file: DirectSource
    source: int
    target: int
    length: int


class LocalFile:
    """The chunks of one file that is here, as `chunks` tells their ids and lengths in order."""

    def __init__(self, file: DirectSource, chunks: Iterable[tuple[bytes, int]]) -> None:
        self._file = file
        self._chunks: Iterator[tuple[bytes, int]] | None = iter(chunks)
        self._places: dict[bytes, tuple[int, int]] = {}
        self._end = 0

    def near(self, position: int) -> None:
        """Learns of the chunks around a position, and forgets those long before it."""
        while self._chunks is not None and self._end < position + _WINDOW:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._chunks = None
                break
            self._places.setdefault(chunk[0], (self._end, chunk[1]))
            self._end += chunk[1]
        while self._places:
            first = next(iter(self._places))
            if self._places[first][0] >= position - _WINDOW:
                break
            del self._places[first]

    def locate(self, chunk_id: bytes, target: int) -> Run | None:
        """The copying of one chunk to a place; None when it is not here."""
        place = self._places.get(chunk_id)
        return None if place is None else Run(self._file, place[0], target, place[1])

    def read(self, chunk_id: bytes) -> bytes | None:
        """A chunk's bytes, verified; None when it is not here."""
        place = self._places.get(chunk_id)
        if place is None:
            return None
        data = bytearray(place[1])
        count = self._file.read(memoryview(data), place[0])
        return bytes(data) if count == len(data) and hash_bytes(data) == chunk_id else None


def cut_file(file: DirectSource) -> Iterator[tuple[bytes, int]]:
    """The ids and lengths of a file's chunks, by cutting it."""
    for chunks in cut(_InOrder(file)):
        for chunk in chunks:
            yield hash_bytes(chunk), len(chunk)


class _InOrder:
    """A file read from its beginning to its end."""

    def __init__(self, file: DirectSource) -> None:
        self._file, self._offset = file, 0

    def readinto(self, view: memoryview) -> int:
        """Fills `view`; how much, less only at the end."""
        count = self._file.read(view, self._offset)
        self._offset += count
        return count


class Copier:
    """Copies chunks of files into another, in threads.

    `tell(bytes)` hears of what is done, in the thread that uses the copier.
    """

    def __init__(self, target: BlockFile, jobs: int, tell: Callable[[int], None]) -> None:
        self._target, self._tell = target, tell
        self._limit = 2 * max(1, jobs)
        self._pool = ThreadPoolExecutor(max(1, jobs), thread_name_prefix="dvlite-copy")
        self._waiting: deque[Future[int]] = deque()

    def copy(self, runs: Iterable[Run]) -> None:
        """Copies chunks, soon; neighbours at once."""
        whole: Run | None = None
        for run in runs:
            if whole is not None and whole.length + run.length <= _RUN_BYTES:
                follows = whole._replace(
                    source=whole.source + whole.length,
                    target=whole.target + whole.length,
                    length=run.length,
                )
                if follows == run:
                    whole = whole._replace(length=whole.length + run.length)
                    continue
            self._begin(whole)
            whole = run
        self._begin(whole)

    def finish(self) -> None:
        """Waits until all is copied.

        Raises:
            OtherBytesError: a file that is here is shorter than its chunks.
        """
        while self._waiting:
            self._tell(self._waiting.popleft().result())

    def stop(self) -> None:
        """Ends the threads; what is still waiting is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, run: Run | None) -> None:
        if run is not None:
            self._waiting.append(self._pool.submit(self._copy, run))
        while len(self._waiting) > self._limit:
            self._tell(self._waiting.popleft().result())

    def _copy(self, run: Run) -> int:
        if not self._target.write_from(run.file, run.source, run.length, run.target):
            raise OtherBytesError("an older version in the cache is not what it was")
        return run.length
