"""The run cache: what stages made of which inputs, so that nothing is computed twice.

Owns the records (one small file a run, in the cache's folder `runs/`) and whom to believe. A record
says "these inputs gave these outputs", which no hash can check: what this machine ran counts, and
so does what some commit's `dvlite.lock` says, because people review and sign that. What was fetched
from a remote counts only where the user trusts that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from dvlite.atomic import make_folders, publish
from dvlite.errors import DvliteError
from dvlite.githistory import pointer_changes
from dvlite.ops.remotes import project_id
from dvlite.ops.runkey import ANY_STAGE, key_of, run_key
from dvlite.ops.runrecords import fetched_records, read_record
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import Lock, LockedFile, LockedStage
from dvlite.pipeline.naming import LOCK, most_bytes
from dvlite.pipeline.stage import Stage
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.oid import hash_bytes

_MAX_RECORD_BYTES = 16 << 20


@dataclass(slots=True)
class RunCache:
    """The records of one project's cache, and those that git's history holds. `trust_remote`: also
    those that came from remotes."""

    project: Project
    trust_remote: bool = False
    _committed: dict[str, tuple[LockedStage, str]] | None = field(default=None)
    _fetched: dict[str, bytes] | None = field(default=None)

    def save(self, stage: Stage, locked: LockedStage) -> None:
        """Remembers a run. One that cannot be remembered is no reason to fail."""
        key = run_key(stage, locked)
        data, top = lockfile.render({ANY_STAGE: locked}), self.project.cache_folder
        # a cache may be shared: an empty file tells which project's run it was
        for path, content in ((self._path(key), data), (os.path.join(self._own(), key), b"")):
            with suppress(OSError):
                make_folders(os.path.dirname(path), top)
                publish(path, content, durable=False, top=top)

    def own_keys(self) -> set[str]:
        """Of the runs of this project that this cache knows."""
        try:
            return set(os.listdir(self._own()))
        except OSError:
            return set()

    def find(self, stage: Stage, inputs: LockedStage) -> LockedStage | None:
        """What a stage made when it read the same, here or as some commit says; or, where that is
        trusted, as a remote does."""
        found = self._known(run_key(stage, inputs))
        if found is None:
            return None
        cached = {out.path: out.cached for out in stage.outs}
        outs = tuple(_kept_as(one, cached[one.path]) for one in found.outs if one.path in cached)
        return replace(found, deps=inputs.deps, outs=outs) if len(outs) == len(cached) else None

    def _known(self, key: str) -> LockedStage | None:
        found = self.read(key)
        if found is not None:
            return found
        found, commit = self._of_history().get(key, (None, ""))
        if found is not None:
            self._bring_from_git(found, commit)
            return found
        return self._of_remotes(key) if self.trust_remote else None

    def read(self, key: str) -> LockedStage | None:
        """What a run of this cache made, by its key."""
        path = self._path(key)
        try:
            with open(path, "rb") as stream:
                data = stream.read(_MAX_RECORD_BYTES + 1)
            return lockfile.parse(data, path)[ANY_STAGE]
        except (OSError, DvliteError, KeyError):
            return None

    def _path(self, key: str) -> str:
        return os.path.join(self.project.cache_folder, "runs", key[:2], key)

    def _own(self) -> str:
        name = f"of-{project_id(self.project).hex()}"
        return os.path.join(self.project.cache_folder, "runs", name)

    def _of_remotes(self, key: str) -> LockedStage | None:
        if self._fetched is None:
            self._fetched = fetched_records(self.project)
        body = self._fetched.get(key)
        return None if body is None else read_record(key, body)

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
                    self._committed.setdefault(key_of(locked), (locked, commit))
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


def _kept_as(item: LockedFile, cached: bool) -> LockedFile:
    return item if item.cached == cached else replace(item, cached=cached)
