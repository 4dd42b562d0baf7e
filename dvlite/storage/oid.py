"""Object ids: BLAKE3-256 of the bytes, with trees hashed in a domain of their own.

A file's oid is the plain BLAKE3 of its bytes, so `b3sum` checks it. A tree's oid uses a derived
key: otherwise a versioned file that happens to hold a tree's bytes would be taken for that
tree, and the tree's children would never be pushed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from blake3 import blake3

from dvlite.errors import CorruptError

if TYPE_CHECKING:
    from typing_extensions import Buffer

OID_BYTES = 32
_TREE_CONTEXT = "dvlite 1 tree"
_PART_CONTEXT = "dvlite 1 recipe part"
_TEXT = re.compile(r"blake3:([0-9a-f]{64})\Z")


def hash_bytes(data: Buffer) -> bytes:
    """The oid of a file, or the id of a chunk or pack, with these bytes."""
    return blake3(data).digest()


def hash_tree(data: Buffer) -> bytes:
    """The oid of the tree with these encoded bytes."""
    return blake3(data, derive_key_context=_TREE_CONTEXT).digest()


def hash_recipe_part(data: Buffer) -> bytes:
    """The id of a part of a long recipe."""
    return blake3(data, derive_key_context=_PART_CONTEXT).digest()


def file_hasher() -> blake3:
    """A running hash for a file read piece by piece; `.digest()` is its oid."""
    return blake3()


def to_text(oid: bytes) -> str:
    """The form used in pointers, JSON and messages: `blake3:` and 64 hex digits."""
    return f"blake3:{oid.hex()}"


def from_text(text: str) -> bytes:
    """The inverse of `to_text`.

    Raises:
        CorruptError: anything but exactly that form.
    """
    match = _TEXT.match(text)
    if match is None:
        raise CorruptError(f"not an object id: {text[:80]!r}")
    return bytes.fromhex(match.group(1))
