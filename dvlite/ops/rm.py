"""`dvlite rm`: a path is not tracked any more; its data stays, or goes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import temporary_name
from dvlite.errors import ConflictError, PathError
from dvlite.ops.looking import Looker
from dvlite.ops.stepping import clear_scratch, scratch_folder
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.gitignore import unignore
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path, pointer_path


@dataclass(frozen=True, slots=True)
class Removed:
    """A path that is not tracked any more. `deleted`: its data is gone from the workspace."""

    path: str
    pointer: Pointer
    deleted: bool


def rm(
    project: Project,
    paths: Sequence[str],
    *,
    delete: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> list[Removed]:
    """Stops tracking. With `delete` the data goes too, unless it has edits (`force`: even then).

    Raises:
        PathError: a path that has no pointer of its own. ConflictError: edits would be lost.
    """
    with project.lock():
        pointers = project.pointers()
        chosen = [_chosen(pointers, path) for path in paths]
        removed = []
        for path in dict.fromkeys(chosen):
            there = os.path.lexists(project.absolute(path))
            if delete and there and not force:
                _refuse_edits(project, path, pointers[path], progress)
            removed.append(Removed(path, pointers[path], delete and there))
        if not dry_run:
            _carry_out(project, removed)
        return removed


def _chosen(pointers: dict[str, Pointer], given: str) -> str:
    path = data_path(given) if given.endswith(SUFFIX) else given
    if path in pointers:
        return path
    cover = covering(pointers, path)
    if cover is not None:
        raise PathError(
            f"{path} is inside the tracked folder {cover[0]}",
            f"delete it (rm {path}), then take that up: dvlite add {cover[0]}",
        )
    raise PathError(f"no pointer tracks {path}", "dvlite ls lists what is tracked")


def _refuse_edits(project: Project, path: str, pointer: Pointer, progress: Progress) -> None:
    here = Looker(project, progress).look(path)
    known = [pointer, project.base().get(path)]
    if here.failed or not any(one and one.same_content(here.pointer) for one in known):
        raise ConflictError(
            f"{path} has edits that are not added, which would be lost",
            "add them first, or delete them too: dvlite rm --delete --force",
        )


def _carry_out(project: Project, removed: Sequence[Removed]) -> None:
    """Git's side first: whatever is interrupted then, the data is still there."""
    changed: list[str] = []
    for item in removed:
        with suppress(FileNotFoundError):
            os.unlink(project.absolute(pointer_path(item.path)))
        folder, _, name = item.path.rpartition("/")
        ignore_file = unignore(project.absolute(folder), [name])
        if ignore_file is not None:
            changed.append(os.path.relpath(ignore_file, project.root))
    gone = [project.to_git(pointer_path(item.path)) for item in removed]
    project.repo.unstage(gone)
    present = [path for path in changed if os.path.exists(project.absolute(path))]
    if present:
        project.repo.stage([project.to_git(path) for path in present])
    emptied = [project.to_git(path) for path in changed if path not in present]
    if emptied:
        project.repo.unstage(emptied)
    project.save_base(project.base().updated({item.path: None for item in removed}))
    for item in removed:
        if item.deleted:
            _delete(project, item.path)
        with suppress(FileNotFoundError):
            os.unlink(project.stat_index_path(item.path))


def _delete(project: Project, path: str) -> None:
    """Moves the data aside at once, then deletes it."""
    clear_scratch(project)
    os.makedirs(scratch_folder(project), exist_ok=True)
    aside = temporary_name(scratch_folder(project), "old-")
    os.rename(project.absolute(path), aside)
    if os.path.isdir(aside) and not os.path.islink(aside):
        shutil.rmtree(aside)
    else:
        os.unlink(aside)
