"""Checking packs: all bytes against the name, and where that fails, frame by frame.

Owns what is known of places that are no good: packs that are gone, and rows whose bytes are not
what their id says. Memory is bounded: a pack is read in ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from dvlite.errors import CorruptError
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.codec import unpack_frame
from dvlite.storage.oid import hash_bytes, hash_recipe_part, hash_tree
from dvlite.storage.pack import TAIL, Member, footer_place, read_footer
from dvlite.storage.ranges import RANGE_BYTES, FrameWant, group_frames, read_frames
from dvlite.storage.recipe import TREE, Hint
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.remote import pack_name
from dvlite.storage.row import Row, RowKind

# Rows examined at a time: 10 MB of memory.
_BATCH = 16_384


@dataclass(slots=True)
class BadPlaces:
    """Where nothing good is to be had: whole packs that are gone, and single rows of others."""

    absent: set[bytes] = field(default_factory=set)
    rows: set[tuple[bytes, bytes, int]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.absent or self.rows)

    def has(self, oid: bytes, hint: Hint) -> bool:
        """Whether a place of an id is bad."""
        return hint.pack in self.absent or (hint.pack, oid, hint.kind) in self.rows


def hash_pack(backend: Backend, pack: bytes, size: int, tell: Callable[[int], None]) -> bytes:
    """The hash of all bytes of a stored pack; `tell` hears of each range read.

    Raises:
        NotThere: it is gone.
    """
    hasher, offset = blake3(), 0
    while offset < size:
        data = backend.read(pack_name(pack), offset, min(RANGE_BYTES, size - offset))
        if not data:
            break
        hasher.update(data)
        offset += len(data)
        tell(len(data))
    return hasher.digest()


def stored_rows(backend: Backend, pack: bytes, size: int) -> list[Row]:
    """The rows in a pack's own footer.

    Raises:
        CorruptError: damaged. NotThere: gone.
    """
    tail = backend.read(pack_name(pack), max(0, size - TAIL.size), min(size, TAIL.size))
    offset, length = footer_place(tail, size)
    return read_footer(backend.read(pack_name(pack), offset, length), tail)


def failing_rows(backend: Backend, pack: bytes, rows: Sequence[Row], jobs: int) -> list[Row]:
    """Those rows of a pack whose bytes are not what they promise.

    Raises:
        RemoteError: the remote fails, which says nothing about the bytes.
    """
    failing: list[Row] = []
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        # each by itself: one that is wrong says nothing of its neighbours in the frame
        wants = [want for row in some for want in group_frames({row.id: place(pack, row)})]
        bad = set()
        for outcome in read_frames(backend, wants, check_members, jobs):
            if outcome.error is None:
                continue
            if not isinstance(outcome.error, CorruptError | NotThere):
                raise outcome.error
            bad |= {(member.id, member.kind) for member in outcome.want.members}
        failing += [row for row in some if (row.id, row.kind) in bad]
    return failing


def place(pack: bytes, row: Row) -> Hint:
    """A row as a place."""
    return Hint(row.kind, pack, *row[3:])


def check_members(want: FrameWant, frame: memoryview) -> None:
    """Holds what is in a frame to its ids.

    Raises:
        CorruptError: it is something else.
    """
    raw = unpack_frame(frame)
    for member in want.members:
        data = raw[member.inner_offset : member.inner_offset + member.raw_length]
        if len(data) != member.raw_length or not is_right(member, data):
            raise CorruptError("bytes on the remote do not match their name")


def is_right(member: Member, data: bytes) -> bool:
    """Whether these bytes are what a row of that id and kind promises."""
    if member.kind in (RowKind.CHUNK, RowKind.FILE):
        return hash_bytes(data) == member.id
    if member.kind == RowKind.RECIPE_PART:
        return hash_recipe_part(data) == member.id
    recipe = decode_recipe(data, bytes(32))
    if member.kind == RowKind.TREE_RECIPE:
        return recipe.what == TREE and hash_tree(recipe.body) == member.id
    # the file as a whole is what its id is the hash of; here its frame's checksum has to do
    return member.kind == RowKind.FILE_RECIPE and recipe.what != TREE
