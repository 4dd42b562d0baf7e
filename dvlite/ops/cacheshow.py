"""`dvlite cache show`: where the cache is, what it holds, and who uses it."""

from __future__ import annotations

import grp
import os
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import is_shared
from dvlite.ops.cachesize import size_on_disk
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.row import ROW_BYTES
from dvlite.workspace import cachemoves, cacheusers


@dataclass(frozen=True, slots=True)
class SourceState:
    """A second source; `problem`: why nothing is read from it now."""

    folder: str
    objects: int = 0
    packs: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class CacheState:
    """`objects`: whole files, `packed`: objects in packs. `size`: bytes of all on disk. `limit`:
    cache.max_size. `group`: whose users share it. `users`: work trees of the repositories that use
    it; `unreadable_users`: files that do not say. `moving`: where an interrupted move goes."""

    folder: str
    objects: int
    packs: int
    packed: int
    size: int
    free: int
    limit: int | None
    group: str | None
    users: tuple[str, ...]
    unreadable_users: tuple[str, ...]
    sources: tuple[SourceState, ...]
    moving: str | None


def show(project: Project) -> CacheState:
    """Looks at the cache and its second sources."""
    cache = Cache(project.cache_folder)
    packs = cache.packs()
    users, broken = cacheusers.users(project.cache_folder)
    tops = {one.top for one in users} | {project.repo.top}
    limit = project.config.get("cache.max_size")
    begun = cachemoves.read(project.repo.common_dir)
    return CacheState(
        project.cache_folder,
        sum(1 for _ in cache.loose_objects()),
        len(packs),
        sum(len(pack.segment.objects.all_rows()) // ROW_BYTES for pack in packs),
        size_on_disk(project.cache_folder),
        _free(project.cache_folder),
        int(limit) if limit else None,
        group_of(project.cache_folder),
        tuple(sorted(tops)),
        tuple(broken),
        tuple(source_state(folder) for folder in project.cache_sources()),
        begun.target if begun is not None else None,
    )


def group_of(folder: str) -> str | None:
    """The group whose users share a cache; None where it is not shared."""
    if not is_shared(folder):
        return None
    gid = os.stat(folder).st_gid
    with suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def source_state(folder: str) -> SourceState:
    """What is to be had from a second source."""
    problem = source_problem(folder)
    if problem is not None:
        return SourceState(folder, problem=problem)
    try:
        cache = Cache(folder)
        return SourceState(folder, sum(1 for _ in cache.loose_objects()), len(cache.packs()))
    except OSError as error:
        return SourceState(folder, problem=error.strerror or str(error))


def source_problem(folder: str) -> str | None:
    """Why a second source gives nothing, as far as a glance tells."""
    if not os.path.isdir(folder):
        return "it is not there (not mounted?)"
    try:
        names = os.listdir(folder)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if not any(name in names for name in ("objects", "packs")):
        return "it holds no cache (not mounted?)"
    return None


def _free(folder: str) -> int:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
