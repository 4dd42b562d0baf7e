"""Reading many frames of many packs: few large ranges, in parallel, in bounded memory.

Owns coalescing. What is done with a frame (undo it, verify it, write it) is the caller's
function; it runs in threads of its own, so that decompressing and hashing overlap with reading.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from dvlite.errors import CorruptError, DvliteError, RemoteError
from dvlite.storage.backend import Backend, TransientError
from dvlite.storage.pack import Member
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import pack_name

T = TypeVar("T")

# One range: long enough that a request's latency is small beside it, short enough that a few
# in flight are little memory.
RANGE_BYTES = 8 << 20
# Bytes read for nothing between two wanted frames cost less than another request (at 20 ms and
# 500 Mbit/s: 1.2 MB; a quarter of it, because folders of this machine have no latency).
GAP_BYTES = 256 << 10
# Threads that undo, verify and write what others read. More than cores only wait for each other:
# Python lets one of them go on at a time between two calls of a library.
_USERS = max(2, os.cpu_count() or 1)
# Ranges that may wait in memory, read, until one of those threads is free.
_AHEAD = 2
# A frame is at most its raw limit and a head.
_MAX_FRAME = (64 << 20) + 4096


class FrameWant(NamedTuple):
    """A frame and what is wanted of it."""

    pack: bytes
    offset: int
    length: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of one frame: a value, or why not."""

    want: FrameWant
    value: T | None
    error: DvliteError | None


def group_frames(hints: Mapping[bytes, Hint]) -> list[FrameWant]:
    """One want a frame, with everything that is wanted of it."""
    frames: dict[tuple[bytes, int, int], list[Member]] = {}
    for oid, hint in hints.items():
        key = (hint.pack, hint.frame_offset, hint.frame_length)
        frames.setdefault(key, []).append(
            Member(oid, hint.kind, hint.inner_offset, hint.raw_length)
        )
    return [FrameWant(*key, tuple(members)) for key, members in frames.items()]


def read_frames(
    backend: Backend,
    wants: Iterable[FrameWant],
    use: Callable[[FrameWant, memoryview], T],
    jobs: int,
) -> Iterator[Outcome[T]]:
    """Reads every wanted frame and hands each to `use` in a thread; outcomes in pack order.

    Raises:
        RemoteError: the storage was asked again and again and does not answer.
    """
    return _read_groups(backend, coalesce(wants), use, jobs)


def read_somewhere(
    backend: Backend,
    batches: Iterable[Mapping[bytes, Hint]],
    others: Callable[[bytes, Hint, DvliteError], Iterator[Hint]],
    use: Callable[[FrameWant, memoryview], T],
    jobs: int,
) -> Iterator[Outcome[T]]:
    """Reads things by their hints, and those whose place fails at what `others` gives for them.

    A batch is asked for while those before it are read. All that failed is read together after
    the last, place by place: where a pack is lost, thousands of hints are wrong at once. What no
    place has comes as an outcome with the last error.
    """
    places: dict[bytes, Iterator[Hint]] = {}
    groups: Iterator[list[FrameWant]]
    groups = (group for hints in batches for group in coalesce(group_frames(hints)))
    while True:
        again: list[FrameWant] = []
        for outcome in _read_groups(backend, groups, use, jobs):
            if outcome.error is None:
                yield outcome
                continue
            for member in outcome.want.members:
                if member.id not in places:
                    places[member.id] = others(
                        member.id, hint_of(outcome.want, member), outcome.error
                    )
                hint = next(places[member.id], None)
                if hint is not None:
                    again += group_frames({member.id: hint})
                else:
                    yield Outcome(outcome.want._replace(members=(member,)), None, outcome.error)
        if not again:
            return
        groups = coalesce(again)


def hint_of(want: FrameWant, member: Member) -> Hint:
    """Where one of the things in a frame is."""
    return Hint(
        member.kind, want.pack, want.offset, want.length, member.inner_offset, member.raw_length
    )


class _Gate:
    """Lets threads in until it is closed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self.is_open = True

    @contextmanager
    def inside(self) -> Iterator[None]:
        """To be inside.

        Raises:
            RemoteError: it is closed.
        """
        with self._changed:
            if not self.is_open:
                raise RemoteError("given up")
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Waits for those who are inside."""
        with self._changed:
            self.is_open = False
            while self._inside:
                self._changed.wait()


def _read_groups(
    backend: Backend,
    groups: Iterable[list[FrameWant]],
    use: Callable[[FrameWant, memoryview], T],
    jobs: int,
) -> Iterator[Outcome[T]]:
    waiting: deque[Future[list[Outcome[T]]]] = deque()
    readers, gate = ThreadPoolExecutor(max(1, jobs)), _Gate()
    users = ThreadPoolExecutor(min(max(1, jobs), _USERS))
    try:
        for group in groups:
            if len(waiting) > jobs + _AHEAD:
                yield from waiting.popleft().result()
            reading = readers.submit(_read_group, backend, group)
            waiting.append(users.submit(_use_group, group, reading, use, gate))
        while waiting:
            yield from waiting.popleft().result()
    except KeyboardInterrupt:
        gate.close()
        raise
    finally:
        # requests of a work that a user stops may take minutes, and nobody wants what they bring
        for pool in (readers, users):
            pool.shutdown(wait=gate.is_open, cancel_futures=True)


def coalesce(wants: Iterable[FrameWant]) -> Iterator[list[FrameWant]]:
    """Groups frames that one range read serves, pack by pack in the order they are first wanted.

    A large file's packs then come from its front to its back, and it is hashed on the way.
    """
    group: list[FrameWant] = []
    begin = end = 0
    wants = list(wants)
    turn: dict[bytes, int] = {}
    for want in wants:
        turn.setdefault(want.pack, len(turn))
    for want in sorted(wants, key=lambda item: (turn[item.pack], item.offset)):
        near = group and want.pack == group[0].pack and want.offset <= end + GAP_BYTES
        if group and not (near and want.offset + want.length - begin <= RANGE_BYTES):
            yield group
            group = []
        if not group:
            begin = want.offset
            end = begin
        group.append(want)
        end = max(end, want.offset + want.length)
    if group:
        yield group


def _read_group(backend: Backend, group: list[FrameWant]) -> memoryview:
    begin = group[0].offset
    length = max(want.offset + want.length for want in group) - begin
    if length > RANGE_BYTES + _MAX_FRAME:
        raise CorruptError("an index names a frame of impossible length")
    return backend.read_view(pack_name(group[0].pack), begin, length)


def _use_group(
    group: list[FrameWant],
    reading: Future[memoryview],
    use: Callable[[FrameWant, memoryview], T],
    gate: _Gate,
) -> list[Outcome[T]]:
    try:
        data = reading.result()
    except DvliteError as error:
        if is_outage(error):
            raise
        return [Outcome(want, None, error) for want in group]
    begin = group[0].offset
    with gate.inside():
        return [_use_one(want, data, want.offset - begin, use) for want in group]


def is_outage(error: DvliteError) -> bool:
    """Whether trying again was in vain: then asking for the next thing is, too."""
    return isinstance(error, TransientError) or isinstance(error.__cause__, TransientError)


def _use_one(
    want: FrameWant, data: memoryview, start: int, use: Callable[[FrameWant, memoryview], T]
) -> Outcome[T]:
    try:
        return Outcome(want, use(want, data[start : start + want.length]), None)
    except DvliteError as error:
        return Outcome(want, None, error)
