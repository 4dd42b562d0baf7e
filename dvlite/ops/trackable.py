"""What may become tracked: the checks of a path that has no pointer yet."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from dvlite.errors import PathError
from dvlite.project import Project
from dvlite.workspace.names import check_trackable, fold
from dvlite.workspace.pointer import Pointer

_NAMED = 5


def check_new(project: Project, pointers: Mapping[str, Pointer], path: str) -> None:
    """Refuses what cannot be tracked, with the reason and the commands that help.

    Raises:
        PathError: always with what to do instead.
    """
    if not path:
        raise PathError(
            "the project's own folder cannot be tracked as data",
            "name the files and folders: dvlite add PATH...; what is tracked: dvlite add -u",
        )
    _check_there(project, path)
    check_trackable(path)
    _check_pointers(pointers, path)
    _check_git(project, path)


def _check_there(project: Project, path: str) -> None:
    try:
        found = os.lstat(project.absolute(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PathError(f"there is no {path}") from error
    if stat.S_ISLNK(found.st_mode):
        raise PathError(
            f"{path} is a symbolic link",
            "add what it leads to, or commit the link itself: git add",
        )
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise PathError(f"{path} is neither a file nor a folder")
    if os.path.lexists(os.path.join(project.absolute(path), ".git")):
        raise PathError(
            f"{path} is a git repository of its own", "version it there, or move its .git away"
        )


def _check_pointers(pointers: Mapping[str, Pointer], path: str) -> None:
    inside = [other for other in pointers if other.startswith(path + "/")]
    if inside:
        raise PathError(
            f"{path} holds tracked paths: {', '.join(inside[:_NAMED])}",
            f"update them: dvlite add -u {path}; or track {path} as one: dvlite rm them first",
        )
    folded = fold(path)
    for other in pointers:
        if fold(other) == folded:
            raise PathError(
                f"{path} and the tracked {other} are the same name on macOS and Windows",
                "rename one of them",
            )


def _check_git(project: Project, path: str) -> None:
    tracked = project.repo.tracked([project.to_git(path)])
    if not tracked:
        return
    if path.startswith("."):
        raise PathError(f"{path} is tracked by git, and belongs there")
    names = ", ".join(project.from_git(name) for name in tracked[:_NAMED])
    more = f" and {len(tracked) - _NAMED} more" if len(tracked) > _NAMED else ""
    raise PathError(
        f"git tracks {names}{more}",
        f"take it out of git first, the files stay: git rm -r --cached {path}\n"
        f"then: dvlite add {path}, and git commit",
    )
