"""`dvlite diff`: files that differ between revisions, or between a revision and the workspace.

Owns turning each side into a listing of path -> object. Trees are read from the cache; those that
are not there are named. What cannot be read is left out of both sides and named: it must not pass
for removed. Everything else is still compared.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError, MissingError, PathError, UsageError
from dvlite.ops.looking import Looker, entry_of
from dvlite.ops.pointers import pointers_of
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.tree import Entry, Kind, Tree, decode
from dvlite.storage.treediff import Comparison, Difference, Readers, compare
from dvlite.storage.treewalk import ReadTree, find
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path, pointer_path

Listing = dict[bytes, Entry]


@dataclass(frozen=True, slots=True)
class DiffRequest:
    """What to compare. No revision: the pointers with the workspace's files; one: it with the
    workspace's files; two: with each other."""

    revisions: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiffResult:
    """The differences. `unreadable`: pointers or files that could not be read, and why."""

    comparison: Comparison
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class _Side:
    """One side: its listing, how its trees are read, and what of it could not be read: whole
    tracked paths (`lost`) and single files."""

    listing: Listing
    read: ReadTree
    lost: set[str] = field(default_factory=set)
    files: set[bytes] = field(default_factory=set)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def diff(project: Project, request: DiffRequest, progress: Progress = silent) -> DiffResult:
    """Compares two sides.

    Raises:
        MissingError: no such revision. PathError: a path that neither side tracks.
    """
    looker = Looker(project, progress, phase="reading files")
    paths = [data_path(path) if path.endswith(SUFFIX) else path for path in request.paths]
    old = _of_pointers(looker, request.revisions[0] if request.revisions else "")
    if len(request.revisions) == 2:
        new = _of_pointers(looker, request.revisions[1])
    else:
        new = _of_workspace(looker, old, paths)
        looker.done()
    _leave_out((old, new), old.lost | new.lost)
    _limit((old, new), paths)
    found = compare(Readers(old.read, new.read), old.listing, new.listing)
    differences = tuple(one for one in found.differences if not _is_unknown(one, new.files))
    unreadable = dict.fromkeys((*old.unreadable, *new.unreadable))
    return DiffResult(Comparison(differences, found.unread), tuple(unreadable))


def _of_pointers(looker: Looker, revision: str) -> _Side:
    """What a revision's pointers name, or (for "") the workspace's."""
    pointers = pointers_of(looker.project, revision)
    listing = {os.fsencode(path): entry_of(one) for path, one in pointers.found.items()}
    return _Side(
        listing,
        looker.cache.read_tree,
        lost=set(pointers.damaged),
        unreadable=pointers.reasons(),
    )


def _of_workspace(looker: Looker, other: _Side, asked: Sequence[str]) -> _Side:
    """What the workspace holds at the paths that are tracked now or on the other side."""
    now = pointers_of(looker.project)
    side = _Side({}, looker.cache.read_tree, lost=set(now.damaged), unreadable=now.reasons())
    trees: dict[bytes, bytes] = {}
    names = {os.fsdecode(path) for path in other.listing} | now.found.keys()
    for path in sorted(name for name in names if _is_near(name, asked)):
        try:
            here = looker.look(path, now.found.get(path))
        except (DvliteError, OSError) as error:
            side.lost.add(path)
            side.unreadable.append((path, getattr(error, "strerror", None) or str(error)))
            continue
        if here.pointer is not None:
            side.listing[os.fsencode(path)] = entry_of(here.pointer)
        elif here.failed:
            side.lost.add(path)
        if here.snapshot is not None:
            trees |= here.snapshot.trees
        side.files |= {os.fsencode(_join(path, name)) for name, _ in here.failed}
        side.unreadable += [(_join(path, name), why) for name, why in here.failed]
    side.read = _from_memory(trees, looker.cache.read_tree)
    return side


def _from_memory(trees: Mapping[bytes, bytes], read: ReadTree) -> ReadTree:
    def lookup(oid: bytes) -> Tree:
        data = trees.get(oid)
        return read(oid) if data is None else decode(data)

    return lookup


