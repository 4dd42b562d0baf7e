"""Segments: immutable sorted tables of rows, on remotes and beside the packs of a cache.

Owns the table's bytes, its name on a remote, and look-ups through a `read(offset, length)`
function, so that one id costs two small reads whether the table is mapped, mirrored or remote.

Layout (little-endian); the four counts are also in the remote name, so that a listing alone
gives every section's place:
    head, 128 bytes: `dvlsegm`, u8 version, u64 epoch, u64 chunk rows, u64 object rows,
        u64 packs, u64 roots, 16 bytes project id, 16 bytes clone id, 16 bytes tool version, zero
    chunk rows sorted by id | chunk fan-out | object rows sorted by id | pack ids |
    object fan-out | roots (32 bytes each) | trailer
    fan-out: one entry a bucket of ids that share their first b bits: u32 rows up to the bucket's
        end, u64 XXH3-64 of the bucket's rows. b is the least for which a bucket of evenly
        spread ids has at most 219 rows (12 KB).
    trailer: six times u64 offset, u64 length, u64 XXH3-64 (0: checked by its fan-out), in the
        order above; then `dvlsegmE`
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.row import ROW_BYTES, Row, read_row

_MAGIC, _END, _VERSION = b"dvlsegm", b"dvlsegmE", 1
_HEAD = struct.Struct("<7sBQQQQQ16s16s16s32x")
HEAD_BYTES = 128
FAN = struct.Struct("<IQ")
_SECTION = struct.Struct("<QQQ")
# 12 KB of rows: what one round trip brings in the time of its latency.
BUCKET_ROWS = 219
_MAX_BITS = 24
# From so many ids on that fall into one bucket, indexing it once beats searching it for each.
_INDEX_FROM = 12

Read = Callable[[int, int], bytes]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many of each thing a segment holds: enough to know where everything is."""

    objects: int
    chunks: int
    packs: int
    roots: int

    def sections(self) -> list[tuple[int, int]]:
        """Offset and length of chunk rows, chunk fan-out, object rows, packs, object fan-out,
        roots, in the order of the file."""
        lengths = (
            self.chunks * ROW_BYTES,
            FAN.size << fan_bits(self.chunks),
            self.objects * ROW_BYTES,
            self.packs * 32,
            FAN.size << fan_bits(self.objects),
            self.roots * 32,
        )
        places, offset = [], HEAD_BYTES
        for length in lengths:
            places.append((offset, length))
            offset += length
        return places

    def size_bytes(self) -> int:
        """Length of the whole file."""
        offset, length = self.sections()[-1]
        return offset + length + 6 * _SECTION.size + len(_END)


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a segment, and in which gc epoch."""

    epoch: int = 0
    project: bytes = bytes(16)
    clone: bytes = bytes(16)
    tool: str = ""


def fan_bits(rows: int) -> int:
    """How many leading bits of an id choose its bucket in a table of this many rows."""
    return min(_MAX_BITS, max(0, (-(-rows // BUCKET_ROWS) - 1).bit_length()))


def encode(
    chunk_rows: bytes,
    object_rows: bytes,
    packs: Sequence[bytes],
    roots: Iterable[bytes] = (),
    stamp: Stamp | None = None,
) -> bytes:
    """A segment of rows that are already sorted (see `row.sort_rows`)."""
    stamp = stamp or Stamp()
    root_list = sorted(set(roots))
    sections = (
        chunk_rows,
        _fan_out(chunk_rows),
        object_rows,
        b"".join(packs),
        _fan_out(object_rows),
        b"".join(root_list),
    )
    chunks, objects = len(chunk_rows) // ROW_BYTES, len(object_rows) // ROW_BYTES
    counts = (chunks, objects, len(packs), len(root_list))
    head = _HEAD.pack(
        _MAGIC, _VERSION, stamp.epoch, *counts, stamp.project, stamp.clone, stamp.tool.encode()
    )
    trailer, offset = b"", HEAD_BYTES
    for number, section in enumerate(sections):
        checksum = 0 if number in (0, 2) else xxh3_64_intdigest(section)
        trailer += _SECTION.pack(offset, len(section), checksum)
        offset += len(section)
    return b"".join((head, *sections, trailer, _END))


def _fan_out(rows: bytes) -> bytes:
    count = len(rows) // ROW_BYTES
    bits = fan_bits(count)
    prefixes = [
        int.from_bytes(rows[start : start + 4], "big") >> (32 - bits)
        for start in range(0, len(rows), ROW_BYTES)
    ]
    view, out, begin = memoryview(rows), bytearray(), 0
    for bucket in range(1 << bits):
        end = bisect_left(prefixes, bucket + 1, lo=begin)
        checksum = xxh3_64_intdigest(view[begin * ROW_BYTES : end * ROW_BYTES])
        out += FAN.pack(end, checksum)
        begin = end
    return bytes(out)


def read_head(head: bytes) -> tuple[Counts, Stamp]:
    """What a segment's first 128 bytes say.

    Raises:
        CorruptError: not a segment. FormatVersionError: a newer one.
    """
    if len(head) < HEAD_BYTES or head[:7] != _MAGIC:
        raise CorruptError("these bytes are not an index segment")
    _, version, epoch, chunks, objects, packs, roots, project, clone, tool = _HEAD.unpack_from(head)
    if version != _VERSION:
        raise FormatVersionError(
            f"an index segment has format version {version}, this dvlite reads {_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    text = tool.rstrip(b"\0").decode("ascii", "replace")
    return Counts(objects, chunks, packs, roots), Stamp(epoch, project, clone, text)


@dataclass(slots=True)
class Table:
    """One sorted table of a segment, read through its fan-out a bucket at a time."""

    read: Read
    rows: tuple[int, int]
    fan: tuple[int, int]
    _buckets: dict[int, bytes] = field(default_factory=dict)
    _fan_bytes: bytes | None = None

    # So many buckets (6 MB) are kept: neighbours in a sorted batch of ids share one.
    _KEEP = 512

    def find(self, oid: bytes) -> Row | None:
        """The row of an id, or None."""
        data = self._bucket(self._bits_of(oid))
        at = _row_at(data, oid)
        return None if at < 0 else read_row(data, at)

    def find_many(self, oids: Iterable[bytes]) -> Iterator[Row]:
        """The rows of those ids that are here, in sorted order."""
        if not self.rows[1]:
            return
        shift = 32 - fan_bits(self.rows[1] // ROW_BYTES)
        for number, group in groupby(
            sorted(oids), lambda oid: int.from_bytes(oid[:4], "big") >> shift
        ):
            wanted = list(group)
            if len(wanted) < _INDEX_FROM:
                data = self._bucket(number)
                for oid in wanted:
                    at = _row_at(data, oid)
                    if at >= 0:
                        yield read_row(data, at)
            else:
                yield from _match(self._read_bucket(number), wanted)

    def all_rows(self) -> bytes:
        """Every row, checked."""
        bits = fan_bits(self.rows[1] // ROW_BYTES)
        return b"".join(self._read_bucket(number) for number in range(1 << bits))

    def rows_in(self, prefix: int, bits: int) -> bytes:
        """The rows whose ids begin with these bits, checked and in order."""
        own = fan_bits(self.rows[1] // ROW_BYTES)
        if own >= bits:
            first, last = prefix << (own - bits), (prefix + 1) << (own - bits)
            return b"".join(self._read_bucket(number) for number in range(first, last))
        data = self._read_bucket(prefix >> (bits - own))
        return b"".join(
            data[at : at + ROW_BYTES]
            for at in range(0, len(data), ROW_BYTES)
            if int.from_bytes(data[at : at + 4], "big") >> (32 - bits) == prefix
        )

    def _bits_of(self, oid: bytes) -> int:
        bits = fan_bits(self.rows[1] // ROW_BYTES)
        return int.from_bytes(oid[:4], "big") >> (32 - bits)

    def _bucket(self, number: int) -> bytes:
        data = self._buckets.get(number)
        if data is None:
            data = self._read_bucket(number)
            if len(self._buckets) >= self._KEEP:
                self._buckets.clear()
            self._buckets[number] = data
        return data

    def _read_bucket(self, number: int) -> bytes:
        fan = self._fan()
        begin = FAN.unpack_from(fan, (number - 1) * FAN.size)[0] if number else 0
        end, checksum = FAN.unpack_from(fan, number * FAN.size)
        if begin > end or end * ROW_BYTES > self.rows[1]:
            raise CorruptError("an index segment's fan-out is damaged")
        data = self.read(self.rows[0] + begin * ROW_BYTES, (end - begin) * ROW_BYTES)
        if len(data) != (end - begin) * ROW_BYTES or xxh3_64_intdigest(data) != checksum:
            raise CorruptError("a bucket of an index segment does not match its checksum")
        return data

    def _fan(self) -> bytes:
        if self._fan_bytes is None:
            self._fan_bytes = self.read(*self.fan)
            if len(self._fan_bytes) != self.fan[1]:
                raise CorruptError("an index segment is cut short")
        return self._fan_bytes


def _row_at(bucket: bytes, oid: bytes) -> int:
    """Where the row of an id is in a bucket; -1 where there is none."""
    at = bucket.find(oid)
    while at >= 0 and at % ROW_BYTES:
        at = bucket.find(oid, at + 1)
    return at


def _match(bucket: bytes, wanted: list[bytes]) -> Iterator[Row]:
    """Rows of the wanted ids, through a table of the bucket's ids made for the occasion."""
    places = {bucket[at : at + 32]: at for at in range(0, len(bucket), ROW_BYTES)}
    for oid in wanted:
        if oid in places:
            yield read_row(bucket, places[oid])


