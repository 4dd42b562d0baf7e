"""What git calls to show a pointer: what its data holds, or what differs between two.

Owns how much is read for that. Git shows two files at once (`git diff`) or, in `git log -p` and
`git show`, turns each file into text alone and compares the texts: so a folder is also shown as a
listing, a line a file. What is not in the cache is named, and told from the pointer alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import ConflictError, CorruptError, DvliteError, MissingError
from dvlite.gittext import diff_text
from dvlite.ops.looking import entry_of
from dvlite.ops.mergedriver import open_cache
from dvlite.ops.tables import (
    MAX_TABLE_BYTES,
    Table,
    TableChange,
    compare_tables,
    format_of,
    read_table,
)
from dvlite.storage.cache import Cache
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treediff import Comparison, Difference, Readers, compare
from dvlite.storage.treewalk import MAX_DEPTH, find, read_folder
from dvlite.workspace.conflicted import parse_conflicted
from dvlite.workspace.merge import differing
from dvlite.workspace.pointer import MAX_POINTER_BYTES, Pointer, data_path, parse

# A line a file takes half a second for 100,000 files; beyond this, folders are summed up.
MAX_LISTED = 250_000
_MAX_FOLDERS = 10_000
# Tables that are compared for one pointer: enough to see what happened, and soon done.
_MAX_TABLES = 20
_NOTHING = Comparison((), ())


class Line(NamedTuple):
    """One line of a listing. `side`: "ours" or "theirs" in a conflict, else empty. `note`: why
    what is below is not listed."""

    path: bytes
    entry: Entry
    side: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """One pointer. `raw`: it is none, and these are its bytes; `pointers`: one, or both sides of
    a conflict."""

    raw: bytes | None = None
    pointers: tuple[Pointer, ...] = ()
    lines: Iterable[Line] = ()
    table: Table | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShownChange:
    """Two versions of a pointer. `raw`: one is no pointer, and they differ so as text."""

    path: str
    old: Pointer | None
    new: Pointer | None
    comparison: Comparison = _NOTHING
    tables: Mapping[bytes, TableChange | None] = field(default_factory=dict)
    raw: tuple[str, ...] | None = None


# -- two versions ----------------------------------------------------------------------------------


def show_change(
    path: str, files: tuple[str, str], folder: str, cache_folder: str | None = None
) -> ShownChange:
    """What differs between two versions of the pointer at `path`, which lie in `files`."""
    texts = _read(files[0]), _read(files[1])
    name = data_path(path)
    try:
        old, new = (parse(text, path) if text else None for text in texts)
    except (CorruptError, ConflictError):
        return ShownChange(name, None, None, raw=tuple(diff_text(*files)))
    cache = open_cache(folder, path, cache_folder)
    before, after = (
        {} if one is None else {os.fsencode(name): entry_of(one)} for one in (old, new)
    )
    try:
        found = compare(Readers(cache.read_tree, cache.read_tree), before, after)
    except CorruptError:
        return ShownChange(name, old, new, raw=tuple(diff_text(*files)))
    return ShownChange(name, old, new, found, _tables(cache, found))


def _tables(cache: Cache, found: Comparison) -> dict[bytes, TableChange | None]:
    """What changed in the first few tables; None where their content is not in the cache."""
    tables: dict[bytes, TableChange | None] = {}
    for item in found.differences:
        if item.what == "changed" and format_of(item.path) is not None:
            if len(tables) == _MAX_TABLES:
                break
            try:
                change = _table(cache, item)
            except MissingError:
                tables[item.path] = None
                continue
            if change is not None:
                tables[item.path] = change
    return tables


def _table(cache: Cache, item: Difference) -> TableChange | None:
    assert item.old is not None and item.new is not None
    old, new = (_read_table(cache, item.path, entry) for entry in (item.old, item.new))
    return None if old is None or new is None else compare_tables(old, new)


def _read_table(cache: Cache, path: bytes, entry: Entry) -> Table | None:
    kind = format_of(path)
    if kind is None or entry.size > MAX_TABLE_BYTES or entry.kind not in (Kind.FILE, Kind.EXEC):
        return None
    try:
        return read_table(cache.read(entry.oid), kind)
    except CorruptError:
        return None


# -- one version -----------------------------------------------------------------------------------


def show(file: str, folder: str, cache_folder: str | None = None) -> Shown:
    """What the pointer in a file names. git gives it a temporary name that ends like its own."""
    data = _read(file)
    if len(data) > MAX_POINTER_BYTES:  # somebody else's file that ends so
        with open(file, "rb") as stream:
            return Shown(stream.read())
    try:
        cache = open_cache(folder, cache_folder=cache_folder)
        pointer = parse(data, file)
    except ConflictError:
        return _show_conflict(cache, data, file)
    except DvliteError:
        return Shown(data)
    if pointer.kind == "tree":
        return Shown(None, (pointer,), _list(cache, pointer))
    name = os.fsencode(data_path(os.path.basename(file)))
    try:
        return Shown(None, (pointer,), table=_read_table(cache, name, entry_of(pointer)))
    except MissingError:
        return Shown(None, (pointer,), note="not in the cache")


def _show_conflict(cache: Cache, data: bytes, file: str) -> Shown:
    """Both sides at once, so that git's combined diff shows just what conflicts."""
    conflict = parse_conflicted(data, file)
    if conflict is None or not conflict.is_merged:
        return Shown(data)
    assert conflict.ours is not None and conflict.theirs is not None
    try:
        paths = differing(cache.read_tree, conflict.ours.oid, conflict.theirs.oid)
    except DvliteError:
        return Shown(data)
    return Shown(
        None,
        (conflict.ours, conflict.theirs),
        _list_both(cache, conflict.ours, conflict.theirs, paths),
    )


