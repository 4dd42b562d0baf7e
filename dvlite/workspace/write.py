"""Writing workspace files from the cache: one batch of new files in a folder.

Owns how a file comes to be: small objects from their packs, large ones by the first link type
that works, links as links. Every byte is checked against its name on the way. Names in trees are
hostile: files are created by name below an open folder, and never through a link.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import CorruptError, PathError
from dvlite.storage.cache import Cache, Place
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.codec import unpack_frame
from dvlite.storage.directio import DirectWriter
from dvlite.storage.oid import hash_bytes, to_text
from dvlite.storage.tree import Kind
from dvlite.workspace.entering import open_inside
from dvlite.workspace.links import reflink_at
from dvlite.workspace.ready import take
from dvlite.workspace.take import Stat, check_link, pump

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NewFile(NamedTuple):
    """A file to make: its name in the batch's folder, and what it is."""

    name: bytes
    kind: int
    oid: bytes
    size: int


class WriteBatch(NamedTuple):
    """New files of one folder (absolute), which lies `depth` folders deep in the tracked one."""

    folder: bytes
    depth: int
    files: list[NewFile]


@dataclass(slots=True)
class FileWriter:
    """Writes batches, in one thread. `links`: the ways to make large files, in order; `top`: the
    folder that all others lie in, from which they are entered; `ready`: the one with copies that
    are made already."""

    cache: Cache
    top: bytes
    links: Sequence[str]
    told: Callable[[int], None] = lambda size: None
    ready: bytes = b""
    _frame: tuple[str, int, bytes] = ("", -1, b"")
    _dead: set[tuple[str, bool]] = field(default_factory=set)

    def write(self, batch: WriteBatch) -> list[Stat]:
        """Makes the files; their stats in the batch's order.

        Raises:
            MissingError: an object is not in the cache. CorruptError: one is damaged.
            FileExistsError: something of that name is there.
        """
        places = self.cache.find_many({item.oid for item in batch.files})
        self.cache.note_use(places.values())
        folder = open_inside(self.top, batch.folder)
        stats: list[Stat] = [(0, 0, 0, 0, 0)] * len(batch.files)
        try:
            for at in sorted(range(len(batch.files)), key=lambda at: _order(places, batch, at)):
                item = batch.files[at]
                stats[at] = self._write(folder, item, places.get(item.oid), batch.depth)
            return stats
        finally:
            os.close(folder)

    def _write(self, folder: int, item: NewFile, place: Place | None, depth: int) -> Stat:
        if item.kind == Kind.LINK:
            return self._write_link(folder, item, depth)
        if place is not None and place.row is None:
            size = os.stat(place.path).st_size
            if size >= SMALL_BYTES:
                _check_size(item, size)
                return self._write_large(folder, item, place.path)
        data = self._read(item, place)
        _check_size(item, len(data))
        descriptor = os.open(item.name, _CREATE, _mode(item.kind), dir_fd=folder)
        try:
            written = os.write(descriptor, data)
            while written < len(data):
                written += os.write(descriptor, memoryview(data)[written:])
            return _stat(descriptor)
        finally:
            os.close(descriptor)

    def _write_link(self, folder: int, item: NewFile, depth: int) -> Stat:
        target = self.cache.read(item.oid)
        try:
            check_link(target, depth)
        except PathError as error:
            raise CorruptError(f"the tree holds {os.fsdecode(item.name)!r}: {error}") from error
        if not target or b"\0" in target or len(target) > 4095:
            raise CorruptError(f"the tree holds a symbolic link to {target[:80]!r}")
        os.symlink(target, item.name, dir_fd=folder)
        return _stat_at(folder, item.name)

    def _read(self, item: NewFile, place: Place | None) -> bytes:
        """A small object's bytes; neighbours in a frame are unpacked together once."""
        if place is None or place.row is None:
            data = self.cache.read(item.oid)
        else:
            row = place.row
            if self._frame[:2] != (place.path, row.frame_offset):
                frame = self.cache.read_frame(place.path, row.frame_offset, row.frame_length)
                self._frame = (place.path, row.frame_offset, unpack_frame(frame))
            data = self._frame[2][row.inner_offset : row.inner_offset + row.raw_length]
        if hash_bytes(data) != item.oid:
            raise CorruptError(
                f"{to_text(item.oid)} is damaged in the cache",
                "fetch it again after removing the damaged copy: dvlite doctor",
            )
        return data

    # -- large files -------------------------------------------------------------------------------

    def _write_large(self, folder: int, item: NewFile, source_path: str) -> Stat:
        for kind in self.links:
            if self._link(kind, folder, item, source_path):
                return _stat_at(folder, item.name)
        if self._take_ready(folder, item):
            return _stat_at(folder, item.name)
        return self._copy(folder, item, source_path)

    def _take_ready(self, folder: int, item: NewFile) -> bool:
        # its mode was chosen before anybody knew that it is executable
        if not self.ready or item.kind == Kind.EXEC:
            return False
        if not take(self.top, self.ready, item.oid, folder, item.name):
            return False
        self.told(item.size)
        return True

    def _link(self, kind: str, folder: int, item: NewFile, source_path: str) -> bool:
        """Tries one link type; one that cannot work between these folders is not tried again."""
        is_own = self.cache.is_own(source_path)
        if kind == "copy" or (kind, is_own) in self._dead:
            return False
        if kind == "hardlink" and not is_own:
            return False  # it would change the file's count of links, and a source is only read
        if kind != "reflink" and item.kind == Kind.EXEC:
            return False  # the object in the cache is not executable
        try:
            if kind == "hardlink":
                os.link(source_path, item.name, dst_dir_fd=folder)
                return True
            if kind == "symlink":
                os.symlink(source_path, item.name, dir_fd=folder)
                return True
            source = os.open(source_path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if reflink_at(source, folder, item.name, _mode(item.kind)):
                    return True
            finally:
                os.close(source)
        except FileExistsError:
            raise
        except PermissionError:
            if kind == "hardlink":  # another user's object, which the kernel protects
                return False
        except OSError:
            pass
        self._dead.add((kind, is_own))
        return False

    def _copy(self, folder: int, item: NewFile, source_path: str) -> Stat:
        """Copies and checks; a damaged object leaves no file behind.

        Written directly, because two gigabytes through the page cache took 8 s, past it 1.2 s.
        """
        source = os.open(source_path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            writer = DirectWriter(item.name, _mode(item.kind), folder)
            try:
                oid, _ = pump(source, writer, self.told)
                writer.finish(durable=False)
                if oid != item.oid:
                    raise self.cache.damaged(source_path)
                return _stat(writer.fileno())
            except BaseException:
                with suppress(OSError):
                    os.unlink(item.name, dir_fd=folder)
                raise
            finally:
                writer.close()
        finally:
            os.close(source)


def _check_size(item: NewFile, size: int) -> None:
    if size != item.size:
        raise CorruptError(f"{to_text(item.oid)} has {size} bytes, and {item.size} were said")


def _mode(kind: int) -> int:
    return 0o777 if kind == Kind.EXEC else 0o666


def _order(places: dict[bytes, Place], batch: WriteBatch, at: int) -> tuple[str, int, int]:
    """Files in the order in which their bytes lie in the cache."""
    place = places.get(batch.files[at].oid)
    if place is None:
        return ("", 0, at)
    return (place.path, place.row.frame_offset if place.row is not None else 0, at)


def _stat_at(folder: int, name: bytes) -> Stat:
    return _numbers(os.stat(name, dir_fd=folder, follow_symlinks=False))


def _stat(descriptor: int) -> Stat:
    return _numbers(os.fstat(descriptor))


def _numbers(found: os.stat_result) -> Stat:
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
