"""Worker processes: batches of plain values in, results out.

Owns starting, feeding, stopping and killing them. A worker is a Python process of its own, so
each core works alone; threads would share one interpreter lock (taking up 100,000 files: 4.5 s
in one process, 2.7 s in two). Values travel by `marshal`, between our own processes only.
"""

from __future__ import annotations

import marshal
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from dvlite import errors
from dvlite.errors import DvliteError, StorageError

Answer = Callable[[list[Any]], None]
Serve = Callable[[Any], list[Any]]

# More processes than this fight for the disk.
_MOST_WORKERS = 8
# Batches that wait: enough that no worker runs dry, few enough to bound memory.
_WAITING = 16


def usable_cores() -> int:
    """Cores this process may use, at most as many as workers make sense."""
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    return min(os.cpu_count() or 1, _MOST_WORKERS)  # pragma: no cover - not on Linux


class Crew:
    """Some workers that run `module.function`, each with a thread here that feeds it."""

    def __init__(self, module: str, function: str, setup: Any, count: int) -> None:
        self._queue: queue.Queue[tuple[Any, Answer] | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._aborted = False
        self._workers = [_start(module, function, setup) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._feed, args=(worker,), daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def put(self, batch: Any, answer: Answer) -> None:
        """Hands a batch to the next free worker; waits while all have enough.

        `answer` is called with the list of results, from another thread.
        """
        while self._failure is None:
            try:
                self._queue.put((batch, answer), timeout=0.5)
                return
            except queue.Full:
                continue
        raise self._failure

    def stop(self, complete: bool) -> None:
        """Waits until every worker has finished, or (not `complete`) kills them all.

        Raises:
            DvliteError: a worker failed; of the class that it raised, or StorageError.
        """
        self._aborted = not complete
        if not complete:
            for worker in self._workers:
                worker.kill()
        for _ in self._threads:
            self._put_end()
        for thread in self._threads:
            thread.join()
        for worker in self._workers:
            if self._failure is not None:
                worker.kill()
            worker.wait()
            for stream in (worker.stdin, worker.stdout):
                _close(stream)
        if complete and self._failure is not None:
            raise self._failure

    def _put_end(self) -> None:
        while any(thread.is_alive() for thread in self._threads):
            try:
                self._queue.put(None, timeout=0.1)
                return
            except queue.Full:
                continue

    def _feed(self, worker: subprocess.Popen[bytes]) -> None:
        assert worker.stdin is not None and worker.stdout is not None
        try:
            while self._failure is None and not self._aborted:
                item = self._queue.get()
                _send(worker.stdin, None if item is None else item[0])
                results = _receive(worker.stdout)
                if item is None:
                    return
                item[1](results)
        except BaseException as error:
            if not self._aborted and self._failure is None:
                self._failure = error


def serve(make: Callable[[Any], Any]) -> None:
    """A worker's side. `make(setup)` gives a context manager whose value takes a batch and
    returns the list of its results; leaving it completes the work."""
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        with make(marshal.load(source)) as work:
            while (batch := marshal.load(source)) is not None:
                _send(sink, work(batch))
        _send(sink, ())
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # whoever asked is gone, or wants no more
    except DvliteError as error:
        _send(sink, (_class_name(error), str(error), error.hint))
    except OSError as error:
        message = f"{error.filename or 'a file'}: {error.strerror}"
        _send(sink, (StorageError.__name__, message, None))


def _start(module: str, function: str, setup: Any) -> subprocess.Popen[bytes]:
    """A worker imports from exactly where this process does; `-I` keeps the current folder,
    which may be anybody's, out of that."""
    paths = [path for path in sys.path if os.path.isabs(path)]
    code = f"import sys; sys.path[:] = {paths!r}; from {module} import {function} as work; work()"
    worker = subprocess.Popen(
        [sys.executable, "-I", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin is not None
    _send(worker.stdin, setup)
    return worker


def _class_name(error: DvliteError) -> str:
    """The nearest class that `errors` has: whoever waits may go on without what is missing."""
    return next(one.__name__ for one in type(error).__mro__ if one.__name__ in errors.__all__)


def _send(stream: IO[bytes], value: Any) -> None:
    marshal.dump(value, stream)
    stream.flush()


def _receive(stream: IO[bytes]) -> list[Any]:
    """A worker's answer. A tuple of class, message and hint is its failure."""
    try:
        answer = marshal.load(stream)
    except EOFError as error:
        raise StorageError("a worker process ended unexpectedly", "try again") from error
    if isinstance(answer, tuple) and answer:
        kind, message, hint = answer
        raise getattr(errors, kind)(message, hint)
    return list(answer)


def _close(stream: IO[bytes] | None) -> None:
    try:
        if stream is not None:
            stream.close()
    except BrokenPipeError:
        return
