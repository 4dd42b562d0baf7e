"""`dvlite reproduce`: a past commit with its data, in a new folder; the workspace is not touched.

The folder is a git work tree, so it shares the repository and the cache, and the commit's own
code and parameters come with it. Every file of its data is read again and compared with its name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from dvlite.errors import ConflictError, CorruptError, PathError, ProjectError
from dvlite.gitrepo import Commit, GitRepo
from dvlite.ops.checkout import CheckoutRequest, CheckoutResult, checkout, checkout_pointers
from dvlite.ops.fetch import FetchRequest, FetchResult, fetch_named, to_fetch
from dvlite.ops.looking import Looker
from dvlite.ops.roots import Selection
from dvlite.pipeline.naming import named_by
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.config import FILE
from dvlite.workspace.pointer import Pointer


@dataclass(frozen=True, slots=True)
class ReproduceRequest:
    """What to restore. `output`: the new folder (absolute), by default beside the repository."""

    revision: str
    paths: tuple[str, ...] = ()
    output: str | None = None
    remotes: tuple[str, ...] = ()
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class Restored:
    """One tracked path, restored and verified."""

    path: str
    pointer: Pointer


@dataclass(slots=True)
class ReproduceResult:
    """Where the commit is now and what of its data; `checked_out.missing` could not be had."""

    commit: Commit
    folder: str
    restored: list[Restored] = field(default_factory=list)
    fetched: FetchResult | None = None
    checked_out: CheckoutResult = field(default_factory=CheckoutResult)


def reproduce(
    project: Project, request: ReproduceRequest, progress: Progress = silent
) -> ReproduceResult:
    """Restores a commit. When it fails or is interrupted, the new folder is removed again.

    Raises:
        MissingError: no such commit. ConflictError: the folder is there already.
        CorruptError: a restored file is not what its name says.
    """
    repo = project.repo
    commit = repo.resolve(request.revision)
    has_project = repo.read_file(commit, project.to_git(FILE)) is not None
    if not has_project and not project.pointers_at(commit):
        raise ProjectError(
            f"the commit {request.revision} has no dvlite project at this place",
            f"look at it with git: git show --stat {repo.short(commit)}",
        )
    folder = _folder(project, commit, request.output)
    fetched = _fetch(project, commit, request, progress)
    repo.add_worktree(folder, commit)
    try:
        result = ReproduceResult(repo.describe(commit), folder, fetched=fetched)
        _restore(project, request, result, progress)
        return result
    except BaseException:
        repo.remove_worktree(folder)
        raise


def _folder(project: Project, commit: str, output: str | None) -> str:
    top = os.path.realpath(project.repo.top)
    folder = os.path.realpath(output) if output else f"{top}-{project.repo.short(commit)}"
    if os.path.isdir(folder) and not os.path.islink(folder) and not os.listdir(folder):
        os.rmdir(folder)
    if os.path.lexists(folder):
        raise ConflictError(f"{folder} is there already", "choose another folder: -o DIR")
    if folder == top or folder.startswith(top + os.sep):
        raise PathError(f"{folder} is inside the repository", "choose a folder outside it: -o DIR")
    if not os.path.isdir(os.path.dirname(folder)):
        raise PathError(f"there is no folder {os.path.dirname(folder)}", "make it first")
    return folder


def _fetch(
    project: Project, commit: str, request: ReproduceRequest, progress: Progress
) -> FetchResult | None:
    """Brings what the cache lacks, from the remotes as they are configured now."""
    selection = Selection(request.paths, (commit,))
    lacking = to_fetch(project, selection)
    if not lacking:
        return None
    what = FetchRequest(selection, request.remotes, request.jobs)
    return fetch_named(project, lacking, what, progress)


def _restore(
    project: Project, request: ReproduceRequest, result: ReproduceResult, progress: Progress
) -> None:
    commit = result.commit.hash
    is_old = project.is_before_import(commit)
    there = Project.at(
        GitRepo.discover(result.folder),
        os.path.join(result.folder, project.to_git("")).rstrip("/"),
        project.cache_folder,
        None if project.repo.read_file(commit, project.to_git(FILE)) else project.config,
    )
    what = CheckoutRequest(request.paths)
    if is_old:
        result.checked_out = _restore_old(project, there, commit, what, progress)
    else:
        result.checked_out = checkout(there, what, progress)
    looker = Looker(there, progress, forget=True, phase="verifying files")
    for step in result.checked_out.steps:
        if step.target is None:
            continue
        here = looker.look(step.path)
        if here.pointer is None or not here.pointer.same_content(step.target):
            raise CorruptError(
                f"{step.path} was restored with other content than its pointer names",
                "the disk or memory may be faulty; try again",
            )
        result.restored.append(Restored(step.path, step.target))


def _restore_old(
    project: Project, there: Project, commit: str, what: CheckoutRequest, progress: Progress
) -> CheckoutResult:
    """The data of a commit from before an import, as the mapping of old names has it."""
    at_commit = project.pointers_at(commit)
    old: dict[str, Pointer] = {}
    for path, data in at_commit.items():
        old |= named_by(path, data, path)
    # git-lfs's own pointers lie where the data belongs; git has made these files, and no others
    for path in old.keys() & project.lfs_files_at(commit).keys():
        os.unlink(there.absolute(path))
    return checkout_pointers(there, old, what, progress)
