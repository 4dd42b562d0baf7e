"""Before a commit: what would be forgotten, and what does not belong into git.

Only looks. What is large is judged by what git would store, not by the workspace's file: a filter
such as git-lfs's may have made it small.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import ConflictError, DvliteError
from dvlite.gitchanges import Staged, folder_of, merged_in, sizes, staged
from dvlite.gitrepo import GitRepo
from dvlite.ops.hookprojects import projects_here
from dvlite.ops.looking import Looker
from dvlite.ops.pointers import Pointers, pointers_of
from dvlite.pipeline.naming import LOCK
from dvlite.project import Project
from dvlite.workspace.base import Base
from dvlite.workspace.pointer import SUFFIX, Pointer, covering

Fault = Literal["not added", "not recorded", "large", "not ignored", "in git", "undecided"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a commit should wait. `path` is a project path of the project at `root`; `size_bytes`
    and `limit` are of what is large."""

    fault: Fault
    root: str
    path: str
    size_bytes: int = 0
    limit: int = 0


def examine(repo: GitRepo, cache_folder: str | None = None) -> list[Finding]:
    """Looks at all projects of the work tree, and at what is staged."""
    projects = projects_here(repo, cache_folder)
    if not projects:
        return []
    files: dict[str, list[Staged]] = {folder: [] for folder in projects}
    for file in staged(repo):
        folder = folder_of(file.path, projects)
        if folder is not None:
            files[folder].append(file)
    findings: list[Finding] = []
    for folder, project in projects.items():
        findings += _examine(project, files[folder])
    return findings


def _examine(project: Project, files: list[Staged]) -> Iterator[Finding]:
    pointers = pointers_of(project)
    paths = {project.from_git(file.path): file for file in files}
    yield from _undecided(project, pointers.damaged, set(paths))
    yield from _not_added(project, pointers)
    yield from _not_ignored(project, pointers.found)
    yield from _in_git(project, pointers.found, set(paths))
    yield from _large(project, pointers.found, paths)


def _undecided(
    project: Project, damaged: dict[str, DvliteError], files: set[str]
) -> Iterator[Finding]:
    for path, error in damaged.items():
        name = path if path == LOCK else path + SUFFIX
        if isinstance(error, ConflictError) and name in files:
            yield Finding("undecided", project.root, path)


def _not_added(project: Project, pointers: Pointers) -> Iterator[Finding]:
    base = project.base()
    looker = Looker(project, sizes_only=True)
    for path, pointer in sorted(pointers.found.items()):
        if _is_edited(looker, path, pointer, base):
            fault: Fault = "not recorded" if path in pointers.outputs else "not added"
            yield Finding(fault, project.root, path)
    looker.done()


def _is_edited(looker: Looker, path: str, pointer: Pointer, base: Base) -> bool:
    """Not where the data is gone, or waits to follow its pointer: nothing is forgotten then."""
    try:
        here = looker.look(path, pointer).pointer
    except (DvliteError, OSError):
        return False  # it cannot be added either; status tells
    if here is None or here.same_content(pointer):
        return False
    known = (base.get(path), *base.begun.get(path, ()))
    return not any(here.same_content(one) for one in known)


def _not_ignored(project: Project, pointers: dict[str, Pointer]) -> Iterator[Finding]:
    there = [path for path in sorted(pointers) if os.path.lexists(project.absolute(path))]
    names = {project.to_git(path): path for path in there}
    ignored = project.repo.ignored(names)
    for name, path in names.items():
        if name not in ignored:
            yield Finding("not ignored", project.root, path)


def _in_git(project: Project, pointers: dict[str, Pointer], files: set[str]) -> Iterator[Finding]:
    """Files below a tracked path that were forced into git's index."""
    found = {path for path in files if path in pointers}
    for path in files - found:
        if covering(pointers, path) is not None:
            found.add(path)
    for path in sorted(found):
        yield Finding("in git", project.root, path)


def _large(
    project: Project, pointers: dict[str, Pointer], files: dict[str, Staged]
) -> Iterator[Finding]:
    limit = int(project.config.get("core.max_git_file_size") or 0)
    if not limit:
        return
    blobs = {path: one for path, one in files.items() if one.mode.startswith("100")}
    found = sizes(project.repo, {one.blob for one in blobs.values()})
    large = [path for path, one in blobs.items() if found.get(one.blob, 0) > limit]
    theirs = merged_in(project.repo) if large else set()
    for path in sorted(large):
        one = blobs[path]
        is_known = path in pointers or covering(pointers, path) is not None
        if (one.path, one.blob) not in theirs and not is_known:
            yield Finding("large", project.root, path, found[one.blob], limit)
