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


def merge(read: ReadTree, base: bytes, ours: bytes, theirs: bytes, put: Put) -> Merged:
    """Merges two versions of the folder `base`; new trees are handed to `put`."""
    here = {change.path: change for change in diff(read, base, ours)}
    there = {change.path: change for change in diff(read, base, theirs)}
    conflicts = sorted({*_both(here, there), *_across(here, there), *_across(there, here)})
    if conflicts:
        return Merged(None, tuple(conflicts))
    news: Changes = {path: change.new for path, change in there.items() if path not in here}
    return Merged(apply(read, ours, news, put))


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


def _across(here: Mapping[bytes, Change], there: Mapping[bytes, Change]) -> Iterable[bytes]:
    """Paths that exist now on one side, below what is a file now on the other."""
    for path, change in here.items():
        parts = path.split(b"/")
        for count in range(1, len(parts)) if change.new is not None else ():
            above = there.get(b"/".join(parts[:count]))
            if above is not None and above.new is not None and above.new.kind != Kind.TREE:
                yield path
