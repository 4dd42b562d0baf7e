"""Which workload is made by what, and where its data is kept between runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bench import histories, pipelines, workloads

WORKLOADS: dict[str, Callable[[Path, float], None]] = {
    "small": workloads.small,
    "big": workloads.big,
    "table": workloads.table,
    "labels": workloads.labels,
    "tensors": workloads.tensors,
    "stages": pipelines.stages,
    "million": workloads.million,
    "versions": histories.versions,
    "checkpoints": histories.checkpoints,
}


def make(name: str, work: Path, scale: float) -> Path:
    """Return the folder of a workload, made now unless an earlier run made it."""
    folder = work / "data" / f"{name}-{scale:g}"
    if not folder.exists():
        making = folder.with_name(folder.name + ".making")
        shutil.rmtree(making, ignore_errors=True)
        WORKLOADS[name](making, scale)
        making.rename(folder)
    return folder
