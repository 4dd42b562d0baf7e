"""Materialising: making a folder of the workspace what a tree says.

Owns the two ways. A folder that is not there is filled under a temporary name and renamed once,
so it appears whole. In one that is there, each file is made under a temporary name and renamed
over the old one. Trees are hostile input: folders are entered by descriptor, never through a
symbolic link, and nothing is written outside.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.atomic import temporary_name
from dvlite.errors import ConflictError, CorruptError, StorageError
from dvlite.storage.bound import Bound, check_counts, expansion
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import MAX_DEPTH, ReadTree, find, read_folder
from dvlite.workspace.entering import (
    OPEN_FOLDER,
    inside,
    leads_nowhere,
    parent_of,
    remove_all,
)
from dvlite.workspace.plan import Plan, is_empty_folder
from dvlite.workspace.statblocks import Blocks, FileStats, block_of, with_files
from dvlite.workspace.statindex import STAT_WIDTH, now_ns
from dvlite.workspace.take import Stat
from dvlite.workspace.write import NewFile
from dvlite.workspace.writers import WriteOptions, Writers

_FOLDER_STAT = (stat.S_IFDIR, 0, 0, 0, 0)
# Kept free beside what is written: a workspace with a full disk is of no use.
_SPARE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """Where to materialise. `scratch`: a folder on the same file system for unfinished things.
    Both lie below `options.top`, which alone is trusted to be where it is."""

    folder: str
    scratch: str
    options: WriteOptions


# -- a folder that is not there --------------------------------------------------------------------


def make_folder(target: Target, root: Entry, read: ReadTree) -> Blocks:
    """Makes the whole folder of a tree; returns its stat index.

    Raises:
        MissingError, CorruptError: content that is not in the cache, or damaged there, or other
        than the entries say.
        StorageError: not enough space.
    """
    check_space(target.scratch, root.size - target.options.ready_bytes, root.files)
    filling = temporary_name(target.scratch, "new-")
    name = os.path.basename(filling)
    with inside(target.options.top, target.scratch) as scratch:
        try:
            with Writers(target.options) as writers:
                making = _Making(writers, read, Bound(lambda: expansion(read, [root.oid])))
                folder = making.read(b"", root)
                making.make(_New(scratch, os.fsencode(name), os.fsencode(filling)), folder)
            # nobody else knows the folder yet, so what was written is still what is there
            blocks = making.blocks(now_ns(target.scratch))
            _give_name(target, scratch, name)
            return blocks
        except BaseException:
            remove_all(scratch, name)
            raise


def make_file(target: Target, item: NewFile, check: Callable[[], None]) -> os.stat_result:
    """Makes one file under its name in the scratch folder, then in its place, whatever was there;
    its stat. `check` is called last, and may raise.

    Raises:
        MissingError, CorruptError: content that is not in the cache, or damaged there.
    """
    name = os.fsdecode(item.name)
    with inside(target.options.top, target.scratch) as scratch:
        try:
            with Writers(target.options) as writers:
                writers.put(os.fsencode(target.scratch), 0, [item], _ignore)
            check()
            return _give_name(target, scratch, name)
        except BaseException:
            remove_all(scratch, name)
            raise


def _give_name(target: Target, scratch: int, made: str) -> os.stat_result:
    """Renames what was made to what it is to be."""
    where, name = os.path.split(target.folder)
    with inside(target.options.top, where, make=True) as folder:
        os.rename(made, name, src_dir_fd=scratch, dst_dir_fd=folder)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


class _New(NamedTuple):
    """A folder to make: its name in an open one, and its absolute path."""

    parent: int
    name: bytes
    path: bytes


class _Folder(NamedTuple):
    """A folder that is read: its path inside, its entries, room for their stats, and the folders
    in it by name."""

    path: bytes
    oid: bytes
    entries: list[Entry]
    stats: array[int]
    inside: list[tuple[bytes, _Folder]]


class _Making:
    """Reads a whole tree, and then makes its folders and hands its files to the writers."""

    def __init__(self, writers: Writers, read: ReadTree, bound: Bound) -> None:
        self._writers, self._read, self._bound = writers, read, bound
        self._folders: list[_Folder] = []

    def read(self, path: bytes, tree: Entry, depth: int = 0) -> _Folder:
        """All listings, before anything is written: what is wrong with them changes nothing."""
        if depth > MAX_DEPTH:
            raise CorruptError("trees are nested too deeply")
        entries = read_folder(self._read, tree.oid)
        check_counts(tree, entries)
        self._bound.enter(tree.oid, len(entries))
        stats = array("q", bytes(8 * STAT_WIDTH * len(entries)))
        folder = _Folder(path, tree.oid, entries, stats, [])
        self._folders.append(folder)
        for entry in entries:
            if entry.kind == Kind.TREE:
                below = path + b"/" + entry.name if path else entry.name
                folder.inside.append((entry.name, self.read(below, entry, depth + 1)))
        return folder

    def make(self, new: _New, folder: _Folder, depth: int = 0) -> None:
        """Makes a folder that was read, with everything in it."""
        os.mkdir(new.name, dir_fd=new.parent)
        files, positions = [], []
        for at, entry in enumerate(folder.entries):
            if entry.kind == Kind.TREE:
                folder.stats[at * STAT_WIDTH] = stat.S_IFDIR
            else:
                files.append(NewFile(entry.name, entry.kind, entry.oid, entry.size))
                positions.append(at)
        self._put(new.path, depth, files, positions, folder.stats)
        if not folder.inside:
            return
        descriptor = os.open(new.name, OPEN_FOLDER, dir_fd=new.parent)
        try:
            for name, inner in folder.inside:
                self.make(_New(descriptor, name, new.path + b"/" + name), inner, depth + 1)
        finally:
            os.close(descriptor)

    def _put(
        self,
        where: bytes,
        depth: int,
        files: list[NewFile],
        positions: list[int],
        stats: array[int],
    ) -> None:
        def note(first: int, found: list[Stat]) -> None:
            for position, one in zip(positions[first : first + len(found)], found, strict=True):
                stats[position * STAT_WIDTH : (position + 1) * STAT_WIDTH] = array("q", one)

        self._writers.put(where, depth, files, note)

    def blocks(self, now: int) -> Blocks:
        """The stat index of what was made, when the file system's clock says `now`."""
        return {one.path: block_of(one.oid, one.entries, one.stats, now) for one in self._folders}


