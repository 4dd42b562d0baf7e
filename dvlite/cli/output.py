"""What the command line prints: lines, tables, sizes, names, JSON.

Owns the form of output. Results go to stdout, everything about them (progress, notes, errors)
to stderr. Names that a terminal could not show, or that could do something to it, are quoted as
git quotes them. Colours only on terminals, and never with NO_COLOR.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def say(text: str = "", *, colour: str | None = None) -> None:
    """One line of the result."""
    click.echo(_styled(text, colour, sys.stdout))


def note(text: str, *, quiet: bool = False) -> None:
    """One line about the result, on stderr."""
    if not quiet:
        click.echo(text, err=True)


def warn(text: str) -> None:
    """Something the user should know although the command goes on."""
    click.echo(_styled("warning: ", "yellow", sys.stderr) + text, err=True)


def complain(message: str, hint: str | None) -> None:
    """An error, and the way out of it."""
    first, *more = _safe(message).split("\n")
    click.echo(_styled("error: ", "red", sys.stderr) + first, err=True)
    for line in more:  # indented: a name with a line end in it cannot pass for a hint
        click.echo(line if line.startswith("  ") else f"  {line}", err=True)
    for line in (hint or "").splitlines():
        click.echo(_styled("hint: ", "cyan", sys.stderr) + _safe(line), err=True)


def size(size_bytes: int) -> str:
    """`1.2 MiB`."""
    value, unit = float(size_bytes), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    if unit == 0:
        return f"{size_bytes} B"
    return f"{value:.2f} {_UNITS[unit]}" if value < 10 else f"{value:.1f} {_UNITS[unit]}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def name(path: str | bytes) -> str:
    """A path as a terminal can show it; odd ones in double quotes, as git shows them."""
    text = os.fsdecode(path)
    if text.isprintable() and '"' not in text and "\\" not in text and text:
        return text
    shown = "".join(
        char if char not in _ESCAPES and char.isprintable() else _escaped(char) for char in text
    )
    return f'"{shown}"'


def json_path(path: str | bytes, key: str = "path") -> dict[str, str]:
    """A path for JSON: as text, and its bytes in base64 when they are not UTF-8."""
    raw = os.fsencode(path)
    try:
        return {key: raw.decode("utf-8")}
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        return {key: text, f"{key}_b64": base64.b64encode(raw).decode("ascii")}


def emit_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def table(rows: Iterable[Sequence[str]], *, right: Sequence[int] = (), indent: str = "") -> None:
    """Columns, aligned; `right` are the numbers of those aligned to the right."""
    kept = [list(row) for row in rows]
    if not kept:
        return
    widths = [max(len(row[at]) for row in kept) for at in range(len(kept[0]))]
    for row in kept:
        cells = [
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say((indent + "  ".join(cells)).rstrip())


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))


def _safe(text: str) -> str:
    """A message without what could move a terminal's cursor; names may be in it."""
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _styled(text: str, colour: str | None, stream: Any) -> str:
    if colour is None or "NO_COLOR" in os.environ or not stream.isatty():
        return text
    return click.style(text, fg=colour)
