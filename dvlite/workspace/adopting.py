"""Adopting content that another tool keeps: found by its name there, verified, put into the cache.

Owns the places where DVC and git-lfs keep content, and that nothing of it is changed. Each file is
read once, for both hashes. Large ones share blocks with the old tool's cache where the file system
can, and are copied elsewhere.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from dvlite.atomic import temporary_name
from dvlite.errors import CorruptError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter, adopt_files
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.directio import DirectWriter, read_blocks
from dvlite.storage.foreign import Check, checking
from dvlite.storage.oid import file_hasher, hash_bytes
from dvlite.workspace.dvcfiles import ForeignName
from dvlite.workspace.links import reflink

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)
# A request a file is what makes small files slow: most come whole with the first.
_RANGE_BYTES = 8 << 20
_BATCH_FILES = 128
# Synced together: a thousand fsyncs of one file each take seconds.
_SYNC_EVERY = 256


class Adopted(NamedTuple):
    """Content that is in the cache now. `source`: where it came from, in words."""

    oid: bytes
    size: int
    source: str


class Small(NamedTuple):
    """Verified content that fits in memory."""

    data: bytes
    source: str


class _Large(NamedTuple):
    temporary: str
    oid: bytes
    size: int
    source: str


class Wrong(NamedTuple):
    """Why content could not be had."""

    reason: str


class Source(Protocol):
    """A place that content may be in."""

    @property
    def label(self) -> str:
        """How reports name it."""

    def open(self, name: ForeignName) -> int | None:
        """The content as an open file, if it is a file of this machine."""

    def pieces(self, name: ForeignName) -> Iterator[bytes] | None:
        """The content piece by piece, if it comes from elsewhere."""


@dataclass(frozen=True, slots=True)
class FolderSource:
    """The old tool's cache, or a remote of it that is a folder."""

    label: str
    folder: str

    def open(self, name: ForeignName) -> int | None:
        """See `Source`."""
        for place in places(name):
            descriptor = _open_file(os.path.join(self.folder, place))
            if descriptor is not None:
                return descriptor
        return None

    def pieces(self, name: ForeignName) -> None:
        """See `Source`."""
        return None


@dataclass(frozen=True, slots=True)
class PathSource:
    """Files of the workspace that may still be what they were: name -> path."""

    label: str
    paths: dict[str, str] = field(default_factory=dict)

    def open(self, name: ForeignName) -> int | None:
        """See `Source`."""
        path = self.paths.get(name.text)
        return None if path is None else _open_file(path)

    def pieces(self, name: ForeignName) -> None:
        """See `Source`."""
        return None


@dataclass(slots=True)
class BackendSource:
    """A remote of the old tool. One that fails is not asked again; `failed` says why."""

    label: str
    backend: Backend
    failed: str = ""

    def open(self, name: ForeignName) -> int | None:
        """See `Source`."""
        return None

    def pieces(self, name: ForeignName) -> Iterator[bytes] | None:
        """See `Source`."""
        for place in places(name) if not self.failed else ():
            try:
                first = self.backend.read(place, 0, _RANGE_BYTES)
            except NotThere:
                continue
            except RemoteError as error:
                self.failed = str(error)
                return None
            return self._following(place, first)
        return None

    def _following(self, place: str, first: bytes) -> Iterator[bytes]:
        piece, offset = first, 0
        while piece:
            yield piece
            offset += len(piece)
            if len(piece) < _RANGE_BYTES:
                return
            piece = self.backend.read(place, offset, _RANGE_BYTES)


def places(name: ForeignName) -> tuple[str, ...]:
    """Where content of this name lies, the likelier place first: DVC 3 kept what DVC 2 had put
    into its cache, and a repository may hold names of both."""
    digest = name.digest
    if name.algorithm == "sha256":
        return (f"{digest[:2]}/{digest[2:4]}/{digest}",)
    old = f"{digest[:2]}/{digest[2:]}{'.dir' if name.folder else ''}"
    return (f"files/md5/{old}", old) if name.algorithm == "md5" else (old, f"files/md5/{old}")


