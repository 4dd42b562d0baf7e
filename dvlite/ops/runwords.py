"""What `dvlite run` is asked, and what it tells: of each stage, and while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.ops.discarded import Discarded
from dvlite.ops.stagestate import Reason
from dvlite.pipeline.stage import Stage

What = Literal[
    "unchanged",
    "frozen",
    "restored",
    "ran",
    "accepted",
    "failed",
    "blocked",
    "declined",
    "would run",
]


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Which stages and how. `names` (none: all) with what they need, or `single`: without;
    `downstream`: with what needs them. `accept`: record the outputs that are there, run nothing.
    `trust_remote`: believe records of runs that came from remotes; without, as the setting
    `run.trust_remote` says. `environment`: of the commands, besides each stage's own."""

    names: tuple[str, ...] = ()
    jobs: int = 1
    force: bool = False
    single: bool = False
    downstream: bool = False
    dry_run: bool = False
    keep_going: bool = False
    keep_outputs: bool = False
    run_cache: bool = True
    trust_remote: bool = False
    accept: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage. `code`: of the command that failed, `lines` its last ones."""

    name: str
    what: What
    reasons: tuple[Reason, ...] = ()
    seconds: float = 0.0
    code: int = 0
    command: str = ""
    lines: tuple[str, ...] = ()
    log: str = ""
    error: DvliteError | None = None
    discarded: tuple[Discarded, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what goes on. `expects`: how many stages will be over; `heard`: what a stage
    writes, from any thread; `began`: before a stage runs; `over`: after each stage; `waits`:
    another dvlite runs it; `warns`: of a mistake in its definition; `asks`: whether to run it."""

    expects: Callable[[int], None] = lambda stages: None
    heard: Callable[[str, bytes], None] = lambda name, data: None
    began: Callable[[Stage, tuple[Reason, ...]], None] = lambda stage, reasons: None
    over: Callable[[StageResult], None] = lambda result: None
    waits: Callable[[str], None] = lambda name: None
    warns: Callable[[str, str], None] = lambda name, text: None
    asks: Callable[[Stage, tuple[Reason, ...]], bool] = lambda stage, reasons: True
