"""The words of a pipeline: stages, what they read and what they make.

Owns the types that the parts of the pipeline share. A stage here is complete: templates are
filled in, every cell of a matrix is a stage of its own, and paths are project paths (relative to
the project's folder, `/` between names, no `.` or `..`), whatever `wdir` is. Reading `dvlite.yaml`
is `stagefile`'s, running stages is `ops.run`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class OutKind(Enum):
    """What an output is for: data, numbers that tell how good the model is, or points to draw."""

    DATA = "out"
    METRIC = "metric"
    PLOT = "plot"


@dataclass(frozen=True, slots=True)
class Dep:
    """A file or folder that a stage reads. `revision`: as it was at that revision of this
    repository ("" for the workspace)."""

    path: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Param:
    """Parameters that a stage reads: these keys (dotted) of a YAML, JSON, TOML or Python file, or,
    with no keys, all of it."""

    file: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Out:
    """A file or folder that a stage makes. `cached`: kept by dvlite, else by git. `persist`: not
    removed before the stage runs again. `options`: how a plot is drawn, as the user wrote it."""

    path: str
    kind: OutKind = OutKind.DATA
    cached: bool = True
    persist: bool = False
    desc: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step. `name` is unique (`train`, or `train@CELL` of a matrix); `commands` run one after
    the other in `wdir` ("" for the project's folder), with `env` added to the environment.
    `line` is where `dvlite.yaml` defines it."""

    name: str
    commands: tuple[str, ...]
    wdir: str = ""
    deps: tuple[Dep, ...] = ()
    params: tuple[Param, ...] = ()
    outs: tuple[Out, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    desc: str = ""
    frozen: bool = False
    always_changed: bool = False
    line: int = 0


@dataclass(frozen=True, slots=True)
class PlotSpec:
    """A plot that the pipeline defines apart from its stages. `path` is the data file; `options`
    as the user wrote them (x, y, template, title …)."""

    name: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All of `dvlite.yaml`: stages by name in the order of the file, and beside them plots, files
    of metrics, and parameters."""

    stages: Mapping[str, Stage] = field(default_factory=dict)
    plots: tuple[PlotSpec, ...] = ()
    metrics: tuple[str, ...] = ()
    params: tuple[Param, ...] = ()
