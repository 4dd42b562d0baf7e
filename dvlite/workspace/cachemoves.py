"""The note that a cache is being moved: from where, to where.

Owns its file, beside this clone's settings. It is written before anything moves and removed when
nothing is left at the old place, so an interrupted move is known and goes on.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import publish
from dvlite.errors import CorruptError
from dvlite.workspace.base import quote, unquote

FILE = "cache-move"
_TEXT = re.compile(r"dvlite: 1\nfrom: ([^\n]+)\nto: ([^\n]+)\n")
_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Move:
    """A move under way. `source` and `target`: absolute folders of the cache."""

    source: str
    target: str


def read(common_dir: str) -> Move | None:
    """The move that is under way in a repository; None as a rule."""
    try:
        with open(_path(common_dir), encoding="ascii", errors="replace") as stream:
            found = _TEXT.fullmatch(stream.read(_MAX_BYTES))
        return found and Move(unquote(found[1]), unquote(found[2]))
    except (OSError, CorruptError):
        return None


def write(common_dir: str, move: Move) -> None:
    """Notes that a move begins, durably."""
    path = _path(common_dir)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    text = f"dvlite: 1\nfrom: {quote(move.source)}\nto: {quote(move.target)}\n"
    publish(path, text.encode("ascii"))


def end(common_dir: str) -> None:
    """Notes that there is none any more."""
    with suppress(FileNotFoundError):
        os.unlink(_path(common_dir))


def _path(common_dir: str) -> str:
    return os.path.join(common_dir, "dvlite", FILE)
