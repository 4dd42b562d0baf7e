"""Adding objects to the cache: small ones collected into packs, large ones as whole files.

Owns the rule which goes where, and the order that makes it safe: a pack is complete and durable
before its index names it; an object has its final name only when all its bytes are there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from dvlite.atomic import fsync_folder, open_to_publish, publish, temporary_name
from dvlite.storage.cache import Cache
from dvlite.storage.codec import FRAME_TARGET, pack_frame, unpack_frame
from dvlite.storage.consolidate import consolidate_if_many, forget_replaced
from dvlite.storage.directio import DirectWriter
from dvlite.storage.pack import DATA, Member, PackWriter
from dvlite.storage.row import RowKind, sort_rows
from dvlite.storage.segment import encode

# Creating 100,000 cache files costs more than reading and hashing them; below this many, a
# file each is simpler to evict and to repair.
PACK_FROM = 64
# Large enough that millions of files are a few packs, small enough to rewrite in gc.
LOCAL_PACK_TARGET = 256 << 20
# Linux's sync() waits until all is written; elsewhere it only begins to.
_SYNC_TOGETHER_FROM = 16


class CacheWriter:
    """Collects small objects of one operation. Use as a context manager: leaving it publishes.

    Nothing is visible to others before that; leaving it by an exception publishes nothing.
    One writer belongs to one thread. `whole`: it is not amid taking something, which only who
    catches a KeyboardInterrupt can find.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._seen: set[bytes] = set()
        self._frames: list[tuple[bytes, Sequence[Member]]] = []
        self._waiting: list[tuple[bytes, int, bytes]] = []
        self._waiting_bytes = 0
        self._trees: list[tuple[bytes, bytes]] = []
        self._objects = 0
        self._stream: DirectWriter | None = None
        self._temporary = ""
        self._pack: PackWriter | None = None
        self.whole = True

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._drop()

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._seen

    def add(self, oid: bytes, data: bytes, kind: int = RowKind.FILE) -> None:
        """Takes a small object or a tree; a second time is ignored."""
        if oid in self._seen:
            return
        self.whole = False
        self._seen.add(oid)
        if kind == RowKind.TREE:
            self._trees.append((oid, data))
        else:
            self._add_small(oid, data, kind)
        self.whole = True

    def _add_small(self, oid: bytes, data: bytes, kind: int) -> None:
        if self._waiting_bytes + len(data) > FRAME_TARGET:
            self._close_frame()
        self._objects += 1
        self._waiting.append((oid, kind, data))
        self._waiting_bytes += len(data)

    def add_frame(self, frame: bytes, members: Sequence[Member]) -> None:
        """Takes a finished frame (fetched and verified) with what is in it."""
        self.whole = False
        self._seen.update(member.id for member in members)
        self._take(frame, members)
        self.whole = True

    def _close_frame(self) -> None:
        """Packs what waits; while it is so little that it may become single files, it stays."""
        if not self._waiting or (self._pack is None and self._objects < PACK_FROM):
            return
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        begin = size = 0
        for at, (_, _, data) in enumerate(waiting):
            if at > begin and size + len(data) > FRAME_TARGET:
                self._write_frame(waiting[begin:at])
                begin, size = at, 0
            size += len(data)
        self._write_frame(waiting[begin:])

    def _write_frame(self, objects: Sequence[tuple[bytes, int, bytes]]) -> None:
        members, offset = [], 0
        for oid, kind, data in objects:
            members.append(Member(oid, kind, offset, len(data)))
            offset += len(data)
        self._write(pack_frame(b"".join([data for _, _, data in objects])), members)

    def _take(self, frame: bytes, members: Sequence[Member]) -> None:
        self._objects += len(members)
        if self._pack is None and self._objects < PACK_FROM:
            self._frames.append((frame, members))
        else:
            self._write(frame, members)

    def _write(self, frame: bytes, members: Sequence[Member]) -> None:
        pack = self._pack or self._open_pack()
        pack.add_frame(frame, members)
        if pack.size >= LOCAL_PACK_TARGET:
            self._publish_pack()

    def _open_pack(self) -> PackWriter:
        self._temporary = temporary_name(self._cache.temporary_folder, "pack-")
        self._stream = DirectWriter(self._temporary)
        self._pack = PackWriter(self._stream, DATA)
        for frame, members in self._frames:
            self._pack.add_frame(frame, members)
        self._frames.clear()
        return self._pack

    def _finish(self) -> None:
        if self._pack is None and self._objects + len(self._trees) < PACK_FROM:
            self._finish_single()
            return
        self._objects += len(self._trees)
        self._close_frame()
        for oid, data in self._trees:
            self._write(pack_frame(data), [Member(oid, RowKind.TREE, 0, len(data))])
        if self._pack is not None:
            self._publish_pack()
        consolidate_if_many(self._cache)

    def _finish_single(self) -> None:
        """A few objects become files of their own, trees after what is in them."""
        for oid, _, data in self._waiting:
            publish_object(self._cache, oid, data)
        for frame, members in self._frames:
            raw = unpack_frame(frame)
            for member in members:
                piece = raw[member.inner_offset : member.inner_offset + member.raw_length]
                publish_object(self._cache, member.id, piece)
        for oid, data in self._trees:
            publish_object(self._cache, oid, data)

    def _publish_pack(self) -> None:
        assert self._pack is not None and self._stream is not None
        cache = self._cache
        pack_id = self._pack.finish().hex()
        cache.make_folder(cache.packs_folder)
        final = os.path.join(cache.packs_folder, pack_id + ".pack")
        os.fchmod(self._stream.fileno(), 0o444)
        self._stream.finish(cache.durable)
        self._stream.close()
        forget_replaced(final[:-5])
        os.replace(self._temporary, final)
        index = encode(b"", sort_rows(self._pack.rows), [bytes.fromhex(pack_id)])
        publish(final[:-5] + ".idx", index, mode=0o444, durable=cache.durable, top=cache.folder)
        self._pack = self._stream = None

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            with suppress(OSError):
                os.unlink(self._temporary)
        self._pack = self._stream = None


