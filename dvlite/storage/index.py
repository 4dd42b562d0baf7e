"""Look-ups across all segments of a remote.

Owns which segments are asked and how their bytes come here: from a mirror below the cache when
the whole index is small, a range at a time when it is not. A mirrored segment is immutable and
named by its hash, so processes and clones share the mirror without a lock.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from blake3 import blake3

from dvlite.atomic import make_folders, publish
from dvlite.errors import CorruptError
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import Listing, Remote, SegmentName, render_name
from dvlite.storage.row import Row, read_rows
from dvlite.storage.segment import Counts, Segment, open_bytes, open_segment

# Up to this much index is mirrored whole: one second of a 500 Mbit/s link, once.
MIRROR_BYTES = 64 << 20
# Of a larger index, segments are asked so many at a time: 87 are left by 10,000 pushes, and
# asking one after the other took as many round trips.
AT_ONCE = 32
# What a segment says of objects (rows, the packs that they name, where each row is) comes with one
# request when it is no longer; else the packs and where rows are: about 62 and 34 kB of 512 pushes.
_ROWS_TOO_BYTES = 96 << 10
_PACKS_BYTES = 256 << 10
# With so few roots, what is behind them comes with the rest.
_ROOTS_BYTES = 4 << 10


@dataclass(slots=True)
class Index:
    """The index of a remote as it was when listed."""

    remote: Remote
    listing: Listing
    mirror_folder: str
    _segments: dict[str, Segment] = field(default_factory=dict)
    _packs: dict[str, list[bytes]] = field(default_factory=dict)

    def objects(self, oids: Iterable[bytes], trusted: bool = False) -> dict[bytes, Hint]:
        """Where those objects lie that are on the remote."""
        return self._find(oids, trusted, chunks=False)

    def chunks(self, ids: Iterable[bytes], trusted: bool = False) -> dict[bytes, Hint]:
        """Where those chunks lie that are on the remote."""
        return self._find(ids, trusted, chunks=True)

    def every_place(self, oid: bytes, chunk: bool) -> Iterator[Hint]:
        """All places that any segment gives for an id: for when one of them fails."""
        for name in (*self.listing.readable, *self.listing.hidden):
            yield from self._place_in(name, oid, chunk)

    def _place_in(self, name: SegmentName, oid: bytes, chunk: bool) -> list[Hint]:
        with self._may_be_deleted(name):
            segment = self.segment(name)
            row = (segment.chunks if chunk else segment.objects).find(oid)
            return [] if row is None else [self.hint(name, row)]
        return []

    @contextmanager
    def _may_be_deleted(self, name: SegmentName) -> Iterator[None]:
        """A gc may delete what no pusher counts on at any moment, also after it was listed: what it
        had named that is alive, segments of the view name."""
        try:
            yield
        except NotThere:
            if name in self.listing.trusted:
                raise

    def segment(self, name: SegmentName) -> Segment:
        """A segment of the listing, opened."""
        opened = self._segments.get(name.id)
        if opened is None:
            opened = self._segments[name.id] = self._open(name)
        return opened

    def pack_ids(self, name: SegmentName) -> list[bytes]:
        """The packs that a segment's rows number."""
        if name.id not in self._packs:
            self._packs[name.id] = self.segment(name).pack_ids()
        return self._packs[name.id]

    def adopt(self, name: SegmentName, segment: Segment) -> None:
        """Takes a segment that is had already, or not stored yet, for one that is opened."""
        self._segments[name.id] = segment

    def _find(self, oids: Iterable[bytes], trusted: bool, chunks: bool) -> dict[bytes, Hint]:
        wanted = set(oids)
        names = [
            name
            for name in (self.listing.view() if trusted else self.listing.readable)
            if (name.counts.chunks if chunks else name.counts.objects)
        ]
        found: dict[bytes, Hint] = {}
        if wanted and len(names) > 1 and not self.is_near():
            with ThreadPoolExecutor(AT_ONCE) as pool:
                asked = pool.map(lambda name: self._find_in(name, wanted, chunks), names)
                for part in asked:
                    found = part | found  # the first segment that has it counts
            return found
        for name in names:
            if not wanted:
                break
            found |= self._find_in(name, wanted, chunks)
            wanted -= found.keys()
        return found

    def _find_in(self, name: SegmentName, wanted: set[bytes], chunks: bool) -> dict[bytes, Hint]:
        with self._may_be_deleted(name):
            segment = self.segment(name)
            table = segment.chunks if chunks else segment.objects
            return {row.id: self.hint(name, row) for row in table.find_many(wanted)}
        return {}

    def lost_packs(self) -> set[bytes]:
        """The packs that rows of the view are in and that are not stored: somebody deleted them, or
        a gc is at work."""
        stored, names = self.remote.packs(), self.listing.view()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return set[bytes]().union(*pool.map(lambda name: self._lost_in(name, stored), names))

    def _lost_in(self, name: SegmentName, stored: Container[bytes]) -> set[bytes]:
        ids = self.pack_ids(name)
        lost = {pack for pack in ids if pack not in stored}
        if not lost or name.counts.size_bytes() > MIRROR_BYTES:
            return lost
        segment = self.segment(name)  # of a push that ended early: it may name more than was sent
        rows = read_rows(segment.chunks.all_rows() + segment.objects.all_rows())
        return lost & {ids[row.pack] for row in rows}

    def is_near(self) -> bool:
        """Whether segments are read from this machine: a folder, or the mirror."""
        total = sum(item.counts.size_bytes() for item in self.listing.readable)
        return isinstance(self.remote.backend, FolderBackend) or total <= MIRROR_BYTES

    def hint(self, name: SegmentName, row: Row) -> Hint:
        """Where a row of a segment says something lies."""
        packs = self.pack_ids(name)
        if row.pack >= len(packs):
            raise CorruptError(f"the index segment {name.id} numbers a pack that it lacks")
        return Hint(row.kind, packs[row.pack], *row[3:])

    def _open(self, name: SegmentName) -> Segment:
        try:
            return self._open_anyhow(name)
        except CorruptError as error:
            raise CorruptError(
                f"the index segment {render_name(name)} on {self.remote.name} is damaged: {error}",
                "dvlite remote check --repair mends it; or use another remote: -r NAME",
            ) from error

    def _open_anyhow(self, name: SegmentName) -> Segment:
        backend, remote_name = self.remote.backend, render_name(name)
        if isinstance(backend, FolderBackend):
            return open_segment(
                name.counts, lambda offset, length: backend.read(remote_name, offset, length)
            )
        if not self.is_near():
            return open_segment(name.counts, _TailReader(backend, remote_name, name.counts))
        return open_bytes(self._mirrored(name, remote_name))

    def _mirrored(self, name: SegmentName, remote_name: str) -> bytes:
        path = os.path.join(self.mirror_folder, name.id)
        try:
            with open(path, "rb") as stream:
                data = stream.read()
            if segment_id(data) == name.id:
                return data
        except FileNotFoundError:
            pass
        data = self.remote.backend.read(remote_name)
        if segment_id(data) != name.id:
            raise CorruptError(f"the index segment {remote_name} is damaged on the remote")
        mirror(self.mirror_folder, path, data)
        return data


