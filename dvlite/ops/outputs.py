"""Outputs of stages, for commands that change pointers: they have none, the stage names them."""

from __future__ import annotations

import os

from dvlite.errors import PathError
from dvlite.pipeline.naming import LOCK, PIPELINE
from dvlite.project import Project


def outputs_of(project: Project) -> dict[str, str]:
    """Path -> stage, of all outputs that dvlite.yaml names; of what only dvlite.lock names, ""."""
    found = dict.fromkeys(project.outputs(), "")
    if os.path.lexists(project.absolute(PIPELINE)):
        from dvlite.ops.pipelines import load_pipeline  # YAML: most projects have none

        for stage in load_pipeline(project).stages.values():
            found |= {out.path: stage.name for out in stage.outs}
    return found


def refuse_outputs(project: Project, path: str, what: str, hint: str) -> None:
    """Refuses a path that a stage makes, or that lies in or holds such.

    Raises:
        PathError: naming the stage.
    """
    if not project.has_pipeline():
        return
    for out, stage in outputs_of(project).items():
        if path == out or path.startswith(out + "/") or out.startswith(path + "/"):
            of = f"the stage {stage}" if stage else f"a stage, as {LOCK} says"
            where = f"it is in {out}," if path.startswith(out + "/") else f"it holds {out},"
            where = "it is" if path == out else where
            raise PathError(f"{path} cannot be {what}: {where} an output of {of}", hint)
