"""The file index: what dvlite last read of each file that a stage of a pipeline reads.

Owns its file. Unlike the stat index it says nothing of the cache, so that code and settings, which
git keeps, can be in it. It is a cache: anything odd in it just makes it empty.

Layout (little-endian): head `<8sBQQ16s>`: `dvlfiles`, version, number of files, bytes of their
names, XXH3-128 of all that follows: stats (5 x i64 a file), oids, names joined by NUL.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from contextlib import suppress

from xxhash import xxh3_128_digest

from dvlite.atomic import open_to_publish
from dvlite.storage.oid import OID_BYTES
from dvlite.workspace.statindex import STAT_WIDTH

# Its name, beside the stat indexes.
NAME = "inputs"
_MAGIC, _VERSION = b"dvlfiles", 1
_HEAD = struct.Struct("<8sBQQ16s")
# mode, size, mtime_ns, ctime_ns, inode
FileStat = tuple[int, int, int, int, int]


def file_stat(found: os.stat_result) -> FileStat:
    """What of a stat the index compares: mode, size, times of modification and change, inode."""
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


class FileIndex:
    """Path -> the stat a file had when it was read, and its oid."""

    def __init__(self, known: dict[bytes, tuple[FileStat, bytes]] | None = None) -> None:
        self._known = known or {}
        self.changed = False

    def get(self, path: str, stat: FileStat) -> bytes | None:
        """The oid of a file, if it has not changed since it was read."""
        known = self._known.get(os.fsencode(path))
        return known[1] if known is not None and known[0] == stat else None

    def note(self, path: str, stat: FileStat, oid: bytes) -> None:
        """Remembers what a file is."""
        self._known[os.fsencode(path)] = stat, oid
        self.changed = True

    def save(self, path: str) -> None:
        """Replaces the index's file; a read-only `.git` is no reason to fail."""
        stats = array("q", [number for stat, _ in self._known.values() for number in stat])
        names = b"\0".join(self._known)
        body = b"".join([stats.tobytes(), *(oid for _, oid in self._known.values()), names])
        head = _HEAD.pack(_MAGIC, _VERSION, len(self._known), len(names), xxh3_128_digest(body))
        with suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open_to_publish(path, durable=False) as stream:
                stream.write(head + body)
            self.changed = False


def is_whole(path: str) -> bool:
    """Whether an index is what was written; one of another version is."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return True
    if len(data) < _HEAD.size or data[:8] != _MAGIC:
        return False
    _, version, _, _, checksum = _HEAD.unpack_from(data)
    return bool(version != _VERSION or xxh3_128_digest(data[_HEAD.size :]) == checksum)


def load(path: str) -> FileIndex:
    """Reads an index; one that is missing, damaged or of another version is empty."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        magic, version, count, length, checksum = _HEAD.unpack_from(data)
    except (OSError, struct.error):
        return FileIndex()
    body = memoryview(data)[_HEAD.size :]
    width = 8 * STAT_WIDTH
    if (
        (magic, version, sys.byteorder) != (_MAGIC, _VERSION, "little")
        or len(body) != count * (width + OID_BYTES) + length
        or xxh3_128_digest(body) != checksum
    ):
        return FileIndex()
    stats = array("q")
    stats.frombytes(body[: count * width])
    numbers = iter(stats.tolist())
    rows = zip(*[numbers] * STAT_WIDTH, strict=True)
    oids = bytes(body[count * width : count * (width + OID_BYTES)])
    names = bytes(body[count * (width + OID_BYTES) :]).split(b"\0") if count else []
    known = {
        name: (row, oids[at : at + OID_BYTES])
        for name, row, at in zip(names, rows, range(0, len(oids), OID_BYTES), strict=True)
    }
    return FileIndex(known)
