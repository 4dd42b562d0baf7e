"""Reading trees: whole folders, single paths, everything below, and what differs.

Parts of split folders are put together here and nowhere else: callers see folders. Works on
any `read` function that gives the decoded tree of an oid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dvlite.errors import CorruptError
from dvlite.storage.bound import Bound, expansion
from dvlite.storage.tree import Entry, Kind, Tree, part_name

ReadTree = Callable[[bytes], Tree]

# Deeper nesting than anyone has (npm's worst is about 50) is an attack on the stack; `add`
# refuses it too.
MAX_DEPTH = 256
_MAX_PART_DEPTH = 32


class Change(NamedTuple):
    """One path that differs: `old` is None where it was added, `new` where it was removed."""

    path: bytes
    old: Entry | None
    new: Entry | None


def read_folder(read: ReadTree, oid: bytes, depth: int = 0) -> list[Entry]:
    """All entries of a folder, sorted by name; parts are put together."""
    tree = read(oid)
    if not tree.is_split:
        return list(tree)
    if depth >= _MAX_PART_DEPTH:
        raise CorruptError("a folder is split more often than its names' hashes allow")
    entries: list[Entry] = []
    for part in tree:
        inside = read_folder(read, part.oid, depth + 1)
        if not inside:  # which `add` never makes; of nothing, there could be 256 ** 32
            raise CorruptError("a part of a split folder is empty")
        _check_part((entry.name for entry in inside), part.name, depth)
        entries += inside
    entries.sort()
    return entries


def walk(read: ReadTree, oid: bytes, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Every entry below a folder with its path, folders before what is in them.

    Raises:
        CorruptError: nested too deeply, or listings name each other absurdly often.
    """
    bound = Bound(lambda: expansion(read, [oid]))
    # not by recursion: each entry would pass through as many generators as it is deep
    waiting = [_listing(read, oid, prefix, bound)]
    while waiting:
        if len(waiting) > MAX_DEPTH + 1:
            raise CorruptError("trees are nested too deeply")
        for path, entry in waiting[-1]:
            yield path, entry
            if entry.kind == Kind.TREE:
                waiting.append(_listing(read, entry.oid, path + b"/", bound))
                break
        else:
            waiting.pop()


def _listing(
    read: ReadTree, oid: bytes, prefix: bytes, bound: Bound
) -> Iterator[tuple[bytes, Entry]]:
    entries = read_folder(read, oid)
    bound.enter(oid, len(entries))
    return iter([(prefix + entry.name, entry) for entry in entries])


def find(read: ReadTree, oid: bytes, path: bytes) -> Entry | None:
    """The entry at a path inside a folder, or None."""
    entry: Entry | None = Entry(b"", Kind.TREE, oid, 0)
    for name in path.split(b"/"):
        if entry is None or entry.kind != Kind.TREE:
            return None
        entry = _find_name(read, entry.oid, name)
    return entry


def _find_name(read: ReadTree, oid: bytes, name: bytes) -> Entry | None:
    for depth in range(_MAX_PART_DEPTH + 1):
        tree = read(oid)
        wanted = part_name(name, depth) if tree.is_split else name
        match = next((entry for entry in tree if entry.name == wanted), None)
        if match is None or not tree.is_split:
            return match
        oid = match.oid
    return None


def diff(
    read: ReadTree, old: bytes | None, new: bytes | None, prefix: bytes = b""
) -> Iterator[Change]:
    """Paths of files that differ between two folders; equal subtrees are never read.

    A folder that appears or vanishes is reported file by file; an empty one as itself.

    Raises:
        CorruptError: nested too deeply, or listings name each other absurdly often.
    """
    roots = [oid for oid in (old, new) if oid is not None]
    return _Diffing(read, Bound(lambda: expansion(read, roots))).folders(old, new, prefix)


def _differing(
    read: ReadTree, old: bytes | None, new: bytes | None, depth: int = 0
) -> tuple[dict[bytes, Entry], dict[bytes, Entry]]:
    """The entries of each folder that the other does not have alike.

    Equal parts are not read, and entries are made only of what differs: of a folder of 100,000
    files with 5,000 new ones that takes 0.2 s, and 1.2 s if all are looked at one by one.
    """
    before, after = (read(oid) if oid else None for oid in (old, new))
    split = [tree is not None and tree.is_split for tree in (before, after)]
    if not any(split):
        return _only_in(before, after), _only_in(after, before)
    if before is None or after is None or not all(split) or depth >= _MAX_PART_DEPTH:
        folders = [read_folder(read, oid, depth) if oid else [] for oid in (old, new)]
        return {one.name: one for one in folders[0]}, {one.name: one for one in folders[1]}
    parts = [{part.name: part.oid for part in tree} for tree in (before, after)]
    found: tuple[dict[bytes, Entry], dict[bytes, Entry]] = ({}, {})
    for name in parts[0].keys() | parts[1].keys():
        first, second = parts[0].get(name), parts[1].get(name)
        if first != second:
            for side, entries in zip(
                found, _differing(read, first, second, depth + 1), strict=True
            ):
                _check_part(entries, name, depth)
                side.update(entries)
    return found


def _only_in(tree: Tree | None, other: Tree | None) -> dict[bytes, Entry]:
    if tree is None:
        return {}
    known = set(_rows(other)) if other is not None else set()
    return {
        row[0]: Entry(row[0], Kind(row[1]), row[2], tree.sizes[at], tree.files[at])
        for at, row in enumerate(_rows(tree))
        if row not in known
    }


def _rows(tree: Tree) -> Iterator[tuple[bytes, int, bytes]]:
    return zip(tree.names, tree.kinds, tree.oid_list(), strict=True)


def _check_part(names: Iterable[bytes], part: bytes, depth: int) -> None:
    if any(part_name(name, depth) != part for name in names):
        raise CorruptError("a part of a split folder holds a name of another part")


class _Diffing(NamedTuple):
    read: ReadTree
    bound: Bound

    def folders(self, old: bytes | None, new: bytes | None, prefix: bytes) -> Iterator[Change]:
        """What differs between two folders at `prefix`."""
        if old == new:
            return
        if prefix.count(b"/") > MAX_DEPTH:
            raise CorruptError("trees are nested too deeply")
        before, after = _differing(self.read, old, new)
        names = before.keys() | after.keys()
        self.bound.enter((old, new), len(names))
        for name in sorted(names):
            path, first, second = prefix + name, before.get(name), after.get(name)
            change, trees = _compare(path, first, second)
            if change is not None:
                yield change
            yield from self.folders(*trees, path + b"/")


def _compare(
    path: bytes, old: Entry | None, new: Entry | None
) -> tuple[Change | None, tuple[bytes | None, bytes | None]]:
    """What of two entries of one path is a difference itself, and the trees to go into."""
    if old is not None and new is not None and old[1:3] == new[1:3]:
        return None, (None, None)
    old_tree = old if old is not None and old.kind == Kind.TREE else None
    new_tree = new if new is not None and new.kind == Kind.TREE else None
    old_leaf = None if old_tree else old
    new_leaf = None if new_tree else new
    if old_tree is not None and not old_tree.files and new_tree is None:
        old_leaf = old_tree if old_leaf is None else old_leaf
    if new_tree is not None and not new_tree.files and old_tree is None:
        new_leaf = new_tree if new_leaf is None else new_leaf
    is_change = old_leaf is not None or new_leaf is not None
    trees = old_tree.oid if old_tree else None, new_tree.oid if new_tree else None
    return Change(path, old_leaf, new_leaf) if is_change else None, trees
