"""What is here of a large file before it is fetched: an older version, and what an interrupted
fetch left of it.

Owns the unfinished files of fetches: their names in the cache's temporary folder, and the kernel
lock by which one that is being written differs from one that was left. Nothing in them is believed:
a chunk counts when it hashes to its name.
"""

from __future__ import annotations

import os
from contextlib import suppress

from dvlite.atomic import lock_once, temporary_name
from dvlite.storage.cache import Cache
from dvlite.storage.directio import DirectSource


class LocalVersions:
    """What is here of a file: `left` by interrupted fetches, and the version `before`."""

    def __init__(self, cache: Cache, oid: bytes, before: bytes | None) -> None:
        self._descriptors = list(_left(cache, oid).values())
        self.left = [DirectSource(descriptor) for descriptor in self._descriptors]
        self.before: DirectSource | None = None
        place = cache.find(before) if before is not None else None
        if place is not None and place.row is None:
            self._descriptors.append(os.open(place.path, os.O_RDONLY | os.O_CLOEXEC))
            self.before = DirectSource(self._descriptors[-1])

    def close(self) -> None:
        """Closes the files."""
        for file in (*self.left, *([self.before] if self.before is not None else [])):
            file.close()
        while self._descriptors:
            os.close(self._descriptors.pop())


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
    names: list[str] = []
    with suppress(OSError):
        names = sorted(os.listdir(cache.temporary_folder))
    for name in names:
        with suppress(OSError):  # gone, or another user's
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
