"""Rows: the one fixed-size index entry that pack footers, segments and cache indexes share.

Layout (56 bytes, little-endian): 32 bytes id, u8 kind, 3 zero bytes, u32 pack number,
u32 frame offset, u32 frame length, u32 offset inside the raw frame, u32 raw length.
A pack is at most 4 GiB, so 32 bits reach everywhere in it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from dvlite.errors import CorruptError

ROW_BYTES = 56
# Where the pack's number is.
PACK_AT = 36
_ROW = struct.Struct("<32sBxxxIIIII")
_ITER = _ROW.iter_unpack
pack_row = _ROW.pack


class RowKind(IntEnum):
    """What the bytes at a row's place are."""

    CHUNK = 0  # a piece of a large file; the id is the hash of the piece
    FILE = 1  # a whole small file (or a link's target)
    TREE = 2  # a tree's bytes (in caches)
    TREE_RECIPE = 3  # a tree's bytes with hints for its entries (on remotes)
    FILE_RECIPE = 4  # the chunks of a large file
    RECIPE_PART = 5  # a stretch of a long recipe


# Pieces promise nothing about anything else; the other kinds are objects, and an object's row
# in a segment promises that everything the object needs is on the remote too.
PIECES = frozenset((RowKind.CHUNK, RowKind.RECIPE_PART))


class Row(NamedTuple):
    """Where the bytes of one id lie."""

    id: bytes
    kind: int
    pack: int
    frame_offset: int
    frame_length: int
    inner_offset: int
    raw_length: int

    def pack_bytes(self) -> bytes:
        """The 56 bytes of this row."""
        return _ROW.pack(*self)


def read_rows(data: bytes | memoryview) -> list[Row]:
    """All rows in `data`.

    Raises:
        CorruptError: a length that is no multiple of a row's.
    """
    if len(data) % ROW_BYTES:
        raise CorruptError("an index section is not a whole number of rows")
    return [Row._make(fields) for fields in _ITER(data)]


def read_row(data: bytes | memoryview, offset: int = 0) -> Row:
    """The row at `offset`."""
    return Row._make(_ROW.unpack_from(data, offset))


def sort_rows(rows: bytes | bytearray) -> bytes:
    """Packed rows in order of id, without repeats of the same id and kind (the first stays)."""
    items = sorted(
        bytes(rows[start : start + ROW_BYTES]) for start in range(0, len(rows), ROW_BYTES)
    )
    kept: list[bytes] = []
    last = b""
    for item in items:
        if item[:33] != last:
            kept.append(item)
            last = item[:33]
    return b"".join(kept)
