"""Doing the same to several things at a time, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def several(function: Callable[[A], B], items: Iterable[A], jobs: int) -> Iterator[tuple[A, B]]:
    """Each item with what the function gives for it; never more than `jobs` results wait."""
    waiting: deque[tuple[A, Future[B]]] = deque()
    pool = ThreadPoolExecutor(max(1, jobs))
    try:
        for item in items:
            if len(waiting) >= max(1, jobs):
                first, future = waiting.popleft()
                yield first, future.result()
            waiting.append((item, pool.submit(function, item)))
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
