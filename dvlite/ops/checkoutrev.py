"""`dvlite checkout --rev`: paths of the workspace become what they were at a revision.

As `git checkout REV -- PATH` does it with git's own files: pointer, data and git's index follow,
the branch stays, and what is tracked now but was not then is left alone. Unlike git it does not
discard what was added and never committed without a way back.

Owns the order: everything is planned and checked first, then the data changes, then the pointers
of what has changed, then git's index. An interruption leaves data that the base knows for what it
is; the same command goes on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.atomic import publish_in_tree
from dvlite.errors import ConflictError, DvliteError, MissingError, PathError
from dvlite.ops.add import check_git, check_pointers
from dvlite.ops.checkout import (
    CheckoutResult,
    carry_out,
    plan_path,
    refuse_lost,
)
from dvlite.ops.discarded import Discarded, discard, remember
from dvlite.ops.looking import Looker, pointer_of
from dvlite.ops.outputs import refuse_outputs
from dvlite.ops.pointermerge import keep_trees
from dvlite.ops.pointers import Pointers, label, pointers_of
from dvlite.ops.stepping import (
    Rule,
    Step,
    Stepper,
    clear_scratch,
    missing_files,
    refuse_behind_link,
)
from dvlite.pipeline.naming import LOCK
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.tree import Entry
from dvlite.storage.treewalk import find
from dvlite.workspace.gitignore import ignore
from dvlite.workspace.materialise import check_space
from dvlite.workspace.merge import apply
from dvlite.workspace.pointer import (
    SUFFIX,
    Pointer,
    covering,
    data_path,
    parse,
    pointer_path,
    render,
)

_NAMED = 10


@dataclass(frozen=True, slots=True)
class RevisionRequest:
    """Which paths, as at which revision. `force` discards edits of these paths."""

    revision: str
    paths: tuple[str, ...]
    force: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class _Goal:
    """One tracked path: the pointer it gets, and which parts of it were asked for ("": all)."""

    path: str
    pointer: Pointer
    inside: list[str] = field(default_factory=list)


def checkout_revision(
    project: Project, request: RevisionRequest, progress: Progress = silent
) -> CheckoutResult:
    """Makes paths what they were at a revision, in the workspace, its pointers and git's index.

    Raises:
        MissingError: no such revision, or content that is not in the cache.
        ConflictError: edits would be lost. PathError: a path that was not tracked then, or that
        something else has the place of now. Nothing has changed then.
    """
    with project.lock():
        clear_scratch(project)
        work = _Work(project, request, progress)
        goals = work.goals()
        result = work.plan(goals)
        if request.dry_run:
            return result
        work.carry_out(goals, result)
        return result


class _Work:
    """The state of one such checkout."""

    def __init__(self, project: Project, request: RevisionRequest, progress: Progress) -> None:
        self.project, self.request, self.progress = project, request, progress
        self.looker = Looker(project, progress)
        self.then = pointers_of(project, request.revision)
        self.now = project.pointers()
        self.tracked = project.pointers(outputs=False)
        self.base = project.base()
        self._trees: dict[bytes, bytes] = {}

    # -- what is to become of which path -----------------------------------------------------------

    def goals(self) -> dict[str, _Goal]:
        """Tracked path -> what it is to be."""
        parts: dict[str, list[str]] = {}
        for given in self.request.paths:
            path = data_path(given) if given.endswith(SUFFIX) else given
            for tracked, part in self._tracked(path):
                parts.setdefault(tracked, []).append(part)
        goals = {}
        for path in sorted(parts):
            inside = [] if "" in parts[path] else parts[path]
            goals[path] = _Goal(path, self._pointer(path, inside), inside)
            self._check_place(path)
        self._refuse_missing(goals)
        return goals

    def _tracked(self, path: str) -> list[tuple[str, str]]:
        """The tracked paths of then that are meant, each with the way inside it."""
        cover = covering(self.then.found, path)
        if cover is not None:
            return [cover]
        below = [one for one in self.then.found if not path or one.startswith(path + "/")]
        _refuse_damaged(self.then, path)
        if not below:
            rev = self.request.revision
            raise PathError(
                f"no pointer tracks {label(path, rev)}", f"what is: dvlite ls --rev {rev}"
            )
        return [(one, "") for one in below]

    def _pointer(self, path: str, inside: list[str]) -> Pointer:
        """The pointer of then, or the one of now with parts as they were then."""
        then, now = self.then.found[path], self.now.get(path)
        if not inside:
            return then
        if now is None or now.kind != "tree":
            raise PathError(
                f"{path} is no tracked folder now, so a part of it cannot be put back",
                f"take all of it: dvlite checkout --rev {self.request.revision} {path}",
            )
        read = self.looker.cache.read_tree
        changes: dict[bytes, Entry | None] = {}
        for part in inside:
            entry = find(read, then.oid, os.fsencode(part))
            if entry is None:
                raise PathError(
                    f"{label(path, self.request.revision)} held no {part}",
                    f"what it held: dvlite ls -R {label(path, self.request.revision)}",
                )
            changes[os.fsencode(part)] = entry
        root = apply(read, now.oid, _outermost(changes), self._trees.__setitem__)
        keep_trees(self.looker.cache, self._trees)
        return Pointer("tree", root.oid, root.size, root.files, extra=now.extra)

    def _check_place(self, path: str) -> None:
        """Refuses to track again what has been given to something else since."""
        refuse_behind_link(self.project, path)
        rev = self.request.revision
        hint = f"all outputs as they were then: git checkout {rev} -- {LOCK} && dvlite checkout\n"
        hint += f"elsewhere: dvlite get {label(path, rev)} -o OUT"
        if path not in self.tracked:
            refuse_outputs(self.project, path, "put back alone", hint)
        if path in self.now:
            return
        cover = covering(self.now, path)
        if cover is not None:
            raise PathError(
                f"{path} is inside the tracked folder {cover[0]} now",
                f"get it elsewhere: dvlite get {label(path, self.request.revision)} -o OUT",
            )
        check_pointers(self.now, path)
        check_git(self.project, path)

    def _refuse_missing(self, goals: Mapping[str, _Goal]) -> None:
        missing: list[str] = []
        for goal in goals.values():
            for one in self._needed(goal):
                if missing_files(self.looker, one):
                    missing.append(goal.path)
                    break
        if missing:
            paths = " ".join(missing[:_NAMED])
            raise MissingError(
                "not in the cache: " + ", ".join(missing[:_NAMED]),
                f"bring it from a remote: dvlite fetch --rev {self.request.revision} {paths}",
            )

    def _needed(self, goal: _Goal) -> list[Pointer]:
        """What has to be here: of a folder only the parts that were asked for."""
        read = self.looker.cache.read_tree
        found = [find(read, goal.pointer.oid, os.fsencode(part)) for part in goal.inside]
        parts = [pointer_of(entry) for entry in found if entry is not None]
        return parts if goal.inside else [goal.pointer]

    # -- planning ----------------------------------------------------------------------------------

    def plan(self, goals: Mapping[str, _Goal]) -> CheckoutResult:
        """A step for each path."""
        result = CheckoutResult()
        for goal in goals.values():
            # other parts of the folder keep their edits; those of the chosen ones must not stay
            rule = Rule(self.request.force and not goal.inside, keep_edits=bool(goal.inside))
            plan_path(self.looker, goal.path, goal.pointer, self.base, rule, result)
            if goal.inside and self.request.force:
                self._plan_forced(goal, result)
        if result.missing:
            raise MissingError(
                "not in the cache: " + ", ".join(path for path, _ in result.missing),
                "bring it from a remote: dvlite fetch",
            )
        if not self.request.force:
            refuse_lost(result.steps)
            _refuse_kept(goals, result.steps)
        return result

    def _plan_forced(self, goal: _Goal, result: CheckoutResult) -> None:
        """Discards the edits of the chosen parts, but of no others."""
        step = result.steps[-1]
        others = [one for one in (*step.kept, *step.lost) if not _is_within(one, goal.inside)]
        if others:
            raise ConflictError(
                f"{goal.path} has other edits that are not added: {os.fsdecode(others[0])}",
                f"take them up first: dvlite add {goal.path}",
            )
        result.steps.pop()
        plan_path(self.looker, goal.path, goal.pointer, self.base, Rule(True), result)

    # -- doing -------------------------------------------------------------------------------------

    def carry_out(self, goals: Mapping[str, _Goal], result: CheckoutResult) -> None:
        """The data, then the pointers of what was done, then git's index."""
        if result.steps:
            check_space(self.project.root, result.size)
        result.discarded = discard(self.project, [one.path for one in result.steps if one.lost])
        result.discarded += self._remember_uncommitted(goals)
        carry_out(Stepper(self.project, self.looker, self.progress), self.base, result)
        staged: list[str] = []
        for step in result.steps:
            assert step.target is not None
            folder, _, name = step.path.rpartition("/")
            ignore(self.project.absolute(folder), [name])
            staged.append(f"{folder}/.gitignore" if folder else ".gitignore")
            now = self.now.get(step.path)
            if now is None or not now.same_content(step.target):
                publish_in_tree(self.project.absolute(pointer_path(step.path)), render(step.target))
            staged.append(pointer_path(step.path))
        self.project.repo.stage([self.project.to_git(one) for one in dict.fromkeys(staged)])

    def _remember_uncommitted(self, goals: Mapping[str, _Goal]) -> list[Discarded]:
        """What is tracked now, but is neither in the last commit nor what comes in its place."""
        head = self.project.repo.head()
        committed = self.project.pointers_at(head) if head else {}
        dropped = {}
        for goal in goals.values():
            now = self.now.get(goal.path)
            if now is None or now.same_content(goal.pointer):
                continue
            if not now.same_content(_parsed(committed.get(pointer_path(goal.path)))):
                dropped[goal.path] = now
        return remember(self.project, dropped)


