"""A new index for what is still good of a damaged remote.

Owns how rows are taken back that lie. Nothing is changed in place: one new segment has the good
rows of every segment that lies or is damaged, and supersedes those. It begins an epoch, as gc
does, because pushers of this one may have counted on the bad rows: they plan again. What can be
read but is not complete goes into a segment of the epoch before: readers use it, and pushers do
not count on it, so that whoever has what is missing sends it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import CorruptError, RemoteError
from dvlite.storage.backend import NotThere
from dvlite.storage.check import CheckReport
from dvlite.storage.closure import Places, examine_needs
from dvlite.storage.index import Index
from dvlite.storage.inventory import Inventory, open_whole
from dvlite.storage.merging import name_segment, store_segment
from dvlite.storage.packcheck import failing_rows, hash_pack, place, stored_rows
from dvlite.storage.remote import (
    Listing,
    Marker,
    Remote,
    SegmentName,
    marker_name,
    render_marker,
)
from dvlite.storage.row import PIECES, ROW_BYTES, Row, read_rows, sort_rows
from dvlite.storage.segment import Segment, Stamp, encode, open_bytes
from dvlite.storage.upload import Uploader

# As many as the name of a segment can say that it supersedes.
_SUPERSEDED = 16


@dataclass(slots=True)
class RowSet:
    """Rows that become a segment. Packed: 56 bytes a row."""

    packs: list[bytes] = field(default_factory=list)
    pieces: bytearray = field(default_factory=bytearray)
    objects: bytearray = field(default_factory=bytearray)
    roots: set[bytes] = field(default_factory=set)
    _numbers: dict[bytes, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.pieces or self.objects or self.roots)

    def size_bytes(self) -> int:
        """About how large the segment will be."""
        return len(self.pieces) + len(self.objects) + 32 * (len(self.packs) + len(self.roots))

    def add(self, pack: bytes, row: Row) -> None:
        """Takes a row of a pack."""
        number = self._numbers.setdefault(pack, len(self.packs))
        if number == len(self.packs):
            self.packs.append(pack)
        table = self.pieces if row.kind in PIECES else self.objects
        table += row._replace(pack=number).pack_bytes()

    def rows(self) -> Iterator[tuple[bytes, Row]]:
        """All of them, each with its pack."""
        for table in (self.pieces, self.objects):
            for start in range(0, len(table), ROW_BYTES * 4096):
                for row in read_rows(bytes(table[start : start + ROW_BYTES * 4096])):
                    yield self.packs[row.pack], row

    def encode(self, stamp: Stamp) -> bytes:
        """The segment."""
        tables = sort_rows(self.pieces), sort_rows(self.objects)
        return encode(*tables, self.packs, self.roots, stamp)


@dataclass(slots=True)
class Plan:
    """Which segments are replaced, and the good rows for that; `trusted`: rows that pushers could
    count on before."""

    replaced: list[SegmentName] = field(default_factory=list)
    trusted: RowSet = field(default_factory=RowSet)
    others: RowSet = field(default_factory=RowSet)


def rewrite_index(
    report: CheckReport, salvaged: Sequence[Uploader], stamp: Stamp, jobs: int
) -> int:
    """Writes the new index, with what was uploaded for it; returns the epoch that begins.

    Raises:
        RemoteError: somebody else began an epoch meanwhile, and nothing was changed.
    """
    plan = _plan(report)
    for uploader in salvaged:
        for rows in (uploader.pieces, uploader.objects):
            for row in read_rows(bytes(rows.data)):
                plan.trusted.add(uploader.pack_ids[row.pack], row)
    complete, rest = _split(report, plan, stamp, jobs)
    inventory, remote = report.inventory, report.index.remote
    epoch = inventory.listing.epoch + 1
    replaced = set(plan.replaced)
    kept = frozenset(name.id for name in inventory.listing.trusted if name not in replaced)
    marker = Marker(kept, frozenset(pack.hex() for pack in inventory.condemned))
    if not remote.backend.write_if_absent(marker_name(epoch), render_marker(marker)):
        raise RemoteError(f"gc or another repair ran on {remote.name}", "run this again")
    # readers lose nothing at any moment: what replaces comes before what it replaces is hidden
    if rest:
        store_segment(remote, rest.encode(replace(stamp, epoch=epoch - 1)), epoch - 1)
    _store_superseding(remote, complete, plan.replaced, replace(stamp, epoch=epoch))
    return epoch


def _store_superseding(
    remote: Remote, rows: RowSet, replaced: Sequence[SegmentName], stamp: Stamp
) -> None:
    """One segment with the rows, and as many empty ones as it takes to name what is replaced."""
    groups = [replaced[at : at + _SUPERSEDED] for at in range(0, len(replaced), _SUPERSEDED)]
    for number, group in enumerate(groups or [[]]):
        if number or rows or group:
            data = (RowSet() if number else rows).encode(stamp)
            store_segment(remote, data, stamp.epoch, group)


def needs_rewrite(report: CheckReport) -> bool:
    """Whether the index says what is not so."""
    inventory = report.inventory
    if report.index_is_damaged or report.bad or report.damaged:
        return True
    if inventory.listing.problem is not None:
        return True
    remote = report.index.remote
    trusted = inventory.listing.trusted
    return any(_lies(report, name, open_whole(remote, name)) for name in trusted)


def _plan(report: CheckReport) -> Plan:
    inventory, remote = report.inventory, report.index.remote
    plan = Plan(list(inventory.bad))
    if report.index_is_damaged:  # it stays promised until somebody pushes it again
        plan.others.roots |= report.unfulfilled
    for name in inventory.listing.readable:
        segment = open_whole(remote, name)
        if _lies(report, name, segment):
            plan.replaced.append(name)
            _take(report, plan, name, segment)
    for name in _hidden(inventory):
        _take(report, plan, name, open_whole(remote, name))
    for pack in _orphans(report):
        if pack not in report.bad.absent:
            for row in stored_rows(remote.backend, pack, report.unnamed[pack]):
                plan.trusted.add(pack, row)
    return plan


def damaged_unnamed(report: CheckReport, jobs: int) -> dict[bytes, list[Row]]:
    """Of the packs whose segment is lost, those that are damaged too, with what is good of them:
    they cannot be named again as they are."""
    backend = report.index.remote.backend
    found: dict[bytes, list[Row]] = {}
    for pack in _orphans(report):
        size = report.unnamed[pack]
        try:
            if hash_pack(backend, pack, size, lambda count: None) == pack:
                continue
            rows = stored_rows(backend, pack, size)
            bad = {(row.id, row.kind) for row in failing_rows(backend, pack, rows, jobs)}
        except (CorruptError, NotThere):
            rows, bad = [], set()
        found[pack] = [row for row in rows if (row.id, row.kind) not in bad]
    return found


def _orphans(report: CheckReport) -> list[bytes]:
    """Packs that a lost or damaged segment may have named."""
    inventory = report.inventory
    if not report.index_is_damaged:
        return []
    return [pack for pack in report.unnamed if pack not in inventory.condemned]


def _lies(report: CheckReport, name: SegmentName, segment: Segment) -> bool:
    """Whether a segment has a row that is bad, or promises an object that is not complete."""
    packs = segment.pack_ids()
    broken = report.broken if report.inventory.trusts(name) else set()
    for table in (segment.chunks, segment.objects):
        for row in read_rows(table.all_rows()):
            if report.bad.has(row.id, place(packs[row.pack], row)):
                return True
            if row.kind not in PIECES and row.id in broken:
                return True
    return False


def _take(report: CheckReport, plan: Plan, name: SegmentName, segment: Segment) -> None:
    rows = plan.trusted if report.inventory.trusts(name) else plan.others
    packs = segment.pack_ids()
    rows.roots.update(segment.roots())
    for table in (segment.chunks, segment.objects):
        for row in read_rows(table.all_rows()):
            if not report.bad.has(row.id, place(packs[row.pack], row)):
                rows.add(packs[row.pack], row)


def _hidden(inventory: Inventory) -> list[SegmentName]:
    """Sound segments that only damaged ones supersede: what they hold counts again."""
    sound = {name.short: name for name in (*inventory.listing.readable, *inventory.older)}
    covered: set[str] = set()
    waiting = list(inventory.listing.readable)
    while waiting:
        for short in waiting.pop().supersedes:
            if short not in covered:
                covered.add(short)
                waiting += [sound[short]] if short in sound else []
    return [name for name in inventory.older if name.short not in covered]


def _split(report: CheckReport, plan: Plan, stamp: Stamp, jobs: int) -> tuple[RowSet, RowSet]:
    """Rows that promise what is true, and the rest."""
    inventory, remote = report.inventory, report.index.remote
    both = RowSet()
    for rows in (plan.trusted, plan.others):
        for pack, row in rows.rows():
            both.add(pack, row)
    data = both.encode(stamp)
    candidate = name_segment(data, stamp.epoch)
    replaced = set(plan.replaced)
    kept = tuple(name for name in inventory.listing.readable if name not in replaced)
    listing = Listing(stamp.epoch, (candidate, *kept), ())
    index = Index(remote, listing, report.index.mirror_folder)
    index.adopt(candidate, open_bytes(data))

    def open_one(name: SegmentName) -> Segment:
        return open_bytes(data) if name == candidate else open_whole(remote, name)

    roots = plan.trusted.roots | plan.others.roots
    needs = examine_needs(Places(index, report.bad), open_one, roots, jobs)
    complete, rest = RowSet(roots=plan.trusted.roots - needs.broken), RowSet()
    rest.roots = roots - complete.roots
    for pack, row in plan.trusted.rows():
        right = row.kind in PIECES or row.id not in needs.broken
        (complete if right else rest).add(pack, row)
    for pack, row in plan.others.rows():
        rest.add(pack, row)
    return complete, rest
