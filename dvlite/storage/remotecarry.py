"""What a gc carries over: living frames out of packs that go, and the segments that name all that
lives.

Owns that what is carried is verified, and that a segment names what is stored already. What goes,
and when, is decided in `remotegc`.
"""

from __future__ import annotations

from collections.abc import Iterable

from blake3 import blake3

from dvlite.errors import CorruptError
from dvlite.progress import Progress, silent
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.index import segment_id
from dvlite.storage.merging import store_segment
from dvlite.storage.pack import HEAD, Member, check_head
from dvlite.storage.remote import Remote, pack_name
from dvlite.storage.remotecensus import Census, is_piece
from dvlite.storage.remotelive import BUCKETS
from dvlite.storage.row import ROW_BYTES, Row, read_rows
from dvlite.storage.segment import Stamp, encode
from dvlite.storage.upload import Uploader

# Segments that gc writes: 32 MB of rows, which is a quarter of a million chunks.
_SEGMENT_BYTES = 32 << 20


class Moved:
    """Rows of what was copied out, a bucket at a time."""

    def __init__(self) -> None:
        self.packs: list[bytes] = []
        self._rows = [bytearray() for _ in range(BUCKETS)]

    def take(self, uploader: Uploader, first: int) -> None:
        """The rows that an uploader has placed since."""
        for rows in (uploader.objects, uploader.pieces):
            for row in read_rows(rows.unpublished()):
                self._rows[row.id[0]] += row._replace(pack=first + row.pack).pack_bytes()
            rows.mark_published()
            rows.forget_published()

    def rows(self, number: int) -> Iterable[Row]:
        """Those of a bucket; pack numbers count in `packs`."""
        return read_rows(bytes(self._rows[number]))


def copy_out(
    remote: Remote, census: Census, epoch: int, jobs: int, progress: Progress = silent
) -> Moved:
    """Copies what lives in packs that go into new ones.

    Raises:
        CorruptError: one of those packs is damaged or gone.
    """
    wanted: dict[bytes, bytearray] = {
        pack: bytearray() for pack, fate in census.packs.items() if fate.is_moved
    }
    moved = Moved()
    if not wanted:
        return moved
    for number in range(BUCKETS):
        for place in census.chosen(number):
            if place.pack in wanted:
                wanted[place.pack] += place.row.pack_bytes()
    uploaders: dict[int, Uploader] = {}
    total = sum(census.packs[pack].size for pack in wanted)
    done = 0
    try:
        for pack in sorted(wanted):
            data = _whole_pack(remote.backend, pack)
            content, _ = check_head(bytes(data[: HEAD.size]))
            if content not in uploaders:
                uploaders[content] = Uploader(remote.backend, content, epoch, jobs)
            _add_frames(uploaders[content], data, read_rows(bytes(wanted[pack])))
            done += len(data)
            progress("copying", 0, done, None, total)
        for uploader in uploaders.values():
            uploader.close_pack()
            uploader.drain()
            first = len(moved.packs)
            moved.packs += uploader.pack_ids
            moved.take(uploader, first)
    finally:
        for uploader in uploaders.values():
            uploader.stop()
    return moved


def _whole_pack(backend: Backend, pack: bytes) -> bytes:
    for _ in range(2):  # once may have been the line
        try:
            data = backend.read(pack_name(pack))
        except NotThere:
            break
        if blake3(data).digest() == pack:
            return data
    raise CorruptError(
        f"the pack {pack.hex()[:12]} is damaged or gone, and holds what is in use",
        "dvlite remote check --repair, then run this again",
    )


def _add_frames(uploader: Uploader, data: bytes, rows: Iterable[Row]) -> None:
    frames: dict[tuple[int, int], list[Member]] = {}
    for row in rows:
        member = Member(row.id, row.kind, row.inner_offset, row.raw_length)
        frames.setdefault((row.frame_offset, row.frame_length), []).append(member)
    for (offset, length), members in sorted(frames.items()):
        uploader.add_frame(data[offset : offset + length], members)


def write_segments(
    remote: Remote, census: Census, roots: set[bytes], moved: Moved, stamp: Stamp
) -> list[str]:
    """New segments with exactly the living rows that no segment which stays has; their ids."""
    writer = _SegmentWriter(remote, stamp, roots)
    for number in range(BUCKETS):
        for place in census.chosen(number):
            if not census.packs[place.pack].is_moved:
                writer.add(place.pack, place.row)
        for row in moved.rows(number):
            writer.add(moved.packs[row.pack], row)
        writer.flush_if_full()
    writer.flush()
    return writer.ids


class _SegmentWriter:
    """Collects rows, and stores a segment whenever there are enough."""

    def __init__(self, remote: Remote, stamp: Stamp, roots: set[bytes]) -> None:
        self.remote, self.stamp, self.roots = remote, stamp, roots
        self.ids: list[str] = []
        self._start()

    def _start(self) -> None:
        self._packs: dict[bytes, int] = {}
        self._pieces: list[bytes] = []
        self._objects: list[bytes] = []

    def add(self, pack: bytes, row: Row) -> None:
        """Takes a row."""
        number = self._packs.setdefault(pack, len(self._packs))
        packed = row._replace(pack=number).pack_bytes()
        (self._pieces if is_piece(row) else self._objects).append(packed)

    def flush_if_full(self) -> None:
        """Stores a segment if there is enough for one."""
        if ROW_BYTES * (len(self._pieces) + len(self._objects)) >= _SEGMENT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Stores what there is."""
        if not (self._pieces or self._objects or self.roots):
            return
        tables = b"".join(sorted(self._pieces)), b"".join(sorted(self._objects))
        data = encode(*tables, list(self._packs), self.roots, self.stamp)
        store_segment(self.remote, data, self.stamp.epoch)
        self.ids.append(segment_id(data))
        self.roots = set()
        self._start()