# -- a folder that is there ------------------------------------------------------------------------


def change_folder(
    target: Target, plan: Plan, root: bytes | None, read: ReadTree, blocks: Blocks
) -> Blocks:
    """Carries out a plan; returns the stat index with the new files in it. `root` is None where
    nothing of the folder is to stay.

    `blocks` is what the plan was made from: a file that is not as it says any more has been
    edited since, and stops the rest.

    Raises:
        ConflictError: a file changed meanwhile. And what `make_folder` raises.
    """
    check_space(target.scratch, target.options.total_bytes - target.options.ready_bytes)
    files = temporary_name(target.scratch, "files-")
    name = os.path.basename(files)
    trusted = target.options.top
    with inside(trusted, target.scratch) as scratch, inside(trusted, target.folder) as top:
        os.mkdir(name, dir_fd=scratch)
        try:
            prepared = _prepare(files, plan, target)
            changing = _Changing(top, FileStats(blocks), prepared.keys() & set(plan.remove))
            for path in plan.remove:
                changing.remove(path)
            gone = [path for path in plan.remove if path not in changing.replaced]
            _prune(top, gone, root, read)
            with inside(trusted, files) as source:
                stats = changing.place(source, plan, prepared)
            return with_files(blocks, plan.write, stats)
        finally:
            remove_all(scratch, name)


def _prepare(scratch: str, plan: Plan, target: Target) -> dict[bytes, bytes]:
    """Makes all new files in the scratch folder; path -> name there."""
    by_depth: dict[int, list[tuple[bytes, NewFile]]] = {}
    names = {}
    for number, (path, entry) in enumerate(plan.write):
        if not is_empty_folder(entry):
            names[path] = b"%d" % number
            item = NewFile(names[path], entry.kind, entry.oid, entry.size)
            by_depth.setdefault(path.count(b"/"), []).append((path, item))
    with Writers(target.options) as writers:
        for depth, items in by_depth.items():
            writers.put(os.fsencode(scratch), depth, [item for _, item in items], _ignore)
    return names


def _ignore(first: int, stats: list[Stat]) -> None:
    """The stat counts that a file has after it is renamed."""


