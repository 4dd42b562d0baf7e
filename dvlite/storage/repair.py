"""Repairing a remote from what this machine and other remotes still have.

Owns the order: what can be made what its name says is restored as it was; then the index is
rewritten so that it promises only what is true; then a push like any other sends what the roots
lack. Each step leaves the remote in a state that is better and sound, so that a repair that was
interrupted is simply run again. What nobody has stays named as lost.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite._version import VERSION
from dvlite.progress import Progress, silent
from dvlite.storage.cache import Cache
from dvlite.storage.check import CheckOptions, CheckReport, check_remote, claims, not_whole
from dvlite.storage.closure import Places
from dvlite.storage.codec import FRAME_TARGET, pack_frame
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.index import Index
from dvlite.storage.oid import to_text
from dvlite.storage.pack import DATA, META, Member
from dvlite.storage.packcheck import check_members, place
from dvlite.storage.push import PushOptions, Root, push
from dvlite.storage.ranges import FrameWant, group_frames, read_frames
from dvlite.storage.reindex import damaged_unnamed, needs_rewrite, rewrite_index
from dvlite.storage.remote import DESCRIPTION_NAME, Remote, description, pack_name, render_name
from dvlite.storage.restore import META_KINDS, find_pack, find_segment
from dvlite.storage.rootrecord import Said, record_parts, render_record
from dvlite.storage.row import PIECES, Row, RowKind
from dvlite.storage.segment import Stamp
from dvlite.storage.several import several
from dvlite.storage.sources import Sources
from dvlite.storage.tree import Kind
from dvlite.storage.upload import Uploader


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """How to repair. `roots`: what pointers name; `project`, `clone`: who repairs."""

    roots: Sequence[Root] = ()
    jobs: int = 4
    dry_run: bool = False
    project: bytes = bytes(16)
    clone: bytes = bytes(16)
    progress: Progress = silent
    expected: frozenset[bytes] = frozenset()


class Action(NamedTuple):
    """Something that was done (or would be)."""

    what: str
    name: str


@dataclass(slots=True)
class RepairReport:
    """What was done, and how the remote is now."""

    after: CheckReport
    actions: list[Action] = field(default_factory=list)


def repair_remote(
    remote: Remote,
    cache: Cache,
    others: Sequence[Index],
    found: CheckReport,
    options: RepairOptions,
) -> RepairReport:
    """Repairs what `check_remote` found.

    Raises:
        RemoteError: the remote fails, or somebody else began an epoch meanwhile.
    """
    return _Repair(remote, cache, others, found, options).run()


class _Repair:
    def __init__(
        self,
        remote: Remote,
        cache: Cache,
        others: Sequence[Index],
        found: CheckReport,
        options: RepairOptions,
    ) -> None:
        self.remote, self.cache, self.options = remote, cache, options
        self.sources = Sources(cache, others)
        self.report = RepairReport(found)
        # what was damaged is looked at again, and again as a whole
        self.suspects = _suspects(found)

    def run(self) -> RepairReport:
        """Mends what can be mended."""
        self._description()
        self._segments()
        if self.report.actions:
            self._again()
        self._records()
        self._packs()
        self._again()
        if not self.options.dry_run and needs_rewrite(self.report.after):
            self._rewrite()
            self._again()
        if self.options.dry_run:
            self._say_what_would_be()
        elif self.report.after.broken:
            self._push()
            self._again()
        return self.report

    def _did(self, what: str, name: str) -> None:
        self.report.actions.append(Action(what, name))

    def _write(self, what: str, name: str, data: bytes) -> None:
        if not self.options.dry_run:
            self.remote.backend.write(name, data)
        self._did(what, name)

    def _again(self) -> None:
        """Looks again: at the index, at what objects need, and at the packs that were damaged."""
        if self.options.dry_run:
            return
        options = CheckOptions(
            jobs=self.options.jobs,
            progress=self.options.progress,
            expected=self.options.expected,
            packs=frozenset(self.suspects),
        )
        self.report.after = check_remote(self.remote, self.cache.folder, options)
        self.suspects |= _suspects(self.report.after)

    # -- what can be as it was ---------------------------------------------------------------------

    def _description(self) -> None:
        if not self.report.after.inventory.description_is_good:
            self._write("rewritten", DESCRIPTION_NAME, description())

    def _segments(self) -> None:
        now = self.report.after
        for name in now.inventory.bad:
            data = find_segment(now, self.sources, name)
            if data is not None:
                self._write("restored", render_name(name), data)

    def _packs(self) -> None:
        now = self.report.after
        rows: dict[bytes, list[Row]] = {pack: [] for pack in (*now.damaged, *now.bad.absent)}
        for pack, row in claims(now, set(rows)):
            rows[pack].append(row)
        self._look_for_chunks(rows)
        for pack in sorted(rows):
            data = find_pack(now, self.sources, pack, rows[pack])
            if data is not None:
                self._write("restored", pack_name(pack), data)

    def _look_for_chunks(self, rows: dict[bytes, list[Row]]) -> None:
        bad = self.report.after.bad
        wanted = {
            row.id
            for pack, several_rows in rows.items()
            for row in several_rows
            if row.kind == RowKind.CHUNK
            and (pack in bad.absent or (pack, row.id, row.kind) in bad.rows)
        }
        if wanted:
            self.sources.look_for_chunks(wanted, self.report.after.broken)

    def _records(self) -> None:
        """A record of roots that is lost: another remote's copy, or one that names everything
        that is named anywhere, so that gc keeps rather too much."""
        inventory = self.report.after.inventory
        everything = inventory.roots | inventory.recorded
        for bad in inventory.bad_records:
            parts = record_parts(bad)
            assert parts is not None  # it was recognised by its name
            clone, time_ns = parts
            said = Said(before=everything)
            name, data = render_record(clone, said, max(time.time_ns(), time_ns + 1))
            self._write("written anew", name, data)

    # -- what cannot -------------------------------------------------------------------------------

    def _rewrite(self) -> None:
        """Saves what others have of the bad rows, and writes an index that is true."""
        now, options = self.report.after, self.options
        backend, epoch = self.remote.backend, now.inventory.listing.epoch
        uploaders = [Uploader(backend, one, epoch + 1, options.jobs) for one in (DATA, META)]
        try:
            self._move_out(uploaders)
            self._salvage(uploaders[0])
            for uploader in uploaders:
                uploader.close_pack()
                uploader.drain()
        finally:
            for uploader in uploaders:
                uploader.stop()
        written = [pack for uploader in uploaders for pack in uploader.pack_ids]
        for pack in written:
            self._did("written", pack_name(pack))
        self.suspects.update(written)
        stamp = Stamp(epoch, options.project, options.clone, VERSION[:16])
        epoch = rewrite_index(now, uploaders, stamp, options.jobs)
        self._did("rewritten", f"index (epoch {epoch})")

    def _move_out(self, uploaders: Sequence[Uploader]) -> None:
        """Copies what is good of packs that cannot be what they were; nobody names them then."""
        now = self.report.after
        found: dict[bytes, list[Row]] = {pack: [] for pack in now.damaged}
        for pack, row in claims(now, set(found)):
            found[pack].append(row)
        found |= damaged_unnamed(now, self.options.jobs)
        backend, jobs = self.remote.backend, self.options.jobs
        for pack, rows in sorted(found.items()):
            wants: list[FrameWant] = []
            for pieces in (True, False):  # a file and a chunk may have the same id
                hints = {row.id: place(pack, row) for row in rows if (row.kind in PIECES) == pieces}
                good = {oid: hint for oid, hint in hints.items() if not now.bad.has(oid, hint)}
                wants += group_frames(good)
            for outcome in read_frames(backend, wants, _checked_copy, jobs):
                if outcome.value is not None:
                    is_meta = outcome.want.members[0].kind in META_KINDS
                    uploaders[is_meta].add_frame(outcome.value, outcome.want.members)
            now.bad.absent.add(pack)

    def _lost(self) -> list[tuple[bytes, int]]:
        """Chunks and small files that were somewhere and have no good place now."""
        now = self.report.after
        packs = {pack for pack, _, _ in now.bad.rows} | now.bad.absent
        bad = {
            (row.id, row.kind)
            for pack, row in claims(now, packs)
            if pack in now.bad.absent or (pack, row.id, row.kind) in now.bad.rows
        }
        if now.needs is not None:  # what a lost segment named: of a chunk, only that is known
            bad |= {(oid, RowKind.CHUNK) for oid in now.needs.lacking_chunks}
            bad |= {(oid, RowKind.FILE) for oid in now.needs.lacking_objects}
        places = Places(now.index, now.bad)
        lost: list[tuple[bytes, int]] = []
        for kind in (RowKind.FILE, RowKind.CHUNK):
            ids = {oid for oid, one in bad if one == kind}
            lacking = places.lacking(ids, chunk=kind == RowKind.CHUNK)
            lost += [(oid, kind) for oid in sorted(lacking)]
        return lost

    def _salvage(self, uploader: Uploader) -> None:
        """New packs of what others have."""
        lost = [
            (oid, kind)
            for oid, kind in self._lost()
            if not uploader.has(oid, piece=kind == RowKind.CHUNK)
        ]
        chunks = [oid for oid, kind in lost if kind == RowKind.CHUNK]
        if chunks:
            self.sources.look_for_chunks(chunks, self.report.after.broken)
        waiting: list[tuple[bytes, bytes]] = []
        jobs = self.options.jobs if self.sources.others else 1
        for (oid, kind), raw in several(lambda one: self.sources.raw(*one), lost, jobs):
            if raw is not None and kind == RowKind.CHUNK:
                uploader.add(oid, kind, raw)
            elif raw is not None:
                waiting.append((oid, raw))
                if sum(len(one) for _, one in waiting) >= FRAME_TARGET:
                    _add_together(uploader, waiting)
                    waiting = []
        _add_together(uploader, waiting)

    # -- what a push mends -------------------------------------------------------------------------

    def _push(self) -> None:
        """Sends what the broken roots lack: trees and recipes among it, which are made anew."""
        roots = self._broken_roots()
        self._gather(roots)
        options = self.options
        report = push(
            self.remote,
            self.cache,
            roots,
            PushOptions(
                options.jobs,
                project=options.project,
                clone=options.clone,
                progress=options.progress,
                record=False,
            ),
        )
        if report.packs:
            self._did("pushed", f"{report.new_files} files in {report.packs} packs")

    def _broken_roots(self) -> list[Root]:
        """The roots of pointers, and those that only the remote names."""
        broken = self.report.after.broken
        roots = {root.oid: root for root in self.options.roots if root.oid in broken}
        inventory = self.report.after.inventory
        index = self.report.after.index
        for oid in (inventory.roots | inventory.recorded) & broken - roots.keys():
            hint = index.objects([oid]).get(oid)
            is_file = hint is not None and hint.kind != RowKind.TREE_RECIPE
            if not is_file and self.sources.bring_tree(oid, [index]) is not None:
                roots[oid] = Root("tree", oid, 0, 0, to_text(oid))
            else:
                roots[oid] = Root("file", oid, 0, 1, to_text(oid))
        return list(roots.values())

    def _gather(self, roots: Iterable[Root]) -> None:
        """Brings into the cache what a push of broken roots reads: the trees, from here or
        elsewhere, and the files that are lost, from other remotes."""
        now = self.report.after
        files: dict[bytes, Wanted] = {}
        waiting = [(root.oid, root) for root in roots if root.kind == "tree"]
        seen: set[bytes] = set()
        for root in roots:
            if root.kind != "tree":
                files[root.oid] = Wanted("file", root.oid, root.size, 1, root.label)
        while waiting:
            oid, root = waiting.pop()
            tree = self.sources.bring_tree(oid, [now.index]) if oid not in seen else None
            seen.add(oid)
            needed = not_whole(now, tree.oid_list()) if tree else ()
            for entry in tree or ():
                if entry.oid not in needed:
                    continue
                if entry.kind >= Kind.TREE:
                    waiting.append((entry.oid, root))
                else:
                    files[entry.oid] = Wanted("file", entry.oid, entry.size, 1, root.label)
        missing = self.cache.missing(files)
        self._fetch([files[oid] for oid in sorted(missing)])

    def _fetch(self, wanted: list[Wanted]) -> None:
        """From other remotes, then from this one (an older recipe of a file may still do)."""
        remotes = [index.remote for index in self.sources.others]
        if wanted and remotes:
            fetch(remotes, self.cache, wanted, self.options.jobs, self.options.progress)

    # -- a dry run ---------------------------------------------------------------------------------

    def _say_what_would_be(self) -> None:
        restored = {action.name for action in self.report.actions}
        now = self.report.after
        left = [one for one in now.problems if one.damage and one.name not in restored]
        if not left:
            return
        lost = self._lost()
        chunks = [oid for oid, kind in lost if kind == RowKind.CHUNK]
        self.sources.look_for_chunks(chunks, now.broken)
        had = sum(self.sources.raw(*one) is not None for one in lost)
        if lost:
            self._did("written", f"{had} of {len(lost)} lost chunks and small files in new packs")
        self._did("rewritten", f"index (epoch {now.inventory.listing.epoch + 1})")


def _suspects(report: CheckReport) -> set[bytes]:
    return {*report.damaged, *report.bad.absent, *report.damaged_unnamed}


def _checked_copy(want: FrameWant, frame: memoryview) -> bytes:
    check_members(want, frame)
    return bytes(frame)


def _add_together(uploader: Uploader, objects: Sequence[tuple[bytes, bytes]]) -> None:
    """Small files in a frame of their own."""
    members, offset = [], 0
    for oid, raw in objects:
        members.append(Member(oid, RowKind.FILE, offset, len(raw)))
        offset += len(raw)
    if members:
        uploader.add_frame(pack_frame(b"".join(raw for _, raw in objects)), members)
