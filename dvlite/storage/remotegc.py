"""Garbage collection on a remote, by the epoch protocol of docs/design.md.

Owns the order that makes it safe against everything that runs at the same time: list the index,
*then* learn what is needed, copy what lives in packs that go, name it in new segments, begin an
epoch with a marker that is created only if nobody else did, and only then delete what markers
older than the grace period have condemned. A crash at any point leaves the remote as sound as it
was.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field

from dvlite._version import VERSION
from dvlite.errors import CorruptError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.backend import Backend, Stored
from dvlite.storage.heldindex import cut_short
from dvlite.storage.index import Index
from dvlite.storage.remote import (
    Marker,
    Remote,
    SegmentName,
    marker_epoch,
    marker_name,
    pack_name,
    parse_name,
    parse_pack_name,
    render_marker,
    render_name,
)
from dvlite.storage.remotecarry import copy_out, write_segments
from dvlite.storage.remotecensus import (
    Census,
    Counted,
    PackFate,
    young_objects,
    young_roots,
)
from dvlite.storage.remotelive import Walk
from dvlite.storage.rootrecord import newest_records, record_parts
from dvlite.storage.segment import Stamp

# Sound segments from this size on stay as they are: an index of gigabytes is not written anew.
_STAY_BYTES = 8 << 20
# So many segments that pushers count on are joined, though nothing else is to be done.
_MANY_SEGMENTS = 8
_PROBE = "tmp/gc-probe-"


@dataclass(frozen=True, slots=True)
class GcOptions:
    """How to collect. `grace_s`: what is younger is spared. `exclusive`: the user says that nobody
    else writes to the remote meanwhile. `project`, `clone`: 16 bytes each that say who."""

    grace_s: float
    exclusive: bool = False
    dry_run: bool = False
    jobs: int = 4
    project: bytes = bytes(16)
    clone: bytes = bytes(16)
    progress: Progress = silent


@dataclass(slots=True)
class RemotePlan:
    """What gc would do. Packs with their sizes: `condemned` from now on; `moved`: still hold
    something that is copied out (`moved_bytes`, raw); `deleted`: condemned long ago; and names of
    segments, records and leftovers to delete. `absent`: roots that the remote lacks."""

    epoch: int = 0
    now_s: float = 0.0
    census: Census | None = None
    condemned: dict[bytes, int] = field(default_factory=dict)
    moved: dict[bytes, int] = field(default_factory=dict)
    moved_bytes: int = 0
    deleted: dict[bytes, int] = field(default_factory=dict)
    old_names: dict[str, int] = field(default_factory=dict)
    kept_packs: int = 0
    kept_bytes: int = 0
    young_packs: int = 0
    young_bytes: int = 0
    objects: int = 0
    segments: int = 0
    roots: set[bytes] = field(default_factory=set)
    absent: set[bytes] = field(default_factory=set)
    begins_epoch: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.begins_epoch or self.deleted or self.old_names)


@dataclass(slots=True)
class Looked:
    """What one listing of the remote says, before anybody asks what is needed."""

    now_s: float
    stored: list[Stored]
    index: Index
    markers: dict[int, tuple[Marker, float]]


def look(remote: Remote, mirror_folder: str, options: GcOptions) -> Looked:
    """Lists the remote. What is needed has to be asked after this: whatever is pushed later is
    younger. A dry run writes nothing: its "now" is that of the newest file.

    Raises:
        RemoteError: the storage does not say how old things are, or cannot create a file only if
        it is absent, which two gcs at once need.
        CorruptError: a part of the index is damaged: what only that names would look dead.
    """
    now_s = 0.0 if options.dry_run else _probe(remote.backend, options)
    stored = remote.backend.list("index")
    listing = remote.listing(stored)
    listing.view()
    for name, text in cut_short(stored).items():
        raise CorruptError(
            f"{name} is damaged: it {text}", "dvlite remote check --repair, then run this again"
        )
    markers = {}
    for one in stored:
        epoch = marker_epoch(one.name)
        if epoch is not None:
            try:
                markers[epoch] = remote.marker(epoch), one.modified_s
            except CorruptError:  # nobody deletes by it; the newest is not: see `view`
                continue
    everything = stored + [one for one in remote.backend.list("") if not _in_index(one.name)]
    if options.dry_run:
        now_s = max((one.modified_s for one in everything), default=0.0)
    return Looked(now_s, everything, Index(remote, listing, mirror_folder), markers)


def plan_gc(looked: Looked, roots: Iterable[bytes], options: GcOptions) -> RemotePlan:
    """What is to be done, given what is needed. Nothing is changed.

    Raises:
        CorruptError: something that is needed is not there: first repair, then collect.
    """
    index, remote = looked.index, looked.index.remote
    ages = {one.name: looked.now_s - one.modified_s for one in looked.stored}
    plan = RemotePlan(index.listing.epoch, looked.now_s)
    trusted = frozenset(name.id for name in index.listing.trusted)
    segments = [
        Counted(name, ages.get(render_name(name), 0.0) < options.grace_s)
        for name in (*index.listing.readable, *index.listing.hidden)
    ]
    plan.roots = {*roots, *young_roots(index, segments, trusted)}
    walk = Walk(index, options.jobs, lambda count: options.progress("following roots", count, 0))
    walk.add_roots(plan.roots)
    plan.absent = set(walk.alive.absent)
    plan.roots -= plan.absent
    walk.add_roots(young_objects(index, segments, trusted))
    plan.objects = walk.alive.count
    packs = _packs(looked, ages, options.grace_s)
    plan.census = Census(
        remote,
        walk.alive,
        packs,
        segments,
        trusted,
        lambda done, total: options.progress("counting", done, 0, total),
    )
    plan.census.count()
    _sum_up(plan, packs)
    _what_is_due(looked, plan, ages, options.grace_s)
    return plan


def execute(looked: Looked, plan: RemotePlan, options: GcOptions) -> int:
    """Carries a plan out; the bytes that were freed.

    Raises:
        RemoteError: another gc or repair began an epoch meanwhile; nothing was deleted.
    """
    remote, copies = looked.index.remote, set[bytes]()
    if plan.begins_epoch:
        assert plan.census is not None
        stamp = Stamp(plan.epoch, options.project, options.clone, VERSION[:16])
        moved = copy_out(remote, plan.census, plan.epoch, options.jobs, options.progress)
        new = write_segments(remote, plan.census, plan.roots, moved, stamp)
        staying = {one.name.id for one in plan.census.segments if one.stays}
        # a copy may be, byte for byte, what it was copied from, or what an interrupted push left
        copies = set(moved.packs)
        condemned = plan.condemned.keys() - copies
        marker = Marker(frozenset(new) | staying, frozenset(pack.hex() for pack in condemned))
        _begin_epoch(remote, plan.epoch + 1, marker, options)
    freed = 0
    total = len(plan.deleted) + len(plan.old_names)
    # packs first: what no segment names any more nobody would find again
    for number, (pack, size) in enumerate(sorted(plan.deleted.items())):
        if pack in copies:  # it came from a remote of later epochs, and this one reached that
            continue
        options.progress("deleting", number, freed, total)
        remote.backend.delete(pack_name(pack))
        freed += size
    for name, size in sorted(plan.old_names.items()):
        remote.backend.delete(name)
        freed += size
    return freed


# -- looking ---------------------------------------------------------------------------------------


def _in_index(name: str) -> bool:
    return name.startswith("index/")


def _probe(backend: Backend, options: GcOptions) -> float:
    """The storage's own time; and whether it creates what is absent once only."""
    name = _PROBE + os.urandom(8).hex()
    try:
        created = backend.write_if_absent(name, b"1")
        again = backend.write_if_absent(name, b"2")
        times = [one.modified_s for one in backend.list("tmp") if one.name == name]
    finally:
        backend.delete(name)
    if not times or times[0] < 0:
        raise RemoteError(
            f"{backend.url} does not tell how old its files are, so nothing can be deleted safely"
        )
    if (again or not created) and not options.exclusive:
        raise RemoteError(
            f"{backend.url} cannot create a file only if it is absent, so two gcs could meet",
            "make sure that nobody pushes or collects meanwhile: --exclusive",
        )
    return times[0]


