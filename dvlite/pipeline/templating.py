"""`${name}` in `dvlite.yaml`: filled in from parameters and variables.

Owns what a name refers to and how a value becomes text. `\\${` stands for `${` itself. A template
that is all of a value keeps its type, so that a matrix can be a list of parameters.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dvlite.errors import PipelineError
from dvlite.pipeline.params import NoSuchKeyError, flatten, lookup
from dvlite.pipeline.yamlnodes import Node, to_plain

_TEMPLATE = re.compile(r"(\\?)\$\{([^{}]*)\}")
_WHOLE = re.compile(r"\$\{([^{}]*)\}\Z")
_KEY = re.compile(r"[^\s\[\].]+(\.[^\s\[\].]+|\[-?[0-9]+\])*\Z")
# what a template may grow a file to
_MAX_TEXT = 1 << 20
# what all templates of a file may: 100,000 stages with ten texts each have less
_MAX_TEXTS = 256 << 20


class Scope:
    """What names refer to, and where: `name` is the file that templates stand in."""

    def __init__(self, values: Mapping[str, Any], name: str = "dvlite.yaml") -> None:
        self.values, self.name = values, name
        self._filled = [0]  # characters, of all scopes of a file together

    def having(self, **values: Any) -> Scope:
        """The same with more names."""
        return self.instead({**self.values, **values})

    def instead(self, values: Mapping[str, Any]) -> Scope:
        """The same with other names."""
        scope = Scope(values, self.name)
        scope._filled = self._filled
        return scope

    def error(self, node: Node, why: str, hint: str | None = None) -> PipelineError:
        """An error at a node."""
        return PipelineError(f"{self.name}:{node.line}:{node.column}: {why}", hint)

    def text(self, node: Node, to_text: Callable[[str, Any], str] | None = None) -> str:
        """A scalar with its templates filled in."""
        if not isinstance(node.value, str):
            raise self.error(node, "this has to be text")
        if "${" not in node.value:
            return node.value
        make = to_text or _to_text

        def fill(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            key = match[2].strip()
            try:
                return make(key, self._lookup(node, key))
            except ValueError as error:
                raise self.error(node, str(error)) from error

        filled = _TEMPLATE.sub(fill, node.value)
        if len(filled) > _MAX_TEXT:
            raise self.error(node, f"this becomes longer than {_MAX_TEXT >> 20} MiB")
        self._filled[0] += len(filled)
        if self._filled[0] > _MAX_TEXTS:
            raise self.error(node, f"the templates become more than {_MAX_TEXTS >> 20} MiB of text")
        return filled

    def command(self, node: Node) -> str:
        """The same for a command: a mapping becomes options (`--lr 0.1 --verbose`)."""
        return self.text(node, _to_words)

    def value(self, node: Node) -> Any:
        """A node as plain values, with the templates in its texts filled in."""
        if isinstance(node.value, str):
            whole = _WHOLE.match(node.value)
            if whole is not None:
                return self._lookup(node, whole[1].strip())
            return self.text(node) if "${" in node.value else to_plain(node)
        if isinstance(node.value, list):
            return [self.value(item) for item in node.value]
        return {key: self.value(item) for key, item in node.value.items()}

    def _lookup(self, node: Node, key: str) -> Any:
        if not _KEY.match(key):
            raise self.error(node, f"${{{key}}} is not a name; write \\${{ for the text ${{")
        try:
            return lookup(self.values, key)
        except NoSuchKeyError:
            raise self.error(
                node,
                f"${{{key}}} is not known",
                "it comes from params.yaml, or from vars in dvlite.yaml",
            ) from None


def _to_text(key: str, value: Any) -> str:
    if value is None or isinstance(value, dict | list):
        what = "null" if value is None else "a list" if isinstance(value, list) else "a mapping"
        raise ValueError(f"${{{key}}} is {what}; only text and numbers fit into text")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _to_words(key: str, value: Any) -> str:
    if not isinstance(value, dict):
        return _to_text(key, value)
    return " ".join(_options(value))


def _options(value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in flatten(value):
        if item is True:
            yield f"--{name}"
        elif isinstance(item, list):
            yield " ".join([f"--{name}", *(_quote(one) for one in item)])
        elif item is not None and item is not False:
            yield f"--{name} {_quote(item)}"


def _quote(value: Any) -> str:
    if isinstance(value, bool | dict | list) or value is None:
        return shlex.quote(json.dumps(value))
    return shlex.quote(str(value))
