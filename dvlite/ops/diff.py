"""`dvlite diff`: files that differ between revisions, or between a revision and the workspace.

Owns turning each side into a listing of path -> object. Trees are read from the cache; those that
are not there are named, and everything else is still compared.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError, MissingError, PathError
from dvlite.ops.looking import Looker, entry_of
from dvlite.ops.roots import covering
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.tree import Entry, Kind, Tree
from dvlite.storage.treediff import Comparison, Readers, compare
from dvlite.storage.treewalk import ReadTree, find
from dvlite.workspace.pointer import Pointer, data_path, parse

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
    """One side: its listing and how its trees are read."""

    listing: Listing
    read: ReadTree
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def diff(project: Project, request: DiffRequest, progress: Progress = silent) -> DiffResult:
    """Compares two sides.

    Raises:
        MissingError: no such revision. PathError: a path that neither side tracks.
    """
    looker = Looker(project, progress, phase="reading files")
    sides = [_of_revision(project, looker, revision) for revision in request.revisions]
    if not sides:
        sides.append(_of_pointers(project, looker))
    if len(sides) == 1:
        sides.append(_of_workspace(looker, sides[0]))
    looker.done()
    old, new = sides
    _limit(sides, request.paths)
    comparison = compare(Readers(old.read, new.read), old.listing, new.listing)
    return DiffResult(comparison, (*old.unreadable, *new.unreadable))


def _of_revision(project: Project, looker: Looker, revision: str) -> _Side:
    commit = project.repo.resolve(revision)
    side = _Side({}, looker.cache.read_tree)
    for path, data in project.pointers_at(commit).items():
        try:
            _put(side.listing, data_path(path), parse(data, f"{revision}:{path}"))
        except DvliteError as error:
            side.unreadable.append((f"{revision}:{path}", str(error)))
    return side


def _of_pointers(project: Project, looker: Looker) -> _Side:
    side = _Side({}, looker.cache.read_tree)
    for path, pointer in project.pointers().items():
        _put(side.listing, path, pointer)
    return side


def _of_workspace(looker: Looker, other: _Side) -> _Side:
    """What the workspace holds at the paths that are tracked now or on the other side."""
    cache_read = looker.cache.read_tree
    paths = {os.fsdecode(path) for path in other.listing} | set(looker.project.pointers())
    side = _Side({}, cache_read)
    reads: list[ReadTree] = []
    for path in sorted(paths):
        here = looker.look(path)
        if here.pointer is not None:
            _put(side.listing, path, here.pointer)
        reads += [here.reader(cache_read)] if here.snapshot is not None else []
        side.unreadable += [(_join(path, name), why) for name, why in here.failed]
    side.read = _first_that_has(reads, cache_read)
    return side


def _first_that_has(reads: Sequence[ReadTree], last: ReadTree) -> ReadTree:
    def read(oid: bytes) -> Tree:
        for one in reads:
            try:
                return one(oid)
            except MissingError:
                continue
        return last(oid)

    return read if len(reads) > 1 else reads[0] if reads else last


def _put(listing: Listing, path: str, pointer: Pointer) -> None:
    listing[os.fsencode(path)] = entry_of(pointer)


def _limit(sides: Sequence[_Side], paths: Sequence[str]) -> None:
    """Leaves only what is at, below or around the paths that were asked for."""
    if not paths or "" in paths:
        return
    limited: list[Listing] = [{} for _ in sides]
    for path in paths:
        found = [_at(side, path, into) for side, into in zip(sides, limited, strict=True)]
        if not any(found):
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
        inner = find(side.read, names[cover[0]].oid, os.fsencode(cover[1]))
        if inner is not None:
            into[os.fsencode(path)] = inner
            found = True
    return found


def _as_pointer(entry: Entry) -> Pointer:
    kind: Literal["tree", "file"] = "tree" if entry.kind == Kind.TREE else "file"
    return Pointer(kind, entry.oid, entry.size, entry.files)


def split_words(project: Project, words: Sequence[str], started_in: str) -> DiffRequest:
    """Tells revisions from paths as git does: leading words that name commits are revisions.

    Raises:
        PathError: a word that is both. MissingError: one that is neither.
    """
    revisions: list[str] = []
    paths: list[str] = []
    for word in words:
        if not paths and len(revisions) < 2 and _is_revision(project, word):
            if os.path.lexists(os.path.join(started_in, word)):
                raise PathError(
                    f"{word} is a revision and a path", f"say which: dvlite diff -- {word}"
                )
            revisions.append(word)
        else:
            paths.append(project.relative(os.path.join(started_in, word)))
    return DiffRequest(tuple(revisions), tuple(paths))


def _is_revision(project: Project, word: str) -> bool:
    try:
        project.repo.resolve(word)
    except MissingError:
        return False
    return True


def _join(path: str, inside: bytes) -> str:
    return f"{path}/{os.fsdecode(inside)}" if inside else path
