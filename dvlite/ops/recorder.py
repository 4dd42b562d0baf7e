"""What stages made, taken up and written into `dvlite.lock`; or brought back from what it said.

Owns the order that keeps data safe: content is in the cache before `dvlite.lock` names it; then
base, `.gitignore` and git follow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dvlite.atomic import publish
from dvlite.errors import DvliteError, MissingError, PathError
from dvlite.ops.checkout import CheckoutRequest, checkout_pointers
from dvlite.ops.discarded import Discarded
from dvlite.ops.looking import Here, Looker
from dvlite.ops.seeing import Seen, Seer
from dvlite.ops.stageoutputs import pointer_of, pointers_of, remove_outputs
from dvlite.ops.stepping import missing_files, refuse_behind_link
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import Lock, LockedFile, LockedStage
from dvlite.pipeline.naming import LOCK
from dvlite.pipeline.stage import Out, Pipeline, Stage
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.oid import hash_bytes
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Kind
from dvlite.workspace.fileindex import FileStat, file_stat
from dvlite.workspace.gitignore import ignore, unignore
from dvlite.workspace.pointer import Pointer, check_trackable
from dvlite.workspace.statindex import is_settled, now_ns

# What git keeps is put into the cache too, up to this, so that a past run can be restored.
_SMALL_BYTES = 1 << 20


# What the lockfile says of a stage, or why there is nothing to say.
Recorded = LockedStage | DvliteError


@dataclass(slots=True)
class Recorder:
    """Writes `dvlite.lock` of one project, and what goes with it. `staged`: what git is to be
    told of; `of_git`: outputs that git keeps, if it does not ignore them."""

    project: Project
    seer: Seer
    staged: dict[str, None] = field(default_factory=dict)
    of_git: dict[str, None] = field(default_factory=dict)
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

    def record(self, made: Sequence[tuple[Stage, LockedStage]]) -> list[Recorded]:
        """Takes up what stages have made, with what they read; what the lockfile says of each now,
        or why nothing could be taken up. Those that ended together are written down together,
        because most of the time goes into making each file durable.

        Raises:
            LockError, StorageError: nothing can be written.
        """
        with self.project.lock():
            looker = Looker(self.project, self.seer.looker.progress, keep=True, phase="recording")
            found = [self._take_stage(looker, stage, inputs) for stage, inputs in made]
            looker.done()
            pairs = zip(made, found, strict=True)
            self._publish(
                {stage.name: one for (stage, _), one in pairs if isinstance(one, LockedStage)}
            )
            return found

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
        before = self.lock().get(stage.name)
        discarded = remove_outputs(self.project, replace(stage, outs=outs), before)
        if wanted:  # no paths would be all that is tracked
            request = CheckoutRequest(tuple(wanted), force=True)
            result = checkout_pointers(self.project, wanted, request)
            if result.missing or result.damaged:
                raise MissingError(f"not all outputs of {stage.name} are in the cache")
            discarded += result.discarded
        self._restore_uncached(one for one in locked.outs if not one.cached)
        with self.project.lock():
            self._publish({stage.name: locked})
        return discarded

    def settle(self, pipeline: Pipeline) -> None:
        """Takes out of the lockfile what another entry says of an output that a stage of the
        pipeline has made: a renamed stage leaves its entry, and so does a merge. Which of two
        counts nobody could tell."""
        lock = self.lock()
        own = {
            name: {out.path for out in stage.outs} & {one.path for one in locked.outs}
            for name, stage in pipeline.stages.items()
            if (locked := lock.get(name)) is not None
        }
        if lockfile.disowned(lock, own) is lock:
            return
        with self.project.lock():
            settled = lockfile.disowned(self.lock(), own)
            self._write(settled)
        self.seer.track(lockfile.outs_as_pointers(settled))

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
            there = [*self.staged, *self._kept_by_git()]
            names = [one for one in there if self._is_there(one)]
            first = [one for one in names if not one.endswith(".gitignore")]
            self.project.repo.stage([self.project.to_git(one) for one in first])
            for one in [one for one in names if one.endswith(".gitignore")]:
                with suppress(PathError):  # in a folder that git ignores as a whole it says nothing
                    self.project.repo.stage([self.project.to_git(one)])
            self.staged.clear()
            self.of_git.clear()

    def _is_there(self, path: str) -> bool:
        """Whether git can be told of a path: it is there, or was."""
        there = os.path.lexists(self.project.absolute(path))
        return there or bool(self.project.repo.tracked([self.project.to_git(path)]))

    def _kept_by_git(self) -> list[str]:
        """Outputs for git, without those that it ignores: the user wants nobody to keep them."""
        repo, project = self.project.repo, self.project
        names = {
            project.to_git(path) + "/" * os.path.isdir(project.absolute(path)): path
            for path in self.of_git
        }
        ignored = repo.ignored(names)
        ignored -= {name for name in ignored if repo.tracked([name.rstrip("/")])}
        return [path for name, path in names.items() if name not in ignored]

    # -- writing -----------------------------------------------------------------------------------

    def _stamp(self) -> FileStat | None:
        try:
            return file_stat(os.lstat(self.project.absolute(LOCK)))
        except OSError:
            return None

    def _publish(self, stages: Mapping[str, LockedStage]) -> None:
        """Base, `.gitignore`, then the lockfile."""
        outs = [one for locked in stages.values() for one in locked.outs]
        cached = pointers_of(one for one in outs if one.cached)
        of_git = [one.path for one in outs if not one.cached]
        base = self.project.base()
        updated = base.updated({**cached, **dict.fromkeys(of_git)})
        if updated != base:
            self.project.save_base(updated)
        for folder, names in _by_folder(cached).items():
            ignore(self.project.absolute(folder), names)
            self.staged[_ignore_file(folder)] = None
        for folder, names in _by_folder(of_git).items():  # dvlite may have kept it before
            with suppress(PathError):  # what cannot be a file of ours does not name it either
                if unignore(self.project.absolute(folder), names) is not None:
                    self.staged[_ignore_file(folder)] = None
        self.of_git.update(dict.fromkeys(of_git))
        own = {name: {one.path for one in locked.outs} for name, locked in stages.items()}
        self._write(lockfile.disowned({**self.lock(), **stages}, own))
        self.seer.track(cached)
        self.seer.forget(one.path for one in outs)

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
                mode = 0o755 if one.executable else 0o644
                publish(absolute, cache.read(one.oid), mode=mode, durable=False)

    # -- taking up ---------------------------------------------------------------------------------

    def _take_stage(self, looker: Looker, stage: Stage, inputs: LockedStage) -> Recorded:
        try:
            outs = tuple(sorted((self._take(looker, stage, out) for out in stage.outs), key=_path))
        except DvliteError as error:
            return error
        return LockedStage(
            commands=inputs.commands,
            wdir=inputs.wdir,
            env=inputs.env,
            deps=inputs.deps,
            params=inputs.params,
            outs=outs,
        )

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
            if hash_bytes(data) != oid:  # it has changed since it was looked at
                return
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


def _seen_as(item: LockedFile) -> Seen:
    return Seen(item.kind, item.oid, item.size, item.files, item.executable)


def _by_folder(paths: Iterable[str]) -> dict[str, list[str]]:
    """Folder -> the names in it."""
    found: dict[str, list[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found.setdefault(folder, []).append(name)
    return found


def _ignore_file(folder: str) -> str:
    return f"{folder}/.gitignore" if folder else ".gitignore"


def _path(item: LockedFile) -> str:
    return item.path


def _not_made(stage: Stage, out: Out) -> MissingError:
    return MissingError(
        f"the stage {stage.name} ended well, but made no {out.path}",
        f"correct its outs in dvlite.yaml (line {stage.line}), or what it runs",
    )


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
