"""`dvlite resolve`: decides what a merge of git could not.

Owns the order that keeps everything safe (listings in the cache, then the pointer, then the
workspace, then git's index), and what becomes of unsaved edits: they stay as they are. The
pointer file itself holds what is decided so far; git's index has the three versions it came from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

from dvlite.atomic import publish_in_tree
from dvlite.errors import ConflictError, CorruptError, DvliteError, MissingError, PathError
from dvlite.ops.checkout import CheckoutResult, carry_out, leave_to_git, plan_path
from dvlite.ops.looking import Looker
from dvlite.ops.mergefetch import merge_fetching
from dvlite.ops.pointermerge import PointerMerge, Three, keep_trees, merge_pointers
from dvlite.ops.stepping import Rule, Stepper, clear_scratch
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.treewalk import find
from dvlite.workspace.conflicted import Conflicted, parse_conflicted, render_conflicted
from dvlite.workspace.gitignore import ignore, unignore
from dvlite.workspace.materialise import check_space
from dvlite.workspace.merge import apply, differing
from dvlite.workspace.pointer import (
    MAX_POINTER_BYTES,
    SUFFIX,
    Pointer,
    data_path,
    parse,
    pointer_path,
    render,
)

Side = Literal["ours", "theirs"]


@dataclass(frozen=True, slots=True)
class ResolveRequest:
    """What to decide, and how. No side: what can be merged now, or was merged by hand, is taken.
    No paths: all conflicts. `fetch`: listings that are missing are fetched first."""

    paths: tuple[str, ...] = ()
    side: Side | None = None
    fetch: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """One tracked path. `pointer`: what it is now (None and not `left`: no longer tracked);
    `left`: what is still to be decided ("" for all of it), and `why` nothing was merged."""

    path: str
    pointer: Pointer | None
    left: tuple[str, ...] = ()
    why: str = ""
    chosen: tuple[str, ...] = ()


@dataclass(slots=True)
class ResolveResult:
    """`edits`: unsaved edits that stand in the way of the decision, and stay; `checkout`: what was
    done in the workspace."""

    items: list[Resolved] = field(default_factory=list)
    edits: list[tuple[str, bytes]] = field(default_factory=list)
    checkout: CheckoutResult = field(default_factory=CheckoutResult)


@dataclass(slots=True)
class _State:
    """A conflict as it is: the pointer if it is merged, else both sides."""

    path: str
    pointer: Pointer | None = None
    conflict: Conflicted | None = None
    lacking: bool = False
    unusable: Mapping[str, DvliteError] = field(default_factory=dict)
    chosen: list[str] = field(default_factory=list)


def resolve(
    project: Project, request: ResolveRequest, progress: Progress = silent
) -> ResolveResult:
    """Decides conflicts of pointers.

    Raises:
        PathError: a path that does not conflict. MissingError: a listing that is needed is not in
        the cache.
    """
    with project.lock():
        resolving = _Resolving(project, request, progress)
        works = _collect(resolving.unmerged, project, request.paths)
        states = [resolving.decide(path, inside) for path, inside in works.items()]
        result = ResolveResult([_report(project.cache(), state) for state in states])
        if not request.dry_run:
            resolving.write(states, result)
        return result


class _Resolving:
    """The state of one resolve."""

    def __init__(self, project: Project, request: ResolveRequest, progress: Progress) -> None:
        self.project, self.request, self.progress = project, request, progress
        self.looker = Looker(project, progress)
        self.unmerged = _unmerged(project)
        self.trees: dict[bytes, bytes] = {}

    # -- deciding ----------------------------------------------------------------------------------

    def decide(self, path: str, inside: list[str]) -> _State:
        """Decides a pointer, or the paths inside it that are named."""
        state = self._state(path, inside)
        if state.conflict is None or self.request.side is None:
            return state
        if "" in inside:
            self._choose_all(state)
        else:
            for one in inside:
                self._choose(state, one)
        return state

    def _state(self, path: str, inside: list[str]) -> _State:
        """What the pointer file says; else what git's index does."""
        name = pointer_path(path)
        data = _read(self.project.absolute(name))
        conflict = parse_conflicted(data, name) if data is not None else None
        if conflict is not None and conflict.is_merged:
            return _State(path, conflict=conflict)
        stages = self.unmerged.get(path)
        if stages is None:
            return _State(path, conflict=conflict)
        blobs = dict(self.project.repo.read_blobs(dict.fromkeys(stages.values())))
        base, ours, theirs = (blobs.get(stages.get(stage, ""), b"") for stage in (1, 2, 3))
        # one side's very text is what git leaves when no driver ran: nobody decided on that
        is_decided = self.request.side is None or "" not in inside
        if (
            data is not None
            and is_decided
            and _with_lf(data) not in (_with_lf(ours), _with_lf(theirs))
        ):
            with suppress(CorruptError, ConflictError):
                return _State(path, parse(data, name))
        three = Three(name, base, ours, theirs)
        try:
            found = self._merge(three)
        except (CorruptError, ConflictError) as error:
            return _unusable(three, error)
        return _State(path, found.pointer, found.conflict, found.lacking)

    def _merge(self, three: Three) -> PointerMerge:
        if self.request.fetch:
            return merge_fetching(self.project, three, self.progress)
        return merge_pointers(self.looker.cache, three)

    def _choose_all(self, state: _State) -> None:
        conflict = state.conflict
        assert conflict is not None
        if state.lacking:
            raise MissingError(
                f"{state.path} cannot be merged: a listing that is needed is not in the cache",
                f"bring it: dvlite resolve --fetch {state.path}\nor take a whole side, without "
                f"what the other changed: git checkout --{self.request.side} "
                f"{pointer_path(state.path)}, then git add it",
            )
        reason = state.unusable.get(str(self.request.side))
        if reason is not None:
            raise reason
        state.chosen.append("")
        state.pointer = conflict.ours if self.request.side == "ours" else conflict.theirs
        state.conflict = None

    def _choose(self, state: _State, inside: str) -> None:
        """Gives both sides what the chosen one has at the conflicts at or below a path."""
        conflict, path = state.conflict, os.fsencode(inside)
        if conflict is None:
            return
        if not conflict.is_merged:
            raise PathError(
                f"{state.path} conflicts as a whole: {conflict.why}", f"name it: {state.path}"
            )
        assert conflict.ours is not None and conflict.theirs is not None
        read = self.looker.cache.read_tree
        units = [
            one
            for one in differing(read, conflict.ours.oid, conflict.theirs.oid)
            if one == path or one.startswith(path + b"/") or path.startswith(one + b"/")
        ]
        _check_units(state, inside, units)
        from_side = conflict.ours if self.request.side == "ours" else conflict.theirs
        changes = {unit: find(read, from_side.oid, unit) for unit in units}
        sides = []
        for side in (conflict.ours, conflict.theirs):
            root = apply(read, side.oid, changes, self._put)
            sides.append(Pointer("tree", root.oid, root.size, root.files, extra=side.extra))
        self._keep()
        left = differing(read, sides[0].oid, sides[1].oid)
        state.chosen.append(inside)
        if not left:
            state.pointer, state.conflict = sides[0], None
        else:
            names = [os.fsdecode(one) for one in left]
            state.conflict = conflict.with_sides(sides[0], sides[1], names)

    def _put(self, oid: bytes, data: bytes) -> None:
        self.trees[oid] = data

    def _keep(self) -> None:
        keep_trees(self.looker.cache, self.trees)
        self.trees.clear()

    # -- writing -----------------------------------------------------------------------------------

    def write(self, states: list[_State], result: ResolveResult) -> None:
        """Writes the pointers, brings the workspace in line, and tells git."""
        staged: list[str] = []
        done: dict[str, Pointer | None] = {}
        for state in states:
            name = pointer_path(state.path)
            if state.conflict is not None:
                if state.conflict.is_merged:
                    publish_in_tree(self.project.absolute(name), render_conflicted(state.conflict))
                continue
            done[state.path] = state.pointer
            if state.pointer is None:
                staged += self._untrack(state.path)
            else:
                folder, _, last = state.path.rpartition("/")
                ignore(self.project.absolute(folder), [last])
                staged.append(f"{folder}/.gitignore" if folder else ".gitignore")
                publish_in_tree(self.project.absolute(name), render(state.pointer))
            staged.append(name)
        self._bring(done, result)
        self.project.repo.stage([self.project.to_git(path) for path in dict.fromkeys(staged)])

    def _untrack(self, path: str) -> list[str]:
        with suppress(FileNotFoundError):
            os.unlink(self.project.absolute(pointer_path(path)))
        folder, _, name = path.rpartition("/")
        changed = unignore(self.project.absolute(folder), [name])
        return [os.path.relpath(changed, self.project.root)] if changed else []

    def _bring(self, targets: Mapping[str, Pointer | None], result: ResolveResult) -> None:
        """The workspace's files follow, where no unsaved edit is in the way."""
        clear_scratch(self.project)
        base = self.project.base()
        found = result.checkout
        found.steps += leave_to_git(self.project, targets)
        done = {step.path for step in found.steps}
        for path, target in targets.items():
            if path in done or (target is None and path not in base.entries):
                continue
            plan_path(self.looker, path, target, base, Rule(keep_edits=True), found)
        blocked = [step for step in found.steps if step.lost]
        result.edits = [(step.path, inside) for step in blocked for inside in step.lost]
        found.steps = [step for step in found.steps if not step.lost]
        if found.steps:
            check_space(self.project.root, found.size)
        carry_out(Stepper(self.project, self.looker, self.progress), base, found)


