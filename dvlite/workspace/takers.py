"""Taking up many files with all cores: worker processes for many files, this one for a few.

Owns that choice, and that what was taken becomes part of the cache together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dvlite.storage.cache import Cache, Setup
from dvlite.workspace.crew import Crew, serve, usable_cores
from dvlite.workspace.take import Batch, Taken, Untaken, taking

Result = Taken | Untaken | None
Answer = Callable[[list[Result]], None]

# Starting workers costs 0.1 s, which so many files take in one process.
_WORKERS_FROM = 2_000


@dataclass(frozen=True, slots=True)
class TakeOptions:
    """`top`: the project's folder. `keep`: into the cache, or only hash.

    `told(files, size_bytes)` is called as files are done, from any thread.
    """

    cache: Cache
    top: str
    keep: bool = True
    told: Callable[[int, int], None] = lambda files, size: None


@dataclass(slots=True)
class Takers:
    """Batches in, results out; a context manager. Leaving it makes all that was taken part of
    the cache; leaving it by an exception leaves the cache as it was."""

    options: TakeOptions
    _early: list[tuple[Batch, Answer]] = field(default_factory=list)
    _early_files: int = 0
    _crew: Crew | None = None

    def __enter__(self) -> Takers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._crew is not None:
            self._crew.stop(kind is None)
        elif kind is None:
            with taking(self.options.cache, self.options.top, self.options.keep) as taker:
                for batch, answer in self._early:
                    self._answer(answer, taker.take(batch))

    def put(self, batch: Batch, answer: Answer) -> None:
        """Hands in a batch; `answer` is called with its results, at the latest on leaving."""
        if self._crew is None:
            self._early.append((batch, answer))
            self._early_files += len(batch.names)
            if self._early_files >= _WORKERS_FROM and usable_cores() > 1:
                self._crew = self._start()
                early, self._early = self._early, []
                for item in early:
                    self.put(*item)
            return
        self._crew.put(
            tuple(batch),
            lambda results: self._answer(answer, [_from_wire(one) for one in results]),
        )

    def _start(self) -> Crew:
        cache = self.options.cache
        setup = (cache.setup, self.options.top, self.options.keep)
        return Crew(__name__, "work", setup, usable_cores())

    def _answer(self, answer: Answer, results: list[Result]) -> None:
        answer(results)
        done = [result.size for result in results if isinstance(result, Taken)]
        self.options.told(len(results), sum(done))


def work() -> None:
    """What a worker process runs."""
    serve(_serving)


@contextmanager
def _serving(setup: tuple[Setup, str, bool]) -> Iterator[Callable[[Any], list[Any]]]:
    cache, top, keep = setup
    with taking(Cache.of(cache), top, keep) as taker:
        yield lambda batch: [_to_wire(result) for result in taker.take(Batch(*batch))]


def _to_wire(result: Result) -> tuple[Any, ...] | None:
    if isinstance(result, Taken):  # an enum's member cannot travel
        return (int(result.kind), *result[1:])
    return None if result is None else tuple(result)


def _from_wire(result: tuple[Any, ...] | None) -> Result:
    if result is None:
        return None
    return Untaken(*result) if len(result) == 1 else Taken(*result)
