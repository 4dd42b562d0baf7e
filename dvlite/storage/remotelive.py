"""What of a remote is alive: everything that its roots need, found by reading trees and recipes.

Owns the walk and the set of ids that comes of it. The set holds eight bytes an id, sorted into 256
buckets, as one of ten million chunks has to fit into memory. Two ids that share eight bytes keep
each other alive, which costs a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dvlite.errors import CorruptError, DvliteError
from dvlite.storage.codec import unpack_frame
from dvlite.storage.index import Index
from dvlite.storage.pack import Member
from dvlite.storage.ranges import FrameWant, read_somewhere
from dvlite.storage.recipe import PARTS, Hint
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.row import RowKind
from dvlite.storage.tree import decode as decode_tree

BUCKETS = 256
_WORD = 8
# A bucket is freed of repeats when it has grown by so many ids, and doubled.
_GROWN = 4096
_AT_ONCE = 8192


class IdSet:
    """A set of ids that only grows, and is asked a bucket at a time."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(BUCKETS)]
        self._compact = [0] * BUCKETS

    def add(self, ids: Iterable[bytes]) -> None:
        """Takes ids."""
        for oid in ids:
            bucket = self._buckets[oid[0]]
            bucket += oid[:_WORD]
            if len(bucket) > 2 * self._compact[oid[0]] + _GROWN * _WORD:
                self._shrink(oid[0])

    def bucket(self, number: int) -> set[bytes]:
        """The first eight bytes of the ids that begin with this byte."""
        data = bytes(self._buckets[number])
        return {data[at : at + _WORD] for at in range(0, len(data), _WORD)}

    def has(self, word: bytes) -> bool:
        """Whether an id is in it; slow, for one now and then."""
        return word[:_WORD] in self.bucket(word[0])

    def _shrink(self, number: int) -> None:
        self._buckets[number] = bytearray(b"".join(self.bucket(number)))
        self._compact[number] = len(self._buckets[number])


@dataclass(slots=True)
class Alive:
    """What roots need. `absent`: roots that the remote does not have at all."""

    objects: IdSet = field(default_factory=IdSet)
    pieces: IdSet = field(default_factory=IdSet)
    absent: set[bytes] = field(default_factory=set)
    count: int = 0


class Walk:
    """Follows roots through the trees and recipes of a remote."""

    def __init__(self, index: Index, jobs: int, tell: Callable[[int], None]) -> None:
        self.index, self.jobs, self.tell = index, jobs, tell
        self.alive = Alive()
        self._seen: set[bytes] = set()

    def add_roots(self, roots: Iterable[bytes]) -> None:
        """Marks what these need.

        Raises:
            CorruptError: a root is there, but something that it needs is not, or cannot be read.
        """
        level, top = {oid for oid in roots if oid not in self._seen}, True
        while level:
            following: set[bytes] = set()
            waiting = sorted(level - self._seen)
            for at in range(0, len(waiting), _AT_ONCE):
                following |= self._objects(waiting[at : at + _AT_ONCE], top)
            level, top = following, False

    def _objects(self, oids: list[bytes], top: bool) -> set[bytes]:
        """Marks objects; those in the trees among them."""
        found = self.index.objects(oids)
        lacking = [oid for oid in oids if oid not in found]
        if lacking and top:
            self.alive.absent.update(lacking)
        elif lacking:
            raise _incomplete(lacking[0])
        self._seen.update(found)
        self.alive.objects.add(found)
        self.alive.count += len(found)
        self.tell(self.alive.count)
        below: set[bytes] = set()
        pieces: set[bytes] = set()
        parts: set[bytes] = set()
        recipes = {oid: hint for oid, hint in found.items() if hint.kind != RowKind.FILE}
        for kind, ids, inner in self._read(recipes, chunk=False):
            if kind == RowKind.TREE_RECIPE:
                below.update(ids)
            else:
                (parts if inner else pieces).update(ids)
        self._pieces(pieces, parts)
        return below - self._seen

    def _pieces(self, pieces: set[bytes], parts: set[bytes]) -> None:
        self.alive.pieces.add(pieces)
        while parts:
            self.alive.pieces.add(parts)
            found = self.index.chunks(parts)
            if len(found) < len(parts):
                raise _incomplete(min(parts - found.keys()))
            parts = set()
            for _, ids, inner in self._read(found, chunk=True):
                if inner:
                    parts.update(ids)
                self.alive.pieces.add(ids)

    def _read(
        self, hints: dict[bytes, Hint], chunk: bool
    ) -> Iterator[tuple[int, list[bytes], bool]]:
        """Kind and needs of each tree and recipe, and whether those are parts of recipes."""

        def others(oid: bytes, failed: Hint, error: DvliteError) -> Iterator[Hint]:
            return (hint for hint in self.index.every_place(oid, chunk) if hint != failed)

        backend = self.index.remote.backend
        for outcome in read_somewhere(backend, [hints], others, _needs, self.jobs):
            if outcome.value is None:
                oid = outcome.want.members[0].id
                raise CorruptError(
                    f"{oid.hex()[:12]} cannot be read on the remote: {outcome.error}",
                    "dvlite remote check --repair, then run this again",
                )
            yield from outcome.value


def _needs(want: FrameWant, frame: memoryview) -> list[tuple[int, list[bytes], bool]]:
    raw = unpack_frame(frame)
    return [_needs_of(member, raw, want.pack) for member in want.members]


def _needs_of(member: Member, raw: bytes, pack: bytes) -> tuple[int, list[bytes], bool]:
    data = raw[member.inner_offset : member.inner_offset + member.raw_length]
    recipe = decode_recipe(data, pack)
    if member.kind == RowKind.TREE_RECIPE:
        return member.kind, list(decode_tree(recipe.body).oid_list()), False
    return member.kind, [need.id for need in recipe.needs()], recipe.what == PARTS


def _incomplete(oid: bytes) -> CorruptError:
    return CorruptError(
        f"the remote lacks {oid.hex()[:12]}, which something that is in use needs",
        "dvlite remote check --repair, then run this again",
    )
