"""What is here of a large file before it is fetched: an older version, and what an interrupted
fetch left of it.

Owns the unfinished files of fetches: their names in the cache's temporary folder, and the kernel
lock by which one that is being written differs from one that was left. Nothing in them is believed:
a chunk counts when it hashes to its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from dvlite.atomic import lock_once, temporary_name
from dvlite.storage.cache import Cache
from dvlite.storage.chunker import cut
from dvlite.storage.directio import DirectReader
from dvlite.storage.oid import hash_bytes


class LocalChunks:
    """Chunks of files that are here, by id."""

    def __init__(self, descriptors: Iterable[int]) -> None:
        self._places: dict[bytes, tuple[int, int, int]] = {}
        self._descriptors = list(descriptors)
        for descriptor in self._descriptors:
            offset = 0
            for chunks in cut(DirectReader(descriptor)):
                for chunk in chunks:
                    self._places[hash_bytes(chunk)] = (descriptor, offset, len(chunk))
                    offset += len(chunk)

    def read(self, chunk_id: bytes) -> bytes | None:
        """The chunk's bytes, verified; None when it is not here."""
        place = self._places.get(chunk_id)
        if place is None:
            return None
        descriptor, offset, length = place
        data = os.pread(descriptor, length, offset)
        return data if hash_bytes(data) == chunk_id else None

    def close(self) -> None:
        """Closes the files."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def local_chunks(cache: Cache, oid: bytes, previous: bytes | None) -> LocalChunks:
    """The chunks of a file's version before, and of what is left of the file itself."""
    descriptors = list(_left(cache, oid).values())
    place = cache.find(previous) if previous is not None else None
    if place is not None and place.row is None:
        descriptors.append(os.open(place.path, os.O_RDONLY | os.O_CLOEXEC))
    return LocalChunks(descriptors)


def unfinished_name(cache: Cache, oid: bytes) -> str:
    """Where to write a file that is being fetched. Its descriptor is to be locked."""
    return temporary_name(cache.temporary_folder, _prefix(oid))


def drop_left(cache: Cache, oid: bytes) -> None:
    """Removes what fetches left of a file: all when it is complete, else all but the most."""
    left = _left(cache, oid)
    try:
        amounts = {path: os.fstat(descriptor).st_blocks for path, descriptor in left.items()}
        most = max(amounts, key=amounts.__getitem__, default="")
        for path in left:
            if path != most or not amounts[path] or cache.has(oid):
                with suppress(FileNotFoundError):
                    os.unlink(path)
    finally:
        for descriptor in left.values():
            os.close(descriptor)


def _left(cache: Cache, oid: bytes) -> dict[str, int]:
    """The unfinished files that nobody writes, opened and locked."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(cache.temporary_folder)):
            if not name.startswith(_prefix(oid)):
                continue
            path = os.path.join(cache.temporary_folder, name)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            if lock_once(descriptor):
                found[path] = descriptor
            else:
                os.close(descriptor)
    return found


def _prefix(oid: bytes) -> str:
    return f"fetch-{oid.hex()}-"
