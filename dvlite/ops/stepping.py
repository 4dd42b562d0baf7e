"""One tracked path on its way to what its pointer says: planned as a value, then carried out.

Owns the cases (nothing there, a folder to change, a file, something of another kind, a pointer
that is gone) and what each leaves in the stat index. Whether edits may be lost is decided by who
asks; here they are only found.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Literal

from dvlite.atomic import SCRATCH, temporary_name
from dvlite.errors import ConflictError, PathError
from dvlite.ops.looking import Here, Looker, entry_of
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.bound import check_counts
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import ReadTree, read_folder
from dvlite.workspace.entering import inside, remove_all
from dvlite.workspace.ignorefile import rules_above
from dvlite.workspace.links import spread_folders
from dvlite.workspace.materialise import (
    Target,
    change_folder,
    check_space,
    make_file,
    make_folder,
)
from dvlite.workspace.plan import Plan, Sides, plan_folder
from dvlite.workspace.pointer import Pointer
from dvlite.workspace.ready import Ready, is_in_use
from dvlite.workspace.snapshot import Look, Place, look_into
from dvlite.workspace.statindex import StatIndex, now_ns, save
from dvlite.workspace.write import NewFile
from dvlite.workspace.writers import WriteOptions

Action = Literal["none", "make", "change", "replace", "remove", "leave"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is to happen to one path. `lost`: edits that go; `kept`: edits that stay; `extra`:
    files that only the user knows, which stay too."""

    path: str
    action: Action
    here: Here
    target: Pointer | None
    plan: Plan = field(default_factory=Plan)
    lost: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()
    extra: tuple[bytes, ...] = ()

    @property
    def files(self) -> int:
        """Files to write."""
        if self.action == "change":
            return len(self.plan.write)
        return self.target.files if self.action in ("make", "replace") and self.target else 0

    @property
    def size(self) -> int:
        """Bytes to write."""
        if self.action == "change":
            return self.plan.size
        return self.target.size if self.action in ("make", "replace") and self.target else 0

    @property
    def gone(self) -> int:
        """Files to remove, without those that are written anew."""
        if self.action == "change":
            anew = {path for path, _ in self.plan.write}
            return len(self.plan.remove) - len(anew & {*self.plan.remove})
        if self.action != "remove" or self.here.pointer is None:
            return 0
        return len(self.plan.remove) or self.here.pointer.files


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of edits: `force` overwrites them; `keep_edits` keeps those that the pointer
    says nothing new about."""

    force: bool = False
    keep_edits: bool = False


def plan_step(
    looker: Looker, here: Here, target: Pointer | None, ours: list[Pointer], rule: Rule
) -> Step:
    """Plans one path. `ours`: what dvlite put there (the base first).

    Raises:
        PathError: what is there cannot be read.
    """
    path = here.path
    if here.link is not None and target is not None and rule.force:
        return Step(path, "replace", here, target, lost=(b"",))
    if here.failed:
        name, why = here.failed[0]
        raise PathError(f"{path}{'/' if name else ''}{os.fsdecode(name)}: {why}")
    if target is None:
        return _plan_removal(looker, here, ours)
    if here.pointer is None:
        return Step(path, "make", here, target)
    if here.pointer.same_content(target):
        return Step(path, "none", here, target)
    if here.pointer.kind == "tree" and target.kind == "tree":
        return _plan_folder(looker, here, target, ours, rule)
    is_edit = not any(here.pointer.same_content(one) for one in ours)
    if is_edit and rule.keep_edits and ours and ours[0].same_content(target):
        return Step(path, "none", here, target, kept=(b"",))
    if here.pointer.kind == "file":
        return Step(path, "replace", here, target, lost=(b"",) if is_edit else ())
    plan = _removal_of(looker, here, ours)
    lost = (*plan.lost, *plan.extra)
    if rule.force and lost:
        plan, lost = _removal_of(looker, here, [here.pointer]), (b"",)
    return Step(path, "replace", here, target, plan, lost)


def _plan_removal(looker: Looker, here: Here, ours: list[Pointer]) -> Step:
    """What was ours goes with its pointer; with edits in it, all of it stays."""
    if here.pointer is None:
        return Step(here.path, "none", here, None)
    if here.pointer.kind == "file":
        is_ours = any(here.pointer.same_content(one) for one in ours)
        return Step(here.path, "remove" if is_ours else "leave", here, None)
    plan = _removal_of(looker, here, ours)
    if plan.lost or not plan.remove:
        return Step(here.path, "leave", here, None, kept=tuple(plan.lost))
    return Step(here.path, "remove", here, None, plan, extra=tuple(plan.extra))


def _removal_of(looker: Looker, here: Here, ours: list[Pointer]) -> Plan:
    """How to remove a folder, but nothing in it that only the user knows."""
    assert here.pointer is not None
    trees = [one.oid for one in ours if one.kind == "tree"]
    read = _cached(here.reader(looker.cache.read_tree))
    return plan_folder(Sides(here.pointer.oid, None, trees, read))


def _plan_folder(
    looker: Looker, here: Here, target: Pointer, ours: list[Pointer], rule: Rule
) -> Step:
    assert here.pointer is not None
    trees = [one.oid for one in ours if one.kind == "tree"]
    read = _cached(here.reader(looker.cache.read_tree))
    sides = Sides(here.pointer.oid, target.oid, trees, read)
    plan = plan_folder(sides, rule.force, rule.keep_edits)
    lost = tuple(plan.lost)
    if rule.force:
        edited = set(plan_folder(sides).lost)
        lost = tuple(path for path in plan.remove if path in edited)
    action: Action = "none" if plan.is_empty else "change"
    return Step(here.path, action, here, target, plan, lost, tuple(plan.kept), tuple(plan.extra))


@dataclass(slots=True)
class Stepper:
    """Carries out steps."""

    project: Project
    looker: Looker
    progress: Progress = silent
    ready: Ready | None = None
    _scratch: str = ""

    def run(self, step: Step) -> None:
        """Does one step; afterwards the stat index knows what is there.

        Raises:
            MissingError, CorruptError: content that is not in the cache, or damaged there;
            nothing has changed then. ConflictError: a file changed meanwhile.
        """
        refuse_behind_link(self.project, step.path)
        if step.action == "make":
            self._make(step)
        elif step.action == "change":
            self._change(step)
        elif step.action == "replace":
            self._replace(step)
        elif step.action == "remove":
            self._remove(step)

    @property
    def scratch(self) -> str:
        """The folder for unfinished things, on the workspace's file system."""
        if not self._scratch:
            self._scratch = scratch_folder(self.project)
            with inside(self.project.root, self._scratch, make=True):
                pass
            spread_folders(self._scratch)
        return self._scratch

    def _target(self, step: Step) -> Target:
        links = str(self.project.config.get("cache.link")).split(",")
        size, cache = (step.files, step.size), self.looker.cache
        options = WriteOptions(
            cache, self.project.root, links, self.progress, *size, ready=self.ready
        )
        return Target(self.project.absolute(step.path), self.scratch, options)

    def _make(self, step: Step) -> None:
        assert step.target is not None
        if step.target.kind == "file":
            self._make_file(step)
            return
        target = self._target(step)
        blocks = make_folder(target, entry_of(step.target), self.looker.cache.read_tree)
        save(self.project.stat_index_path(step.path), sorted(blocks.items()))

    def _make_file(self, step: Step) -> None:
        """The file under a temporary name, then in its place, whatever was there."""
        assert step.target is not None
        target = self._target(step)
        check_space(target.scratch, step.target.size - target.options.ready_bytes)
        name = os.path.basename(temporary_name(target.scratch, "file-"))
        entry = entry_of(step.target)
        item = NewFile(os.fsencode(name), entry.kind, entry.oid, entry.size)
        found = make_file(target, item, lambda: self._refuse_changed(step))
        numbers = [found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
        self.looker.note_file(step.path, entry, numbers)

    def _change(self, step: Step) -> None:
        assert step.target is not None and step.here.snapshot is not None
        cache = self.looker.cache
        read = _cached(step.here.reader(cache.read_tree))
        check_counts(entry_of(step.target), read_folder(read, step.target.oid))
        blocks = step.here.snapshot.blocks
        target = self._target(step)
        updated = change_folder(target, step.plan, step.target.oid, read, blocks)
        place = Place(
            target.folder,
            step.path,
            StatIndex(updated),
            rules_above(self.project.root, step.path),
        )
        snapshot = look_into(place, Look(cache, now_ns(self.project.private_folder)))
        save(self.project.stat_index_path(step.path), sorted(snapshot.blocks.items()))

    def _replace(self, step: Step) -> None:
        """Something of another kind, or another file."""
        assert step.target is not None
        was_file = step.here.pointer is None or step.here.pointer.kind == "file"
        if was_file and step.target.kind == "file":
            self._make_file(step)
            return
        self._check_content(step.target)
        self._remove(step)
        if os.path.lexists(self.project.absolute(step.path)):
            raise ConflictError(
                f"{step.path} is in the way: it holds files that only you have",
                "move them away, then check out again",
            )
        self._make(replace(step, here=Here(step.path)))

    def _check_content(self, target: Pointer) -> None:
        """Fails while the old data is still there, if the new cannot be made."""
        if target.kind == "file":
            self.looker.cache.find(target.oid) or self.looker.cache.read(target.oid)
            return
        missing = missing_files(self.looker, target)
        if missing:
            self.looker.cache.read(missing[0].oid)

    def _remove(self, step: Step) -> None:
        """Removes what dvlite knows; what only the user knows stays, and its folder with it."""
        absolute = self.project.absolute(step.path)
        if step.here.snapshot is None:
            self._refuse_changed(step)
            with self._parent(absolute) as (folder, name):
                os.unlink(name, dir_fd=folder)
        else:
            read = _cached(step.here.reader(self.looker.cache.read_tree))
            blocks = step.here.snapshot.blocks
            change_folder(self._target(step), step.plan, None, read, blocks)
            with self._parent(absolute) as (folder, name), suppress(OSError):  # not empty
                os.rmdir(name, dir_fd=folder)
        with suppress(FileNotFoundError):
            os.unlink(self.project.stat_index_path(step.path))

    @contextmanager
    def _parent(self, absolute: str) -> Iterator[tuple[int, str]]:
        where, name = os.path.split(absolute)
        with inside(self.project.root, where) as folder:
            yield folder, name

    def _refuse_changed(self, step: Step) -> None:
        """Stops when somebody has changed the data since it was looked at."""
        if step.here.link is not None:
            if os.readlink(self.project.absolute(step.path)) != step.here.link:
                raise ConflictError(f"{step.path} changed meanwhile", "run the command again")
            return
        if step.here.pointer is None:
            if os.path.lexists(self.project.absolute(step.path)):
                raise ConflictError(f"{step.path} appeared meanwhile", "run the command again")
            return
        again = self.looker.look(step.path)
        if again.pointer is None or not again.pointer.same_content(step.here.pointer):
            raise ConflictError(f"{step.path} changed meanwhile", "run the command again")


def refuse_behind_link(project: Project, path: str) -> None:
    """A path below a symbolic link could lead out of the project.

    Raises:
        PathError: it is one.
    """
    parent = os.path.dirname(project.absolute(path))
    if os.path.realpath(parent) != os.path.normpath(parent):
        raise PathError(f"{path} lies behind a symbolic link", "replace the link by a folder")


def scratch_folder(project: Project) -> str:
    """Where unfinished things of a workspace are."""
    return os.path.join(project.root, SCRATCH)


def clear_scratch(project: Project) -> None:
    """Removes what interrupted commands left. Only under the project's lock."""
    with (
        suppress(FileNotFoundError),
        inside(project.root, scratch_folder(project)) as folder,
    ):
        for name in os.listdir(folder):
            if not is_in_use(folder, name):
                remove_all(folder, name)


def missing_files(looker: Looker, target: Pointer) -> list[Entry]:
    """What of a pointer's data is not in the cache: files, or trees (whose inside is unknown)."""
    cache = looker.cache
    if target.kind == "file":
        return [] if cache.has(target.oid) else [entry_of(target)]
    missing: list[Entry] = []
    leaves: dict[bytes, Entry] = {}
    folders = [entry_of(target)]
    seen: set[bytes] = set()
    while folders:
        folder = folders.pop()
        if folder.oid in seen:
            continue
        seen.add(folder.oid)
        if not cache.has(folder.oid):
            missing.append(folder)
            continue
        for entry in cache.read_tree(folder.oid):
            if entry.kind >= Kind.TREE:
                folders.append(entry)
            else:
                leaves[entry.oid] = entry
    absent = cache.missing(leaves)
    return missing + [entry for oid, entry in leaves.items() if oid in absent]


def _cached(read: ReadTree) -> ReadTree:
    """Reads each tree once; planning compares the same ones several times."""
    from functools import lru_cache

    return lru_cache(maxsize=4096)(read)
