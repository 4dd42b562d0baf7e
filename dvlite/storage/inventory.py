"""What lies on a remote: every name sorted, every index segment read whole and checked.

Owns what each name is and whether its own bytes are as they have to be. What packs hold is not
looked at here. Nothing is changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.backend import Backend, NotThere, Stored
from dvlite.storage.index import segment_id
from dvlite.storage.pack import TAIL
from dvlite.storage.publishedlist import read_names, stale_names
from dvlite.storage.remote import (
    DESCRIPTION_NAME,
    FORMAT_VERSION,
    LIST_NAME,
    Listing,
    Remote,
    SegmentName,
    description,
    marker_name,
    parse_name,
    parse_pack_name,
    readable,
    render_name,
)
from dvlite.storage.rootrecord import newest_records, read_record, record_parts
from dvlite.storage.row import ROW_BYTES, read_rows
from dvlite.storage.runfiles import fetch_run_file, is_run_file
from dvlite.storage.segment import Segment, open_bytes, read_head
from dvlite.storage.several import several

_MARKER = re.compile(r"index/gc-([0-9]{16})\Z")
# What a problem with the list for readers behind a web server is about.
LIST = "list"
_ID = re.compile(r"[0-9a-f]{64}\Z")


class Problem(NamedTuple):
    """Something that is not as it has to be. `damage`: data or pushes suffer; else a note."""

    what: str
    name: str
    text: str
    damage: bool = True


class Extent(NamedTuple):
    """What the index demands of a pack: so many rows, and frames up to here."""

    rows: int = 0
    end: int = 0

    @property
    def least_bytes(self) -> int:
        """The smallest file that can hold it."""
        return self.end + self.rows * ROW_BYTES + TAIL.size


@dataclass(slots=True)
class Inventory:
    """Everything that is there.

    `listing`: the segments in use whose bytes are right. `bad`: those in use that are damaged.
    `older`: sound ones that others supersede. `named`: what the segments in use demand of packs.
    `roots`: oids that they promise; `recorded`: oids that clones say they pushed.
    """

    packs: dict[bytes, int] = field(default_factory=dict)
    listing: Listing = field(default_factory=lambda: Listing(0, (), ()))
    valid: frozenset[str] = frozenset()
    bad: list[SegmentName] = field(default_factory=list)
    older: list[SegmentName] = field(default_factory=list)
    named: dict[bytes, Extent] = field(default_factory=dict)
    roots: set[bytes] = field(default_factory=set)
    recorded: set[bytes] = field(default_factory=set)
    condemned: set[bytes] = field(default_factory=set)
    bad_records: list[str] = field(default_factory=list)
    description_is_good: bool = True
    problems: list[Problem] = field(default_factory=list)

    def note(self, what: str, name: str, text: str) -> None:
        """Something odd that does no harm."""
        self.problems.append(Problem(what, name, text, damage=False))

    def damage(self, what: str, name: str, text: str) -> None:
        """Something that does."""
        self.problems.append(Problem(what, name, text))

    def trusts(self, name: SegmentName) -> bool:
        """Whether a pusher of this epoch may count on a segment of that name."""
        return name.epoch == self.listing.epoch or name.id in self.valid


@dataclass(slots=True)
class _Names:
    """A listing, sorted."""

    segments: list[tuple[SegmentName, int]] = field(default_factory=list)
    records: list[str] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def take_inventory(remote: Remote, jobs: int) -> Inventory:
    """Lists a remote and reads all of it but its packs.

    Raises:
        FormatVersionError: of a newer dvlite. RemoteError: it cannot be read.
    """
    inventory, names = Inventory(), _Names()
    stored = remote.backend.list("")
    for one in stored:
        _sort(one, inventory, names)
    _check_description(remote.backend, inventory)
    _take_markers(remote, sorted(names.epochs), inventory)
    _take_segments(remote, names.segments, inventory, jobs)
    _take_records(remote, sorted(names.records), inventory)
    for name, data in several(partial(fetch_run_file, remote), names.runs, jobs):
        if data is None:
            inventory.note("runs", name, "damaged: what it told of is run again; gc removes it")
    if any(one.name == LIST_NAME for one in stored):
        _check_list(remote, stored, inventory)
    return inventory


def open_whole(remote: Remote, name: SegmentName) -> Segment:
    """A segment read at once, for those who want all its rows."""
    return open_bytes(remote.backend.read(render_name(name)))


def _sort(one: Stored, inventory: Inventory, names: _Names) -> None:
    folder, _, base = one.name.rpartition("/")
    segment = parse_name(base) if folder == "index" else None
    if segment is not None:
        names.segments.append((segment, one.size))
    elif (pack := parse_pack_name(one.name)) is not None:
        inventory.packs[pack] = one.size
    elif (marker := _MARKER.match(one.name)) is not None:
        names.epochs.append(int(marker[1]))
    elif record_parts(one.name) is not None:
        names.records.append(one.name)
    elif is_run_file(one.name):
        names.runs.append(one.name)
    elif one.name.startswith("tmp/"):
        inventory.note("name", one.name, "an unfinished file of an interrupted push")
    elif one.name not in (DESCRIPTION_NAME, LIST_NAME):
        inventory.note("name", one.name, "a name that dvlite does not use")


def _check_list(remote: Remote, stored: Sequence[Stored], inventory: Inventory) -> None:
    """Whether readers behind a web server see what is there. A list that is merely older is no
    damage: a push may be on its way, which writes it at its end."""
    try:
        listed = read_names(remote.backend)
    except CorruptError as error:
        inventory.damage(LIST, LIST_NAME, f"readers at http(s):// cannot use it: {error}")
        return
    except NotThere:
        return
    lacking, gone = stale_names(remote.listing(stored), stored, listed)
    if gone:
        text = f"names {len(gone)} files that are gone: readers at http(s):// fail on them"
        inventory.damage(LIST, LIST_NAME, text)
    elif lacking:
        text = (
            f"lacks {len(lacking)} files that are there: readers at http(s):// see the remote "
            "as it was; dvlite remote publish"
        )
        inventory.note(LIST, LIST_NAME, text)


def _check_description(backend: Backend, inventory: Inventory) -> None:
    """Its bytes are the same on every remote of this version: anything else is damage, unless it
    says that it is of another one."""
    try:
        data, text = backend.read(DESCRIPTION_NAME), "damaged"
    except NotThere:
        data, text = b"", "missing"
    if data == description():
        return
    try:
        content = json.loads(data)
        newer = content["dvlite"] > FORMAT_VERSION or bool(content["requires"])
    except (ValueError, KeyError, TypeError, RecursionError):
        newer = False
    if newer:
        raise FormatVersionError(
            f"the remote {backend.url} is of a newer version, or needs what this dvlite lacks",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    inventory.description_is_good = False
    inventory.damage("description", DESCRIPTION_NAME, text)


def _take_markers(remote: Remote, epochs: list[int], inventory: Inventory) -> None:
    """The newest epoch, and the segments of before that stay valid in it."""
    newest, problem = max(epochs, default=0), None
    for epoch in epochs:
        try:
            marker = remote.marker(epoch)
        except FormatVersionError:
            raise
        except CorruptError as error:
            if epoch == newest:
                problem = error
                inventory.damage("marker", marker_name(epoch), "damaged; nobody can push")
            else:
                inventory.note("marker", marker_name(epoch), "damaged, and no longer counts")
            continue
        if epoch == newest:
            inventory.valid = marker.new
        inventory.condemned |= {bytes.fromhex(one) for one in marker.condemned if _ID.match(one)}
    inventory.listing = Listing(newest, (), (), problem)


class _Read(NamedTuple):
    """What a segment holds, or why that cannot be told."""

    problem: str = ""
    extents: Mapping[bytes, Extent] = {}
    roots: tuple[bytes, ...] = ()


def _take_segments(
    remote: Remote, found: list[tuple[SegmentName, int]], inventory: Inventory, jobs: int
) -> None:
    """Reads every segment; those in use have to be sound."""
    whole = [name for name, size in found if name.counts.size_bytes() == size]
    used = set(_in_use(inventory, whole))
    replaced = {short for name in whole for short in name.supersedes}
    for (name, _), read in several(lambda one: _read_segment(remote, one[0]), found, jobs):
        if not read.problem and name in used:
            _count(inventory, name, read)
        elif not read.problem:
            inventory.older.append(name)
        elif name in used or name.short not in replaced:
            inventory.bad.append(name)
            inventory.damage("segment", render_name(name), read.problem)
        else:
            inventory.note("segment", render_name(name), f"{read.problem}; others replace it")
    bad, before = set(inventory.bad), inventory.listing
    sound = tuple(name for name in _in_use(inventory, whole) if name not in bad)
    trusted = tuple(name for name in sound if inventory.trusts(name))
    inventory.listing = Listing(before.epoch, sound, trusted, before.problem)


def _in_use(inventory: Inventory, whole: list[SegmentName]) -> tuple[SegmentName, ...]:
    return readable(whole, [name for name in whole if inventory.trusts(name)])


def _count(inventory: Inventory, name: SegmentName, read: _Read) -> None:
    if inventory.listing.problem is not None and inventory.condemned.isdisjoint(read.extents):
        # who was valid is lost; none that a marker condemned can be, and the others are whole
        inventory.valid |= {name.id}
    for pack, extent in read.extents.items():
        known = inventory.named.get(pack, Extent())
        # a row may be in several segments, so the largest count is what is certain
        inventory.named[pack] = Extent(max(known.rows, extent.rows), max(known.end, extent.end))
    inventory.roots.update(read.roots)


def _read_segment(remote: Remote, name: SegmentName) -> _Read:
    """Reads a segment, checks its bytes against its name and its inside against itself."""
    try:
        data = remote.backend.read(render_name(name))
    except NotThere:
        return _Read("vanished meanwhile")
    if len(data) != name.counts.size_bytes():
        return _Read(f"has {len(data)} bytes, not {name.counts.size_bytes()}")
    if segment_id(data) != name.id:
        return _Read("damaged: its bytes are not what its name says")
    try:
        segment = open_bytes(data)
        if read_head(data)[0] != name.counts:
            raise CorruptError("it holds other numbers than its name says")
        return _Read("", _extents(segment), tuple(segment.roots()))
    except CorruptError as error:
        return _Read(f"written wrongly: {error}")


def _extents(segment: Segment) -> dict[bytes, Extent]:
    packs = segment.pack_ids()
    counts, ends = [0] * len(packs), [0] * len(packs)
    for table in (segment.chunks, segment.objects):
        for row in read_rows(table.all_rows()):
            if row.pack >= len(packs):
                raise CorruptError("it numbers a pack that it lacks")
            counts[row.pack] += 1
            ends[row.pack] = max(ends[row.pack], row.frame_offset + row.frame_length)
    extents = zip(packs, map(Extent, counts, ends), strict=True)
    return {pack: extent for pack, extent in extents if extent.rows}


def _take_records(remote: Remote, names: list[str], inventory: Inventory) -> None:
    """The newest record of each clone counts; names sort by clone, then time."""
    newest = set(newest_records(names).values())
    for name in names:
        counts = name in newest
        try:
            inventory.recorded |= read_record(name, remote.backend.read(name)) if counts else set()
        except (CorruptError, NotThere):
            inventory.bad_records.append(name)
            inventory.damage("roots", name, "damaged: what a clone pushed is not known")