def _list_both(
    cache: Cache, ours: Pointer, theirs: Pointer, paths: tuple[bytes, ...]
) -> Iterator[Line]:
    """Our listing, with what conflicts from both sides where it would stand."""
    left = sorted(paths)
    fronts = tuple(path + b"/" for path in paths)
    known = frozenset(paths)
    for line in _list(cache, ours):
        while left and left[0] <= line.path:
            yield from _sides(cache, ours, theirs, left.pop(0))
        if line.path not in known and not line.path.startswith(fronts):
            yield line
    for path in left:
        yield from _sides(cache, ours, theirs, path)


def _sides(cache: Cache, ours: Pointer, theirs: Pointer, path: bytes) -> Iterator[Line]:
    for side, pointer in (("ours", ours), ("theirs", theirs)):
        entry = find(cache.read_tree, pointer.oid, path)
        if entry is not None:
            yield Line(path, entry, side)


def _list(cache: Cache, pointer: Pointer) -> Iterator[Line]:
    if pointer.files > MAX_LISTED:
        return _folders(cache, entry_of(pointer))
    return _capped(_files(cache, b"", entry_of(pointer), 0))


def _capped(lines: Iterator[Line]) -> Iterator[Line]:
    """A pointer may lie about how many files there are."""
    for number, line in enumerate(lines):
        if number > MAX_LISTED:
            return
        yield line


def _files(cache: Cache, path: bytes, folder: Entry, depth: int) -> Iterator[Line]:
    """Everything below a folder, in order of path."""
    entries, note = _entries(cache, folder, depth)
    if note or not entries:
        yield Line(path, folder, note=note)
    prefix = path + b"/" if path else b""
    # a folder stands where its files do: `a.b` comes before what is in `a`
    for entry in sorted(entries, key=_order):
        if entry.kind == Kind.TREE:
            yield from _files(cache, prefix + entry.name, entry, depth + 1)
        else:
            yield Line(prefix + entry.name, entry)


def _order(entry: Entry) -> bytes:
    return entry.name + b"/" if entry.kind == Kind.TREE else entry.name


def _folders(cache: Cache, root: Entry) -> Iterator[Line]:
    """Only folders, level by level, and none that lies in a folder of very many entries."""
    level = [(b"", root)]
    count = 0
    for depth in range(MAX_DEPTH):
        below: list[tuple[bytes, Entry]] = []
        for path, folder in level:
            yield Line(path, folder, note="too many files to list" if not path else "")
            below += _subfolders(cache, path, folder, depth)
        count += len(below)
        if not below or count > _MAX_FOLDERS:
            return
        level = below


def _subfolders(cache: Cache, path: bytes, folder: Entry, depth: int) -> list[tuple[bytes, Entry]]:
    try:
        if cache.read_tree(folder.oid).is_split:
            return []
    except DvliteError:
        return []
    entries, _ = _entries(cache, folder, depth)
    prefix = path + b"/" if path else b""
    return [(prefix + entry.name, entry) for entry in entries if entry.kind == Kind.TREE]


def _entries(cache: Cache, folder: Entry, depth: int) -> tuple[list[Entry], str]:
    """A folder's entries, or why there are none."""
    if depth > MAX_DEPTH:
        return [], "nested too deeply"
    try:
        return read_folder(cache.read_tree, folder.oid), ""
    except MissingError:
        return [], "its listing is not in the cache: dvlite fetch"
    except CorruptError:
        return [], "its listing is damaged in the cache"


def _read(path: str) -> bytes:
    """Little more than a pointer can have; nothing for a side without the file."""
    if path == os.devnull:
        return b""
    with open(path, "rb") as stream:
        return stream.read(4 * MAX_POINTER_BYTES)
