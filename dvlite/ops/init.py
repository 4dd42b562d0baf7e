"""`dvlite init`: a folder of a git repository becomes a dvlite project."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from dvlite.atomic import publish
from dvlite.errors import ProjectError
from dvlite.gitrepo import GitRepo
from dvlite.project import Project
from dvlite.workspace.config import FILE, edit
from dvlite.workspace.gitignore import merge_by_union

# Unfinished files lie on the workspace's own file system, so that renaming them is atomic.
_IGNORED = b"/tmp\n"


@dataclass(frozen=True, slots=True)
class InitResult:
    """The project's folder, and the files that were made (none when it was one already)."""

    root: str
    created: tuple[str, ...]


def init(folder: str) -> InitResult:
    """Makes `folder` (inside a git work tree) a project. Doing it again changes nothing.

    Raises:
        ProjectError: no git repository, or `folder` is inside another project.
    """
    repo = GitRepo.discover(folder)
    root = os.path.realpath(folder)
    _refuse_nested(repo, root)
    created = [path for path in (_config(root), _ignore(root), merge_by_union(root)) if path]
    project = Project.at(repo, root)
    names = [os.path.relpath(path, root) for path in created]
    repo.stage([project.to_git(name) for name in names])
    return InitResult(root, tuple(names))


def _refuse_nested(repo: GitRepo, root: str) -> None:
    above = os.path.dirname(root)
    top = os.path.realpath(repo.top)
    while root != top and len(above) >= len(top):
        if os.path.isfile(os.path.join(above, FILE)):
            raise ProjectError(
                f"{root} is inside the dvlite project {above}",
                "use that one; a repository may hold several projects, but side by side",
            )
        if above == top:
            return
        above = os.path.dirname(above)


def _config(root: str) -> str | None:
    path = os.path.join(root, FILE)
    if os.path.exists(path):
        return None
    edit(path, {"core.id": secrets.token_hex(16)}, committed=True)
    return path


def _ignore(root: str) -> str | None:
    path = os.path.join(root, os.path.dirname(FILE), ".gitignore")
    if os.path.exists(path):
        return None
    publish(path, _IGNORED, durable=False)
    return path
