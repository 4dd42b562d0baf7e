"""Where content that the cache lost can be had again, and bringing it back.

Owns the order: another cache, the workspace's files where they still are what was added, remotes.
Whatever comes is verified against its name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.atomic import temporary_name
from dvlite.errors import DvliteError, PathError
from dvlite.ops.looking import Looker
from dvlite.ops.reachable import Use
from dvlite.ops.remotes import is_known, open_named
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache, Source
from dvlite.storage.cachewriter import CacheWriter, adopt_file
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.oid import file_hasher, hash_bytes, hash_tree
from dvlite.storage.row import RowKind
from dvlite.storage.tree import MAX_TREE_BYTES

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Sources:
    """A project, whose workspace and remotes may help, and other caches."""

    project: Project
    others: tuple[Cache, ...] = ()
    jobs: int = 4
    progress: Progress = silent


class Concern(NamedTuple):
    """A path that needs what is lost: `inside` of a tracked one, and what names that. `is_tree`: it
    is the listing of a folder that is lost."""

    use: Use
    inside: bytes
    oid: bytes
    is_tree: bool = False


def mend(sources: Sources, lost: set[bytes], concerns: Sequence[Concern]) -> set[bytes]:
    """Brings back what is lost; what nobody had."""
    cache = sources.project.cache()
    left = cache.missing(lost)
    for other in sources.others:
        left = {oid for oid in left if not _copy(other, cache, oid)}
    if left:
        _from_workspace(sources, left, {one.use.path for one in concerns if one.oid in left})
        left = sources.project.cache().missing(left)
    if left:
        _from_remotes(sources, [one for one in concerns if one.oid in left])
        left = sources.project.cache().missing(left)
    return left


def open_cache(place: str) -> Cache:
    """The cache that is a folder, or that of the project there.

    Raises:
        PathError: there is none.
    """
    if any(os.path.isdir(os.path.join(place, name)) for name in ("objects", "packs")):
        return Source(place)
    try:
        return Source(Project.open(place).cache_folder)
    except DvliteError as error:
        raise PathError(
            f"{place} is neither a cache nor in a dvlite project: {error}",
            "name a folder with objects/ or packs/ in it, or another clone",
        ) from error


def _copy(other: Cache, cache: Cache, oid: bytes) -> bool:
    """Takes an object over from another cache, if that has it undamaged."""
    with suppress(DvliteError, OSError):
        place = other.find(oid)
        if place is None:
            return False
        if place.row is None and os.path.getsize(place.path) > MAX_TREE_BYTES:
            return _copy_large(place.path, cache, oid)
        data = other.read(oid)
        is_tree = hash_tree(data) == oid
        if not is_tree and hash_bytes(data) != oid:
            return False
        with CacheWriter(cache) as writer:
            writer.add(oid, data, RowKind.TREE if is_tree else RowKind.FILE)
        return True
    return False


def _copy_large(path: str, cache: Cache, oid: bytes) -> bool:
    temporary = temporary_name(cache.temporary_folder, "object-")
    hasher = file_hasher()
    try:
        with open(path, "rb") as source, open(temporary, "xb") as target:
            while block := source.read(_BLOCK_BYTES):
                hasher.update(block)
                target.write(block)
            target.flush()
            if cache.durable:
                os.fsync(target.fileno())
        if hasher.digest() != oid:
            return False
        adopt_file(cache, temporary, oid)
        return True
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _from_workspace(sources: Sources, wanted: set[bytes], paths: set[str]) -> None:
    """Takes up the files of tracked paths once more: what is as it was is in the cache then."""
    project = sources.project
    for path in sorted(paths):
        inside = project.from_git(path)
        if project.to_git(inside) != path or not os.path.lexists(project.absolute(inside)):
            continue
        with suppress(DvliteError, OSError):
            looker = Looker(project, sources.progress, True, forget=True, phase="reading the files")
            snapshot = looker.look(inside).snapshot
            trees = snapshot.trees if snapshot is not None else {}
            with CacheWriter(looker.cache) as writer:
                for oid in wanted & trees.keys():
                    writer.add(oid, trees[oid], RowKind.TREE)
        if not project.cache().missing(wanted):
            return


def _from_remotes(sources: Sources, concerns: Sequence[Concern]) -> None:
    project = sources.project
    remotes = []
    for name in project.config.remotes():
        with suppress(DvliteError):
            if is_known(project, name):
                remotes.append(open_named(project, name))
    first = {one.oid: one for one in reversed(concerns)}
    wanted = [
        Wanted(
            one.use.pointer.kind,
            one.use.pointer.oid,
            one.use.pointer.size,
            one.use.pointer.files,
            one.use.label,
            one.inside,
            listings=one.is_tree,
        )
        for one in first.values()
    ]
    if remotes and wanted:
        with suppress(DvliteError):  # what is still missing is told
            fetch(remotes, project.cache(), wanted, sources.jobs, sources.progress)
