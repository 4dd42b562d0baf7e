"""The live bar on a terminal, drawn by rich. Imported when there is something to draw."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class LiveBar:
    """One bar for the phase at hand. It vanishes with `stop`."""

    def __init__(self) -> None:
        console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            console=console,
            transient=True,
            refresh_per_second=8,
        )
        self._task: TaskID | None = None
        self._phase = ""

    def show(self, phase: str, text: str, size_bytes: int, total_bytes: int | None) -> None:
        """Draws the numbers; a new phase begins a new bar."""
        if self._task is None or phase != self._phase:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(phase, total=total_bytes, text=text)
            self._phase = phase
            self._progress.start()
        self._progress.update(self._task, completed=size_bytes, total=total_bytes, text=text)

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Takes the bar away."""
        self._progress.stop()
