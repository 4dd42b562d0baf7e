"""The graph of a pipeline as it is drawn: boxes and arrows.

Owns what is shown: the cells of a large matrix as one box, unless they are asked for, and the files
between stages if they are. Drawn as text by `dagtext`, as a picture by `dagsvg`; Mermaid and DOT
are written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dvlite.pipeline.graph import Graph
from dvlite.pipeline.stage import Pipeline

# More cells than these are one box.
_CELLS = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A stage, several cells of one (`count`), or a file. `about`: what a tooltip says."""

    name: str
    count: int = 1
    is_file: bool = False
    about: str = ""

    @property
    def label(self) -> str:
        """What it is called in a drawing."""
        return f"{self.name} ({self.count} cells)" if self.count > 1 else self.name


@dataclass(frozen=True, slots=True)
class Dag:
    """Boxes, each after those that it needs; `needs`: for each, the numbers of those."""

    boxes: tuple[Box, ...]
    needs: tuple[tuple[int, ...], ...]


def draw_dag(
    pipeline: Pipeline, graph: Graph, names: Sequence[str], *, files: bool, cells: bool
) -> Dag:
    """What is to be drawn of these stages, which are in order."""
    groups = {name: name if cells else _matrix(name) for name in names}
    sizes: dict[str, int] = {}
    for group in groups.values():
        sizes[group] = sizes.get(group, 0) + 1
    shown = {name: group if sizes[group] > _CELLS else name for name, group in groups.items()}
    edges: dict[str, dict[str, None]] = {shown[name]: {} for name in names}
    boxes = {
        shown[name]: Box(
            shown[name],
            sizes[groups[name]] if shown[name] != name else 1,
            about=pipeline.stages[name].desc or pipeline.stages[name].commands[0],
        )
        for name in names
    }
    if files:
        _add_files(pipeline, names, shown, boxes, edges)
    else:
        for name in names:
            for other in graph.upstream[name]:
                if other in shown and shown[other] != shown[name]:
                    edges[shown[name]][shown[other]] = None
    order = list(_sorted(edges))
    numbers = {name: number for number, name in enumerate(order)}
    needs = tuple(tuple(sorted(numbers[one] for one in edges[name])) for name in order)
    return Dag(tuple(boxes[name] for name in order), needs)


def _matrix(name: str) -> str:
    return name.partition("@")[0]


def _add_files(
    pipeline: Pipeline,
    names: Iterable[str],
    shown: Mapping[str, str],
    boxes: dict[str, Box],
    edges: dict[str, dict[str, None]],
) -> None:
    """Files as boxes of their own; `path:` cannot be a stage's name."""
    made = {out.path for name in names for out in pipeline.stages[name].outs}
    for name in names:
        stage = pipeline.stages[name]
        for path in dict.fromkeys(
            [*(dep.path for dep in stage.deps), *(param.file for param in stage.params)]
        ):
            boxes.setdefault(f"path:{path}", Box(path, is_file=True))
            edges.setdefault(f"path:{path}", {})
            edges[shown[name]][f"path:{path}"] = None
            for other in made:
                if path.startswith(other + "/") or other.startswith(path + "/"):
                    edges[f"path:{path}"][f"path:{other}"] = None
        for out in stage.outs:
            boxes.setdefault(f"path:{out.path}", Box(out.path, is_file=True, about=out.desc))
            edges.setdefault(f"path:{out.path}", {})[shown[name]] = None


def _sorted(edges: Mapping[str, Mapping[str, None]]) -> Iterator[str]:
    """Needed ones first. Cells that are one box can make a cycle of boxes that is none of stages:
    its last edge is then drawn backwards."""
    done: set[str] = set()
    for first in edges:
        path: dict[str, Iterator[str]] = {first: iter(edges[first])} if first not in done else {}
        while path:
            name = next(reversed(path))
            other = next((one for one in path[name] if one not in done and one not in path), None)
            if other is None:
                path.pop(name)
                done.add(name)
                yield name
            else:
                path[other] = iter(edges[other])


def mermaid(dag: Dag) -> str:
    """For Markdown pages of GitHub, GitLab and others."""
    lines = ["flowchart TD"]
    for number, box in enumerate(dag.boxes):
        text = "".join(c if c.isalnum() or c in " _-./(),@" else f"#{ord(c)};" for c in box.label)
        lines.append(f'    n{number}(["{text}"])' if box.is_file else f'    n{number}["{text}"]')
    lines += [f"    n{other} --> n{number}" for other, number in _arrows(dag)]
    return "\n".join(lines) + "\n"


def dot(dag: Dag) -> str:
    """For Graphviz."""
    lines = ["digraph pipeline {", "    node [shape=box, style=rounded];"]
    for number, box in enumerate(dag.boxes):
        shape = ", shape=note" if box.is_file else ""
        lines.append(f"    n{number} [label={json.dumps(box.label)}{shape}];")
    lines += [f"    n{other} -> n{number};" for other, number in _arrows(dag)]
    return "\n".join([*lines, "}"]) + "\n"


def _arrows(dag: Dag) -> Iterator[tuple[int, int]]:
    for number, needed in enumerate(dag.needs):
        for other in needed:
            yield other, number
