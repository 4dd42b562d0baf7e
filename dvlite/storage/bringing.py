"""Taking chosen objects of another cache over into one. Every byte is compared with its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from dvlite.atomic import temporary_name
from dvlite.errors import CorruptError
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter, adopt_files
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.directio import DirectWriter, read_blocks
from dvlite.storage.oid import file_hasher, hash_bytes, hash_tree
from dvlite.storage.row import RowKind

# As many copies of large files wait for a common sync.
_TOGETHER = 512


def bring_objects(
    source: Cache,
    cache: Cache,
    oids: Iterable[bytes],
    told: Callable[[int, int], None] = lambda n, size: None,
) -> tuple[int, int, set[bytes]]:
    """Takes over what the cache lacks and the source has; how many objects and bytes that was, and
    which were damaged there."""
    absent = set(oids) - cache.find_own(oids).keys()
    places = source.find_own(absent)
    count = size = 0
    damaged: set[bytes] = set()
    waiting: list[tuple[str, bytes]] = []
    try:
        with CacheWriter(cache) as writer:
            for oid, place in sorted(places.items(), key=lambda item: item[1].path):
                try:
                    if place.row is None and os.path.getsize(place.path) >= SMALL_BYTES:
                        waiting.append((_copied(place.path, cache, oid), oid))
                        size += os.path.getsize(waiting[-1][0])
                    else:
                        size += _add(source.read(oid), writer, oid)
                except CorruptError:
                    damaged.add(oid)
                    continue
                count += 1
                told(count, size)
                if len(waiting) >= _TOGETHER:
                    adopt_files(cache, waiting)
                    waiting.clear()
            adopt_files(cache, waiting)
            waiting.clear()
    finally:
        for temporary, _ in waiting:
            with suppress(OSError):
                os.unlink(temporary)
    return count, size, damaged


def _add(data: bytes, writer: CacheWriter, oid: bytes) -> int:
    is_tree = hash_tree(data) == oid
    if not is_tree and hash_bytes(data) != oid:
        raise CorruptError("its bytes are not what its name says")
    writer.add(oid, data, RowKind.TREE if is_tree else RowKind.FILE)
    return len(data)


def _copied(path: str, cache: Cache, oid: bytes) -> str:
    """A verified copy in the cache's folder for unfinished files."""
    temporary, hasher = temporary_name(cache.temporary_folder, "object-"), file_hasher()
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writer = DirectWriter(temporary)
        try:
            for block in read_blocks(source):
                writer.write(block)
                hasher.update(block)
            writer.finish(durable=False)
        finally:
            writer.close()
        if hasher.digest() == oid:
            return temporary
        raise CorruptError("its bytes are not what its name says")
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(source)