@dataclass(slots=True)
class Adopter:
    """Adopts names from the first source that has the right content."""

    cache: Cache
    sources: Sequence[Source]
    jobs: int = 4
    progress: Progress = silent
    total_files: int | None = None
    _files: int = 0
    _size: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def adopt(self, names: Sequence[ForeignName]) -> dict[str, Adopted | Wrong]:
        """Brings content into the cache, durably; what came of each name's text."""
        found: dict[str, Adopted | Wrong] = {}
        pending: list[tuple[str, bytes]] = []
        try:
            with CacheWriter(self.cache) as writer, ThreadPoolExecutor(self.jobs) as pool:
                for start in range(0, len(names), _BATCH_FILES):
                    batch = names[start : start + _BATCH_FILES]
                    results = list(pool.map(self._bring, batch))
                    self._keep(batch, results, found, (writer, pending))
            adopt_files(self.cache, pending)
        except BaseException:
            for temporary, _ in pending:
                with suppress(OSError):
                    os.unlink(temporary)
            raise
        return found

    def read(self, name: ForeignName, most: int) -> bytes | Wrong:
        """Verified content as bytes, not put into the cache: a manifest."""
        got = self._bring(name, most)
        return got.data if isinstance(got, Small) else Wrong(_reason(got))

    def _keep(
        self,
        batch: Sequence[ForeignName],
        results: Sequence[Small | _Large | Wrong],
        found: dict[str, Adopted | Wrong],
        into: tuple[CacheWriter, list[tuple[str, bytes]]],
    ) -> None:
        writer, pending = into
        small = {hash_bytes(one.data): one for one in results if isinstance(one, Small)}
        absent = self.cache.keep(small)
        for oid in absent:
            writer.add(oid, small[oid].data)
        for name, got in zip(batch, results, strict=True):
            if isinstance(got, Small):
                found[name.text] = Adopted(hash_bytes(got.data), len(got.data), got.source)
            elif isinstance(got, _Large):
                found[name.text] = Adopted(got.oid, got.size, got.source)
                pending.append((got.temporary, got.oid))
            else:
                found[name.text] = got
        if len(pending) >= _SYNC_EVERY:
            adopt_files(self.cache, pending)
            pending.clear()

    # -- one name, in a thread ---------------------------------------------------------------------

    def _bring(self, name: ForeignName, most_in_memory: int = 0) -> Small | _Large | Wrong:
        reasons = []
        for source in self.sources:
            try:
                got = self._from(source, name, most_in_memory)
            except (CorruptError, RemoteError) as error:
                reasons.append(f"{source.label}: {error}")
                continue
            if got is not None:
                with self._lock:
                    self._files += 1
                self._told(0)
                return got
        failed = {one.label: one.failed for one in self.sources if isinstance(one, BackendSource)}
        reasons += [f"{label}: {why}" for label, why in failed.items() if why]
        where = ", ".join(source.label for source in self.sources) or "any place"
        return Wrong("; ".join(reasons) or f"its content is not in {where}")

    def _from(self, source: Source, name: ForeignName, most: int) -> Small | _Large | None:
        descriptor = source.open(name)
        if descriptor is not None:
            try:
                return self._from_file(descriptor, source.label, name, most)
            finally:
                os.close(descriptor)
        pieces = source.pieces(name)
        return None if pieces is None else self._from_pieces(pieces, source.label, name, most)

    def _from_file(
        self, descriptor: int, label: str, name: ForeignName, most: int
    ) -> Small | _Large:
        size = os.fstat(descriptor).st_size
        if most and size > most:
            raise CorruptError(f"it has {size >> 20} MiB, more than dvlite reads of such a file")
        if most or size < SMALL_BYTES:
            return self._small(_read_all(descriptor, size), label, name)
        return self._large(descriptor, label, name)

    def _small(self, data: bytes, label: str, name: ForeignName) -> Small:
        check = checking(name.algorithm)
        check.update(data)
        _refuse_wrong(check, name)
        self._told(len(data))
        return Small(data, label)

    def _large(self, descriptor: int, label: str, name: ForeignName) -> _Large:
        temporary = temporary_name(self.cache.temporary_folder, "object-")
        try:
            if reflink(descriptor, temporary):
                clone = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    return self._pump(read_blocks(clone), None, temporary, (label, name))
                finally:
                    os.close(clone)
            writer = DirectWriter(temporary)
            try:
                return self._pump(read_blocks(descriptor), writer, temporary, (label, name))
            finally:
                writer.close()
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _from_pieces(
        self, pieces: Iterator[bytes], label: str, name: ForeignName, most: int
    ) -> Small | _Large:
        first = next(pieces, b"")
        if most or len(first) < SMALL_BYTES:
            data = bytearray(first)
            for piece in pieces:
                data += piece
                if len(data) > most:
                    raise CorruptError(f"it has more than {most >> 20} MiB")
            return self._small(bytes(data), label, name)
        temporary = temporary_name(self.cache.temporary_folder, "object-")
        try:
            writer = DirectWriter(temporary)
            try:
                return self._pump(_joined(first, pieces), writer, temporary, (label, name))
            finally:
                writer.close()
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _pump(
        self,
        blocks: Iterator[bytes] | Iterator[memoryview],
        writer: DirectWriter | None,
        temporary: str,
        of: tuple[str, ForeignName],
    ) -> _Large:
        """Hashes blocks twice, and writes them unless they are there already."""
        label, name = of
        hasher, check, size = file_hasher(), checking(name.algorithm), 0
        for block in blocks:
            if writer is not None:
                writer.write(block)
            hasher.update(block)
            check.update(block)
            size += len(block)
            self._told(len(block))
        _refuse_wrong(check, name)
        if writer is not None:
            writer.finish(durable=False)
        return _Large(temporary, hasher.digest(), size, label)

    def _told(self, size: int) -> None:
        with self._lock:
            self._size += size
            files, total = self._files, self._size
        self.progress("taking content over", files, total, self.total_files)


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _refuse_wrong(check: Check, name: ForeignName) -> None:
    if not check.fits(name.digest):
        raise CorruptError(f"what lies there under {name.text} is something else")


def _reason(got: _Large | Wrong) -> str:
    return got.reason if isinstance(got, Wrong) else "it is too large"


def _open_file(path: str) -> int | None:
    """An open regular file; None where there is none, or a link."""
    try:
        descriptor = os.open(path, _OPEN)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _read_all(descriptor: int, size: int) -> bytes:
    pieces = []
    while data := os.read(descriptor, max(size, 1) + 1):
        pieces.append(data)
    return b"".join(pieces)
