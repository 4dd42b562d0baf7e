"""`dvlite checkout`: the workspace becomes what the pointers say.

Owns the order (everything is planned and checked before anything changes; the base knows what is
begun before it is done), and what becomes of edits: they stop the checkout, unless they are to be
kept, or to be discarded, which keeps them in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace

from dvlite.errors import ConflictError, CorruptError, DvliteError, MissingError, PathError
from dvlite.ops.discarded import Discarded, discard
from dvlite.ops.looking import Here, Looker, pointer_of
from dvlite.ops.remotes import last_contact
from dvlite.ops.stepping import Rule, Step, Stepper, clear_scratch, missing_files, plan_step
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.treewalk import find
from dvlite.workspace.base import Base
from dvlite.workspace.materialise import check_space
from dvlite.workspace.plan import Plan
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path
from dvlite.workspace.ready import Ready

_NAMED = 10
_ONLY_COPY = "what was there before is neither in the cache nor pushed"


@dataclass(frozen=True, slots=True)
class CheckoutRequest:
    """What to check out (nothing: everything that is tracked), and what becomes of edits.

    `leave`: nobody has asked, so paths whose edits would be lost, that cannot be read, or that are
    the only copy of what was there before stay as they are. `ready`: copies of large files that
    are made already.
    """

    paths: tuple[str, ...] = ()
    force: bool = False
    keep_edits: bool = False
    dry_run: bool = False
    leave: bool = False
    ready: Ready | None = None


@dataclass(slots=True)
class CheckoutResult:
    """What was done, or would be. `missing`: paths whose content is not in the cache, with the
    number of files; `damaged`: paths whose content is damaged there; `left`: paths that were left
    as they are, and why."""

    steps: list[Step] = field(default_factory=list)
    discarded: list[Discarded] = field(default_factory=list)
    missing: list[tuple[str, int]] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)

    @property
    def files(self) -> int:
        """Files written."""
        return sum(step.files for step in self.steps)

    @property
    def size(self) -> int:
        """Bytes written."""
        return sum(step.size for step in self.steps)


def checkout(
    project: Project, request: CheckoutRequest, progress: Progress = silent
) -> CheckoutResult:
    """Makes the workspace match the pointers.

    Raises:
        ConflictError: edits would be lost; nothing has changed then.
        PathError: a path that no pointer tracks. StorageError: not enough space.
    """
    return checkout_pointers(project, None, request, progress)


def checkout_pointers(
    project: Project,
    pointers: Mapping[str, Pointer] | None,
    request: CheckoutRequest,
    progress: Progress = silent,
) -> CheckoutResult:
    """As `checkout`, for these pointers; None: those of the work tree."""
    with project.lock():
        clear_scratch(project)
        base = project.base()
        looker = Looker(project, progress)
        known = project.pointers() if pointers is None else pointers
        targets = _targets(known, request.paths, base)
        rule = Rule(request.force, request.keep_edits)
        result = CheckoutResult()
        result.steps += leave_to_git(project, targets)
        for path in (step.path for step in result.steps):
            del targets[path]
        for path, target in targets.items():
            if target is None and covering(known, path) is not None:
                # its data is that of the folder around it now
                result.steps.append(Step(path, "none", Here(path), None))
                continue
            with _leaving(path, result) if request.leave else nullcontext():
                plan_path(looker, path, target, base, rule, result)
        result.steps = [_sparing(step, known) for step in result.steps]
        if request.leave:
            _leave_lost(result)
            _leave_only_copies(looker, base, targets, result)
        elif not request.force:
            refuse_lost(result.steps)
        if request.dry_run:
            return result
        if result.steps:
            ready = request.ready.size_bytes if request.ready is not None else 0
            check_space(project.root, result.size - ready)
        result.discarded = discard(project, [step.path for step in result.steps if step.lost])
        stepper = Stepper(project, looker, progress, request.ready)
        carry_out(stepper, base, result, request.leave)
        return result


def bring_in_step(
    project: Project, looker: Looker, here: Here, target: Pointer, base: Base
) -> Base:
    """Makes one path what a merged pointer says (nothing of it is lost by that); the new base."""
    assert here.pointer is not None
    clear_scratch(project)
    step = plan_step(looker, here, target, [here.pointer], Rule())
    begun = base.beginning({here.path: target})
    project.save_base(begun)
    Stepper(project, looker).run(step)
    updated = begun.updated({here.path: target})
    project.save_base(updated)
    return updated


@contextmanager
def _leaving(path: str, result: CheckoutResult) -> Iterator[None]:
    try:
        yield
    except (PathError, OSError) as error:
        result.left.append((path, str(error)))


def _leave_lost(result: CheckoutResult) -> None:
    lost = [step for step in result.steps if step.lost]
    result.left += [(step.path, "it has edits that are not added") for step in lost]
    result.steps = [step for step in result.steps if not step.lost]


def _leave_only_copies(
    looker: Looker, base: Base, targets: Mapping[str, Pointer | None], result: CheckoutResult
) -> None:
    """What left the cache, as when somebody removed it, and was not pushed."""
    contact = last_contact(looker.project)
    pushed = contact.present if contact is not None else frozenset()
    stays = []
    for step in result.steps:
        known = base.get(step.path)
        goes = step.action in ("change", "replace", "remove") and known is not None
        if known is not None and goes and known.oid not in pushed and _lacks(looker, known):
            result.left.append((step.path, _ONLY_COPY))
        else:
            stays.append(step)
    result.steps = stays
    # what was to go could not be told from what the user added, without its listing
    unknown = [path for path, _ in result.missing if targets[path] is None]
    result.left += [(path, _ONLY_COPY) for path in unknown]
    result.missing = [one for one in result.missing if one[0] not in unknown]


def _lacks(looker: Looker, pointer: Pointer) -> bool:
    try:
        return bool(missing_files(looker, pointer))
    except DvliteError:
        return True


def _targets(
    pointers: Mapping[str, Pointer], paths: tuple[str, ...], base: Base
) -> dict[str, Pointer | None]:
    """Data path -> pointer; None where the pointer is gone but its data may still be here."""
    targets: dict[str, Pointer | None] = dict(pointers)
    for path in base.entries:
        targets.setdefault(path, None)
    if not paths or "" in paths:
        return {path: targets[path] for path in sorted(targets)}
    chosen: set[str] = set()
    for given in paths:
        chosen |= _chosen(given, pointers, targets)
    return {path: targets[path] for path in sorted(chosen)}


def _chosen(
    given: str, pointers: Mapping[str, Pointer], targets: Mapping[str, Pointer | None]
) -> set[str]:
    path = data_path(given) if given.endswith(SUFFIX) and data_path(given) in targets else given
    if path in targets:
        return {path}
    cover = covering(pointers, path)
    if cover is not None:
        raise PathError(
            f"{path} is inside the tracked folder {cover[0]}",
            f"check out the whole folder: dvlite checkout {cover[0]}",
        )
    below = {one for one in targets if one.startswith(path + "/")}
    if not below:
        raise PathError(f"no pointer tracks {path}", "dvlite ls lists what is tracked")
    return below


def _sparing(step: Step, pointers: Mapping[str, Pointer]) -> Step:
    """A step without the removal of what is tracked on its own, inside a folder that no longer
    is."""
    if step.target is not None or step.action != "remove":
        return step
    front = step.path + "/"
    inside = {os.fsencode(path[len(front) :]) for path in pointers if path.startswith(front)}
    if not inside:
        return step
    fronts = tuple(path + b"/" for path in inside)
    remove = [one for one in step.plan.remove if one not in inside and not one.startswith(fronts)]
    return replace(step, action="remove" if remove else "none", plan=Plan(remove=remove))


def _of_folders(looker: Looker, path: str, base: Base) -> Iterator[Pointer]:
    """What a path was in the folders around it that this workspace was in step with."""
    parts = path.split("/")
    for count in range(1, len(parts)):
        around = base.get("/".join(parts[:count]))
        if around is not None and around.kind == "tree":
            inside = os.fsencode("/".join(parts[count:]))
            with suppress(DvliteError):
                entry = find(looker.cache.read_tree, around.oid, inside)
                if entry is not None:
                    yield pointer_of(entry)


def plan_path(
    looker: Looker,
    path: str,
    target: Pointer | None,
    base: Base,
    rule: Rule,
    result: CheckoutResult,
) -> None:
    """Plans one path: a step, or a note of what is missing."""
    known = base.get(path)
    ours = [*([known] if known is not None else []), *base.begun.get(path, ())]
    ours += _of_folders(looker, path, base)
    try:
        result.steps.append(plan_step(looker, looker.look(path), target, ours, rule))
    except MissingError:
        result.missing.append((path, _count_missing(looker, target)))


def leave_to_git(project: Project, targets: Mapping[str, Pointer | None]) -> list[Step]:
    """Steps that do nothing, for paths whose pointer is gone because git itself has them now.
    Pointers in a folder, and the `.gitignore` that goes with them, are no data that git has."""
    gone = {project.to_git(path): path for path, target in targets.items() if target is None}
    found: set[str] = set()
    for file in project.repo.tracked(list(gone)):
        if file.endswith((SUFFIX, "/.gitignore")):
            continue
        parts = file.split("/")
        above = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
        found.update(gone[path] for path in above if path in gone)
    return [Step(path, "leave", Here(path), None) for path in sorted(found)]


def _count_missing(looker: Looker, target: Pointer | None) -> int:
    if target is None:
        return 0
    missing = missing_files(looker, target)
    return sum(entry.files for entry in missing) or 1


def refuse_lost(steps: list[Step]) -> None:
    """Stops before edits are lost.

    Raises:
        ConflictError: naming them.
    """
    lost = [
        os.path.join(step.path, os.fsdecode(inside)) if inside else step.path
        for step in steps
        for inside in step.lost
    ]
    if lost:
        more = f"\nand {len(lost) - _NAMED:,} more" if len(lost) > _NAMED else ""
        raise ConflictError(
            "these edits are not added yet and would be lost:\n  "
            + "\n  ".join(lost[:_NAMED])
            + more,
            "take them up: dvlite add; leave them: dvlite checkout --keep-edits; "
            "discard them: dvlite checkout --force",
        )


def carry_out(stepper: Stepper, base: Base, result: CheckoutResult, leave: bool = False) -> None:
    """Carries out what is planned; the base is durable before it begins, and after it. `leave`: a
    path that cannot be changed does not stop the others."""
    project, looker = stepper.project, stepper.looker
    begun = {
        step.path: step.target
        for step in result.steps
        if step.target is not None and step.action != "none"
    }
    if begun:
        base = base.beginning(begun)
        project.save_base(base)
    done: dict[str, Pointer | None] = {}
    try:
        for step in list(result.steps):
            try:
                stepper.run(step)
            except MissingError:
                result.steps.remove(step)
                result.missing.append((step.path, _count_missing(looker, step.target)))
            except CorruptError as error:
                result.steps.remove(step)
                result.damaged.append((step.path, str(error)))
            except (ConflictError, PathError, OSError) as error:
                if not leave:
                    raise
                result.steps.remove(step)
                result.left.append((step.path, str(error)))
            else:
                done[step.path] = step.target
    finally:
        looker.done()
        updated = base.updated(done)
        if updated != base:
            project.save_base(updated)
