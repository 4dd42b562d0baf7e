"""`dvlite metrics show` and `dvlite metrics diff`: numbers that tell how good a model is."""

from __future__ import annotations

from dvlite.errors import PathError
from dvlite.ops.content import Reader
from dvlite.ops.values import Found, ValuesRequest, Wanted, is_nowhere, read_values
from dvlite.pipeline.stage import OutKind, Pipeline
from dvlite.progress import Progress, silent
from dvlite.project import Project


def metrics(project: Project, request: ValuesRequest, progress: Progress = silent) -> Found:
    """Reads the metrics of each view: of the files that were named, or that are declared there.

    Raises:
        PathError: nothing is declared, or a named file is nowhere.
    """
    found = read_values(project, request, _declared, progress)
    for path in request.targets:
        if is_nowhere(found, path):
            raise PathError(f"there is no {path} with values", "metrics are YAML, JSON or TOML")
    return found


def _declared(pipeline: Pipeline, reader: Reader) -> Wanted:
    outs = [out for stage in pipeline.stages.values() for out in stage.outs]
    own = [out.path for out in outs if out.kind == OutKind.METRIC]
    return {path: set() for path in (*pipeline.metrics, *own)}
