"""The outputs of a stage: taken away before it runs, recorded after, or brought back without it.

Owns the order that keeps data safe: edits are in the cache before they go; content is in the cache
before `dvlite.lock` names it; then base, `.gitignore` and git follow.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dvlite.atomic import publish
from dvlite.errors import DvliteError, MissingError, PathError
from dvlite.ops.checkout import CheckoutRequest, checkout_pointers
from dvlite.ops.discarded import Discarded, discard
from dvlite.ops.looking import Here, Looker
from dvlite.ops.seeing import Seen, Seer
from dvlite.ops.stepping import missing_files, refuse_behind_link
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import Lock, LockedFile, LockedStage
from dvlite.pipeline.naming import LOCK
from dvlite.pipeline.stage import Out, Stage
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Kind
from dvlite.workspace.fileindex import FileStat, file_stat
from dvlite.workspace.gitignore import ignore
from dvlite.workspace.pointer import Pointer, check_trackable
from dvlite.workspace.statindex import is_settled, now_ns

# What git keeps is put into the cache too, up to this, so that a past run can be restored.
_SMALL_BYTES = 1 << 20


@dataclass(slots=True)
class Recorder:
    """Writes `dvlite.lock` of one project, and what goes with it. `staged`: what git is to be
    told of."""

    project: Project
    seer: Seer
    staged: dict[str, None] = field(default_factory=dict)
    _texts: dict[str, tuple[LockedStage, str]] = field(default_factory=dict)
    _data: bytes | None = None
    _lock: Lock = field(default_factory=dict)
    _read_at: FileStat | None = None

    def lock(self) -> Lock:
        """The lockfile as it is now: another dvlite may have written it.

        Raises:
            CorruptError, ConflictError: it cannot be read.
        """
        # of 1,000 stages each asks, and reading 15 MB takes longer than all else about one
        stamp = self._stamp()
        if stamp is not None and stamp == self._read_at:
            return self._lock
        settled = stamp is not None and is_settled(stamp[3], now_ns(self.project.private_folder))
        data = self.project.read_lock()
        self._read_at = stamp if settled else None
        if data != self._data:
            self._data = data
            self._lock = {} if data is None else lockfile.parse(data, LOCK)
        return self._lock

    def record(self, stage: Stage, inputs: LockedStage) -> LockedStage:
        """Takes up what a stage has made; what the lockfile says of it now.

        Raises:
            MissingError: an output was not made. PathError: one that cannot be tracked.
        """
        with self.project.lock():
            looker = Looker(self.project, self.seer.looker.progress, keep=True, phase="recording")
            outs = tuple(sorted((self._take(looker, stage, out) for out in stage.outs), key=_path))
            looker.done()
            locked = LockedStage(
                commands=inputs.commands,
                wdir=inputs.wdir,
                env=inputs.env,
                deps=inputs.deps,
                params=inputs.params,
                outs=outs,
            )
            self._publish(stage, locked)
            return locked

    def restore(self, stage: Stage, locked: LockedStage) -> list[Discarded]:
        """Brings back what a stage made when it read the same; edits that go.

        Raises:
            MissingError: some of it is not in the cache.
        """
        wanted = pointers_of(one for one in locked.outs if one.cached)
        # files that are there besides would make it another folder
        others = [one for one in locked.outs if self.seer.see(one.path) != _seen_as(one)]
        stale = {one.path for one in others}
        outs = tuple(replace(out, persist=False) for out in stage.outs if out.path in stale)
        discarded = remove_outputs(self.project, replace(stage, outs=outs), False)
        if wanted:  # no paths would be all that is tracked
            request = CheckoutRequest(tuple(wanted), force=True)
            result = checkout_pointers(self.project, wanted, request)
            if result.missing or result.damaged:
                raise MissingError(f"not all outputs of {stage.name} are in the cache")
            discarded += result.discarded
        self._restore_uncached(one for one in locked.outs if not one.cached)
        with self.project.lock():
            self._publish(stage, locked)
        return discarded

    def forget(self, names: Iterable[str]) -> None:
        """Takes stages out of the lockfile that the pipeline does not have any more."""
        with self.project.lock():
            stages = dict(self.lock())
            for name in names:
                stages.pop(name, None)
            self._write(stages)

    def can_restore(self, locked: LockedStage) -> bool:
        """Whether the cache has all that a stage made then."""
        looker = self.seer.looker
        for one in locked.outs:
            pointer = pointer_of(one)
            if not one.cached and one.kind == "tree":
                return False
            try:
                if missing_files(looker, pointer):
                    return False
            except DvliteError:
                return False
        return True

    def tell_git(self) -> None:
        """Stages the lockfile and what else was written."""
        if self.staged:
            names = [one for one in self.staged if os.path.lexists(self.project.absolute(one))]
            first = [one for one in names if not one.endswith(".gitignore")]
            self.project.repo.stage([self.project.to_git(one) for one in first])
            for one in [one for one in names if one.endswith(".gitignore")]:
                with suppress(PathError):  # in a folder that git ignores as a whole it says nothing
                    self.project.repo.stage([self.project.to_git(one)])
            self.staged.clear()

    # -- writing -----------------------------------------------------------------------------------

    def _stamp(self) -> FileStat | None:
        try:
            return file_stat(os.lstat(self.project.absolute(LOCK)))
        except OSError:
            return None

    def _publish(self, stage: Stage, locked: LockedStage) -> None:
        """Base, `.gitignore`, then the lockfile."""
        cached = pointers_of(one for one in locked.outs if one.cached)
        base = self.project.base()
        updated = base.updated(cached)
        if updated != base:
            self.project.save_base(updated)
        for path in cached:
            folder, _, name = path.rpartition("/")
            ignore(self.project.absolute(folder), [name])
            self.staged[f"{folder}/.gitignore" if folder else ".gitignore"] = None
        for one in locked.outs:
            if not one.cached:
                self.staged[one.path] = None
        self._write({**self.lock(), stage.name: locked})
        self.seer.track(cached)
        self.seer.forget(one.path for one in locked.outs)

    def _write(self, stages: Mapping[str, LockedStage]) -> None:
        # of thousands of stages one has changed
        texts = {
            name: known[1]
            if (known := self._texts.get(name)) is not None and known[0] is stage
            else lockfile.render_stage(name, stage)
            for name, stage in stages.items()
        }
        self._texts = {name: (stage, texts[name]) for name, stage in stages.items()}
        data = lockfile.join_stages(texts)
        if data != self._data:
            publish(self.project.absolute(LOCK), data)
        self._data, self._lock = data, dict(stages)
        self.staged[LOCK] = None

    def _restore_uncached(self, outs: Iterable[LockedFile]) -> None:
        """What git keeps is no tracked data: it is written as it is."""
        cache = self.seer.looker.cache
        for one in outs:
            refuse_behind_link(self.project, one.path)
            absolute = self.project.absolute(one.path)
            os.makedirs(os.path.dirname(absolute), exist_ok=True)
            place = cache.find(one.oid)
            if place is not None and not os.path.islink(absolute):
                publish(absolute, cache.read(one.oid), durable=False)

    # -- taking up ---------------------------------------------------------------------------------

    def _take(self, looker: Looker, stage: Stage, out: Out) -> LockedFile:
        check_trackable(out.path)
        refuse_behind_link(self.project, out.path)
        if out.cached:
            return self._take_cached(looker, stage, out)
        self.seer.forget([out.path])
        seen = self.seer.see(out.path)
        if seen is None or not os.path.lexists(self.project.absolute(out.path)):
            raise _not_made(stage, out)
        if seen.kind == "file" and seen.size <= _SMALL_BYTES:
            self._keep_small(out.path, seen.oid)
        return LockedFile(
            path=out.path,
            kind=seen.kind,
            oid=seen.oid,
            size=seen.size,
            files=seen.files,
            executable=seen.executable,
            cached=False,
        )

    def _take_cached(self, looker: Looker, stage: Stage, out: Out) -> LockedFile:
        here = look_cached(looker, out.path)
        if here.failed:
            name, why = here.failed[0]
            inside = f"/{os.fsdecode(name)}" if name else ""
            raise PathError(f"{out.path}{inside}, made by the stage {stage.name}: {why}")
        if here.pointer is None:
            raise _not_made(stage, out)
        if here.snapshot is not None:
            with CacheWriter(looker.cache) as writer:
                absent = looker.cache.missing(here.snapshot.trees)
                for oid in absent:
                    writer.add(oid, here.snapshot.trees[oid], RowKind.TREE)
            looker.save_folder(out.path, here.snapshot)
        return item_of_pointer(out.path, here.pointer)

    def _keep_small(self, path: str, oid: bytes) -> None:
        cache = self.seer.looker.cache
        if cache.missing([oid]):
            with open(self.project.absolute(path), "rb") as stream:
                data = stream.read(_SMALL_BYTES + 1)
            with CacheWriter(cache) as writer:
                writer.add(oid, data)


def look_cached(looker: Looker, path: str) -> Here:
    """What is at an output, all of it in the cache: the stat index may know files whose content
    has left the cache since."""
    here = looker.look(path)
    if here.pointer is not None and not _is_cached(looker, here):
        looker.forget = True
        here = looker.look(path)
        looker.forget = False
    return here


def _is_cached(looker: Looker, here: Here) -> bool:
    assert here.pointer is not None
    if here.snapshot is None:
        return looker.cache.has(here.pointer.oid)
    trees = here.snapshot.trees
    known: set[bytes] = set()
    todo = [here.pointer.oid]
    read = here.reader(looker.cache.read_tree)
    seen: set[bytes] = set()
    while todo:
        oid = todo.pop()
        if oid in seen:
            continue
        seen.add(oid)
        if oid not in trees and looker.cache.missing([oid]):
            return False
        for entry in read(oid):
            if entry.kind >= Kind.TREE:
                todo.append(entry.oid)
            elif entry.oid not in here.taken:
                known.add(entry.oid)
    return not looker.cache.missing(known)


def remove_outputs(project: Project, stage: Stage, unfinished: bool) -> list[Discarded]:
    """Takes away what a stage is about to make anew; what was edited is kept in the cache first.
    `unfinished`: an interrupted run left it, so that it is nobody's.

    Raises:
        PathError: it cannot be taken away.
    """
    discarded: list[Discarded] = []
    with project.lock():
        outs = [out for out in stage.outs if not out.persist]
        there = [out.path for out in outs if os.path.lexists(project.absolute(out.path))]
        for path in there:
            refuse_behind_link(project, path)
        if not unfinished:
            cached = {out.path for out in outs if out.cached}
            edited = [path for path in there if path in cached and _is_edited(project, path)]
            discarded = discard(project, edited)
        for path in there:
            remove(project, path)
    return discarded


def remove(project: Project, path: str) -> None:
    """Deletes a file or a folder with all that is in it."""
    absolute = project.absolute(path)
    try:
        if stat.S_ISDIR(os.lstat(absolute).st_mode):
            shutil.rmtree(absolute)
        else:
            os.unlink(absolute)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PathError(f"{path} cannot be deleted: {error.strerror}") from error
    with suppress(FileNotFoundError):
        os.unlink(project.stat_index_path(path))


def make_folders(project: Project, stage: Stage) -> None:
    """Commands expect the folders that they write into."""
    for out in stage.outs:
        refuse_behind_link(project, out.path)
        os.makedirs(os.path.dirname(project.absolute(out.path)), exist_ok=True)


def _is_edited(project: Project, path: str) -> bool:
    known = project.base().get(path)
    here = Looker(project).look(path)
    return here.pointer is not None and not here.pointer.same_content(known)


def pointers_of(items: Iterable[LockedFile]) -> dict[str, Pointer]:
    """Data path -> pointer."""
    return {one.path: pointer_of(one) for one in items}


def pointer_of(item: LockedFile) -> Pointer:
    """An item of the lockfile as a pointer."""
    return Pointer(item.kind, item.oid, item.size, item.files, item.executable)


def item_of_pointer(path: str, pointer: Pointer) -> LockedFile:
    """A pointer as an output in the lockfile."""
    return LockedFile(
        path=path,
        kind=pointer.kind,
        oid=pointer.oid,
        size=pointer.size,
        files=pointer.files,
        executable=pointer.executable,
    )


def _seen_as(item: LockedFile) -> Seen:
    return Seen(item.kind, item.oid, item.size, item.files, item.executable)


def _path(item: LockedFile) -> str:
    return item.path


def _not_made(stage: Stage, out: Out) -> MissingError:
    return MissingError(
        f"the stage {stage.name} ended well, but made no {out.path}",
        f"correct its outs in dvlite.yaml (line {stage.line}), or what it runs",
    )
