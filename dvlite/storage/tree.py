"""The tree format: one folder's sorted listing, byte for byte the same for everyone.

Owns encoding, strict decoding and the rule that splits very large folders into parts. A tree is
kept in columns, because a folder has up to 65,536 entries and a column is read in one call.
Everything that is read may be hostile: `decode` accepts only canonical bytes.

Layout (integers little-endian), after the 8-byte head `dvltree` + version 1:
    u32 number of entries n, u32 number m of entries that are trees or parts
    n bytes kind, n x u64 size, m x u64 recursive file count, n x 32 bytes oid,
    the names joined by NUL.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import NamedTuple

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.names import any_reserved, is_reserved
from dvlite.storage.oid import OID_BYTES, hash_bytes, hash_tree

_MAGIC = b"dvltree"
_VERSION = 1
_HEAD = struct.Struct("<7sBII")

# More entries than this and a folder is split by the hash of the names: a tree then stays
# under 4 MB, and one new file in a folder of millions rewrites one part, not the folder.
MAX_ENTRIES = 65_536
# 65,536 names of 255 bytes and their columns are 20 MB; anything larger is not a tree.
MAX_TREE_BYTES = 32 << 20
_FORBIDDEN = frozenset((b"", b".", b".."))


class Kind(IntEnum):
    """What an entry of a tree is."""

    FILE = 0
    EXEC = 1
    LINK = 2
    TREE = 3
    PART = 4


# Looking a kind up costs a fifth of calling the enum: half a second for a million entries.
_KINDS = tuple(Kind)


class Entry(NamedTuple):
    """One name in a folder. `files` counts the files below (1 for anything but folders)."""

    name: bytes
    kind: Kind
    oid: bytes
    size: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    """One folder (or one part of a large one) in columns, sorted by name."""

    names: list[bytes]
    kinds: bytes
    sizes: array[int]
    files: array[int]
    oids: bytes

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Entry]:
        oids = self.oids
        for index, name in enumerate(self.names):
            yield Entry(
                name,
                _KINDS[self.kinds[index]],
                oids[index * OID_BYTES : (index + 1) * OID_BYTES],
                self.sizes[index],
                self.files[index],
            )

    @property
    def size(self) -> int:
        """Bytes of all files below."""
        return sum(self.sizes)

    @property
    def file_count(self) -> int:
        """Number of files below (links count, folders do not)."""
        return sum(self.files)

    @property
    def is_split(self) -> bool:
        """Whether the entries are parts of one large folder."""
        return bool(self.kinds) and self.kinds[0] == Kind.PART

    def oid_list(self) -> list[bytes]:
        """The oid of each entry, in order."""
        oids = self.oids
        return [oids[start : start + OID_BYTES] for start in range(0, len(oids), OID_BYTES)]


def check_name(name: bytes) -> None:
    """Refuses a name that could lead outside its folder or into git's own files.

    Raises:
        CorruptError: naming it.
    """
    if name in _FORBIDDEN or b"/" in name or b"\0" in name or len(name) > 255 or is_reserved(name):
        raise CorruptError(f"a tree holds the forbidden name {name[:80]!r}")


def make_tree(entries: Iterable[Entry]) -> Tree:
    """A tree of these entries, sorted; names must be distinct."""
    rows = sorted(entries)
    return Tree(
        [row[0] for row in rows],
        bytes([row[1] for row in rows]),
        array("Q", [row[3] for row in rows]),
        array("Q", [row[4] for row in rows]),
        b"".join([row[2] for row in rows]),
    )


def encode(tree: Tree) -> bytes:
    """The canonical bytes of a tree: what its oid is the hash of."""
    counted = array("Q", _files_of_folders(tree.kinds, tree.files))
    return b"".join(
        (
            _HEAD.pack(_MAGIC, _VERSION, len(tree.names), len(counted)),
            tree.kinds,
            _little_endian(tree.sizes),
            _little_endian(counted),
            tree.oids,
            b"\0".join(tree.names),
        )
    )


def decode(data: bytes) -> Tree:
    """Reads a tree, refusing everything that `encode` would not have written.

    Raises:
        CorruptError: not a canonical tree.
        FormatVersionError: written by a newer dvlite.
    """
    count, folders = _check_head(data)
    kinds_end = _HEAD.size + count
    sizes_end = kinds_end + 8 * count
    files_end = sizes_end + 8 * folders
    oids_end = files_end + OID_BYTES * count
    kinds = data[_HEAD.size : kinds_end]
    names = data[oids_end:].split(b"\0") if count else []
    if len(names) != count or len(data) < oids_end or (not count and len(data) > oids_end):
        raise CorruptError("a tree's columns do not fit its length")
    _check_kinds(kinds, folders)
    _check_names(names, data[oids_end:], bool(count) and kinds[0] == Kind.PART)
    sizes = _from_little_endian(data[kinds_end:sizes_end])
    counted = _from_little_endian(data[sizes_end:files_end])
    return Tree(names, kinds, sizes, _spread(kinds, counted), data[files_end:oids_end])


def store_folder(
    entries: Sequence[Entry], put: Callable[[bytes, bytes], None], depth: int = 0
) -> Entry:
    """Encodes a whole folder, splitting it when it is large, and hands each tree to `put`.

    `put(oid, data)` is called for parts before the tree that names them. Returns an entry with
    an empty name for the folder itself.
    """
    if len(entries) > MAX_ENTRIES:
        groups: dict[int, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(hash_bytes(entry.name)[depth], []).append(entry)
        tree = make_tree(
            store_folder(groups[byte], put, depth + 1)._replace(name=b"%02x" % byte, kind=Kind.PART)
            for byte in groups
        )
    else:
        tree = make_tree(entries)
    data = encode(tree)
    oid = hash_tree(data)
    put(oid, data)
    return Entry(b"", Kind.TREE, oid, tree.size, tree.file_count)


def part_name(name: bytes, depth: int) -> bytes:
    """The part that holds `name` in a folder split `depth` times already."""
    return b"%02x" % hash_bytes(name)[depth]


def _files_of_folders(kinds: bytes, files: array[int]) -> list[int]:
    return [count for kind, count in zip(kinds, files, strict=True) if kind >= Kind.TREE]


def _spread(kinds: bytes, counted: array[int]) -> array[int]:
    if not counted:
        return array("Q", [1]) * len(kinds)
    following = iter(counted)
    return array("Q", [next(following) if kind >= Kind.TREE else 1 for kind in kinds])


def _check_head(data: bytes) -> tuple[int, int]:
    if len(data) < _HEAD.size or len(data) > MAX_TREE_BYTES:
        raise CorruptError(f"a tree of {len(data)} bytes is impossible")
    magic, version, count, folders = _HEAD.unpack_from(data)
    if magic != _MAGIC:
        raise CorruptError("these bytes are not a tree")
    if version != _VERSION:
        raise FormatVersionError(
            f"a tree has format version {version}, this dvlite reads {_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    if count > MAX_ENTRIES or folders > count:
        raise CorruptError(f"a tree claims {count} entries, {folders} of them folders")
    return count, folders


def _check_kinds(kinds: bytes, folders: int) -> None:
    known = kinds.count(Kind.TREE) + kinds.count(Kind.PART)
    plain = kinds.count(Kind.FILE) + kinds.count(Kind.EXEC) + kinds.count(Kind.LINK)
    if known != folders or known + plain != len(kinds):
        raise CorruptError("a tree holds an entry of unknown kind")
    parts = kinds.count(Kind.PART)
    if parts and parts != len(kinds):
        raise CorruptError("a tree mixes parts with other entries")


def _check_names(names: list[bytes], joined: bytes, parts: bool) -> None:
    if any(first >= second for first, second in pairwise(names)):
        raise CorruptError("a tree's names are not in order")
    forbidden = _FORBIDDEN
    if (
        b"/" in joined
        or any_reserved(joined) is not None
        or any(name in forbidden or len(name) > 255 for name in names)
    ):
        for name in names:
            check_name(name)
    if parts and any(len(name) != 2 or name.strip(b"0123456789abcdef") for name in names):
        raise CorruptError("a tree's part has a wrong name")


def _little_endian(column: array[int]) -> bytes:
    if sys.byteorder == "big":  # pragma: no cover
        column = array("Q", column)
        column.byteswap()
    return column.tobytes()


def _from_little_endian(data: bytes) -> array[int]:
    column = array("Q")
    column.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover
        column.byteswap()
    return column
