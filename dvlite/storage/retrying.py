"""Trying again what a storage did not do this time: throttling, server errors, broken connections.

Owns how often and how long. What may be tried again is the storage's own judgement, which it
gives by raising `TransientError`; wrong credentials or a missing bucket fail at once. Whoever
listens (`progress.heard_by`) is told of every new try.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dvlite.errors import RemoteError, UsageError
from dvlite.progress import teller
from dvlite.storage.backend import Backend, Stored, TransientError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """`retries` more tries within `limit_s`, each after a random part of a delay that doubles
    from `first_s` up to `longest_s` ("full jitter": many clients that were throttled together
    do not come back together, see the AWS Architecture Blog on exponential backoff)."""

    retries: int = 8
    first_s: float = 0.2
    longest_s: float = 10.0
    limit_s: float = 180.0


def patience_of(options: dict[str, str]) -> tuple[dict[str, str], Patience]:
    """A remote's options without `retries`, and the patience which that asks for.

    Raises:
        UsageError: not a number from 0 to 100.
    """
    text = options.pop("retries", None)
    if text is None:
        return options, Patience()
    if not text.isascii() or not text.isdigit() or int(text) > 100:
        raise UsageError(f"a remote's option retries is {text!r}, not a number from 0 to 100")
    return options, Patience(retries=int(text))


class RetryingBackend(Backend):
    """A storage that is asked again. See Backend for what its methods do."""

    def __init__(self, inner: Backend, patience: Patience) -> None:
        self.inner, self.url = inner, inner.url
        self._patience = patience
        self._tell = teller()

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        return self._try(lambda: self.inner.read(name, offset, length))

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        return self._try(lambda: self.inner.read_view(name, offset, length))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        self._try(lambda: self.inner.write(name, data))

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend. False also when an earlier try did it and its answer was lost."""
        return self._try(lambda: self.inner.write_if_absent(name, data))

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""
        return self._try(lambda: self.inner.list(folder))

    def delete(self, name: str) -> None:
        """See Backend."""
        self._try(lambda: self.inner.delete(name))

    def _try(self, action: Callable[[], T]) -> T:
        patience, begin = self._patience, time.monotonic()
        tries = 0
        while True:
            try:
                return action()
            except TransientError as error:
                delay = random.uniform(0, min(patience.longest_s, patience.first_s * 2**tries))
                late = time.monotonic() + delay - begin > patience.limit_s
                if tries >= patience.retries or late:
                    raise RemoteError(
                        f"{error} (tried {tries + 1} times)",
                        error.hint or "what arrived counts: run the command again later",
                    ) from error
                self._tell(str(error), time.monotonic() - begin)
            tries += 1
            time.sleep(delay)
