"""`dvlite params diff`: parameters that differ between revisions."""

from __future__ import annotations

from dvlite.errors import PathError
from dvlite.ops.content import Reader
from dvlite.ops.values import Found, ValuesRequest, Wanted, is_nowhere, read_values
from dvlite.pipeline.stage import Param, Pipeline
from dvlite.pipeline.stagefile import DEFAULT_PARAMS
from dvlite.progress import Progress, silent
from dvlite.project import Project


def params(project: Project, request: ValuesRequest, progress: Progress = silent) -> Found:
    """Reads the parameters of each view: those that its stages name, or all of the named files.
    Where no stage names any, all of `params.yaml`.

    Raises:
        PathError: a named file is nowhere.
    """
    found = read_values(project, request, _declared, progress)
    for path in request.targets:
        if is_nowhere(found, path):
            raise PathError(
                f"there is no {path} with parameters", "they are YAML, JSON, TOML or Python"
            )
    return found


def _declared(pipeline: Pipeline, reader: Reader) -> Wanted:
    wanted: Wanted = {}
    named = [one for stage in pipeline.stages.values() for one in stage.params]
    every = (*pipeline.params, *named) or (Param(DEFAULT_PARAMS),)
    whole = {one.file for one in every if not one.keys}
    for one in every:
        wanted.setdefault(one.file, set()).update(() if one.file in whole else one.keys)
    return wanted
