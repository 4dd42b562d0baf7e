"""`dvlite gc`: removes from the cache what nothing names and a remote has.

A plan first, which can be shown, then its execution. Kept is: whatever any repository that uses
the cache names (`reachable`), what work trees' files hold, what is younger than the grace period,
and the last copy of anything: only what a remote says it has, asked now, may go, or what the user
forces by name. What was deleted can be fetched again.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.atomic import try_lock
from dvlite.errors import CorruptError, DvliteError, LockError
from dvlite.gitrepo import GitRepo
from dvlite.ops import discarded
from dvlite.ops.cachemove import projects_of
from dvlite.ops.cacheroots import Live, add_known_files, reach, repositories, walk
from dvlite.ops.forcing import forced
from dvlite.ops.reachable import DAY_S, GRACE_DAYS, Kept, Reachable, Use
from dvlite.ops.remotes import is_known, open_named, place_of
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.index import Index, mirror_of, open_index
from dvlite.storage.oid import to_text
from dvlite.storage.remote import NotMade
from dvlite.storage.sweep import (
    Contents,
    drop_mostly_alive,
    give_back_aside,
    leftovers,
    look_through,
    remove_files,
    remove_leftovers,
    restrict,
    sweep,
)

# What is looked up is made young once a day at most, and an add may take hours.
MIN_GRACE_DAYS = 2
_ASK_AT_ONCE = 100_000
# The folder of a remote's mirror; what else is there is not the cache's.
_MIRROR = re.compile(r"[0-9a-f]{16}(?:/|\Z)")


@dataclass(frozen=True, slots=True)
class GcRequest:
    """What to keep less of, and what to remove although no remote has it: `forced`, by oid
    (hexadecimal) or tracked path, and `unnamed`, all that nothing names at all. `forgotten`: where
    repositories were that do not count any more."""

    keep_days: float | None = None
    workspaces_only: bool = False
    grace_days: float = GRACE_DAYS
    forced: tuple[str, ...] = ()
    unnamed: bool = False
    forgotten: tuple[str, ...] = ()


class Group(NamedTuple):
    """What would go, together: of the versions of a path, or ("") what nothing names. `first` and
    `last`: the commits that named it, if any; times: when made, or when last looked up."""

    path: str
    objects: int
    size: int
    first: str = ""
    last: str = ""
    first_s: float = 0.0
    last_s: float = 0.0


class Amount(NamedTuple):
    """A number of objects and their bytes."""

    objects: int = 0
    size: int = 0


_NONE = Amount()


@dataclass(slots=True)
class GcPlan:
    """What gc would do. `freed`: bytes on disk, of which `later` after a day. Spared: `young`,
    `unpushed` (no remote has it), `linked` (hard links to it are in a work tree), `packed`
    (in packs that are mostly alive). `asked`: remotes, and why one could not be."""

    groups: list[Group] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    removed: Amount = _NONE
    freed: int = 0
    later: int = 0
    kept: Amount = _NONE
    young: Amount = _NONE
    unpushed: Amount = _NONE
    linked: Amount = _NONE
    packed: Amount = _NONE
    rewritten_packs: int = 0
    leftover: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    limit_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.contents.singles or self.contents.packs or self.leftover)


def plan(project: Project, request: GcRequest, progress: Progress = silent) -> GcPlan:
    """Looks what may go, changing nothing.

    Raises:
        ConflictError: a repository that uses the cache cannot be read; something is forced that is
        in use. CorruptError: something that may name data cannot be read.
    """
    now_s = time.time()
    cache = project.cache()
    result = GcPlan(limit_s=now_s - request.grace_days * DAY_S)
    progress("reading history", 0, 0)
    repos = repositories(project, request.forgotten)
    result.repositories = [repo.top for repo in repos]
    indexes, result.asked = ask_remotes(project, progress)
    places = {place_of(project, name) for name, why in result.asked if not why}
    reached = _named(repos, request, places)
    live = _live(cache, repos, reached)
    result.warnings = _warnings(reached, live)
    progress("comparing the cache", 0, 0)
    found = result.contents = look_through(cache, live.oids, result.limit_s)
    result.kept, result.young = Amount(*found.alive), Amount(*found.young)
    result.linked = Amount(*found.linked)
    everything = _everything(repos, request, reached)
    dead = found.dead()
    removable = forced(cache, request.forced, everything, live) & dead
    if request.unnamed:
        named = _live(cache, repos, everything)
        _refuse_damaged(named.damaged - on_remotes(indexes, named.damaged, result.asked))
        removable |= dead - named.oids
    removable |= on_remotes(indexes, dead - removable, result.asked)
    _restrict(result, removable)
    result.groups = _groups(cache, result, everything, reached)
    result.leftover = [*leftovers(cache, now_s), *_old_mirrors(project, indexes, result.limit_s)]
    return result


def execute(
    project: Project, todo: GcPlan, request: GcRequest, progress: Progress = silent
) -> tuple[int, int]:
    """Carries a plan out; the bytes that are free now, and those that are after a day.

    Raises:
        LockError: another gc is at work on this cache.
    """
    cache = project.cache()
    os.makedirs(cache.folder, exist_ok=True)
    with try_lock(os.path.join(cache.folder, "gc.lock"), cache.folder) as taken:
        if not taken:
            raise LockError("another dvlite gc is at work on this cache", "wait for it to finish")
        give_back_aside(cache, todo.limit_s)
        done = [0]

        def told(size: int) -> None:
            done[0] += size
            progress("removing", 0, done[0], None, todo.freed + todo.later)

        freed, later = sweep(cache, todo.contents, todo.limit_s, told)
        paths, mirrors = [path for path, _ in todo.leftover], _mirrors_in(cache.folder) + os.sep
        freed += remove_leftovers(cache, paths)
        freed += remove_files([path for path in paths if path.startswith(mirrors)])
        discarded.expire(project, time.time() - request.grace_days * DAY_S)
        return freed, later


# -- what is in use --------------------------------------------------------------------------------


def _live(cache: Cache, repos: Sequence[GitRepo], reached: Iterable[Reachable]) -> Live:
    live = Live()
    for found in reached:
        walk(cache, found.roots().values(), live)
    add_known_files(repos, live)
    return live


def _named(repos: Sequence[GitRepo], request: GcRequest, places: set[str]) -> list[Reachable]:
    """What each repository names, without the history that need not be kept. That of another one
    is kept all the same if it could not fetch what the asked remotes have."""
    less = Kept(request.keep_days, request.workspaces_only, request.grace_days)
    own = list(reach(repos[:1], less))
    others = ((repo, has_remotes(repo, places)) for repo in repos[1:])
    whole = Kept(grace_days=request.grace_days)
    return own + [one for repo, has in others for one in reach([repo], less if has else whole)]


def has_remotes(repo: GitRepo, places: set[str]) -> bool:
    """Whether what the remotes at these places have can be had by all projects of a repository."""
    return all(
        places <= {place_of(one, name) for name in one.config.remotes() if is_known(one, name)}
        for one in projects_of(repo)
    )


def _refuse_damaged(trees: set[bytes]) -> None:
    """Of a tree that a remote has, it has what that names too; of another, this may be the last."""
    if trees:
        raise CorruptError(
            f"the tree {to_text(min(trees))} is damaged in the cache; what it names would go",
            "mend it first: dvlite fsck --repair; or go on without --unnamed",
        )


def _everything(
    repos: Sequence[GitRepo], request: GcRequest, reached: list[Reachable]
) -> list[Reachable]:
    """What is named with all of history: the same, where none of it was left out."""
    if request.keep_days is None and not request.workspaces_only:
        return reached
    return list(reach(repos, Kept(grace_days=request.grace_days)))


def _warnings(reached: Iterable[Reachable], live: Live) -> list[str]:
    found = []
    for one in reached:
        found += [f"{what}: {why}" for what, why in one.unreadable]
        found += [f"the work tree {top} is not there" for top in one.absent_trees]
    if live.damaged:
        found.append(
            f"{len(live.damaged)} damaged trees in the cache: what is below them counts as unnamed"
        )
    return found


# -- what remotes have -----------------------------------------------------------------------------


def ask_remotes(project: Project, progress: Progress) -> tuple[list[Index], list[tuple[str, str]]]:
    """The indexes of the remotes that answer and have all the packs that these name; what the
    others have does not count, and why is with each remote's name."""
    found, asked = [], []
    for name in project.config.remotes():
        progress(f"asking {name}", 0, 0)
        why = ""
        try:
            if not is_known(project, name):  # whoever commits a URL could claim to have all
                why = "this clone has not used it at this place"
            else:
                index = open_index(open_named(project, name), project.cache_folder)
                lost = len(index.lost_packs())
                if lost:
                    why = f"{lost} of its packs are gone: dvlite remote check {name}"
                else:
                    found.append(index)
        except NotMade:
            why = "nothing was pushed there yet"
        except DvliteError as error:
            why = str(error)
        asked.append((name, why))
    return found, asked


