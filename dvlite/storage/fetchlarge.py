"""Fetching one large file: its recipe, its chunks in parallel, and its hash at the end.

Owns reuse: chunks that an older version on this machine has, or an interrupted fetch of this one
left, are copied from there. The file grows under a temporary name and becomes an object only when
all its bytes hash to its name; what a remote or a user stopped stays for the next fetch. Each chunk
is checked against its own name only where that hash was wrong, to find which one is bad: hashing
everything twice cost a fifth of the time, and frames have checksums against accidents.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from dvlite.atomic import lock_once
from dvlite.errors import CorruptError, DvliteError, MissingError
from dvlite.storage.backend import NotThere
from dvlite.storage.blockfile import BlockFile
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import adopt_file
from dvlite.storage.codec import unpack_into, unpack_view
from dvlite.storage.fetched import Copies
from dvlite.storage.index import Index
from dvlite.storage.localchunks import Copier, LocalFile, OtherBytesError, Run, cut_file
from dvlite.storage.oid import hash_bytes, hash_recipe_part, to_text
from dvlite.storage.pack import Member
from dvlite.storage.partial import LocalVersions, drop_left, unfinished_name
from dvlite.storage.planes import expect
from dvlite.storage.ranges import FrameWant, group_frames, read_frames, read_somewhere
from dvlite.storage.recipe import CHUNKS, PARTS, TREE, Hint, Need, Recipe
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.row import RowKind

Tell = Callable[[int, int], None]

# Chunks looked up at a time (128 MB of file) while those before are read.
_BATCH = 2_048
# Fewer where an older version is here (16 MB): read and copied parts of a block meet in memory.
_STEP = 256


class LargeNeed(NamedTuple):
    """A large file to fetch: where its recipe lies, an older version if one is here, and where a
    copy is to be made at the same time."""

    oid: bytes
    size: int
    hint: Hint
    label: str
    path: bytes
    previous: bytes | None
    copies: Copies | None = None


def fetch_large(index: Index, cache: Cache, need: LargeNeed, jobs: int, tell: Tell) -> int:
    """Fetches one file into the cache; returns how many bytes were here already.

    `tell(read, done)` is called as bytes come over the wire and become bytes of the file.

    Raises:
        MissingError, CorruptError: parts of it are nowhere, or not what their names say.
    """
    local = LocalVersions(cache, need.oid, need.previous)
    assembly = _Assembly(index, jobs, tell, local)
    problem: DvliteError = MissingError(f"{to_text(need.oid)} is not on the remote")
    try:
        # a file has several recipes where one was lost and written anew
        for hint in assembly.places(Need(need.oid, need.hint), RowKind.FILE_RECIPE):
            for assembly.checks_chunks in (False, True):
                try:
                    _fetch_by(assembly, cache, need._replace(hint=hint))
                    return assembly.reused
                except (CorruptError, MissingError, NotThere) as error:
                    problem = error
                if not isinstance(problem, OtherBytesError):
                    break
    finally:
        local.close()
        drop_left(cache, need.oid)
    raise problem


def _fetch_by(assembly: _Assembly, cache: Cache, need: LargeNeed) -> None:
    """Fetches a file by one of its recipes."""
    temporary, file = _new_file(cache, need)
    expect(need.size)
    try:
        assembly.run(need, file)
        if file.finish() != need.oid:
            raise OtherBytesError(f"what the remote has as {to_text(need.oid)} are other bytes")
        if cache.durable:
            os.fsync(file.descriptor)
        adopt_file(cache, temporary, need.oid)
        if need.copies is not None and file.has_copy:
            need.copies.done(need.oid, need.size)
    except (CorruptError, MissingError, NotThere, OSError):
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        file.close()


def _new_file(cache: Cache, need: LargeNeed) -> tuple[str, BlockFile]:
    """A file to fetch into, locked. Until it is, another fetch of the same may take it for a
    leftover, and remove it; then it is not this one's."""
    while True:
        temporary = unfinished_name(cache, need.oid)
        copy = need.copies.open(need.oid, need.size) if need.copies is not None else (-1, -1)
        file = BlockFile(temporary, need.size, copy)
        try:
            is_ours = lock_once(file.descriptor) and os.path.exists(temporary)
        except OSError:  # a file system without locks: what is left is not found again
            is_ours = True
        if is_ours:
            return temporary, file
        file.close()


