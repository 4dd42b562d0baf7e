"""YAML that people write: values that know where they stand.

Owns what of YAML is accepted in `dvlite.yaml` and in files of parameters and metrics, and what
plain scalars mean: YAML 1.2's core schema, where `no` and `2024-01-01` are text. Anchors, aliases
and merge keys (`<<`) are understood, and count as often as they are used, so that no small file
becomes a large one (a "YAML bomb"). Built from the parser's events, because its composer follows
aliases without a bound.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from dvlite.errors import PipelineError

# 1,000 stages with 100 dependencies each have 4 MB and 110,000 values.
MAX_BYTES = 16 << 20
_MAX_VALUES = 2_000_000
# Long text counts as several values, so that one of 4 MB cannot be used 400,000 times.
_VALUE_CHARS = 64
_MAX_DEPTH = 64
_MAX_DIGITS = 400
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_STR = "tag:yaml.org,2002:str"
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_NUMBER = re.compile(r"[-+.0-9]")
_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")


@dataclass(slots=True)
class Node:
    """A value and its place: lines and columns count from 1. A scalar's text is as written;
    `plain` if it has no quotes. `places`: where each key of a mapping stands."""

    value: str | list[Node] | dict[str, Node]
    line: int
    column: int
    plain: bool = False
    count: int = 1
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


def parse_nodes(data: bytes, name: str) -> Node | None:
    """The document of a YAML file; None where there is none.

    Raises:
        PipelineError: with file, line and column.
    """
    if len(data) > MAX_BYTES:
        raise PipelineError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return _Parser(name).document(yaml.parse(data.decode("utf-8-sig"), Loader=_Loader))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PipelineError(f"{name}:{line}: this is not UTF-8 text") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark is not None else ""
        raise PipelineError(
            f"{name}{place}: this is not YAML: {getattr(error, 'problem', None) or error}"
        ) from error


def to_plain(node: Node | None) -> Any:
    """The value as Python has it: dicts, lists, text, numbers, booleans, None."""
    if node is None:
        return None
    value = node.value
    if isinstance(value, str):
        return scalar(value) if node.plain else value
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    return {key: to_plain(item) for key, item in value.items()}


def scalar(text: str) -> Any:
    """What a scalar without quotes means (YAML 1.2, core schema)."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _MAX_DIGITS or not _NUMBER.match(text):
        return text
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    return text


class _Parser:
    """Makes nodes of events."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.anchors: dict[str, Node] = {}
        self.count = 0

    def document(self, events: Iterator[Any]) -> Node | None:
        """The only document."""
        found: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if found is not None:
                    raise self._error(event, "a second document begins here")
                found = self._node(next(events), events, 0)
        return found

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        if depth > _MAX_DEPTH:
            raise self._error(event, "nested too deeply")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self._error(event, f"there is no anchor &{event.anchor} before this")
            node = self.anchors[event.anchor]
            self._tally(event, node.count)
            return node
        if getattr(event, "tag", None) not in (None, "!", _STR):
            raise self._error(event, f"the tag {event.tag!r} is not understood")
        mark = event.start_mark
        node = Node("", mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            node.value = str(event.value)
            node.count += len(node.value) // _VALUE_CHARS
            node.plain = bool(event.implicit[0])
            self._tally(event, node.count)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._tally(event, 1)
            self._sequence(node, events, depth)
        else:
            self._tally(event, 1)
            self._mapping(node, events, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _sequence(self, node: Node, events: Iterator[Any], depth: int) -> None:
        items: list[Node] = []
        while not isinstance(inner := next(events), yaml.SequenceEndEvent):
            item = self._node(inner, events, depth + 1)
            items.append(item)
            node.count += item.count
        node.value = items

    def _mapping(self, node: Node, events: Iterator[Any], depth: int) -> None:
        mapping: dict[str, Node] = {}
        merged: list[tuple[Any, Node]] = []
        while not isinstance(inner := next(events), yaml.MappingEndEvent):
            if not isinstance(inner, yaml.ScalarEvent):
                raise self._error(inner, "a key has to be text")
            key, value = str(inner.value), self._node(next(events), events, depth + 1)
            node.count += value.count + 1 + len(key) // _VALUE_CHARS
            if key == "<<" and inner.implicit[0]:
                merged.append((inner, value))
                continue
            if key in mapping:
                raise self._error(inner, f"{key!r} is given twice")
            mapping[key] = value
            node.places[key] = (inner.start_mark.line + 1, inner.start_mark.column + 1)
        for event, value in merged:
            self._merge(event, value, mapping, node)
        node.value = mapping

    def _merge(self, event: Any, value: Node, mapping: dict[str, Node], node: Node) -> None:
        """What `<<` brings; keys that are there stay."""
        for source in value.value if isinstance(value.value, list) else [value]:
            if not isinstance(source, Node) or not isinstance(source.value, dict):
                raise self._error(event, "<< takes a mapping, or a list of them")
            for key, item in source.value.items():
                if key not in mapping:
                    mapping[key] = item
                    node.places[key] = source.places[key]

    def _tally(self, event: Any, count: int) -> None:
        self.count += count
        if self.count > _MAX_VALUES:
            raise self._error(event, f"more than {_MAX_VALUES:,} values, aliases counted")

    def _error(self, event: Any, why: str) -> PipelineError:
        mark = event.start_mark
        return PipelineError(f"{self.name}:{mark.line + 1}:{mark.column + 1}: {why}")
