"""`dvlite log`: the commits that changed data, with what changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.gitrepo import Commit, PointerChange
from dvlite.ops.looking import entry_of
from dvlite.project import Project
from dvlite.storage.treediff import Comparison, Readers, compare
from dvlite.storage.treewalk import ReadTree, find
from dvlite.workspace.pointer import SUFFIX, Pointer, data_path, parse

What = Literal["added", "removed", "changed", "unreadable"]


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which commits: reachable from `revision`, that touched `paths`, at most `limit`."""

    revision: str = "HEAD"
    paths: tuple[str, ...] = ()
    limit: int = 20


@dataclass(frozen=True, slots=True)
class PathChange:
    """What a commit did to one tracked path. `files`: differences inside it, where the cache has
    both listings. `reason`: why a pointer could not be read."""

    path: str
    what: What
    old: Pointer | None = None
    new: Pointer | None = None
    files: Comparison | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A commit and what it did to data."""

    commit: Commit
    changes: tuple[PathChange, ...]


def log(project: Project, request: LogRequest) -> list[LogEntry]:
    """The newest commits that changed data, newest first; none where nothing is committed yet.

    Raises:
        MissingError: no such revision.
    """
    if request.revision == "HEAD" and project.repo.head() is None:
        return []
    commit = project.repo.resolve(request.revision)
    paths = [data_path(path) if path.endswith(SUFFIX) else path for path in request.paths]
    read = project.cache().read_tree
    entries: list[LogEntry] = []
    for found, changes in _by_commit(project, commit, paths):
        described = (_describe(project, change, read) for change in changes)
        meant = tuple(change for change in described if _touches(change, paths, read))
        if meant:
            entries.append(LogEntry(project.repo.describe(found), meant))
        if len(entries) >= request.limit:
            break
    return entries


def _by_commit(
    project: Project, tip: str, paths: Sequence[str]
) -> Iterator[tuple[str, list[PointerChange]]]:
    """A merge appears once, with what differs from all its parents: what it merely brings
    together is in the commits it merges."""
    changes = project.repo.pointer_changes([tip], [], SUFFIX, project.to_git(""))
    for commit, group in groupby(changes, key=lambda change: change.commit):
        unique: dict[str, list[PointerChange]] = {}
        for change in group:
            if _is_near(data_path(project.from_git(change.path)), paths):
                unique.setdefault(change.path, []).append(change)
        parents = max(project.repo.parents(commit), 1) if unique else 1
        kept = [several[0] for several in unique.values() if len(several) == parents]
        if kept:
            yield commit, kept


def _is_near(tracked: str, paths: Sequence[str]) -> bool:
    """Whether a tracked path is, holds or lies in something that was asked for."""
    if not paths or "" in paths:
        return True
    return any(
        tracked == path or tracked.startswith(path + "/") or path.startswith(tracked + "/")
        for path in paths
    )


def _touches(change: PathChange, paths: Sequence[str], read: ReadTree) -> bool:
    """Whether a change of a folder is one of the paths inside it that were asked for. What the
    cache cannot tell counts as one."""
    prefix = change.path + "/"
    if not paths or any(not path or prefix.startswith(path + "/") for path in paths):
        return True
    inner = [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]
    try:
        return any(_at(change.old, path, read) != _at(change.new, path, read) for path in inner)
    except DvliteError:
        return True


def _at(pointer: Pointer | None, inside: str, read: ReadTree) -> object:
    """Kind and oid of what is at a path in a folder; None where there is nothing."""
    if pointer is None or pointer.kind != "tree":
        return None
    entry = find(read, pointer.oid, os.fsencode(inside))
    return entry and entry[1:3]


def _describe(project: Project, change: PointerChange, read: ReadTree) -> PathChange:
    path = data_path(project.from_git(change.path))
    try:
        old = _pointer(project, change.old, path)
        new = _pointer(project, change.new, path)
    except DvliteError as error:
        return PathChange(path, "unreadable", reason=str(error))
    what: What = "added" if old is None else "removed" if new is None else "changed"
    files = None
    if old is not None and new is not None and "tree" in (old.kind, new.kind):
        try:
            files = compare(Readers(read, read), {b"": entry_of(old)}, {b"": entry_of(new)})
        except DvliteError:
            files = None
    return PathChange(path, what, old, new, files if files and not files.unread else None)


def _pointer(project: Project, blob: str | None, path: str) -> Pointer | None:
    if blob is None:
        return None
    for _, data in project.repo.read_blobs([blob]):
        return parse(data, path + SUFFIX)
    return None
