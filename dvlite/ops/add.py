"""`dvlite add`: content to the cache, pointers written, git told.

Owns the order that keeps everything safe (content, trees, then base, then pointer), what may be
tracked (`trackable`), and what happens when the pointer moved since this workspace was last in
step: both sides' changes are merged, or nothing is done.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dvlite.atomic import publish
from dvlite.errors import ConflictError, PathError
from dvlite.ops.checkout import bring_in_step
from dvlite.ops.looking import Here, Looker
from dvlite.ops.trackable import check_new
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Entry
from dvlite.storage.treewalk import Change, diff
from dvlite.workspace.base import Base
from dvlite.workspace.gitignore import ignore
from dvlite.workspace.merge import apply, merge
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path, pointer_path, render

What = Literal["new", "updated", "merged", "unchanged", "behind"]
_NAMED = 10


@dataclass(frozen=True, slots=True)
class AddRequest:
    """What to add. `update`: only what is tracked already; no paths then mean everything.
    `force`: the workspace wins over a pointer that moved."""

    paths: tuple[str, ...] = ()
    update: bool = False
    force: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """One tracked path. `before` is the pointer as it was; `changed` counts the files that
    differ from it (None where that was not compared)."""

    path: str
    what: What
    pointer: Pointer
    before: Pointer | None
    noted: tuple[tuple[bytes, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AddResult:
    """What was added, and the files that were staged in git."""

    items: tuple[Added, ...]
    staged: tuple[str, ...] = ()


@dataclass(slots=True)
class _Work:
    """One path on its way: where inside it the user pointed to ("" for all of it)."""

    path: str
    inside: list[str] = field(default_factory=list)


def add(project: Project, request: AddRequest, progress: Progress = silent) -> AddResult:
    """Adds paths. Either a path is added completely, or it is as before.

    Raises:
        PathError: something that cannot be tracked or read. ConflictError: the pointer moved,
        and the changes of both sides overlap. MissingError: content needed to merge.
    """
    with project.lock():
        pointers = project.pointers()
        works = _collect(project, pointers, request)
        looker = Looker(project, progress, keep=not request.dry_run, phase="adding to the cache")
        adding = _Adding(project, request, pointers, project.base(), looker)
        try:
            for work in works:
                adding.run(work)
        finally:
            staged = adding.finish()
        return AddResult(tuple(adding.items), tuple(staged))


def _collect(project: Project, pointers: Mapping[str, Pointer], request: AddRequest) -> list[_Work]:
    """The tracked paths that are meant, each once."""
    works: dict[str, _Work] = {}
    paths = request.paths or (("",) if request.update else ())
    for given in paths:
        path = data_path(given) if given.endswith(SUFFIX) and given[:-4] in pointers else given
        cover = covering(pointers, path)
        if cover is not None:
            work = works.setdefault(cover[0], _Work(cover[0]))
            work.inside.append(cover[1])
            continue
        below = [one for one in pointers if not path or one.startswith(path + "/")]
        if below and (request.update or not path):
            for one in below:
                if os.path.lexists(project.absolute(one)):
                    works.setdefault(one, _Work(one)).inside.append("")
        elif request.update:
            if path:
                raise PathError(f"nothing in {path} is tracked", f"track it: dvlite add {path}")
        else:
            check_new(project, pointers, path)
            works.setdefault(path, _Work(path)).inside.append("")
    _refuse_nested(works)
    return [works[path] for path in sorted(works)]


def _refuse_nested(works: Mapping[str, _Work]) -> None:
    for path in works:
        parts = path.split("/")
        for count in range(1, len(parts)):
            above = "/".join(parts[:count])
            if above in works:
                raise PathError(f"{path} is inside {above}, which is to be added too")


class _Adding:
    """The state of one add."""

    def __init__(
        self,
        project: Project,
        request: AddRequest,
        pointers: Mapping[str, Pointer],
        base: Base,
        looker: Looker,
    ) -> None:
        self.project, self.request, self.pointers = project, request, pointers
        self.base, self.looker = base, looker
        self.items: list[Added] = []
        self._to_stage: list[str] = []
        self._steps: dict[str, Pointer | None] = {}

    def run(self, work: _Work) -> None:
        here = self._look(work.path)
        assert here.pointer is not None
        before = self.pointers.get(work.path)
        known = self.base.get(work.path)
        what, pointer = self._decide(work, here, before, known)
        self.items.append(Added(work.path, what, pointer, before, here.noted))
        if self.request.dry_run or what == "behind":
            return
        if here.snapshot is not None:
            self._keep_trees(here.snapshot.trees)
            self.looker.save_folder(work.path, here.snapshot)
        if what == "merged":
            self.looker.done()
            self.base = bring_in_step(self.project, self.looker, here, pointer, self.base)
        elif known is None or not known.same_content(pointer):
            self._steps[work.path] = pointer
        self._write(work.path, pointer, before)

    def finish(self) -> list[str]:
        """Makes the base durable, then tells git; what was staged."""
        if self.request.dry_run:
            return []
        self.looker.done()
        if self._steps:
            self.project.save_base(self.base.updated(self._steps))
        if self._to_stage:
            self.project.repo.stage([self.project.to_git(path) for path in self._to_stage])
        return self._to_stage

    # -- looking -----------------------------------------------------------------------------------

    def _look(self, path: str) -> Here:
        here = self._look_once(path)
        if not self.request.dry_run and not self._is_cached(here, self.pointers.get(path)):
            # the stat index knows files whose content has left the cache since: read them again
            self.looker.forget = True
            here = self._look_once(path)
            self.looker.forget = False
        return here

    def _look_once(self, path: str) -> Here:
        here = self.looker.look(path)
        if here.failed:
            names = [f"{_join(path, name)}: {why}" for name, why in here.failed[:_NAMED]]
            more = len(here.failed) - _NAMED
            raise PathError(
                "\n".join(
                    [
                        f"{path} cannot be added:",
                        *names,
                        *([f"and {more} more"] if more > 0 else []),
                    ]
                ),
                "correct that, or leave files out with a line in .dvliteignore",
            )
        if here.pointer is None:
            raise PathError(
                f"there is no {path}",
                f"bring it back: dvlite checkout {path}; or stop tracking it: dvlite rm {path}"
                if path in self.pointers
                else None,
            )
        return here

    def _is_cached(self, here: Here, before: Pointer | None) -> bool:
        """Whether what is new against the pointer, and was not just taken up, is in the cache."""
        assert here.pointer is not None
        if before is not None and here.pointer.oid == before.oid:
            return True
        cache = self.looker.cache
        if here.snapshot is None:
            return cache.has(here.pointer.oid)
        trees = here.snapshot.trees
        known = {
            entry.oid
            for tree in trees
            for entry in here.reader(cache.read_tree)(tree)
            if entry.oid not in here.taken and entry.oid not in trees
        }
        return not cache.missing(known)

    # -- deciding ----------------------------------------------------------------------------------

    def _decide(
        self, work: _Work, here: Here, before: Pointer | None, known: Pointer | None
    ) -> tuple[What, Pointer]:
        pointer = here.pointer
        assert pointer is not None
        if before is None:
            return "new", pointer
        if "" not in work.inside and before.kind == "tree" and here.snapshot is not None:
            self._refuse_unknown(work, here, before)
        if pointer.same_content(before):
            return "unchanged", before
        if self.request.force or (known is not None and known.same_content(before)):
            if "" not in work.inside:
                pointer = self._only_inside(work, here, before)
            what: What = "unchanged" if pointer.same_content(before) else "updated"
            return what, pointer
        if known is None:
            raise ConflictError(
                f"{work.path} is not what its pointer says, and was never checked out here",
                "take the pointer's version: dvlite checkout; or yours: dvlite add --force",
            )
        if pointer.same_content(known):
            return "behind", before
        return "merged", self._merge(work.path, here, before, known)

    def _only_inside(self, work: _Work, here: Here, before: Pointer) -> Pointer:
        """The pointer's tree with only the paths that the user named as they are now."""
        if before.kind != "tree" or here.snapshot is None:
            assert here.pointer is not None
            return here.pointer
        read = here.reader(self.looker.cache.read_tree)
        chosen = [os.fsencode(path) for path in work.inside]
        changes = diff(read, before.oid, here.snapshot.root.oid)
        news = {one.path: one.new for one in changes if _is_chosen(one, chosen)}
        root = apply(read, before.oid, news, here.snapshot.trees.__setitem__)
        return _tree_pointer(root)

    def _refuse_unknown(self, work: _Work, here: Here, before: Pointer) -> None:
        """A path that is neither in the folder nor in its pointer is a mistake."""
        from dvlite.storage.treewalk import find

        assert here.snapshot is not None
        read = here.reader(self.looker.cache.read_tree)
        for inside in work.inside:
            name = os.fsencode(inside)
            if not find(read, here.snapshot.root.oid, name) and not find(read, before.oid, name):
                raise PathError(f"there is no {work.path}/{inside}")

    def _merge(self, path: str, here: Here, before: Pointer, known: Pointer) -> Pointer:
        """Our changes and those that came with the pointer."""
        hint = (
            "see them with dvlite diff; then take the pointer's version (dvlite checkout --force, "
            "which keeps yours in the cache), or yours (dvlite add --force)"
        )
        if here.snapshot is None or before.kind != "tree" or known.kind != "tree":
            raise ConflictError(f"{path} changed here, and its pointer changed too", hint)
        trees = here.snapshot.trees
        read = here.reader(self.looker.cache.read_tree)
        merged = merge(read, known.oid, here.snapshot.root.oid, before.oid, trees.__setitem__)
        if merged.root is None:
            names = ", ".join(_join(path, name) for name in merged.conflicts[:_NAMED])
            raise ConflictError(f"changed here and by the pointer's new version: {names}", hint)
        return _tree_pointer(merged.root)

    # -- writing -----------------------------------------------------------------------------------

    def _keep_trees(self, trees: Mapping[bytes, bytes]) -> None:
        with CacheWriter(self.looker.cache) as writer:
            absent = self.looker.cache.missing(trees)
            for oid, data in trees.items():
                if oid in absent:
                    writer.add(oid, data, RowKind.TREE)

    def _write(self, path: str, pointer: Pointer, before: Pointer | None) -> None:
        if before is not None and before.extra:
            pointer = Pointer(
                pointer.kind,
                pointer.oid,
                pointer.size,
                pointer.files,
                pointer.executable,
                before.extra,
            )
        folder, _, name = path.rpartition("/")
        changed = ignore(self.project.absolute(folder), [name])
        if changed is not None:
            self._to_stage.append(os.path.relpath(changed, self.project.root))
        if before is None or not pointer.same_content(before):
            publish(self.project.absolute(pointer_path(path)), render(pointer))
        self._to_stage.append(pointer_path(path))


def _is_chosen(change: Change, chosen: Sequence[bytes]) -> bool:
    return any(change.path == path or change.path.startswith(path + b"/") for path in chosen)


def _tree_pointer(root: Entry) -> Pointer:
    return Pointer("tree", root.oid, root.size, root.files)


def _join(path: str, inside: bytes) -> str:
    return f"{path}/{os.fsdecode(inside)}" if inside else path
