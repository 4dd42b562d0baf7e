"""After git changed the work tree: the data follows its pointers, as far as the cache has it.

Owns which paths follow: those whose pointer is no longer what their data was last in step with, and
those that the change brought anew. A path that was never checked out here stays so, whatever its
pointer does: somebody who pulled one folder of many does not want all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dvlite.errors import DvliteError
from dvlite.gitchanges import (
    folder_of,
    has_more_to_rebase,
    is_rebasing,
    pointers_between,
    pointers_of_commit,
    pointers_staged,
    project_folders,
)
from dvlite.gitrepo import GitRepo
from dvlite.ops.checkout import CheckoutRequest, CheckoutResult, checkout_pointers
from dvlite.ops.fetch import FetchRequest, fetch_named
from dvlite.ops.pointers import Pointers, pointers_of
from dvlite.ops.roots import Named
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.base import Base
from dvlite.workspace.pointer import data_path


@dataclass(frozen=True, slots=True)
class Followed:
    """What happened to the paths of one project. `unfetched`: why what is missing could not be
    fetched, where it was to be."""

    root: str
    result: CheckoutResult
    unfetched: DvliteError | None = None


def after_checkout(repo: GitRepo, old: str, new: str, of_branch: bool) -> dict[str, bool]:
    """The pointers that a checkout of git may have changed, and whether they are new."""
    if has_more_to_rebase(repo):
        return {}  # its end tells; an aborted one leaves the data as it was
    if of_branch:
        return {} if old == new else pointers_between(repo, old, new)
    return {"": False, **pointers_staged(repo)}


def after_merge(repo: GitRepo, is_squash: bool) -> dict[str, bool]:
    """The same for a merge."""
    before = None if is_squash else _commit(repo, "ORIG_HEAD")
    if before is None:
        return {"": False, **pointers_staged(repo)}
    return pointers_between(repo, before, "HEAD")


def after_commit(repo: GitRepo) -> dict[str, bool]:
    """The same for a commit, which a cherry-pick or a merge with conflicts may have ended in."""
    return {} if is_rebasing(repo) else pointers_of_commit(repo)


def after_rewrite(repo: GitRepo, command: str, lines: str) -> dict[str, bool]:
    """The same for a rebase (an amended commit has changed no file). `lines`: the old and the new
    commits, in order, as far as they are known."""
    if command == "amend":
        return {}
    rewritten = [line.split(" ")[:2] for line in lines.splitlines() if " " in line]
    starts = ["ORIG_HEAD", *(old for old, _ in rewritten[-1:])]
    starts += [new + "^" for _, new in rewritten[:1]]  # a rebase by patches took away what is new
    changed = {"": False}
    for start in starts:
        before = _commit(repo, start)
        for path, is_new in (pointers_between(repo, before, "HEAD") if before else {}).items():
            changed[path] = is_new or changed.get(path, False)
    return changed


def _commit(repo: GitRepo, revision: str) -> str | None:
    try:
        return repo.resolve(revision)
    except DvliteError:
        return None


def follow(
    repo: GitRepo,
    changed: Mapping[str, bool],
    cache_folder: str | None = None,
    progress: Progress = silent,
) -> list[Followed]:
    """Brings every project in step with `changed` pointers ("": any may have changed)."""
    if not changed:
        return []
    folders = project_folders(repo)
    top = os.path.realpath(repo.top)
    found = []
    for folder in folders:
        mine = {path: new for path, new in changed.items() if folder_of(path, folders) == folder}
        if mine or "" in changed:
            project = Project.at(repo, os.path.join(top, folder) if folder else top, cache_folder)
            new = [data_path(project.from_git(path)) for path, is_new in mine.items() if is_new]
            found += _follow(project, new, progress)
    return found


def _follow(project: Project, new: Iterable[str], progress: Progress) -> list[Followed]:
    pointers = pointers_of(project)
    paths = _behind(pointers, project.base(), new)
    if not paths:
        return []
    request = CheckoutRequest(tuple(sorted(paths)), keep_edits=True, leave=True)
    result = checkout_pointers(project, pointers.found, request, progress)
    if not result.missing or not project.config.get("core.fetch_on_checkout"):
        return [Followed(project.root, result)]
    again = tuple(path for path, _ in result.missing)
    try:
        named = [Named(path, pointers.found[path]) for path in again]
        jobs = int(project.config.get("core.jobs") or 4)
        fetch_named(project, named, FetchRequest(jobs=jobs), progress)
    except DvliteError as error:
        return [Followed(project.root, result, error)]
    request = CheckoutRequest(again, keep_edits=True, leave=True)
    second = checkout_pointers(project, pointers.found, request, progress)
    second.steps += result.steps
    second.left += result.left
    second.damaged += result.damaged
    return [Followed(project.root, second)]


def _behind(pointers: Pointers, base: Base, new: Iterable[str]) -> set[str]:
    """Not those whose pointer cannot be read, as where a merge conflicts."""
    found = {path for path in new if path in pointers.found and path not in base.entries}
    for path, known in base.entries.items():
        if path in pointers.damaged:
            continue
        now = pointers.found.get(path)
        if now is None or not known.same_content(now):
            found.add(path)
    return found
