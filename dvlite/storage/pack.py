"""Packs: immutable files of many frames, the same on remotes and in caches.

Owns the bytes of a pack and its name (the hash of its bytes). Whoever writes one hands in a
binary file; whoever reads one hands in bytes.

Layout (little-endian):
    head, 32 bytes: `dvlpack`, u8 version, u8 content (0 data, 1 meta), 7 zero bytes,
        u64 epoch, 8 zero bytes
    frames
    footer: the rows of everything inside, in the order of the frames, pack number 0
    tail, 40 bytes: u64 footer offset, u64 number of rows, u64 XXH3-64 of the footer, 8 zero
        bytes, `dvlpackE`
The epoch is in the head so that the same frames pushed in another gc epoch have another name:
a name that gc has condemned never comes back.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

from blake3 import blake3
from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.codec import pack_frame
from dvlite.storage.row import ROW_BYTES, Row, pack_row, read_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAGIC, _END, _VERSION = b"dvlpack", b"dvlpackE", 1
HEAD = struct.Struct("<7sBB7xQ8x")
TAIL = struct.Struct("<QQQ8x8s")
DATA, META = 0, 1

# Large enough that 100,000 small files are a few dozen PUTs, small enough that several can be
# built and uploaded at once within the memory limit.
PACK_TARGET = 32 << 20
# Row offsets have 32 bits. Packs in caches may grow to this before the next one is begun.
MAX_PACK_BYTES = (4 << 30) - 1
# A full pack of the smallest chunks has 2,000 rows; a hundred times as many are an attack.
MAX_FOOTER_BYTES = 16 << 20


class Member(NamedTuple):
    """One thing inside a frame: its id, its kind, where in the raw frame, how long."""

    id: bytes
    kind: int
    inner_offset: int
    raw_length: int


class Sink(Protocol):
    """What a pack is written to: a binary file, or anything that appends."""

    def write(self, data: bytes, /) -> int:
        """Appends bytes."""


class PackWriter:
    """Appends frames to a binary file and hashes as it goes. One pack, one writer."""

    def __init__(self, stream: Sink, content: int = DATA, epoch: int = 0) -> None:
        self._stream = stream
        self._hasher = blake3()
        self.size = 0
        self.rows = bytearray()
        self._write(encode_head(content, epoch))

    def add_frame(self, frame: bytes, members: Sequence[Member]) -> int:
        """Appends a finished frame; returns its offset."""
        offset, length = self.size, len(frame)
        if offset + length + len(self.rows) > MAX_PACK_BYTES:
            raise ValueError("a pack cannot grow past 4 GiB")
        self._write(frame)
        rows = self.rows
        for member in members:
            rows += pack_row(member[0], member[1], 0, offset, length, member[2], member[3])
        return offset

    def add(self, oid: bytes, kind: int, raw: bytes | memoryview) -> int:
        """Appends one thing in a frame of its own; returns the frame's offset."""
        return self.add_frame(pack_frame(raw), [Member(oid, kind, 0, len(raw))])

    def finish(self) -> bytes:
        """Writes the footer and returns the pack's id. The file is the caller's to publish."""
        footer = bytes(self.rows)
        offset = self.size
        self._write(footer)
        self._write(encode_tail(offset, footer))
        return self._hasher.digest()

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._hasher.update(data)
        self.size += len(data)


def encode_head(content: int, epoch: int) -> bytes:
    """What a pack begins with."""
    return HEAD.pack(_MAGIC, _VERSION, content, epoch)


def encode_tail(offset: int, footer: bytes) -> bytes:
    """What follows a footer that lies at `offset`."""
    return TAIL.pack(offset, len(footer) // ROW_BYTES, xxh3_64_intdigest(footer), _END)


def check_head(head: bytes) -> tuple[int, int]:
    """Content and epoch of a pack from its first bytes.

    Raises:
        CorruptError, FormatVersionError: not a pack, or a newer one.
    """
    if len(head) < HEAD.size or head[:7] != _MAGIC:
        raise CorruptError("these bytes are not a pack")
    _, version, content, epoch = HEAD.unpack_from(head)
    if version != _VERSION:
        raise FormatVersionError(
            f"a pack has format version {version}, this dvlite reads {_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    return content, epoch


def footer_place(tail: bytes, size: int) -> tuple[int, int]:
    """Offset and length of the footer of a pack of `size` bytes, from its last 40 bytes."""
    if len(tail) != TAIL.size:
        raise CorruptError("a pack is shorter than its tail")
    offset, count, _, end = TAIL.unpack(tail)
    length = count * ROW_BYTES
    if end != _END or offset < HEAD.size or offset + length + TAIL.size != size:
        raise CorruptError("a pack's tail does not fit its size")
    return offset, length


def read_footer(footer: bytes, tail: bytes) -> list[Row]:
    """The rows of a pack, checked against its tail."""
    if xxh3_64_intdigest(footer) != TAIL.unpack(tail)[2]:
        raise CorruptError("a pack's footer does not match its checksum")
    return read_rows(footer)


def end_length(end: bytes) -> int:
    """How many bytes at the end of a pack are its footer and tail, from (at least) the tail."""
    if len(end) < TAIL.size or end[-8:] != _END:
        raise CorruptError("these bytes are not the end of a pack")
    return int(TAIL.unpack(end[-TAIL.size :])[1]) * ROW_BYTES + TAIL.size


def read_end(end: bytes) -> list[Row]:
    """The rows of a pack from its last bytes, `end_length` of them or more."""
    length = end_length(end)
    if length > len(end):
        raise CorruptError("a pack is shorter than its footer")
    return read_footer(end[-length : -TAIL.size], end[-TAIL.size :])


def read_pack_rows(data: bytes | memoryview) -> list[Row]:
    """The rows of a pack that is wholly in memory."""
    check_head(bytes(data[: HEAD.size]))
    tail = bytes(data[-TAIL.size :])
    offset, length = footer_place(tail, len(data))
    return read_footer(bytes(data[offset : offset + length]), tail)
