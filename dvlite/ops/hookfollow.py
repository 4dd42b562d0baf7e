"""After git changed the work tree: the data follows its pointers, as far as the cache has it.

Owns which paths follow: those whose pointer is no longer what their data was last in step with, and
those that the change brought anew. A path that was never checked out here stays so, whatever its
pointer does: somebody who pulled one folder of many does not want all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dvlite.errors import DvliteError
from dvlite.gitrepo import GitRepo
from dvlite.ops.hookcalls import Changed
from dvlite.ops.hookprojects import paths_by_project, projects_here
from dvlite.ops.pointers import Pointers, pointers_of
from dvlite.pipeline.naming import LOCK, is_lock, named_by
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.base import Base
from dvlite.workspace.config import FILE
from dvlite.workspace.pointer import data_path

if TYPE_CHECKING:
    from dvlite.ops.checkout import CheckoutResult


@dataclass(frozen=True, slots=True)
class Followed:
    """What happened to the paths of one project. `unfetched`: why what is missing could not be
    fetched, where it was to be; `unignored`: paths that came, and that git does not ignore."""

    root: str
    result: CheckoutResult
    unfetched: DvliteError | None = None
    unignored: tuple[str, ...] = ()


def follow(
    repo: GitRepo,
    changed: Changed,
    cache_folder: str | None = None,
    progress: Progress = silent,
) -> list[Followed]:
    """Brings every project in step that `changed` concerns: also one that the work tree had
    before and has no more, whose data goes with it."""
    projects: dict[str, tuple[Project, set[str]]] = {}
    if changed.others:
        here = projects_here(repo, cache_folder).values()
        projects = {project.root: (project, set()) for project in here}
    commit = changed.before or "HEAD"
    paths = [(path, commit) for path in changed.pointers]
    for project, mine in paths_by_project(repo, paths, cache_folder):
        projects[project.root] = project, mine
    found = []
    for project, mine in projects.values():
        names = {project.from_git(path): changed.pointers[path] for path in mine}
        new = [data_path(path) for path, is_new in names.items() if is_new and not is_lock(path)]
        if LOCK in names:
            new += _new_outputs(project, None if names[LOCK] else changed.before or "HEAD")
        found += _follow(project, new, progress)
        _tidy(project)
    return found


def _tidy(project: Project) -> None:
    """Where git has taken the project away, its empty folders go too, as git's own do."""
    if os.path.lexists(project.absolute(FILE)) or project.root == os.path.realpath(
        project.repo.top
    ):
        return
    ours = os.path.dirname(project.absolute(FILE))
    with suppress(OSError):  # somebody's files are there
        for folder in (os.path.join(ours, "tmp"), ours, project.root):
            with suppress(FileNotFoundError):
                os.rmdir(folder)


def _new_outputs(project: Project, before: str | None) -> list[str]:
    """The outputs that the lockfile at the commit `before` (None: there was none) did not have."""
    data = project.lock_at(before) if before is not None else None
    try:
        old = {} if data is None else named_by(LOCK, data, LOCK)
        return [path for path in project.outputs() if path not in old]
    except DvliteError:
        return []  # in conflict, or damaged: what was checked out waits for a new one


def _follow(project: Project, new: Iterable[str], progress: Progress) -> list[Followed]:
    pointers = pointers_of(project)
    paths = tuple(sorted(_behind(pointers, project.base(), new)))
    if not paths:
        return []
    found = _bring(project, pointers, paths, progress)
    return [replace(found, unignored=_unignored(project, found.result))]


def _unignored(project: Project, result: CheckoutResult) -> tuple[str, ...]:
    """As where `git mv` gave a pointer another name, which no line of `.gitignore` knows."""
    names = {project.to_git(step.path): step.path for step in result.steps if step.action == "make"}
    ignored = project.repo.ignored(names)
    return tuple(path for name, path in names.items() if name not in ignored)


def _bring(
    project: Project, pointers: Pointers, paths: tuple[str, ...], progress: Progress
) -> Followed:
    from dvlite.ops.checkout import CheckoutRequest, checkout_pointers  # 40 ms
    from dvlite.ops.fetch import FetchRequest, fetch_named
    from dvlite.ops.roots import Named

    request = CheckoutRequest(paths, keep_edits=True, leave=True)
    result = checkout_pointers(project, pointers.found, request, progress)
    if not result.missing or not project.config.get("core.fetch_on_checkout"):
        return Followed(project.root, result)
    again = tuple(path for path, _ in result.missing)
    try:
        named = [Named(path, pointers.found[path]) for path in again]
        jobs = int(project.config.get("core.jobs") or 4)
        fetch_named(project, named, FetchRequest(jobs=jobs), progress)
    except DvliteError as error:
        return Followed(project.root, result, error)
    request = CheckoutRequest(again, keep_edits=True, leave=True)
    second = checkout_pointers(project, pointers.found, request, progress)
    second.steps += result.steps
    second.left += result.left
    second.damaged += result.damaged
    return Followed(project.root, second)


def _behind(pointers: Pointers, base: Base, new: Iterable[str]) -> set[str]:
    """Not those whose pointer cannot be read, as where a merge conflicts."""
    found = {path for path in new if path in pointers.found and path not in base.entries}
    for path, known in base.entries.items():
        # which paths a lockfile that cannot be read names, nobody knows
        if path in pointers.damaged or (LOCK in pointers.damaged and path not in pointers.found):
            continue
        now = pointers.found.get(path)
        if now is None or not known.same_content(now):
            found.add(path)
    return found