def _outermost(changes: Mapping[bytes, Entry | None]) -> dict[bytes, Entry | None]:
    """Without what lies in another of them."""
    return {
        path: entry
        for path, entry in changes.items()
        if not any(path.startswith(other + b"/") for other in changes)
    }


def _is_within(path: bytes, parts: list[str]) -> bool:
    return any(path == part or path.startswith(part + b"/") for part in map(os.fsencode, parts))


def _refuse_kept(goals: Mapping[str, _Goal], steps: list[Step]) -> None:
    """An edit that the pointers say nothing new about would stay, so the part not be as then."""
    for step in steps:
        inside = goals[step.path].inside
        edits = [one for one in step.kept if _is_within(one, inside)]
        if edits:
            named = ", ".join(os.path.join(step.path, os.fsdecode(one)) for one in edits[:_NAMED])
            raise ConflictError(
                f"these edits are not added yet and would be lost: {named}",
                "take them up: dvlite add; discard them: dvlite checkout --rev REV --force",
            )


def _refuse_damaged(then: Pointers, path: str) -> None:
    for tracked, error in then.damaged.items():
        if not path or path == tracked or path.startswith(tracked + "/"):
            raise error


def _parsed(data: bytes | None) -> Pointer | None:
    try:
        return parse(data, "a pointer") if data is not None else None
    except DvliteError:
        return None
