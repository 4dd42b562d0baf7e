"""`dvlite mv`: data and pointer move together.

Owns the order: first the new pointer and its ignore line, then the data, then the old pointer.
Interrupted anywhere, the data has a pointer beside it or is where a checkout makes it again, and
the same command again goes on.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import publish, publish_in_tree
from dvlite.errors import ConflictError, PathError
from dvlite.ops.outputs import refuse_outputs
from dvlite.project import Project
from dvlite.workspace.base import Base, quote
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

_HINT = "change the path in dvlite.yaml, then run the stage: dvlite run"


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
        pointers = project.pointers(outputs=False)
        source = data_path(source) if source.endswith(SUFFIX) else source
        target = _resolve(project, pointers, source, target)
        begun = _is_begun(project, source, target)
        pointer = pointers.get(source) or (pointers.get(target) if begun else None)
        if pointer is None:
            if source:
                refuse_outputs(project, source, "moved", _HINT)
            raise PathError(f"no pointer tracks {source or '.'}", "dvlite ls lists what is tracked")
        if not begun:
            _check(project, pointers, source, target)
        moved = Moved(source, target, os.path.lexists(project.absolute(source)))
        if not dry_run:
            _carry_out(project, pointer, moved)
        return moved


def _resolve(project: Project, pointers: dict[str, Pointer], source: str, target: str) -> str:
    target = data_path(target) if target.endswith(SUFFIX) else target
    name = source.rpartition("/")[2]
    if not target or (os.path.isdir(project.absolute(target)) and target not in pointers):
        return f"{target}/{name}" if target else name
    return target


def _is_begun(project: Project, source: str, target: str) -> bool:
    """Whether this very move was interrupted, and its data is at one place only."""
    both = all(os.path.lexists(project.absolute(path)) for path in (source, target))
    return not both and _read_note(project) == _note(source, target)


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
    refuse_outputs(project, target, "a tracked path", _HINT)
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
    publish(_note_path(project), _note(moved.source, moved.target))
    before = project.base()
    try:
        _name_target(project, pointer, moved, before)
        if moved.with_data:
            os.rename(project.absolute(moved.source), project.absolute(moved.target))
    except OSError:  # a full disk, another file system, or a folder that may not be changed
        _take_back(project, moved, before)
        raise
    with suppress(FileNotFoundError):
        os.replace(project.stat_index_path(moved.source), project.stat_index_path(moved.target))
    with suppress(FileNotFoundError):
        os.unlink(project.absolute(pointer_path(moved.source)))
    project.save_base(project.base().updated({moved.source: None}))
    # not before, or what a checkout puts there again would not be ignored
    _edit_ignore(project, moved.source, add=False)
    _tell_git(project, moved)
    os.unlink(_note_path(project))


def _name_target(project: Project, pointer: Pointer, moved: Moved, base: Base) -> None:
    _edit_ignore(project, moved.target, add=True)
    publish_in_tree(project.absolute(pointer_path(moved.target)), render(pointer))
    known = base.get(moved.source)
    if known is not None:
        project.save_base(base.updated({moved.target: known}))


def _take_back(project: Project, moved: Moved, before: Base) -> None:
    """As far as the disk lets us; the same command again copes with the rest."""
    with suppress(OSError):
        os.unlink(project.absolute(pointer_path(moved.target)))
    with suppress(OSError):
        _edit_ignore(project, moved.target, add=False)
        project.save_base(before)
        os.unlink(_note_path(project))


def _note_path(project: Project) -> str:
    return os.path.join(project.private_folder, "moving")


def _note(source: str, target: str) -> bytes:
    """What is being moved, so that the same command goes on after an interruption."""
    return f"{quote(source)}\n{quote(target)}\n".encode("ascii")


def _read_note(project: Project) -> bytes:
    try:
        with open(_note_path(project), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""


def _edit_ignore(project: Project, path: str, add: bool) -> None:
    folder, _, name = path.rpartition("/")
    (ignore if add else unignore)(project.absolute(folder), [name])


def _tell_git(project: Project, moved: Moved) -> None:
    folders = {os.path.dirname(path): None for path in (moved.source, moved.target)}
    ignoring = [os.path.join(folder, ".gitignore") for folder in folders]
    present = [path for path in ignoring if os.path.exists(project.absolute(path))]
    gone = [path for path in ignoring if path not in present]
    project.repo.unstage([project.to_git(path) for path in [pointer_path(moved.source), *gone]])
    project.repo.stage([project.to_git(path) for path in [pointer_path(moved.target), *present]])
