"""`.dvliteignore`: what inside tracked folders is not data, in the syntax of `.gitignore`.

Owns reading these files and deciding about a path. One lies at the project's root, and any
folder may have its own; the nearest one decides, as in git.
"""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass
from typing import Any

from dvlite.errors import PathError
from dvlite.workspace.entering import read_small

NAME = ".dvliteignore"
_MAX_BYTES = 1 << 20
# `**` counts once where it is all between two slashes; elsewhere it is two stars, as any other.
_STARS = re.compile(r"(?:(?<=/)|^!?)\*\*(?=/|$)|\*")
_MOST_STARS = 4


@dataclass(frozen=True, slots=True)
class Ignore:
    """The rules that hold in a folder, nearest last: (folder prefix, its rules)."""

    levels: tuple[tuple[str, Any], ...] = ()

    def entering(self, folder_abs: str, path: str) -> Ignore:
        """The rules inside a folder: `path` is its path from the project's root ("" for it)."""
        rules = _load(os.path.join(folder_abs, NAME))
        prefix = path + "/" if path else ""
        return self if rules is None else Ignore((*self.levels, (prefix, rules)))

    def matches(self, path: str, is_folder: bool) -> bool:
        """Whether a path (from the project's root) is to be left out."""
        for prefix, rules in reversed(self.levels):
            verdict = rules.check_file(path[len(prefix) :] + ("/" if is_folder else "")).include
            if verdict is not None:
                return bool(verdict)
        return False


def rules_above(root: str, path: str) -> Ignore:
    """The rules of the project's root and of each folder above `path`."""
    rules = Ignore().entering(root, "")
    parts = path.split("/")[:-1]
    for count in range(1, len(parts) + 1):
        folder = "/".join(parts[:count])
        rules = rules.entering(os.path.join(root, folder), folder)
    return rules


def _load(path: str) -> Any:
    try:
        data = read_small(path, _MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > _MAX_BYTES:
        raise PathError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    from pathspec import GitIgnoreSpec  # 20 ms that only projects with such a file pay

    try:
        # not splitlines: a name may hold U+2028 and other ends of lines that git knows nothing of
        lines = os.fsdecode(data.removeprefix(codecs.BOM_UTF8)).split("\n")
        return GitIgnoreSpec.from_lines(_checked(line.removesuffix("\r"), path) for line in lines)
    except (ValueError, re.error) as error:  # a range like [b-a]
        raise PathError(f"{path}: {error}", "its syntax is that of .gitignore") from error


def _checked(line: str, path: str) -> str:
    """A pattern becomes a regular expression, whose time grows with the length of a name to the
    power of its stars: one name of 250 characters takes 0.3 s with four, 13 s with five.

    Raises:
        PathError: it has more than anybody needs.
    """
    if not line.startswith("#") and len(_STARS.findall(line)) > _MOST_STARS:
        raise PathError(
            f"{path}: a pattern with more than {_MOST_STARS} stars: {line[:60]!r}",
            "write several patterns, each with fewer",
        )
    return line
