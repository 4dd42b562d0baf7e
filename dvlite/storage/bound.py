"""Bounds for walking trees that somebody else made.

Owns what tells an attack from a large folder. A tree names its folders by hash, so a few kilobytes
can name the same folder a hundred times, in which each is named a hundred times, and so on: nobody
could list what that makes. And a listing may claim any sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.errors import CorruptError, MissingError
from dvlite.storage.tree import Entry, Kind, Tree

# From so many entries on, and so many of them for each different one, it is worth a closer look,
# which reads each different listing once.
_SOME = 1 << 14
_REPEATS = 4
# Somebody may have a thousand copies of a folder of a thousand files; four million entries of
# listings that are almost all the same are an attack.
_MOST = 1 << 22
# Folders, and parts of folders in the last.
_MAX_DEPTH = 256 + 33


@dataclass(slots=True)
class Bound:
    """Counts the entries of one walk, and those of different listings. `everything` tells how
    many entries there will be, in the end."""

    everything: Callable[[], int]
    _walked: int = 0
    _different: int = 0
    _seen: set[object] = field(default_factory=set)
    _checked: bool = False

    def enter(self, listing: object, entries: int) -> None:
        """Notes a listing (by its oid, or those of a pair) of so many entries.

        Raises:
            CorruptError: the same listings are there absurdly often.
        """
        self._walked += entries
        if listing not in self._seen:
            self._seen.add(listing)
            self._different += entries
        if self._walked > max(_SOME, _REPEATS * self._different) and not self._checked:
            self._checked = True
            count = self.everything()
            if count > _MOST:
                raise CorruptError(
                    "a few listings name each other so often that they make "
                    + (f"{count:,} entries" if count < 10**18 else "more than 10^18 entries"),
                    "this is no folder that anybody has: ask who made the pointer",
                )


def expansion(read: Callable[[bytes], Tree], roots: Iterable[bytes]) -> int:
    """How many entries are below these trees, each counted as often as it is named; listings that
    are not here count nothing.

    Raises:
        CorruptError: nested too deeply.
    """
    known: dict[bytes, int] = {}
    return sum(_count(read, root, known, 0) for root in roots)


def _count(read: Callable[[bytes], Tree], oid: bytes, known: dict[bytes, int], depth: int) -> int:
    if oid in known:
        return known[oid]
    if depth > _MAX_DEPTH:
        raise CorruptError("trees are nested too deeply")
    total = 0
    with suppress(MissingError):
        for entry in read(oid):
            is_folder = entry.kind >= Kind.TREE
            total += 1 + (_count(read, entry.oid, known, depth + 1) if is_folder else 0)
    known[oid] = total
    return total


def check_counts(folder: Entry, entries: Iterable[Entry]) -> None:
    """Compares what is said of a folder with what is in it.

    Raises:
        CorruptError: bytes or files are others.
    """
    size = files = 0
    for entry in entries:
        size += entry.size
        files += entry.files
    if (size, files) != (folder.size, folder.files):
        where = f"of {folder.name[:80]!r} " if folder.name else ""
        raise CorruptError(
            f"a listing {where}holds {size} bytes in {files} files, and {folder.size} in "
            f"{folder.files} were said",
        )
