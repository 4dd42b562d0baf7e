"""Many little packs become one, and nobody notices."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from dvlite.errors import CorruptError
from dvlite.storage import consolidate
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.oid import hash_bytes


def fill(cache: Cache, operations: int, seed: int = 1) -> dict[bytes, bytes]:
    objects = {}
    source = random.Random(seed)
    for _ in range(operations):
        with CacheWriter(cache) as writer:
            for _ in range(70):
                data = source.randbytes(source.randrange(500))
                objects[hash_bytes(data)] = data
                writer.add(hash_bytes(data), data)
    return objects


def test_little_packs_are_joined_and_nothing_is_lost(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), durable=False)
    objects = fill(cache, 150)
    indexes = [name for name in os.listdir(cache.packs_folder) if name.endswith(".idx")]
    assert len(indexes) <= consolidate.MANY_PACKS + 1
    fresh = Cache(str(tmp_path))
    assert all(fresh.read(oid) == data for oid, data in objects.items())


def test_a_reader_that_looked_up_before_can_still_read(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path), durable=False)
    objects = fill(cache, 60)
    reader = Cache(str(tmp_path))
    places = reader.find_many(objects)
    objects_after = fill(Cache(str(tmp_path), durable=False), 10, seed=2)
    assert any(name.endswith(".idx.old") for name in os.listdir(cache.packs_folder))
    for oid, (path, row) in places.items():
        assert row is not None
        assert reader.read_row(path, row) == objects[oid]
    assert objects_after


def test_old_packs_go_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path), durable=False)
    objects = fill(cache, 70)
    monkeypatch.setattr(consolidate, "READERS_S", -5)
    objects |= fill(cache, 140, seed=2)
    names = os.listdir(cache.packs_folder)
    assert sum(name.endswith(".pack") for name in names) <= 2 * consolidate.MANY_PACKS + 2
    fresh = Cache(str(tmp_path))
    assert all(fresh.read(oid) == data for oid, data in objects.items())


def test_a_damaged_index_is_told_every_time_and_hides_no_other_pack(tmp_path: Path) -> None:
    objects = fill(Cache(str(tmp_path), durable=False), 1)
    (tmp_path / "packs" / ("0" * 64 + ".idx")).write_bytes(b"an index that is looked at first")
    os.utime(tmp_path / "packs", (1e9, 1e9))  # long enough ago not to be listed again
    cache = Cache(str(tmp_path))
    for _ in range(2):
        with pytest.raises(CorruptError):
            cache.missing(objects)


@pytest.mark.parametrize("trouble", ["no room", "a pack is cut short", "a pack is gone"])
def test_an_add_does_not_fail_because_packs_cannot_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    cache = Cache(str(tmp_path), durable=False)
    fill(cache, 10, seed=2)
    pack = cache.packs()[0].path
    if trouble == "no room":
        monkeypatch.setattr(consolidate, "PackWriter", _no_room)
    elif trouble == "a pack is gone":
        os.unlink(pack)
    else:
        os.chmod(pack, 0o644)
        os.truncate(pack, 50)
    objects = fill(Cache(str(tmp_path), durable=False), 70)
    fresh = Cache(str(tmp_path))
    assert all(fresh.read(oid) == data for oid, data in objects.items())
    assert not os.listdir(fresh.temporary_folder)


def _no_room(*words: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
