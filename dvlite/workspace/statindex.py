"""The stat index: what dvlite last saw of each file, so that unchanged files are never read.

Owns its file and the rule when a timestamp may be trusted. One block a folder; a folder whose
signature (names and stat of all its files) is the same needs one comparison. It is a cache: it
may be lost or thrown away at any time, so anything odd in it just makes it empty.

Layout (little-endian): head `<7sBQ16s>`: `dvlstat`, version, number of folders, XXH3-128 of all
that follows. Table: one record `<16s32sQQQIII>` a folder (signature, oid, size, files, 0, bytes
of its path, bytes of its names, number of entries). Then each folder's path, names joined by
NUL, kinds, stats (5 x i64 an entry) and oids.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from xxhash import xxh3_128_digest

from dvlite.atomic import open_to_publish

_MAGIC, _VERSION = b"dvlstat", 1
_HEAD = struct.Struct("<7sBQ16s")
_RECORD = struct.Struct("<16s32sQQQIII")
UNTRUSTED = bytes(16)
# mode, size, mtime_ns, ctime_ns, inode
STAT_WIDTH = 5
_STAT_BYTES = 8 * STAT_WIDTH
# The kernel stamps files with the time of its last tick, at most 10 ms ago; a file that changed
# within this of being looked at could change again without its timestamp showing it.
_TICK_NS = 50_000_000
# Timestamps without a fraction come from file systems that count in one or two seconds.
_COARSE_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Block:
    """What was last seen of one folder. `size` and `files` count everything below it."""

    signature: bytes
    oid: bytes
    size: int
    files: int
    names: bytes
    kinds: bytes
    stats: bytes | memoryview
    oids: bytes | memoryview

    def name_list(self) -> list[bytes]:
        """The entries' names, sorted."""
        return self.names.split(b"\0") if self.kinds else []

    def stat_columns(self) -> array[int]:
        """The entries' stats, `STAT_WIDTH` numbers each."""
        column = array("q")
        column.frombytes(self.stats)
        return column


class StatIndex:
    """Path of each folder below a tracked path (b"" for itself) -> its block."""

    def __init__(self, blocks: dict[bytes, Block] | None = None) -> None:
        self.blocks = blocks or {}

    def get(self, path: bytes) -> Block | None:
        """What was last seen of a folder."""
        return self.blocks.get(path)


def signature(names: bytes, stats: array[int]) -> bytes:
    """What is the same exactly when no file of a folder changed its name or stat."""
    return xxh3_128_digest(names + b"\0\0" + stats.tobytes())


def is_whole(path: str) -> bool:
    """Whether an index is what was written; one of another version is."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        return True
    if len(data) < _HEAD.size or data[:7] != _MAGIC:
        return False
    _, version, _, checksum = _HEAD.unpack_from(data)
    return bool(version != _VERSION or xxh3_128_digest(data[_HEAD.size :]) == checksum)


def load(path: str) -> StatIndex:
    """Reads an index; one that is missing, damaged or of another version is empty."""
    try:
        with open(path, "rb") as stream:
            mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return StatIndex()
    if len(mapped) < _HEAD.size or sys.byteorder != "little":
        return StatIndex()
    magic, version, count, checksum = _HEAD.unpack_from(mapped)
    body = mapped[_HEAD.size :]
    if magic != _MAGIC or version != _VERSION or xxh3_128_digest(body) != checksum:
        return StatIndex()
    try:
        return StatIndex(dict(_read_blocks(body, count)))
    except ValueError:
        return StatIndex()


def save(path: str, blocks: Iterable[tuple[bytes, Block]]) -> bool:
    """Replaces an index; whether that was possible (a read-only `.git` is no reason to fail)."""
    table: list[bytes | memoryview] = []
    parts: list[bytes | memoryview] = []
    for name, block in blocks:
        lengths = len(name), len(block.names), len(block.kinds)
        table.append(_RECORD.pack(block.signature, block.oid, block.size, block.files, 0, *lengths))
        parts += (name, block.names, block.kinds, block.stats, block.oids)
    body = b"".join(table + parts)
    with suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open_to_publish(path, durable=False) as stream:
            stream.write(_HEAD.pack(_MAGIC, _VERSION, len(table), xxh3_128_digest(body)))
            stream.write(body)
        return True
    return False


def now_ns(folder: str) -> int:
    """The time by the clock that stamps files; well in the past where that cannot be asked."""
    name = os.path.join(folder, f".now-{os.getpid()}")
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        try:
            return os.fstat(descriptor).st_ctime_ns
        finally:
            os.close(descriptor)
            os.unlink(name)
    except OSError:
        return time.time_ns() - _COARSE_NS


def is_settled(ctime_ns: int, now: int) -> bool:
    """Whether a file last changed long enough before `now` that a further change would show.

    The change time counts, because programs can set the modification time at will.
    """
    margin = _TICK_NS if ctime_ns % 1_000_000_000 else _COARSE_NS
    return ctime_ns < now - margin


def _read_blocks(body: memoryview, count: int) -> Iterator[tuple[bytes, Block]]:
    start = count * _RECORD.size
    if start > len(body):
        raise ValueError("more folders than there is room for")
    for record in _RECORD.iter_unpack(body[:start]):
        sign, oid, size, files, _, path_length, names_length, entries = record
        names_at = start + path_length
        kinds_at = names_at + names_length
        stats_at = kinds_at + entries
        oids_at = stats_at + _STAT_BYTES * entries
        end = oids_at + 32 * entries
        yield (
            bytes(body[start:names_at]),
            Block(
                sign,
                oid,
                size,
                files,
                bytes(body[names_at:kinds_at]),
                bytes(body[kinds_at:stats_at]),
                body[stats_at:oids_at],
                body[oids_at:end],
            ),
        )
        start = end
    if start != len(body):
        raise ValueError("bytes behind the last folder")
