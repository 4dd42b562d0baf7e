"""A pack that is added again under the name of one that was replaced, and waits for its removal.

A pack is named by the hash of its bytes, so adding the same again makes the same name.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dvlite.storage import consolidate
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.consolidate import REPLACED
from dvlite.storage.oid import hash_bytes
from dvlite.storage.sweep import leftovers, remove_leftovers
from dvlite.storage.transfer import Transfer, lacking

OBJECTS = [b"%d" % n for n in range(100)]
_DAYS = 5 * 24 * 3600


def fill(cache: Cache) -> dict[bytes, bytes]:
    objects = {hash_bytes(data): data for data in OBJECTS}
    with CacheWriter(cache) as writer:
        for oid, data in objects.items():
            writer.add(oid, data)
    return objects


def only_pack(cache: Cache) -> str:
    [pack] = Cache(cache.folder).packs()
    return pack.path[:-5]


def is_whole(folder: str, objects: dict[bytes, bytes]) -> bool:
    return all(Cache(folder).read(oid) == data for oid, data in objects.items())


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A gc was killed as it removed the only pack."""
    made = Cache(str(tmp_path / "cache"), durable=False)
    os.mkdir(made.folder)
    fill(made)
    stem = only_pack(made)
    os.rename(stem + ".idx", stem + REPLACED)
    return Cache(made.folder, durable=False)


@pytest.fixture
def both(cache: Cache) -> Cache:
    """The same, and what was added anew met what says that the pack was replaced."""
    objects = fill(cache)
    stem = only_pack(cache)
    Path(stem + REPLACED).write_bytes(b"old")
    assert is_whole(cache.folder, objects)
    return Cache(cache.folder, durable=False)


def test_adding_it_forgets_that_it_was_replaced(cache: Cache) -> None:
    objects = fill(cache)
    stem = only_pack(cache)
    assert not os.path.exists(stem + REPLACED)
    assert not list(leftovers(cache, time.time() + _DAYS))
    assert is_whole(cache.folder, objects)


def test_gc_takes_only_what_says_so(both: Cache) -> None:
    stem = only_pack(both)
    assert [path for path, _ in leftovers(both, time.time() + _DAYS)] == [stem + REPLACED]


def test_joining_packs_leaves_it(both: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consolidate, "READERS_S", -_DAYS)
    monkeypatch.setattr(consolidate, "MANY_PACKS", 1)
    monkeypatch.setattr(consolidate, "LITTLE_BYTES", 0)  # only what was replaced before goes
    objects, stem = fill(both), only_pack(both)
    with CacheWriter(both) as writer:
        for n in range(100, 200):
            writer.add(hash_bytes(b"%d" % n), b"%d" % n)
    assert os.path.exists(stem + ".pack") and is_whole(both.folder, objects)


def test_a_move_brings_it(both: Cache, tmp_path: Path) -> None:
    target = Cache(str(tmp_path / "target"))
    os.mkdir(target.folder)
    Transfer(both, target, link=True).bring()
    assert not lacking(Cache(both.folder), Cache(target.folder))
    assert is_whole(target.folder, fill(Cache(both.folder)))


def test_an_index_without_its_pack_is_no_reason_to_take_the_old_one_away(
    both: Cache, tmp_path: Path
) -> None:
    target = Cache(str(tmp_path / "target"))
    os.mkdir(target.folder)
    Transfer(both, target, link=True).bring()
    os.unlink(only_pack(target) + ".pack")
    assert lacking(Cache(both.folder), Cache(target.folder))


def test_what_was_added_anew_since_gc_planned_its_removal_stays(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is asked whether to go on may take hours to answer."""
    planned = [path for path, _ in leftovers(cache, time.time() + _DAYS)]
    assert len(planned) == 2
    objects = fill(cache)
    monkeypatch.setattr("dvlite.storage.sweep.READERS_S", -_DAYS)
    assert not remove_leftovers(cache, planned)
    assert is_whole(cache.folder, objects)
