"""Taking objects out of a cache: what may go, and removing it beside whoever reads and adds.

Owns the order that needs no lock between gc and an add. An object is removed only if it is older
than the grace period; who is about to name it makes it young first (`Cache.keep`). gc takes a name
away, looks at the age again, and gives the name back if it has become young meanwhile. The live
part of a pack is in a new one before the old index goes, and old packs stay for a day for those
who still read them. Interrupted anywhere, this leaves at worst a file that the next one removes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.codec import unpack_frame
from dvlite.storage.consolidate import READERS_S, REPLACED, packs_lock
from dvlite.storage.localpack import LocalPack
from dvlite.storage.row import ROW_BYTES, Row, RowKind, read_rows

# Rewriting a pack costs what is alive in it; from here on it gives back more than that.
REWRITE_SHARE = 0.5
# No file is written for longer than this without a byte being added.
LEFTOVER_S = 2 * 24 * 3600
# How long what `fsck --repair` set aside can still be looked at.
DAMAGED_S = 14 * 24 * 3600
_ASIDE = "gc-"
# What dvlite itself calls files in `tmp/` and `damaged/`: who names a folder as the cache that
# holds other things may have a `tmp` of their own there.
_UNFINISHED = re.compile(r"(?:\.tmp|pack|object|fetch|moved|link|gc)-[0-9a-f-]+")
_DAMAGED = re.compile(r"(?:objects|packs)-[0-9a-f]{2}.*")
_ROWS_A_TIME = 8192
# What is set aside was last used hours before (the size limit) or days; what is made young in that
# moment was used just then.
_MADE_YOUNG_S = 3600


@dataclass(frozen=True, slots=True)
class Single:
    """An object that is a file of its own. `time_s`: when it was last added or looked up."""

    oid: bytes
    path: str
    size: int
    time_s: float


@dataclass(slots=True)
class PackUse:
    """A pack, and which of its objects may go: dead ones by id, with their raw sizes."""

    path: str
    size: int
    time_s: float
    dead: dict[bytes, int] = field(default_factory=dict)
    alive_bytes: int = 0
    alive: int = 0

    @property
    def share(self) -> float:
        """How much of its content is dead."""
        if not self.alive:
            return 1.0
        dead = sum(self.dead.values())
        return dead / max(1, dead + self.alive_bytes)

    @property
    def freed(self) -> int:
        """About how many bytes on disk removing the dead part gives back."""
        return self.size if not self.alive else int(self.size * self.share)


@dataclass(slots=True)
class Contents:
    """What of a cache nothing names. `young`: objects that the grace period spares, and their
    bytes; `linked`: the same of those that a work tree's file is a hard link to."""

    singles: list[Single] = field(default_factory=list)
    packs: list[PackUse] = field(default_factory=list)
    young: list[int] = field(default_factory=lambda: [0, 0])
    linked: list[int] = field(default_factory=lambda: [0, 0])
    alive: list[int] = field(default_factory=lambda: [0, 0])

    def dead(self) -> set[bytes]:
        """All oids that may go as far as the cache knows."""
        found = {one.oid for one in self.singles}
        return found.union(*(pack.dead for pack in self.packs))


def look_through(cache: Cache, live: set[bytes], limit_s: float) -> Contents:
    """Compares a cache with what is live; what is younger than `limit_s` is spared."""
    found = Contents()
    for oid, path in cache.loose_objects():
        with suppress(FileNotFoundError):
            here = os.stat(path)
            if oid in live:
                _count(found.alive, here.st_size)
            elif here.st_nlink > 1:  # removing the name would free nothing
                _count(found.linked, here.st_size)
            elif here.st_mtime >= limit_s:
                _count(found.young, here.st_size)
            else:
                found.singles.append(Single(oid, path, here.st_size, here.st_mtime))
    for pack in cache.packs():
        with suppress(FileNotFoundError):
            _look_into(pack, live, limit_s, found)
    return found


