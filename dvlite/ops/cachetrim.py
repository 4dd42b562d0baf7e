"""`dvlite cache trim` and the size limit: what was not used for longest goes, if a remote has it.

Owns what may go: only what a remote says that it has, asked now, in its view; nothing that a
symbolic link of a work tree leads to, no tree that anything names (they are small, and say what
there is), nothing that was used in the last hours, nothing that `--force` discarded lately (no
fetch would bring it), and nothing that a repository of another project names, whose remotes are
not ours. A plan first; carrying it out is gc's sweep.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dvlite.atomic import try_lock
from dvlite.errors import DvliteError, LockError
from dvlite.gitreachable import work_trees
from dvlite.gitrepo import GitRepo
from dvlite.ops.cachemove import projects_of
from dvlite.ops.cacheroots import Live, repositories, walk
from dvlite.ops.cachesize import counted_size
from dvlite.ops.gc import Amount, ask_remotes, has_remotes, on_remotes
from dvlite.ops.reachable import Kept, Reachable, reachable
from dvlite.ops.remotes import place_of
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.index import Index
from dvlite.storage.sweep import (
    REWRITE_SHARE,
    Contents,
    PackUse,
    Single,
    give_back_aside,
    leftovers,
    look_through,
    remove_leftovers,
    sweep,
)
from dvlite.storage.tree import Kind
from dvlite.workspace import statindex
from dvlite.workspace.pointer import Pointer
from dvlite.workspace.statindex import STAT_WIDTH

# Whoever reads or looks up an object notes that once an hour, and needs it for a while.
SPARE_S = 2 * 3600
# By itself the cache is made smaller than the limit, so that not every command has to.
TO_SHARE = 0.9
# So many objects are asked for at a time, the oldest first, until enough may go.
_ASK_AT_ONCE = 20_000
_NONE = Amount()


@dataclass(frozen=True, slots=True)
class TrimRequest:
    """How large the cache may be, in bytes, and what the running command `needs`."""

    max_size: int
    needs: tuple[Pointer, ...] = ()
    spare_s: float = SPARE_S


@dataclass(slots=True)
class TrimPlan:
    """What would go. `size`: the cache on disk; `freed`: bytes, of which `later` after a day.
    Kept although it is old: `unpushed` (no remote that could be asked has it), `linked` (files of
    work trees are links to it), `needed` (trees, and what is used by whom the module's head tells).
    `asked`: remotes, and why one could not be."""

    size: int = 0
    max_size: int = 0
    contents: Contents = field(default_factory=Contents)
    removed: Amount = _NONE
    freed: int = 0
    later: int = 0
    young: Amount = _NONE
    unpushed: Amount = _NONE
    linked: Amount = _NONE
    needed: Amount = _NONE
    leftover: list[tuple[str, int]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    limit_s: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.contents.singles or self.contents.packs or self.leftover)

    @property
    def over(self) -> int:
        """By how many bytes the cache stays above the limit."""
        left = sum(size for _, size in self.leftover)
        return max(0, self.size - self.freed - self.later - left - self.max_size)


def plan(project: Project, request: TrimRequest, progress: Progress = silent) -> TrimPlan:
    """Looks what may go, changing nothing.

    Raises:
        ConflictError: a repository that uses the cache cannot be read. CorruptError: something
        that may name data cannot be read.
    """
    now_s = time.time()
    result = TrimPlan(counted_size(project.cache_folder), request.max_size)
    result.limit_s = now_s - request.spare_s
    if result.size <= request.max_size:
        return result
    cache = project.cache().alone()
    result.leftover = list(leftovers(cache, now_s))
    progress("asking remotes", 0, 0)
    indexes, result.asked = ask_remotes(project, progress)
    places = {place_of(project, name) for name, why in result.asked if not why}
    spared = _spared(project, request, places)
    progress("comparing the cache", 0, 0)
    found = look_through(cache, spared, result.limit_s)
    result.needed, result.young = Amount(*found.alive), Amount(*found.young)
    result.linked = Amount(*found.linked)
    excess = result.size - request.max_size - sum(size for _, size in result.leftover)
    _choose(found, indexes, excess, result)
    return result


def execute(project: Project, todo: TrimPlan, progress: Progress = silent) -> tuple[int, int]:
    """Carries a plan out; the bytes that are free now, and those that are after a day.

    Raises:
        LockError: a gc, or another one of these, is at work on this cache.
    """
    cache = project.cache().alone()
    with try_lock(os.path.join(cache.folder, "gc.lock"), cache.folder) as taken:
        if not taken:
            raise LockError("another dvlite gc is at work on this cache", "wait for it to finish")
        give_back_aside(cache, todo.limit_s)
        done = [0]

        def told(size: int) -> None:
            done[0] += size
            progress("removing", 0, done[0], None, todo.freed + todo.later)

        freed, later = sweep(cache, todo.contents, todo.limit_s, told)
        return freed + remove_leftovers(cache, [path for path, _ in todo.leftover]), later


def trim_if_over(
    project: Project, needs: Iterable[Pointer], progress: Progress = silent
) -> TrimPlan | None:
    """Keeps to the limit after a command that may have added something; None where there is no
    limit, or the cache is below it.

    Raises:
        DvliteError: it could not be looked at; nothing has gone.
    """
    limit = project.config.get("cache.max_size")
    if not limit or counted_size(project.cache_folder) <= int(limit):
        return None
    todo = plan(project, TrimRequest(int(int(limit) * TO_SHARE), tuple(needs)), progress)
    todo.max_size = int(limit)
    if not todo.is_empty:
        execute(project, todo, progress)
    return todo


# -- what may not go -------------------------------------------------------------------------------


def _spared(project: Project, request: TrimRequest, places: set[str]) -> set[bytes]:
    cache = project.cache()
    spared = Live()
    walk(cache, request.needs, spared)
    for repo in repositories(project):
        reached = reachable(repo, Kept())
        reached.refuse_uncertain()
        if places and not has_remotes(repo, places):
            walk(cache, reached.roots().values(), spared)
        else:
            spared.oids |= _trees(cache, reached)
            discarded = (use.pointer for use in reached.uses if use.where == "discarded")
            walk(cache, discarded, spared)
        spared.oids |= _linked(cache, repo)
    return spared.oids


def _trees(cache: Cache, reached: Reachable) -> set[bytes]:
    """The trees that anything names, as far as the cache has them."""
    found: set[bytes] = set()
    waiting = [one.oid for one in reached.roots().values() if one.kind == "tree"]
    while waiting:
        oid = waiting.pop()
        if oid in found or not cache.has(oid):
            continue
        found.add(oid)
        try:
            tree = cache.read_tree(oid)
        except (DvliteError, OSError):
            continue
        waiting += [
            below
            for below, kind in zip(tree.oid_list(), tree.kinds, strict=True)
            if kind >= Kind.TREE
        ]
    return found


def _linked(cache: Cache, repo: GitRepo) -> set[bytes]:
    """What symbolic links of the work trees lead to: as their stat indexes tell, and where links
    are made, everything that is checked out or was about to be."""
    found: set[bytes] = set()
    for tree in work_trees(repo):
        for path in _stat_indexes(tree.git_dir):
            for block in statindex.load(path).blocks.values():
                modes = block.stat_columns()[0::STAT_WIDTH]
                oids = bytes(block.oids)
                found.update(
                    oids[at * 32 : at * 32 + 32]
                    for at, mode in enumerate(modes)
                    if stat.S_ISLNK(mode)
                )
    live = Live()
    for one in projects_of(repo):
        if "symlink" in str(one.config.get("cache.link")).split(","):
            base = one.base()
            begun = [pointer for several in base.begun.values() for pointer in several]
            walk(cache, [*base.entries.values(), *begun, *one.pointers().values()], live)
    return found | live.oids


def _stat_indexes(git_dir: str) -> Iterator[str]:
    for folder, _, names in os.walk(os.path.join(git_dir, "dvlite")):
        if os.path.basename(folder) == "stat":
            yield from (os.path.join(folder, name) for name in names)


# -- what goes -------------------------------------------------------------------------------------


def _choose(found: Contents, indexes: Sequence[Index], excess: int, result: TrimPlan) -> None:
    """Takes the oldest that a remote has until it is enough; the rest leaves `found`."""
    units: list[Single | PackUse] = sorted(
        [*found.singles, *found.packs], key=lambda one: (one.time_s, one.path)
    )
    chosen = Contents()
    unpushed = [0, 0]
    at = gained = 0
    while at < len(units) and gained < excess:
        some, at = _next(units, at)
        safe = on_remotes(indexes, set().union(*map(_oids, some)), result.asked)
        for one in some:
            if gained < excess:
                gained += _take(one, safe, chosen, unpushed, result)
    result.contents, result.unpushed = chosen, Amount(*unpushed)


def _next(units: list[Single | PackUse], at: int) -> tuple[list[Single | PackUse], int]:
    some: list[Single | PackUse] = []
    count = 0
    while at < len(units) and count < _ASK_AT_ONCE:
        some.append(units[at])
        count += len(_oids(units[at]))
        at += 1
    return some, at


def _oids(unit: Single | PackUse) -> set[bytes]:
    return {unit.oid} if isinstance(unit, Single) else set(unit.dead)


def _take(
    unit: Single | PackUse,
    safe: set[bytes],
    chosen: Contents,
    unpushed: list[int],
    result: TrimPlan,
) -> int:
    """Adds to what goes what of a file may; about the bytes that this gives back."""
    if isinstance(unit, Single):
        if unit.oid not in safe:
            unpushed[0], unpushed[1] = unpushed[0] + 1, unpushed[1] + unit.size
            return 0
        chosen.singles.append(unit)
        _count(result, 1, unit.size, unit.size, 0)
        return unit.size
    for oid in unit.dead.keys() - safe:
        size = unit.dead.pop(oid)
        unit.alive, unit.alive_bytes = unit.alive + 1, unit.alive_bytes + size
        unpushed[0], unpushed[1] = unpushed[0] + 1, unpushed[1] + size
    if not unit.dead or unit.share < REWRITE_SHARE:
        return 0
    chosen.packs.append(unit)
    later = unit.freed if unit.alive else 0
    _count(result, len(unit.dead), sum(unit.dead.values()), unit.freed - later, later)
    return unit.freed


def _count(result: TrimPlan, objects: int, size: int, freed: int, later: int) -> None:
    before = result.removed
    result.removed = Amount(before.objects + objects, before.size + size)
    result.freed, result.later = result.freed + freed, result.later + later
