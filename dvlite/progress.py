"""How the silent library tells what it is doing: one callback, cumulative numbers.

Owns the callback's type and its do-nothing default, and who hears of what makes the work slow.
Drawing is the command line's business.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

# Hears what happened, and how many seconds have been waited for nothing; from any thread.
Notice = Callable[[str, float], None]


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
        new_bytes: int | None = None,
    ) -> None:
        """Phase name, files and bytes done, and what is expected (None: not known yet).

        `new_bytes`: what of it had to travel, or will; None where that is no question.
        """


def silent(
    phase: str,
    files: int,
    size_bytes: int,
    total_files: int | None = None,
    total_bytes: int | None = None,
    new_bytes: int | None = None,
) -> None:
    """The default: report nothing."""


def _ignore(text: str, waited_s: float) -> None:
    pass


_notice: ContextVar[Notice] = ContextVar("notice", default=_ignore)


def teller() -> Notice:
    """Who hears of delays now. Storages ask when they are opened: their threads know no context."""
    return _notice.get()


@contextmanager
def heard_by(notice: Notice) -> Iterator[None]:
    """Says who hears of delays of what is opened within."""
    token = _notice.set(notice)
    try:
        yield
    finally:
        _notice.reset(token)
