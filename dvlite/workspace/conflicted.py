"""The conflicted pointer: what the merge driver leaves in a pointer file that both sides changed.

Owns its text. It looks like any conflict of git, so that every other command refuses it, an
editor shows it, and it can be merged by hand: delete one side and the marker lines. Of a folder
both sides are merged already, but for the paths that conflict: so choosing a side loses nothing
that the other side changed elsewhere, and what is left to decide is where the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dvlite.errors import ConflictError, CorruptError
from dvlite.workspace.pointer import Pointer, parse, render

# Enough to see what it is about; `dvlite resolve` lists all.
_LISTED = 50
_MERGED = "merged, but for what both sides changed (dvlite resolve --ours/--theirs PATH):"
_NOT_MERGED = "not merged:"
_MARKERS = "<|=>"
_BEGINNINGS = frozenset(char * 7 for char in _MARKERS)


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Both sides of a conflict; None is a side without the pointer.

    `why` is empty where the two are folders that are merged but for where they differ; otherwise
    it says why nothing was merged.
    """

    ours: Pointer | None
    theirs: Pointer | None
    why: str = ""
    paths: tuple[str, ...] = ()
    labels: tuple[str, str] = ("ours", "theirs")
    marker: int = 7

    @property
    def is_merged(self) -> bool:
        """Whether the sides differ in nothing but what conflicts."""
        return not self.why

    def with_sides(self, ours: Pointer, theirs: Pointer, paths: Sequence[str]) -> Conflicted:
        """The same after some of it was decided."""
        return replace(self, ours=ours, theirs=theirs, paths=tuple(paths))


def render_conflicted(conflict: Conflicted) -> bytes:
    """The text that stands in the pointer file."""
    count = conflict.marker
    listed = [f"  {_one_line(path)}" for path in conflict.paths[:_LISTED]]
    if len(conflict.paths) > _LISTED:
        listed.append(f"  and {len(conflict.paths) - _LISTED:,} more")
    about = _MERGED if conflict.is_merged else f"{_NOT_MERGED} {_one_line(conflict.why)}"
    lines = [f"{'|' * count} {about}", *listed, "=" * count]
    middle = "".join(f"{line}\n" for line in lines)
    return b"".join(
        (
            f"{'<' * count} {_one_line(conflict.labels[0])}\n".encode(),
            _side(conflict.ours),
            middle.encode("utf-8", "replace"),
            _side(conflict.theirs),
            f"{'>' * count} {_one_line(conflict.labels[1])}\n".encode("utf-8", "replace"),
        )
    )


def parse_conflicted(data: bytes, name: str) -> Conflicted | None:
    """Reads a conflicted pointer; None where it is something else (git's own conflict, say)."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    marks = [at for at, line in enumerate(lines) if line[:7] in _BEGINNINGS]
    if (
        "".join(lines[at][0] for at in marks) != _MARKERS
        or marks[0]
        or lines[marks[3] + 1 :] != [""]
    ):
        return None
    about = lines[marks[1]].lstrip("|").strip()
    if about != _MERGED and not about.startswith(_NOT_MERGED):
        return None
    parts = lines[1 : marks[1]], lines[marks[2] + 1 : marks[3]]
    try:
        ours, theirs = (parse(_text(part), name) if part else None for part in parts)
    except (CorruptError, ConflictError):
        return None
    why = "" if about == _MERGED else about[len(_NOT_MERGED) :].strip() or "for reasons unknown"
    if not why and not all(side is not None and side.kind == "tree" for side in (ours, theirs)):
        return None
    labels = lines[0].lstrip("<").strip(), lines[marks[3]].lstrip(">").strip()
    return Conflicted(
        ours, theirs, why, labels=labels, marker=len(lines[0]) - len(lines[0].lstrip("<"))
    )


def _text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _side(pointer: Pointer | None) -> bytes:
    return b"" if pointer is None else render(pointer)


def _one_line(text: str) -> str:
    """Somebody else's words, so that they cannot pass for a line of ours."""
    return "".join(char if char.isprintable() else "?" for char in text)[:200]
