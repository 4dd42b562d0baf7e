"""What becomes of a pointer when its data is added again.

Owns the cases: nothing changed; the workspace did; only the pointer did (a `git pull` brought
it); both did, and their changes are merged or refused. Never is a colleague's change undone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import ConflictError, PathError
from dvlite.ops.looking import Here
from dvlite.storage.tree import Entry
from dvlite.storage.treewalk import Change, ReadTree, diff, find
from dvlite.workspace.merge import apply, merge
from dvlite.workspace.pointer import Pointer

What = Literal["new", "updated", "merged", "unchanged", "behind"]
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Case:
    """A tracked path that is added again. `inside`: the paths in it that the user named ("" for
    all of it); `before`: its pointer; `known`: its base; `force`: the workspace wins."""

    here: Here
    inside: Sequence[str]
    before: Pointer
    known: Pointer | None
    force: bool
    read: ReadTree


def decide(case: Case) -> tuple[What, Pointer]:
    """The new pointer. New trees are added to the snapshot's.

    Raises:
        ConflictError: both sides changed the same. PathError: a path that is nowhere.
    """
    here, before, known = case.here, case.before, case.known
    pointer = here.pointer
    assert pointer is not None
    is_part = "" not in case.inside and before.kind == "tree" and here.snapshot is not None
    if is_part:
        _refuse_unknown(case)
    if pointer.same_content(before):
        is_true = (pointer.size, pointer.files) == (before.size, before.files)
        return ("unchanged", before) if is_true else ("updated", pointer)
    if case.force or (known is not None and known.same_content(before)):
        pointer = _only_inside(case) if is_part else pointer
        return ("unchanged" if pointer.same_content(before) else "updated"), pointer
    if known is None:
        raise ConflictError(
            f"{here.path} is not what its pointer says, and was never checked out here",
            "take the pointer's version: dvlite checkout; or yours: dvlite add --force",
        )
    if pointer.same_content(known):
        return "behind", before
    return "merged", _merge(case, known)


def _only_inside(case: Case) -> Pointer:
    """The pointer's tree, with only the paths that the user named as they are now."""
    assert case.here.snapshot is not None
    chosen = [os.fsencode(path) for path in case.inside]
    changes = diff(case.read, case.before.oid, case.here.snapshot.root.oid)
    news = {one.path: one.new for one in changes if _is_chosen(one, chosen)}
    put = case.here.snapshot.trees.__setitem__
    return _tree_pointer(apply(case.read, case.before.oid, news, put))


def _refuse_unknown(case: Case) -> None:
    """A path that is neither in the folder nor in its pointer is a mistake."""
    assert case.here.snapshot is not None
    roots = (case.here.snapshot.root.oid, case.before.oid)
    for inside in case.inside:
        if not any(find(case.read, root, os.fsencode(inside)) for root in roots):
            raise PathError(f"there is no {case.here.path}/{inside}")


def _merge(case: Case, known: Pointer) -> Pointer:
    """Our changes and those that came with the pointer."""
    hint = (
        "see them with dvlite diff; then take the pointer's version (dvlite checkout --force, "
        "which keeps yours in the cache), or yours (dvlite add --force)"
    )
    path, snapshot = case.here.path, case.here.snapshot
    if snapshot is None or case.before.kind != "tree" or known.kind != "tree":
        raise ConflictError(f"{path} changed here, and its pointer changed too", hint)
    roots = (known.oid, snapshot.root.oid, case.before.oid)
    merged = merge(case.read, *roots, snapshot.trees.__setitem__)
    if merged.root is None:
        names = ", ".join(f"{path}/{os.fsdecode(one)}" for one in merged.conflicts[:_NAMED])
        more = len(merged.conflicts) - _NAMED
        names += f" and {more:,} more" if more > 0 else ""
        raise ConflictError(f"changed here and by the pointer's new version: {names}", hint)
    return _tree_pointer(merged.root)


def _is_chosen(change: Change, chosen: Sequence[bytes]) -> bool:
    return any(change.path == path or change.path.startswith(path + b"/") for path in chosen)


def _tree_pointer(root: Entry) -> Pointer:
    return Pointer("tree", root.oid, root.size, root.files)
