"""Changes settings in a file that people write too.

Owns that comments, order and layout of the rest stay. Refuses files that it cannot change
without rewriting them; what may be set is checked before, in `config`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from dvlite.atomic import publish, publish_in_tree
from dvlite.errors import ProjectError
from dvlite.workspace.config import VERSION, flatten, split_remote_key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def edit(path: str, changes: Mapping[str, str | None], committed: bool) -> None:
    """Sets (or with None removes) settings in a file; comments and order of the rest stay.

    Raises:
        ProjectError: somebody wrote the file in a way that only they can change.
    """
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            before = stream.read()
    except FileNotFoundError:
        before = ""
    after = _edited(before, changes, committed)
    found = dict(flatten(tomllib.loads(after), "", path))
    if any(found.get(key) != text for key, text in changes.items()):
        raise ProjectError(
            f"{path} is written in a way that cannot be changed by a command",
            f"change it by hand: {', '.join(changes)}",
        )
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if committed:
        publish_in_tree(path, after.encode())
    else:  # it may hold secrets: nobody else on the machine reads it
        publish(path, after.encode(), mode=0o600)


def _edited(before: str, changes: Mapping[str, str | None], committed: bool) -> str:
    """The file's text with the changes, or as it was where its tables do not allow them."""
    import tomlkit  # 40 ms that only commands which write settings pay
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(before)
        if committed and "dvlite" not in document:
            document.add("dvlite", VERSION)
        for key, text in changes.items():
            _set(document, _path_of(key), text)
        after = tomlkit.dumps(document)
        tomllib.loads(after)
        return after
    except (TypeError, ValueError, AttributeError, TOMLKitError):
        return before  # an inline table, or a value where a table belongs


def _path_of(key: str) -> list[str]:
    name, option = split_remote_key(key)
    return ["remote", name, option] if name else key.split(".")


def _set(table: Any, path: list[str], text: str | None) -> None:
    import tomlkit

    if len(path) == 1:
        if text is not None:
            table[path[0]] = text
        elif path[0] in table:
            del table[path[0]]
        return
    if path[0] not in table:
        if text is None:
            return
        table[path[0]] = tomlkit.table()
    _set(table[path[0]], path[1:], text)
    if not table[path[0]]:
        del table[path[0]]
