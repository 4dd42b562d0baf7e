"""Merging three versions of a pointer: for folders, what they name is merged, file by file.

Owns what merges and what is a conflict. New listings are in the cache, durably, before a pointer
that names them is returned.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from dvlite.errors import ConflictError, CorruptError, MissingError
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.workspace.conflicted import Conflicted, parse_conflicted
from dvlite.workspace.merge import Versions, apply, differing, merge_sides
from dvlite.workspace.pointer import Pointer, parse

Extra = tuple[tuple[str, str], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Three:
    """Three versions of the pointer file of `path`; a side is empty where it has no such file."""

    path: str
    base: bytes
    ours: bytes
    theirs: bytes
    labels: tuple[str, str] = ("ours", "theirs")
    marker: int = 7


@dataclass(frozen=True, slots=True)
class PointerMerge:
    """The merged pointer, or the conflict. `lacking`: a listing that is needed to merge is not in
    the cache."""

    pointer: Pointer | None = None
    conflict: Conflicted | None = None
    lacking: bool = False


class _Clash(Exception):
    """Nothing can be merged, for the reason given."""


def merge_pointers(cache: Cache, three: Three) -> PointerMerge:
    """Merges three versions of a pointer.

    Raises:
        CorruptError, ConflictError: one of the versions is no pointer.
    """
    ours = parse(three.ours, f"our version of {three.path}") if three.ours else None
    theirs = parse(three.theirs, f"their version of {three.path}") if three.theirs else None
    whole = Conflicted(ours, theirs, "", (), three.labels, three.marker)
    try:
        if ours is None or theirs is None:
            raise _Clash("one side changed it, the other stopped tracking it")
        base = _base(cache, three)
        extra = _extra(base, ours, theirs)
        if ours.kind == theirs.kind == "tree" and not _is_simple(base, ours, theirs):
            return _merge_trees(cache, base, whole, extra)
        return PointerMerge(replace(_merge_whole(base, ours, theirs), extra=extra))
    except _Clash as clash:
        return PointerMerge(conflict=replace(whole, why=str(clash)))
    except MissingError:
        why = "a listing that is needed is not in the cache (dvlite resolve --fetch brings it)"
        return PointerMerge(conflict=replace(whole, why=why), lacking=True)
    except CorruptError as error:
        why = f"a listing that is needed cannot be used: {error}"
        return PointerMerge(conflict=replace(whole, why=why))


def keep_trees(cache: Cache, trees: dict[bytes, bytes]) -> None:
    """Brings new listings into the cache, durably."""
    absent = cache.keep(trees)
    with CacheWriter(cache) as writer:
        for oid, data in trees.items():
            if oid in absent:
                writer.add(oid, data, RowKind.TREE)


def _merge_trees(
    cache: Cache, base: Pointer | None, whole: Conflicted, extra: Extra
) -> PointerMerge:
    assert whole.ours is not None and whole.theirs is not None
    trees: dict[bytes, bytes] = {}
    root = base.oid if base is not None and base.kind == "tree" else None
    versions = Versions(root, whole.ours.oid, whole.theirs.oid)
    read = lru_cache(maxsize=8192)(cache.read_tree)  # the base is compared twice
    found = merge_sides(read, versions, trees.__setitem__)
    keep_trees(cache, trees)
    ours, theirs = (
        Pointer("tree", side.oid, side.size, side.files, extra=extra)
        for side in (found.ours, found.theirs)
    )
    if not found.conflicts:
        return PointerMerge(ours)
    paths = tuple(os.fsdecode(path) for path in found.conflicts)
    return PointerMerge(conflict=whole.with_sides(ours, theirs, paths))


def _is_simple(base: Pointer | None, ours: Pointer, theirs: Pointer) -> bool:
    """Whether one side has all that the other has."""
    return ours.same_content(theirs) or ours.same_content(base) or theirs.same_content(base)


def _merge_whole(base: Pointer | None, ours: Pointer, theirs: Pointer) -> Pointer:
    if ours.kind != theirs.kind:
        if ours.same_content(base) or theirs.same_content(base):
            return theirs if ours.same_content(base) else ours
        raise _Clash("it is a file on one side and a folder on the other")
    clash = "both sides changed it" if base is not None else "both sides added it"
    content = _three_way(_content(base), _content(ours), _content(theirs), clash)
    if base is not None and base.kind != ours.kind:
        base = None
    mode = _three_way(base.executable if base else None, ours.executable, theirs.executable, clash)
    side = ours if content == _content(ours) else theirs
    return replace(side, executable=bool(mode))


def _content(pointer: Pointer | None) -> object:
    return None if pointer is None else (pointer.kind, pointer.oid)


def _three_way(base: T, ours: T, theirs: T, clash: str) -> T:
    if ours == theirs or theirs == base:
        return ours
    if ours == base:
        return theirs
    raise _Clash(clash)


def _extra(base: Pointer | None, ours: Pointer, theirs: Pointer) -> Extra:
    """The lines that a later dvlite may have added, key by key."""
    before, here, there = (dict(one.extra) if one else {} for one in (base, ours, theirs))
    merged: list[tuple[str, str]] = []
    for key in dict.fromkeys((*here, *there)):
        clash = f"both sides changed its line '{key}'"
        text = _three_way(before.get(key), here.get(key), there.get(key), clash)
        if text is not None:
            merged.append((key, text))
    return tuple(merged)


def _base(cache: Cache, three: Three) -> Pointer | None:
    """What both sides began with; None where there is nothing that could be relied on.

    Where several ancestors were merged first, and conflict, git hands us that conflict: what they
    agree on is what both sides began with.
    """
    if not three.base:
        return None
    try:
        return parse(three.base, f"the common version of {three.path}")
    except (CorruptError, ConflictError):
        conflict = parse_conflicted(three.base, three.path)
    if conflict is None or not conflict.is_merged:
        return None
    assert conflict.ours is not None and conflict.theirs is not None
    paths = differing(cache.read_tree, conflict.ours.oid, conflict.theirs.oid)
    trees: dict[bytes, bytes] = {}
    root = apply(cache.read_tree, conflict.ours.oid, dict.fromkeys(paths), trees.__setitem__)
    keep_trees(cache, trees)
    return Pointer("tree", root.oid, root.size, root.files)