class _Assembly:
    """Writes chunks where they belong in a file."""

    def __init__(self, index: Index, jobs: int, tell: Tell, local: LocalVersions) -> None:
        self.index, self.jobs, self.tell, self.local = index, jobs, tell, local
        self.file: BlockFile
        self.sources: list[LocalFile] = []
        self.copier: Copier
        self.checks_chunks = True
        # where the chunks belong that are being read
        self.offsets: dict[bytes, list[int]] = {}
        self.lock = threading.Lock()
        self.reused = 0
        self.end = 0

    def run(self, need: LargeNeed, file: BlockFile) -> None:
        """Writes all of a file, by the recipe that the need's hint leads to."""
        self.file, self.reused, self.end = file, 0, 0
        self.offsets.clear()
        needs = self._chunks(self._recipe(need.oid, RowKind.FILE_RECIPE, [need.hint]))
        self.sources = list(self._sources(need.previous))
        self.copier = Copier(file, self.jobs, self._tell_reused)
        try:
            self._write(needs, need.size)
            self.copier.finish()
        finally:
            self.copier.stop()
        if self.end != need.size:
            raise CorruptError(
                f"the remote's recipe of {need.label} makes {self.end} bytes, not {need.size}"
            )

    def _chunks(self, recipe: Recipe) -> Iterator[Need]:
        if recipe.what == CHUNKS:
            yield from recipe.needs()
        elif recipe.what == PARTS:
            for part in recipe.needs():
                places = self.places(part, RowKind.RECIPE_PART)
                inner = self._recipe(part.id, RowKind.RECIPE_PART, places)
                if inner.what != CHUNKS:
                    raise CorruptError("a part of a recipe does not hold chunks")
                yield from inner.needs()
        else:
            raise CorruptError("a file's recipe is a tree's")

    def _recipe(self, oid: bytes, kind: RowKind, places: Iterable[Hint]) -> Recipe:
        def use(want: FrameWant, frame: memoryview) -> Recipe:
            raw = unpack_view(frame)
            member = want.members[0]
            data = bytes(raw[member.inner_offset : member.inner_offset + member.raw_length])
            if kind == RowKind.RECIPE_PART and hash_recipe_part(data) != oid:
                raise CorruptError("a part of a recipe does not match its name")
            self.tell(len(frame), 0)
            recipe = decode_recipe(data, want.pack)
            if recipe.what == TREE:
                raise CorruptError("a file's recipe is a tree's")
            return recipe

        return self._first_good(oid, places, use)

    def _write(self, needs: Iterator[Need], size: int) -> None:
        """Puts chunks one after the other into the file."""
        backend = self.index.remote.backend
        wanted = self._wanted(needs, size)
        for outcome in read_somewhere(backend, wanted, self._others, self._use, self.jobs):
            if outcome.error is not None:
                raise outcome.error

    def _wanted(self, needs: Iterator[Need], size: int) -> Iterator[dict[bytes, Hint]]:
        """Where those chunks are that must be read, some at a time. Those that are here are copied
        a step later: the others of their blocks are being read by then."""
        waiting: list[Run] = []
        for batch in iter(lambda: list(islice(needs, _BATCH)), []):
            hints = self._resolve(batch)
            step = _STEP if self.sources else _BATCH
            for begin in range(0, len(batch), step):
                ready, waiting = waiting, []
                chunks = ((need.id, hints[need.id]) for need in batch[begin : begin + step])
                yield self._lacking(chunks, size, waiting)
                self.copier.copy(ready)
        self.copier.copy(waiting)

    def _lacking(
        self, chunks: Iterable[tuple[bytes, Hint]], size: int, here: list[Run]
    ) -> dict[bytes, Hint]:
        """Those of the next chunks that must be read; how to copy the others is added to `here`."""
        wanted: dict[bytes, Hint] = {}
        for source in self.sources:
            source.near(self.end)
        for chunk_id, hint in chunks:
            offset = self.end
            self.end += hint.raw_length
            if self.end > size:
                raise CorruptError("a recipe on the remote makes more bytes than its file has")
            if self._from_local(chunk_id, offset, here):
                continue
            with self.lock:
                offsets = self.offsets.setdefault(chunk_id, [])
                offsets.append(offset)
            if len(offsets) == 1:
                wanted[chunk_id] = hint
        return wanted

    def _use(self, want: FrameWant, frame: memoryview) -> None:
        if not self._use_in_place(want, frame):
            self._use_copied(want, frame)

    def _use_in_place(self, want: FrameWant, frame: memoryview) -> bool:
        """Undoes a frame to where its chunk belongs; False where it cannot be: the chunk is to be
        checked first, or not all of the frame, or belongs to no single block in memory."""
        if self.checks_chunks or len(want.members) > 1:
            return False
        chunk_id, _, _, length = want.members[0]
        first = self.offsets[chunk_id][0]
        place = self.file.place(first, length)
        if place is None or not unpack_into(frame, place):
            return False
        with self.lock:
            offsets = self.offsets.pop(chunk_id)
        for offset in offsets[1:]:
            self.file.write(place, offset)
        self.file.placed(first, length)
        self.tell(len(frame), length * len(offsets))
        return True

    def _use_copied(self, want: FrameWant, frame: memoryview) -> None:
        raw = unpack_view(frame)
        chunks = {
            member: raw[member.inner_offset : member.inner_offset + member.raw_length]
            for member in want.members
        }
        for member, chunk in chunks.items():  # all before the first is written, so that none is
            self._check(member, chunk)  # written twice after an error
        for member, chunk in chunks.items():
            with self.lock:
                offsets = self.offsets.pop(member.id)
            for offset in offsets:
                self.file.write(chunk, offset)
            self.tell(0, len(chunk) * len(offsets))
        self.tell(len(frame), 0)

    def _others(self, chunk_id: bytes, bad: Hint, error: DvliteError) -> Iterator[Hint]:
        places = self.places(Need(chunk_id, bad), RowKind.CHUNK)
        if isinstance(error, NotThere):
            next(places)
        return places

    def _check(self, member: Member, chunk: memoryview) -> None:
        wrong = self.checks_chunks and hash_bytes(chunk) != member.id
        if wrong or len(chunk) != member.raw_length:
            raise CorruptError("a chunk on the remote does not match its name")

    def _sources(self, previous: bytes | None) -> Iterator[LocalFile]:
        """What is here, and which chunks are where in it.

        Where the chunks of the version before are, its recipe on the remote says without reading
        it; were that wrong, the file's hash would be too, and then all is cut and checked.
        """
        for file in self.local.left:
            yield LocalFile(file, cut_file(file))
        if self.local.before is None:
            return
        chunks = None if self.checks_chunks or previous is None else self._recorded(previous)
        yield LocalFile(self.local.before, chunks or cut_file(self.local.before))

    def _recorded(self, oid: bytes) -> Iterator[tuple[bytes, int]] | None:
        """The chunks of an object by its recipe; None when the remote has none, or a bad one."""
        with suppress(DvliteError, NotThere):
            hint = self.index.objects([oid]).get(oid)
            if hint is not None and hint.kind == RowKind.FILE_RECIPE:
                recipe = self._recipe(oid, RowKind.FILE_RECIPE, [hint])
                return self._lengths(self._chunks(recipe))
        return None

    def _lengths(self, needs: Iterator[Need]) -> Iterator[tuple[bytes, int]]:
        with suppress(DvliteError, NotThere):  # a part that is lost ends it: the rest is fetched
            for batch in iter(lambda: list(islice(needs, _BATCH)), []):
                hints = self._resolve(batch)
                for need in batch:
                    yield need.id, hints[need.id].raw_length

    def _from_local(self, chunk_id: bytes, offset: int, here: list[Run]) -> bool:
        for source in self.sources:
            if self.checks_chunks:
                data = source.read(chunk_id)
                if data is not None:
                    self.file.write(data, offset)
                    self._tell_reused(len(data))
                    return True
            else:
                run = source.locate(chunk_id, offset)
                if run is not None:
                    here.append(run)
                    return True
        return False

    def _tell_reused(self, count: int) -> None:
        self.reused += count
        self.tell(0, count)

    def _resolve(self, batch: list[Need]) -> dict[bytes, Hint]:
        hints = {need.id: need.hint for need in batch if need.hint is not None}
        unknown = {need.id for need in batch if need.hint is None} - hints.keys()
        if unknown:
            hints |= self.index.chunks(unknown)
            if unknown - hints.keys():
                raise MissingError("a chunk of it is not on the remote")
        return hints

    def _first_good(
        self, oid: bytes, places: Iterable[Hint], use: Callable[[FrameWant, memoryview], Recipe]
    ) -> Recipe:
        """Reads a recipe at the first of its places that is good; where it came damaged, twice."""
        problem: DvliteError = MissingError(f"{to_text(oid)} is not on the remote")
        backend = self.index.remote.backend
        for hint in places:
            for _ in range(2):
                for outcome in read_frames(backend, group_frames({oid: hint}), use, 1):
                    if outcome.value is not None:
                        return outcome.value
                    problem = outcome.error or problem
                if not isinstance(problem, CorruptError):
                    break
        raise problem

    def places(self, need: Need, kind: RowKind) -> Iterator[Hint]:
        """Where something may be: at its hint, then wherever the index says."""
        if need.hint is not None:
            yield need.hint
        piece = kind != RowKind.FILE_RECIPE
        for hint in self.index.every_place(need.id, chunk=piece):
            if hint != need.hint and hint.kind == kind:
                yield hint
