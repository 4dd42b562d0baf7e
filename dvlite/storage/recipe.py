"""Recipes: where the bytes that an object needs lie on a remote.

Owns two formats: the chunks of a large file, and a tree's bytes with a hint for each entry.
Ids are the truth; hints (pack, offsets, lengths) only save a look-up: one that fails is looked
up by id once, so recipes stay valid when packs are rewritten.

Layout (little-endian), after the 8-byte head `dvlreci` + version 1:
    u8 what (0 chunks, 1 parts, 2 tree), 3 zero bytes, u32 number of packs p, u32 number of
    hints n, u64 length of the body b
    p x 32 bytes pack ids (32 zero bytes: the pack that holds this recipe)
    n x u8 kind, then five columns of n x u32: pack number (0xffffffff: no hint), frame offset,
        frame length, inner offset, raw length
    body: n x 32 bytes ids (chunks, parts), or the tree's bytes (tree; hints in entry order)
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.oid import OID_BYTES
from dvlite.storage.row import RowKind

_MAGIC, _VERSION = b"dvlreci", 1
_HEAD = struct.Struct("<7sBB3xIIQ")
CHUNKS, PARTS, TREE = 0, 1, 2
SAME_PACK = bytes(32)
_NO_HINT = 0xFFFFFFFF

# A file of more chunks than this (about 1 GB) gets a recipe of parts, so that neither side ever
# holds more than one part of a huge file's recipe: memory stays bounded at any file size.
PART_CHUNKS = 16_384
# 2 million parts of 1 GB each are 2 PB; the body stays under 64 MiB.
MAX_ITEMS = 1 << 21


class Hint(NamedTuple):
    """Where something was when the recipe was written. `pack` is the pack's id."""

    kind: int
    pack: bytes
    frame_offset: int
    frame_length: int
    inner_offset: int
    raw_length: int


class Need(NamedTuple):
    """One thing to fetch: its id, and perhaps where it lies."""

    id: bytes
    hint: Hint | None


@dataclass(frozen=True, slots=True)
class Recipe:
    """A decoded recipe. `body` is the ids (chunks, parts) or the tree's bytes."""

    what: int
    body: bytes
    hints: list[Hint | None]

    def needs(self) -> Iterator[Need]:
        """Chunks or parts, in the order of the file."""
        for index, hint in enumerate(self.hints):
            yield Need(self.body[index * OID_BYTES : (index + 1) * OID_BYTES], hint)


def encode(what: int, body: bytes, hints: Sequence[Hint | None]) -> bytes:
    """The bytes of a recipe."""
    packs: dict[bytes, int] = {}
    kinds = bytearray()
    columns = [array("I") for _ in range(5)]
    for hint in hints:
        if hint is None:
            kinds.append(RowKind.FILE)
            values: tuple[int, ...] = (_NO_HINT, 0, 0, 0, 0)
        else:
            kinds.append(hint.kind)
            values = (packs.setdefault(hint.pack, len(packs)), *hint[2:])
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    head = _HEAD.pack(_MAGIC, _VERSION, what, len(packs), len(hints), len(body))
    return b"".join(
        (head, *packs, bytes(kinds), *(_little_endian(column) for column in columns), body)
    )


def encode_chunks(ids: Iterable[bytes], hints: Sequence[Hint | None], what: int = CHUNKS) -> bytes:
    """A recipe of chunks (or of parts) in file order."""
    return encode(what, b"".join(ids), hints)


def decode(data: bytes, own_pack: bytes) -> Recipe:
    """Reads a recipe found in the pack `own_pack`.

    Raises:
        CorruptError: not a recipe. FormatVersionError: a newer one.
    """
    if len(data) < _HEAD.size:
        raise CorruptError("a recipe is shorter than its head")
    magic, version, what, pack_count, count, body_length = _HEAD.unpack_from(data)
    _check(magic, version, what)
    packs_end = _HEAD.size + OID_BYTES * pack_count
    kinds_end = packs_end + count
    body_start = kinds_end + 20 * count
    if count > MAX_ITEMS or len(data) != body_start + body_length:
        raise CorruptError("a recipe's columns do not fit its length")
    if what != TREE and body_length != OID_BYTES * count:
        raise CorruptError("a recipe does not name as many pieces as it says")
    packs = [data[start : start + OID_BYTES] for start in range(_HEAD.size, packs_end, OID_BYTES)]
    packs = [own_pack if pack == SAME_PACK else pack for pack in packs]
    columns = [
        _column(data[start : start + 4 * count])
        for start in range(kinds_end, body_start, 4 * count or 1)
    ]
    hints = _read_hints(data[packs_end:kinds_end], columns, packs)
    return Recipe(what, data[body_start:], hints)


def _read_hints(kinds: bytes, columns: list[array[int]], packs: list[bytes]) -> list[Hint | None]:
    hints: list[Hint | None] = []
    for kind, (pack, *place) in zip(kinds, zip(*columns, strict=True), strict=False):
        if pack == _NO_HINT:
            hints.append(None)
        elif pack < len(packs):
            hints.append(Hint(kind, packs[pack], *place))
        else:
            raise CorruptError("a recipe points at a pack that it does not name")
    return hints


def _check(magic: bytes, version: int, what: int) -> None:
    if magic != _MAGIC:
        raise CorruptError("these bytes are not a recipe")
    if version != _VERSION:
        raise FormatVersionError(
            f"a recipe has format version {version}, this dvlite reads {_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    if what not in (CHUNKS, PARTS, TREE):
        raise CorruptError(f"a recipe of unknown sort {what}")


def _little_endian(column: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover
        column = array("I", column)
        column.byteswap()
    return column.tobytes()


def _column(data: bytes) -> array[int]:
    column = array("I")
    column.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover
        column.byteswap()
    return column
