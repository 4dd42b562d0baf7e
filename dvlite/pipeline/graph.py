"""Which stage needs which: the graph of a pipeline.

A stage comes after another if it reads what that one makes: the same path, a file inside an
output, or a folder that holds one. Parameters can be made by stages too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dvlite.errors import MissingError, PipelineError
from dvlite.pipeline.stage import Pipeline, Stage


@dataclass(frozen=True, slots=True)
class Graph:
    """`upstream`: the stages that each one needs; `downstream`: those that need it. `order`: all of
    them, needed ones first, else as in the file. `makers`: which stage makes each output."""

    order: tuple[str, ...]
    upstream: Mapping[str, tuple[str, ...]]
    downstream: Mapping[str, tuple[str, ...]]
    makers: Mapping[str, str]

    @staticmethod
    def of(pipeline: Pipeline) -> Graph:
        """The graph of all stages.

        Raises:
            PipelineError: stages that need each other; the message names them.
        """
        makers = {out.path: stage.name for stage in pipeline.stages.values() for out in stage.outs}
        folders = _folders(makers)
        upstream = {
            name: tuple(dict.fromkeys(_needed(stage, makers, folders)))
            for name, stage in pipeline.stages.items()
        }
        downstream: dict[str, list[str]] = {name: [] for name in upstream}
        for name, needed in upstream.items():
            for other in needed:
                downstream[other].append(name)
        order = _order(upstream, pipeline.stages)
        below = {name: tuple(others) for name, others in downstream.items()}
        return Graph(order, upstream, below, makers)

    def ancestors(self, names: Iterable[str]) -> set[str]:
        """The stages that these need, and these."""
        return _reach(names, self.upstream)

    def descendants(self, names: Iterable[str]) -> set[str]:
        """The stages that need these, and these."""
        return _reach(names, self.downstream)

    def sorted(self, names: Iterable[str]) -> list[str]:
        """Some of the stages, needed ones first."""
        chosen = set(names)
        return [name for name in self.order if name in chosen]


def select(pipeline: Pipeline, targets: Iterable[str]) -> list[str]:
    """The stages that targets mean: a stage's name, a matrix' name (all its cells), or an output.

    Raises:
        MissingError: a target that is none of these.
    """
    makers = {out.path: name for name, stage in pipeline.stages.items() for out in stage.outs}
    chosen: dict[str, None] = {}
    for target in targets:
        cells = [name for name in pipeline.stages if name.startswith(target + "@")]
        if target in pipeline.stages:
            chosen[target] = None
        elif cells:
            chosen.update(dict.fromkeys(cells))
        elif target in makers:
            chosen[makers[target]] = None
        else:
            raise MissingError(
                f"no stage and no output of one is named {target}", "dvlite stage list"
            )
    return list(chosen)


def _folders(makers: Mapping[str, str]) -> dict[str, list[str]]:
    """The folders above outputs, and which stages make what is in them."""
    found: dict[str, list[str]] = {}
    for path, name in makers.items():
        for above in _above(path):
            found.setdefault(above, []).append(name)
    return found


def _above(path: str) -> Iterator[str]:
    end = path.rfind("/")
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)


def _needed(
    stage: Stage, makers: Mapping[str, str], folders: Mapping[str, list[str]]
) -> Iterator[str]:
    paths = [dep.path for dep in stage.deps if not dep.revision]
    paths += [param.file for param in stage.params]
    for path in paths:
        if path in makers:
            yield makers[path]
            continue
        yield from folders.get(path, ())
        for above in _above(path):
            if above in makers:
                yield makers[above]


def _order(upstream: Mapping[str, tuple[str, ...]], stages: Mapping[str, Stage]) -> tuple[str, ...]:
    """Depth first and without recursion: chains of thousands of stages occur."""
    done: dict[str, None] = {}
    for first in upstream:
        path: dict[str, Iterator[str]] = {}
        if first not in done:
            path[first] = iter(upstream[first])
        while path:
            name = next(reversed(path))
            other = next((one for one in path[name] if one not in done), None)
            if other is None:
                path.pop(name)
                done[name] = None
            elif other in path:
                _refuse_cycle(list(path), other, stages)
            else:
                path[other] = iter(upstream[other])
    return tuple(done)


def _refuse_cycle(path: list[str], name: str, stages: Mapping[str, Stage]) -> None:
    cycle = [*path[path.index(name) :], name]
    if len(cycle) == 2:
        raise PipelineError(
            f"dvlite.yaml:{stages[name].line}: {name} depends on what it makes itself"
        )
    # the walk goes from a stage to what it needs
    raise PipelineError(
        f"dvlite.yaml:{stages[name].line}: stages depend on each other: {' <- '.join(cycle)}",
        "one of them has to do without the other's outputs",
    )


def _reach(names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    found = set(names)
    waiting = list(found)
    while waiting:
        for other in edges[waiting.pop()]:
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found