@dataclass(frozen=True, slots=True)
class Segment:
    """A readable segment. `packs` is read when first asked for."""

    counts: Counts
    chunks: Table
    objects: Table
    read: Read

    def pack_ids(self) -> list[bytes]:
        """Ids of the packs that the rows number, checked."""
        data = self._checked(3)
        return [data[start : start + 32] for start in range(0, len(data), 32)]

    def roots(self) -> list[bytes]:
        """The oids that the push named."""
        data = self._checked(5)
        return [data[start : start + 32] for start in range(0, len(data), 32)]

    def stamp(self) -> Stamp:
        """Who wrote it, and when in gc's counting."""
        return read_head(self.read(0, HEAD_BYTES))[1]

    def _checked(self, number: int) -> bytes:
        places = self.counts.sections()
        offset, length = places[number]
        trailer_at = places[-1][0] + places[-1][1]
        entry = self.read(trailer_at + number * _SECTION.size, _SECTION.size)
        if len(entry) != _SECTION.size or _SECTION.unpack(entry)[:2] != (offset, length):
            raise CorruptError("an index segment's trailer does not fit its counts")
        data = self.read(offset, length) if length else b""
        if len(data) != length or xxh3_64_intdigest(data) != _SECTION.unpack(entry)[2]:
            raise CorruptError("a section of an index segment does not match its checksum")
        return data


def open_segment(counts: Counts, read: Read) -> Segment:
    """A segment with these counts (from its name or head), read through `read`."""
    places = counts.sections()
    return Segment(
        counts, Table(read, places[0], places[1]), Table(read, places[2], places[4]), read
    )


def open_bytes(data: bytes | memoryview) -> Segment:
    """A segment that is wholly in memory or mapped."""
    counts, _ = read_head(bytes(data[:HEAD_BYTES]))
    if counts.size_bytes() != len(data):
        raise CorruptError("an index segment's length does not fit its counts")
    return open_segment(counts, lambda offset, length: bytes(data[offset : offset + length]))