def conflicts(project: Project) -> list[Resolved]:
    """What conflicts now."""
    return resolve(project, ResolveRequest(dry_run=True)).items


def _unusable(three: Three, error: DvliteError) -> _State:
    """A conflict where a side is no pointer; the other may still be chosen."""
    sides: dict[str, Pointer | None] = {"ours": None, "theirs": None}
    unusable: dict[str, DvliteError] = {}
    for side, text in (("ours", three.ours), ("theirs", three.theirs)):
        try:
            sides[side] = parse(text, f"{side} of {three.path}") if text else None
        except (CorruptError, ConflictError) as reason:
            reason.hint = f"take the other side, or edit {three.path} and git add it"
            unusable[side] = reason
    conflict = Conflicted(sides["ours"], sides["theirs"], str(error))
    return _State(data_path(three.path), conflict=conflict, unusable=unusable)


def _unmerged(project: Project) -> dict[str, dict[int, str]]:
    """Data path -> the versions that git's index has of a conflicting pointer."""
    found = project.repo.unmerged(SUFFIX, project.to_git(""))
    return {data_path(project.from_git(path)): stages for path, stages in found.items()}


def _collect(
    unmerged: Mapping[str, object], project: Project, paths: tuple[str, ...]
) -> dict[str, list[str]]:
    """Tracked path -> what inside it is meant ("" for all of it)."""
    known = set(unmerged)
    for path in project.pointer_paths():
        data = _read(project.absolute(path))
        if data is not None and parse_conflicted(data, path) is not None:
            known.add(data_path(path))
    works: dict[str, list[str]] = {}
    for given in paths or ("",):
        path = data_path(given) if given.endswith(SUFFIX) else given
        whole = [one for one in known if not path or one == path or one.startswith(path + "/")]
        above = [one for one in known if path.startswith(one + "/")]
        if not whole and not above and path:
            raise PathError(f"{path} does not conflict", "dvlite resolve lists what does")
        for one in whole:
            works.setdefault(one, []).append("")
        for one in above:
            works.setdefault(one, []).append(path[len(one) + 1 :])
    return {path: works[path] for path in sorted(works)}


