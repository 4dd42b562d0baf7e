"""Checking a cache: every object against its name, every pack against its index; and mending it.

Owns what damage is and taking it out of the way: what is damaged moves to `damaged/`, what is good
in a damaged pack moves to a new one first, and an index is made anew from its pack. Large files
are read in blocks, packs frame by frame, so memory does not grow with them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.atomic import publish
from dvlite.errors import CorruptError, StorageError
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.codec import unpack_frame
from dvlite.storage.oid import file_hasher, hash_bytes, hash_tree
from dvlite.storage.pack import HEAD, TAIL, check_head, footer_place, read_footer
from dvlite.storage.row import Row, RowKind, read_rows, sort_rows
from dvlite.storage.segment import encode, open_bytes
from dvlite.storage.several import several
from dvlite.storage.tree import MAX_TREE_BYTES

_BLOCK_BYTES = 4 << 20
# What a system says of a file that the disk does not give back. No right to read it, or too many
# open files, say nothing of what is in it.
_DISK_FAILS = frozenset((errno.EIO, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)))
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged file of the cache. `what`: "object", "pack" or "index" (of a pack that is whole);
    `bad`: the objects in it that are damaged; `rows`: what the pack holds, as far as is known."""

    what: str
    path: str
    text: str
    bad: frozenset[bytes] = frozenset()
    rows: tuple[Row, ...] = ()


@dataclass(slots=True)
class CacheReport:
    """What was looked at, and what is wrong."""

    damage: list[Damage] = field(default_factory=list)
    objects: int = 0
    size: int = 0

    def bad(self) -> set[bytes]:
        """All objects that are damaged in some place."""
        return set[bytes]().union(*(one.bad for one in self.damage))

    def unusable(self) -> frozenset[str]:
        """Packs that cannot be looked into with their index."""
        return frozenset(one.path for one in self.damage if one.what != "object")


def check_cache(
    cache: Cache, only: set[bytes] | None = None, jobs: int = 2, told: Told = lambda n, size: None
) -> CacheReport:
    """Reads everything in a cache (`only`: these objects) and compares it with its name.

    Raises:
        StorageError: something may not be read, which is no damage.
    """
    report = CacheReport()
    singles = (one for one in cache.loose_objects() if only is None or one[0] in only)
    for (oid, path), result in several(lambda one: _check_single(*one), singles, jobs):
        if result is None:
            continue
        size, good = result
        report.objects, report.size = report.objects + 1, report.size + size
        if not good:
            text = "its bytes are not what its name says"
            report.damage.append(Damage("object", path, text, frozenset([oid])))
        told(report.objects, report.size)
    for path in pack_paths(cache):
        try:
            _check_pack(path, only, report)
        except FileNotFoundError:
            _note_missing(path, only, report)
        told(report.objects, report.size)
    return report


def pack_paths(cache: Cache) -> list[str]:
    """The packs that have an index, readable or not."""
    folder = cache.packs_folder
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return [os.path.join(folder, name[:-4] + ".pack") for name in names if name.endswith(".idx")]


