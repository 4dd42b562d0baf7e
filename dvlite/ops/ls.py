"""`dvlite ls`: what is tracked, and what tracked folders hold, in the workspace or at a revision.

It reads pointers and trees only, never the data: it works as soon as the listings are in the
cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.errors import MissingError, PathError
from dvlite.ops.looking import entry_of
from dvlite.ops.pointers import Pointers, label, pointers_of
from dvlite.project import Project
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import ReadTree, find, read_folder, walk
from dvlite.workspace.pointer import SUFFIX, covering, data_path, pointer_path


@dataclass(frozen=True, slots=True)
class Target:
    """What to list: a project path ("" for everything), at a revision ("" for the workspace)."""

    path: str = ""
    revision: str = ""


class Listed(NamedTuple):
    """One line: a project path and what is there (its entry's name does not count)."""

    path: bytes
    entry: Entry


@dataclass(frozen=True, slots=True)
class Listing:
    """What a target holds. `folder`: the path that all items lie in, "" for the project."""

    target: Target
    folder: str
    items: tuple[Listed, ...]


@dataclass(frozen=True, slots=True)
class LsResult:
    """One listing a target. `unreadable`: pointers that could not be read, and why."""

    listings: tuple[Listing, ...]
    unreadable: tuple[tuple[str, str], ...] = ()


def ls(project: Project, targets: Sequence[Target], recursive: bool = False) -> LsResult:
    """Lists each target; `recursive`: all files below instead of one level.

    Raises:
        MissingError: no such revision, or a listing that is not in the cache.
        PathError: a path that is not tracked. CorruptError: its pointer is damaged.
    """
    read = project.cache().read_tree
    known: dict[str, Pointers] = {}
    listings = []
    for target in targets:
        if target.revision not in known:
            known[target.revision] = pointers_of(project, target.revision)
        listings.append(_list(known[target.revision], target, recursive, read))
    reasons = [reason for pointers in known.values() for reason in pointers.reasons()]
    return LsResult(tuple(listings), tuple(reasons))


def parse_target(project: Project, word: str, started_in: str, verb: str = "ls") -> Target:
    """What `REV:PATH` or `PATH` means; paths count from `started_in`. `verb`: for hints.

    Raises:
        PathError: it could mean both, or a path outside the project.
    """
    if not word:
        raise PathError("not a path: ''", "dvlite ls without a path lists what is tracked")
    revision, colon, rest = word.partition(":")
    if not colon or not _is_revision(project, revision):
        return Target(project.relative(os.path.join(started_in, word)))
    path = os.path.join(started_in, word)
    if os.path.lexists(path) or os.path.lexists(pointer_path(path)):
        raise PathError(
            f"{word} is a path, and could be {rest or 'everything'} at the revision {revision}",
            f"say which: dvlite {verb} ./{word}, or dvlite {verb} --rev {revision} {rest}",
        )
    return Target(project.relative(os.path.join(started_in, rest)) if rest else "", revision)


def _is_revision(project: Project, word: str) -> bool:
    try:
        project.repo.resolve(word)
    except MissingError:
        return False
    return True


def _list(pointers: Pointers, target: Target, recursive: bool, read: ReadTree) -> Listing:
    path = data_path(target.path) if target.path.endswith(SUFFIX) else target.path
    target = Target(path, target.revision)
    inside = _inside(pointers, target, read)
    if inside is not None and inside.kind != Kind.TREE:
        return Listing(target, os.path.dirname(path), (Listed(os.fsencode(path), inside),))
    tops = [Listed(os.fsencode(path), inside)] if inside is not None else _below(pointers, path)
    if not tops:
        _fail(pointers, target)
    if recursive:
        items = [item for top in tops for item in _files(top, target, read)]
    elif inside is not None:
        items = _entries(tops[0], target, read)
    else:
        items = tops
    return Listing(target, path, tuple(items))


def _inside(pointers: Pointers, target: Target, read: ReadTree) -> Entry | None:
    """What is at a path that a pointer covers; None where no pointer does."""
    cover = covering(pointers.found, target.path)
    if cover is None:
        return None
    tracked, rest = cover
    top = entry_of(pointers.found[tracked])
    if not rest:
        return top
    try:
        entry = find(read, top.oid, os.fsencode(rest))
    except MissingError as error:
        raise _missing(tracked, target.revision) from error
    if entry is None:
        raise PathError(
            f"{label(tracked, target.revision)} holds no {rest}",
            f"what it holds: dvlite ls -R {label(tracked, target.revision)}",
        )
    return entry


def _below(pointers: Pointers, path: str) -> list[Listed]:
    """The tracked paths in a folder that is not tracked itself."""
    return [
        Listed(os.fsencode(tracked), entry_of(pointers.found[tracked]))
        for tracked in sorted(pointers.found)
        if not path or tracked.startswith(path + "/")
    ]


def _fail(pointers: Pointers, target: Target) -> None:
    """Nothing is there: says why, unless everything was asked for."""
    for path, error in pointers.damaged.items():
        if target.path == path or target.path.startswith(path + "/"):
            raise error
    if target.path:
        where = f" at {target.revision}" if target.revision else ""
        rev = f" --rev {target.revision}" if target.revision else ""
        commits = ", `git log --oneline --all` the commits" if ":" in target.path else ""
        raise PathError(
            f"no pointer tracks {target.path}{where}",
            f"`dvlite ls{rev}` lists what is tracked{commits}",
        )


def _entries(folder: Listed, target: Target, read: ReadTree) -> list[Listed]:
    try:
        entries = read_folder(read, folder.entry.oid)
    except MissingError as error:
        raise _missing(os.fsdecode(folder.path), target.revision) from error
    return [Listed(folder.path + b"/" + entry.name, entry) for entry in entries]


def _files(top: Listed, target: Target, read: ReadTree) -> Iterator[Listed]:
    """Every file below, and empty folders, which nothing else would show."""
    if top.entry.kind != Kind.TREE or not top.entry.files:
        yield top
        if top.entry.kind != Kind.TREE:
            return
    try:
        for path, entry in walk(read, top.entry.oid, top.path + b"/"):
            if entry.kind != Kind.TREE or not entry.files:
                yield Listed(path, entry)
    except MissingError as error:
        raise _missing(os.fsdecode(top.path), target.revision) from error


def _missing(path: str, revision: str) -> MissingError:
    rev = f"--rev {revision} " if revision else ""
    return MissingError(
        f"the listing of {label(path, revision)} is not in the cache",
        f"bring it from a remote: dvlite fetch {rev}{path}",
    )
