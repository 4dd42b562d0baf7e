"""Whether everything that objects need is there: from trees and recipes to files and chunks.

Owns the promise of an object's row, checked: each tree and recipe on a remote is read once, and
what it names is looked up. What fails is passed up to the trees above. Memory: one number for
each tree, and only when something fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import CorruptError
from dvlite.storage.backend import NotThere
from dvlite.storage.codec import unpack_frame
from dvlite.storage.index import Index
from dvlite.storage.packcheck import BadPlaces, place
from dvlite.storage.ranges import FrameWant, group_frames, read_frames
from dvlite.storage.recipe import CHUNKS, PARTS, Hint
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.remote import SegmentName
from dvlite.storage.row import ROW_BYTES, RowKind, read_row
from dvlite.storage.segment import Segment
from dvlite.storage.tree import Kind, decode

# Trees and recipes read at a time: one is mostly below 100 KB.
_BATCH = 256
_META = frozenset((RowKind.TREE_RECIPE, RowKind.FILE_RECIPE, RowKind.RECIPE_PART))
OpenWhole = Callable[[SegmentName], Segment]


class _Read(NamedTuple):
    """A tree or recipe, and what it needs. `inner`: the trees or parts among that."""

    id: bytes
    kind: int
    needs: tuple[bytes, ...]
    inner: tuple[bytes, ...]


@dataclass(slots=True)
class Needs:
    """What came of it. `lacking_objects`, `lacking_chunks`: needed and nowhere good. `broken`:
    objects that cannot be had whole, the lacking ones among them."""

    lacking_objects: set[bytes] = field(default_factory=set)
    lacking_chunks: set[bytes] = field(default_factory=set)
    broken: set[bytes] = field(default_factory=set)

    @property
    def lacking(self) -> set[bytes]:
        """Both."""
        return self.lacking_objects | self.lacking_chunks


@dataclass(slots=True)
class Places:
    """Look-ups that pass over bad places."""

    index: Index
    bad: BadPlaces

    def lacking(self, ids: Iterable[bytes], chunk: bool) -> set[bytes]:
        """Those ids that have no good place."""
        wanted = set(ids)
        found = self.index.chunks(wanted) if chunk else self.index.objects(wanted)
        lacking = wanted - found.keys()
        if self.bad:
            for oid, hint in found.items():
                if self.bad.has(oid, hint) and not any(self.good(oid, chunk)):
                    lacking.add(oid)
        return lacking

    def good(self, oid: bytes, chunk: bool) -> Iterator[Hint]:
        """The good places of an id."""
        for hint in self.index.every_place(oid, chunk):
            if not self.bad.has(oid, hint):
                yield hint


def examine_needs(
    places: Places, open_whole: OpenWhole, wanted: Iterable[bytes], jobs: int
) -> Needs:
    """Looks up what every tree and recipe needs; `wanted` are objects that have to be there.

    Trees and recipes that turn out to be unreadable are added to the bad places.
    """
    known, wanted = -1, set(wanted)
    while known != len(places.bad.rows):  # what was found bad late may have been counted as good
        known = len(places.bad.rows)
        needs = _examine(places, open_whole, wanted, jobs)
    return needs


def _examine(places: Places, open_whole: OpenWhole, wanted: Iterable[bytes], jobs: int) -> Needs:
    needs = Needs(places.lacking(wanted, chunk=False))
    needs.broken = set(needs.lacking_objects)
    files_of_parts: dict[bytes, list[tuple[bytes, ...]]] = {}
    for some in _read_all(places, open_whole, jobs):
        _look_up(places, some, needs)
        for one in some:
            if one.kind == RowKind.FILE_RECIPE and one.inner:
                files_of_parts.setdefault(one.id, []).append(one.inner)
    for oid, recipes in files_of_parts.items():
        # a file has several recipes where one was lost and written anew: one that works will do
        if all(needs.broken.intersection(parts) for parts in recipes):
            needs.broken.add(oid)
    if needs.broken:
        _pass_up(places, open_whole, needs, jobs)
    return needs


def _look_up(places: Places, some: list[_Read], needs: Needs) -> None:
    trees = [one for one in some if one.kind == RowKind.TREE_RECIPE]
    recipes = [one for one in some if one.kind != RowKind.TREE_RECIPE]
    objects = places.lacking((oid for one in trees for oid in one.needs), chunk=False)
    chunks = places.lacking((oid for one in recipes for oid in one.needs), chunk=True)
    needs.lacking_objects |= objects
    needs.lacking_chunks |= chunks
    needs.broken |= objects | {one.id for one in trees if objects.intersection(one.needs)}
    parts = {part for one in recipes for part in one.inner}
    needs.broken |= chunks & parts
    needs.broken |= {one.id for one in recipes if not one.inner and chunks & set(one.needs)}


def _pass_up(places: Places, open_whole: OpenWhole, needs: Needs, jobs: int) -> None:
    """Adds the trees above what is broken: of every tree the folders in it, level by level."""
    above: dict[bytes, set[bytes]] = {}
    for some in _read_all(places, open_whole, jobs):
        for one in some:
            if one.kind == RowKind.TREE_RECIPE:
                if not needs.broken.isdisjoint(one.needs):
                    needs.broken.add(one.id)
                for inner in one.inner:
                    above.setdefault(inner, set()).add(one.id)
    waiting = list(needs.broken)
    while waiting:
        for oid in above.get(waiting.pop(), ()):
            if oid not in needs.broken:
                needs.broken.add(oid)
                waiting.append(oid)


def _read_all(places: Places, open_whole: OpenWhole, jobs: int) -> Iterator[list[_Read]]:
    """Every tree and recipe that has a good place, some at a time."""
    backend = places.index.remote.backend
    for batch in _batches(places, open_whole):
        wants = [want for oid, hint in batch for want in group_frames({oid: hint})]
        some: list[_Read] = []
        for outcome in read_frames(backend, wants, _read, jobs):
            if outcome.error is None:
                assert outcome.value is not None
                some.append(outcome.value)
            elif isinstance(outcome.error, CorruptError | NotThere):
                # not in the sample that was verified, and damaged all the same
                want = outcome.want
                member = want.members[0]
                places.bad.rows.add((want.pack, member.id, member.kind))
            else:
                raise outcome.error
        yield some


def _batches(places: Places, open_whole: OpenWhole) -> Iterator[list[tuple[bytes, Hint]]]:
    batch: list[tuple[bytes, Hint]] = []
    for name in places.index.listing.readable:
        segment = open_whole(name)
        packs = segment.pack_ids()
        for table in (segment.chunks, segment.objects):
            rows = table.all_rows()
            for start in range(0, len(rows), ROW_BYTES):
                if rows[start + 32] not in _META:
                    continue
                row = read_row(rows, start)
                hint = place(packs[row.pack], row)
                if not places.bad.has(row.id, hint):
                    batch.append((row.id, hint))
                if len(batch) >= _BATCH:
                    yield batch
                    batch = []
    if batch:
        yield batch


def _read(want: FrameWant, frame: memoryview) -> _Read:
    member = want.members[0]
    raw = unpack_frame(frame)
    data = raw[member.inner_offset : member.inner_offset + member.raw_length]
    recipe = decode_recipe(data, want.pack)
    if member.kind == RowKind.TREE_RECIPE:
        tree = decode(recipe.body)
        oids = tree.oid_list()
        inner = [oid for oid, kind in zip(oids, tree.kinds, strict=True) if kind >= Kind.TREE]
        return _Read(member.id, member.kind, tuple(oids), tuple(inner))
    ids = tuple(need.id for need in recipe.needs())
    if recipe.what not in (CHUNKS, PARTS):
        raise CorruptError("a file's recipe is a tree's")
    return _Read(member.id, member.kind, ids, ids if recipe.what == PARTS else ())
