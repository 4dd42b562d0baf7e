"""Before git pushes: the data that the commits name goes first.

Owns which pointers those are, found among the commits that git is about to push, in every project
of the repository, also in those that only another branch has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dvlite.errors import DvliteError
from dvlite.gitchanges import Range, unpublished
from dvlite.githistory import PointerChange
from dvlite.gitrepo import GitRepo
from dvlite.ops.hookprojects import paths_by_project
from dvlite.ops.push import PushRequest, PushResult, push_roots
from dvlite.ops.roots import Named, Roots, of_changes
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace import imported


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of one project's data. `unreadable`: pointers, and why they are none."""

    root: str
    result: PushResult | None
    unreadable: tuple[tuple[str, str], ...] = ()


def push_data(
    repo: GitRepo,
    commits: Range,
    changes: list[PointerChange],
    cache_folder: str | None = None,
    progress: Progress = silent,
) -> Iterator[Pushed]:
    """Pushes what the commits name, one project after another. `changes`: what
    `gitchanges.pushed_pointers` found in them.

    What commits of other people name, that are on another remote of git already, is pushed where
    this clone has it, and not missed otherwise.

    Raises:
        RemoteError, MissingError, ConflictError: as `push`.
    """
    ours = unpublished(repo, commits.tips)
    paths = [(change.path, change.commit) for change in changes]
    for project, names in paths_by_project(repo, paths, cache_folder):
        roots = Roots()
        mapping = project.to_git(imported.FILE)
        mine = [one for one in changes if one.path in names and one.path != mapping]
        current = [change for change in mine if change.commit in ours]
        older = [change for change in mine if change.commit not in ours]
        roots.current = list(of_changes(project, current, (), roots))
        roots.older = list(of_changes(project, older, (), roots))
        _add_mapped(project, roots, [one for one in changes if one.path == mapping])
        unreadable = tuple(roots.unreadable)
        roots.unreadable.clear()
        request = PushRequest(jobs=int(project.config.get("core.jobs") or 4))
        result = push_roots(project, roots, request, progress) if roots.everything() else None
        yield Pushed(project.root, result, unreadable)


def _add_mapped(project: Project, roots: Roots, changes: list[PointerChange]) -> None:
    """Adds what the mappings of old names say that the commits have; the work tree's may be of
    another branch."""
    found: dict[tuple[str, bytes], Named] = {}
    blobs = {one.new: f"{one.commit[:8]}:{imported.FILE}" for one in changes if one.new is not None}
    lacking = dict(blobs)
    for blob, data in project.repo.read_blobs(blobs, imported.MAX_BYTES):
        del lacking[blob]
        try:
            for name, pointer in imported.pairs(data):
                found.setdefault((name, pointer.oid), Named(name, pointer, revision="imported"))
        except DvliteError as error:
            roots.unreadable.append((blobs[blob], str(error)))
    roots.unreadable += [(label, "git does not have it") for label in lacking.values()]
    roots.older += found.values()
