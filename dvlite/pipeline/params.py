"""Files of parameters and metrics: YAML, JSON, TOML and Python, read as plain values.

Owns what each kind means, and dotted keys. Python is read by its syntax tree and never run:
constants, lists, dicts and what is computed from nothing else, at the top or in classes.
"""

from __future__ import annotations

import ast
import datetime
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

from dvlite.errors import PipelineError
from dvlite.pipeline.yamlnodes import parse_nodes, to_plain

MAX_BYTES = 16 << 20
_MAX_DEPTH = 64
_INDEX = re.compile(r"\[(-?[0-9]{1,9})\]")
_Missing = object()


class NoSuchKeyError(KeyError):
    """A file of parameters has no such key; `args[0]` is the key."""


def read_params(data: bytes, path: str) -> Any:
    """What a file says, as dicts, lists, text, numbers, booleans and None; the kind by its suffix
    (anything else is read as YAML).

    Raises:
        PipelineError: it cannot be read; with its line where that is known.
    """
    if len(data) > MAX_BYTES:
        raise PipelineError(f"{path} is larger than {MAX_BYTES >> 20} MiB")
    suffix = path.rpartition(".")[2].lower()
    try:
        if suffix == "json":
            return _checked(json.loads(data), path)
        if suffix == "toml":
            return _checked(_toml(data), path)
        if suffix == "py":
            return _checked(_python(data, path), path)
    except RecursionError as error:
        raise PipelineError(f"{path} is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path} is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise PipelineError(
            f"{path}:{error.lineno}:{error.colno}: this is not JSON: {error.msg}"
        ) from error
    except ValueError as error:  # TOML's, and numbers of thousands of digits
        raise PipelineError(f"{path} cannot be read: {error}") from error
    return to_plain(parse_nodes(data, path))


def split_key(key: str) -> list[str]:
    """`a.b[0].c` as its parts."""
    return [part for part in _INDEX.sub(r".\1", key).split(".") if part]


def lookup(tree: Any, key: str) -> Any:
    """The value of a dotted key; a key that holds dots itself is found as well.

    Raises:
        NoSuchKeyError: there is none.
    """
    if isinstance(tree, dict) and key in tree:
        return tree[key]
    found = _walk(tree, split_key(key))
    if found is _Missing:
        raise NoSuchKeyError(key)
    return found


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf; lists of scalars, and what is empty, count as one."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(tree, list) and any(isinstance(item, dict | list) for item in tree):
        for number, value in enumerate(tree):
            yield from flatten(value, f"{prefix}.{number}" if prefix else str(number))
    else:
        yield prefix, tree


def _walk(tree: Any, parts: list[str]) -> Any:
    if not parts:
        return tree
    if isinstance(tree, dict):
        for count in range(1, len(parts) + 1):
            head = ".".join(parts[:count])
            if head in tree:
                found = _walk(tree[head], parts[count:])
                if found is not _Missing:
                    return found
    if isinstance(tree, list) and re.fullmatch(r"-?[0-9]+", parts[0]):
        number = int(parts[0])
        if -len(tree) <= number < len(tree):
            return _walk(tree[number], parts[1:])
    return _Missing


def _checked(value: Any, path: str, depth: int = 0) -> Any:
    """Only what JSON has: keys are text, dates become text."""
    if depth > _MAX_DEPTH:
        raise PipelineError(f"{path} is nested too deeply")
    if isinstance(value, dict):
        return {str(key): _checked(item, path, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_checked(item, path, depth + 1) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return value


def _toml(data: bytes) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))


# -- Python ----------------------------------------------------------------------------------------


def _python(data: bytes, path: str) -> dict[str, Any]:
    try:
        return _body(ast.parse(data).body)
    except (SyntaxError, MemoryError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise PipelineError(f"{path}{line}: this is not Python: {error}") from error


def _body(statements: list[ast.stmt]) -> dict[str, Any]:
    """What is assigned at the top, in classes, and to `self` in their `__init__`."""
    found: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            found[statement.name] = _body(statement.body)
        elif isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            found.update(_body(statement.body))
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                _assign(found, target, statement.value)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            _assign(found, statement.target, statement.value)
    return found


def _assign(found: dict[str, Any], target: ast.expr, value: ast.expr) -> None:
    if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
        name = target.attr if target.value.id == "self" else ""
    else:
        name = target.id if isinstance(target, ast.Name) else ""
    constant = _constant(value) if name else _Missing
    if constant is not _Missing:
        found[name] = constant


def _constant(value: ast.expr) -> Any:
    """The value of an expression that needs nothing to be run; `_Missing` for any other."""
    try:
        constant = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError):
        return _Missing
    return _to_json(constant)


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        items = {str(key): _to_json(item) for key, item in value.items()}
        return _Missing if any(item is _Missing for item in items.values()) else items
    if isinstance(value, list | tuple | set):
        ordered = sorted(value, key=repr) if isinstance(value, set) else value
        found = [_to_json(item) for item in ordered]
        return _Missing if any(item is _Missing for item in found) else found
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else _Missing
