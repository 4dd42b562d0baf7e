"""Before git pushes: the data that the commits name goes first.

Owns which pointers those are, found among the commits that git is about to push, in every project
of the repository, also in those that only another branch has.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dvlite.gitchanges import Range, folder_at, folder_of, project_folders, unpublished
from dvlite.gitrepo import GitRepo, PointerChange
from dvlite.ops.push import PushRequest, PushResult, push_roots
from dvlite.ops.roots import Roots, of_changes
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.config import FILE, Config, load


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
    for project, mine in _by_project(repo, changes, cache_folder):
        roots = Roots()
        current = [change for change in mine if change.commit in ours]
        older = [change for change in mine if change.commit not in ours]
        roots.current = list(of_changes(project, current, (), roots))
        roots.older = list(of_changes(project, older, (), roots))
        unreadable = tuple(roots.unreadable)
        roots.unreadable.clear()
        request = PushRequest(jobs=int(project.config.get("core.jobs") or 4))
        result = push_roots(project, roots, request, progress) if roots.everything() else None
        yield Pushed(project.root, result, unreadable)


def _by_project(
    repo: GitRepo, changes: list[PointerChange], cache_folder: str | None
) -> Iterator[tuple[Project, list[PointerChange]]]:
    top = os.path.realpath(repo.top)
    folders = project_folders(repo)
    here: dict[str, list[PointerChange]] = {}
    elsewhere: dict[str, tuple[bytes, list[PointerChange]]] = {}
    for change in changes:
        folder = folder_of(change.path, folders)
        if folder is not None:
            here.setdefault(folder, []).append(change)
            continue
        found = folder_at(repo, change.commit, change.path)
        if found is not None:
            elsewhere.setdefault(found[0], (found[1], []))[1].append(change)
    for folder, mine in here.items():
        yield Project.at(repo, os.path.join(top, folder) if folder else top, cache_folder), mine
    for folder, (settings, mine) in elsewhere.items():
        root = os.path.join(top, folder) if folder else top
        config = _config_of(repo, settings, os.path.join(folder, FILE))
        yield Project.at(repo, root, cache_folder, config), mine


def _config_of(repo: GitRepo, settings: bytes, name: str) -> Config:
    """The settings of a project that the work tree does not have."""
    private = os.path.join(repo.common_dir, "dvlite", "config.toml")
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        path = os.path.join(folder, FILE)
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as stream:
            stream.write(settings)
        return replace(load(folder, private), committed_path=name)
