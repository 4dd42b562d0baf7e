"""Copying a remote: what another one lacks of it, brought there without a workspace.

Owns the order that keeps the target whole at every moment, and it is that of a push: packs, then
rows that promise nothing (chunks, whole small files), then in one segment all rows of trees and
recipes, whose needs were looked up on the target before; then the target's epoch is looked at
again, and last come the records of what clones need. Nothing of the source's gc is copied: the
source's view says what is alive, the segments are written anew in the target's epoch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from dvlite._version import VERSION
from dvlite.errors import CorruptError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.backend import NotThere
from dvlite.storage.closure import Needs, examine_needs
from dvlite.storage.closure import Places as GoodPlaces
from dvlite.storage.copyplan import CopyPlan, Sides, placed, plan_copy
from dvlite.storage.heldindex import HeldIndex, hold_index
from dvlite.storage.index import Index
from dvlite.storage.merging import MERGE_BYTES, merge_segments, name_segment, store_segment
from dvlite.storage.packcheck import BadPlaces, place
from dvlite.storage.packcopy import PackRoute, copy_packs
from dvlite.storage.reindex import RowSet
from dvlite.storage.remote import (
    Listing,
    Remote,
    SegmentName,
    marker_epoch,
    pack_name,
    parse_pack_name,
    refuse_loss,
)
from dvlite.storage.rootrecord import copy_records
from dvlite.storage.row import RowKind
from dvlite.storage.runfiles import copy_run_files
from dvlite.storage.segment import Segment, Stamp, encode, open_bytes

# As for a push: gc runs at most daily.
_EPOCH_TRIES = 3
_PROMISES = frozenset((RowKind.TREE_RECIPE, RowKind.FILE_RECIPE))
_NOTHING = open_bytes(encode(b"", b"", []))


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """How to copy."""

    jobs: int = 4
    dry_run: bool = False
    progress: Progress = silent


class Uncopied(NamedTuple):
    """Something of the source that could not be copied; `missing`: it is not there at all."""

    what: str
    name: str
    text: str
    missing: bool = False


@dataclass(slots=True)
class CopyReport:
    """What was copied (or would be). `stored_bytes`: of the packs; `shared`: packs that both had;
    `objects`, `chunks`: rows that the target got; `run_files`: of records of runs;
    `left_out`: objects that need what could not be copied."""

    packs: int = 0
    stored_bytes: int = 0
    shared: int = 0
    objects: int = 0
    chunks: int = 0
    segments: int = 0
    records: int = 0
    run_files: int = 0
    uncopied: list[Uncopied] = field(default_factory=list)
    left_out: set[bytes] = field(default_factory=set)

    @property
    def complete(self) -> bool:
        """Whether all of the source is on the target now."""
        return not self.uncopied and not self.left_out


def copy_remote(
    source: Remote, target: Remote | None, options: CopyOptions | None = None
) -> CopyReport:
    """Brings what a remote holds to another one, which only a dry run may lack.

    What is damaged on the source, and what needs that, is left out and reported; whatever the
    target promises afterwards is whole there. After an interruption the next run goes on.

    Raises:
        RemoteError: one of them fails; what arrived counts for the next run.
        CorruptError: the index of the target, or the newest gc marker of one, is damaged.
    """
    options = options or CopyOptions()
    copy = _Copy(source, target, options)
    for _ in range(_EPOCH_TRIES):
        with tempfile.TemporaryDirectory(prefix="dvlite-", ignore_cleanup_errors=True) as folder:
            epoch = copy.run(folder)
        if target is not None and not options.dry_run:
            stored = target.backend.list("index")
            if target.listing(stored).epoch > epoch:
                continue
            refuse_loss(target, copy.counted_on, stored)
        copy.records()
        return copy.report
    assert target is not None
    raise RemoteError(f"gc keeps running on {target.name}", "copy again when it has ended")


class _Copy:
    """The copying; `run` is one attempt against one epoch of the target."""

    def __init__(self, source: Remote, target: Remote | None, options: CopyOptions) -> None:
        self.source, self.target, self.options = source, target, options
        self.report = CopyReport()
        self.counted_on: list[SegmentName] = []

    def run(self, folder: str) -> int:
        """Plans, copies, names; the epoch for which that holds."""
        self.report.uncopied.clear()
        self.report.left_out.clear()
        sides = self._look(folder)
        plan = self._plan(sides, ())
        self.report.shared = plan.shared
        if self.options.dry_run or self.target is None:
            self.report.packs, self.report.stored_bytes = len(plan.packs), plan.size_bytes
            self.report.objects, self.report.chunks = plan.objects, plan.chunks
            return sides.target.listing.epoch
        failed = self._packs(sides, plan, self.target)
        while failed:  # what was in them may be in others too
            left = {pack: size for pack, size in sides.source_packs.items() if pack not in failed}
            sides = replace(sides, source_packs=left)
            more = self._packs(sides, self._plan(sides, failed), self.target)
            failed = failed | more if more else set()
        naming = _Naming(self.target, sides, self.report, self.options)
        naming.run(folder)
        self.counted_on = list(naming.opened)
        return sides.target.listing.epoch

    def _plan(self, sides: Sides, told: Collection[bytes]) -> CopyPlan:
        plan = plan_copy(sides)
        for pack in sorted(plan.lost.difference(told)):
            self._uncopied("pack", pack_name(pack), "missing", missing=True)
        return plan

    def records(self) -> None:
        """What clones said that they need; only once what they name is there."""
        if self.target is None or self.options.dry_run:
            return
        self.report.records, damaged = copy_records(self.source, self.target, self.report.left_out)
        self.report.run_files = copy_run_files(self.source, self.target)
        for name in damaged:
            self._uncopied("roots", name, "damaged: what a clone pushed is not known")

    def _uncopied(self, what: str, name: str, text: str, missing: bool = False) -> None:
        self.report.uncopied.append(Uncopied(what, name, text, missing))

    def _look(self, folder: str) -> Sides:
        source = self._hold(self.source, folder, "source")
        for name, text in sorted(source.bad.items()):
            self._uncopied("segment", name, text, text == "missing")
        if self.target is None:
            return Sides(source, HeldIndex(Listing(0, (), ())), self.source.packs(), {})
        target = self._hold(self.target, folder, "target")
        if target.bad:
            name, text = next(iter(target.bad.items()))
            raise CorruptError(
                f"{name} on {self.target.name} is damaged: {text}",
                f"repair it first: dvlite remote check --repair {self.target.name}",
            )
        packs, condemned = self.target.packs(), _condemned(self.target)
        return Sides(source, target, self.source.packs(), packs, condemned)

    def _hold(self, remote: Remote, folder: str, side: str) -> HeldIndex:
        inside = os.path.join(folder, side)
        os.makedirs(inside)
        files = size = 0

        def tell(count: int) -> None:
            nonlocal files, size
            files, size = files + 1, size + count
            self.options.progress(f"reading the index of {remote.name}", files, size)

        return hold_index(remote, inside, self.options.jobs, tell)

    def _packs(self, sides: Sides, plan: CopyPlan, target: Remote) -> set[bytes]:
        """Copies the packs of the plan; which could not be copied."""
        report, total = self.report, len(plan.packs)
        failed = set()
        done = size = 0

        def tell(count: int) -> None:
            nonlocal size
            size += count
            self.options.progress("copying", done, size, total, plan.size_bytes)

        route = PackRoute(
            self.source.backend, target.backend, sides.target.listing.epoch, sides.condemned
        )
        for one in copy_packs(route, plan.packs, plan.packs, self.options.jobs, tell):
            done += 1
            if one.target is None:
                self._uncopied("pack", pack_name(one.pack), one.problem, one.missing)
                failed.add(one.pack)
                continue
            sides.names[one.pack] = one.target
            report.packs, report.stored_bytes = report.packs + 1, report.stored_bytes + one.size
        return failed


class _Naming:
    """Writing the segments for what was copied."""

    def __init__(
        self, target: Remote, sides: Sides, report: CopyReport, options: CopyOptions
    ) -> None:
        self.target, self.sides = target, sides
        self.report, self.options = report, options
        self.stamp = Stamp(sides.target.listing.epoch, tool=VERSION[:16])
        self.opened: dict[SegmentName, Segment] = {
            one.name: one.segment for one in sides.target.segments
        }
        self.simple, self.promises = RowSet(), RowSet()

    def run(self, folder: str) -> None:
        """Writes what promises nothing as it comes, and the promises that hold at the end."""
        for pack, row in placed(self.sides):
            if row.kind in _PROMISES:
                self.promises.add(pack, row)
                continue
            self.simple.add(pack, row)
            if len(self.simple.pieces) + len(self.simple.objects) >= MERGE_BYTES:
                self._store(self.simple)
                self.simple = RowSet()
        final = self._true_promises(folder)
        if final.size_bytes() + self.simple.size_bytes() > MERGE_BYTES:
            self._store(self.simple)
        else:
            for pack, row in self.simple.rows():
                final.add(pack, row)
        self._store(final)
        if self.report.segments:
            merge_segments(self.target, self._index(folder), self.stamp)

    def _store(self, rows: RowSet) -> None:
        if not rows:
            return
        data = rows.encode(self.stamp)
        name = store_segment(self.target, data, self.stamp.epoch)
        self.opened[name] = open_bytes(data)
        self.report.segments += 1
        self.report.objects += name.counts.objects
        self.report.chunks += name.counts.chunks

    def _true_promises(self, folder: str) -> RowSet:
        """Rows of objects of which everything is on the target, read back from there."""
        roots = self.sides.source.roots() - self.sides.target.roots()
        if not self.promises and not roots:
            return RowSet()
        both = RowSet()
        for rows in (self.simple, self.promises):
            for pack, row in rows.rows():
                both.add(pack, row)
        data = both.encode(self.stamp)
        candidate, opened = name_segment(data, self.stamp.epoch), open_bytes(data)
        needs, bad = self._needs(candidate, opened, folder, roots)
        final = RowSet()
        final.roots = roots - needs.broken
        for pack, row in self.promises.rows():
            if row.id in needs.broken or bad.has(row.id, place(pack, row)):
                self.report.left_out.add(row.id)
            else:
                final.add(pack, row)
        self.report.left_out |= roots & needs.broken
        return final

    def _needs(
        self, candidate: SegmentName, opened: Segment, folder: str, roots: Iterable[bytes]
    ) -> tuple[Needs, BadPlaces]:
        """What of the new rows does not hold. What the target had is looked up, not examined."""
        index, bad = self._index(folder, candidate), BadPlaces(self._unusable())
        index.adopt(candidate, opened)
        wanted = {row.id for _, row in self.promises.rows()}.union(roots)
        self.options.progress("looking up what it needs", 0, 0)

        def open_one(name: SegmentName) -> Segment:
            return opened if name == candidate else _NOTHING

        return examine_needs(GoodPlaces(index, bad), open_one, wanted, self.options.jobs), bad

    def _index(self, folder: str, *more: SegmentName) -> Index:
        names = (*more, *self.opened)
        index = Index(self.target, Listing(self.stamp.epoch, names, names), folder)
        for name, segment in self.opened.items():
            index.adopt(name, segment)
        return index

    def _unusable(self) -> set[bytes]:
        """Packs that segments of the target name and that cannot be counted on."""
        good = set(self.sides.names.values())
        named = {pack for one in self.sides.target.segments for pack in one.packs}
        return {pack for pack in named - good if not self.sides.there(pack)}


def _condemned(remote: Remote) -> frozenset[bytes]:
    """The packs that any gc marker condemns. One that is damaged and not the newest is passed
    over: gc cannot delete by it either."""
    found: set[bytes] = set()
    for one in remote.backend.list("index"):
        epoch = marker_epoch(one.name)
        if epoch is None:
            continue
        try:
            condemned = remote.marker(epoch).condemned
        except (CorruptError, NotThere):
            continue
        found |= {
            pack for text in condemned if (pack := parse_pack_name(f"packs/{text[:2]}/{text}"))
        }
    return frozenset(found)