def _check_units(state: _State, inside: str, units: list[bytes]) -> None:
    if not units:
        if inside in state.chosen:
            return
        raise PathError(
            f"{state.path}/{inside} does not conflict", "dvlite resolve lists what does"
        )
    unit = os.fsdecode(units[0])
    if inside.startswith(unit + "/"):
        raise PathError(
            f"{state.path}/{unit} is a file on one side and a folder on the other",
            f"decide it as one: {state.path}/{unit}",
        )


def _report(cache: Cache, state: _State) -> Resolved:
    conflict = state.conflict
    if conflict is None:
        return Resolved(state.path, state.pointer, chosen=tuple(state.chosen))
    left: tuple[str, ...] = ("",)
    if conflict.is_merged:
        assert conflict.ours is not None and conflict.theirs is not None
        paths = differing(cache.read_tree, conflict.ours.oid, conflict.theirs.oid)
        left = tuple(os.fsdecode(path) for path in paths)
    return Resolved(state.path, None, left, conflict.why, tuple(state.chosen))


def _with_lf(text: bytes) -> bytes:
    """git may have written its lines with CR (`core.autocrlf`)."""
    return text.replace(b"\r\n", b"\n")


def _read(path: str) -> bytes | None:
    """A pointer file, or a conflicted one; None where there is none."""
    if os.path.islink(path):
        raise PathError(f"{path} is a symbolic link; a pointer is a file", "remove the link")
    try:
        with open(path, "rb") as stream:
            return stream.read(4 * MAX_POINTER_BYTES)
    except FileNotFoundError:
        return None
