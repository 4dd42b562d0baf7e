"""The run cache: what stages made of which inputs, so that nothing is computed twice.

Owns the records (one small file a run, in the cache's folder `runs/`), their key, and whom to
believe. A record says "these inputs gave these outputs", which no hash can check: what this machine
ran counts, and so does what some commit's `dvlite.lock` says, because people review and sign that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from blake3 import blake3

from dvlite.atomic import make_folders, publish
from dvlite.errors import DvliteError
from dvlite.githistory import pointer_changes
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import Lock, LockedFile, LockedStage
from dvlite.pipeline.naming import LOCK, most_bytes
from dvlite.pipeline.stage import Stage
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.oid import hash_bytes

_CONTEXT = "dvlite 1 run"
# The name that a stage has in a record: the same run counts whatever the stage is called.
_NAME = "run"
_MAX_RECORD_BYTES = 16 << 20


def run_key(stage: Stage, inputs: LockedStage) -> str:
    """Names a run by all that decides what it makes: 64 hex digits."""
    described = {
        "cmd": list(inputs.commands),
        "wdir": inputs.wdir,
        "env": dict(inputs.env),
        "deps": [[one.path, one.revision, one.kind, one.oid.hex()] for one in inputs.deps],
        "params": [[one.file, one.key, one.value] for one in inputs.params],
        "outs": sorted(out.path for out in stage.outs),
    }
    text = json.dumps(described, sort_keys=True, separators=(",", ":"), default=str)
    return blake3(text.encode("utf-8", "surrogatepass"), derive_key_context=_CONTEXT).hexdigest()


@dataclass(slots=True)
class RunCache:
    """The records of one project's cache, and those that git's history holds."""

    project: Project
    _committed: dict[str, tuple[LockedStage, str]] | None = field(default=None)

    def save(self, stage: Stage, locked: LockedStage) -> None:
        """Remembers a run. One that cannot be remembered is no reason to fail."""
        path = self._path(run_key(stage, locked))
        data = lockfile.render({_NAME: locked})
        with suppress(OSError):
            top = self.project.cache_folder
            make_folders(os.path.dirname(path), top)
            publish(path, data, durable=False, top=top)

    def find(self, stage: Stage, inputs: LockedStage) -> LockedStage | None:
        """What a stage made when it read the same, here or as some commit says."""
        key = run_key(stage, inputs)
        found = self._read(key)
        if found is None:
            found, commit = self._of_history().get(key, (None, ""))
            if found is None:
                return None
            self._bring_from_git(found, commit)
        cached = {out.path: out.cached for out in stage.outs}
        outs = tuple(_kept_as(one, cached[one.path]) for one in found.outs if one.path in cached)
        return replace(found, deps=inputs.deps, outs=outs) if len(outs) == len(cached) else None

    def _read(self, key: str) -> LockedStage | None:
        path = self._path(key)
        try:
            with open(path, "rb") as stream:
                data = stream.read(_MAX_RECORD_BYTES + 1)
            return lockfile.parse(data, path)[_NAME]
        except (OSError, DvliteError, KeyError):
            return None

    def _path(self, key: str) -> str:
        return os.path.join(self.project.cache_folder, "runs", key[:2], key)

    def _bring_from_git(self, found: LockedStage, commit: str) -> None:
        """What git keeps of a run's outputs, into the cache, if it still is what came of it."""
        cache = self.project.cache()
        for one in found.outs:
            if one.cached or one.kind != "file" or not cache.missing([one.oid]):
                continue
            data = self.project.repo.read_file(commit, self.project.to_git(one.path))
            if data is not None and hash_bytes(data) == one.oid:
                with CacheWriter(cache) as writer:
                    writer.add(one.oid, data)

    def _of_history(self) -> dict[str, tuple[LockedStage, str]]:
        """The runs that lockfiles of this clone's branches and tags tell of, read once and only
        when a stage would have to run."""
        if self._committed is None:
            self._committed = {}
            for lock, commit in self._locks():
                for locked in lock.values():
                    self._committed.setdefault(_key_of(locked), (locked, commit))
        return self._committed

    def _locks(self) -> Iterator[tuple[Lock, str]]:
        repo = self.project.repo
        tips = [*repo.branches().values(), *repo.remote_branches().values(), *repo.tags().values()]
        head = repo.head()
        changes = pointer_changes(
            repo,
            list(dict.fromkeys([*([head] if head else []), *tips])),
            [],
            LOCK,
            self.project.to_git(""),
        )
        mine = self.project.to_git(LOCK)
        blobs = {one.new: one.commit for one in changes if one.path == mine and one.new}
        for blob, data in repo.read_blobs(blobs, most_bytes(LOCK)):
            with suppress(DvliteError):
                yield lockfile.parse(data, f"{blob[:8]}:{LOCK}"), blobs[blob]


def _key_of(locked: LockedStage) -> str:
    """The same key from what a lockfile says alone."""
    from dvlite.pipeline.stage import Out

    outs = tuple(Out(one.path) for one in locked.outs)
    return run_key(Stage(_NAME, tuple(locked.commands), outs=outs), locked)


def _kept_as(item: LockedFile, cached: bool) -> LockedFile:
    return item if item.cached == cached else replace(item, cached=cached)
