"""How the silent library tells what it is doing: one callback, cumulative numbers.

Owns the callback's type and its do-nothing default. Drawing is the command line's business.
"""

from typing import Protocol


class Progress(Protocol):
    """Called as work advances; all numbers are totals of this phase so far.

    It may be called from any thread and must return quickly.
    """

    def __call__(
        self,
        phase: str,
        files: int,
        size_bytes: int,
        total_files: int | None = None,
        total_bytes: int | None = None,
    ) -> None:
        """Phase name, files and bytes done, and what is expected (None: not known yet)."""


def silent(
    phase: str,
    files: int,
    size_bytes: int,
    total_files: int | None = None,
    total_bytes: int | None = None,
) -> None:
    """The default: report nothing."""
