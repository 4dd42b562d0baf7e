"""Large files of a push: cut, looked up, compressed, and their recipes.

Owns the memory bound: of a huge file, never more is held than one part of its recipe (about
1 GB of file). Every file is hashed again while it is read: a damaged cache must not become a
damaged remote.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from dvlite.errors import CorruptError
from dvlite.storage.cache import Cache
from dvlite.storage.chunker import cut
from dvlite.storage.codec import best_width, pack_frame
from dvlite.storage.directio import DirectReader
from dvlite.storage.index import Index
from dvlite.storage.oid import file_hasher, hash_bytes, hash_recipe_part, to_text
from dvlite.storage.pack import Member
from dvlite.storage.planes import expect
from dvlite.storage.recipe import CHUNKS, PART_CHUNKS, PARTS, Hint, encode_chunks
from dvlite.storage.row import RowKind
from dvlite.storage.sampling import Sample
from dvlite.storage.upload import Adopted, Uploader

# A part of one file holds 16,384 chunks; several small recipes wait together up to as many.
_PENDING = PART_CHUNKS
# Chunks of this push that are remembered to find repeats: 60 MB of memory, 20 GB of file.
_REMEMBERED = 300_000
# Compression is what a push of new data waits for; more threads than this wait for memory.
_COMPRESSORS = min(4, os.cpu_count() or 1)
# Chunks that a thread compresses before it is asked for more: handing one over takes as long as
# hashing it.
_AT_ONCE = 8


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, descriptor: int) -> None:
        self._reader = DirectReader(descriptor)
        self.hasher = file_hasher()

    def readinto(self, view: memoryview) -> int:
        """The next bytes."""
        count = self._reader.readinto(view)
        self.hasher.update(view[:count])
        return count


class LargeFiles:
    """Sends large files. Recipes wait until the packs they point into have their names."""

    def __init__(self, index: Index, cache: Cache, data: Uploader, meta: Uploader) -> None:
        self._index, self._cache, self._data, self._meta = index, cache, data, meta
        self._waiting: list[tuple[bytes, list[bytes], list[bytes]]] = []
        self._waiting_chunks = 0
        self._known: dict[bytes, Hint] = {}
        self._sent: set[bytes] = set()
        self._pool = ThreadPoolExecutor(_COMPRESSORS)
        self._sample: Sample | None = None
        self._size = 0
        self.adopted = Adopted()
        self.new_bytes = 0
        self.read_bytes = 0

    def has(self, oid: bytes) -> bool:
        """Whether this push sent that file already."""
        return oid in self._sent

    def send(self, oid: bytes, after_batch: Callable[[], None]) -> None:
        """Sends one file; its recipe follows with `flush`.

        Raises:
            CorruptError: the cache's bytes are not this object's; no recipe is written then.
        """
        ids: list[bytes] = []
        parts: list[bytes] = []
        descriptor = os.open(self._source(oid), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._size = os.fstat(descriptor).st_size
            hashing = _Hashing(descriptor)
            for chunks in cut(hashing):
                begin = 0
                while begin < len(chunks):
                    end = begin + PART_CHUNKS - len(ids)
                    ids += self._send_batch(chunks[begin:end])
                    if len(ids) == PART_CHUNKS:
                        parts.append(self._part(ids))
                        ids = []
                    begin = end
                after_batch()
            if hashing.hasher.digest() != oid:
                raise CorruptError(f"{to_text(oid)} is damaged in the cache")
        finally:
            os.close(descriptor)
        if parts and ids:
            parts.append(self._part(ids))
            ids = []
        self._sent.add(oid)
        self._waiting.append((oid, ids, parts))
        self._waiting_chunks += len(ids)
        if self._waiting_chunks >= _PENDING:
            self.flush()

    def flush(self) -> None:
        """Writes the recipes that wait. Closes the data pack, so that all hints are final."""
        if not self._waiting:
            self._known.clear()
            return
        self._data.close_pack()
        for oid, ids, parts in self._waiting:
            if parts:
                recipe = encode_chunks(
                    parts, [self._meta.piece_hint(part) for part in parts], PARTS
                )
            else:
                recipe = encode_chunks(ids, self._hints(ids), CHUNKS)
            self._meta.add(oid, RowKind.FILE_RECIPE, recipe)
        self._waiting, self._waiting_chunks = [], 0
        self._known.clear()

    def _source(self, oid: bytes) -> str:
        place = self._cache.find(oid)
        if place is None or place.row is not None:
            raise CorruptError(f"{to_text(oid)} is not a whole file in the cache")
        return place.path

    def _send_batch(self, chunks: list[memoryview]) -> list[bytes]:
        """Sends what is new of some chunks, with one sorted pass over the index."""
        self.read_bytes += sum(map(len, chunks))
        ids = [hash_bytes(chunk) for chunk in chunks]
        unknown = {
            chunk_id
            for chunk_id in ids
            if not self._data.has(chunk_id, piece=True) and chunk_id not in self._known
        }
        self._known.update(self._look_up(unknown))
        new = dict(zip(ids, chunks, strict=True))
        for chunk_id in ids:
            if self._data.has(chunk_id, piece=True) or chunk_id in self._known:
                new.pop(chunk_id, None)
        # neighbours are alike: one probe for about 8 MB
        width = best_width(next(iter(new.values()))) if new else 1
        if width > 1:
            expect(self._size)
        waiting = iter(new.values())
        parts = iter(lambda: list(islice(waiting, _AT_ONCE)), [])
        packed = self._pool.map(lambda part: [pack_frame(chunk, width) for chunk in part], parts)
        frames = chain.from_iterable(packed)
        for (chunk_id, chunk), frame in zip(new.items(), frames, strict=True):
            self._data.add_frame(frame, [Member(chunk_id, RowKind.CHUNK, 0, len(chunk))])
            self.new_bytes += len(chunk)
        return ids

    def _look_up(self, ids: set[bytes]) -> dict[bytes, Hint]:
        """Which of these chunks the remote has, for sure; of a very large index, most of them."""
        if self._index.is_near():
            return self._index.chunks(ids, trusted=True)
        self._sample = self._sample or Sample(self._index)
        sampled, beside = self._sample.find(ids)
        for one, hint in beside.items():
            self.adopted.add(one, hint)
        return sampled | beside

    def stop(self) -> None:
        """Ends the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _part(self, ids: list[bytes]) -> bytes:
        """Writes one part of a long recipe; returns its id."""
        self._data.close_pack()
        recipe = encode_chunks(ids, self._hints(ids), CHUNKS)
        part = hash_recipe_part(recipe)
        if not self._meta.has(part, piece=True):
            self._meta.add(part, RowKind.RECIPE_PART, recipe)
        if len(self._data.pieces.number_of) > _REMEMBERED:
            self.flush()
            self._data.pieces.forget_published()
        return part

    def _hints(self, ids: list[bytes]) -> list[Hint | None]:
        return [self._data.piece_hint(chunk) or self._known.get(chunk) for chunk in ids]
