"""The line about a run: how many stages are done, and which are at work for how long.

Owns what the line says and the strokes that draw it and take it away: on a terminal it stands below
what stages write, and vanishes; elsewhere it is one plain line every 30 s. When it may be drawn is
`stageoutput`'s to say, who knows where the cursor is.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TextIO

from dvlite.cli.output import PLAIN_EVERY_S, count, duration, name, size, stopped_by

if TYPE_CHECKING:
    from dvlite.cli.stageoutput import StageOutput

# The times in the line count seconds; and less often than stages write, or it would flicker.
_DRAW_EVERY_S = 0.5
# More names than these are a number.
_NAMED = 3
_COLUMNS = 80
_ERASE = "\r\x1b[2K"
# Commands are asked to stop, and have ten seconds for it.
_LEAVE_S = 25.0


class RunLine:
    """What goes on, on `stream`; `terminal`: whether that can take a line back."""

    def __init__(self, stream: TextIO, terminal: bool) -> None:
        self.terminal = terminal
        self._stream = stream
        self._total = self._done = 0
        self._running: dict[str, float] = {}
        self._phase = ""
        self._shown = False

    def expect(self, total: int) -> None:
        """So many stages are looked at."""
        self._total = total

    def began(self, stage: str) -> None:
        """A command runs from now on."""
        self._running[stage] = time.monotonic()

    def over(self, stage: str) -> None:
        """A stage is dealt with, whether or not it ran."""
        self._running.pop(stage, None)
        self._done += 1
        self._phase = ""

    def tell(
        self,
        phase: str,
        files: int,
        size_bytes: int,
        total_files: int | None = None,
        total_bytes: int | None = None,
        new_bytes: int | None = None,
    ) -> None:
        """What dvlite itself is at; see `dvlite.progress`."""
        total = f" of {size(total_bytes)}" if total_bytes else ""
        self._phase = f"{phase} {size(size_bytes)}{total}" if size_bytes else phase

    def text(self) -> str:
        """The line, as of now."""
        running, now = list(self._running.items()), time.monotonic()
        words = [f"{name(one)} {duration(now - begun)}" for one, begun in running[:_NAMED]]
        if len(running) > _NAMED:
            words.append(f"{len(running) - _NAMED} more")
        done = f"{self._done:,} of {count(self._total, 'stage')} done"
        if words:
            return f"{done}, running {', '.join(words)}"
        return f"{done}, {self._phase}" if self._phase else done

    def draw(self) -> None:
        """Shows the line; the cursor has to be at the start of one."""
        text = self.text()
        if self.terminal:
            self._put(_ERASE + _cut(text, self._columns() - 1))
            self._shown = True
        else:
            self._put(text + "\n")

    def erase(self) -> None:
        """Takes the line away, if it is there."""
        if self._shown:
            self._put(_ERASE)
            self._shown = False

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except (OSError, ValueError):
            return _COLUMNS


def be_stoppable() -> None:
    """Has every way of ending this process stop the commands that it runs, too."""
    from dvlite.cli.main import leave_within
    from dvlite.ops.stageprocess import kill_all

    leave_within(_LEAVE_S, kill_all)
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # with nohup it is ignored
        signal.signal(signal.SIGHUP, _stop)  # else commands outlive the terminal, for nobody


def _stop(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def drawing(output: StageOutput, every_s: float | None = None) -> Iterator[None]:
    """Has the line drawn now and then by a thread of its own."""
    terminal = output.below is not None and output.below.terminal
    every_s = every_s or (_DRAW_EVERY_S if terminal else PLAIN_EVERY_S)
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every_s):
            output.draw()

    thread = threading.Thread(target=run, daemon=True)
    if output.below is not None:
        thread.start()
    try:
        with stopped_by(output.close):
            yield
    finally:
        ended.set()
        if output.below is not None:
            thread.join()
        output.close()


def is_able(stream: TextIO) -> bool:
    """Whether a line can be taken back there."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _cut(text: str, columns: int) -> str:
    """As much as fits: a line that wraps could not be taken back."""
    for at, char in enumerate(text):
        columns -= 2 if unicodedata.east_asian_width(char) in "WF" else 1
        if columns < 0:
            return text[:at]
    return text
