"""What stages write, on the screen: as it comes, with the stage's name where several run.

Owns whole lines: two stages never share one, and the line about the run stands below them, drawn
only while the cursor is at the start of a line. Called from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from dvlite.cli.output import name
from dvlite.cli.runline import RunLine

# A line that does not end is shown in pieces of this.
_MAX_LINE = 64 << 10


class StageOutput:
    """A stream that several stages write to. `several`: each line says whose it is; `below`: the
    line about the run, if there is to be one."""

    def __init__(
        self, stream: TextIO, several: bool, quiet: bool, below: RunLine | None = None
    ) -> None:
        self.below = below
        self._apart = 0
        self._stream, self._several, self._quiet = stream, several, quiet
        self._lock = threading.Lock()
        self._rest: dict[str, bytes] = {}
        self._at_start = True

    def hear(self, stage: str, data: bytes) -> None:
        """Takes what a stage wrote."""
        if self._quiet:
            return
        with self._lock:
            if not self._several:
                self._write(data)
                return
            *lines, rest = (self._rest.get(stage, b"") + data).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            self._rest[stage] = rest
            self._lines(stage, lines)

    def end(self, stage: str) -> None:
        """Shows what is left of a stage's last line."""
        with self._lock:
            rest = self._rest.pop(stage, b"")
            if rest:
                self._lines(stage, [rest])
            elif not self._at_start:
                self._write(b"\n")

    def line(self, text: str) -> None:
        """Shows a line of dvlite's own."""
        with self._lock:
            start = b"" if self._at_start else b"\n"
            self._write(start + text.encode("utf-8", "backslashreplace") + b"\n")

    def draw(self) -> None:
        """Shows the line about the run, unless it would stand in the middle of a stage's own."""
        with self._lock:
            if self.below is None or self._apart:
                return
            if self._at_start or not self.below.terminal:
                self.below.draw()

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Without that line: somebody else writes to the screen, or asks."""
        with self._lock:
            self._apart += 1
            self._erase()
        try:
            yield
        finally:
            with self._lock:
                self._apart -= 1

    def close(self) -> None:
        """Ends the last line."""
        with self._lock:
            self._erase()
            if not self._at_start:
                self._write(b"\n")

    def _erase(self) -> None:
        if self.below is not None:
            self.below.erase()

    def _lines(self, stage: str, lines: list[bytes]) -> None:
        if lines:
            head = f"{name(stage)} | ".encode()
            # progress bars go back to the start of a line: only the last state of each counts
            shown = (line.rstrip(b"\r").rpartition(b"\r")[2] for line in lines)
            self._write(b"".join(head + line + b"\n" for line in shown))

    def _write(self, data: bytes) -> None:
        if not data:
            return
        self._erase()
        self._at_start = data.endswith(b"\n")
        binary = getattr(self._stream, "buffer", None)
        self._stream.flush()
        if binary is None:
            self._stream.write(data.decode("utf-8", "replace"))
        else:
            binary.write(data)
            binary.flush()
