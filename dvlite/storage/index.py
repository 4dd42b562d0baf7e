"""Look-ups across all segments of a remote.

Owns which segments are asked and how their bytes come here: from a mirror below the cache when
the whole index is small, a range at a time when it is not. A mirrored segment is immutable and
named by its hash, so processes and clones share the mirror without a lock.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from blake3 import blake3

from dvlite.atomic import publish
from dvlite.errors import CorruptError
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import Listing, Remote, SegmentName, render_name
from dvlite.storage.row import Row
from dvlite.storage.segment import Segment, open_bytes, open_segment

# Up to this much index is mirrored whole: one second of a 500 Mbit/s link, once.
MIRROR_BYTES = 64 << 20


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
        for name in self.listing.readable:
            segment = self.segment(name)
            row = (segment.chunks if chunk else segment.objects).find(oid)
            if row is not None:
                yield self._hint(name, row)

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

    def _find(self, oids: Iterable[bytes], trusted: bool, chunks: bool) -> dict[bytes, Hint]:
        wanted = set(oids)
        found: dict[bytes, Hint] = {}
        for name in self.listing.trusted if trusted else self.listing.readable:
            if not wanted:
                break
            if not (name.counts.chunks if chunks else name.counts.objects):
                continue
            segment = self.segment(name)
            table = segment.chunks if chunks else segment.objects
            for row in table.find_many(wanted):
                found[row.id] = self._hint(name, row)
            wanted -= found.keys()
        return found

    def _hint(self, name: SegmentName, row: Row) -> Hint:
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
                "use another remote (-r NAME) until it is restored from a copy",
            ) from error

    def _open_anyhow(self, name: SegmentName) -> Segment:
        backend, remote_name = self.remote.backend, render_name(name)
        total = sum(item.counts.size_bytes() for item in self.listing.readable)
        if isinstance(backend, FolderBackend) or total > MIRROR_BYTES:
            return open_segment(
                name.counts, lambda offset, length: backend.read(remote_name, offset, length)
            )
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
        os.makedirs(self.mirror_folder, exist_ok=True)
        publish(path, data, durable=False)
        return data


def open_index(remote: Remote, cache_folder: str) -> Index:
    """The index of a remote as it is now."""
    key = blake3(remote.backend.url.encode()).hexdigest()[:16]
    return Index(remote, remote.listing(), os.path.join(cache_folder, "remotes", key, "index"))


def segment_id(data: bytes) -> str:
    """The id that a segment with these bytes has in its name."""
    return blake3(data).hexdigest()[:32]