@dataclass(slots=True)
class _Changing:
    """An open folder that is being changed, what was seen in it, and which of the files to be
    removed stay until another one takes their place.

    `unlinked`: files of which a name went here. That is a change of those that have more names,
    such as two links to one object of the cache.
    """

    top: int
    seen: FileStats
    replaced: set[bytes]
    unlinked: set[int] = field(default_factory=set)

    def remove(self, path: bytes) -> None:
        """Removes what is at a path, if it is what was seen there."""
        with parent_of(self.top, path, create=False) as (folder, name):
            found = _look(folder, name) if folder is not None else None
            if found is None:
                return
            assert folder is not None
            if stat.S_ISDIR(found.st_mode):
                with suppress(OSError):  # not empty any more: it stays
                    os.rmdir(name, dir_fd=folder)
                return
            self._refuse_edited(path, found)
            if path not in self.replaced:
                os.unlink(name, dir_fd=folder)
                self.unlinked.add(found.st_ino)

    def place(self, source: int, plan: Plan, prepared: dict[bytes, bytes]) -> dict[bytes, Stat]:
        """Gives the files that were prepared their names."""
        stats: dict[bytes, Stat] = {}
        for path, entry in plan.write:
            if is_empty_folder(entry):
                with parent_of(self.top, path + b"/.", create=True):
                    continue
            with parent_of(self.top, path, create=True) as (folder, name):
                if folder is None:  # a link or a file where a folder was
                    raise _meanwhile(path)
                if path in self.replaced:  # in one step: at no moment is there no file
                    # again, because placing those before it may have taken a while
                    found = _look(folder, name)
                    if found is not None:
                        self._refuse_edited(path, found)
                        self.unlinked.add(found.st_ino)
                    os.rename(prepared[path], name, src_dir_fd=source, dst_dir_fd=folder)
                else:
                    _rename_new(source, prepared[path], folder, name, path)
                stats[path] = _stat_at(folder, name)
        return stats

    def _refuse_edited(self, path: bytes, found: os.stat_result) -> None:
        if stat.S_ISDIR(found.st_mode):
            raise _meanwhile(path)
        seen = self.seen.get(path)
        if seen is None:
            return
        _, size, mtime, ctime, inode = seen
        if inode in self.unlinked and mtime in (0, found.st_mtime_ns):  # 0: was not trusted
            ctime = found.st_ctime_ns
        if (size, ctime, inode) != (found.st_size, found.st_ctime_ns, found.st_ino):
            raise _meanwhile(path)


def _look(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _rename_new(source: int, temporary: bytes, folder: int, name: bytes, path: bytes) -> None:
    """Puts a file where nothing is, or a link into a cache that lacks it; what appeared there
    meanwhile is the user's."""
    found = _look(folder, name)
    if found is not None and not (stat.S_ISLNK(found.st_mode) and leads_nowhere(folder, name)):
        raise ConflictError(
            f"{os.fsdecode(path)} is in the way: it came meanwhile, or .dvliteignore keeps it out "
            "of the data; it was left as it is",
            "move it away, then run the command again",
        )
    os.rename(temporary, name, src_dir_fd=source, dst_dir_fd=folder)


def _prune(top: int, removed: Iterable[bytes], root: bytes | None, read: ReadTree) -> None:
    """Removes folders that became empty and that the tree does not have."""
    parents = {path.rpartition(b"/")[0] for path in removed}
    while parents:
        above = set()
        for path in sorted(parents - {b""}, reverse=True):
            entry = find(read, root, path) if root is not None else None
            if entry is not None and entry.kind == Kind.TREE:
                continue
            with parent_of(top, path, create=False) as (folder, name), suppress(OSError):
                if folder is not None:
                    os.rmdir(name, dir_fd=folder)
                    above.add(path.rpartition(b"/")[0])
        parents = above


# -- space and time --------------------------------------------------------------------------------


def check_space(folder: str, size_bytes: int, files: int = 0) -> None:
    """Refuses to begin what the disk cannot hold: bytes, and files where it has a limit of them.

    Raises:
        StorageError: naming what is needed and what is free.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return
    free = found.f_bavail * found.f_frsize
    if size_bytes + _SPARE_BYTES > free:
        raise StorageError(
            f"{folder} has {free >> 20} MiB free, and {size_bytes >> 20} MiB are to be written",
            "free some space, or check out fewer paths: dvlite checkout PATH",
        )
    if found.f_files and files > found.f_favail:
        raise StorageError(
            f"{folder} has room for {found.f_favail} more files, and {files} are to be written",
            "remove some, or check out fewer paths: dvlite checkout PATH",
        )


def _stat_at(folder: int, name: bytes) -> Stat:
    found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _meanwhile(path: bytes) -> ConflictError:
    return ConflictError(
        f"{os.fsdecode(path)} changed while it was to be replaced; it was left as it is",
        "look at it, then run the command again",
    )
