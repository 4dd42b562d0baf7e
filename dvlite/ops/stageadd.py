"""`dvlite stage add`: a stage goes into `dvlite.yaml`, the rest of which stays as it is."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dvlite.atomic import publish
from dvlite.errors import ConflictError, PathError, PipelineError, UsageError
from dvlite.ops.pipelines import read_file
from dvlite.pipeline.editing import with_stage
from dvlite.pipeline.graph import Graph
from dvlite.pipeline.stage import OutKind, Pipeline
from dvlite.pipeline.stagefile import DEFAULT_PARAMS, FILE, load
from dvlite.project import Project
from dvlite.workspace.pointer import covering


@dataclass(frozen=True, slots=True)
class NewOut:
    """An output as the user names it, seen from the stage's `wdir`."""

    path: str
    kind: OutKind = OutKind.DATA
    cached: bool = True
    persist: bool = False


@dataclass(frozen=True, slots=True)
class NewStage:
    """What to add; paths as seen from `wdir`. `params`: `key,key` of params.yaml, or `FILE:key`, or
    `FILE:` for all of a file. `force`: replace the stage of that name."""

    name: str
    commands: tuple[str, ...]
    deps: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    outs: tuple[NewOut, ...] = ()
    wdir: str = ""
    desc: str = ""
    env: tuple[tuple[str, str], ...] = ()
    always_changed: bool = False
    force: bool = False


def add_stage(project: Project, new: NewStage) -> Pipeline:
    """Writes the stage and stages `dvlite.yaml` in git; the pipeline as it is then.

    Raises:
        ConflictError: there is a stage of that name. PipelineError: it does not fit to the others,
        or the file's layout leaves no room for it. PathError: an output is tracked already.
    """
    with project.lock():
        data = read_file(project, FILE)
        before = load(lambda path: read_file(project, path))
        if new.name in before.stages and not new.force:
            raise ConflictError(f"there is a stage {new.name} already", "replace it: --force")
        after_data = with_stage(data, new.name, _definition(new))
        after = load(lambda path: after_data if path == FILE else read_file(project, path))
        Graph.of(after)
        _check_others(before, after, new.name)
        _check_outs(project, after, new.name)
        publish(project.absolute(FILE), after_data)
        project.repo.stage([project.to_git(FILE)])
        return after


def _definition(new: NewStage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if new.desc:
        found["desc"] = new.desc
    if not new.commands:
        raise UsageError("a stage needs a command", "dvlite stage add NAME -d DEP -o OUT COMMAND")
    found["cmd"] = new.commands[0] if len(new.commands) == 1 else list(new.commands)
    if new.wdir:
        found["wdir"] = new.wdir
    if new.deps:
        found["deps"] = list(new.deps)
    if new.params:
        found["params"] = _params(new.params)
    for key, kind in (("outs", OutKind.DATA), ("metrics", OutKind.METRIC), ("plots", OutKind.PLOT)):
        outs = [_out(out) for out in new.outs if out.kind is kind]
        if outs:
            found[key] = outs
    if new.env:
        found["env"] = dict(new.env)
    if new.always_changed:
        found["always_changed"] = True
    return found


def _params(given: Sequence[str]) -> list[Any]:
    files: dict[str, list[str]] = {}
    for text in given:
        file, colon, keys = text.rpartition(":")
        wanted = [key for key in keys.split(",") if key]
        files.setdefault(file if colon else "", []).extend(wanted)
    own = [key for name in ("", DEFAULT_PARAMS) for key in files.get(name, ())]
    others = [
        {file: keys or None}
        for file, keys in files.items()
        if file and (file != DEFAULT_PARAMS or not keys)
    ]
    return [*own, *others]


def _out(out: NewOut) -> Any:
    options: dict[str, bool] = {}
    if not out.cached:
        options["cache"] = False
    if out.persist:
        options["persist"] = True
    return {out.path: options} if options else out.path


def _check_others(before: Pipeline, after: Pipeline, name: str) -> None:
    """The edit may have changed one stage only."""
    mine = [one for one in after.stages if one == name or one.startswith(name + "@")]
    for other, stage in before.stages.items():
        if other == name or other.startswith(name + "@"):
            continue
        now = after.stages.get(other)
        if now is None or _without_line(now) != _without_line(stage):
            mine = []
    if not mine:
        raise PipelineError(f"{FILE} is written in a way that this cannot edit", "use an editor")


def _without_line(stage: Any) -> tuple[Any, ...]:
    return tuple(getattr(stage, key) for key in stage.__slots__ if key != "line")


def _check_outs(project: Project, pipeline: Pipeline, name: str) -> None:
    """No output may be tracked on its own, or be git's."""
    pointers = project.pointers()
    for out in pipeline.stages[name].outs:
        cover = covering(pointers, out.path)
        inside = [path for path in pointers if path.startswith(out.path + "/")]
        tracked = cover[0] if cover else inside[0] if inside else None
        if tracked is not None and os.path.lexists(project.absolute(tracked + ".dvl")):
            raise PathError(
                f"{out.path} cannot be an output: {tracked} is tracked on its own",
                f"stop that first: dvlite rm {tracked}",
            )
        if out.cached and project.repo.tracked([project.to_git(out.path)]):
            raise PathError(
                f"{out.path} cannot be an output that dvlite keeps: git tracks it",
                f"git rm --cached {posixpath.join(out.path)}, or let git keep it (cache: false)",
            )
