"""Which packs and segments of a remote are worth keeping, given what is alive.

Owns the counting: for every id one place is chosen, among all that segments name, and counts for
its pack. A bucket of ids at a time, so that an index of any size fits into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import CorruptError
from dvlite.storage.index import Index
from dvlite.storage.inventory import open_whole
from dvlite.storage.remote import Remote, SegmentName, render_name
from dvlite.storage.remotelive import BUCKETS, Alive
from dvlite.storage.row import PIECES, Row, RowKind, read_rows
from dvlite.storage.segment import Segment, open_segment

# Of a pack whose content has died by more than this, the rest is copied out.
SPARSE = 0.5
# Packs below this size are joined where there are so many: pushes of a few files leave two each.
SMALL_PACK_BYTES = 1 << 20
MANY_SMALL = 64
# Whole segments up to so much are held in memory; larger ones are read a bucket at a time.
_HELD_BYTES = 64 << 20
_BITS = BUCKETS.bit_length() - 1


class Place(NamedTuple):
    """Where a row says that its id lies. `rank`: 0 in a pack that stays, 1 in a condemned one, 2 in
    one that is gone; the least is chosen."""

    rank: int
    pack: bytes
    segment: int
    row: Row


@dataclass(slots=True)
class PackFate:
    """A pack that is there, and what becomes of it. `named`, `alive`: raw bytes that segments name
    in it, and those of them that are alive and chosen to stay here."""

    size: int
    is_young: bool
    is_condemned: bool = False
    named: int = 0
    alive: int = 0
    is_moved: bool = False
    is_dead: bool = False


@dataclass(slots=True)
class Counted:
    """What the counting says of a segment: rows that are dead, and whether it can stay."""

    name: SegmentName
    is_young: bool
    packs: list[bytes] = field(default_factory=list)
    dead_rows: int = 0
    stays: bool = False


@dataclass(slots=True)
class Census:
    """The packs that are there and the segments that readers use. `only_untrusted`: how many living
    ids have no place that a pusher could count on."""

    remote: Remote
    alive: Alive
    packs: dict[bytes, PackFate]
    segments: list[Counted]
    trusted: frozenset[str]
    tell: Callable[[int, int], None] = lambda done, total: None
    only_untrusted: int = 0
    _opened: dict[str, Segment] = field(default_factory=dict)

    def count(self) -> None:
        """Counts what is alive where; then decides about each pack.

        Raises:
            CorruptError: something is alive and in no pack that is there.
        """
        for number in range(BUCKETS):
            for places, is_alive in self.places(number):
                if is_alive:
                    chosen = _choose(places)
                    if chosen.pack not in self.packs:
                        raise CorruptError(
                            f"{chosen.row.id.hex()[:12]} is in use, and its pack is gone",
                            "dvlite remote check --repair, then run this again",
                        )
                    self.packs[chosen.pack].alive += chosen.row.raw_length
                    named = (self.segments[place.segment].name.id for place in places)
                    self.only_untrusted += self.trusted.isdisjoint(named)
                for place in {place.pack: place for place in places}.values():
                    if place.pack in self.packs:
                        self.packs[place.pack].named += place.row.raw_length
                if not is_alive:
                    for place in places:
                        self.segments[place.segment].dead_rows += 1
        self._decide()

    def places(self, number: int) -> Iterator[tuple[list[Place], bool]]:
        """For each id of a bucket, where it lies, and whether it is alive."""
        self.tell(number, BUCKETS)
        for pieces in (True, False):
            words = (self.alive.pieces if pieces else self.alive.objects).bucket(number)
            found: dict[bytes, list[Place]] = {}
            young: set[bytes] = set()
            for at, counted in enumerate(self.segments):
                segment = self._open(counted)
                table = segment.chunks if pieces else segment.objects
                if not table.rows[1]:
                    continue
                counts = counted.is_young and counted.name.id in self.trusted
                for row in read_rows(table.rows_in(number, _BITS)):
                    found.setdefault(row.id, []).append(self._place(at, counted, row))
                    if counts:
                        young.add(row.id)
            for oid, places in found.items():
                yield places, oid[:8] in words or oid in young

    def chosen(self, number: int) -> Iterator[Place]:
        """The place of each living id of a bucket that no segment which stays has."""
        for places, is_alive in self.places(number):
            if not is_alive:
                continue
            staying = (self.segments[place.segment].stays for place in places)
            if not any(staying):
                yield _choose(places)

    def _place(self, at: int, counted: Counted, row: Row) -> Place:
        if row.pack >= len(counted.packs):
            raise CorruptError(f"{render_name(counted.name)} numbers a pack that it lacks")
        pack = counted.packs[row.pack]
        fate = self.packs.get(pack)
        return Place(2 if fate is None else int(fate.is_condemned), pack, at, row)

    def _open(self, counted: Counted) -> Segment:
        """A segment, held or to be read a bucket at a time."""
        name = counted.name
        if name.id not in self._opened:
            total = sum(one.name.counts.size_bytes() for one in self.segments)
            if total <= _HELD_BYTES:
                self._opened[name.id] = open_whole(self.remote, name)
            else:
                backend, stored = self.remote.backend, render_name(name)
                self._opened[name.id] = open_segment(
                    name.counts, lambda offset, length: backend.read(stored, offset, length)
                )
            counted.packs = self._opened[name.id].pack_ids()
        return self._opened[name.id]

    def _decide(self) -> None:
        small = [
            pack
            for pack, fate in self.packs.items()
            if fate.alive and fate.size < SMALL_PACK_BYTES and not fate.is_young
        ]
        for fate in self.packs.values():
            if fate.is_condemned:
                fate.is_moved = fate.alive > 0
            elif not fate.is_young:
                fate.is_dead = not fate.alive
                fate.is_moved = 0 < fate.alive < SPARSE * fate.named
        if len(small) >= MANY_SMALL:
            for pack in small:
                self.packs[pack].is_moved = True


def young_roots(
    index: Index, segments: Iterable[Counted], trusted: frozenset[str]
) -> Iterator[bytes]:
    """Roots that young segments name, of those that pushers count on."""
    for one in segments:
        if one.is_young and one.name.id in trusted:
            yield from index.segment(one.name).roots()


def young_objects(
    index: Index, segments: Iterable[Counted], trusted: frozenset[str]
) -> Iterator[bytes]:
    """Trees and recipes of which such segments have rows, also below no root of theirs: a push that
    lacks one file of a folder names the others. Their rows stay, so what they promise has to."""
    for one in segments:
        if one.is_young and one.name.id in trusted:
            table = index.segment(one.name).objects
            for number in range(BUCKETS if table.rows[1] else 0):
                rows = read_rows(table.rows_in(number, _BITS))
                yield from (row.id for row in rows if row.kind != RowKind.FILE)


def _choose(places: list[Place]) -> Place:
    return min(places, key=lambda place: (place.rank, place.pack))


def is_piece(row: Row) -> bool:
    """Whether a row belongs to the table of pieces."""
    return row.kind in PIECES
