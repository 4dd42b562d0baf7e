"""Whose turn it is: which stages of a run may begin, because all that they need has ended.

Owns the order of a run, and that finding the next stage does not get slower with their number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import heappop, heappush


class Turns:
    """The stages of a run, in their order. One that was taken is either ended or put back."""

    def __init__(self, names: Sequence[str], upstream: Mapping[str, Collection[str]]) -> None:
        self._place = {name: at for at, name in enumerate(names)}
        self._names = names
        self._needs = {name: sum(one in self._place for one in upstream[name]) for name in names}
        self._after: dict[str, list[str]] = {name: [] for name in names}
        for name in names:
            for other in upstream[name]:
                if other in self._place:
                    self._after[other].append(name)
        self._ready = [at for at, name in enumerate(names) if not self._needs[name]]
        self._put_back: list[int] = []
        self._open = dict.fromkeys(names)

    def take(self) -> str | None:
        """The next that may begin; None where all others wait for some that have not ended."""
        return self._names[heappop(self._ready)] if self._ready else None

    def put_back(self, name: str) -> None:
        """It cannot begin now; `again` brings it back."""
        self._put_back.append(self._place[name])

    def again(self) -> None:
        """Those that were put back may be tried once more."""
        for at in self._put_back:
            heappush(self._ready, at)
        self._put_back.clear()

    def end(self, name: str) -> None:
        """It has ended: those that needed it may begin."""
        self._open.pop(name, None)
        for other in self._after[name]:
            self._needs[other] -= 1
            if not self._needs[other] and other in self._open:
                heappush(self._ready, self._place[other])

    def rest(self) -> list[str]:
        """All that have not ended."""
        return list(self._open)
