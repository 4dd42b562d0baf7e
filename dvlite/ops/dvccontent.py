"""Content by DVC's names, brought into the cache: files, and folders by their manifests.

Owns the order (manifests, then all files of all folders at once, then trees), and that a folder
counts only with all its files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import CorruptError
from dvlite.ops.looking import pointer_of
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Entry, Kind, decode, store_folder
from dvlite.workspace.adopting import Adopted, Adopter, PathSource, Wrong
from dvlite.workspace.dvcfiles import MAX_MANIFEST_BYTES, ForeignName, read_manifest
from dvlite.workspace.imported import Imported
from dvlite.workspace.merge import apply
from dvlite.workspace.pointer import Pointer

_NAMED = 5
Files = dict[bytes, tuple[ForeignName, bool]]


@dataclass(slots=True)
class Taken:
    """What came of all names: pointers, the files of folders, where they came from, and why others
    are missing."""

    pointers: Imported = field(default_factory=dict)
    folders: dict[str, Files] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    come_from: dict[str, tuple[str, ...]] = field(default_factory=dict)


def take_names(
    adopter: Adopter, names: Sequence[ForeignName], known: Imported, tops: Mapping[str, str]
) -> Taken:
    """Takes names of files and folders. `known` need not be taken again; `tops`: where the
    workspace has the folder of a name."""
    taken = Taken(dict(known))
    wanted = [one for one in {name.text: name for name in names}.values() if one.text not in known]
    for name in wanted:
        if name.folder:
            _read_folder(adopter, name, taken)
            _look_in_workspace(adopter, taken.folders.get(name.text, {}), tops.get(name.text))
    files = {name.text: name for name in wanted if not name.folder}
    for folder in taken.folders.values():
        files.update({name.text: name for name, _ in folder.values()})
    adopter.total_files = len(files)
    found = adopter.adopt(list(files.values()))
    for name in wanted:
        if not name.folder:
            _take_file(name.text, found[name.text], taken)
    with CacheWriter(adopter.cache) as writer:
        for text in taken.folders:
            _take_folder(text, found, taken, writer)
    return taken


def _read_folder(adopter: Adopter, name: ForeignName, taken: Taken) -> None:
    data = adopter.read(name, MAX_MANIFEST_BYTES)
    if isinstance(data, Wrong):
        taken.reasons[name.text] = f"its manifest: {data.reason}"
        return
    try:
        taken.folders[name.text] = read_manifest(data, name.algorithm)
    except CorruptError as error:
        taken.reasons[name.text] = str(error)


def _look_in_workspace(adopter: Adopter, files: Files, top: str | None) -> None:
    """The workspace may have what DVC's cache has lost."""
    source = next((one for one in adopter.sources if isinstance(one, PathSource)), None)
    if source is None or top is None:
        return
    inside = os.path.realpath(top)
    for path, (name, _) in files.items():
        where = os.path.join(top, os.fsdecode(path))
        folder = os.path.realpath(os.path.dirname(where))
        if folder == inside or folder.startswith(inside + os.sep):
            source.paths.setdefault(name.text, where)


def _take_file(text: str, got: Adopted | Wrong, taken: Taken) -> None:
    if isinstance(got, Wrong):
        taken.reasons[text] = got.reason
        return
    taken.pointers[text] = Pointer("file", got.oid, got.size)
    taken.come_from[text] = (got.source,)


def _take_folder(
    text: str, found: Mapping[str, Adopted | Wrong], taken: Taken, writer: CacheWriter
) -> None:
    files = taken.folders[text]
    entries: dict[bytes, Entry] = {}
    sources: set[str] = set()
    wrong: list[str] = []
    for path, (name, executable) in files.items():
        got = found[name.text]
        if isinstance(got, Wrong):
            wrong.append(f"{os.fsdecode(path)}: {got.reason}")
            continue
        kind = Kind.EXEC if executable else Kind.FILE
        entries[path] = Entry(path.rpartition(b"/")[2], kind, got.oid, got.size)
        sources.add(got.source)
    if wrong:
        more = f"; and {len(wrong) - _NAMED:,} more" if len(wrong) > _NAMED else ""
        first = "; ".join(wrong[:_NAMED])
        taken.reasons[text] = f"{len(wrong):,} of {len(files):,} files: {first}{more}"
        return
    taken.pointers[text] = pointer_of(_build_tree(entries, writer))
    taken.come_from[text] = tuple(sorted(sources))


def _build_tree(entries: Mapping[bytes, Entry], writer: CacheWriter) -> Entry:
    trees: dict[bytes, bytes] = {}
    empty = store_folder([], trees.__setitem__)
    root = apply(lambda oid: decode(trees[oid]), empty.oid, entries, trees.__setitem__)
    if root.oid != empty.oid:
        del trees[empty.oid]
    for oid, data in trees.items():
        writer.add(oid, data, RowKind.TREE)
    return root