def _look_into(pack: LocalPack, live: set[bytes], limit_s: float, found: Contents) -> None:
    here = os.stat(pack.path)
    use = PackUse(pack.path, here.st_size, here.st_mtime)
    for row in _rows(pack):
        if row.id in live:
            use.alive += 1
            use.alive_bytes += row.raw_length
        else:
            use.dead[row.id] = row.raw_length
    found.alive[0] += use.alive
    found.alive[1] += use.alive_bytes
    if use.time_s >= limit_s:
        found.young[0] += len(use.dead)
        found.young[1] += sum(use.dead.values())
    elif use.dead or not use.alive:
        found.packs.append(use)


def _count(pair: list[int], size: int) -> None:
    pair[0] += 1
    pair[1] += size


def restrict(found: Contents, removable: set[bytes]) -> list[int]:
    """Leaves in `found` only what is in `removable`; the number and bytes of what that spares."""
    spared = [0, 0]
    for one in found.singles:
        if one.oid not in removable:
            _count(spared, one.size)
    found.singles = [one for one in found.singles if one.oid in removable]
    for pack in found.packs:
        for oid in [oid for oid in pack.dead if oid not in removable]:
            size = pack.dead.pop(oid)
            pack.alive += 1
            pack.alive_bytes += size
            _count(spared, size)
    return spared


def drop_mostly_alive(found: Contents) -> list[int]:
    """Leaves only packs worth rewriting; the number and bytes of what that spares."""
    spared = [0, 0]
    for pack in found.packs:
        if pack.share < REWRITE_SHARE:
            for size in pack.dead.values():
                _count(spared, size)
    found.packs = [pack for pack in found.packs if pack.share >= REWRITE_SHARE]
    return spared


# -- removing --------------------------------------------------------------------------------------


def sweep(
    cache: Cache, found: Contents, limit_s: float, told: Callable[[int], None] = lambda size: None
) -> tuple[int, int]:
    """Removes what is left in `found`; the bytes that are free now, and those that are free when
    old packs go, after a day."""
    freed = 0
    for one in found.singles:
        if _remove_single(cache, one, limit_s):
            freed += one.size
            told(one.size)
    later = 0
    with packs_lock(cache) as taken:
        for pack in found.packs if taken else ():
            whole, rewritten = _sweep_pack(cache, pack, limit_s)
            freed, later = freed + whole, later + rewritten
            told(pack.size)
    return freed, later


def _remove_single(cache: Cache, one: Single, limit_s: float) -> bool:
    aside = os.path.join(cache.temporary_folder, _ASIDE + one.oid.hex())
    try:
        if os.stat(one.path).st_mtime >= limit_s:
            return False
        os.rename(one.path, aside)
        if os.stat(aside).st_mtime >= limit_s:
            _give_back(cache, aside, one.path)
            return False
        os.unlink(aside)
    except FileNotFoundError:  # another one was quicker
        return False
    return True  # its folder stays, empty perhaps: somebody may be about to add to it


def _give_back(cache: Cache, aside: str, path: str) -> None:
    cache.make_folder(os.path.dirname(path))
    os.rename(aside, path)


def _sweep_pack(cache: Cache, pack: PackUse, limit_s: float) -> tuple[int, int]:
    """Bytes that are free now, and after a day."""
    index, old = pack.path[:-5] + ".idx", pack.path[:-5] + REPLACED
    try:
        if os.stat(pack.path).st_mtime >= limit_s or not os.path.exists(index):
            return 0, 0
        if pack.alive:
            _write_alive(cache, pack)
        os.rename(index, old)
        if os.stat(pack.path).st_mtime >= limit_s:
            os.rename(old, index)
            return 0, 0
        if pack.alive:
            return 0, pack.freed
        os.unlink(pack.path)
        os.unlink(old)
    except FileNotFoundError:
        return 0, 0
    return pack.size, 0


