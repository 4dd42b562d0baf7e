"""Keeping the number of packs in a cache small: many little ones become one.

Owns the order that readers can live with: the new pack and its index are there before the old
indexes go, and old pack files stay for a day, because a process that has looked something up may
read it a little later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dvlite.atomic import publish, temporary_name, try_lock
from dvlite.errors import CorruptError
from dvlite.storage.cache import Cache
from dvlite.storage.localpack import LocalPack
from dvlite.storage.pack import DATA, Member, PackWriter
from dvlite.storage.row import Row, read_rows, sort_rows
from dvlite.storage.segment import encode

# A look-up that misses asks every pack (about 1 us each); below this many nobody notices.
MANY_PACKS = 64
# Larger packs are not worth rewriting.
LITTLE_BYTES = 16 << 20
# No dvlite command keeps a place it looked up for longer.
READERS_S = 24 * 3600
REPLACED = ".idx.old"


def consolidate_if_many(cache: Cache) -> bool:
    """Joins little packs when there are many; whether it did. Never waits for another process.

    Not while some are passed over: they are damaged, and would be joined with the others. Whoever
    added something has it in the cache by now, and does not fail because this cannot be done: on a
    full disk, or where a pack is damaged, which `fsck` tells.
    """
    if cache.passes_over:
        return False
    try:
        names = os.listdir(cache.packs_folder)
    except FileNotFoundError:
        return False
    if sum(name.endswith(".idx") for name in names) <= MANY_PACKS:
        return False
    with suppress(OSError, CorruptError), packs_lock(cache) as taken:
        return taken and _consolidate(cache.alone())
    return False


def _consolidate(cache: Cache) -> bool:
    _remove_old(cache)
    little = [pack for pack in cache.packs() if os.path.getsize(pack.path) < LITTLE_BYTES]
    if len(little) <= MANY_PACKS // 2:
        return False
    _write_joined(cache, little)
    for pack in little:
        with suppress(FileNotFoundError):
            os.rename(pack.path[:-5] + ".idx", pack.path[:-5] + REPLACED)
    return True


@contextmanager
def packs_lock(cache: Cache) -> Iterator[bool]:
    """Excludes others who would rewrite packs; whether it was free. Nobody waits for it."""
    with try_lock(os.path.join(cache.folder, "consolidate.lock"), cache.folder) as taken:
        yield taken


def _write_joined(cache: Cache, packs: list[LocalPack]) -> None:
    temporary = temporary_name(cache.temporary_folder, "pack-")
    try:
        with open(temporary, "xb", buffering=1 << 20) as stream:
            writer = PackWriter(stream, DATA)
            for pack in packs:
                for (offset, length), members in _frames(pack):
                    writer.add_frame(pack.read(offset, length), members)
            name = writer.finish().hex()
            stream.flush()
            os.fchmod(stream.fileno(), 0o444)
            if cache.durable:
                os.fsync(stream.fileno())
        final = os.path.join(cache.packs_folder, name)
        forget_replaced(final)
        os.replace(temporary, final + ".pack")
        index = encode(b"", sort_rows(writer.rows), [bytes.fromhex(name)])
        publish(final + ".idx", index, mode=0o444, durable=cache.durable, top=cache.folder)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _frames(pack: LocalPack) -> list[tuple[tuple[int, int], list[Member]]]:
    """What each frame of a pack holds, in the order of the file."""
    frames: dict[tuple[int, int], list[Member]] = {}
    for row in read_rows(pack.segment.objects.all_rows()):
        frames.setdefault((row.frame_offset, row.frame_length), []).append(_member(row))
    return sorted(frames.items())


def _member(row: Row) -> Member:
    return Member(row.id, row.kind, row.inner_offset, row.raw_length)


def forget_replaced(stem: str) -> None:
    """Before a pack gets its name (`stem`, without the ending): one of the same bytes, hence the
    same name, may have been replaced lately, and what says so would have the new one removed."""
    with suppress(FileNotFoundError):
        os.unlink(stem + REPLACED)


def _remove_old(cache: Cache) -> None:
    limit = time.time() - READERS_S
    for name in os.listdir(cache.packs_folder):
        stem, _, ending = os.path.join(cache.packs_folder, name).rpartition(REPLACED)
        if not stem or ending or os.path.exists(stem + ".idx"):  # it was added anew
            continue
        with suppress(FileNotFoundError):
            if max(os.stat(stem + one).st_ctime for one in (REPLACED, ".pack")) < limit:
                os.unlink(stem + ".pack")
                os.unlink(stem + REPLACED)
