"""`dvlite add`: content to the cache, pointers written, git told.

Owns the order that keeps everything safe (content, trees, then pointer, base and git's index),
and which paths may become tracked. What becomes of a pointer that is there is `deciding`'s.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.atomic import publish_in_tree
from dvlite.errors import MissingError, PathError
from dvlite.ops.checkout import bring_in_step
from dvlite.ops.deciding import Case, What, decide
from dvlite.ops.looking import Here, Looker
from dvlite.ops.stepping import missing_files
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.workspace.base import Base
from dvlite.workspace.gitignore import ignore
from dvlite.workspace.pointer import (
    SUFFIX,
    Pointer,
    check_trackable,
    covering,
    data_path,
    fold,
    pointer_path,
    render,
)

_NAMED = 10
_FEW = 5
_OUTPUT_HINT = "make it: dvlite run; record it as it is, without running: dvlite run --accept STAGE"


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
    """One tracked path. `before` is the pointer as it was, `noted` what was left out and why."""

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
        pointers = project.pointers(outputs=False)
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
                _refuse_output(project, path)
                raise PathError(f"nothing in {path} is tracked", f"track it: dvlite add {path}")
        else:
            _check_new(project, pointers, path)
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
        """Adds one path."""
        here = self._look(work.path)
        assert here.pointer is not None
        before = self.pointers.get(work.path)
        known = self.base.get(work.path)
        what: What = "new"
        pointer = here.pointer
        if before is not None:
            read = here.reader(self.looker.cache.read_tree)
            case = Case(here, work.inside, before, known, self.request.force, read)
            what, pointer = decide(case)
        self.items.append(Added(work.path, what, pointer, before, here.noted))
        if self.request.dry_run or what == "behind":
            return
        if here.snapshot is not None:
            self._keep_trees(here.snapshot.trees)
            self.looker.save_folder(work.path, here.snapshot)
        if what == "merged":
            self._refuse_missing(work.path, pointer)
            self._write(work.path, pointer, before)
            self.looker.done()
            self.base = bring_in_step(self.project, self.looker, here, pointer, self.base)
            return
        self._write(work.path, pointer, before)
        # not before: where the pointer could not be written, the base must not say it was
        if known is None or not known.same_content(pointer):
            self._steps[work.path] = pointer

    def _refuse_missing(self, path: str, pointer: Pointer) -> None:
        """What the pointer's new version brought has to be here before it can be merged."""
        missing = sum(entry.files for entry in missing_files(self.looker, pointer))
        if missing:
            raise MissingError(
                f"the new version of {path} has {missing:,} files that are not in the cache",
                "bring them, then add again: dvlite fetch",
            )

    def finish(self) -> list[str]:
        """Makes the base durable, then tells git; what was staged."""
        if self.request.dry_run:
            return []
        self.looker.done()
        if self._steps:
            self.project.save_base(self.base.updated(self._steps))
        if self._to_stage:
            names = list(dict.fromkeys(self._to_stage))
            self.project.repo.stage([self.project.to_git(path) for path in names])
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
            names = [f"  {_join(path, name)}: {why}" for name, why in here.failed[:_NAMED]]
            if len(here.failed) > _NAMED:
                names.append(f"  and {len(here.failed) - _NAMED:,} more")
            raise PathError(
                "\n".join([f"{path} cannot be added:", *names]),
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
        """Whether the cache has what was not just taken up: the workspace may be the only copy."""
        assert here.pointer is not None
        if before is not None and here.pointer.oid == before.oid:
            return not missing_files(self.looker, before)
        cache = self.looker.cache
        if here.snapshot is None:
            return not cache.keep([here.pointer.oid])
        trees = here.snapshot.trees
        known = {
            entry.oid
            for tree in trees
            for entry in here.reader(cache.read_tree)(tree)
            if entry.oid not in here.taken and entry.oid not in trees
        }
        return not cache.keep(known, elsewhere=True)

    # -- writing -----------------------------------------------------------------------------------

    def _keep_trees(self, trees: Mapping[bytes, bytes]) -> None:
        with CacheWriter(self.looker.cache) as writer:
            absent = self.looker.cache.keep(trees)
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
        ignore(self.project.absolute(folder), [name])
        # staged also when it is as it was: an add before may have failed to
        self._to_stage.append(f"{folder}/.gitignore" if folder else ".gitignore")
        if pointer != before:  # also where its size was wrong
            publish_in_tree(self.project.absolute(pointer_path(path)), render(pointer))
        self._to_stage.append(pointer_path(path))


def _join(path: str, inside: bytes) -> str:
    return f"{path}/{os.fsdecode(inside)}" if inside else path


# -- what may become tracked ----------------------------------------------------------------------


def _check_new(project: Project, pointers: Mapping[str, Pointer], path: str) -> None:
    """Refuses what cannot be tracked, with the reason and the commands that help.

    Raises:
        PathError: always with what to do instead.
    """
    if not path:
        raise PathError(
            "the project's own folder cannot be tracked as data",
            "name the files and folders: dvlite add PATH...; what is tracked: dvlite add -u",
        )
    _check_there(project, path)
    check_trackable(path)
    check_pointers(pointers, path)
    _refuse_output(project, path)
    check_git(project, path)


def _refuse_output(project: Project, path: str) -> None:
    if project.has_pipeline():
        from dvlite.ops.outputs import refuse_outputs  # only who has a pipeline pays for it

        refuse_outputs(project, path, "added", _OUTPUT_HINT)


def _check_there(project: Project, path: str) -> None:
    try:
        found = os.lstat(project.absolute(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PathError(f"there is no {path}") from error
    if stat.S_ISLNK(found.st_mode):
        raise PathError(
            f"{path} is a symbolic link",
            "add what it leads to, or commit the link itself: git add",
        )
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise PathError(f"{path} is neither a file nor a folder")
    if os.path.lexists(os.path.join(project.absolute(path), ".git")):
        raise PathError(
            f"{path} is a git repository of its own", "version it there, or move its .git away"
        )


def check_pointers(pointers: Mapping[str, Pointer], path: str) -> None:
    """Refuses a path that holds tracked ones, or has the name of one on other systems.

    Raises:
        PathError: with what to do instead.
    """
    inside = [other for other in pointers if other.startswith(path + "/")]
    if inside:
        raise PathError(
            f"{path} holds tracked paths: {', '.join(inside[:_FEW])}",
            f"update them: dvlite add -u {path}; or track {path} as one: dvlite rm them first",
        )
    folded = fold(path)
    for other in pointers:
        if fold(other) == folded:
            raise PathError(
                f"{path} and the tracked {other} are the same name on macOS and Windows",
                "rename one of them",
            )


def check_git(project: Project, path: str) -> None:
    """Refuses a path that git tracks.

    Raises:
        PathError: with what to do instead.
    """
    tracked = project.repo.tracked([project.to_git(path)])
    if not tracked:
        return
    if path.startswith("."):
        raise PathError(f"{path} is tracked by git, and belongs there")
    names = ", ".join(project.from_git(name) for name in tracked[:_FEW])
    more = f" and {len(tracked) - _FEW} more" if len(tracked) > _FEW else ""
    raise PathError(
        f"git tracks {names}{more}",
        f"take it out of git first, the files stay: git rm -r --cached {path}\n"
        f"then: dvlite add {path}, and git commit",
    )
