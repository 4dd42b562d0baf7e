"""Outputs of stages, for commands that change pointers: they have none, the stage names them."""

from __future__ import annotations

import os

from dvlite.errors import PathError
from dvlite.pipeline.naming import LOCK, PIPELINE
from dvlite.pipeline.stage import Pipeline
from dvlite.project import Project


def load_pipeline(project: Project) -> Pipeline:
    """The pipeline of the work tree; one without stages where there is no dvlite.yaml.

    Raises:
        PipelineError: it is wrong.
    """
    from dvlite.pipeline import stagefile  # reading YAML costs 20 ms, and most projects have none

    return stagefile.load(lambda path: read_file(project, path))


def read_file(project: Project, path: str) -> bytes | None:
    """A file of the work tree at a project path; None where there is none."""
    try:
        with open(project.absolute(path), "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PathError(f"{path} cannot be read: {error.strerror}") from error


def outputs_of(project: Project) -> dict[str, str]:
    """Path -> stage, of all outputs that dvlite.yaml names; of what only dvlite.lock names, ""."""
    found = dict.fromkeys(project.outputs(), "")
    if os.path.lexists(project.absolute(PIPELINE)):
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
