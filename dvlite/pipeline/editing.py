"""Adding a stage to the text of a `dvlite.yaml`, whose other lines and comments stay.

Owns where in the text a stage belongs. What comes out is read again by the caller: an edit that
did not do just what it should is never written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from dvlite.errors import PipelineError
from dvlite.pipeline.stagefile import FILE
from dvlite.pipeline.yamlnodes import Node, parse_nodes

_BY_HAND = "add the stage with an editor"


def with_stage(data: bytes | None, name: str, definition: Mapping[str, Any]) -> bytes:
    """The file with a stage at the end of `stages`, or in place of the one of that name.

    Raises:
        PipelineError: the file is no YAML, or its stages are written in a way that no line can be
        added to.
    """
    root = parse_nodes(data, FILE) if data is not None else None
    if data is None or root is None:
        return (data or b"") + _text("stages", {name: definition}, 0).encode()
    lines = data.decode("utf-8-sig").splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    if not isinstance(root.value, dict):
        raise PipelineError(f"{FILE}: this has to be a mapping", _BY_HAND)
    stages = root.value.get("stages")
    if stages is None:
        return ("".join(lines) + _text("stages", {name: definition}, 0)).encode()
    if not stages.value:
        return _begun(lines, root, name, definition)
    return _edited(lines, root, stages, name, definition)


def _begun(lines: list[str], root: Node, name: str, definition: Mapping[str, Any]) -> bytes:
    """`stages:` with nothing behind it."""
    line = root.places["stages"][0] - 1
    if lines[line].split("#")[0].strip() not in ("stages:", "stages: {}"):
        raise PipelineError(f"{FILE}:{line + 1}: nothing can be added here", _BY_HAND)
    lines[line] = lines[line].replace(" {}", "", 1)
    lines.insert(line + 1, _text(name, definition, 2))
    return "".join(lines).encode()


def _edited(
    lines: list[str], root: Node, stages: Node, name: str, definition: Mapping[str, Any]
) -> bytes:
    if not isinstance(stages.value, dict) or stages.line == root.places["stages"][0]:
        raise PipelineError(f"{FILE}:{stages.line}: the stages are in braces", _BY_HAND)
    starts = sorted(place[0] - 1 for place in stages.places.values())
    column = min(place[1] for place in stages.places.values()) - 1
    text = _text(name, definition, column)
    if name in stages.places:
        begin = stages.places[name][0] - 1
        later = [start for start in starts if start > begin]
        end = later[0] if later else _end(lines, begin + 1, column)
        while end > begin + 1 and not _says(lines[end - 1]):
            end -= 1
        lines[begin:end] = [text]
    else:
        at = _end(lines, starts[-1] + 1, column)
        lines.insert(at, text)
    return "".join(lines).encode()


def _end(lines: list[str], line: int, column: int) -> int:
    """Behind the last line that belongs to what began in `column` before `line`."""
    end = line
    while line < len(lines):
        indent = len(lines[line]) - len(lines[line].lstrip(" "))
        if _says(lines[line]) and indent <= column:
            break
        line += 1
        if _says(lines[line - 1]):
            end = line
    return end


def _says(line: str) -> bool:
    """Whether a line is more than a comment."""
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _text(key: str, value: Any, indent: int) -> str:
    text: str = yaml.safe_dump(
        {key: value}, sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20
    )
    return "".join(" " * indent + line for line in text.splitlines(keepends=True))
