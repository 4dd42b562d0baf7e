"""`dvlite init`: a folder of a git repository becomes a dvlite project."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from dvlite.atomic import publish_in_tree
from dvlite.errors import ProjectError
from dvlite.gitrepo import GitRepo
from dvlite.ops.drivers import attributes_of_new
from dvlite.project import Project, refuse_link
from dvlite.workspace.config import FILE
from dvlite.workspace.configedit import edit
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
        ProjectError: no git repository, or `folder` is inside another project, or around one.
    """
    repo = GitRepo.discover(folder)
    root = os.path.realpath(folder)
    _refuse_nested(repo, root)
    refuse_link(root)
    # first the folder that has a place for unfinished files, also those of the others
    made = _ignore(root), _config(root)
    attributes = merge_by_union(root), attributes_of_new(repo, root)
    created = [path for path in (*made, next(filter(None, attributes), None)) if path]
    project = Project.at(repo, root)
    _stage(project, [os.path.relpath(path, root) for path in created])
    return InitResult(root, tuple(os.path.relpath(path, root) for path in created))


def _stage(project: Project, created: list[str]) -> None:
    """Also what an init that was killed had made, and git does not know yet."""
    ours = [FILE, _ignore_name(), ".gitattributes"]
    there = [project.to_git(name) for name in ours if os.path.exists(project.absolute(name))]
    known = project.repo.tracked(there)
    new = [name for name in there if name not in known]
    project.repo.stage(list(dict.fromkeys([*new, *map(project.to_git, created)])))


def _ignore_name() -> str:
    return os.path.join(os.path.dirname(FILE), ".gitignore")


def _refuse_nested(repo: GitRepo, root: str) -> None:
    _refuse_around(repo, root)
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


def _refuse_around(repo: GitRepo, root: str) -> None:
    top = os.path.realpath(repo.top)
    inside = "" if root == top else os.path.relpath(root, top)
    for path in repo.find_files(f"/{FILE}", inside):
        below = os.path.join(top, path.removesuffix(f"/{FILE}"))
        if below != root and os.path.isfile(os.path.join(below, FILE)):
            raise ProjectError(
                f"{root} is around the dvlite project {below}",
                "use that one; a repository may hold several projects, but side by side",
            )


def _config(root: str) -> str | None:
    path = os.path.join(root, FILE)
    if os.path.exists(path):
        return None
    edit(path, {"core.id": secrets.token_hex(16)}, committed=True)
    return path


def _ignore(root: str) -> str | None:
    path = os.path.join(root, _ignore_name())
    if os.path.exists(path):
        return None
    os.makedirs(os.path.dirname(path), exist_ok=True)
    publish_in_tree(path, _IGNORED)
    return path
