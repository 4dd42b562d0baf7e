"""A bounded rate: what waits, and for how long (on a clock of the test's)."""

from __future__ import annotations

import uuid

import pytest

from dvlite.storage import pacing
from dvlite.storage.backend import open_backend
from dvlite.storage.pacing import PacedBackend


class Clock:
    """Time that passes only by waiting."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pacing, "time", clock)
    return clock


def test_transfers_take_the_time_that_their_bytes_need(clock: Clock) -> None:
    backend = PacedBackend(open_backend(f"memory://{uuid.uuid4().hex}"), 1000)
    backend.write("a", bytes(2000))
    assert clock.now == 100  # the first begins at once
    backend.write("b", bytes(500))
    assert clock.now == 102
    assert backend.read("a", 0, 1000) == bytes(1000)
    assert clock.now == 102.5
    backend.list("")
    backend.delete("b")
    assert clock.now == 102.5
    assert not backend.write_if_absent("a", bytes(100))
    assert clock.now == 103.5


def test_reading_all_of_a_file_counts_when_its_length_is_known(clock: Clock) -> None:
    backend = PacedBackend(open_backend(f"memory://{uuid.uuid4().hex}"), 1000)
    backend.write_if_absent("a", bytes(3000))
    assert len(backend.read("a")) == 3000
    backend.write("b", b"")
    assert clock.now == 106


def test_time_in_which_nothing_was_sent_is_not_saved_up(clock: Clock) -> None:
    backend = PacedBackend(open_backend(f"memory://{uuid.uuid4().hex}"), 1000)
    clock.now += 1000
    backend.write("a", bytes(1000))
    backend.write("b", bytes(1000))
    assert clock.now == 1101


def test_a_segment_does_not_wait_for_packs_and_is_counted(clock: Clock) -> None:
    """When a user stops a push, a moment is left to name what has arrived."""
    backend = PacedBackend(open_backend(f"memory://{uuid.uuid4().hex}"), 1000)
    backend.write("packs/a", bytes(5000))
    backend.write("index/s", bytes(1000))
    assert clock.now == 100
    backend.write("packs/b", bytes(1000))
    assert clock.now == 106


def test_what_was_asked_for_and_is_not_there_takes_no_time(clock: Clock) -> None:
    """dvlite.json is read as if it could be 64 KiB long."""
    backend = PacedBackend(open_backend(f"memory://{uuid.uuid4().hex}"), 1000)
    backend.write("a", bytes(2000))
    assert len(backend.read("a", 0, 60_000)) == 2000
    assert len(backend.read_view("a", 1500, 60_000)) == 500
    backend.write("b", b"")
    assert clock.now == 104.5
