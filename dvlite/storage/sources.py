"""Where bytes that a remote lost may still be: this machine's cache, and other remotes.

Owns finding them by id. Whatever is given is verified. Chunks are cut again out of the large
files of the cache: files that need them first, then all others, each read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from dvlite.errors import CorruptError, DvliteError, MissingError
from dvlite.storage.backend import NotThere
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.chunker import SMALL_BYTES, cut
from dvlite.storage.codec import unpack_frame
from dvlite.storage.directio import DirectReader
from dvlite.storage.index import Index
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import Member
from dvlite.storage.packcheck import is_right
from dvlite.storage.ranges import FrameWant, group_frames, read_frames
from dvlite.storage.recipe import Hint
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.remote import pack_name
from dvlite.storage.row import PIECES, RowKind
from dvlite.storage.tree import Tree, decode


class Sources:
    """What is to be had elsewhere. `others`: the indexes of other remotes."""

    def __init__(self, cache: Cache, others: Sequence[Index] = ()) -> None:
        self.cache = cache
        self.others = others
        self._chunks: dict[bytes, tuple[str, int, int]] = {}

    def look_for_chunks(self, wanted: Iterable[bytes], likely: Iterable[bytes]) -> None:
        """Finds chunks in the cache's large files; `likely`: oids of files that had them."""
        left = set(wanted) - self._chunks.keys()
        for path in self._large_files(likely):
            if not left:
                return
            for chunk, offset, length in _cut_file(path):
                if chunk in left:
                    self._chunks[chunk] = (path, offset, length)
                    left.discard(chunk)

    def raw(self, oid: bytes, kind: int) -> bytes | None:
        """The bytes that a row of that id and kind promises; None where nobody has them."""
        found = self._from_cache(oid, kind)
        if found is not None:
            return found
        for index in self.others:
            for member, _, data in self._from_other(index, oid, kind):
                if is_right(member, data):
                    return data
        return None

    def pack(self, pack: bytes) -> bytes | None:
        """A whole pack, from a remote that has the same one."""
        for index in self.others:
            try:
                data = index.remote.backend.read(pack_name(pack))
            except NotThere:
                continue
            if hash_bytes(data) == pack:
                return data
        return None

    def bring_tree(self, oid: bytes, more: Sequence[Index] = ()) -> Tree | None:
        """A tree, in the cache from now on; None where nobody has it."""
        try:
            return self.cache.read_tree(oid)
        except (MissingError, CorruptError):
            pass
        for index in (*more, *self.others):
            for member, pack, data in self._from_other(index, oid, RowKind.TREE_RECIPE):
                if is_right(member, data):
                    body = decode_recipe(data, pack).body
                    with CacheWriter(self.cache) as writer:
                        writer.add(oid, body, RowKind.TREE)
                    return decode(body)
        return None

    def _from_cache(self, oid: bytes, kind: int) -> bytes | None:
        try:
            if kind == RowKind.FILE:
                place = self.cache.find(oid)
                if place is None or (place.row is None and _is_large(place.path)):
                    return None  # a large file is no row of its own
                data = self.cache.read(oid)
            elif kind == RowKind.CHUNK and oid in self._chunks:
                path, offset, length = self._chunks[oid]
                with open(path, "rb") as stream:
                    stream.seek(offset)
                    data = stream.read(length)
            else:
                return None
        except (DvliteError, OSError):
            return None
        return data if hash_bytes(data) == oid else None

    def _from_other(
        self, index: Index, oid: bytes, kind: int
    ) -> Iterator[tuple[Member, bytes, bytes]]:
        """What the places of an id on another remote hold, with the pack of each."""

        def use(want: FrameWant, frame: memoryview) -> bytes:
            member = want.members[0]
            raw = unpack_frame(frame)
            return raw[member.inner_offset : member.inner_offset + member.raw_length]

        for hint in _places(index, oid, kind):
            for outcome in read_frames(index.remote.backend, group_frames({oid: hint}), use, 1):
                if outcome.value is not None:
                    yield outcome.want.members[0], hint.pack, outcome.value
                elif not isinstance(outcome.error, CorruptError | NotThere | None):
                    raise outcome.error

    def _large_files(self, likely: Iterable[bytes]) -> Iterator[str]:
        seen = set()
        for oid in likely:
            path = self.cache.object_path(oid)
            seen.add(path)
            if _is_large(path):
                yield path
        for _, path in self.cache.loose_objects():
            if path not in seen and _is_large(path):
                yield path


def _places(index: Index, oid: bytes, kind: int) -> Iterator[Hint]:
    try:
        for hint in index.every_place(oid, chunk=kind in PIECES):
            if hint.kind == kind:
                yield hint
    except CorruptError:  # the other one is damaged too
        return


def _is_large(path: str) -> bool:
    try:
        return os.stat(path).st_size >= SMALL_BYTES
    except OSError:
        return False


def _cut_file(path: str) -> Iterator[tuple[bytes, int, int]]:
    """Id, offset and length of each chunk of a file."""
    offset = 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for chunks in cut(DirectReader(descriptor)):
            for chunk in chunks:
                yield hash_bytes(chunk), offset, len(chunk)
                offset += len(chunk)
    finally:
        os.close(descriptor)