def _check_single(oid: bytes, path: str) -> tuple[int, bool] | None:
    """Size, and whether the bytes are right; None when it is gone meanwhile."""
    try:
        with open(path, "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size <= MAX_TREE_BYTES:
                data = stream.read()
                return size, hash_bytes(data) == oid or hash_tree(data) == oid
            hasher = file_hasher()
            while block := stream.read(_BLOCK_BYTES):
                hasher.update(block)
            return size, hasher.digest() == oid
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _DISK_FAILS:
            raise StorageError(
                f"{path} cannot be read: {error.strerror}; nobody can tell whether it is damaged",
                "if it is another user's, who can give the right: dvlite cache share",
            ) from error
        return 0, False


def _check_pack(path: str, only: set[bytes] | None, report: CacheReport) -> None:
    wrong: list[str] = []
    with open(path, "rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        own, indexed = _own_rows(stream.fileno(), size), _indexed_rows(path)
        if own is None:
            wrong.append("its list of contents is damaged")
        if indexed is None:
            wrong.append("its index (.idx) is damaged")
        elif own is not None and indexed != own:
            wrong.append("its index (.idx) is another pack's")
        rows = own if own is not None else indexed
        chosen = [row for row in rows or () if only is None or row.id in only]
        bad = frozenset(_failing(stream.fileno(), chosen))
        if bad:
            wrong.append(f"{len(bad):,} of {len(rows or ()):,} objects in it are damaged")
    report.objects += len(chosen)
    report.size += sum(row.raw_length for row in chosen)
    if wrong:
        what = "index" if own is not None and not bad else "pack"
        report.damage.append(Damage(what, path, "; ".join(wrong), bad, tuple(rows or ())))


def _note_missing(path: str, only: set[bytes] | None, report: CacheReport) -> None:
    """Whoever removes a pack takes its index away first; else what that promises is lost."""
    if os.path.exists(path[:-5] + ".idx"):
        ids = frozenset(row.id for row in _indexed_rows(path) or ())
        bad = ids if only is None else ids & only
        if bad or only is None:
            report.damage.append(Damage("pack", path, "it is missing, its index is there", bad))


def _own_rows(descriptor: int, size: int) -> list[Row] | None:
    """What the pack itself says that it holds."""
    try:
        check_head(os.pread(descriptor, HEAD.size, 0))
        tail = os.pread(descriptor, TAIL.size, max(0, size - TAIL.size))
        offset, length = footer_place(tail, size)
        rows = read_footer(os.pread(descriptor, length, offset), tail)
        return read_rows(sort_rows(b"".join(row.pack_bytes() for row in rows)))
    except (CorruptError, OSError):
        return None


def _indexed_rows(path: str) -> list[Row] | None:
    try:
        with open(path[:-5] + ".idx", "rb") as stream:
            return read_rows(open_bytes(stream.read()).objects.all_rows())
    except (CorruptError, OSError):
        return None


def _failing(descriptor: int, rows: list[Row]) -> Iterator[bytes]:
    """The ids of rows whose bytes are not what they promise."""
    for (offset, length), members in _by_frame(rows):
        try:
            raw = unpack_frame(os.pread(descriptor, length, offset))
        except (CorruptError, OSError):
            yield from (row.id for row in members)
            continue
        for row in members:
            data = raw[row.inner_offset : row.inner_offset + row.raw_length]
            oid = hash_tree(data) if row.kind == RowKind.TREE else hash_bytes(data)
            if oid != row.id:
                yield row.id


def _by_frame(rows: list[Row]) -> list[tuple[tuple[int, int], list[Row]]]:
    frames: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        frames.setdefault((row.frame_offset, row.frame_length), []).append(row)
    return sorted(frames.items())


# -- mending ---------------------------------------------------------------------------------------


def set_right(cache: Cache, damage: Damage, unusable: frozenset[str]) -> None:
    """Takes damage out of the way; what was good in it stays. `unusable`: what else is damaged."""
    if damage.what == "index":
        _rebuild_index(cache, damage)
        return
    if damage.what == "pack":
        _save_good(cache.alone(unusable), damage)
        _set_aside(cache, damage.path[:-5] + ".idx")
    _set_aside(cache, damage.path)


def _rebuild_index(cache: Cache, damage: Damage) -> None:
    pack = bytes.fromhex(os.path.basename(damage.path)[:-5])
    rows = sort_rows(b"".join(row.pack_bytes() for row in damage.rows))
    index = encode(b"", rows, [pack])
    final = damage.path[:-5] + ".idx"
    publish(final, index, mode=0o444, durable=cache.durable, top=cache.folder)


def _save_good(cache: Cache, damage: Damage) -> None:
    good = [row for row in damage.rows if row.id not in damage.bad]
    if not good:
        return
    with open(damage.path, "rb") as stream, CacheWriter(cache) as writer:
        for (offset, length), members in _by_frame(good):
            raw = unpack_frame(os.pread(stream.fileno(), length, offset))
            for row in members:
                data = raw[row.inner_offset : row.inner_offset + row.raw_length]
                writer.add(row.id, bytes(data), row.kind)


def _set_aside(cache: Cache, path: str) -> None:
    cache.make_folder(cache.damaged_folder)
    inside = os.path.relpath(path, cache.folder).replace(os.sep, "-")
    with suppress(FileNotFoundError):
        os.rename(path, os.path.join(cache.damaged_folder, inside))
