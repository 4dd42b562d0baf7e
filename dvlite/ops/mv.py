"""`dvlite mv`: data and pointer move together.

Owns the order: first the new pointer and its ignore line, then the data, then the old pointer.
Interrupted anywhere, the data has a pointer beside it or is where a checkout makes it again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import publish
from dvlite.errors import ConflictError, PathError
from dvlite.project import Project
from dvlite.workspace.gitignore import ignore, unignore
from dvlite.workspace.pointer import (
    SUFFIX,
    Pointer,
    check_trackable,
    covering,
    data_path,
    fold,
    pointer_path,
    render,
)


@dataclass(frozen=True, slots=True)
class Moved:
    """From where to where. `with_data`: the data was in the workspace and moved too."""

    source: str
    target: str
    with_data: bool


def mv(project: Project, source: str, target: str, dry_run: bool = False) -> Moved:
    """Moves one tracked path. An existing folder as `target` means into it.

    Raises:
        PathError: nothing tracked to move, or a place that cannot be. ConflictError: the place
        is taken.
    """
    with project.lock():
        pointers = project.pointers()
        source = data_path(source) if source.endswith(SUFFIX) else source
        if source not in pointers:
            raise PathError(f"no pointer tracks {source or '.'}", "dvlite ls lists what is tracked")
        target = _resolve(project, pointers, source, target)
        _check(project, pointers, source, target)
        moved = Moved(source, target, os.path.lexists(project.absolute(source)))
        if not dry_run:
            _carry_out(project, pointers[source], moved)
        return moved


def _resolve(project: Project, pointers: dict[str, Pointer], source: str, target: str) -> str:
    target = data_path(target) if target.endswith(SUFFIX) else target
    name = source.rpartition("/")[2]
    if not target or (os.path.isdir(project.absolute(target)) and target not in pointers):
        return f"{target}/{name}" if target else name
    return target


def _check(project: Project, pointers: dict[str, Pointer], source: str, target: str) -> None:
    check_trackable(target)
    others = {path: pointer for path, pointer in pointers.items() if path != source}
    if target == source or target.startswith(source + "/"):
        raise PathError(f"{source} cannot move into itself")
    cover = covering(others, target)
    if cover is not None and not cover[1]:
        raise ConflictError(f"{target} is tracked already", "choose another name")
    if cover is not None:
        raise PathError(f"{target} is inside the tracked folder {cover[0]}")
    for path in others:
        if fold(path) == fold(target):
            raise ConflictError(f"{target} and the tracked {path} are the same on some systems")
    for path in (target, pointer_path(target)):
        if os.path.lexists(project.absolute(path)):
            raise ConflictError(f"{path} is there already", "choose another name")
    if project.repo.tracked([project.to_git(target)]):
        raise ConflictError(f"git tracks {target}", "choose another name")
    _check_folder(project, target)


def _check_folder(project: Project, target: str) -> None:
    """Refuses folders whose pointers git would not take, before anything has moved."""
    inside = os.path.dirname(target)
    parent = project.absolute(inside)
    if not os.path.isdir(parent):
        raise PathError(f"there is no folder {inside}", "make it")
    if os.path.realpath(parent) != os.path.normpath(parent):
        raise PathError(f"{target} lies behind a symbolic link")
    while inside:
        for name in (".git", ".dvlite"):
            if os.path.lexists(os.path.join(project.absolute(inside), name)):
                raise PathError(f"{inside} is a git repository or dvlite project of its own")
        inside = os.path.dirname(inside)
    files = [pointer_path(target), os.path.join(os.path.dirname(target), ".gitignore")]
    names = [project.to_git(path) for path in files]
    ignored = sorted(project.repo.ignored(names).difference(project.repo.tracked(names)))
    if ignored:
        raise PathError(
            f"git ignores {ignored[0]}, so the pointer could not be committed there",
            "take its pattern out of .gitignore, or choose another folder",
        )


def _carry_out(project: Project, pointer: Pointer, moved: Moved) -> None:
    """Whatever is interrupted: the data is there, and a pointer that names it."""
    base = project.base()
    changes = [_edit_ignore(project, moved.target, add=True)]
    publish(project.absolute(pointer_path(moved.target)), render(pointer))
    known = base.get(moved.source)
    project.save_base(base.updated({moved.target: known}) if known is not None else base)
    if moved.with_data:
        try:
            os.rename(project.absolute(moved.source), project.absolute(moved.target))
        except OSError:  # another file system, or a folder that may not be changed
            os.unlink(project.absolute(pointer_path(moved.target)))
            _edit_ignore(project, moved.target, add=False)
            project.save_base(base)
            raise
        with suppress(FileNotFoundError):
            os.replace(project.stat_index_path(moved.source), project.stat_index_path(moved.target))
    os.unlink(project.absolute(pointer_path(moved.source)))
    project.save_base(project.base().updated({moved.source: None}))
    changes.append(_edit_ignore(project, moved.source, add=False))
    _tell_git(project, moved, [path for path in changes if path is not None])


def _edit_ignore(project: Project, path: str, add: bool) -> str | None:
    folder, _, name = path.rpartition("/")
    changed = (ignore if add else unignore)(project.absolute(folder), [name])
    return None if changed is None else os.path.relpath(changed, project.root)


def _tell_git(project: Project, moved: Moved, changed: list[str]) -> None:
    project.repo.unstage([project.to_git(pointer_path(moved.source))])
    present = [path for path in dict.fromkeys(changed) if os.path.exists(project.absolute(path))]
    project.repo.stage([project.to_git(path) for path in [pointer_path(moved.target), *present]])
    gone = [project.to_git(path) for path in changed if path not in present]
    if gone:
        project.repo.unstage(gone)
