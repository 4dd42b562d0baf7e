"""`dvlite run`: stages in graph order, each only if something that it reads or made has changed.

Owns the order and what becomes of each stage; whether it has to run is `stagestate`'s, its
processes `stageprocess`'s, its outputs `stageoutputs`'s. The lockfile is written after each stage,
so whatever is interrupted goes on there.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from dvlite.errors import DvliteError, MissingError, PathError, RemoteError, UsageError
from dvlite.ops.atrevision import environment_of
from dvlite.ops.discarded import Discarded
from dvlite.ops.fetch import FetchRequest, fetch_named
from dvlite.ops.pipelines import load_pipeline
from dvlite.ops.roots import Named
from dvlite.ops.runcache import RunCache
from dvlite.ops.runwords import Listener, RunRequest, StageResult
from dvlite.ops.scripts import forgotten_scripts
from dvlite.ops.seeing import Seer
from dvlite.ops.stagelock import StageLock, try_stage
from dvlite.ops.stagelogs import new_log
from dvlite.ops.stageoutputs import (
    Recorder,
    make_folders,
    pointers_of,
    remove,
    remove_outputs,
)
from dvlite.ops.stageprocess import Ended, StageProcess, Work, stop
from dvlite.ops.stagestate import Examiner, Reason
from dvlite.pipeline.graph import Graph, select
from dvlite.pipeline.lockfile import LockedStage
from dvlite.pipeline.stage import Pipeline, Stage
from dvlite.pipeline.stagefile import FILE
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.pointer import SUFFIX, data_path

_BAD = frozenset(("failed", "blocked", "declined"))
# How often a stage that another dvlite runs is looked at again.
_AGAIN_S = 0.2


@dataclass(slots=True)
class _Running:
    stage: Stage
    inputs: LockedStage
    reasons: tuple[Reason, ...]
    lock: StageLock
    begun: float
    log: str
    process: StageProcess | None = None
    discarded: tuple[Discarded, ...] = ()


def run(
    project: Project,
    request: RunRequest,
    listener: Listener | None = None,
    progress: Progress = silent,
) -> list[StageResult]:
    """Runs what is to be run; one result a stage, in the order in which they ended.

    Raises:
        PipelineError: dvlite.yaml is wrong. MissingError: no such stage. LockError, StorageError:
        as for other commands. What is wrong with one stage is in its result.
    """
    pipeline = load_pipeline(project)
    graph = Graph.of(pipeline)
    names = chosen(pipeline, graph, request)
    _refuse_tracked(project, pipeline, names)
    return _Run(project, request, pipeline, graph, listener or Listener(), progress).run(names)


def chosen(pipeline: Pipeline, graph: Graph, request: RunRequest) -> list[str]:
    """The stages that a request means, needed ones first.

    Raises:
        MissingError: there are no stages, or none of that name.
    """
    if not pipeline.stages:
        raise MissingError("there are no stages here", f"{FILE} defines them: dvlite stage add")
    names = select(pipeline, request.names) if request.names else list(graph.order)
    if request.downstream:
        return graph.sorted(graph.descendants(names))
    return graph.sorted(names if request.single else graph.ancestors(names))


def _refuse_tracked(project: Project, pipeline: Pipeline, names: Iterable[str]) -> None:
    """An output cannot have a pointer too.

    Raises:
        PathError: naming both.
    """
    own = [data_path(path) for path in project.pointer_paths() if path.endswith(SUFFIX)]
    tracked = dict.fromkeys(own)
    for name in names:
        for out in pipeline.stages[name].outs:
            parts = out.path.split("/")
            above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
            found = next((path for path in above if path in tracked), None)
            found = found or next((one for one in own if one.startswith(out.path + "/")), None)
            if found is not None:
                raise PathError(
                    f"{out.path}, an output of {name}, is tracked on its own: {found}{SUFFIX}",
                    f"stop that first: dvlite rm {found}",
                )


class _Run:
    """One `dvlite run`."""

    def __init__(
        self,
        project: Project,
        request: RunRequest,
        pipeline: Pipeline,
        graph: Graph,
        listener: Listener,
        progress: Progress,
    ) -> None:
        self.project, self.request, self.pipeline = project, request, pipeline
        self.graph, self.listener, self.progress = graph, listener, progress
        self.seer = Seer(project, project.pointers(), progress)
        self.recorder = Recorder(project, self.seer)
        self.examiner = Examiner(project, self.seer)
        self.runs = RunCache(project)
        self.ended: queue.SimpleQueue[tuple[str, Ended]] = queue.SimpleQueue()
        self.running: dict[str, _Running] = {}
        self.results: dict[str, StageResult] = {}
        self.told: set[str] = set()
        self.stopping = False

    def run(self, names: Sequence[str]) -> list[StageResult]:
        """All of these."""
        waiting = dict.fromkeys(names)
        try:
            while waiting or self.running:
                for name in list(waiting):
                    if self._may_begin(name, waiting) and self._take(self.pipeline.stages[name]):
                        del waiting[name]
                if self.running:
                    self._wait()
                elif waiting and not any(self._may_begin(name, waiting) for name in waiting):
                    for name in list(waiting):  # after a failure
                        self._end(StageResult(name, "blocked"))
                        del waiting[name]
                elif waiting:  # another dvlite runs them
                    time.sleep(_AGAIN_S)
        except BaseException:
            self._abandon()
            raise
        finally:
            self.seer.done()
            if not self.request.dry_run:
                self.recorder.tell_git()
        return list(self.results.values())

    def _may_begin(self, name: str, waiting: Mapping[str, None]) -> bool:
        needed = self.graph.upstream[name]
        if any(other in waiting or other in self.running for other in needed):
            return False
        failed = any(other in self.results and self.results[other].what in _BAD for other in needed)
        if failed:
            return self.request.keep_going or not self.stopping
        return not self.stopping or self.request.keep_going

    # -- one stage ---------------------------------------------------------------------------------

    def _take(self, stage: Stage) -> bool:
        """Deals with a stage whose turn it is; whether that is done or under way."""
        needed = self.graph.upstream[stage.name]
        if any(one in self.results and self.results[one].what in _BAD for one in needed):
            self._end(StageResult(stage.name, "blocked"))
            return True
        try:
            return self._consider(stage, needed)
        except DvliteError as error:
            self._fail(StageResult(stage.name, "failed", error=error))
            return True

    def _consider(self, stage: Stage, needed: Iterable[str]) -> bool:
        if stage.frozen and not (self.request.force and stage.name in self.request.names):
            self._end(StageResult(stage.name, "frozen"))
            return True
        would = [one for one in needed if one in self.results and self._would(one)]
        if would:  # of a dry run: what it will read is not known
            self._end(StageResult(stage.name, "would run", (Reason("upstream", would[0]),)))
            return True
        inputs = self.examiner.inputs(stage)
        locked = self.recorder.lock().get(stage.name)
        reasons = tuple(self.examiner.reasons(stage, inputs, locked))
        if self.request.accept:
            return self._accept(stage, inputs, reasons)
        if self.request.force:
            reasons = (Reason("forced"), *reasons)
        if not reasons:
            self._end(StageResult(stage.name, "unchanged"))
            return True
        if self.request.dry_run:
            self._end(StageResult(stage.name, "would run", reasons))
            return True
        if self._restore(stage, inputs, reasons):
            return True
        if len(self.running) >= self.request.jobs:
            return False
        return self._begin(stage, inputs, reasons)

    def _would(self, name: str) -> bool:
        return self.results[name].what == "would run"

    def _accept(self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...]) -> bool:
        if not reasons:
            self._end(StageResult(stage.name, "unchanged"))
        elif self.request.dry_run:
            self._end(StageResult(stage.name, "would run", reasons))
        else:
            self.recorder.record(stage, inputs)
            self._end(StageResult(stage.name, "accepted", reasons))
        return True

    def _restore(self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...]) -> bool:
        """Brings back what the stage made when it read the same before."""
        if self.request.force or stage.always_changed or not self.request.run_cache:
            return False
        known = self.runs.find(stage, inputs)
        if known is None or not (self.recorder.can_restore(known) or self._fetch(stage, known)):
            return False
        discarded = self.recorder.restore(stage, known)
        self._forget(stage)
        self._end(StageResult(stage.name, "restored", reasons, discarded=tuple(discarded)))
        return True

    def _fetch(self, stage: Stage, known: LockedStage) -> bool:
        """Brings what a colleague's run made from a remote, if it is there."""
        wanted = [Named(path, one) for path, one in pointers_of(known.outs).items()]
        try:
            fetch_named(self.project, wanted, FetchRequest(), self.progress)
        except (MissingError, RemoteError, UsageError):
            return False
        return self.recorder.can_restore(known)

    def _begin(self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...]) -> bool:
        """Starts a stage's commands; False while another dvlite runs them."""
        lock = try_stage(self.project, stage.name)
        if lock is None:
            if stage.name not in self.told:
                self.told.add(stage.name)
                self.listener.waits(stage.name)
            return False
        try:
            locked = self.recorder.lock().get(stage.name)
            if stage.name in self.told and not self.request.force:  # it may have run there
                self.seer.forget(out.path for out in stage.outs)
                if not self.examiner.reasons(stage, inputs, locked):
                    lock.release()
                    self._end(StageResult(stage.name, "unchanged"))
                    return True
            if not self.listener.asks(stage, reasons):
                lock.release()
                self._end(StageResult(stage.name, "declined", reasons))
                return True
            self._start(stage, inputs, reasons, lock)
        except BaseException:
            if stage.name not in self.running:
                lock.release()
            raise
        return True

    def _start(
        self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...], lock: StageLock
    ) -> None:
        for script in forgotten_scripts(self.project, stage):
            self.listener.warns(stage.name, f"it runs {script}, which is not among its deps")
        discarded = remove_outputs(self.project, stage, lock.unfinished)
        make_folders(self.project, stage)
        folder = self.project.absolute(stage.wdir)
        if not os.path.isdir(folder):
            raise MissingError(f"there is no folder {stage.wdir}, the wdir of {stage.name}")
        env = {**self.request.environment, **environment_of(self.project, stage), **stage.env}
        log = new_log(self.project, stage.name)
        self.listener.began(stage, reasons)
        lock.begin()
        work = Work(stage.name, stage.commands, folder, env, log, lock.descriptor)
        process = StageProcess(
            work,
            self.listener.heard,
            lambda name, ended: self.ended.put((name, ended)),
            lock.note_process,
        )
        self.running[stage.name] = _Running(
            stage, inputs, reasons, lock, time.monotonic(), log, process, tuple(discarded)
        )
        process.start()

    # -- ends --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """For the next stage that ends."""
        try:
            name, ended = self.ended.get(timeout=_AGAIN_S)
        except queue.Empty:
            return
        one = self.running[name]
        result = self._finished(one, ended)
        del self.running[name]
        one.lock.finish()
        one.lock.release()
        if result.what in _BAD:
            self._fail(result)
        else:
            self._end(result)

    def _finished(self, one: _Running, ended: Ended) -> StageResult:
        """Takes up what a stage made, or takes it away where it failed."""
        seconds = time.monotonic() - one.begun
        self._forget(one.stage)
        about = StageResult(
            one.stage.name,
            "ran",
            one.reasons,
            seconds,
            ended.code,
            ended.command,
            ended.last_lines,
            one.log,
            None,
            one.discarded,
        )
        if ended.code == 0:
            try:
                self.runs.save(one.stage, self.recorder.record(one.stage, one.inputs))
                self._forget(one.stage)
                return about
            except DvliteError as error:
                about = replace(about, error=error)
        self._clear(one.stage)
        return replace(about, what="failed")

    def _clear(self, stage: Stage) -> None:
        """Removes what a failed stage left, unless it is to be kept."""
        if self.request.keep_outputs:
            return
        for out in stage.outs:
            if not out.persist:
                with suppress(PathError):
                    remove(self.project, out.path)
        self._forget(stage)

    def _forget(self, stage: Stage) -> None:
        paths = [out.path for out in stage.outs]
        self.seer.forget(paths)
        self.examiner.forget_params(paths)

    def _fail(self, result: StageResult) -> None:
        self.stopping = True
        self._end(result)

    def _end(self, result: StageResult) -> None:
        self.results[result.name] = result
        self.listener.over(result)

    def _abandon(self) -> None:
        """After Ctrl-C: nothing runs on, and what is unfinished goes."""
        processes = [one.process for one in self.running.values() if one.process is not None]
        stop(processes)
        for one in self.running.values():
            self._clear(one.stage)
            one.lock.finish()
            one.lock.release()
        self.running.clear()
