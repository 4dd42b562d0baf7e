"""`dvlite du`: the space that data takes here and on a remote, and what was saved.

Only what the cache holds counts as saved: a version that was never fetched takes no space and
saves none. Listings are read, content is not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.errors import CorruptError, DvliteError
from dvlite.ops.pointers import pointers_of
from dvlite.ops.remotes import chosen_names, open_named
from dvlite.ops.roots import Selection, select
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.localpack import LocalPack
from dvlite.storage.remote import NotMade
from dvlite.storage.row import ROW_BYTES, Row, RowKind, read_rows
from dvlite.storage.tree import Kind
from dvlite.storage.treewalk import MAX_DEPTH
from dvlite.workspace.pointer import Pointer

# A million rows at once would be 250 MB of Python objects.
_ROWS_A_TIME = 8192


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes, and in how many files."""

    size: int = 0
    files: int = 0

    def __add__(self, other: Space) -> Space:
        return Space(self.size + other.size, self.files + other.files)


@dataclass(frozen=True, slots=True)
class DuResult:
    """Unpacked: `workspace`, what its pointers name; `history`, what all versions in history name,
    each in full; `cached`, the part of that which the cache holds; `unique`, the same with each
    content counted once; `unnamed`, what the cache holds and no version names.

    On this disk: whole `objects`, `packs` with their indexes, and `other` (what is known of
    remotes, unfinished and superseded files). `remote`: what its storage holds, if it was asked.
    """

    workspace: Space
    history: Space
    cached: Space
    unique: Space
    unnamed: Space
    objects: Space
    packs: Space
    other: Space
    free: int
    remote_name: str | None = None
    remote: Space | None = None
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def cache(self) -> Space:
        """The whole cache on disk."""
        return self.objects + self.packs + self.other


def du(
    project: Project,
    remote: str | None = None,
    ask_remote: bool = False,
    progress: Progress = silent,
) -> DuResult:
    """Measures. Versions are those of the workspace and of all branches and tags.

    Raises:
        RemoteError: the remote was asked and cannot be reached.
    """
    name = chosen_names(project, [remote] if remote else [])[0] if ask_remote or remote else None
    here = pointers_of(project)
    roots = select(project, Selection(all_commits=True))
    named = {one.pointer.oid: one.pointer for one in roots.everything()}
    named |= {pointer.oid: pointer for pointer in here.found.values()}
    cache = project.cache()
    objects, packs, contents = _stored(cache)
    count = _Count(cache, contents, set(contents), progress)
    cached = _sum(count.version(pointer) for pointer in named.values())
    return DuResult(
        _named(here.found.values()),
        _named(named.values()),
        cached,
        count.unique,
        _sum(Space(contents[oid], 1) for oid in count.unseen),
        objects,
        packs,
        _other(cache),
        _free(project.cache_folder),
        name,
        _remote(project, name) if name else None,
        (*here.reasons(), *roots.unreadable),
    )


@dataclass(slots=True)
class _Count:
    """Adds up what of each version is in the cache. `unseen`: contents that no version named so
    far; `unique`: those that one did."""

    cache: Cache
    contents: dict[bytes, int]
    unseen: set[bytes]
    progress: Progress
    unique: Space = Space()
    _trees: dict[bytes, Space] = field(default_factory=dict)

    def version(self, pointer: Pointer) -> Space:
        """What the cache holds of a version; a listing that is damaged or absent counts nothing."""
        if pointer.kind == "file":
            return self._file(pointer.oid, pointer.size)
        return self._tree(pointer.oid, 0)

    def _tree(self, oid: bytes, depth: int) -> Space:
        known = self._trees.get(oid)
        if known is not None:
            return known
        if depth > MAX_DEPTH:
            raise CorruptError("trees are nested too deeply")
        size = files = 0
        with suppress(DvliteError):
            for entry in self.cache.read_tree(oid):
                is_folder = entry.kind >= Kind.TREE
                below = (
                    self._tree(entry.oid, depth + 1)
                    if is_folder
                    else self._file(entry.oid, entry.size)
                )
                size, files = size + below.size, files + below.files
            self._forget_listing(oid)
        self._trees[oid] = Space(size, files)
        self.progress("reading listings", self.unique.files, self.unique.size)
        return self._trees[oid]

    def _file(self, oid: bytes, size: int) -> Space:
        if oid not in self.contents:
            return Space()
        found = Space(size, 1)
        if oid in self.unseen:
            self.unseen.discard(oid)
            self.unique += found
        return found

    def _forget_listing(self, oid: bytes) -> None:
        """A tree that is a file of its own looked like content until now."""
        self.unseen.discard(oid)


def _stored(cache: Cache) -> tuple[Space, Space, dict[bytes, int]]:
    """Whole objects and packs on disk, and the size of each different content they hold."""
    contents: dict[bytes, int] = {}
    objects = packs = Space()
    for oid, path in cache.loose_objects():
        with suppress(FileNotFoundError):
            contents[oid] = os.path.getsize(path)
            objects += Space(contents[oid], 1)
    for pack in cache.packs():
        for path in (pack.path, pack.path[:-5] + ".idx"):
            with suppress(FileNotFoundError):
                packs += Space(os.path.getsize(path), 1)
        for row in _rows(pack):
            if row.kind == RowKind.FILE:
                contents[row.id] = row.raw_length
    return objects, packs, contents


def _rows(pack: LocalPack) -> Iterator[Row]:
    data = pack.segment.objects.all_rows()
    step = _ROWS_A_TIME * ROW_BYTES
    for start in range(0, len(data), step):
        yield from read_rows(data[start : start + step])


def _other(cache: Cache) -> Space:
    """What of the cache is neither an object nor a pack in use."""
    in_use = {path for pack in cache.packs() for path in (pack.path, pack.path[:-5] + ".idx")}
    total = Space()
    for folder, folders, names in os.walk(cache.folder):
        if folder == cache.folder:
            folders[:] = [name for name in folders if name != "objects"]
        for name in names:
            path = os.path.join(folder, name)
            if path not in in_use:
                with suppress(OSError):
                    total += Space(os.lstat(path).st_size, 1)
    return total


def _named(pointers: Iterable[Pointer]) -> Space:
    return _sum(Space(one.size, one.files) for one in pointers)


def _sum(spaces: Iterable[Space]) -> Space:
    return sum(spaces, Space())


def _remote(project: Project, name: str) -> Space:
    try:
        backend = open_named(project, name).backend
    except NotMade:
        return Space()
    stored = [one for folder in ("packs", "index", "roots") for one in backend.list(folder)]
    return Space(sum(one.size for one in stored), len(stored))


def _free(folder: str) -> int:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
