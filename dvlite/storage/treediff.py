"""What differs between two listings of objects: added, removed, changed and renamed.

Owns finding renames (the same content under another path) and keeping a folder that moved whole
as one difference. Equal subtrees are never read. What cannot be read because it is not in the
cache is named, not guessed; everything else is still compared.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from dvlite.errors import CorruptError, MissingError
from dvlite.storage.bound import Bound, expansion
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import MAX_DEPTH, ReadTree, read_folder

What = Literal["added", "removed", "changed", "renamed"]
Side = Literal["old", "new"]


class Difference(NamedTuple):
    """One path that differs. `path` is the new one (the old one of what was removed).

    An entry that is a tree stands for the whole folder: one that was renamed, an empty one, or
    one whose listing is not in the cache.
    """

    what: What
    path: bytes
    old: Entry | None
    new: Entry | None
    old_path: bytes | None = None


class Unread(NamedTuple):
    """A folder whose two versions could not be compared: `side`'s tree is not in the cache."""

    path: bytes
    old: Entry
    new: Entry
    side: Side


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences, in order of path, and the folders that could not be compared."""

    differences: tuple[Difference, ...]
    unread: tuple[Unread, ...]

    def count(self, what: What) -> int:
        """How many files (whole folders count their files) differ in this way."""
        return sum(files_of(item) for item in self.differences if item.what == what)


@dataclass(frozen=True, slots=True)
class Readers:
    """How the trees of each side are read: the same way, unless one side is the workspace."""

    old: ReadTree
    new: ReadTree


class _Item(NamedTuple):
    """Something on one side only. Sorts by falling number of files and bytes."""

    order: tuple[int, int]
    path: bytes
    entry: Entry
    depth: int


@dataclass(slots=True)
class _Found:
    bound: Bound
    removed: list[_Item] = field(default_factory=list)
    added: list[_Item] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)


def files_of(difference: Difference) -> int:
    """How many files a difference is about: 1, or all in a folder."""
    entry = difference.new or difference.old
    assert entry is not None
    return entry.files


def compare(
    readers: Readers, before: Mapping[bytes, Entry], after: Mapping[bytes, Entry]
) -> Comparison:
    """Compares two listings of path -> object; trees among them are compared as deep as needed."""

    def everything() -> int:
        sides = ((readers.old, before), (readers.new, after))
        return sum(expansion(read, _trees(entries.values())) for read, entries in sides)

    found = _Found(Bound(everything))
    for path in sorted(before.keys() | after.keys()):
        _pair(readers, found, path, before.get(path), after.get(path))
    _match_folders(readers, found)
    _match(found, lambda item: (item.entry.oid, _is_link(item.entry), _base(item.path)))
    _match(found, lambda item: (item.entry.oid, _is_link(item.entry)))
    found.differences += [Difference("removed", i.path, i.entry, None) for i in found.removed]
    found.differences += [Difference("added", i.path, None, i.entry) for i in found.added]
    return Comparison(
        tuple(sorted(found.differences, key=lambda item: (item.path, item.what))),
        tuple(found.unread),
    )


def _trees(entries: Iterable[Entry]) -> list[bytes]:
    return [entry.oid for entry in entries if entry.kind == Kind.TREE]


def _pair(
    readers: Readers,
    found: _Found,
    path: bytes,
    old: Entry | None,
    new: Entry | None,
    depth: int = 0,
) -> None:
    """Sorts one path's two entries into what is found, going into folders that both sides have."""
    if old is not None and new is not None:
        if old[1:3] == new[1:3]:
            return
        if old.kind == Kind.TREE and new.kind == Kind.TREE:
            _pair_folders(readers, found, path, old, new, depth)
            return
        if old.kind != Kind.TREE and new.kind != Kind.TREE:
            found.differences.append(Difference("changed", path, old, new))
            return
    if old is not None:
        found.removed.append(_item(path, old, depth))
    if new is not None:
        found.added.append(_item(path, new, depth))


def _pair_folders(
    readers: Readers, found: _Found, path: bytes, old: Entry, new: Entry, depth: int
) -> None:
    if depth > MAX_DEPTH:
        raise CorruptError("trees are nested too deeply")
    before = _listing(readers.old, old)
    after = _listing(readers.new, new) if before is not None else None
    if before is None or after is None:
        found.unread.append(Unread(path, old, new, "old" if before is None else "new"))
        return
    found.bound.enter((old.oid, new.oid), len(before) + len(after))
    for name in sorted(before.keys() | after.keys()):
        _pair(readers, found, path + b"/" + name, before.get(name), after.get(name), depth + 1)


def _listing(read: ReadTree, folder: Entry) -> dict[bytes, Entry] | None:
    try:
        return {entry.name: entry for entry in read_folder(read, folder.oid)}
    except MissingError:
        return None


