"""`dvlite rm`: a path is not tracked any more; its data stays, or goes.

Owns the order. Data that stays leaves the base first, or a checkout after an interruption would
take it away with its pointer. Data that goes leaves the base last, so that one finishes the work.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from dvlite.errors import ConflictError, PathError
from dvlite.ops.discarded import discard
from dvlite.ops.looking import Looker
from dvlite.ops.outputs import refuse_outputs
from dvlite.ops.stepping import Rule, Step, Stepper, clear_scratch, plan_step
from dvlite.pipeline.naming import PIPELINE
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.gitignore import unignore
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path, pointer_path


@dataclass(frozen=True, slots=True)
class RmRequest:
    """What to stop tracking. `delete`: the data goes too; `force`: even its edits."""

    paths: tuple[str, ...]
    delete: bool = False
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Removed:
    """A path that is not tracked any more. `deleted`: its data is gone from the workspace;
    `left`: a folder stays, for files in it that never were data. `recover`: brings edits back."""

    path: str
    pointer: Pointer
    deleted: bool = False
    left: bool = False
    recover: str | None = None


def rm(project: Project, request: RmRequest, progress: Progress = silent) -> list[Removed]:
    """Stops tracking. With `delete` the data goes too, unless it has edits; with `force` those
    are kept in the cache first.

    Raises:
        PathError: a path that has no pointer of its own, or cannot be read. ConflictError: edits
        would be lost.
    """
    with project.lock():
        pointers = project.pointers(outputs=False)
        for path in request.paths:
            if path not in pointers and not path.endswith(SUFFIX):
                refuse_outputs(project, path, "untracked", f"take the stage out of {PIPELINE}")
        if request.delete:
            pointers = {**_begun(project, pointers, request.paths), **pointers}
        chosen = dict.fromkeys(_chosen(pointers, path) for path in request.paths)
        if not request.delete:
            if not request.dry_run:
                _forget(project, list(chosen))
                _untrack(project, list(chosen))
            return [Removed(path, pointers[path]) for path in chosen]
        return _rm_with_data(project, request, {path: pointers[path] for path in chosen}, progress)


def _begun(
    project: Project, pointers: dict[str, Pointer], paths: Sequence[str]
) -> dict[str, Pointer]:
    """What a deletion that was interrupted has left: no pointer, but the base knows the data."""
    base = project.base()
    known = {data_path(path) if path.endswith(SUFFIX) else path for path in paths} - pointers.keys()
    return {path: pointer for path in known if (pointer := base.get(path)) is not None}


def _rm_with_data(
    project: Project, request: RmRequest, pointers: dict[str, Pointer], progress: Progress
) -> list[Removed]:
    clear_scratch(project)
    looker = Looker(project, progress)
    edited: set[str] = set()
    named = set(project.pointers())
    steps = [
        _plan(looker, path, pointer, edited, partly=path not in named)
        for path, pointer in pointers.items()
    ]
    if edited and not request.force:
        raise ConflictError(
            f"{', '.join(sorted(edited))}: edits that are not added would be lost",
            "add them first, or delete them too: dvlite rm --delete --force",
        )
    here = {step.path for step in steps if step.here.pointer is not None}
    left: set[str] = set()
    recover: dict[str, str] = {}
    if not request.dry_run:
        recover = {one.path: one.id for one in discard(project, sorted(edited))}
        _untrack(project, list(pointers))
        stepper = Stepper(project, looker, progress)
        left = {step.path for step in steps if not _delete(project, stepper, step)}
        _forget(project, list(pointers))
    return [
        Removed(path, pointer, path in here - left, path in left, recover.get(path))
        for path, pointer in pointers.items()
    ]


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
    raise PathError(f"no pointer tracks {given or '.'}", "dvlite ls lists what is tracked")


def _plan(
    looker: Looker, path: str, pointer: Pointer, edited: set[str], partly: bool = False
) -> Step:
    """How to delete what is there; notes the path when it has edits. `partly`: some of it was
    deleted before an interruption, and that is no edit."""
    here = looker.look(path)
    if partly:
        step = plan_step(looker, here, None, [pointer], Rule())
        if not step.lost and not step.kept:
            return step
    known = [pointer, looker.project.base().get(path)]
    ours = [here.pointer] if here.pointer is not None else []
    if ours and not any(one and one.same_content(here.pointer) for one in known):
        edited.add(path)
    return plan_step(looker, here, None, ours, Rule())


def _untrack(project: Project, paths: Sequence[str]) -> None:
    """The pointer last: interrupted before, it is there, and the command works again."""
    ignoring: dict[str, None] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        unignore(project.absolute(folder), [name])
        ignoring[os.path.join(folder, ".gitignore")] = None
    present = [path for path in ignoring if os.path.exists(project.absolute(path))]
    gone = [pointer_path(path) for path in paths] + [one for one in ignoring if one not in present]
    project.repo.unstage([project.to_git(path) for path in gone])
    project.repo.stage([project.to_git(path) for path in present])
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(project.absolute(pointer_path(path)))


def _forget(project: Project, paths: Sequence[str]) -> None:
    project.save_base(project.base().updated(dict.fromkeys(paths)))
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(project.stat_index_path(path))


def _delete(project: Project, stepper: Stepper, step: Step) -> bool:
    """Deletes what dvlite knows, and folders that are empty then; whether all is gone."""
    stepper.run(step)
    absolute = os.fsencode(project.absolute(step.path))
    if not os.path.islink(absolute):
        for folder, _, _ in os.walk(absolute, topdown=False):
            with suppress(OSError):  # not empty
                os.rmdir(folder)
    return not os.path.lexists(absolute)