def _packs(looked: Looked, ages: dict[str, float], grace_s: float) -> dict[bytes, PackFate]:
    condemned = {pack for marker, _ in looked.markers.values() for pack in marker.condemned}
    found = {}
    for one in looked.stored:
        pack = parse_pack_name(one.name)
        if pack is not None:
            found[pack] = PackFate(one.size, ages[one.name] < grace_s, pack.hex() in condemned)
    return found


def _sum_up(plan: RemotePlan, packs: dict[bytes, PackFate]) -> None:
    assert plan.census is not None
    for pack, fate in packs.items():
        if fate.is_moved:
            plan.moved[pack] = fate.size
            plan.moved_bytes += fate.alive
        if fate.is_dead or (fate.is_moved and not fate.is_condemned):
            plan.condemned[pack] = fate.size
        elif not fate.is_condemned:
            plan.kept_packs += 1
            plan.kept_bytes += fate.size
        if fate.is_young:
            plan.young_packs += 1
            plan.young_bytes += fate.size
    going = plan.condemned.keys() | plan.moved.keys()
    segments, trusted = plan.census.segments, plan.census.trusted
    plan.segments = len(segments)
    for one in segments:
        one.stays = (
            one.name.id in trusted
            and not one.dead_rows
            and one.name.counts.size_bytes() >= _STAY_BYTES
            and going.isdisjoint(one.packs)
            and all(pack in packs and not packs[pack].is_condemned for pack in one.packs)
        )
    joined = sum(one.name.id in trusted and not one.stays for one in segments)
    # what only an old segment names would be lost with that
    lonely = plan.census.only_untrusted > 0
    plan.begins_epoch = bool(going) or lonely or joined >= _MANY_SEGMENTS


