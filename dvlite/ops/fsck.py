"""`dvlite fsck`: whether all data that anything names is there and undamaged; and mending it.

Owns the way from damage to the commits and paths that it concerns. Set-up is `doctor`'s, what is
inside of a remote is `remotecheck`'s, where lost content can be had again is `mending`'s.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import CorruptError, DvliteError, PathError
from dvlite.gitreachable import work_trees
from dvlite.ops.mending import Concern, Sources, mend, open_cache
from dvlite.ops.reachable import Reachable, Use, reachable
from dvlite.ops.remotecheck import RemoteCheckRequest, RemoteCheckResult
from dvlite.ops.remotecheck import check as check_remote
from dvlite.ops.remotes import is_known, open_named
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.cachecheck import CacheReport, check_cache, set_right
from dvlite.storage.index import open_index
from dvlite.storage.tree import Kind, Tree
from dvlite.workspace import fileindex, statindex
from dvlite.workspace.pointer import Pointer


@dataclass(frozen=True, slots=True)
class FsckRequest:
    """What to check (`paths`: only what these need), and whether to mend it. `sources`: other
    caches, or repositories, to take lost content from. `ask_remote`: check a remote too."""

    paths: tuple[str, ...] = ()
    ask_remote: bool = False
    remote: str | None = None
    repair: bool = False
    sources: tuple[str, ...] = ()
    jobs: int = 4


class Finding(NamedTuple):
    """Something that is not as it should be. `damage`: whether data or its names suffer; `mended`:
    whether it is right now."""

    what: str
    name: str
    text: str
    damage: bool = True
    mended: bool = False


@dataclass(slots=True)
class FsckResult:
    """What was found. `lost`: objects that are in use and damaged, or neither in the cache nor on a
    remote, as far as they were not `mended`; `concerns`: who needs them. `only_remote`: how many
    only a remote has. `unknown`: those that the cache lacks while a remote could not be asked."""

    findings: list[Finding] = field(default_factory=list)
    concerns: list[Concern] = field(default_factory=list)
    lost: set[bytes] = field(default_factory=set)
    unknown: set[bytes] = field(default_factory=set)
    only_remote: int = 0
    mended: int = 0
    objects: int = 0
    size: int = 0
    pointers: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    shallow: bool = False
    remote: RemoteCheckResult | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged now."""
        left = any(one.damage and not one.mended for one in self.findings)
        return not left and not self.lost and (self.remote is None or self.remote.clean)


def fsck(project: Project, request: FsckRequest, progress: Progress = silent) -> FsckResult:
    """Checks the cache, what git names and dvlite's own records; mends what it can if asked to.

    Raises:
        PathError: nothing names one of the paths; a source is no cache. RemoteError: the
        remote cannot be checked.
    """
    result = FsckResult()
    others = tuple(open_cache(place) for place in request.sources)
    progress("reading history", 0, 0)
    reached = _reach(project, result)
    uses = _chosen(project, reached.uses, request.paths)
    result.pointers = len({use.pointer.oid for use in uses})
    cache = project.cache()
    only = _below(uses, cache, frozenset())[0] if request.paths else None
    report = check_cache(
        cache, only, request.jobs, lambda n, size: progress("verifying the cache", n, size)
    )
    result.objects, result.size = report.objects, report.size
    bad = _lost_in(report, cache)
    usable = cache.excluding(report.unusable())
    live, lacking = _below(uses, usable, bad)
    _note_cache(report, result, live, request.repair)
    _check_records(project, result, request.repair)
    result.lost = (bad & live) | _on_no_remote(project, lacking, result, progress)
    result.concerns = list(concerns(uses, usable, result.lost | result.unknown))
    if request.repair:
        _repair(Sources(project, others, request.jobs, progress), report, result)
    result.concerns = [one for one in result.concerns if one.oid in result.lost]
    if request.ask_remote:
        one = RemoteCheckRequest(request.remote, repair=request.repair, jobs=request.jobs)
        result.remote = check_remote(project, one, progress)
    return result


# -- what is named ---------------------------------------------------------------------------------


def _reach(project: Project, result: FsckResult) -> Reachable:
    try:
        found = reachable(project.repo)
    except CorruptError as error:
        result.findings.append(Finding("git", project.repo.common_dir, str(error)))
        return Reachable()
    result.shallow = found.shallow
    for what, why in found.unreadable:
        # what old commits hold nobody can change any more
        old = what[8:9] == ":"
        result.findings.append(Finding("pointer", what, why, damage=not old))
    return found


def _chosen(project: Project, uses: list[Use], paths: Sequence[str]) -> list[Use]:
    if not paths or "" in paths:
        return uses
    chosen: list[Use] = []
    for path in paths:
        name = project.to_git(path.removesuffix(".dvl"))
        found = [one for one in uses if _is_at(one.path, name) or _is_at(name, one.path)]
        if not found:
            raise PathError(f"nothing names {path}", "`dvlite ls` lists what is tracked")
        chosen += found
    return chosen