def on_remotes(
    indexes: Iterable[Index], oids: set[bytes], asked: list[tuple[str, str]]
) -> set[bytes]:
    """Those objects that a pusher could count on finding on a remote; in `asked` is noted which
    remote stopped answering."""
    left, found = set(oids), set[bytes]()
    for index in indexes:
        waiting = sorted(left)
        for at in range(0, len(waiting), _ASK_AT_ONCE):
            some = waiting[at : at + _ASK_AT_ONCE]
            try:
                found.update(index.objects(some, trusted=True))
            except DvliteError as error:
                name = index.remote.name
                asked[:] = [(one, str(error) if one == name else why) for one, why in asked]
                break
        left -= found
    return found


def _old_mirrors(
    project: Project, indexes: Iterable[Index], limit_s: float
) -> list[tuple[str, int]]:
    """Mirrored segments that their remote no longer lists; of remotes that were not asked, those
    that came before `limit_s`. Whoever needs one gets it again."""
    listed = {
        mirror_of(index.remote, project.cache_folder): {one.id for one in index.listing.readable}
        for index in indexes
    }
    found = []
    for folder, _, names in os.walk(_mirrors_in(project.cache_folder)):
        inside = os.path.relpath(folder, _mirrors_in(project.cache_folder))
        for name in names if _MIRROR.match(inside) else ():
            with suppress(FileNotFoundError):
                here = os.stat(os.path.join(folder, name))
                is_old = here.st_mtime < limit_s
                if is_old if folder not in listed or name[0] == "." else name not in listed[folder]:
                    found.append((os.path.join(folder, name), here.st_size))
    return found


