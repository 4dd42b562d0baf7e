"""A remote's whole index on this machine: for work that needs every row of it.

Owns a folder of segments, each compared with its name when it comes, and walking through the rows
of two indexes side by side, a stretch of ids at a time, so that memory does not grow with them.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from dvlite.errors import CorruptError
from dvlite.storage.backend import NotThere, Stored
from dvlite.storage.index import segment_id
from dvlite.storage.remote import Listing, Remote, SegmentName, parse_name, render_name
from dvlite.storage.row import ROW_BYTES
from dvlite.storage.segment import Segment, open_bytes
from dvlite.storage.several import several

# Rows of all segments together that are compared at a time: some 50 MB of memory.
_STRETCH_ROWS = 1 << 17
_MAX_BITS = 24
# What makes two rows stand for the same thing: id and kind.
KEY_BYTES = 33


@dataclass(frozen=True, slots=True)
class Held:
    """A segment that is here, and the packs that its rows number."""

    name: SegmentName
    segment: Segment
    packs: list[bytes]


@dataclass(slots=True)
class HeldIndex:
    """The segments that pushers count on, and the names of those that are not what they should
    be, each with why."""

    listing: Listing
    segments: list[Held] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)

    def rows(self) -> int:
        """How many rows there are, repeats counted."""
        return sum(one.name.counts.chunks + one.name.counts.objects for one in self.segments)

    def roots(self) -> set[bytes]:
        """The oids that pushes named."""
        return {oid for one in self.segments for oid in one.segment.roots()}

    def stretch(self, chunks: bool, prefix: int, bits: int) -> Iterator[tuple[bytes, bytes]]:
        """The rows whose ids begin with these bits, each with its pack."""
        for one in self.segments:
            table = one.segment.chunks if chunks else one.segment.objects
            data = table.rows_in(prefix, bits) if table.rows[1] else b""
            for at in range(0, len(data), ROW_BYTES):
                row = data[at : at + ROW_BYTES]
                number = int.from_bytes(row[36:40], "little")
                if number >= len(one.packs):
                    raise CorruptError(f"{render_name(one.name)} numbers a pack that it lacks")
                yield one.packs[number], row


def hold_index(
    remote: Remote, folder: str, jobs: int, tell: Callable[[int], None] | None = None
) -> HeldIndex:
    """Brings the segments of a remote's view into a folder.

    Raises:
        CorruptError: the newest marker is damaged: nobody can tell what the view is.
    """
    listing = remote.listing()
    held = HeldIndex(listing, bad=cut_short(remote.backend.list("index")))
    trusted = listing.view()
    for name, outcome in several(lambda one: _bring(remote, one, folder), trusted, jobs):
        if isinstance(outcome, Held):
            held.segments.append(outcome)
        else:
            held.bad[render_name(name)] = outcome
        if tell is not None:
            tell(name.counts.size_bytes())
    return held


def stretches(source: HeldIndex, target: HeldIndex) -> Iterator[tuple[bool, int, int]]:
    """Which stretches to walk through: chunks or objects, and the first bits of the ids."""
    most = max(1, source.rows() + target.rows())
    bits = min(_MAX_BITS, max(0, (-(-most // _STRETCH_ROWS) - 1).bit_length()))
    for chunks in (True, False):
        for prefix in range(1 << bits):
            yield chunks, prefix, bits


def _bring(remote: Remote, name: SegmentName, folder: str) -> Held | str:
    """A segment, mapped from a file of its own, or what is wrong with it."""
    try:
        data = remote.backend.read(render_name(name))
    except NotThere:
        return "missing"
    if segment_id(data) != name.id:
        return "damaged: its bytes are not what its name says"
    path = os.path.join(folder, name.id)
    with open(path, "w+b") as stream:
        stream.write(data)
        stream.flush()
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        segment = open_bytes(memoryview(mapped))
        return Held(name, segment, segment.pack_ids())
    except CorruptError as error:
        return f"written wrongly: {error}"


def cut_short(stored: Iterable[Stored]) -> dict[str, str]:
    """Segments in a listing of the index that readers pass over because their length is wrong, and
    that nothing replaces; each with what is wrong."""
    names = [(one, name) for one in stored if (name := parse_name(one.name.partition("/")[2]))]
    whole = [name for one, name in names if name.counts.size_bytes() == one.size]
    replaced = {short for name in whole for short in name.supersedes}
    return {
        one.name: f"has {one.size} bytes, not {name.counts.size_bytes()}"
        for one, name in names
        if name.counts.size_bytes() != one.size and name.short not in replaced
    }
