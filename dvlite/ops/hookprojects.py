"""The projects that git's paths belong to: those of the work tree, and those of other commits.

Owns opening a project by what a commit says of its settings, where the work tree has none: a branch
may have no project, or another one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace

from dvlite.gitchanges import folder_at, folder_of, project_folders
from dvlite.gitrepo import GitRepo
from dvlite.project import Project
from dvlite.workspace.config import FILE, Config, load


def projects_here(repo: GitRepo, cache_folder: str | None) -> dict[str, Project]:
    """Folder -> project, of those of the work tree."""
    return {
        folder: Project.at(repo, _root(repo, folder), cache_folder)
        for folder in project_folders(repo)
    }


def paths_by_project(
    repo: GitRepo, paths: Iterable[tuple[str, str]], cache_folder: str | None
) -> Iterator[tuple[Project, set[str]]]:
    """The projects that paths of git belong to, with those paths; each path comes with a commit
    that has it, whose project counts where the work tree has none."""
    folders = project_folders(repo)
    here: dict[str, set[str]] = {}
    elsewhere: dict[str, tuple[bytes, set[str]]] = {}
    for path, commit in paths:
        folder = folder_of(path, folders)
        if folder is not None:
            here.setdefault(folder, set()).add(path)
            continue
        found = folder_at(repo, commit, path)
        if found is not None:
            elsewhere.setdefault(found[0], (found[1], set()))[1].add(path)
    for folder, mine in here.items():
        yield Project.at(repo, _root(repo, folder), cache_folder), mine
    for folder, (settings, mine) in elsewhere.items():
        root = _root(repo, folder)
        if os.path.realpath(root) == root:  # else a symbolic link stands where it was
            config = _config_of(repo, settings, os.path.join(folder, FILE))
            yield Project.at(repo, root, cache_folder, config), mine


def _root(repo: GitRepo, folder: str) -> str:
    top = os.path.realpath(repo.top)
    return os.path.join(top, folder) if folder else top


def _config_of(repo: GitRepo, settings: bytes, name: str) -> Config:
    private = os.path.join(repo.common_dir, "dvlite", "config.toml")
    with tempfile.TemporaryDirectory(prefix="dvlite-") as folder:
        path = os.path.join(folder, FILE)
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as stream:
            stream.write(settings)
        return replace(load(folder, private), committed_path=name)
