"""A stage at work: what is known of it from its start to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dvlite.errors import DvliteError
from dvlite.ops.discarded import Discarded
from dvlite.ops.runwords import StageResult
from dvlite.ops.stagelock import StageLock
from dvlite.ops.stageprocess import Ended, StageProcess
from dvlite.ops.stagestate import Reason
from dvlite.pipeline.lockfile import LockedStage
from dvlite.pipeline.stage import Stage


@dataclass(slots=True)
class Running:
    """`inputs`: what it read when it began, at `begun` (monotonic seconds); `discarded`: edits of
    its outputs that went."""

    stage: Stage
    inputs: LockedStage
    reasons: tuple[Reason, ...]
    lock: StageLock
    begun: float
    log: str
    process: StageProcess
    discarded: tuple[Discarded, ...] = ()

    def changed(self, known: LockedStage) -> list[str]:
        """The names of inputs that `known`, what it has read for sure, lacks."""
        deps = {(dep.path, dep.revision) for dep in known.deps}
        params = {(param.file, param.key) for param in known.params}
        names = {dep.path for dep in self.inputs.deps if (dep.path, dep.revision) not in deps}
        for param in self.inputs.params:
            if (param.file, param.key) not in params:
                names.add(f"{param.file}:{param.key}" if param.key else param.file)
        return sorted(names)

    def result(self, ended: Ended, error: DvliteError | None) -> StageResult:
        """What became of it; `error`: why what it made could not be taken up."""
        return StageResult(
            self.stage.name,
            "ran" if ended.code == 0 and error is None else "failed",
            self.reasons,
            time.monotonic() - self.begun,
            ended.code,
            ended.command,
            ended.last_lines,
            self.log,
            error,
            self.discarded,
        )
