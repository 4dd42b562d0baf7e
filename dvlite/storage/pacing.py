"""A bound on how many bytes a second go to and come from a remote.

Owns the clock that all transfers of one command share. A transfer that was ahead of the rate makes
the next one wait, so the bound holds on average over some seconds, not within one pack.
"""

from __future__ import annotations

import threading
import time

from dvlite.storage.backend import Backend, Stored


class PacedBackend(Backend):
    """A storage that is used at a bounded rate. See Backend for what its methods do."""

    def __init__(self, inner: Backend, bytes_a_second: int) -> None:
        self.inner, self.url = inner, inner.url
        self._rate = bytes_a_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        self._wait(length or 0)
        data = self.inner.read(name, offset, length)
        if length is None:
            self._wait(len(data))
        return data

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        self._wait(length)
        return self.inner.read_view(name, offset, length)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        self._wait(len(data))
        self.inner.write(name, data)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend."""
        self._wait(len(data))
        return self.inner.write_if_absent(name, data)

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""
        return self.inner.list(folder)

    def delete(self, name: str) -> None:
        """See Backend."""
        self.inner.delete(name)

    def _wait(self, count: int) -> None:
        """Waits until all that came before has had its time; books `count` bytes."""
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._rate
        time.sleep(begin - now)
