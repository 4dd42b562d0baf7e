"""`dvlite run`: stages in graph order, each only if something that it reads or made has changed.

Owns the order and what becomes of each stage; whether it has to run is `stagestate`'s, its
processes `stageprocess`'s, its outputs `stageoutputs`'s. The lockfile is written after each stage,
so whatever is interrupted goes on there.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from dvlite.errors import DvliteError, MissingError, PathError, RemoteError, UsageError
from dvlite.ops.atrevision import environment_of
from dvlite.ops.fetch import FetchRequest, fetch_named
from dvlite.ops.pipelines import load_pipeline
from dvlite.ops.recorder import Recorded, Recorder
from dvlite.ops.roots import Named
from dvlite.ops.runcache import RunCache
from dvlite.ops.runchoice import chosen, refuse_absent, refuse_tracked
from dvlite.ops.running import Running
from dvlite.ops.runwords import Listener, RunRequest, StageResult
from dvlite.ops.scripts import forgotten_scripts
from dvlite.ops.seeing import Seer
from dvlite.ops.stagelock import StageLock, is_held, stop_leftovers, try_stage
from dvlite.ops.stagelogs import StageLogs
from dvlite.ops.stageoutputs import (
    free_outputs,
    make_folders,
    pointers_of,
    remove,
    remove_outputs,
)
from dvlite.ops.stageprocess import Ended, StageProcess, Work, stop
from dvlite.ops.stagestate import Examiner, Reason
from dvlite.ops.stepping import refuse_behind_link
from dvlite.ops.turns import Turns
from dvlite.pipeline.graph import Graph
from dvlite.pipeline.lockfile import LockedStage
from dvlite.pipeline.stage import Pipeline, Stage
from dvlite.progress import Progress, silent
from dvlite.project import Project

_BAD = frozenset(("failed", "blocked", "declined"))
# How often a stage that another dvlite runs is looked at again.
_AGAIN_S = 0.2
_KEPT = "what it made is still there; when that is mended: dvlite run --accept"


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
    refuse_tracked(project, pipeline, names)
    return _Run(project, request, pipeline, graph, listener or Listener(), progress).run(names)


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
        trusts = request.trust_remote or bool(project.config.get("run.trust_remote"))
        self.runs = RunCache(project, trusts)
        self.ended: queue.SimpleQueue[tuple[str, Ended]] = queue.SimpleQueue()
        self.running: dict[str, Running] = {}
        self.results: dict[str, StageResult] = {}
        self.turns = Turns((), {})
        self.logs: StageLogs | None = None
        self.told: set[str] = set()
        self.waited: set[str] = set()
        self.again: set[str] = set()
        self.stopped: set[str] = set()
        self.stopping = False

    def run(self, names: Sequence[str]) -> list[StageResult]:
        """All of these."""
        self.turns = Turns(names, self.graph.upstream)
        self.listener.expects(len(names))
        if not self.request.dry_run:
            self._stop_leftovers()
            self.recorder.settle(self.pipeline)
        try:
            while True:
                self._begin_all()
                if self.running:
                    self._wait()
                elif self._is_halted() or not self.turns.rest():
                    break
                else:  # another dvlite runs them
                    time.sleep(_AGAIN_S)
                self.turns.again()
            for name in self.turns.rest():  # after a failure
                self._end(StageResult(name, "blocked"))
        except BaseException:
            self._abandon()
            raise
        finally:
            self.seer.done()
            if not self.request.dry_run:
                self.recorder.tell_git()
        return list(self.results.values())

    def _is_halted(self) -> bool:
        """After a failure nothing new begins, unless that is asked for."""
        return self.stopping and not self.request.keep_going

    def _begin_all(self) -> None:
        """Deals with stages until nothing more can begin."""
        while not self._is_halted() and len(self.running) < self.request.jobs:
            name = self.turns.take()
            if name is None:
                return
            if not self._take(self.pipeline.stages[name]):
                self.turns.put_back(name)

    def _stop_leftovers(self) -> None:
        """What a killed dvlite left running would write while others read."""
        for name in stop_leftovers(self.project, self.pipeline.stages):
            self.stopped.add(name)
            self.listener.warns(name, "what a killed dvlite run left running was stopped")

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
            busy = None if self.request.dry_run else self._busy_beside(stage.name)
            if busy is not None:  # it may be making what is missing
                return self._wait_for(stage, busy)
            if stage.name in self.waited:
                self.waited.discard(stage.name)
                self._forget_all(stage)
                return False
            self._fail(StageResult(stage.name, "failed", error=error))
            return True

    def _consider(self, stage: Stage, needed: Iterable[str]) -> bool:
        if stage.frozen and not (self.request.force and stage.name in self.request.names):
            self._end(StageResult(stage.name, "frozen"))
            return True
        if any(self._would(one) for one in needed):
            self._end(StageResult(stage.name, "would run", tuple(self._foresee(stage, needed))))
            return True
        inputs = self.examiner.inputs(stage)
        locked = self.recorder.lock().get(stage.name)
        reasons = tuple(self.examiner.reasons(stage, inputs, locked))
        if self.request.force:
            reasons = (Reason("forced"), *reasons)
        if not reasons:
            self._end(StageResult(stage.name, "unchanged"))
        elif self.request.dry_run:
            self._end(StageResult(stage.name, "would run", reasons))
        else:
            return self._make(stage, inputs, reasons, locked)
        return True

    def _foresee(self, stage: Stage, needed: Iterable[str]) -> Iterator[Reason]:
        """Why a stage would run after others; what these will make is not known."""
        yield from (Reason("upstream", one) for one in needed if self._would(one))
        locked = self.recorder.lock().get(stage.name)
        made = {path for path, name in self.graph.makers.items() if self._would(name)}
        yield from self.examiner.reasons_apart(stage, locked, made)

    def _would(self, name: str) -> bool:
        return name in self.results and self.results[name].what == "would run"

    def _make(
        self,
        stage: Stage,
        inputs: LockedStage,
        reasons: tuple[Reason, ...],
        locked: LockedStage | None,
    ) -> bool:
        """Makes the outputs of a stage be there, in one way or another; False while another dvlite
        is at it, or at a stage whose outputs this one reads, or which reads its."""
        lock = try_stage(self.project, stage.name)
        if lock is None:
            return self._wait_for(stage, stage.name)
        busy = self._busy_beside(stage.name)
        if busy is not None:
            lock.release()
            return self._wait_for(stage, busy)
        if stage.name in self.waited or self.recorder.lock().get(stage.name) != locked:
            lock.release()  # what is there now tells whether it is still to be run
            self.waited.discard(stage.name)
            self._forget_all(stage)
            return False
        if lock.stopped:
            self.stopped.add(stage.name)
        try:
            now = self._inputs_now(stage)
            if now != inputs and stage.name not in self.again:
                self.again.add(stage.name)  # the reasons are others; once, for it may go on so
                return False
            self._make_locked(stage, now, reasons, lock)
        finally:
            if stage.name not in self.running:
                lock.release()
        return True

    def _inputs_now(self, stage: Stage) -> LockedStage:
        """What a stage reads at this moment: what this run saw of it may be hours old."""
        self._forget_all(stage)
        return self.examiner.inputs(stage)

    def _wait_for(self, stage: Stage, busy: str) -> bool:
        """Puts a stage off, because another dvlite is at one."""
        self.waited.add(stage.name)
        if busy not in self.told:
            self.told.add(busy)
            self.listener.waits(busy)
        return False

    def _busy_beside(self, name: str) -> str | None:
        """A stage that another dvlite is at, and that shares files with this one. Both take their
        own lock first, so that of two at least one sees the other."""
        others = (*self.graph.upstream[name], *self.graph.downstream[name])
        return next(
            (one for one in others if one not in self.running and is_held(self.project, one)), None
        )

    def _make_locked(
        self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...], lock: StageLock
    ) -> None:
        if self.request.accept:
            self._accept(stage, inputs, reasons)
        elif not self._restore(stage, inputs, reasons):
            if self.listener.asks(stage, reasons):
                self._start(stage, inputs, reasons, lock)
            else:
                self._end(StageResult(stage.name, "declined", reasons))

    def _accept(self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...]) -> None:
        [recorded] = self.recorder.record([(stage, inputs)])
        if isinstance(recorded, DvliteError):
            raise recorded
        self._end(StageResult(stage.name, "accepted", reasons))

    def _restore(self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...]) -> bool:
        """Brings back what the stage made when it read the same before."""
        if self.request.force or stage.always_changed or not self.request.run_cache:
            return False
        persistent = [self.project.absolute(out.path) for out in stage.outs if out.persist]
        if any(map(os.path.lexists, persistent)):
            return False  # it goes on with them: what it reads does not tell what comes of it
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

    def _start(
        self, stage: Stage, inputs: LockedStage, reasons: tuple[Reason, ...], lock: StageLock
    ) -> None:
        for script in forgotten_scripts(self.project, stage):
            self.listener.warns(stage.name, f"it runs {script}, which is not among its deps")
        refuse_absent(self.project, stage)
        env = {**self.request.environment, **environment_of(self.project, stage), **stage.env}
        known = self.recorder.lock().get(stage.name)
        discarded = remove_outputs(self.project, stage, known, stage.name not in self.stopped)
        free_outputs(self.project, stage)
        make_folders(self.project, stage)
        folder = self.project.absolute(stage.wdir)
        if not os.path.isdir(folder):
            raise MissingError(f"there is no folder {stage.wdir}, the wdir of {stage.name}")
        self.logs = self.logs or StageLogs(self.project)
        log = self.logs.new(stage.name)
        self.listener.began(stage, reasons)
        lock.begin()
        work = Work(stage.name, stage.commands, folder, env, log, lock.descriptor)
        process = StageProcess(
            work,
            self.listener.heard,
            lambda name, ended: self.ended.put((name, ended)),
        )
        self.running[stage.name] = Running(
            stage, inputs, reasons, lock, time.monotonic(), log, process, tuple(discarded)
        )
        process.start()

    # -- ends --------------------------------------------------------------------------------------

    def _wait(self) -> None:
        """For the next stage that ends, and all that have ended with it."""
        with suppress(queue.Empty):
            ended = [self.ended.get(timeout=_AGAIN_S)]
            with suppress(queue.Empty):
                while True:
                    ended.append(self.ended.get_nowait())
            self._finish([(self.running[name], one) for name, one in ended])

    def _finish(self, done: Sequence[tuple[Running, Ended]]) -> None:
        """Takes up what stages made, or takes it away where they failed."""
        for one, _ in done:
            self._forget_all(one.stage)
        well = [(one.stage, self._read_by(one)) for one, ended in done if ended.code == 0]
        found = self._record(well)
        recorded = {stage.name: new for (stage, _), new in zip(well, found, strict=True)}
        for one, ended in done:
            new = recorded.get(one.stage.name)
            error = new if isinstance(new, DvliteError) else None
            if error is not None:
                error.hint = error.hint or _KEPT
            elif not isinstance(new, LockedStage):
                self._clear(one.stage)
            elif not one.changed(new):
                self.runs.save(one.stage, new)
            del self.running[one.stage.name]
            one.lock.finish()
            one.lock.release()
            result = one.result(ended, error)
            (self._fail if result.what == "failed" else self._end)(result)

    def _record(self, well: Sequence[tuple[Stage, LockedStage]]) -> Sequence[Recorded]:
        """What ended well, taken up; that this fails is no reason to stop what runs beside it."""
        try:
            return self.recorder.record(well) if well else []
        except DvliteError as error:
            return [error] * len(well)

    def _read_by(self, one: Running) -> LockedStage:
        """What a stage has read for sure: of what changed while it ran, nobody knows which of both.
        What is not recorded makes it run again, and is no record of a run."""
        known = self.examiner.unchanged(one.stage, one.inputs)
        changed = one.changed(known)
        if changed:
            text = f"{', '.join(changed)} changed while it ran: it is to run again"
            self.listener.warns(one.stage.name, text)
        return known

    def _clear(self, stage: Stage) -> None:
        """Removes what a failed stage left, unless it is to be kept."""
        if self.request.keep_outputs:
            return
        for out in stage.outs:
            if not out.persist:
                with suppress(PathError):
                    refuse_behind_link(self.project, out.path)  # the command may have made one
                    remove(self.project, out.path)
        self._forget(stage)

    def _forget_all(self, stage: Stage) -> None:
        """Also what it reads: another dvlite may be making that."""
        self._forget(stage)
        paths = [dep.path for dep in stage.deps if not dep.revision]
        self.seer.forget(paths)
        self.examiner.forget_params([*paths, *(param.file for param in stage.params)])

    def _forget(self, stage: Stage) -> None:
        paths = [out.path for out in stage.outs]
        self.seer.forget(paths)
        self.examiner.forget_params(paths)

    def _fail(self, result: StageResult) -> None:
        self.stopping = True
        self._end(result)

    def _end(self, result: StageResult) -> None:
        self.results[result.name] = result
        self.turns.end(result.name)
        self.listener.over(result)

    def _abandon(self) -> None:
        """After Ctrl-C: nothing runs on, and what is unfinished goes."""
        stop([one.process for one in self.running.values()])
        for one in self.running.values():
            if not one.process.ended_well:  # else only recording it is left: dvlite run --accept
                self._clear(one.stage)
            one.lock.finish()
            one.lock.release()
        self.running.clear()