def _is_near(name: str, asked: Sequence[str]) -> bool:
    """Whether a tracked path is, holds or lies in something that was asked for."""
    if not asked or "" in asked:
        return True
    return any(
        name == path or name.startswith(path + "/") or path.startswith(name + "/") for path in asked
    )


def _leave_out(sides: Iterable[_Side], lost: set[str]) -> None:
    for side in sides:
        for path in lost:
            side.listing.pop(os.fsencode(path), None)


def _is_unknown(found: Difference, files: set[bytes]) -> bool:
    """Whether it seems removed only because it could not be read."""
    return found.new is None and found.path in files


def _limit(sides: Sequence[_Side], paths: Sequence[str]) -> None:
    """Leaves only what is at, below or around the paths that were asked for."""
    if not paths or "" in paths:
        return
    limited: list[Listing] = [{} for _ in sides]
    lost = {path for side in sides for path in side.lost}
    for path in paths:
        found = [_at(side, path, into) for side, into in zip(sides, limited, strict=True)]
        if not any(found) and not any(_is_near(name, [path]) for name in lost):
            raise PathError(
                f"{path} is neither a revision nor tracked on one of the sides",
                "dvlite ls lists what is tracked, git log --oneline the commits",
            )
    for side, listing in zip(sides, limited, strict=True):
        side.listing = listing


def _at(side: _Side, path: str, into: Listing) -> bool:
    names: Mapping[str, Entry] = {os.fsdecode(one): entry for one, entry in side.listing.items()}
    found = False
    for name, entry in names.items():
        if name == path or name.startswith(path + "/"):
            into[os.fsencode(name)] = entry
            found = True
    pointers = {name: _as_pointer(entry) for name, entry in names.items()}
    cover = covering(pointers, path)
    if cover is not None and cover[1]:
        inner = _find(side, cover[0], names[cover[0]].oid, cover[1])
        if inner is not None:
            into[os.fsencode(path)] = inner
            found = True
    return found


def _find(side: _Side, tracked: str, oid: bytes, inside: str) -> Entry | None:
    try:
        return find(side.read, oid, os.fsencode(inside))
    except MissingError as error:
        raise MissingError(
            f"a listing that leads to {tracked}/{inside} is not in the cache",
            f"bring it from a remote: dvlite fetch --rev REV {tracked}",
        ) from error


def _as_pointer(entry: Entry) -> Pointer:
    kind: Literal["tree", "file"] = "tree" if entry.kind == Kind.TREE else "file"
    return Pointer(kind, entry.oid, entry.size, entry.files)


def split_words(
    project: Project, words: Sequence[str], after: Sequence[str] | None, started_in: str
) -> DiffRequest:
    """Tells revisions from paths as git does: leading words that name commits are revisions.

    `after`: the words behind `--`, which are paths; all others are revisions then. None without
    `--`.

    Raises:
        PathError: a word that is both. MissingError: no such revision. UsageError: too many.
    """
    if after is not None:
        if len(words) > 2:
            raise UsageError("at most two revisions can be compared", "dvlite diff A B -- PATH")
        for word in words:
            project.repo.resolve(word)
        return DiffRequest(tuple(words), _relative(project, after, started_in))
    leading = 0
    while leading < min(2, len(words)) and _is_revision(project, words[leading]):
        word = words[leading]
        if any(os.path.lexists(_join_path(started_in, one)) for one in (word, pointer_path(word))):
            raise PathError(
                f"{word} is a revision and a path",
                f"say which: dvlite diff {word} -- or dvlite diff -- {word}",
            )
        leading += 1
    return DiffRequest(tuple(words[:leading]), _relative(project, words[leading:], started_in))


def _relative(project: Project, words: Sequence[str], started_in: str) -> tuple[str, ...]:
    return tuple(project.relative(_join_path(started_in, word)) for word in words)


def _join_path(folder: str, word: str) -> str:
    return os.path.join(folder, word) if word else word


def _is_revision(project: Project, word: str) -> bool:
    try:
        project.repo.resolve(word)
    except MissingError:
        return False
    return True


def _join(path: str, inside: bytes) -> str:
    return f"{path}/{os.fsdecode(inside)}" if inside else path
