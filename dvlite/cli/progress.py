"""Progress: a live line on a terminal, one plain line every 30 s where there is none.

Owns how the library's callback becomes something to look at. Never a minute of silence, and
never a mark left behind: the line vanishes when the work is done.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from dvlite.cli.output import count, size
from dvlite.progress import Progress, silent

# Without a terminal: rare enough for a log, often enough to know that it lives.
_PLAIN_EVERY_S = 30.0
_DRAW_EVERY_S = 0.1
# Work that ends within this is not worth a line that flashes up.
_SILENT_FIRST_S = 0.4
_CLEAR = "\r\x1b[K"


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
        self._terminal = terminal
        self._lock = threading.Lock()
        self._begun = self._phase_begun = time.monotonic()
        self._drawn_at = self._begun
        self._phase = ""
        self._drawn = False

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
            self._draw(self._text(now, files, size_bytes, total_files, total_bytes))

    @property
    def _interval(self) -> float:
        return _DRAW_EVERY_S if self._terminal else _PLAIN_EVERY_S

    def clear(self) -> None:
        """Takes the live line away."""
        if self._drawn and self._terminal:
            click.echo(_CLEAR, nl=False, err=True)

    def _draw(self, text: str) -> None:
        self._drawn = True
        if self._terminal:
            width = max(20, _columns() - 1)
            click.echo(_CLEAR + text[:width], nl=False, err=True)
        else:
            click.echo(text, err=True)

    def _text(
        self,
        now: float,
        files: int,
        size_bytes: int,
        total_files: int | None,
        total_bytes: int | None,
    ) -> str:
        elapsed = max(now - self._phase_begun, 0.001)
        parts = [
            f"{self._phase}: "
            + _of(f"{files:,}", total_files and count(total_files, "file"), " files")
        ]
        parts.append(_of(size(size_bytes), total_bytes and size(total_bytes), ""))
        parts.append(f"{size(int(size_bytes / elapsed))}/s")
        if total_bytes and size_bytes:
            left = (total_bytes - size_bytes) / (size_bytes / elapsed)
            parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _of(done: str, total: str | int | None, unit: str) -> str:
    return f"{done} of {total}" if total else done + unit


def _duration(seconds: float) -> str:
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size().columns
