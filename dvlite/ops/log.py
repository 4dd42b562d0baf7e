"""`dvlite log`: the commits that changed data, with what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.gitrepo import Commit, PointerChange
from dvlite.ops.looking import entry_of
from dvlite.project import Project
from dvlite.storage.treediff import Comparison, Readers, compare
from dvlite.storage.treewalk import ReadTree
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
    """The newest commits that changed data, newest first.

    Raises:
        MissingError: no such revision.
    """
    commit = project.repo.resolve(request.revision)
    read = project.cache().read_tree
    entries: list[LogEntry] = []
    for found, changes in _by_commit(project, commit, request.paths):
        if len(entries) >= request.limit:
            break
        described = [_describe(project, change, read) for change in changes]
        entries.append(LogEntry(project.repo.describe(found), tuple(described)))
    return entries


def _by_commit(
    project: Project, tip: str, paths: Sequence[str]
) -> Iterator[tuple[str, list[PointerChange]]]:
    """A merge appears once, with what differs from all its parents: what it merely brings
    together is in the commits it merges."""
    changes = project.repo.pointer_changes([tip], [], SUFFIX, project.to_git(""))
    for commit, group in groupby(changes, key=lambda change: change.commit):
        found = [change for change in group if _is_meant(project, change, paths)]
        parents = max(project.repo.parents(commit), 1)
        unique: dict[str, list[PointerChange]] = {}
        for change in found:
            unique.setdefault(change.path, []).append(change)
        kept = [several[0] for several in unique.values() if len(several) == parents]
        if kept:
            yield commit, kept


def _is_meant(project: Project, change: PointerChange, paths: Sequence[str]) -> bool:
    if not paths or "" in paths:
        return True
    path = data_path(project.from_git(change.path))
    return any(
        path == asked or path.startswith(asked + "/") or asked.startswith(path + "/")
        for asked in (data_path(one) if one.endswith(SUFFIX) else one for one in paths)
    )


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
