"""`dvlite log`: the commits that changed data, with what changed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.githistory import PointerChange, pointer_changes
from dvlite.gitrepo import Commit
from dvlite.ops.looking import entry_of
from dvlite.pipeline.naming import LOCK, NAMING, is_lock, most_bytes, named_by
from dvlite.project import Project
from dvlite.storage.treediff import Comparison, Readers, compare
from dvlite.storage.treewalk import ReadTree, find
from dvlite.workspace.pointer import SUFFIX, Pointer, data_path

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
        described = (one for several in changes for one in _describe(project, several, read))
        near = (change for change in described if _is_near(change.path, paths))
        meant = tuple(change for change in near if _touches(change, paths, read))
        if meant:
            entries.append(LogEntry(project.repo.describe(found), meant))
        if len(entries) >= request.limit:
            break
    return entries


def _by_commit(
    project: Project, tip: str, paths: Sequence[str]
) -> Iterator[tuple[str, list[list[PointerChange]]]]:
    """A merge appears once, with what differs from all its parents: what it merely brings
    together is in the commits it merges. Each file's changes against all parents are together."""
    changes = pointer_changes(project.repo, [tip], [], NAMING, project.to_git(""))
    for commit, group in groupby(changes, key=lambda change: change.commit):
        unique: dict[str, list[PointerChange]] = {}
        for change in group:
            path = project.from_git(change.path)
            if path == LOCK or (not is_lock(path) and _is_near(data_path(path), paths)):
                unique.setdefault(change.path, []).append(change)
        parents = max(project.repo.parents(commit), 1) if unique else 1
        kept = [several for several in unique.values() if len(several) == parents]
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


def _describe(
    project: Project, several: Sequence[PointerChange], read: ReadTree
) -> Iterator[PathChange]:
    """What became of each path that a file names: its data's, or all outputs of a lockfile."""
    path = project.from_git(several[0].path)
    try:
        olds = [_named(project, change.old, path) for change in several]
        new = _named(project, several[0].new, path)
    except DvliteError as error:
        shown = path if path == LOCK else data_path(path)
        yield PathChange(shown, "unreadable", reason=str(error))
        return
    for name in sorted({*new, *olds[0]}):
        now = new.get(name)
        if all(now != old.get(name) for old in olds):
            yield _compare(name, olds[0].get(name), now, read)


def _compare(path: str, old: Pointer | None, new: Pointer | None, read: ReadTree) -> PathChange:
    what: What = "added" if old is None else "removed" if new is None else "changed"
    files = None
    if old is not None and new is not None and "tree" in (old.kind, new.kind):
        try:
            files = compare(Readers(read, read), {b"": entry_of(old)}, {b"": entry_of(new)})
        except DvliteError:
            files = None
    return PathChange(path, what, old, new, files if files and not files.unread else None)


def _named(project: Project, blob: str | None, path: str) -> dict[str, Pointer]:
    if blob is not None:
        for _, data in project.repo.read_blobs([blob], most_bytes(path)):
            return named_by(path, data, path)
    return {}
