"""What a checkout has to do to one tracked folder: a value that can be shown before it is done.

Owns the three-way rule. A file differs from the pointer: if it is what this workspace was last
in step with (the base), or what an interrupted checkout already put there, it may be replaced or
removed; anything else is an edit that was not added yet, and is the user's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import Change, ReadTree, diff


@dataclass(slots=True)
class Plan:
    """Paths inside the folder. `write`: new content; `remove`: files, or empty folders, to go.

    `lost`: edits that would be overwritten or removed; `kept`: edits that stay because the
    pointer says nothing new about them. `extra`: files that only the user knows.
    """

    write: list[tuple[bytes, Entry]] = field(default_factory=list)
    remove: list[bytes] = field(default_factory=list)
    lost: list[bytes] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    extra: list[bytes] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to write."""
        return sum(entry.size for _, entry in self.write)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.write and not self.remove


@dataclass(frozen=True, slots=True)
class Sides:
    """What is compared: the workspace's tree, the pointer's, and what is ours to replace.

    `target` is None where the pointer is gone. `ours`: trees this workspace was in step with
    (first the base). `read` reads all of them.
    """

    here: bytes
    target: bytes | None
    ours: Sequence[bytes]
    read: ReadTree


def plan_folder(sides: Sides, force: bool = False, keep_edits: bool = False) -> Plan:
    """Plans a checkout. `force`: edits are overwritten; `keep_edits`: those that the pointer
    says nothing new about stay.

    Raises:
        MissingError: a tree that must be compared is not in the cache.
    """
    return _Planning(sides, force, keep_edits).run()


class _Planning:
    """Three-way, by the differences of each two: a path that is not among the differences
    between base and workspace is as the base has it."""

    def __init__(self, sides: Sides, force: bool, keep_edits: bool) -> None:
        self.sides, self.force, self.keep_edits = sides, force, keep_edits
        self.edits = [
            {change.path: change for change in diff(sides.read, ours, sides.here)}
            for ours in sides.ours
        ]
        self.news: set[bytes] = set()
        if sides.ours:
            news = diff(sides.read, sides.ours[0], sides.target)
            self.news = {change.path for change in news}

    def run(self) -> Plan:
        """Goes through all that differs."""
        plan = Plan()
        kept: list[bytes] = []
        for change in diff(self.sides.read, self.sides.here, self.sides.target):
            self._add(plan, change, kept)
        if kept:  # what lies below a kept file cannot be written
            fronts = tuple(path + b"/" for path in kept)
            plan.write = [item for item in plan.write if not item[0].startswith(fronts)]
        if plan.extra:
            self._give_way(plan)
        return plan

    def _give_way(self, plan: Plan) -> None:
        """Files of the user's cannot stay where a folder is to be, or in a folder that is to be a
        file: they are like edits there."""
        files = {path for path, entry in plan.write if not is_empty_folder(entry)}
        folders = {above for path, _ in plan.write for above in _folders_above(path)}
        stay: list[bytes] = []
        for path in plan.extra:
            if path in folders or not files.isdisjoint(_folders_above(path)):
                plan.remove.append(path)
                if not self.force:
                    plan.lost.append(path)
            else:
                stay.append(path)
        plan.extra = stay

    def _add(self, plan: Plan, change: Change, kept: list[bytes]) -> None:
        path, here, target = change
        is_edit = not self._is_ours(path)
        may_stay = self.keep_edits and bool(self.edits) and path not in self.news
        if is_edit and here is not None and target is None and not self._was_known(path):
            plan.extra.append(path)
            return
        if is_edit and may_stay and not self.force:
            plan.kept.append(path)
            if here is not None:
                kept.append(path)
            return
        if is_edit and here is not None and not self.force:
            plan.lost.append(path)
        if here is not None:
            plan.remove.append(path)
        if target is not None:
            plan.write.append((path, target))

    def _is_ours(self, path: bytes) -> bool:
        """Whether the workspace has there what dvlite put there."""
        return any(path not in edits for edits in self.edits)

    def _was_known(self, path: bytes) -> bool:
        """Whether dvlite ever put anything there (which the user then changed)."""
        return any(path in edits and edits[path].old is not None for edits in self.edits)


def _folders_above(path: bytes) -> Iterator[bytes]:
    end = path.rfind(b"/")
    while end > 0:
        yield path[:end]
        end = path.rfind(b"/", 0, end)


def is_empty_folder(entry: Entry) -> bool:
    """Whether an entry of a plan is a folder to make, rather than a file."""
    return entry.kind == Kind.TREE
