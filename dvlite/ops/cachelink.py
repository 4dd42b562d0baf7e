"""`dvlite cache link`: other caches to read from, such as a team's on a read-only mount.

Owns the setting `cache.sources` of this clone, and leaving a source again. Nothing is ever written
to one, and none counts as a safe copy: gc and the size limit go by remotes alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from dvlite.errors import ConflictError, CorruptError, MissingError, PathError
from dvlite.ops.cachemove import projects_of, tracked_paths
from dvlite.ops.cacheplaces import refuse_no_cache
from dvlite.ops.cacheroots import Live, walk
from dvlite.ops.cacheshow import SourceState, source_problem, source_state
from dvlite.ops.config import change
from dvlite.ops.stepping import scratch_folder
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.bringing import bring_objects
from dvlite.storage.cache import Cache
from dvlite.workspace.repointing import leading_into, repoint

_KEY = "cache.sources"


@dataclass(frozen=True, slots=True)
class UnlinkResult:
    """What leaving a source took over from it first: objects, their bytes, and links of the
    workspace that led there."""

    folder: str
    objects: int = 0
    size: int = 0
    links: int = 0


def link(project: Project, folder: str, dry_run: bool = False) -> SourceState:
    """Reads from another cache from now on, after the sources there are already.

    Raises:
        MissingError, PathError, StorageError: it is no cache, or cannot be read.
    """
    refuse_no_cache(folder)
    if os.path.realpath(folder) == os.path.realpath(project.cache_folder):
        raise PathError(
            f"{folder} is this repository's own cache", "`dvlite cache show` tells what there is"
        )
    if os.pathsep in folder:
        raise PathError(
            f"{folder} has a '{os.pathsep}' in its name, which divides the folders of {_KEY}",
            "give it another name by a symbolic link",
        )
    known = project.cache_sources()
    if folder not in known and not dry_run:
        change(project, {_KEY: os.pathsep.join([*known, folder])}, local=True)
    return source_state(folder)


def unlink(
    project: Project,
    folder: str,
    copy: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> UnlinkResult:
    """Reads from a source no more. `copy`: what the workspaces need is taken over from it first.

    Raises:
        MissingError: it is no source. ConflictError: workspace files are links into it.
        CorruptError: something that is needed is damaged there.
    """
    known = project.cache_sources()
    if folder not in known:
        raise MissingError(
            f"{folder} is no second source", "known: " + (", ".join(known) or "none")
        )
    projects = list(projects_of(project.repo))
    objects = os.fsencode(os.path.join(folder, "objects"))
    links = [path for one in projects for path in _links(one, objects)]
    if links and not copy:
        way = "replace them first: dvlite fetch && dvlite checkout --relink"
        if source_problem(folder) is None:
            way = "take them over first: --copy"
        raise ConflictError(
            f"{len(links):,} files of the workspace are symbolic links into {folder}", way
        )
    result = UnlinkResult(folder, links=len(links))
    if copy:
        result = _take_over(project, folder, dry_run, progress)
    if not dry_run:
        left = [one for one in known if one != folder]
        change(project, {_KEY: os.pathsep.join(left) or None}, local=True)
    return result


def _links(project: Project, objects: bytes) -> list[bytes]:
    paths = [project.absolute(path) for path in tracked_paths(project)]
    return leading_into(project.root, paths, objects)


def _needed(project: Project, objects: bytes) -> Iterator[bytes]:
    """What the pointers of the workspaces need, and what their links lead to."""
    live = Live()
    for one in projects_of(project.repo):
        walk(project.cache(), one.pointers().values(), live)
        for target in _links(one, objects):
            oid = target[len(objects) :].replace(b"/", b"").decode("ascii", "replace")
            if len(oid) == 64:
                live.oids.add(bytes.fromhex(oid))
    yield from live.oids


def _take_over(project: Project, folder: str, dry_run: bool, progress: Progress) -> UnlinkResult:
    objects = os.fsencode(os.path.join(folder, "objects"))
    source, cache = Cache(folder), project.cache().alone()
    needed = set(_needed(project, objects))
    if dry_run:
        there = source.find_own(needed - cache.find_own(needed).keys())
        size = sum(
            place.row.raw_length if place.row is not None else os.path.getsize(place.path)
            for place in there.values()
        )
        return UnlinkResult(folder, len(there), size)
    count, size, damaged = bring_objects(
        source, cache, needed, lambda n, done: progress("copying objects", n, done)
    )
    if damaged:
        raise CorruptError(
            f"{len(damaged):,} objects are damaged in {folder}; the others have been taken over",
            "bring them from a remote: dvlite cache link --remove without --copy, dvlite fetch",
        )
    moved, links = (objects, os.fsencode(cache.objects_folder)), 0
    for one in projects_of(project.repo):
        with one.lock():
            paths = [one.absolute(path) for path in tracked_paths(one)]
            links += repoint(one.root, scratch_folder(one), paths, moved)[0]
    return UnlinkResult(folder, count, size, links)
