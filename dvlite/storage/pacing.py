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
        else:
            self._give_back(length - len(data))
        return data

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        self._wait(length)
        data = self.inner.read_view(name, offset, length)
        self._give_back(length - len(data))
        return data

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        # a segment names what has arrived: it goes before packs that wait, and is counted after
        self._wait(len(data), urgent=name.startswith("index/"))
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

    def _wait(self, count: int, urgent: bool = False) -> None:
        """Waits until all that came before has had its time; books `count` bytes."""
        with self._lock:
            now = time.monotonic()
            begin = max(now, self._free_at)
            self._free_at = begin + count / self._rate
        if not urgent:
            time.sleep(begin - now)

    def _give_back(self, count: int) -> None:
        """Takes back what was booked for bytes that did not come, where a file ended before."""
        with self._lock:
            self._free_at -= count / self._rate