def _is_at(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _below(
    uses: Iterable[Use], cache: Cache, bad: Iterable[bytes]
) -> tuple[set[bytes], set[bytes]]:
    """Everything that these uses need as far as trees can be read, and what the cache lacks."""
    lost, live, trees = frozenset(bad), set[bytes](), set[bytes]()
    waiting = list({(use.pointer.oid, use.pointer.kind == "tree") for use in uses})
    while waiting:
        oid, is_tree = waiting.pop()
        live.add(oid)
        if not is_tree or oid in trees:
            continue
        trees.add(oid)
        tree = _read_tree(cache, oid) if oid not in lost else None
        for below, kind in zip(tree.oid_list(), tree.kinds, strict=True) if tree else ():
            if kind >= Kind.TREE:
                waiting.append((below, True))
            else:
                live.add(below)
    return live, cache.missing(live) - lost


def _read_tree(cache: Cache, oid: bytes) -> Tree | None:
    with suppress(DvliteError, OSError):
        return cache.read_tree(oid)
    return None


# -- damage ----------------------------------------------------------------------------------------


def _lost_in(report: CacheReport, cache: Cache) -> set[bytes]:
    """The damaged objects that the cache has in no other place."""
    bad = report.bad()
    if not bad:
        return bad
    places = {one.path for one in report.damage}
    good = cache.excluding(frozenset(one.path for one in report.damage))
    found = good.find_many(bad)
    return bad - {oid for oid, place in found.items() if place.path not in places}


def _note_cache(report: CacheReport, result: FsckResult, live: set[bytes], repair: bool) -> None:
    for one in report.damage:
        text = one.text if one.what == "index" or one.bad & live else f"{one.text} (unused)"
        result.findings.append(Finding(one.what, one.path, text, mended=repair))


def _check_records(project: Project, result: FsckResult, repair: bool) -> None:
    """The stat indexes: damaged ones are made anew by whoever needs them. (The base is among what
    names data.)"""
    for tree in work_trees(project.repo):
        for folder, _, names in os.walk(os.path.join(tree.git_dir, "dvlite")):
            for name in names if os.path.basename(folder) == "stat" else ():
                path = os.path.join(folder, name)
                is_whole = fileindex.is_whole if name == fileindex.NAME else statindex.is_whole
                if name.startswith(".") or is_whole(path):
                    continue
                text = "the stat index is damaged; files are read again"
                result.findings.append(Finding("stat index", path, text, False, repair))
                if repair:
                    with suppress(OSError):
                        os.unlink(path)


def _repair(sources: Sources, report: CacheReport, result: FsckResult) -> None:
    unusable = report.unusable()
    for damage in report.damage:
        set_right(sources.project.cache(), damage, unusable)
    wanted = result.lost | result.unknown
    left = mend(sources, wanted, result.concerns)
    result.mended = len(wanted) - len(left)
    result.lost, result.unknown = result.lost & left, result.unknown & left


def _on_no_remote(
    project: Project, lacking: set[bytes], result: FsckResult, progress: Progress
) -> set[bytes]:
    """Those objects that no remote has either."""
    left, failed = set(lacking), False
    for name in project.config.remotes() if left else ():
        if not is_known(project, name):  # whoever commits a URL could claim to have all
            result.asked.append((name, "this clone has not used it at this place: dvlite fetch"))
            continue
        progress(f"asking {name}", 0, 0)
        try:
            index = open_index(open_named(project, name), project.cache_folder)
            left -= index.objects(left).keys()
            result.asked.append((name, ""))
        except DvliteError as error:
            failed = True
            result.asked.append((name, str(error)))
    result.only_remote = len(lacking) - len(left)
    if failed:
        result.unknown, left = left, set()
    return left


# -- whom it concerns ------------------------------------------------------------------------------


def concerns(uses: Iterable[Use], cache: Cache, lost: set[bytes]) -> Iterator[Concern]:
    """The paths that need what is lost, each once for a version."""
    hit: dict[bytes, bool] = {}
    seen = set()
    for use in uses if lost else ():
        key = (use.path, use.pointer.oid)
        if key not in seen and _needs(cache, use.pointer, lost, hit):
            seen.add(key)
            yield from _inside(cache, use, lost, hit)


def _needs(cache: Cache, pointer: Pointer, lost: set[bytes], hit: dict[bytes, bool]) -> bool:
    """Whether something is lost that a pointer needs; `hit` remembers it of trees."""
    if pointer.kind == "file" or pointer.oid in lost:
        return pointer.oid in lost
    stack = [(pointer.oid, False)]
    while stack:
        oid, is_done = stack.pop()
        tree = _read_tree(cache, oid) if oid not in lost else None
        below = (
            [
                (one, kind >= Kind.TREE)
                for one, kind in zip(tree.oid_list(), tree.kinds, strict=True)
            ]
            if tree
            else []
        )
        if is_done or not any(is_tree for _, is_tree in below):
            hit[oid] = oid in lost or any(hit.get(one, one in lost) for one, _ in below)
            continue
        stack.append((oid, True))
        stack += [(one, False) for one, is_tree in below if is_tree and one not in hit]
    return hit[pointer.oid]


def _inside(cache: Cache, use: Use, lost: set[bytes], hit: dict[bytes, bool]) -> Iterator[Concern]:
    waiting = [(b"", use.pointer.oid)]
    while waiting:
        prefix, oid = waiting.pop()
        tree = _read_tree(cache, oid) if oid not in lost and use.pointer.kind == "tree" else None
        if tree is None:
            yield Concern(use, prefix.rstrip(b"/"), oid, use.pointer.kind == "tree")
            continue
        for entry in tree:
            if entry.kind == Kind.PART and (hit.get(entry.oid) or entry.oid in lost):
                waiting.append((prefix, entry.oid))
            elif entry.kind == Kind.TREE and (hit.get(entry.oid) or entry.oid in lost):
                waiting.append((prefix + entry.name + b"/", entry.oid))
            elif entry.oid in lost:
                yield Concern(use, prefix + entry.name, entry.oid)
