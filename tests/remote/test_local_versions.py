"""A large file with an older version here: what they share is copied, and is not believed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from dvlite.storage import fetchlarge, localchunks
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.directio import DirectSource
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import FetchReport, Wanted
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import Root, push
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import Remote, open_remote

_BLOCKS = [random.Random(seed).randbytes(8 << 20) for seed in range(4)]
OLD = b"".join(_BLOCKS)
# Something before it, something changed in it, and two parts in the other order.
NEW = b"new" * 50_000 + _BLOCKS[0] + _BLOCKS[2] + b"changed" + _BLOCKS[1] + _BLOCKS[3]
OLD_OID, NEW_OID = hash_bytes(OLD), hash_bytes(NEW)


def make_remote(folder: Path, *versions: bytes) -> Remote:
    cache = Cache(str(folder / "cache"), durable=False)
    remote = open_remote("r", open_backend(str(folder / "store")), create=True)
    for data in versions:
        oid = hash_bytes(data)
        publish_object(cache, oid, data)
        push(remote, cache, [Root("file", oid, len(data), 1, "table")])
    return remote


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Remote:
    return make_remote(tmp_path_factory.mktemp("both"), OLD, NEW)


@pytest.fixture(scope="module")
def new_alone(tmp_path_factory: pytest.TempPathFactory) -> Remote:
    return make_remote(tmp_path_factory.mktemp("new"), NEW)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(str(tmp_path / "cache"), durable=False)
    publish_object(cache, OLD_OID, OLD)
    return cache


def get(remote: Remote, cache: Cache) -> FetchReport:
    wanted = Wanted("file", NEW_OID, len(NEW), 1, "table", previous=OLD_OID)
    report = fetch([remote], cache, [wanted])
    assert report.complete
    assert cache.read(NEW_OID) == NEW
    return report


def old_file(cache: Cache) -> Path:
    place = cache.find(OLD_OID)
    assert place is not None
    path = Path(place.path)
    path.chmod(0o644)
    return path


def test_what_both_share_is_copied_without_reading_the_old_version_first(
    both: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetchlarge, "cut_file", pytest.fail)
    report = get(both, cache)
    assert report.reused_bytes > 30 << 20
    assert report.read_bytes < 2 << 20


def test_a_remote_that_does_not_know_the_old_version_has_it_cut(
    new_alone: Remote, cache: Cache
) -> None:
    assert get(new_alone, cache).reused_bytes > 30 << 20


def test_an_old_version_with_other_bytes_than_its_name_says_spoils_nothing(
    both: Remote, cache: Cache
) -> None:
    path = old_file(cache)
    data = bytearray(OLD)
    data[20 << 20] ^= 1
    path.write_bytes(bytes(data))
    # all was put together, was wrong, and was put together again with every chunk checked
    assert get(both, cache).reused_bytes > 30 << 20


def test_an_old_version_that_was_cut_short_spoils_nothing(both: Remote, cache: Cache) -> None:
    old_file(cache).write_bytes(OLD[: 10 << 20])
    assert 5 << 20 < get(both, cache).reused_bytes < 12 << 20


def test_an_old_version_whose_recipe_is_damaged_is_cut(tmp_path: Path, cache: Cache) -> None:
    remote = make_remote(tmp_path / "elsewhere", OLD, NEW)
    folder = tmp_path / "elsewhere" / "store" / "packs"
    packs = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_mtime_ns,
    )
    assert len(packs) >= 2
    # the pack of the first push is gone: the recipe of the old version, and the chunks of both
    packs[0].unlink()
    assert get(remote, cache).reused_bytes > 30 << 20


def test_chunks_are_known_around_their_place_only(
    both: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localchunks, "_WINDOW", 4 << 20)
    monkeypatch.setattr(fetchlarge, "_BATCH", 16)
    # the first part and the last are where they were; the two that changed places are too far
    assert 10 << 20 < get(both, cache).reused_bytes < 20 << 20


def test_a_file_that_is_looked_at_in_a_window_forgets_what_is_behind() -> None:
    chunks = [(bytes([number]), 1 << 30) for number in range(40)]
    file = localchunks.LocalFile(DirectSource(-1), chunks)
    file.near(0)
    assert file.locate(bytes([7]), 0) is not None
    assert file.locate(bytes([9]), 0) is None
    file.near(20 << 30)
    assert file.locate(bytes([7]), 0) is None
    found = file.locate(bytes([27]), 5)
    assert found is not None
    assert found[1:] == (27 << 30, 5, 1 << 30)


def test_what_must_be_read_is_asked_for_before_what_is_here_around_it_is_copied(
    both: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else blocks wait for it, until there is no memory for others."""
    monkeypatch.setattr(fetchlarge, "_STEP", 16)
    events: list[tuple[str, int]] = []
    lacking, copy = fetchlarge._Assembly._lacking, localchunks.Copier.copy

    def asked(self: fetchlarge._Assembly, *args: Any) -> dict[bytes, Hint]:
        wanted = lacking(self, *args)
        events.append(("asked", self.end))
        return wanted

    def copied(self: localchunks.Copier, runs: list[localchunks.Run]) -> None:
        events.extend(("copied", run.target + run.length) for run in runs)
        copy(self, runs)

    monkeypatch.setattr(fetchlarge._Assembly, "_lacking", asked)
    monkeypatch.setattr(localchunks.Copier, "copy", copied)
    assert get(both, cache).reused_bytes > 30 << 20
    ends = [end for what, end in events if what == "asked"]
    assert len(ends) > 10 and ends == sorted(ends)
    for at, (what, end) in enumerate(events):
        if what == "copied" and end <= ends[-2]:
            step = next(place for place, edge in enumerate(ends) if edge >= end)
            assert events.index(("asked", ends[step + 1])) < at