def _what_is_due(looked: Looked, plan: RemotePlan, ages: dict[str, float], grace_s: float) -> None:
    """What markers older than the grace period have condemned or no longer list, records that newer
    ones replace, and leftovers of interrupted pushes."""
    sizes = {one.name: one.size for one in looked.stored}
    old = {
        epoch: marker
        for epoch, (marker, modified_s) in looked.markers.items()
        if looked.now_s - modified_s >= grace_s
    }
    for marker in old.values():
        for text in marker.condemned:
            name = f"packs/{text[:2]}/{text}"
            if name in sizes:
                plan.deleted[bytes.fromhex(text)] = sizes[name]
    valid = {name.id for name in looked.index.listing.trusted}
    newest = set(newest_records(sizes).values())
    for name, size in sizes.items():
        if ages[name] < grace_s:
            continue
        segment = parse_name(name.partition("/")[2]) if _in_index(name) else None
        replaced = segment is not None and segment.id not in valid and _is_past(segment, old)
        record = record_parts(name) is not None and name not in newest
        if replaced or record or name.startswith("tmp/"):
            plan.old_names[name] = size


def _is_past(segment: SegmentName, old: dict[int, Marker]) -> bool:
    """Whether a marker older than the grace period stopped counting on it."""
    return any(epoch > segment.epoch and segment.id not in old[epoch].new for epoch in old)


# -- changing --------------------------------------------------------------------------------------


def _begin_epoch(remote: Remote, epoch: int, marker: Marker, options: GcOptions) -> None:
    name, data = marker_name(epoch), render_marker(marker)
    if options.exclusive and any(one.name == name for one in remote.backend.list("index")):
        created = False
    else:
        created = remote.backend.write_if_absent(name, data)
    if not created:
        raise RemoteError(
            f"another gc or a repair ran on {remote.name} meanwhile; nothing was deleted",
            "run this again",
        )
