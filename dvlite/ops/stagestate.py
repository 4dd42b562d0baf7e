"""Whether a stage is up to date: what it reads and has made now, against what `dvlite.lock` says.

Owns the reasons to run one. Nothing is changed here, and nothing that has not changed is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

from dvlite.errors import DvliteError, MissingError, PathError
from dvlite.ops.atrevision import seen_at
from dvlite.ops.pipelines import read_file
from dvlite.ops.seeing import Seen, Seer
from dvlite.pipeline.lockfile import LockedFile, LockedParam, LockedStage
from dvlite.pipeline.params import lookup, read_params
from dvlite.pipeline.stage import Dep, Stage
from dvlite.project import Project

Why = Literal[
    "new", "command", "dependency", "parameter", "output", "always", "forced", "upstream", "missing"
]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a stage is to run. `name`: the file, the parameter, or the stage before it; `old` and
    `new`: values of parameters and commands, else what happened to it."""

    why: Why
    name: str = ""
    old: Any = None
    new: Any = None


class Examiner:
    """Compares stages with the lockfile; files and parameters are read once."""

    def __init__(self, project: Project, seer: Seer) -> None:
        self.project, self.seer = project, seer
        self._params: dict[str, tuple[bytes, Any]] = {}
        self._before: dict[str, tuple[bytes, Any]] = {}

    def inputs(self, stage: Stage) -> LockedStage:
        """What a stage reads now, as the lockfile would have it, without outputs.

        Raises:
            MissingError: a dependency or a parameter that is not there.
        """
        return LockedStage(
            commands=stage.commands,
            wdir=stage.wdir,
            env=dict(stage.env),
            deps=tuple(sorted((self._dep(stage, dep) for dep in stage.deps), key=_key)),
            params=tuple(sorted(self._locked_params(stage), key=lambda one: (one.file, one.key))),
        )

    def reasons(
        self, stage: Stage, inputs: LockedStage, locked: LockedStage | None
    ) -> list[Reason]:
        """Why a stage is to run; none where it is up to date."""
        if locked is None:
            return [Reason("new")]
        found = [Reason("always")] if stage.always_changed else []
        found += _changed_words(inputs, locked)
        found += _changed_deps(inputs, locked)
        found += _changed_params(inputs, locked)
        found += self._changed_outs(stage, locked)
        return found

    def reasons_apart(
        self, stage: Stage, locked: LockedStage | None, unknown: Collection[str]
    ) -> list[Reason]:
        """Why a stage is to run whatever is at some paths, which other stages are to make."""
        if locked is None:
            return [Reason("new")]
        known = replace(
            stage,
            deps=tuple(dep for dep in stage.deps if not _is_of(dep.path, unknown)),
            params=tuple(one for one in stage.params if not _is_of(one.file, unknown)),
        )
        before = replace(
            locked,
            deps=tuple(one for one in locked.deps if not _is_of(one.path, unknown)),
            params=tuple(one for one in locked.params if not _is_of(one.file, unknown)),
        )
        return self.reasons(known, self.inputs(known), before)

    def unchanged(self, stage: Stage, inputs: LockedStage) -> LockedStage:
        """Those inputs that are now as they were when a stage began."""
        deps = []
        for dep in stage.deps:
            with suppress(DvliteError, OSError):
                deps.append(self._dep(stage, dep))
        params: list[LockedParam] = []
        for param in stage.params:
            for key in param.keys or ("",):
                one = replace(param, keys=(key,) if key else ())
                with suppress(DvliteError, OSError):
                    params += self._locked_params(replace(stage, params=(one,)))
        now = {_key(dep): dep for dep in deps}
        values = {(one.file, one.key): one.value for one in params}
        return replace(
            inputs,
            deps=tuple(dep for dep in inputs.deps if _is_like(dep, now.get(_key(dep)))),
            params=tuple(
                one
                for one in inputs.params
                if _is_same(values.get((one.file, one.key), _NONE), one.value)
            ),
        )

    def forget_params(self, paths: Iterable[str]) -> None:
        """Looks at these files again: a stage may make the parameters of the next."""
        for path in paths:
            if path in self._params:
                self._before[path] = self._params.pop(path)

    # -- what it reads -----------------------------------------------------------------------------

    def _dep(self, stage: Stage, dep: Dep) -> LockedFile:
        seen = seen_at(self.project, dep) if dep.revision else self.seer.see(dep.path)
        if seen is None:
            raise MissingError(
                f"the stage {stage.name} reads {dep.path}, which is not there",
                f"correct the path in dvlite.yaml, or bring it: dvlite pull {dep.path}",
            )
        return item_of(dep.path, seen, revision=dep.revision)

    def _locked_params(self, stage: Stage) -> Iterator[LockedParam]:
        for param in stage.params:
            tree = self._read(stage, param.file)
            if not param.keys:
                yield LockedParam(param.file, "", tree)
            for key in param.keys:
                try:
                    yield LockedParam(param.file, key, lookup(tree, key))
                except (KeyError, LookupError) as error:
                    raise MissingError(
                        f"the stage {stage.name} reads the parameter {key}, which {param.file} "
                        "does not have",
                        f"add it to {param.file}, or correct dvlite.yaml",
                    ) from error

    def _read(self, stage: Stage, path: str) -> Any:
        if path not in self._params:
            data = read_file(self.project, path)
            if data is None:
                raise MissingError(
                    f"the stage {stage.name} reads parameters of {path}, which is not there",
                    f"make it, or correct dvlite.yaml (line {stage.line})",
                )
            before = self._before.pop(path, None)
            if before is not None and before[0] == data:  # as most are, and reading costs more
                self._params[path] = before
            else:
                self._params[path] = (data, read_params(data, path))
        return self._params[path][1]

    # -- what it made ------------------------------------------------------------------------------

    def _changed_outs(self, stage: Stage, locked: LockedStage) -> Iterator[Reason]:
        before = {one.path: one for one in locked.outs}
        for out in stage.outs:
            known = before.pop(out.path, None)
            if known is None:
                yield Reason("output", out.path, new="added")
            elif known.cached != out.cached:
                yield Reason(
                    "output", out.path, new="kept by dvlite" if out.cached else "kept by git"
                )
            else:
                yield from self._changed_out(known)
        for path in before:
            yield Reason("output", path, new="not of the stage any more")

    def _changed_out(self, known: LockedFile) -> Iterator[Reason]:
        try:
            seen = self.seer.see(known.path)
        except (PathError, DvliteError) as error:
            yield Reason("output", known.path, new=str(error))
            return
        if seen is None or not os.path.lexists(self.project.absolute(known.path)):
            yield Reason("output", known.path, new="absent")
        elif (seen.kind, seen.oid) != (known.kind, known.oid):
            yield Reason("output", known.path, new="changed")


