"""A large file whose fetch was stopped: what came is not fetched again, and nothing is believed."""

from __future__ import annotations

import fcntl
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dvlite.errors import RemoteError
from dvlite.storage.backend import TransientError, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import FetchReport, Wanted
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import Root, push
from dvlite.storage.remote import Remote, open_remote

# Whole blocks of 4 MiB are what an interruption leaves.
DATA = random.Random(11).randbytes(40 << 20)
OID = hash_bytes(DATA)


@dataclass(frozen=True)
class Stop:
    """A user who stops a fetch when so many bytes are there."""

    size: int

    def __call__(self, phase: str, files: int, size_bytes: int, *rest: object) -> None:
        if size_bytes >= self.size:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Remote:
    folder = tmp_path_factory.mktemp("partial")
    cache = Cache(str(folder / "cache"), durable=False)
    publish_object(cache, OID, DATA)
    remote = open_remote("r", open_backend(str(folder / "store")), create=True)
    push(remote, cache, [Root("file", OID, len(DATA), 1, "model")])
    return remote


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"), durable=False)


def get(remote: Remote, cache: Cache, stop: Stop | None = None) -> FetchReport:
    wanted = Wanted("file", OID, len(DATA), 1, "model")
    if stop is None:
        return fetch([remote], cache, [wanted], jobs=1)
    return fetch([remote], cache, [wanted], jobs=1, progress=stop)


def left(cache: Cache) -> list[Path]:
    return sorted(Path(cache.temporary_folder).iterdir())


@pytest.fixture
def stopped(remote: Remote, cache: Cache) -> Path:
    """What a fetch left that was stopped when most had come."""
    with pytest.raises(KeyboardInterrupt):
        get(remote, cache, Stop(30 << 20))
    assert not cache.has(OID)
    (path,) = left(cache)
    return path


def test_what_came_before_a_user_stopped_it_is_not_fetched_again(
    remote: Remote, cache: Cache, stopped: Path
) -> None:
    report = get(remote, cache)
    assert report.complete
    assert report.reused_bytes > 20 << 20
    assert report.read_bytes < 20 << 20
    assert cache.read(OID) == DATA
    assert left(cache) == []


def test_what_came_before_an_outage_is_not_fetched_again(
    remote: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(remote.backend)
    read, answers = kind.read_view, iter(range(5))

    def silent_after_some(*where: Any) -> memoryview:
        if next(answers, None) is None:
            raise TransientError("silence")
        return read(*where)

    with monkeypatch.context() as patch, pytest.raises(RemoteError, match="silence"):
        patch.setattr(kind, "read_view", silent_after_some)
        get(remote, cache)
    assert get(remote, cache).reused_bytes > 20 << 20
    assert cache.read(OID) == DATA


def test_what_was_left_is_not_believed(remote: Remote, cache: Cache, stopped: Path) -> None:
    data = bytearray(stopped.read_bytes())
    for at in range(0, len(data), 1 << 20):
        data[at] ^= 1
    stopped.write_bytes(bytes(data))
    report = get(remote, cache)
    assert report.complete
    assert report.reused_bytes < 36 << 20
    assert cache.read(OID) == DATA


def test_often_stopped_it_leaves_one_file_the_one_with_the_most(
    remote: Remote, cache: Cache, stopped: Path
) -> None:
    size = stopped.stat().st_size
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            get(remote, cache, Stop(1 << 20))
        assert [path.stat().st_size for path in left(cache)] == [size]
    assert get(remote, cache).reused_bytes > 20 << 20


def test_one_that_is_being_written_is_left_alone(
    remote: Remote, cache: Cache, stopped: Path
) -> None:
    """By another process, which holds its lock."""
    with open(stopped, "rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert get(remote, cache).reused_bytes == 0
    assert left(cache) == [stopped]


def test_what_is_damaged_on_the_remote_leaves_nothing(
    remote: Remote, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*rest: object) -> memoryview:
        return memoryview(bytes(1 << 20))

    monkeypatch.setattr(type(remote.backend), "read_view", damaged)
    assert not get(remote, cache).complete
    assert not Path(cache.temporary_folder).exists() or left(cache) == []
