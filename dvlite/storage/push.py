"""Push: what a remote lacks of some objects, packed, uploaded and only then named.

Owns the order that keeps a remote whole (packs, then the segment, then the recheck of gc's
epoch) and the promise of an object's row: everything the object needs is there. See the epoch
protocol in docs/design.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite._version import VERSION
from dvlite.errors import CorruptError, MissingError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.cache import Cache, Place
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.codec import FRAME_TARGET, check_frame, pack_frame, unpack_frame
from dvlite.storage.index import Index, open_index
from dvlite.storage.merging import merge_segments, write_segment
from dvlite.storage.oid import to_text
from dvlite.storage.pack import DATA, META, Member
from dvlite.storage.pushlarge import LargeFiles
from dvlite.storage.recipe import TREE, Hint, encode
from dvlite.storage.remote import Remote
from dvlite.storage.rootrecord import record_roots
from dvlite.storage.row import RowKind
from dvlite.storage.segment import Stamp
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import MAX_DEPTH
from dvlite.storage.upload import RowSource, Uploader

# A push that dies loses at most this much of its work (about 256 MB).
CHECKPOINT_PACKS = 8
CHECKPOINT_S = 60.0
# gc runs at most daily; three that end during one push mean something else is wrong.
_EPOCH_TRIES = 3
_NAMED = 20


class Root(NamedTuple):
    """An object that a pointer names. `label` is for people: the pointer's path."""

    kind: str
    oid: bytes
    size: int
    files: int
    label: str