def _mirrors_in(cache_folder: str) -> str:
    return os.path.join(cache_folder, "remotes")


# -- the plan --------------------------------------------------------------------------------------


def _restrict(result: GcPlan, removable: set[bytes]) -> None:
    found = result.contents
    result.unpushed = Amount(*restrict(found, removable))
    result.packed = Amount(*drop_mostly_alive(found))
    result.removed = Amount(
        len(found.singles) + sum(len(pack.dead) for pack in found.packs),
        sum(one.size for one in found.singles)
        + sum(sum(pack.dead.values()) for pack in found.packs),
    )
    rewritten = [pack for pack in found.packs if pack.alive]
    result.rewritten_packs = len(rewritten)
    result.later = sum(pack.freed for pack in rewritten)
    result.freed = sum(one.size for one in found.singles)
    result.freed += sum(pack.freed for pack in found.packs if not pack.alive)


def _groups(
    cache: Cache, result: GcPlan, everything: list[Reachable], reached: list[Reachable]
) -> list[Group]:
    """What would go, by the paths that old history names it for."""
    ages = {one.oid: (one.size, one.time_s) for one in result.contents.singles}
    for pack in result.contents.packs:
        ages.update({oid: (size, pack.time_s) for oid, size in pack.dead.items()})
    groups = []
    by_path: dict[str, list[Use]] = {}
    if everything is not reached:
        kept = {oid for one in reached for oid in one.roots()}
        for use in (use for one in everything for use in one.uses):
            if use.pointer.oid not in kept:
                by_path.setdefault(use.path, []).append(use)
    for path, uses in sorted(by_path.items()):
        below = Live()
        walk(cache, [use.pointer for use in uses], below)
        sizes = [ages.pop(oid)[0] for oid in below.oids & ages.keys()]
        named = sorted((use for use in uses if use.commits), key=lambda use: use.time_s)
        if sizes and named:
            first, last = named[0], named[-1]
            commits = first.commits[-1], last.commits[0]
            groups.append(Group(path, len(sizes), sum(sizes), *commits, first.time_s, last.time_s))
        elif sizes:
            groups.append(Group(path, len(sizes), sum(sizes)))
    if ages:
        times = [time_s for _, time_s in ages.values()]
        size = sum(size for size, _ in ages.values())
        groups.append(Group("", len(ages), size, "", "", min(times), max(times)))
    return groups