def _match_folders(readers: Readers, found: _Found) -> None:
    """Finds folders that moved whole; all others are replaced by what is in them.

    The largest go first: a folder can only be the same as one of as many files and bytes, so
    when it is opened nothing that it could have matched is still hidden inside a larger one.
    """
    removed, found.removed = _folders_first(found.removed)
    added, found.added = _folders_first(found.added)
    while removed or added:
        order = min(heap[0].order for heap in (removed, added) if heap)
        olds, news = _pop_all(removed, order), _pop_all(added, order)
        renames, olds, news = _match_items(olds, news, lambda item: item.entry.oid)
        deeper = _match_chains(readers, olds, news) if olds and news else []
        found.differences += renames + deeper
        moved = {item.old_path for item in deeper}, {item.path for item in deeper}
        for item in olds:
            _expand(readers.old, item, removed, found.removed, moved[0], found.bound)
        for item in news:
            _expand(readers.new, item, added, found.added, moved[1], found.bound)


def _folders_first(items: list[_Item]) -> tuple[list[_Item], list[_Item]]:
    folders = [item for item in items if item.entry.kind == Kind.TREE]
    heapq.heapify(folders)
    return folders, [item for item in items if item.entry.kind != Kind.TREE]


def _pop_all(heap: list[_Item], order: tuple[int, int]) -> list[_Item]:
    items = []
    while heap and heap[0].order == order:
        items.append(heapq.heappop(heap))
    return items


def _match_chains(readers: Readers, olds: list[_Item], news: list[_Item]) -> list[Difference]:
    """Folders that moved into or out of folders which hold nothing else (`a` to `b/c/a`)."""
    levels = [(item, top.path) for top in olds for item in _chain(readers.old, top)]
    sources = {item.entry.oid: (item, top) for item, top in reversed(levels)}
    renames: list[Difference] = []
    used: set[bytes] = set()
    for new in news:
        for item in _chain(readers.new, new):
            old, top = sources.get(item.entry.oid, (None, b""))
            if old is not None and top not in used:
                used.add(top)
                renames.append(Difference("renamed", item.path, old.entry, item.entry, old.path))
                break
    return renames


def _chain(read: ReadTree, item: _Item) -> list[_Item]:
    """A folder, and the folders inside that hold all that it holds."""
    chain = [item]
    while item.entry.files and item.depth <= MAX_DEPTH:
        inside = (_inside(item, entry) for entry in (_listing(read, item.entry) or {}).values())
        same = [below for below in inside if below.order == item.order]
        if len(same) != 1 or same[0].entry.kind != Kind.TREE:
            break
        item = same[0]
        chain.append(item)
    return chain


def _expand(
    read: ReadTree,
    folder: _Item,
    heap: list[_Item],
    leaves: list[_Item],
    moved: Collection[bytes | None],
    bound: Bound,
) -> None:
    """Replaces a folder by its entries; an empty or unreadable one stays as it is."""
    if folder.path in moved:
        return
    if folder.depth > MAX_DEPTH:
        raise CorruptError("trees are nested too deeply")
    entries = _listing(read, folder.entry)
    if not entries:
        leaves.append(folder)
        return
    bound.enter(folder.entry.oid, len(entries))
    for entry in entries.values():
        item = _inside(folder, entry)
        if entry.kind != Kind.TREE:
            leaves.append(item)
        elif any(path is not None and _is_within(path, item.path) for path in moved):
            _expand(read, item, heap, leaves, moved, bound)
        else:
            heapq.heappush(heap, item)


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


def _item(path: bytes, entry: Entry, depth: int) -> _Item:
    return _Item((-entry.files, -entry.size), path, entry, depth)


def _inside(folder: _Item, entry: Entry) -> _Item:
    return _item(folder.path + b"/" + entry.name, entry, folder.depth + 1)


def _match(found: _Found, key: Callable[[_Item], object]) -> None:
    renames, found.removed, found.added = _match_items(found.removed, found.added, key)
    found.differences += renames


def _match_items(
    removed: Iterable[_Item], added: Iterable[_Item], key: Callable[[_Item], object]
) -> tuple[list[Difference], list[_Item], list[_Item]]:
    """Pairs what has the same key: the renames, and what is left on each side.

    What has no bytes is never a rename: all empty files are the same.
    """
    sources: dict[object, list[_Item]] = {}
    rest = []
    for item in sorted(removed, key=lambda item: item.path, reverse=True):
        if item.entry.size:
            sources.setdefault(key(item), []).append(item)
        else:
            rest.append(item)
    renames, left = [], []
    for item in sorted(added, key=lambda item: item.path):
        candidates = sources.get(key(item)) if item.entry.size else None
        if candidates:
            old = candidates.pop()
            renames.append(Difference("renamed", item.path, old.entry, item.entry, old.path))
        else:
            left.append(item)
    return renames, rest + [item for items in sources.values() for item in items], left


def _is_link(entry: Entry) -> bool:
    return entry.kind == Kind.LINK


def _base(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]
