"""YAML from a repository: hostile input, read as text and nothing else.

Owns what of YAML is accepted: mappings, lists and scalars. Every scalar is a `str` as it is
written, so that a folder named `no` stays one (YAML 1.1 would make it a boolean) and a hash of
digits no number. Anchors, aliases, tags, keys that occur twice, several documents, deep nesting
and large files are refused. Built from the parser's events, because its composer follows aliases.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from dvlite.errors import CorruptError

# A lockfile of 20,000 outputs has 4 MB.
MAX_BYTES = 16 << 20
# DVC's own files nest 5 deep; dvc.yaml, whose vars are the user's, rarely more than 10.
_MAX_DEPTH = 32
# What PyYAML's C parser says from 6.0.4 on.
_TOO_DEEP = "maximum nesting depth"
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parse_yaml(data: bytes, name: str) -> Any:
    """The document as dicts, lists and strings; None where there is none.

    Raises:
        CorruptError: it is no YAML, or more than is accepted.
    """
    if len(data) > MAX_BYTES:
        raise CorruptError(f"{name} is larger than {MAX_BYTES >> 20} MiB")
    try:
        events = iter(yaml.parse(data.decode("utf-8"), Loader=_Loader))
        return _document(events, name)
    except UnicodeDecodeError as error:
        raise CorruptError(f"{name} is not UTF-8 text") from error
    except yaml.YAMLError as error:
        if _TOO_DEEP in str(error):  # a parser that has a limit of its own
            raise CorruptError(f"{name} is nested too deeply") from error
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise CorruptError(
            f"{name} is not valid YAML{where}: {getattr(error, 'problem', None) or error}"
        ) from error


def _document(events: Iterator[Any], name: str) -> Any:
    found: list[Any] = []
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            if found:
                raise CorruptError(f"{name} holds several documents")
            found.append(_value(next(events), events, name, 0))
    return found[0] if found else None


def _value(event: Any, events: Iterator[Any], name: str, depth: int) -> Any:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
        raise CorruptError(f"{name} uses anchors (& and *), which are not read")
    if getattr(event, "tag", None) not in (None, "!"):
        raise CorruptError(f"{name} uses the tag {event.tag!r}, which is not read")
    if depth > _MAX_DEPTH:
        raise CorruptError(f"{name} is nested too deeply")
    if isinstance(event, yaml.ScalarEvent):
        return str(event.value)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(inner := next(events), yaml.SequenceEndEvent):
            items.append(_value(inner, events, name, depth + 1))
        return items
    mapping: dict[str, Any] = {}
    while not isinstance(inner := next(events), yaml.MappingEndEvent):
        key = _value(inner, events, name, depth + 1)
        if not isinstance(key, str) or key in mapping:
            raise CorruptError(f"{name} has a key that is no text, or the same key twice: {key!r}")
        mapping[key] = _value(next(events), events, name, depth + 1)
    return mapping