def item_of(path: str, seen: Seen, cached: bool = True, revision: str = "") -> LockedFile:
    """What is at a path, as the lockfile has it."""
    return LockedFile(
        path=path,
        kind=seen.kind,
        oid=seen.oid,
        size=seen.size,
        files=seen.files,
        executable=seen.executable,
        cached=cached,
        revision=revision,
    )


def _is_like(one: LockedFile, other: LockedFile | None) -> bool:
    """Whether a dependency is no reason to run again."""
    return other is not None and (one.kind, one.oid) == (other.kind, other.oid)


def _key(item: LockedFile) -> tuple[str, str]:
    return item.path, item.revision


def _changed_words(inputs: LockedStage, locked: LockedStage) -> Iterator[Reason]:
    if tuple(inputs.commands) != tuple(locked.commands):
        yield Reason("command", "", list(locked.commands), list(inputs.commands))
    if inputs.wdir != locked.wdir:
        yield Reason("command", "wdir", locked.wdir, inputs.wdir)
    names = sorted({*inputs.env, *locked.env})
    for name in names:
        if inputs.env.get(name) != locked.env.get(name):
            yield Reason("command", name, locked.env.get(name), inputs.env.get(name))


def _changed_deps(inputs: LockedStage, locked: LockedStage) -> Iterator[Reason]:
    if inputs.deps == locked.deps:
        return
    before = {_key(one): one for one in locked.deps}
    for one in inputs.deps:
        known = before.pop(_key(one), None)
        if known is None:
            yield Reason("dependency", one.path, new="added")
        elif not _is_like(one, known):
            yield Reason("dependency", one.path, new="changed")
    for path, _ in before:
        yield Reason("dependency", path, new="not of the stage any more")


def _changed_params(inputs: LockedStage, locked: LockedStage) -> Iterator[Reason]:
    before = {(one.file, one.key): one.value for one in locked.params}
    now = {(one.file, one.key): one.value for one in inputs.params}
    for file, key in sorted({*before, *now}):
        if not _is_same(before.get((file, key), _NONE), now.get((file, key), _NONE)):
            old, new = before.get((file, key)), now.get((file, key))
            yield Reason("parameter", f"{file}:{key}", old, new)


_NONE = object()


def _is_same(old: Any, new: Any) -> bool:
    """Whether two values are written alike, as the key of a run has it. Python takes 1, 1.0 and
    True for the same, which a command need not, and one NaN for another."""
    if type(old) is type(new) and isinstance(old, str | int | None):
        return bool(old == new)
    if old is _NONE or new is _NONE:
        return old is new
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def _is_of(path: str, others: Collection[str]) -> bool:
    """Whether a path is one of others, inside one, or holds one."""
    return any(
        path == one or path.startswith(one + "/") or one.startswith(path + "/") for one in others
    )
