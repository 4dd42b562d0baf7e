"""Writing many workspace files with all cores: worker processes for many, this one for a few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dvlite.progress import Progress, silent
from dvlite.storage.cache import Cache
from dvlite.workspace.crew import Crew, serve, usable_cores
from dvlite.workspace.take import Stat
from dvlite.workspace.write import FileWriter, NewFile, WriteBatch

Answer = Callable[[list[Stat]], None]

# Starting workers costs 0.1 s, which so many files take in one process.
_WORKERS_FROM = 2_000
# A batch is one process's unit of work, and what its neighbours in a pack are read for.
_BATCH_FILES = 256
_BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`top`: the trusted folder that all files lie below. `links`: how large files come to be.
    `total_files` and `total_bytes`: what to expect."""

    cache: Cache
    top: str
    links: Sequence[str] = ("copy",)
    progress: Progress = silent
    total_files: int = 0
    total_bytes: int = 0


@dataclass(slots=True)
class Writers:
    """Batches in, stats out; a context manager. On leaving it everything is written."""

    options: WriteOptions
    files: int = 0
    size: int = 0
    _within: int = 0
    _crew: Crew | None = None
    _here: FileWriter | None = field(default=None)

    def __enter__(self) -> Writers:
        if self.options.total_files >= _WORKERS_FROM and usable_cores() > 1:
            cache = self.options.cache
            setup = (cache.folder, os.fsencode(self.options.top), tuple(self.options.links))
            self._crew = Crew(__name__, "work", setup, usable_cores())
        else:
            top = os.fsencode(self.options.top)
            self._here = FileWriter(self.options.cache, top, self.options.links, self._told_bytes)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._crew is not None:
            self._crew.stop(kind is None)

    def put(self, folder: bytes, depth: int, files: list[NewFile], answer: Answer) -> None:
        """Makes files in a folder; `answer` gets their stats, at the latest on leaving.

        Raises:
            MissingError, CorruptError, OSError: as `FileWriter.write`; or from a worker.
        """
        for batch in _batches(folder, depth, files):
            if self._crew is None:
                assert self._here is not None
                self._answer(batch.files, self._here.write(batch), answer)
            else:
                self._crew.put(_to_wire(batch), self._answering(batch.files, answer))

    def _answering(self, files: list[NewFile], answer: Answer) -> Callable[[list[Any]], None]:
        return lambda stats: self._answer(files, stats, answer)

    def _answer(self, files: list[NewFile], stats: list[Stat], answer: Answer) -> None:
        answer(stats)
        self.files += len(files)
        self.size += sum(item.size for item in files)
        self._within = 0
        self._tell()

    def _told_bytes(self, size: int) -> None:
        """A large file grows: its bytes show before it is done."""
        self._within += size
        self._tell()

    def _tell(self) -> None:
        options = self.options
        options.progress(
            "writing files",
            self.files,
            self.size + self._within,
            options.total_files,
            options.total_bytes,
        )


def _batches(folder: bytes, depth: int, files: list[NewFile]) -> Iterator[WriteBatch]:
    start = size = 0
    for at, item in enumerate(files):
        if at > start and (at - start >= _BATCH_FILES or size + item.size > _BATCH_BYTES):
            yield WriteBatch(folder, depth, files[start:at])
            start, size = at, 0
        size += item.size
    if start < len(files):
        yield WriteBatch(folder, depth, files[start:])


def work() -> None:
    """What a worker process runs."""
    serve(_serving)


@contextmanager
def _serving(setup: tuple[str, bytes, Sequence[str]]) -> Iterator[Callable[[Any], list[Any]]]:
    folder, top, links = setup
    writer = FileWriter(Cache(folder), top, links)
    yield lambda batch: writer.write(_from_wire(batch))


def _to_wire(batch: WriteBatch) -> tuple[Any, ...]:
    files = [(item.name, int(item.kind), item.oid, item.size) for item in batch.files]
    return batch.folder, batch.depth, files


def _from_wire(batch: tuple[Any, ...]) -> WriteBatch:
    folder, depth, files = batch
    return WriteBatch(folder, depth, [NewFile(*item) for item in files])
