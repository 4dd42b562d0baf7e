"""What the command line prints: lines, tables, sizes, names, JSON, progress.

Owns the form of output. Results go to stdout, everything about them (progress, notes, errors)
to stderr. Names that a terminal could not show, or that could do something to it, are quoted as
git quotes them. Colours only on terminals, and never with NO_COLOR.
Progress is a live line on a terminal that vanishes when the work is done, and one plain line
every 30 s where there is none.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dvlite.progress import Progress, silent

if TYPE_CHECKING:
    from dvlite.cli.livebar import LiveBar

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}

# Without a terminal: rare enough for a log, often enough to know that it lives.
_PLAIN_EVERY_S = 30.0
_DRAW_EVERY_S = 0.1
# Work that ends within this is not worth a line that flashes up.
_SILENT_FIRST_S = 0.4


def say(text: str = "", *, colour: str | None = None) -> None:
    """One line of the result."""
    click.echo(_styled(_safe(text), colour, sys.stdout))


def note(text: str, *, quiet: bool = False) -> None:
    """One line about the result, on stderr."""
    if not quiet:
        click.echo(_safe(text), err=True)


def warn(text: str) -> None:
    """Something the user should know although the command goes on."""
    click.echo(_styled("warning: ", "yellow", sys.stderr) + _safe(text), err=True)


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


def plain(text: str) -> str:
    """Somebody else's words without what could move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def json_path(path: str | bytes, key: str = "path") -> dict[str, str]:
    """A path for JSON: as text, and its bytes in base64 when they are not UTF-8."""
    raw = os.fsencode(path)
    try:
        return {key: raw.decode("utf-8")}
    except UnicodeDecodeError:
        text = raw.decode("utf-8", "replace")
        return {key: text, f"{key}_b64": base64.b64encode(raw).decode("ascii")}


def emit_json(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on stdout; always UTF-8, whatever names somebody's words hold."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(text.encode("utf-8", "replace").decode("utf-8"))


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
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def _styled(text: str, colour: str | None, stream: Any) -> str:
    if colour is None or "NO_COLOR" in os.environ or not stream.isatty():
        return text
    return click.style(text, fg=colour)


# -- progress ------------------------------------------------------------------------------------


@contextmanager
def showing(quiet: bool) -> Iterator[Progress]:
    """Gives the callback to hand to the library."""
    if quiet:
        yield silent
        return
    line = _Line(sys.stderr.isatty())
    try:
        yield line.tell
    finally:
        line.clear()


class _Line:
    """The state of the work, drawn now and then. Callable from any thread."""

    def __init__(self, terminal: bool) -> None:
        self._interval = _DRAW_EVERY_S if terminal else _PLAIN_EVERY_S
        self._terminal = terminal
        self._lock = threading.Lock()
        self._begun = self._phase_begun = self._drawn_at = time.monotonic()
        self._phase = ""
        self._bar: LiveBar | None = None

    def tell(
        self,
        phase: str,
        files: int,
        size_bytes: int,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        """Takes the numbers and draws if it is time."""
        now = time.monotonic()
        if phase == self._phase and now - self._drawn_at < self._interval:
            return
        with self._lock:
            if phase != self._phase:
                self._phase, self._phase_begun = phase, now
            if now - self._begun < _SILENT_FIRST_S or now - self._drawn_at < self._interval:
                return
            self._drawn_at = now
            done = _of(f"{files:,}", total_files and count(total_files, "file"), " files")
            if self._terminal:
                self._draw(phase, done, size_bytes, total_bytes)
            else:
                rate = size_bytes / max(now - self._phase_begun, 0.001)
                click.echo(_plain_line(phase, done, size_bytes, total_bytes, rate), err=True)

    def clear(self) -> None:
        """Takes the live bar away."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()

    def _draw(self, phase: str, files: str, size_bytes: int, total_bytes: int | None) -> None:
        if self._bar is None:
            from dvlite.cli.livebar import LiveBar  # 60 ms that only long work pays

            self._bar = LiveBar()
        self._bar.show(phase, files, size_bytes, total_bytes)


def _plain_line(
    phase: str, files: str, size_bytes: int, total_bytes: int | None, rate: float
) -> str:
    parts = [f"{phase}: {files}", _of(size(size_bytes), total_bytes and size(total_bytes), "")]
    parts.append(f"{size(int(rate))}/s")
    if total_bytes and rate:
        parts.append(f"{_duration((total_bytes - size_bytes) / rate)} left")
    return ", ".join(parts)


def _of(done: str, total: str | int | None, unit: str) -> str:
    return f"{done} of {total}" if total else done + unit


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
