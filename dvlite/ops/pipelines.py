"""The pipeline of a workspace or a revision, and showing it.

Owns where the files of a pipeline are read from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dvlite.errors import MissingError, PathError
from dvlite.pipeline.dag import Dag, draw_dag
from dvlite.pipeline.graph import Graph, select
from dvlite.pipeline.params import MAX_BYTES
from dvlite.pipeline.stage import Pipeline
from dvlite.pipeline.stagefile import FILE, load
from dvlite.project import Project


@dataclass(frozen=True, slots=True)
class DagRequest:
    """What to draw: these stages or outputs and all that they need (none: all stages), and whether
    with the files between them, and the cells of each matrix."""

    targets: tuple[str, ...] = ()
    revision: str = ""
    files: bool = False
    cells: bool = False


def load_pipeline(project: Project, revision: str = "") -> Pipeline:
    """The pipeline of the workspace, or of a revision.

    Raises:
        PipelineError: `dvlite.yaml`, or a file that it names, is wrong. MissingError: no such
        revision.
    """
    if not revision:
        return load(lambda path: read_file(project, path))
    commit = project.repo.resolve(revision)
    return load(lambda path: project.repo.read_file(commit, project.to_git(path)))


def stages(project: Project, targets: Sequence[str] = (), revision: str = "") -> Pipeline:
    """The stages that targets mean, in the order of `dvlite.yaml`; all where none are named.

    Raises:
        MissingError: a target that is no stage; or there is no pipeline.
    """
    pipeline = load_pipeline(project, revision)
    if not targets:
        return pipeline
    chosen = set(select(pipeline, targets))
    return Pipeline({name: one for name, one in pipeline.stages.items() if name in chosen})


def dag(project: Project, request: DagRequest) -> Dag:
    """The graph of a pipeline, to be drawn.

    Raises:
        MissingError: there is no pipeline, or no such stage.
    """
    pipeline = load_pipeline(project, request.revision)
    if not pipeline.stages:
        where = f"at {request.revision}" if request.revision else "here"
        raise MissingError(f"there are no stages {where}", f"{FILE} defines them; dvlite stage add")
    graph = Graph.of(pipeline)
    names = select(pipeline, request.targets) if request.targets else graph.order
    chosen = graph.sorted(graph.ancestors(names))
    return draw_dag(pipeline, graph, chosen, files=request.files, cells=request.cells)


def read_file(project: Project, path: str) -> bytes | None:
    """A file of the workspace, no more of it than anybody may read; None: there is none.

    Raises:
        PathError: it cannot be read.
    """
    try:
        with open(project.absolute(path), "rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise PathError(f"{path} cannot be read: {error.strerror}") from error
