"""Merging folders: two people's changes to the same tree, path by path.

Owns applying changes to a tree, and the three-way rule: what only one side changed is taken,
what both changed alike is fine, everything else is a conflict for the user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dvlite.storage.tree import Entry, Kind, store_folder
from dvlite.storage.treewalk import Change, ReadTree, diff, read_folder

Put = Callable[[bytes, bytes], None]
Changes = Mapping[bytes, Entry | None]


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged folder; None where there are conflicts."""

    root: Entry | None
    conflicts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Merging:
    """Two versions of a folder after all that merges is merged into both: they differ in nothing
    but `conflicts`, and are the same where there are none.

    A conflict is a file, or what is a file on one side and a folder on the other.
    """

    ours: Entry
    theirs: Entry
    conflicts: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Versions:
    """Three versions of a folder; `base` is None where both sides began with nothing."""

    base: bytes | None
    ours: bytes
    theirs: bytes


def merge(read: ReadTree, base: bytes, ours: bytes, theirs: bytes, put: Put) -> Merged:
    """Merges two versions of the folder `base`; new trees are handed to `put`."""
    found = _changes(read, Versions(base, ours, theirs))
    if found.conflicts:
        return Merged(None, found.conflicts)
    return Merged(apply(read, ours, found.to_ours, put))


def merge_sides(read: ReadTree, versions: Versions, put: Put) -> Merging:
    """Merges all that can be merged into both versions; new trees are handed to `put`."""
    found = _changes(read, versions)
    ours = apply(read, versions.ours, found.to_ours, put)
    if not found.conflicts:
        return Merging(ours, ours)
    return Merging(ours, apply(read, versions.theirs, found.to_theirs, put), found.conflicts)


def differing(read: ReadTree, ours: bytes, theirs: bytes) -> tuple[bytes, ...]:
    """The conflicts that are left between two sides of a merge."""
    return tuple(sorted(_tops({change.path for change in diff(read, ours, theirs)})))


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be done to each side so that it has the other's changes too."""

    to_ours: Changes
    to_theirs: Changes
    conflicts: tuple[bytes, ...]


def _changes(read: ReadTree, versions: Versions) -> _Found:
    here = {change.path: change for change in diff(read, versions.base, versions.ours)}
    there = {change.path: change for change in diff(read, versions.base, versions.theirs)}
    modes = {
        path: both
        for path in here.keys() & there.keys()
        if (both := _mode_and_content(here[path], there[path])) is not None
    }
    conflicts = {*_both(here, there), *_across(here, there), *_across(there, here)} - modes.keys()
    tops = _tops(conflicts)
    fronts = tuple(path + b"/" for path in tops)

    def news(of: Mapping[bytes, Change], other: Mapping[bytes, Change]) -> Changes:
        found = {
            path: change.new
            for path, change in of.items()
            if path not in other and path not in tops and not path.startswith(fronts)
        }
        return {**found, **modes}

    return _Found(news(there, here), news(here, there), tuple(sorted(tops)))


def _tops(paths: Iterable[bytes]) -> set[bytes]:
    """Those that are below no other of them."""
    found: set[bytes] = set()
    for path in sorted(paths, key=len):
        parts = path.split(b"/")
        if not any(b"/".join(parts[:count]) in found for count in range(1, len(parts))):
            found.add(path)
    return found


def _mode_and_content(here: Change, there: Change) -> Entry | None:
    """What a file is that one side made executable (or not) and the other gave new content."""
    old, ours, theirs = here.old, here.new, there.new
    if old is None or ours is None or theirs is None:
        return None
    if any(entry.kind not in (Kind.FILE, Kind.EXEC) for entry in (old, ours, theirs)):
        return None
    if ours.oid == old.oid and theirs.kind == old.kind:
        return theirs._replace(kind=ours.kind)
    if theirs.oid == old.oid and ours.kind == old.kind:
        return ours._replace(kind=theirs.kind)
    return None


def apply(read: ReadTree, root: bytes, changes: Changes, put: Put) -> Entry:
    """The folder `root` with some paths set, or removed (None). A folder that becomes empty by
    that is gone, as it is when its last file is deleted by hand and the folder with it."""
    entry = _apply(read, root, changes, put)
    return entry if entry is not None else store_folder([], put)


def _apply(read: ReadTree, folder: bytes | None, changes: Changes, put: Put) -> Entry | None:
    entries = {entry.name: entry for entry in read_folder(read, folder)} if folder else {}
    below: dict[bytes, dict[bytes, Entry | None]] = {}
    for path, new in changes.items():
        name, inside, rest = path.partition(b"/")
        if inside:
            below.setdefault(name, {})[rest] = new
        elif (new is None or _is_empty(new)) and _has_files(entries.get(name)):
            continue  # an empty folder came or went on one side; the other put files there
        elif new is None:
            entries.pop(name, None)
        else:
            entries[name] = new._replace(name=name)
    for name, inner in below.items():
        old = entries.get(name)
        oid = old.oid if old is not None and old.kind == Kind.TREE else None
        if oid is None and all(new is None for new in inner.values()):
            continue
        new_folder = _apply(read, oid, inner, put)
        if new_folder is None:
            entries.pop(name, None)
        else:
            entries[name] = new_folder._replace(name=name)
    if not entries and folder is not None:
        return None
    return store_folder(list(entries.values()), put)


def _both(here: Mapping[bytes, Change], there: Mapping[bytes, Change]) -> Iterable[bytes]:
    """Paths that both sides changed, differently."""
    for path in here.keys() & there.keys():
        if _what(here[path].new) != _what(there[path].new):
            yield path


def _what(entry: Entry | None) -> tuple[Kind, bytes] | None:
    return None if entry is None else (entry.kind, entry.oid)


def _is_empty(entry: Entry) -> bool:
    return entry.kind == Kind.TREE and not entry.files


def _has_files(entry: Entry | None) -> bool:
    return entry is not None and entry.kind == Kind.TREE and entry.files > 0


def _across(here: Mapping[bytes, Change], there: Mapping[bytes, Change]) -> Iterable[bytes]:
    """Paths that are a file now on one side, and a folder with new content on the other."""
    files = {
        path
        for path, change in there.items()
        if change.new is not None and change.new.kind != Kind.TREE
    }
    for path, change in here.items() if files else ():
        parts = path.split(b"/")
        for count in range(1, len(parts)) if change.new is not None else ():
            above = b"/".join(parts[:count])
            if above in files:
                yield above
