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
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dvlite.progress import Progress, heard_by, silent

if TYPE_CHECKING:
    from dvlite.cli.livebar import LiveBar

# What JSON leaves as it is and a terminal obeys: C1 controls, and what turns the order of text.
_CONTROL = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}

# Without a terminal: rare enough for a log, often enough to know that it lives.
PLAIN_EVERY_S = 30.0
_DRAW_EVERY_S = 0.1
# Work that ends within this is not worth a line that flashes up.
_SILENT_FIRST_S = 0.4
# Long enough that a pack of 32 MB on a slow line shows in the rate.
_PACE_S = 60.0
# A remote that has to be asked again is worth a line after this, and then so often.
_DELAY_S = 3.0
_DELAY_EVERY_S = 10.0


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
    text = _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
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
    try:
        return "".join(f"\\{byte:03o}" for byte in os.fsencode(char))
    except UnicodeEncodeError:  # half a surrogate pair: no path, but JSON can have such a key
        return "?"


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
    _active.append(line)
    line.start()
    try:
        yield line.tell
    finally:
        line.stop()
        _active.remove(line)


@contextmanager
def transferring(quiet: bool, verbose: bool) -> Iterator[Progress]:
    """The same for work with remotes: also says when they have to be asked again, of long delays
    or, when `verbose`, each time."""
    with showing(quiet) as progress:
        if quiet:
            yield progress
            return
        with heard_by(_Delays(_active[-1].note, verbose).hear):
            yield progress


@contextmanager
def stopped_by(stop: Callable[[], None]) -> Iterator[None]:
    """Says how to take something else away that is drawn within."""
    _drawn.append(stop)
    try:
        yield
    finally:
        _drawn.remove(stop)


def stop_showing() -> None:
    """Takes away what is drawn: the process ends now."""
    for line in _active:
        line.stop()
    for stop in _drawn:
        stop()


class _State(NamedTuple):
    """The numbers as last told."""

    phase: str
    files: int
    size_bytes: int
    total_files: int | None
    total_bytes: int | None
    new_bytes: int | None


class _Line:
    """The state of the work, drawn now and then by a thread of its own: also while nothing is
    told, because a pack may take a minute. `tell` may be called from any thread."""

    def __init__(self, terminal: bool) -> None:
        self._interval = _DRAW_EVERY_S if terminal else PLAIN_EVERY_S
        self._terminal = terminal
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._state: _State | None = None
        self._pace = _Pace()
        self._bar: LiveBar | None = None

    def start(self) -> None:
        """Begins to draw, when there has been something to draw for a while."""
        self._thread.start()

    def tell(
        self,
        phase: str,
        files: int,
        size_bytes: int,
        total_files: int | None = None,
        total_bytes: int | None = None,
        new_bytes: int | None = None,
    ) -> None:
        """Takes the numbers."""
        self._state = _State(phase, files, size_bytes, total_files, total_bytes, new_bytes)

    def note(self, text: str) -> None:
        """One line that stays, above the bar."""
        with self._lock:
            if self._bar is not None:
                self._bar.note(_safe(text))
            else:
                note(text)

    def stop(self) -> None:
        """Takes the live bar away."""
        self._ended.set()
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None

    def _run(self) -> None:
        pause = _SILENT_FIRST_S if self._terminal else self._interval
        while not self._ended.wait(pause):
            pause = self._interval
            with self._lock:
                if self._state is not None and not self._ended.is_set():
                    self._draw(self._state)

    def _draw(self, state: _State) -> None:
        rate = self._pace.rate(state.phase, state.size_bytes)
        texts = [_files(state), _bytes(state), *_rest(state, rate)]
        if not self._terminal:
            click.echo(", ".join([f"{state.phase}: {texts[0]}", *texts[1:]]), err=True)
            return
        if self._bar is None:
            from dvlite.cli.livebar import LiveBar  # 60 ms that only long work pays

            self._bar = LiveBar()
        self._bar.show(state.phase, ", ".join(texts), state.size_bytes, state.total_bytes)


class _Pace:
    """Bytes a second over the last while."""

    def __init__(self) -> None:
        self._phase = ""
        self._begun = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, phase: str, size_bytes: int) -> float:
        """The rate of a phase now that so much of it is done; 0 where it cannot be told."""
        now = time.monotonic()
        if phase != self._phase:
            # what is done at its first look was done since the command began
            self._phase = phase
            self._seen = deque([(self._begun, 0) if size_bytes else (now, 0)])
        while len(self._seen) > 1 and now - self._seen[1][0] > _PACE_S:
            self._seen.popleft()
        if now - self._seen[-1][0] >= 1 and size_bytes != self._seen[-1][1]:
            self._seen.append((now, size_bytes))
        begun, before = self._seen[0]
        return max(0.0, (size_bytes - before) / max(now - begun, 0.001))


_active: list[_Line] = []
_drawn: list[Callable[[], None]] = []


class _Delays:
    """Which delays are worth a line: those that have lasted, and not every few seconds."""

    def __init__(self, say_it: Callable[[str], None], verbose: bool) -> None:
        self._say, self._verbose = say_it, verbose
        self._lock = threading.Lock()
        self._said_at: float | None = None

    def hear(self, text: str, waited_s: float) -> None:
        """Takes word of one; may be called from any thread."""
        with self._lock:
            now = time.monotonic()
            recent = self._said_at is not None and now - self._said_at < _DELAY_EVERY_S
            if not self._verbose and (waited_s < _DELAY_S or recent):
                return
            self._said_at = now
        self._say(f"the remote is slow, trying again: {text}")


def _files(state: _State) -> str:
    total = state.total_files and count(state.total_files, "file")
    return _of(f"{state.files:,}", total, " files")


def _bytes(state: _State) -> str:
    return _of(size(state.size_bytes), state.total_bytes and size(state.total_bytes), "")


def _rest(state: _State, rate: float) -> Iterator[str]:
    """What is new, how fast it goes, and how long it will take, where that is known."""
    if state.new_bytes is not None:
        yield f"{size(state.new_bytes)} new"
    if rate:
        yield f"{size(int(rate))}/s"
        if state.total_bytes:
            yield f"{duration((state.total_bytes - state.size_bytes) / rate)} left"


def _of(done: str, total: str | int | None, unit: str) -> str:
    return f"{done} of {total}" if total else done + unit


def duration(seconds: float) -> str:
    """`12 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
