"""Writing segments, and merging many small ones into one.

Owns the tiers: when eight segments of one size class are there, a push also writes one that
holds all their rows and names them as superseded. 10,000 pushes without gc leave fewer than 90
live segments that way, and every row is rewritten 2.3 times on average. Nothing is deleted here:
superseded segments are gc's to remove.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dvlite.errors import CorruptError
from dvlite.storage.backend import Stored
from dvlite.storage.index import Index, segment_id
from dvlite.storage.remote import Remote, SegmentName, parse_name, render_name
from dvlite.storage.row import PACK_AT, ROW_BYTES, sort_rows
from dvlite.storage.segment import Stamp, encode, read_head
from dvlite.storage.upload import RowSource

MERGE_COUNT = 8
# Merging happens within a push, so it must cost less than a second; gc merges larger ones.
MERGE_BYTES = 32 << 20
# The smallest tier: up to 4 KB, the segment of a push of a few files.
_FIRST_TIER = 4096


def write_segment(
    remote: Remote, sources: Sequence[RowSource], roots: Iterable[bytes], stamp: Stamp
) -> SegmentName:
    """Publishes the rows of these sources that no segment holds yet; under which name."""
    packs: list[bytes] = []
    chunk_rows, object_rows = bytearray(), bytearray()
    for source in sources:
        chunk_rows += _renumber(source.pieces.unpublished(), source.pack_ids, packs)
        object_rows += _renumber(source.objects.unpublished(), source.pack_ids, packs)
    data = encode(sort_rows(chunk_rows), sort_rows(object_rows), packs, roots, stamp)
    name = store_segment(remote, data, stamp.epoch)
    for source in sources:
        source.pieces.mark_published()
        source.objects.mark_published()
    return name


def merge_segments(remote: Remote, index: Index, stamp: Stamp) -> bool:
    """Writes at most one merge of this view's segments; whether it did."""
    stored = remote.backend.list("index")
    listing = remote.listing(stored)
    if listing.epoch != stamp.epoch:
        return False
    tiers: dict[int, list[SegmentName]] = {}
    for name in listing.view():
        tiers.setdefault(_tier(name.counts.size_bytes()), []).append(name)
    for _, names in sorted(tiers.items()):
        group = names[:MERGE_COUNT]
        total = sum(name.counts.size_bytes() for name in group)
        if len(group) == MERGE_COUNT and total <= MERGE_BYTES:
            data = _merge(index, group, stamp)
            if name_segment(data, stamp.epoch).short in _mentioned(stored):
                continue
            store_segment(remote, data, stamp.epoch, group)
            return True
    return False


def _mentioned(stored: Iterable[Stored]) -> set[str]:
    """Ids of all segments, also of those that are gone but named as replaced.

    Several clones that push the same at once leave equal rows, and their merge may be, byte for
    byte, the segment that one of them wrote: it would replace itself, or what replaces it.
    """
    names = [name for one in stored if (name := parse_name(one.name.partition("/")[2]))]
    return {short for name in names for short in (name.short, *name.supersedes)}


def _merge(index: Index, names: Sequence[SegmentName], stamp: Stamp) -> bytes:
    packs: list[bytes] = []
    chunk_rows, object_rows = bytearray(), bytearray()
    roots: set[bytes] = set()
    for name in names:
        segment = index.segment(name)
        ids = index.pack_ids(name)
        chunk_rows += _renumber(segment.chunks.all_rows(), ids, packs)
        object_rows += _renumber(segment.objects.all_rows(), ids, packs)
        roots.update(segment.roots())
    return encode(sort_rows(chunk_rows), sort_rows(object_rows), packs, roots, stamp)


def _renumber(rows: bytes, pack_ids: Sequence[bytes], packs: list[bytes]) -> bytes:
    """Rows with their pack numbers counted in `packs`, which grows as needed."""
    number_of = {pack: number for number, pack in enumerate(packs)}
    end = PACK_AT + 4
    new = dict.fromkeys(
        (rows[at + PACK_AT : at + end] for at in range(0, len(rows), ROW_BYTES)), b""
    )
    for old in new:
        number = int.from_bytes(old, "little")
        if number >= len(pack_ids):
            raise CorruptError("a row of an index segment has a pack that the segment does not")
        pack = pack_ids[number]
        if pack not in number_of:
            number_of[pack] = len(packs)
            packs.append(pack)
        new[old] = number_of[pack].to_bytes(4, "little")
    if all(old == number for old, number in new.items()):
        return rows
    return b"".join(
        part
        for at in range(0, len(rows), ROW_BYTES)
        for part in (
            rows[at : at + PACK_AT],
            new[rows[at + PACK_AT : at + end]],
            rows[at + end : at + ROW_BYTES],
        )
    )


def store_segment(
    remote: Remote, data: bytes, epoch: int, merged: Sequence[SegmentName] = ()
) -> SegmentName:
    """Stores a segment under its name, which says what it supersedes."""
    name = name_segment(data, epoch, merged)
    remote.backend.write(render_name(name), data)
    return name


def name_segment(data: bytes, epoch: int, merged: Sequence[SegmentName] = ()) -> SegmentName:
    """The name of a segment with these bytes."""
    counts, _ = read_head(data)
    return SegmentName(epoch, counts, segment_id(data), tuple(item.short for item in merged))


def _tier(size: int) -> int:
    tier = 0
    while size > _FIRST_TIER:
        size //= MERGE_COUNT
        tier += 1
    return tier
