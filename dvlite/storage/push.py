"""Push: what a remote lacks of some objects, packed, uploaded and only then named.

Owns the order that keeps a remote whole (packs, then the segment, then the recheck of gc's
epoch) and the promise of an object's row: everything the object needs is there. See the epoch
protocol in docs/design.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite._version import VERSION
from dvlite.errors import CorruptError, MissingError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.absent import Absent
from dvlite.storage.cache import Cache, Place
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.codec import FRAME_TARGET, check_frame, pack_frame, unpack_frame
from dvlite.storage.index import Index, open_index
from dvlite.storage.merging import merge_segments, write_segment
from dvlite.storage.pack import DATA, META, Member
from dvlite.storage.pushlarge import LargeFiles
from dvlite.storage.recipe import TREE, Hint, encode
from dvlite.storage.remote import Listing, Remote, SegmentName, refuse_loss
from dvlite.storage.rootrecord import record_roots
from dvlite.storage.row import RowKind
from dvlite.storage.segment import Stamp
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import MAX_DEPTH
from dvlite.storage.upload import Arrived, RowSource, Uploader

# A push that dies loses at most this much of its work (about 256 MB).
CHECKPOINT_PACKS = 8
CHECKPOINT_S = 60.0
# For packs that are about to arrive when a user stops the push.
_MOMENT_S = 0.3
# gc runs at most daily; three that end during one push mean something else is wrong.
_EPOCH_TRIES = 3


class Root(NamedTuple):
    """An object that a pointer names. `label` is for people: the pointer's path."""

    kind: str
    oid: bytes
    size: int
    files: int
    label: str


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push. `project` and `clone`: 16 bytes each that say who. `record`: leave word of the
    roots for gc. `partial`: they are but a part of what the clone needs, so what it said before
    still counts. `unmade`: there is no remote yet, which only a dry run can do with."""

    jobs: int = 4
    dry_run: bool = False
    project: bytes = bytes(16)
    clone: bytes = bytes(16)
    progress: Progress = silent
    record: bool = True
    partial: bool = False
    unmade: bool = False


@dataclass(slots=True)
class PushReport:
    """What a push did. `size_bytes`: of the new files; `new_bytes`: what of that the remote lacked,
    raw; `stored_bytes`: as stored (compressed). `after`: the index as it was at the end."""

    roots: int = 0
    new_files: int = 0
    size_bytes: int = 0
    new_bytes: int = 0
    stored_bytes: int = 0
    packs: int = 0
    unchanged_roots: int = 0
    absent: list[Absent] = field(default_factory=list)
    damaged: list[Absent] = field(default_factory=list)
    after: Listing = field(default_factory=lambda: Listing(0, (), ()))


def push(
    remote: Remote, cache: Cache, roots: Iterable[Root], options: PushOptions | None = None
) -> PushReport:
    """Brings everything that the roots need onto the remote; then every root is readable there.

    Roots whose content is neither here nor there are listed as absent; the rest is pushed.

    Raises:
        RemoteError: the remote fails, or is not what it was when the push began; what arrived
            counts for the next push.
    """
    options = options or PushOptions()
    unique = _first_of_each(roots)
    for _ in range(_EPOCH_TRIES):
        nothing = Index(remote, Listing(0, (), ()), cache.folder)
        index = nothing if options.unmade else open_index(remote, cache.folder)
        attempt = _Push(index, cache, options)
        report = attempt.run(unique)
        report.after = index.listing
        if options.dry_run:
            return report
        stored = remote.backend.list("index")
        report.after = remote.listing(stored)
        if report.after.epoch <= index.listing.epoch:
            refuse_loss(remote, [*index.listing.trusted, *attempt.written], stored)
            return report
    raise RemoteError(f"gc keeps running on {remote.name}", "push again when it has ended")


def lacking(remote: Remote, cache_folder: str, roots: Iterable[Root]) -> list[Root]:
    """Those roots that a pusher could not count on finding on the remote."""
    unique = _first_of_each(roots)
    known = open_index(remote, cache_folder).objects((root.oid for root in unique), trusted=True)
    return [root for root in unique if root.oid not in known]


def _first_of_each(roots: Iterable[Root]) -> list[Root]:
    """Each object once, by the name that came first: the workspace's, if it has it."""
    unique: dict[bytes, Root] = {}
    for root in roots:
        unique.setdefault(root.oid, root)
    return list(unique.values())


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
        self.written: list[SegmentName] = []
        self.total_files = self.total_bytes = 0
        self.passed_files = self.passed_bytes = self.new_small_bytes = 0
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
                record_roots(
                    self.index.remote,
                    options.clone,
                    self.roots,
                    more=options.partial,
                    project=options.project,
                )
        except KeyboardInterrupt:
            self._name_arrived()
            raise
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
        wanted = {
            entry.oid: entry for entry in entries if not self.data.has(entry.oid, piece=False)
        }
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
        names = {oid: path + wanted[oid].name for oid in small}
        complete = self._small(small, names) and len(places) == len(wanted)
        for entry in large:
            complete &= self._large(entry, path)
        return complete

    def _large(self, entry: Entry, path: bytes) -> bool:
        report, before, read = self.report, self.large.new_bytes, self.large.read_bytes
        if self.large.has(entry.oid):
            return True
        try:
            self.large.send(entry.oid, self._after_batch)
        except CorruptError:
            report.damaged.append(Absent(self.label, path + entry.name, entry.oid))
            return False
        report.new_files += 1
        report.new_bytes += self.large.new_bytes - before
        report.size_bytes += self.large.read_bytes - read
        self._pass(1, 0)
        self._tell()
        return True

    def _after_batch(self) -> None:
        self._tell()
        self._checkpoint_if_due()

    def _small(self, places: dict[bytes, Place], names: dict[bytes, bytes]) -> bool:
        frames: dict[tuple[str, int, int], list[Member]] = {}
        complete = True
        for oid, (pack_path, row) in places.items():
            if row is None:
                complete &= self._loose(oid, names[oid])
            else:
                frames.setdefault((pack_path, row.frame_offset, row.frame_length), []).append(
                    Member(oid, RowKind.FILE, row.inner_offset, row.raw_length)
                )
        for (pack_path, offset, length), members in frames.items():
            try:
                self._frame(self.cache.read_frame(pack_path, offset, length), members)
            except CorruptError:
                ids = [item.id for item in members]
                self.report.damaged += [Absent(self.label, names[oid], oid) for oid in ids]
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
        self.report.size_bytes += size
        self.new_small_bytes += size
        self._pass(files, size)

    def _pass(self, files: int, size: int) -> None:
        """Counts what is dealt with, new or not, for the progress."""
        self.passed_files += files
        self.passed_bytes += size

    def _tell(self) -> None:
        done = self.passed_bytes + self.large.read_bytes
        new = self.new_small_bytes + self.large.new_bytes
        total = self.total_files, self.total_bytes
        self.options.progress("pushing", self.passed_files, done, *total, new)

    def _tell_sent(self) -> None:
        """When all is packed, what counts is what has arrived."""
        sent = [*self.data.sent.values(), *self.meta.sent.values()]
        packs = len(self.data.pack_ids) + len(self.meta.pack_ids)
        total = self.data.stored_bytes + self.meta.stored_bytes
        self.options.progress("sending packs", len(sent), sum(sent), packs, total)

    def _finish(self, complete: list[bytes]) -> None:
        """Data packs, recipes, trees' recipes, and the segment last."""
        self._close_mixed()
        self.data.close_pack()
        self.large.flush()
        for oid in self.trees:
            self._tree_recipe(oid)
        self.meta.close_pack()
        if not self.options.dry_run:
            self._tell_sent()
            self.data.drain(self._tell_sent)
            self.meta.drain(self._tell_sent)
        report = self.report
        report.stored_bytes = self.data.stored_bytes + self.meta.stored_bytes
        report.packs = len(self.data.pack_ids) + len(self.meta.pack_ids)
        if report.packs and not self.options.dry_run:
            self._write_segment(objects_too=True, roots=complete)
            merge_segments(self.index.remote, self.index, self._stamp())

    def _tree_recipe(self, oid: bytes) -> None:
        tree = self.cache.read_tree(oid)
        oids = tree.oid_list()
        new = {
            child: self.data.object_hint(child) or self.meta.object_hint(child) for child in oids
        }
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

    def _name_arrived(self) -> None:
        """Names what is there when a user stops the push, in the moment that is left for it."""
        self.data.wait(_MOMENT_S)
        source = Arrived(self.data)
        if not self.options.dry_run and (source.objects.data or source.pieces.data):
            with suppress(RemoteError):
                write_segment(self.index.remote, [source], (), self._stamp())

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
        name = write_segment(self.index.remote, sources, roots, self._stamp())
        self.written.append(name)


def _is_large(place: Place) -> bool:
    """Whether an object is to be cut: its real size decides, not what a tree says of it."""
    return place.row is None and os.stat(place.path).st_size >= SMALL_BYTES
