"""Which chunks a very large index holds, without asking it for each of them.

Owns the sample: the first sixteenth of each chunk table. Ids are hashes and tables are sorted, so
that is a uniform sample of all chunks. A hit says in which pack a stretch of known chunks lies;
that pack's footer names its neighbours. Of runs of known chunks that fill 4 MB, 98.4 % are found.
Asking the tables for each of the 46 chunks of a 3 MB file took 1,037 requests on an index of ten
million chunks, so 94. The sample (35 MB there) is read once and mirrored.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, RemoteError
from dvlite.storage.index import AT_ONCE, Index, mirror
from dvlite.storage.pack import MAX_FOOTER_BYTES, end_length, read_end
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import SegmentName, pack_name, render_name
from dvlite.storage.row import ROW_BYTES, Row, RowKind, read_row
from dvlite.storage.segment import FAN, fan_bits

_PART = 16
# A table up to this size is no sample but whole: 3,500 chunks, 230 MB of files.
_WHOLE_BYTES = 196 << 10
# Footers that are kept: 25 MB. Chunks of one file lie in few packs, one after the other.
_PACKS = 64
# The end of a pack that holds the footer of nearly every pack.
_END_BYTES = 128 << 10


class Sample:
    """Look-ups for one push, against what pushers may trust. Used by one thread."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._tables: list[tuple[SegmentName, _Table]] | None = None
        self._packs: OrderedDict[bytes, dict[bytes, Hint]] = OrderedDict()

    def find(self, ids: Iterable[bytes]) -> tuple[dict[bytes, Hint], dict[bytes, Hint]]:
        """Known chunks: those the sample has, and those only a pack's footer names.

        The latter may have no row in the view any more: who relies on them gives them one.
        """
        wanted = sorted(ids)
        sampled: dict[bytes, Hint] = {}
        for name, table in self._opened():
            for row in table.find_many(wanted):
                sampled.setdefault(row.id, self._index.hint(name, row))
        for hint in sampled.values():
            self._load(hint.pack)
        beside: dict[bytes, Hint] = {}
        for known in reversed(self._packs.values()):
            for one in wanted:
                if one not in sampled and one in known:
                    beside.setdefault(one, known[one])
        return sampled, beside

    def _opened(self) -> list[tuple[SegmentName, _Table]]:
        if self._tables is None:
            names = [name for name in self._index.listing.view() if name.counts.chunks]
            with ThreadPoolExecutor(AT_ONCE) as pool:
                self._tables = list(zip(names, pool.map(self._open, names), strict=True))
        return self._tables

    def _open(self, name: SegmentName) -> _Table:
        path = os.path.join(self._index.mirror_folder, name.id + ".sample")
        try:
            with open(path, "rb") as stream:
                return _Table(name, stream.read())
        except (FileNotFoundError, CorruptError):
            pass
        data = self._read(name)
        table = _Table(name, data)
        mirror(self._index.mirror_folder, path, data)
        return table

    def _read(self, name: SegmentName) -> bytes:
        """The fan-out of the sampled buckets, and their rows."""
        read, remote_name = self._index.remote.backend.read, render_name(name)
        (rows_at, _), (fan_at, _) = name.counts.sections()[:2]
        fan = read(remote_name, fan_at, _buckets(name) * FAN.size)
        if len(fan) != _buckets(name) * FAN.size:
            raise CorruptError(f"the index segment {remote_name} is cut short")
        rows: int = FAN.unpack_from(fan, len(fan) - FAN.size)[0]
        if rows > name.counts.chunks:
            raise CorruptError(f"the fan-out of the index segment {remote_name} is damaged")
        return fan + read(remote_name, rows_at, rows * ROW_BYTES)

    def _load(self, pack: bytes) -> None:
        if pack in self._packs:
            self._packs.move_to_end(pack)
            return
        try:
            rows = self._footer(pack)
        except (RemoteError, CorruptError):
            rows = []  # it saves nothing then; what the sample says of it still counts
        self._packs[pack] = {
            row.id: Hint(row.kind, pack, *row[3:]) for row in rows if row.kind == RowKind.CHUNK
        }
        if len(self._packs) > _PACKS:
            self._packs.popitem(last=False)

    def _footer(self, pack: bytes) -> list[Row]:
        read, name = self._index.remote.backend.read, pack_name(pack)
        end = read(name, -_END_BYTES)
        need = end_length(end)
        if need > MAX_FOOTER_BYTES:
            raise CorruptError("a pack's footer is of impossible length")
        return read_end(end if need <= len(end) else read(name, -need))


def _buckets(name: SegmentName) -> int:
    """How many buckets of a segment's chunk table are the sample."""
    total = 1 << fan_bits(name.counts.chunks)
    whole = name.counts.chunks * ROW_BYTES <= _WHOLE_BYTES
    return total if whole else max(1, total // _PART)


class _Table:
    """The beginning of one chunk table, checked."""

    def __init__(self, name: SegmentName, data: bytes) -> None:
        count = _buckets(name)
        self._shift = 32 - fan_bits(name.counts.chunks)
        self._ends = [0]
        self._rows = data[count * FAN.size :]
        for number in range(count if len(data) >= count * FAN.size else 0):
            end, checksum = FAN.unpack_from(data, number * FAN.size)
            bucket = self._rows[self._ends[-1] * ROW_BYTES : end * ROW_BYTES]
            if end < self._ends[-1] or xxh3_64_intdigest(bucket) != checksum:
                raise CorruptError(f"the sample of the index segment {name.id} is damaged")
            self._ends.append(end)
        if len(self._ends) != count + 1 or len(self._rows) != self._ends[-1] * ROW_BYTES:
            raise CorruptError(f"the sample of the index segment {name.id} is cut short")

    def find_many(self, wanted: list[bytes]) -> list[Row]:
        """Rows of those sorted ids that the sample holds."""
        found = []
        for one in wanted:
            number = int.from_bytes(one[:4], "big") >> self._shift
            if number >= len(self._ends) - 1:
                break
            at, end = self._ends[number] * ROW_BYTES, self._ends[number + 1] * ROW_BYTES
            at = self._rows.find(one, at, end)
            if at >= 0 and at % ROW_BYTES == 0:
                found.append(read_row(self._rows, at))
        return found
