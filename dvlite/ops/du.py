"""`dvlite du`: the space that data takes here and on a remote, and what was saved."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from dvlite.ops.remotes import chosen_names, open_named
from dvlite.ops.roots import Selection, select
from dvlite.project import Project
from dvlite.storage.row import RowKind, read_rows


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes on a disk, and in how many files."""

    size: int
    files: int


@dataclass(frozen=True, slots=True)
class DuResult:
    """`workspace`: what the workspace's pointers name. `versions`: what all versions in history
    name, each file of each version counted. `unique`: distinct objects of the cache, unpacked.
    `objects` and `packs`: the cache on disk. `remote`: what its storage holds, if it was asked."""

    workspace: Space
    versions: Space
    unique: Space
    objects: Space
    packs: Space
    free: int
    remote_name: str | None = None
    remote: Space | None = None

    @property
    def cache(self) -> Space:
        """The whole cache on disk."""
        return Space(self.objects.size + self.packs.size, self.objects.files + self.packs.files)


def du(project: Project, remote: str | None = None, ask_remote: bool = False) -> DuResult:
    """Measures. Reads no content.

    Raises:
        RemoteError: the remote was asked and cannot be reached.
    """
    pointers = list(project.pointers().values())
    history = select(project, Selection(all_commits=True)).everything()
    named = {item.pointer.oid: item.pointer for item in history}
    named |= {pointer.oid: pointer for pointer in pointers}
    objects, packs, unique = _cache(project)
    name = chosen_names(project, [remote] if remote else [])[0] if ask_remote or remote else None
    return DuResult(
        Space(sum(one.size for one in pointers), sum(one.files for one in pointers)),
        Space(sum(one.size for one in named.values()), sum(one.files for one in named.values())),
        unique,
        objects,
        packs,
        _free(project.cache_folder),
        name,
        _remote(project, name) if name else None,
    )


def _cache(project: Project) -> tuple[Space, Space, Space]:
    """Whole objects, packs with their indexes, and what both hold unpacked."""
    cache = project.cache()
    loose = [os.path.getsize(path) for _, path in cache.loose_objects()]
    sizes: dict[bytes, int] = {}
    on_disk, files = 0, 0
    for pack in cache.packs():
        for path in (pack.path, pack.path[:-5] + ".idx"):
            with suppress(FileNotFoundError):
                on_disk += os.path.getsize(path)
                files += 1
        for row in read_rows(pack.segment.objects.all_rows()):
            if row.kind == RowKind.FILE:
                sizes[row.id] = row.raw_length
    unique = Space(sum(loose) + sum(sizes.values()), len(loose) + len(sizes))
    return Space(sum(loose), len(loose)), Space(on_disk, files), unique


def _remote(project: Project, name: str) -> Space:
    backend = open_named(project, name).backend
    stored = [one for folder in ("packs", "index", "roots") for one in backend.list(folder)]
    return Space(sum(one.size for one in stored), len(stored))


def _free(folder: str) -> int:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