def _write_alive(cache: Cache, pack: PackUse) -> None:
    """Publishes what is alive in a pack in a new one."""
    local = next(one for one in cache.packs() if one.path == pack.path)
    frames: dict[tuple[int, int], list[Row]] = {}
    for row in _rows(local):
        if row.id not in pack.dead:
            frames.setdefault((row.frame_offset, row.frame_length), []).append(row)
    with CacheWriter(cache.alone()) as writer:
        for (offset, length), rows in sorted(frames.items()):
            raw = unpack_frame(local.read(offset, length))
            for row in rows:
                data = raw[row.inner_offset : row.inner_offset + row.raw_length]
                writer.add(row.id, bytes(data), RowKind(row.kind))


# -- leftovers -------------------------------------------------------------------------------------


def leftovers(cache: Cache, now_s: float | None = None) -> Iterator[tuple[str, int]]:
    """Files that nobody needs, with their sizes: unfinished ones, packs that were replaced a day
    ago, packs whose index was never written, and what was found damaged two weeks ago."""
    now_s = time.time() if now_s is None else now_s
    for name in _names(os.path.join(cache.folder, "tmp")):
        path = os.path.join(cache.folder, "tmp", name)
        with suppress(FileNotFoundError):
            here = os.lstat(path)
            if is_unfinished(name) and max(here.st_mtime, here.st_ctime) < now_s - LEFTOVER_S:
                yield path, here.st_size
    for name in _names(cache.damaged_folder):
        path = os.path.join(cache.damaged_folder, name)
        with suppress(FileNotFoundError):
            here = os.lstat(path)
            if _DAMAGED.fullmatch(name) and here.st_ctime < now_s - DAMAGED_S:
                yield path, here.st_size
    names = set(_names(cache.packs_folder))
    for name in sorted(names):
        path = os.path.join(cache.packs_folder, name)
        stem, _, ending = name.partition(".")
        is_unused = ending == "pack" and stem + ".idx" not in names
        is_replaced = stem + REPLACED in names and (is_unused or ending == "idx.old")
        if is_replaced or is_unused:
            wait_s = READERS_S if is_replaced else LEFTOVER_S
            with suppress(FileNotFoundError):
                beside = os.path.join(cache.packs_folder, stem + REPLACED) if is_replaced else path
                if max(os.stat(one).st_ctime for one in (path, beside)) < now_s - wait_s:
                    yield path, os.stat(path).st_size


def is_unfinished(name: str) -> bool:
    """Whether a file in the cache's `tmp/` is called as dvlite calls what it makes there."""
    return _UNFINISHED.fullmatch(name) is not None


def give_back_aside(cache: Cache, limit_s: float) -> None:
    """Objects that a gc had set aside when it was stopped, and that somebody made young in that
    very moment, get their names again; however long ago that was."""
    for name in _names(os.path.join(cache.folder, "tmp")):
        aside = os.path.join(cache.folder, "tmp", name)
        with suppress(FileNotFoundError, ValueError):
            if not name.startswith(_ASIDE):
                continue
            here = os.stat(aside)
            if here.st_mtime >= min(limit_s, here.st_ctime - _MADE_YOUNG_S):
                _give_back(cache, aside, cache.object_path(bytes.fromhex(name[len(_ASIDE) :])))


def remove_leftovers(cache: Cache, planned: Iterable[str]) -> int:
    """Removes those files that still are leftovers: since they were found, a pack may have been
    added anew, or a fetch may go on with what it had begun. The bytes that this gave back."""
    still = {path for path, _ in leftovers(cache)}
    return remove_files([path for path in planned if path in still])


def remove_files(paths: list[str]) -> int:
    """Removes files; the bytes that this gave back."""
    freed = 0
    for path in paths:
        with suppress(OSError):
            size = os.lstat(path).st_size
            os.unlink(path)
            freed += size
    return freed


def _rows(pack: LocalPack) -> Iterator[Row]:
    data = pack.segment.objects.all_rows()
    step = _ROWS_A_TIME * ROW_BYTES
    for start in range(0, len(data), step):
        yield from read_rows(data[start : start + step])


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
