"""The base: which object each pointer's data was last in step with in this workspace.

Owns its file. It makes edits three-way (workspace, base, pointer): checkout deletes only what
the base says was put there, and add never undoes a colleague's change that a `git pull` brought.
It is durable, because it cannot be rebuilt.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from dvlite.atomic import publish
from dvlite.errors import CorruptError, FormatVersionError
from dvlite.workspace.pointer import Pointer

_UNQUOTED = re.compile(rb"[^A-Za-z0-9_.,=@/+ -]")
_PLAIN = re.compile(r"[A-Za-z0-9_.,=@/+ -]*\Z")
# `dvlite run` reads and writes the base again after each stage, and few of its lines change: of
# 1,000 stages that ran, reading it anew took most of the time.
_REMEMBERED_LINES = 1 << 16
_HEAD = "dvlite base 1"
_LINE = re.compile(r"(begun-)?(file|exec|tree) ([0-9a-f]{64}) (\d{1,19}) (\d{1,19}) (.+)\Z")


@dataclass(frozen=True, slots=True)
class Base:
    """Data path -> what its pointer said when data and pointer were last in step.

    `begun`: what checkouts that were interrupted had begun to put there; files of it are no
    edits of the user's either.
    """

    entries: Mapping[str, Pointer] = field(default_factory=dict)
    begun: Mapping[str, tuple[Pointer, ...]] = field(default_factory=dict)

    def get(self, path: str) -> Pointer | None:
        """The base of one data path."""
        return self.entries.get(path)

    def updated(self, changes: Mapping[str, Pointer | None]) -> Base:
        """The base with some paths set, or forgotten (None); they are in step again."""
        merged = {**self.entries, **changes}
        begun = {path: old for path, old in self.begun.items() if path not in changes}
        return Base({path: known for path, known in merged.items() if known is not None}, begun)

    def beginning(self, changes: Mapping[str, Pointer]) -> Base:
        """The base when a checkout of these pointers begins."""
        begun = dict(self.begun)
        for path, pointer in changes.items():
            before = [old for old in begun.get(path, ()) if not old.same_content(pointer)]
            begun[path] = (*before, pointer)
        return Base(self.entries, begun)


def load(path: str) -> Base:
    """Reads the base's file; a missing one is an empty base.

    Raises:
        CorruptError: it is damaged.
    """
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            lines = stream.read().split("\n")
    except FileNotFoundError:
        return Base()
    if lines[0] != _HEAD:
        if lines[0].startswith("dvlite base "):
            raise FormatVersionError(f"{path} was written by a newer dvlite", "upgrade dvlite")
        raise _damaged(path)
    if lines[-2:] != [f"end {len(lines) - 3}", ""]:
        raise _damaged(path)
    entries: dict[str, Pointer] = {}
    begun: dict[str, tuple[Pointer, ...]] = {}
    for line in lines[1:-2]:
        try:
            name, pointer, is_begun = _read_line(line)
        except CorruptError as error:
            raise _damaged(path) from error
        if is_begun:
            begun[name] = (*begun.get(name, ()), pointer)
        else:
            entries[name] = pointer
    return Base(entries, begun)


def save(path: str, base: Base) -> None:
    """Replaces the base's file, durably."""
    lines = [_render_line(name, base.entries[name]) for name in sorted(base.entries)]
    lines += [
        "begun-" + _render_line(name, pointer)
        for name in sorted(base.begun)
        for pointer in base.begun[name]
    ]
    text = "\n".join([_HEAD, *lines, f"end {len(lines)}", ""])
    os.makedirs(os.path.dirname(path), exist_ok=True)
    publish(path, text.encode("ascii"))


@lru_cache(_REMEMBERED_LINES)
def _render_line(path: str, known: Pointer) -> str:
    kind = "exec" if known.executable else known.kind
    return f"{kind} {known.oid.hex()} {known.size} {known.files} {quote(path)}"


@lru_cache(_REMEMBERED_LINES)
def _read_line(line: str) -> tuple[str, Pointer, bool]:
    match = _LINE.match(line)
    if match is None:
        raise CorruptError("not a line of a base")
    begun, kind, oid, size, files, name = match.groups()
    pointer = Pointer(
        "tree" if kind == "tree" else "file",
        bytes.fromhex(oid),
        int(size),
        int(files),
        kind == "exec",
    )
    return unquote(name), pointer, begun is not None


def _damaged(path: str) -> CorruptError:
    return CorruptError(
        f"{path} is damaged",
        "remove it; checkout then treats every differing file as an unsaved edit",
    )


def quote(path: str) -> str:
    """Any path as one line of ASCII; what is not plain becomes `%` and two hex digits."""
    if _PLAIN.match(path):
        return path
    return _UNQUOTED.sub(lambda match: b"%%%02X" % match[0][0], os.fsencode(path)).decode("ascii")


def unquote(text: str) -> str:
    """The inverse of `quote`.

    Raises:
        CorruptError: not what `quote` writes.
    """
    if _PLAIN.match(text):
        return text
    data = text.encode("ascii", "replace")
    plain = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), data)
    path = os.fsdecode(plain)
    if quote(path) != text:
        raise CorruptError(f"not a quoted path: {text[:80]!r}")
    return path