class Absent(NamedTuple):
    """Something that a root needs and that is nowhere to be had."""

    label: str
    path: bytes
    oid: bytes


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push. `project` and `clone`: 16 bytes each that say who. `record`: leave word of the
    roots for gc. `partial`: they are but a part of what the clone needs, so what it said before
    still counts."""

    jobs: int = 4
    dry_run: bool = False
    project: bytes = bytes(16)
    clone: bytes = bytes(16)
    progress: Progress = silent
    record: bool = True
    partial: bool = False


@dataclass(slots=True)
class PushReport:
    """What a push did. `new_bytes` are raw, `stored_bytes` as stored (compressed)."""

    roots: int = 0
    new_files: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    packs: int = 0
    unchanged_roots: int = 0
    absent: list[Absent] = field(default_factory=list)
    damaged: list[Absent] = field(default_factory=list)


def push(
    remote: Remote, cache: Cache, roots: Iterable[Root], options: PushOptions | None = None
) -> PushReport:
    """Brings everything that the roots need onto the remote; then every root is readable there.

    Roots whose content is neither here nor there are listed as absent; the rest is pushed.

    Raises:
        RemoteError: the remote fails; what arrived counts for the next push.
    """
    options = options or PushOptions()
    unique = list({root.oid: root for root in roots}.values())
    for _ in range(_EPOCH_TRIES):
        index = open_index(remote, cache.folder)
        report = _Push(index, cache, options).run(unique)
        if options.dry_run or remote.epoch() == index.listing.epoch:
            return report
    raise RemoteError(f"gc keeps running on {remote.name}", "push again when it has ended")


def lacking(remote: Remote, cache_folder: str, roots: Iterable[Root]) -> list[Root]:
    """Those roots that a pusher could not count on finding on the remote."""
    unique = list({root.oid: root for root in roots}.values())
    known = open_index(remote, cache_folder).objects((root.oid for root in unique), trusted=True)
    return [root for root in unique if root.oid not in known]


class _Push:
    """One attempt against one epoch's view."""

    def __init__(self, index: Index, cache: Cache, options: PushOptions) -> None:
        backend, epoch = index.remote.backend, index.listing.epoch
        self.index, self.cache, self.options = index, cache, options
        self.report = PushReport()
        self.data = Uploader(backend, DATA, epoch, options.jobs, options.dry_run)
        self.meta = Uploader(backend, META, epoch, options.jobs, options.dry_run)
        self.large = LargeFiles(index, cache, self.data, self.meta)
        self.trees: list[bytes] = []
        self.done: dict[bytes, bool] = {}
        self.mixed: list[tuple[bytes, bytes]] = []
        self.mixed_bytes = 0
        self.label = ""
        self.roots: list[bytes] = []
        self.total_files = self.total_bytes = 0
        self.passed_files = self.passed_bytes = 0
        self.checkpoint_packs, self.checkpoint_time = 0, time.monotonic()

    def run(self, roots: Sequence[Root]) -> PushReport:
        """Plans, uploads, names."""
        report = self.report
        known = self.index.objects((root.oid for root in roots), trusted=True)
        wanted = [root for root in roots if root.oid not in known]
        self.roots = [root.oid for root in roots]
        report.roots, report.unchanged_roots = len(roots), len(roots) - len(wanted)
        self.total_files = sum(root.files for root in wanted)
        self.total_bytes = sum(root.size for root in wanted)
        try:
            complete = [root.oid for root in wanted if self._root(root)]
            if wanted:
                self._finish(complete)
            # also when nothing was new: what is there may be so by another clone's word only
            if self.options.record and not self.options.dry_run:
                options = self.options
                record_roots(self.index.remote, options.clone, self.roots, more=options.partial)
        finally:
            self.large.stop()
            self.data.stop()
            self.meta.stop()
        return report

    def _root(self, root: Root) -> bool:
        self.label = root.label
        if root.kind == "tree":
            return self._tree(root.oid, b"", 0)
        return self._files([Entry(b"", Kind.FILE, root.oid, root.size)], b"")

    def _tree(self, oid: bytes, path: bytes, depth: int) -> bool:
        """Sends what a folder lacks; whether it is complete on the remote then."""
        if oid in self.done:
            return self.done[oid]
        if depth > MAX_DEPTH:
            raise CorruptError(f"the tree of {self.label} is nested too deeply")
        try:
            tree = self.cache.read_tree(oid)
        except MissingError:
            self.report.absent.append(Absent(self.label, path, oid))
            return False
        except CorruptError:
            self.report.damaged.append(Absent(self.label, path, oid))
            return False
        known = self.index.objects(tree.oid_list(), trusted=True)
        wanted = []
        for entry in tree:
            if entry.oid in known:
                self._pass(entry.files, entry.size)
            else:
                wanted.append(entry)
        complete = self._files([entry for entry in wanted if entry.kind < Kind.TREE], path)
        for entry in wanted:
            if entry.kind >= Kind.TREE:
                below = path if entry.kind == Kind.PART else path + entry.name + b"/"
                complete &= self._tree(entry.oid, below, depth + 1)
        if complete:
            self.trees.append(oid)
        self.done[oid] = complete
        return complete

    def _files(self, entries: list[Entry], path: bytes) -> bool:
        wanted = {entry.oid: entry for entry in entries if entry.oid not in self.data}
        self._pass(len(entries) - len(wanted), 0)
        places = self.cache.find_many(wanted)
        small, large = {}, []
        for oid, entry in wanted.items():
            place = places.get(oid)
            if place is None:
                self.report.absent.append(Absent(self.label, path + entry.name, oid))
            elif _is_large(place):
                large.append(entry)
            else:
                small[oid] = place
        complete = self._small(small, path) and len(places) == len(wanted)
        for entry in large:
            complete &= self._large(entry, path)
        return complete

    def _large(self, entry: Entry, path: bytes) -> bool:
        report, before = self.report, self.large.new_bytes
        if self.large.has(entry.oid):
            return True
        try:
            self.large.send(entry.oid, self._after_batch)
        except CorruptError:
            report.damaged.append(Absent(self.label, path + entry.name, entry.oid))
            return False
        report.new_files += 1
        report.new_bytes += self.large.new_bytes - before
        self._pass(1, 0)
        self._tell()
        return True

    def _after_batch(self) -> None:
        self._tell()
        self._checkpoint_if_due()

    def _small(self, places: dict[bytes, Place], path: bytes) -> bool:
        frames: dict[tuple[str, int, int], list[Member]] = {}
        complete = True
        for oid, (pack_path, row) in places.items():
            if row is None:
                complete &= self._loose(oid, path)
            else:
                frames.setdefault((pack_path, row.frame_offset, row.frame_length), []).append(
                    Member(oid, RowKind.FILE, row.inner_offset, row.raw_length)
                )
        for (pack_path, offset, length), members in frames.items():
            try:
                self._frame(self.cache.read_frame(pack_path, offset, length), members)
            except CorruptError:
                self.report.damaged += [Absent(self.label, path, item.id) for item in members]
                complete = False
        self._tell()
        self._checkpoint_if_due()
        return complete

    def _frame(self, frame: bytes, members: list[Member]) -> None:
        """Copies a frame of the cache as it is when all in it is wanted, else its parts."""
        size = sum(member.raw_length for member in members)
        if check_frame(frame) == size:
            self.data.add_frame(frame, members)
            self._count(len(members), size)
            return
        raw = unpack_frame(frame)
        for member in members:
            self._mix(member.id, raw[member.inner_offset : member.inner_offset + member.raw_length])

    def _loose(self, oid: bytes, path: bytes) -> bool:
        try:
            self._mix(oid, self.cache.read(oid))
        except CorruptError:
            self.report.damaged.append(Absent(self.label, path, oid))
            return False
        return True

    def _mix(self, oid: bytes, raw: bytes) -> None:
        """Collects single small objects into a new frame."""
        if self.mixed_bytes + len(raw) > FRAME_TARGET:
            self._close_mixed()
        self.mixed.append((oid, raw))
        self.mixed_bytes += len(raw)
        self._count(1, len(raw))

    def _close_mixed(self) -> None:
        if not self.mixed:
            return
        members, offset = [], 0
        for oid, raw in self.mixed:
            members.append(Member(oid, RowKind.FILE, offset, len(raw)))
            offset += len(raw)
        self.data.add_frame(pack_frame(b"".join(raw for _, raw in self.mixed)), members)
        self.mixed, self.mixed_bytes = [], 0

    def _count(self, files: int, size: int) -> None:
        self.report.new_files += files
        self.report.new_bytes += size
        self._pass(files, size)

    def _pass(self, files: int, size: int) -> None:
        """Counts what is dealt with, new or not, for the progress."""
        self.passed_files += files
        self.passed_bytes += size

    def _tell(self) -> None:
        done = self.passed_bytes + self.large.read_bytes
        self.options.progress(
            "pushing", self.passed_files, done, self.total_files, self.total_bytes
        )

    def _finish(self, complete: list[bytes]) -> None:
        """Data packs, recipes, trees' recipes, and the segment last."""
        self._close_mixed()
        self.data.close_pack()
        self.large.flush()
        for oid in self.trees:
            self._tree_recipe(oid)
        self.meta.close_pack()
        self.data.drain()
        self.meta.drain()
        report = self.report
        report.stored_bytes = self.data.stored_bytes + self.meta.stored_bytes
        report.packs = len(self.data.pack_ids) + len(self.meta.pack_ids)
        if report.packs and not self.options.dry_run:
            self._write_segment(objects_too=True, roots=complete)
            merge_segments(self.index.remote, self.index, self._stamp())

    def _tree_recipe(self, oid: bytes) -> None:
        tree = self.cache.read_tree(oid)
        oids = tree.oid_list()
        new = {child: self.data.hint(child) or self.meta.hint(child) for child in oids}
        known = self.index.objects(
            (child for child, hint in new.items() if hint is None), trusted=True
        )
        hints: list[Hint | None] = [new[child] or known.get(child) for child in oids]
        body = self.cache.read(oid)
        self.meta.add(oid, RowKind.TREE_RECIPE, encode(TREE, body, hints))

    def _checkpoint_if_due(self) -> None:
        """Names what arrived, so that an interrupted push goes on where it was."""
        packs = len(self.data.pack_ids) - self.checkpoint_packs
        late = time.monotonic() - self.checkpoint_time > CHECKPOINT_S
        if self.options.dry_run or not packs or (packs < CHECKPOINT_PACKS and not late):
            return
        self._close_mixed()
        self.data.close_pack()
        self.data.drain()
        self._write_segment(objects_too=False, roots=())
        self.checkpoint_packs = len(self.data.pack_ids)
        self.checkpoint_time = time.monotonic()

    def _stamp(self) -> Stamp:
        options = self.options
        return Stamp(self.index.listing.epoch, options.project, options.clone, VERSION[:16])

    def _write_segment(self, objects_too: bool, roots: Sequence[bytes]) -> None:
        """A segment of all rows no segment has yet.

        Before the end that is chunks and whole small files: both are complete in themselves.
        Recipes and trees wait until everything they need is named.
        """
        sources: list[RowSource] = [self.data, self.large.adopted]
        if objects_too:
            sources.append(self.meta)
        write_segment(self.index.remote, sources, roots, self._stamp())


def _is_large(place: Place) -> bool:
    """Whether an object is to be cut: its real size decides, not what a tree says of it."""
    return place.row is None and os.stat(place.path).st_size >= SMALL_BYTES


def describe_absent(items: Sequence[Absent]) -> str:
    """A few of the absent things, for a message."""
    lines = [
        f"{item.label}: {item.path.decode('utf-8', 'replace') or to_text(item.oid)}"
        for item in items[:_NAMED]
    ]
    if len(items) > _NAMED:
        lines.append(f"and {len(items) - _NAMED:,} more")
    return "\n".join(lines)
