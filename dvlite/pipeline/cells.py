"""The cells of a `matrix`, and its `foreach` form: one definition, many stages.

Owns which stages a definition makes and how they are named. A cell of a matrix is named by its
values, `train@cnn-0.1`; a value that is a mapping or a list by its name and number, `train@opt0`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from dvlite.pipeline.templating import Scope
from dvlite.pipeline.yamlnodes import Node

_MAX_CELLS = 10_000
_MAX_NAME = 200


def cells(
    scope: Scope, name: str, node: Node, keys: Mapping[str, Node]
) -> tuple[Node, list[tuple[str, Scope]]]:
    """What defines the stage, and every stage that it makes with the names that hold there.

    Raises:
        PipelineError: a matrix that is none, or too large.
    """
    if "foreach" in keys or "do" in keys:
        for key in keys:
            if key not in ("foreach", "do"):
                raise scope.error(keys[key], f"{key} stands beside foreach: put it into do")
        if len(keys) < 2:
            raise scope.error(node, "foreach and do belong together")
        return keys["do"], list(_foreach(scope, name, keys["foreach"]))
    if "matrix" in keys:
        return node, list(_matrix(scope, name, keys["matrix"]))
    return node, [(name, scope)]


def _foreach(scope: Scope, name: str, node: Node) -> Iterator[tuple[str, Scope]]:
    items = scope.value(node)
    if isinstance(items, dict):
        _check_count(scope, node, len(items))
        for key, item in items.items():
            yield _named(scope, node, name, key), scope.having(key=key, item=item)
    elif isinstance(items, list):
        _check_count(scope, node, len(items))
        plain = not any(isinstance(item, dict | list) for item in items)
        for number, item in enumerate(items):
            word = _word(item) if plain else str(number)
            yield _named(scope, node, name, word), scope.having(key=number, item=item)
    else:
        raise scope.error(node, "foreach takes a list or a mapping")


def _matrix(scope: Scope, name: str, node: Node) -> Iterator[tuple[str, Scope]]:
    axes = scope.value(node)
    if not isinstance(axes, dict) or not axes:
        raise scope.error(node, "a matrix is a mapping of names to lists of values")
    count = 1
    for axis, values in axes.items():
        if not isinstance(values, list) or not values:
            raise scope.error(node, f"the values of {axis} have to be a list that is not empty")
        count *= len(values)
        _check_count(scope, node, count)
    numbered = [list(enumerate(values)) for values in axes.values()]
    for cell in product(*numbered):
        item = dict(zip(axes, (value for _, value in cell), strict=True))
        words = [
            f"{axis}{number}" if isinstance(value, dict | list) else _word(value)
            for axis, (number, value) in zip(axes, cell, strict=True)
        ]
        key = "-".join(words)
        yield _named(scope, node, name, key), scope.having(key=key, item=item)


def _check_count(scope: Scope, node: Node, count: int) -> None:
    if count > _MAX_CELLS:
        raise scope.error(node, f"this makes more than {_MAX_CELLS:,} stages")


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _named(scope: Scope, node: Node, name: str, key: str) -> str:
    full = f"{name}@{key}"
    if not full.isprintable() or " " in full or len(full) > _MAX_NAME or not key:
        raise scope.error(
            node,
            f"{full[:60]!r} cannot name a stage: blanks, or more than {_MAX_NAME} characters",
            "make it a mapping of short names to the values (foreach), or a list of mappings",
        )
    return full
