"""What is in use: every object that anything in a repository names. What gc keeps, fsck examines.

    found = reachable(repo)             # or reachable(repo, Kept(keep_days=30)) for less
    found.uses                          # a Use for each naming: pointer (kind, oid, size) and where
    found.roots()                       # oid -> Pointer, each once
    found.uses_of(oids)                 # who names these
    found.refuse_uncertain()            # before anything is deleted

It covers all dvlite projects and all work trees of the repository: the pointers and lockfiles of
every commit that any ref (branches, tags, remote-tracking, stashes, any other), any reflog, any
head or an operation under way (a rebase, say) reaches; every index; the files of every work tree;
what checkouts had put there (`base`) and what was discarded lately; the mappings of old names. It
names roots only: what is inside of trees is for the caller to walk. History that a shallow clone
does not have is not covered (`shallow`); what reflogs name and git has dropped is passed over.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite import gitreachable
from dvlite.errors import ConflictError, CorruptError, DvliteError, FormatVersionError, ProjectError
from dvlite.gitreachable import Version, WorkTree
from dvlite.gitrepo import GitRepo
from dvlite.ops import discarded
from dvlite.pipeline import lockfile
from dvlite.pipeline.naming import is_lock, most_bytes
from dvlite.workspace import base as base_file
from dvlite.workspace import imported
from dvlite.workspace.pointer import SUFFIX, Pointer, data_path, parse

# Git's pattern of each kind of file that names data.
PATTERNS = (
    f":(top,glob)**/*{SUFFIX}",
    f":(top,glob)**/{lockfile.FILE}",
    ":(top,glob)**/.dvlite/imported",
)
_IMPORTED = imported.FILE.replace(os.sep, "/")
# As long as git's own gc spares what nothing names.
GRACE_DAYS = 14
DAY_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Kept:
    """What counts. Nothing set: all of it. `keep_days`: of history, the commits that are younger,
    and the newest of every branch, tag and stash; `workspaces_only`: of history, only what work
    trees have checked out, and stashes. `grace_days`: how long what was discarded counts."""

    keep_days: float | None = None
    workspaces_only: bool = False
    grace_days: float = GRACE_DAYS


class Use(NamedTuple):
    """Something names an object. `path`: its data's, from the top of the repository; `where`:
    "history" (then `commits`, the newest first, and when that one was made), "index",
    "workspace", "base", "discarded" or "imported"; `place`: the work tree, or a private folder."""

    pointer: Pointer
    path: str
    where: str
    place: str = ""
    commits: tuple[str, ...] = ()
    time_s: int = 0

    @property
    def label(self) -> str:
        """How messages name it."""
        if self.commits:
            return f"{self.commits[0][:8]}:{self.path}"
        return self.path if self.where == "workspace" else f"{self.path} ({self.where})"


@dataclass(slots=True)
class Reachable:
    """What was found. `unreadable`: what names data and cannot be read, with why; `uncertain`:
    those of it that may name something all the same. `shallow`: history is cut off."""

    uses: list[Use] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    uncertain: list[tuple[str, str]] = field(default_factory=list)
    absent_trees: list[str] = field(default_factory=list)
    shallow: bool = False
    seen_outputs: set[tuple[str, str, str, bytes]] = field(default_factory=set, repr=False)

    def roots(self) -> dict[bytes, Pointer]:
        """What is named, each object once."""
        found: dict[bytes, Pointer] = {}
        for use in self.uses:
            # a tree counts as one even where something takes it for a file
            if use.pointer.oid not in found or use.pointer.kind == "tree":
                found[use.pointer.oid] = use.pointer
        return found

    def uses_of(self, oids: Iterable[bytes]) -> Iterator[Use]:
        """Everything that names one of these."""
        wanted = set(oids)
        return (use for use in self.uses if use.pointer.oid in wanted)

    def refuse_uncertain(self) -> None:
        """Stops whoever is about to delete what nothing names.

        Raises:
            CorruptError: something cannot be read that may name more.
        """
        if self.uncertain:
            what, why = self.uncertain[0]
            more = f" (and {len(self.uncertain) - 1} more)" if len(self.uncertain) > 1 else ""
            raise CorruptError(
                f"{what} cannot be read{more}, and it may name data: {why}",
                "mend it first (a newer format: upgrade dvlite); dvlite fsck lists all",
            )


def reachable(repo: GitRepo, kept: Kept | None = None, now_s: float | None = None) -> Reachable:
    """Everything that the repository names.

    Raises:
        CorruptError: git's history itself is damaged.
    """
    kept, now_s = kept or Kept(), time.time() if now_s is None else now_s
    found = Reachable(shallow=gitreachable.is_shallow(repo))
    try:
        _add_history(repo, kept, now_s, found)
    except ProjectError as error:
        raise CorruptError(
            f"git cannot read its own history: {error}", "`git fsck` says what it lacks"
        ) from error
    for tree in gitreachable.work_trees(repo):
        staged = list(gitreachable.staged_versions(repo, tree, PATTERNS))
        _add_versions(repo, staged, found, ("index", tree.git_dir))
        _add_files(repo, tree, found)
        _add_private(tree, now_s - kept.grace_days * DAY_S, found)
    return found


# -- history ---------------------------------------------------------------------------------------


def _add_history(repo: GitRepo, kept: Kept, now_s: float, found: Reachable) -> None:
    versions = gitreachable.versions(repo, PATTERNS)
    if kept.workspaces_only:
        blobs = gitreachable.versions_at(repo, PATTERNS, gitreachable.checked_out(repo))
        versions = [one for one in versions if one.blob in blobs]
    elif kept.keep_days is not None:
        since = math.ceil(now_s - kept.keep_days * DAY_S)  # git counts whole seconds
        blobs = gitreachable.versions_since(repo, PATTERNS, since)
        versions = [one for one in versions if one.blob in blobs]
    _add_versions(repo, versions, found, ("history", ""))


def _add_versions(
    repo: GitRepo, versions: list[Version], found: Reachable, where: tuple[str, str]
) -> None:
    for limit in sorted({_most_bytes(one.path) for one in versions}):
        same = [one for one in versions if _most_bytes(one.path) == limit]
        by_blob: dict[str, list[Version]] = {}
        for one in same:
            by_blob.setdefault(one.blob, []).append(one)
        lacking = set(by_blob)
        for blob, data in repo.read_blobs(by_blob, limit):
            lacking.discard(blob)
            for one in by_blob[blob]:
                use = Use(_NOTHING, "", *where, tuple(one.commits), one.time_s)
                _add(one.path, data, use, found)
        for blob in lacking:
            one = by_blob[blob][0]
            name = f"{one.commits[0][:8]}:{one.path}" if one.commits else one.path
            why = f"git does not have it ({blob[:8]})"
            found.unreadable.append((name, why))
            found.uncertain.append((name, why))


def _add(path: str, data: bytes, use: Use, found: Reachable) -> None:
    """Adds what a file names; `use` tells where it is."""
    label = use._replace(path=path).label
    try:
        if _is_imported(path):
            for _, pointer in imported.pairs(data):
                found.uses.append(use._replace(pointer=pointer, path=path, where="imported"))
        elif is_lock(path):
            _add_outputs(path, data, use, found)
        else:
            pointer = parse(data, label)
            found.uses.append(use._replace(pointer=pointer, path=data_path(path)))
    except ConflictError as error:  # both sides are in the index and in history
        found.unreadable.append((label, str(error)))
    except DvliteError as error:
        found.unreadable.append((label, str(error)))
        if isinstance(error, FormatVersionError):
            found.uncertain.append((label, str(error)))


def _add_outputs(path: str, data: bytes, use: Use, found: Reachable) -> None:
    """A lockfile repeats the outputs of stages that did not run: each counts once in a place, with
    the newest commit."""
    folder = os.path.dirname(path)
    # one by one: two entries may name the same path, and nobody could tell which of them counts
    outs = [
        out for stage in lockfile.parse(data, path).values() for out in stage.outs if out.cached
    ]
    for out in outs:
        one = use._replace(pointer=out.pointer, path=os.path.join(folder, out.path))
        key = (one.where, one.place, one.path, out.oid)
        if key not in found.seen_outputs:
            found.seen_outputs.add(key)
            found.uses.append(one)


_NOTHING = Pointer("file", bytes(32), 0)


def _is_imported(path: str) -> bool:
    return path == _IMPORTED or path.endswith("/" + _IMPORTED)


def _most_bytes(path: str) -> int:
    return imported.MAX_BYTES if _is_imported(path) else most_bytes(path)


# -- work trees ------------------------------------------------------------------------------------


def _add_files(repo: GitRepo, tree: WorkTree, found: Reachable) -> None:
    if not tree.is_there:
        if tree.top:
            found.absent_trees.append(tree.top)
        return
    for path in gitreachable.files_of(repo, tree, PATTERNS):
        try:
            with open(os.path.join(tree.top, path), "rb", opener=_no_link) as stream:
                data = stream.read(_most_bytes(path) + 1)
        except OSError:  # gone from the work tree, a link, or a folder of that name
            continue
        _add(path, data, Use(_NOTHING, "", "workspace", tree.top), found)


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _add_private(tree: WorkTree, since_s: float, found: Reachable) -> None:
    """What dvlite itself wrote down for a work tree, of each of its projects."""
    folder = os.path.join(tree.git_dir, "dvlite")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        place = os.path.join(folder, name)
        if not os.path.isdir(place):
            continue
        try:
            base = base_file.load(os.path.join(place, "base"))
        except DvliteError as error:
            found.unreadable.append((os.path.join(place, "base"), str(error)))
            found.uncertain.append((os.path.join(place, "base"), str(error)))
            continue
        for path, pointer in base.entries.items():
            found.uses.append(Use(pointer, path, "base", place))
        for path, begun in base.begun.items():
            found.uses += [Use(pointer, path, "base", place) for pointer in begun]
        for one in discarded.read(os.path.join(place, "discarded")):
            if one.time_s >= since_s:
                found.uses.append(Use(one.pointer, one.path, "discarded", place, (), one.time_s))
