"""Writing many workspace files with all cores: worker processes for many, this one for a few."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dvlite.progress import Progress, silent
from dvlite.storage.cache import Cache, Setup
from dvlite.workspace.crew import Crew, serve, usable_cores
from dvlite.workspace.ready import Ready
from dvlite.workspace.take import Stat
from dvlite.workspace.write import FileWriter, NewFile, WriteBatch

# Hears of the stats of some of the files, and which was the first of them.
Answer = Callable[[int, list[Stat]], None]

# Starting workers costs 0.1 s, which so many files take in one process.
_WORKERS_FROM = 2_000
# A batch is one process's unit of work, and what its neighbours in a pack are read for.
_BATCH_FILES = 256
_BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """`top`: the trusted folder that all files lie below. `links`: how large files come to be.
    `total_files` and `total_bytes`: what to expect. `ready`: copies that are there already."""

    cache: Cache
    top: str
    links: Sequence[str] = ("copy",)
    progress: Progress = silent
    total_files: int = 0
    total_bytes: int = 0
    ready: Ready | None = None

    @property
    def ready_bytes(self) -> int:
        """What needs no more room on the disk."""
        return self.ready.size_bytes if self.ready is not None else 0


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
        options, top = self.options, os.fsencode(self.options.top)
        ready = os.fsencode(options.ready.folder) if options.ready is not None else b""
        if options.total_files >= _WORKERS_FROM and usable_cores() > 1:
            setup = (options.cache.setup, top, tuple(options.links), ready)
            self._crew = Crew(__name__, "work", setup, usable_cores())
        else:
            told = self._told_bytes
            self._here = FileWriter(options.cache, top, options.links, told, ready)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._crew is not None:
            self._crew.stop(kind is None)

    def put(self, folder: bytes, depth: int, files: list[NewFile], answer: Answer) -> None:
        """Makes files in a folder; `answer` gets their stats, some at a time, at the latest on
        leaving.

        Raises:
            MissingError, CorruptError, OSError: as `FileWriter.write`; or from a worker.
        """
        first = 0
        for batch in _batches(folder, depth, files):
            told = partial(self._answer, batch.files, partial(answer, first))
            if self._crew is None:
                assert self._here is not None
                told(self._here.write(batch))
            else:
                self._crew.put(_to_wire(batch), told)
            first += len(batch.files)

    def _answer(
        self, files: list[NewFile], answer: Callable[[list[Stat]], None], stats: list[Any]
    ) -> None:
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
def _serving(
    setup: tuple[Setup, bytes, Sequence[str], bytes],
) -> Iterator[Callable[[Any], list[Any]]]:
    cache, top, links, ready = setup
    writer = FileWriter(Cache.of(cache), top, links, ready=ready)
    yield lambda batch: writer.write(_from_wire(batch))


def _to_wire(batch: WriteBatch) -> tuple[Any, ...]:
    files = [(item.name, int(item.kind), item.oid, item.size) for item in batch.files]
    return batch.folder, batch.depth, files


def _from_wire(batch: tuple[Any, ...]) -> WriteBatch:
    folder, depth, files = batch
    return WriteBatch(folder, depth, [NewFile(*item) for item in files])
