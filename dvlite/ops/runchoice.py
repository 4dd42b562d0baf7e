"""Which stages a run is about, and what is refused before one runs."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dvlite.errors import MissingError, PathError
from dvlite.ops.runwords import RunRequest
from dvlite.pipeline.graph import Graph, select
from dvlite.pipeline.stage import Pipeline, Stage
from dvlite.pipeline.stagefile import FILE
from dvlite.project import Project
from dvlite.workspace.pointer import SUFFIX, data_path


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


def refuse_tracked(project: Project, pipeline: Pipeline, names: Iterable[str]) -> None:
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


def refuse_absent(project: Project, stage: Stage) -> None:
    """What is not checked out is known by its pointer, but commands read files.

    Raises:
        MissingError: a dependency is not in the workspace.
    """
    for dep in stage.deps:
        if not dep.revision and not os.path.lexists(project.absolute(dep.path)):
            raise MissingError(
                f"the stage {stage.name} reads {dep.path}, which is not in the workspace",
                f"bring it: dvlite pull {dep.path}",
            )
