"""Bringing all that one cache holds into another, and then taking it away from the first.

Owns the order that never loses the last copy: everything is at its new place, verified and durable,
before anything of the old one goes; and what goes is asked for at the new place once more. Within a
file system files get a second name, so no byte is copied; between two they are copied, and the copy
is read again and compared. Done again after an interruption, it passes over what is there.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.atomic import fsync_folder, give_group, is_shared, temporary_name
from dvlite.errors import StorageError
from dvlite.storage.cache import Cache
from dvlite.storage.consolidate import REPLACED
from dvlite.storage.directio import DirectReader, DirectWriter, page_buffers, read_blocks
from dvlite.storage.oid import file_hasher, hash_tree
from dvlite.storage.row import read_rows
from dvlite.storage.sweep import is_unfinished
from dvlite.storage.tree import MAX_TREE_BYTES

Told = Callable[[int, int], None]
# What a cache consists of: nothing else is ever brought or taken away.
FOLDERS = ("objects", "packs", "runs", "remotes", "damaged", "tmp", "users")
LOCKS = ("consolidate.lock", "gc.lock")
# Copied as they are, after what names objects; the rest of a cache is not for another place.
_PLAIN = ("runs", "remotes", "damaged")
# What is called so in each other folder is the cache's.
_NAMES = {
    "objects": re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}"),
    "packs": re.compile(r"[0-9a-f]{64}\.(?:pack|idx|idx\.old)"),
    "users": re.compile(r"[0-9a-f]{32}"),
}
_SPARE_BYTES = 16 << 20
_BLOCK = 4 << 20
_SYNC_TOGETHER_FROM = 32


@dataclass(slots=True)
class Brought:
    """What came to the new place. `copied`: bytes of it that were not merely linked; `there`:
    files that it had already; `damaged`: names of files whose bytes are not what they promise,
    which are at the new place as they were."""

    files: int = 0
    size: int = 0
    copied: int = 0
    there: int = 0
    damaged: list[str] = field(default_factory=list)


def is_cache(folder: str) -> bool:
    """Whether a folder holds a cache, and nothing that is none."""
    names = os.listdir(folder)
    return all(name in FOLDERS or name in LOCKS or name.startswith(".tmp-") for name in names)


def amount(cache: Cache) -> tuple[int, int]:
    """Files and bytes of a cache that would be brought elsewhere."""
    files = size = 0
    for name in _names_of(cache):
        with suppress(FileNotFoundError):
            files, size = files + 1, size + os.lstat(os.path.join(cache.folder, name)).st_size
    return files, size


def can_link(source: Cache, target: Cache) -> bool:
    """Whether a file of one cache can have a second name in another."""
    folders = source.temporary_folder, target.temporary_folder
    first, second = (temporary_name(folder, "link-") for folder in folders)
    try:
        with open(first, "xb"):
            os.link(first, second)
        return True
    except OSError:
        return False
    finally:
        for path in (first, second):
            with suppress(OSError):
                os.unlink(path)


def check_space(source: Cache, folder: str, disk: str) -> None:
    """Refuses to begin a copy to a folder that its disk cannot hold; `disk`: a folder on it.

    Raises:
        StorageError: with what is needed and what is free.
    """
    found = os.statvfs(disk)
    free = found.f_bavail * found.f_frsize
    needed = sum(
        _size(os.path.join(source.folder, name))
        for name in _names_of(source)
        if not os.path.exists(os.path.join(folder, name))
    )
    if needed + _SPARE_BYTES > free:
        raise StorageError(
            f"{folder} has {free >> 20} MiB free, and the cache takes {needed >> 20} MiB",
            "free some space there, or make the cache smaller first: dvlite cache trim, dvlite gc",
        )


class Transfer:
    """Brings a cache to another folder. `link`: see `can_link`."""

    def __init__(
        self, source: Cache, target: Cache, link: bool, told: Told = lambda n, size: None
    ) -> None:
        self.source, self.target, self.link, self.told = source, target, link, told
        self.brought = Brought()
        self._folders: set[str] = set()
        self._known: set[str] = set()
        self._packs = False
        self._group = os.stat(target.folder).st_gid if is_shared(target.folder) else -1

    def bring(self) -> bool:
        """Brings everything that is not at the new place, durably; whether there was anything.
        Called again, it brings what has come since.

        Raises:
            StorageError, OSError: the new place cannot take it; the old one is as it was.
        """
        before = len(self._known)
        for name in _names_of(self.source):
            if name not in self._known:
                if name.endswith(".idx") and self._packs:  # which have to be there before it
                    self._settle()
                with suppress(FileNotFoundError):  # joined into another pack meanwhile
                    self._bring(name)
                    self._known.add(name)
        self._settle()
        return len(self._known) > before

    def _bring(self, name: str) -> None:
        old, new = (os.path.join(one.folder, name) for one in (self.source, self.target))
        size, folder = os.lstat(old).st_size, os.path.dirname(new)
        is_there = os.path.exists(new)
        self.target.make_folder(folder)
        self._changed(folder)  # also by a move that was killed before it was durable
        self._packs = self._packs or name.endswith(".pack")
        if is_there and (name.startswith(_PLAIN) or self._is_as_good(name, old, new)):
            self.brought.there += 1
            return
        if not (self.link and self._linked(old, new)):
            self._copy(name, old, new)
            self.brought.copied += size
        self.brought.files += 1
        self.brought.size += size
        self.told(self.brought.files, self.brought.size)

    def _is_as_good(self, name: str, old: str, new: str) -> bool:
        """Whether what has the name at the new place can stand for ours, also in age."""
        here, there = os.stat(old), os.stat(new)
        if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
            return True
        found = _digest(new)
        is_right = not name.endswith(".idx") and _is_right(name, new, found)
        if not is_right and found != _digest(old):
            return False
        if here.st_mtime > there.st_mtime + 1:  # ours may be named by what is not written yet
            try:
                os.utime(new, ns=(here.st_atime_ns, here.st_mtime_ns))
            except OSError:  # another user's
                return False
        return True

    def _linked(self, old: str, new: str) -> bool:
        """Gives a file its name at the new place; whether that could be."""
        self._give_rights(old)  # it is the same file
        with suppress(FileExistsError):
            return _link(old, new)
        temporary = temporary_name(self.target.temporary_folder, "moved-")
        if not _link(old, temporary):
            return False
        os.replace(temporary, new)
        return True

    def _copy(self, name: str, old: str, new: str) -> None:
        temporary = temporary_name(self.target.temporary_folder, "moved-")
        try:
            first = _copied(old, temporary)
            if _digest(temporary) != first:
                raise StorageError(
                    f"{self.target.folder} does not give back what was written to it",
                    "check that disk; nothing was taken away from the old place",
                )
            is_named_by_hash = not name.startswith(_PLAIN) and not name.endswith(".idx")
            if is_named_by_hash and not _is_right(name, old, first):
                self.brought.damaged.append(name)
            shutil.copystat(old, temporary)
            self._give_rights(temporary)
            os.replace(temporary, new)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _give_rights(self, path: str) -> None:
        if self._group >= 0:
            with suppress(PermissionError):
                os.chown(path, -1, self._group)
                give_group(path, self.target.folder)

    def _changed(self, folder: str) -> None:
        while folder not in self._folders and len(folder) >= len(self.target.folder):
            self._folders.add(folder)
            folder = os.path.dirname(folder)
        self._folders.add(folder)

    def _settle(self) -> None:
        """Makes the new names durable: a thousand folders one by one take seconds."""
        folders, self._folders, self._packs = self._folders, set(), False
        if len(folders) > _SYNC_TOGETHER_FROM and sys.platform == "linux":
            os.sync()
            return
        for folder in folders:
            fsync_folder(folder)


def _link(old: str, new: str) -> bool:
    """Whether it could be: not with too many links, or another user's file.

    Raises:
        FileNotFoundError, FileExistsError: as for the names.
    """
    try:
        os.link(old, new)
        return True
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        return False


def lacking(source: Cache, target: Cache) -> list[str]:
    """Names of files whose objects the target does not have all: nothing of them may go."""
    found = []
    singles = dict(source.loose_objects())
    there = target.find_own(singles)
    found += [path for oid, path in singles.items() if oid not in there]
    for pack in source.packs():
        if not os.path.exists(os.path.join(target.packs_folder, os.path.basename(pack.path))):
            ids = {row.id for row in read_rows(pack.segment.objects.all_rows())}
            places = target.find_own(ids)
            files = {place.path for place in places.values()}
            if len(places) < len(ids) or not all(map(os.path.exists, files)):
                found.append(pack.path)
    return found


def take_away(source: Cache, target: Cache) -> bool:
    """Removes a cache that is in `target` by now; whether nothing is left of it. Files that are no
    part of a cache stay, and their folders."""
    for top in FOLDERS:
        for folder, folders, names in os.walk(os.path.join(source.folder, top), topdown=False):
            for name in sorted(names, key=_turn):
                path = os.path.join(folder, name)
                if _may_go(os.path.relpath(path, source.folder), source, target):
                    with suppress(FileNotFoundError):
                        os.unlink(path)
            for name in folders:
                _drop_folder(os.path.join(folder, name))
        _drop_folder(os.path.join(source.folder, top))
    for name in LOCKS:
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(source.folder, name))
    _drop_folder(source.folder)
    fsync_folder(os.path.dirname(source.folder))
    return not os.path.lexists(source.folder)


def _drop_folder(path: str) -> None:
    """Removes a folder of a cache that is empty; one that is not, or is no folder, stays.

    Raises:
        OSError: the disk fails: whoever moves is to begin again here.
    """
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC):
            raise


def _turn(name: str) -> int:
    """When a file goes: an index before its pack, which else is missing where this is stopped; what
    says that a pack was replaced after that."""
    return 2 if name.endswith(REPLACED) else int(name.endswith(".pack"))


def _may_go(path: str, source: Cache, target: Cache) -> bool:
    """Whether a file at this path below a cache is its, and not needed there any more."""
    top, _, inside = path.partition(os.sep)
    name = os.path.basename(path)
    if top == "tmp" or name.startswith(".tmp-"):
        return is_unfinished(name)
    if top not in _PLAIN and not _NAMES[top].fullmatch(inside):
        return False
    if top == "users" or name.endswith(REPLACED):
        return True
    if os.path.exists(os.path.join(target.folder, path)):
        return True
    stem = os.path.join(source.folder, path.removesuffix(".pack"))
    is_replaced = os.path.exists(stem + REPLACED) and not os.path.exists(stem + ".idx")
    return name.endswith(".pack") and is_replaced  # else it has come just now


def _names_of(cache: Cache) -> Iterator[str]:
    """The files to bring, by their paths below the cache: packs before their indexes."""
    for _, path in cache.loose_objects():
        yield os.path.relpath(path, cache.folder)
    names = sorted(os.listdir(cache.packs_folder)) if os.path.isdir(cache.packs_folder) else []
    for name in names:
        stem, _, ending = name.partition(".")
        if ending == "pack" and (stem + ".idx" in names or stem + REPLACED not in names):
            yield os.path.join("packs", name)
    for name in names:
        if name.endswith(".idx"):
            yield os.path.join("packs", name)
    for top in _PLAIN:
        for folder, _, files in os.walk(os.path.join(cache.folder, top)):
            for name in sorted(files):
                if not name.startswith(".tmp-"):
                    yield os.path.relpath(os.path.join(folder, name), cache.folder)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _copied(old: str, new: str) -> bytes:
    """Copies a file durably; the hash of what was read."""
    hasher = file_hasher()
    source = os.open(old, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        writer = DirectWriter(new)
        try:
            for block in read_blocks(source):
                writer.write(block)
                hasher.update(block)
            writer.finish(durable=True)
        finally:
            writer.close()
    finally:
        os.close(source)
    return hasher.digest()


def _digest(path: str) -> bytes:
    """The hash of a file, read from the disk where the system allows that."""
    hasher, (buffer,) = file_hasher(), page_buffers(1, _BLOCK)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        reader = DirectReader(descriptor)
        while count := reader.readinto(buffer):
            hasher.update(buffer[:count])
    finally:
        os.close(descriptor)
    return hasher.digest()


def _is_right(name: str, path: str, digest: bytes) -> bool:
    """Whether the bytes of an object or a pack, which hash so, are what its name says."""
    base = os.path.basename(name)
    wanted = base[:-5] if base.endswith(".pack") else os.path.basename(os.path.dirname(name)) + base
    if digest.hex() == wanted:
        return True
    try:
        if base.endswith(".pack") or os.path.getsize(path) > MAX_TREE_BYTES:
            return False
        with open(path, "rb") as stream:
            return hash_tree(stream.read()).hex() == wanted
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise
        return False