def publish_object(cache: Cache, oid: bytes, data: bytes) -> None:
    """Adds one object as a file of its own."""
    path = cache.object_path(oid)
    cache.make_folder(os.path.dirname(path))
    with open_to_publish(
        path,
        mode=0o444,
        durable=cache.durable,
        temporary_folder=cache.temporary_folder,
        top=cache.folder,
    ) as stream:
        stream.write(data)


def adopt_file(cache: Cache, temporary: str, oid: bytes) -> None:
    """Gives a finished, verified file in the cache's temporary folder its name as an object.

    Its bytes must be synced already where durability is wanted.
    """
    folder = _rename_in(cache, temporary, oid)
    if cache.durable:
        fsync_folder(folder)


def adopt_files(cache: Cache, files: Sequence[tuple[str, bytes]]) -> None:
    """The same for many files (temporary path, oid) whose bytes are not synced yet.

    A thousand small fsyncs take seconds; from a few files on, one sync of everything does not.
    """
    together = len(files) > _SYNC_TOGETHER_FROM and sys.platform == "linux"
    if cache.durable and together:
        os.sync()
    for temporary, _ in files if cache.durable and not together else ():
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    folders = {_rename_in(cache, temporary, oid) for temporary, oid in files}
    if cache.durable and together:
        os.sync()
    for folder in folders if cache.durable and not together else ():
        fsync_folder(folder)


def _rename_in(cache: Cache, temporary: str, oid: bytes) -> str:
    path = cache.object_path(oid)
    folder = os.path.dirname(path)
    cache.make_folder(folder)
    os.chmod(temporary, 0o444)
    os.replace(temporary, path)
    return folder