class _TailReader:
    """Reads ranges of a segment. What tells where an object is comes at once if it is short: rows,
    packs and fan-out, and what checks them, which stands behind the roots."""

    def __init__(self, backend: Backend, name: str, counts: Counts) -> None:
        self._backend, self._name = backend, name
        _, _, (rows, _), (packs, _), (fan, fan_bytes), (roots, roots_bytes) = counts.sections()
        begin = rows if fan + fan_bytes - rows <= _ROWS_TOO_BYTES else packs
        self._ranges: list[tuple[int, int]] = []
        if fan + fan_bytes - begin <= _PACKS_BYTES:
            self._ranges = [(begin, fan + fan_bytes), (roots + roots_bytes, counts.size_bytes())]
            if roots_bytes <= _ROOTS_BYTES:
                self._ranges = [(begin, counts.size_bytes())]
        self._parts: list[bytes] = []

    def __call__(self, offset: int, length: int) -> bytes:
        for number, (begin, end) in enumerate(self._ranges):
            if begin <= offset and offset + length <= end:
                data = self._tail()[number]
                return data[offset - begin : offset - begin + length]
        return self._backend.read(self._name, offset, length)

    def _tail(self) -> list[bytes]:
        if not self._parts:
            with ThreadPoolExecutor(len(self._ranges)) as pool:
                self._parts = list(pool.map(self._read, self._ranges))
        return self._parts

    def _read(self, part: tuple[int, int]) -> bytes:
        return self._backend.read(self._name, part[0], part[1] - part[0])


def open_index(remote: Remote, cache_folder: str) -> Index:
    """The index of a remote as it is now."""
    return Index(remote, remote.listing(), mirror_of(remote, cache_folder))


def mirror_of(remote: Remote, cache_folder: str) -> str:
    """Where a cache keeps copies of a remote's segments."""
    key = blake3(remote.backend.url.encode()).hexdigest()[:16]
    return os.path.join(cache_folder, "remotes", key, "index")


def mirror(folder: str, path: str, data: bytes) -> None:
    """Keeps a copy of what a remote has, in the folder that `mirror_of` gives."""
    cache_folder = os.path.dirname(os.path.dirname(os.path.dirname(folder)))
    make_folders(folder, cache_folder)
    publish(path, data, durable=False, top=cache_folder)


def segment_id(data: bytes) -> str:
    """The id that a segment with these bytes has in its name."""
    return blake3(data).hexdigest()[:32]
