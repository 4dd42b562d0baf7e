"""`dvlite reproduce --rerun`: the pipeline of a past commit runs again, and what comes of it is
compared with what the commit says came of it then.

Owns the comparing. It all happens in the folder that `reproduce` restored.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError, MissingError
from dvlite.gitrepo import GitRepo
from dvlite.ops.pipelines import load_pipeline
from dvlite.ops.reproduce import ReproduceResult
from dvlite.ops.run import run
from dvlite.ops.runwords import Listener, RunRequest, StageResult
from dvlite.ops.stageoutputs import remove
from dvlite.ops.stepping import refuse_behind_link
from dvlite.pipeline import lockfile
from dvlite.pipeline.differing import MAX_BYTES, Difference, difference
from dvlite.pipeline.graph import select
from dvlite.pipeline.lockfile import LockedFile, LockedStage
from dvlite.pipeline.stage import Pipeline
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import walk

What = Literal["identical", "different", "missing", "new", "not run"]


@dataclass(frozen=True, slots=True)
class RerunRequest:
    """Which stages (none: all), how many at once, and in which environment."""

    stages: tuple[str, ...] = ()
    jobs: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compared:
    """An output, or a file of one. Sizes are None where there is none."""

    stage: str
    path: str
    what: What
    old_size: int | None = None
    size: int | None = None
    difference: Difference = field(default_factory=Difference)


@dataclass(slots=True)
class RerunResult:
    """What ran, and how it compares; of a folder that differs, the files that do."""

    stages: list[StageResult]
    outputs: list[Compared] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Whether all ran, and all came out as it did then."""
        ran = all(one.what == "ran" for one in self.stages)
        return ran and all(one.what == "identical" for one in self.outputs)


def rerun(
    project: Project,
    restored: ReproduceResult,
    request: RerunRequest,
    listener: Listener | None = None,
    progress: Progress = silent,
) -> RerunResult:
    """Runs the pipeline in the restored folder, from scratch.

    Raises:
        MissingError: the commit has no pipeline, or no record of what came of it.
    """
    root = os.path.join(restored.folder, project.to_git("")).rstrip("/")
    there = Project.at(GitRepo.discover(restored.folder), root, project.cache_folder)
    recorded = _lock(there)
    if recorded is None:
        raise MissingError(
            f"{restored.commit.short} has no dvlite.lock: nothing tells what came of its stages",
            "it has to be committed with dvlite.yaml after dvlite run",
        )
    pipeline = load_pipeline(there)
    thawed = [stage.name for stage in pipeline.stages.values() if not stage.frozen]
    names = select(pipeline, request.stages) if request.stages else thawed
    _begin_from_scratch(there, pipeline, names)
    wanted = RunRequest(
        tuple(names),
        request.jobs,
        force=True,
        single=True,
        keep_going=True,
        run_cache=False,
        environment=request.environment,
    )
    result = RerunResult(run(there, wanted, listener, progress))
    now = _lock(there) or {}
    ran = {one.name for one in result.stages if one.what == "ran"}
    for name in names:
        if name in recorded:
            new = now.get(name) if name in ran else None
            result.outputs += _compare_stage(
                there, restored.commit.hash, (recorded[name], new), name
            )
    return result


def _begin_from_scratch(project: Project, pipeline: Pipeline, names: Iterable[str]) -> None:
    """Removes what commands would go on with: it is what came of them, not what they began with."""
    for name in names:
        for out in pipeline.stages[name].outs:
            if out.persist:
                refuse_behind_link(project, out.path)
                remove(project, out.path)


def _lock(project: Project) -> dict[str, LockedStage] | None:
    data = project.read_lock()
    return None if data is None else lockfile.parse(data)


def _compare_stage(
    project: Project, commit: str, both: tuple[LockedStage, LockedStage | None], name: str
) -> Iterable[Compared]:
    old, new = both
    made = {one.path: one for one in new.outs} if new is not None else {}
    for one in old.outs:
        other = made.get(one.path)
        if other is None:
            yield Compared(name, one.path, "missing", one.size)
        elif one.same_content(other):
            yield Compared(name, one.path, "identical", one.size, other.size)
        elif one.kind == other.kind == "tree" and one.cached:
            yield from _compare_trees(project.cache(), one, other, name)
        else:
            before = _content(project, commit, one)
            after = _read(project.absolute(one.path))
            apart = _apart(before, after, one.path)
            yield Compared(name, one.path, "different", one.size, other.size, apart)


def _apart(old: bytes | None, new: bytes | None, path: str) -> Difference:
    if old is None or new is None:
        return Difference("its content is not here to be compared")
    return difference(old, new, path)


def _content(project: Project, commit: str, one: LockedFile) -> bytes | None:
    """What an output was then."""
    if one.kind == "tree" or one.size > MAX_BYTES:
        return None
    if not one.cached:
        return project.repo.read_file(commit, project.to_git(one.path))
    return _cached(project.cache(), one.oid)


def _cached(cache: Cache, oid: bytes) -> bytes | None:
    try:
        return cache.read(oid)
    except DvliteError:
        return None


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_BYTES else None


def _compare_trees(
    cache: Cache, old: LockedFile, new: LockedFile, stage: str
) -> Iterable[Compared]:
    before, after = _files(cache, old.oid), _files(cache, new.oid)
    for path in sorted(before.keys() | after.keys()):
        one, other = before.get(path), after.get(path)
        label = f"{old.path}/{os.fsdecode(path)}"
        if other is None:
            assert one is not None
            yield Compared(stage, label, "missing", one.size)
        elif one is None:
            yield Compared(stage, label, "new", None, other.size)
        elif (one.oid, one.kind) != (other.oid, other.kind):
            apart = Difference("too large to be compared by their values")
            if max(one.size, other.size) <= MAX_BYTES:
                apart = _apart(_cached(cache, one.oid), _cached(cache, other.oid), label)
            yield Compared(stage, label, "different", one.size, other.size, apart)


def _files(cache: Cache, oid: bytes) -> dict[bytes, Entry]:
    return {path: entry for path, entry in walk(cache.read_tree, oid) if entry.kind < Kind.TREE}
