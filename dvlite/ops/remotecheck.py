"""`dvlite remote check`: what is damaged on a remote, whom it concerns, and repairing it.

Owns the way from a damaged object to the commits and paths that need it, and which other
remotes may help.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.ops.remotes import (
    chosen_names,
    clone_id,
    last_contact,
    open_named,
    open_unchecked,
    project_id,
    refuse_changed_url,
    refuse_read_only,
)
from dvlite.ops.roots import Named, Selection, select, to_roots
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.check import CheckOptions, CheckReport, check_remote, not_whole
from dvlite.storage.index import open_index
from dvlite.storage.inventory import LIST, Problem
from dvlite.storage.publishedlist import publish_list
from dvlite.storage.remote import LIST_NAME, Remote
from dvlite.storage.repair import Action, RepairOptions, repair_remote
from dvlite.storage.sources import Sources
from dvlite.storage.tree import Kind
from dvlite.storage.treewalk import MAX_DEPTH


@dataclass(frozen=True, slots=True)
class RemoteCheckRequest:
    """What to check, how thoroughly, and whether to repair it (`others`: remotes to repair
    from besides the cache; `accept_url`: the user agreed to a URL that has changed)."""

    remote: str | None = None
    full: bool = False
    repair: bool = False
    dry_run: bool = False
    others: tuple[str, ...] = ()
    jobs: int = 4
    accept_url: bool = False


class Concern(NamedTuple):
    """Something that somebody's pointer needs and that is damaged: the pointer's data path, the
    path inside it, and the commits that brought it (none: only the workspace)."""

    pointer: str
    path: bytes
    oid: bytes
    commits: tuple[str, ...]


@dataclass(slots=True)
class RemoteCheckResult:
    """What was found, what was done about it, and what is left. `nameless`: damaged roots that no
    pointer here names."""

    remote: str
    report: CheckReport
    problems: list[Problem]
    remaining: list[Problem]
    actions: list[Action] = field(default_factory=list)
    concerns: list[Concern] = field(default_factory=list)
    left: list[Concern] = field(default_factory=list)
    nameless: list[bytes] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing is damaged now."""
        return not any(one.damage for one in self.remaining)


def check(
    project: Project, request: RemoteCheckRequest, progress: Progress = silent
) -> RemoteCheckResult:
    """Checks a remote, and repairs it when that is wanted.

    Raises:
        NotMade: nothing was pushed there yet. RemoteError: it cannot be read or written.
        ConflictError: a repair would write to a place that this clone does not know.
    """
    name = chosen_names(project, [request.remote] if request.remote else [])[0]
    if request.repair:
        refuse_read_only(project, name)
        refuse_changed_url(project, name, request.accept_url, "dvlite remote check --repair")
    remote = open_unchecked(project, name)
    named = _pointers(project)
    expected = _expected(project, name, named)
    options = CheckOptions(request.full, request.jobs, progress, expected)
    found = check_remote(remote, project.cache_folder, options)
    others = [open_index(open_named(project, one), project.cache_folder) for one in request.others]
    sources = Sources(project.cache(), others)
    problems = found.problems
    result = RemoteCheckResult(name, found, problems, problems)
    result.concerns = result.left = _concerns(found, named, sources)
    if request.repair and any(one.damage and one.what != LIST for one in problems):
        how = _how(project, request, named, expected, progress)
        repaired = repair_remote(remote, project.cache(), others, found, how)
        found = repaired.after
        result.actions, result.remaining = repaired.actions, found.problems
        result.left = _concerns(found, named, sources)
    if request.repair:
        _mend_list(remote, result, request.dry_run)
    roots = (found.inventory.roots | found.inventory.recorded) & found.broken
    result.nameless = sorted(roots - {one.pointer.oid for one in named})
    return result


def _mend_list(remote: Remote, result: RemoteCheckResult, dry_run: bool) -> None:
    """The list for readers behind a web server, last: it names what the repair wrote."""
    if not any(one.what == LIST for one in result.remaining):
        return
    result.actions.append(Action("rewritten", LIST_NAME))
    if not dry_run:
        publish_list(remote)
        result.remaining = [one for one in result.remaining if one.what != LIST]


def _how(
    project: Project,
    request: RemoteCheckRequest,
    named: list[Named],
    expected: frozenset[bytes],
    progress: Progress,
) -> RepairOptions:
    clone = bytes(16) if request.dry_run else clone_id(project)
    roots, who = to_roots(named), project_id(project)
    return RepairOptions(roots, request.jobs, request.dry_run, who, clone, progress, expected)


def _pointers(project: Project) -> list[Named]:
    """Every pointer of the workspace and of all history."""
    history = select(project, Selection(all_commits=True)).older
    known = {(one.path, one.pointer.oid) for one in history}
    workspace = select(project, Selection()).current
    return [*history, *(one for one in workspace if (one.path, one.pointer.oid) not in known)]


def _expected(project: Project, name: str, named: list[Named]) -> frozenset[bytes]:
    """What was on the remote when this clone last saw it, and is named still."""
    last = last_contact(project)
    if last is None or last.remote != name:
        return frozenset()
    return last.present & {one.pointer.oid for one in named}


def _concerns(report: CheckReport, named: list[Named], sources: Sources) -> list[Concern]:
    """Every path of a pointer that is broken, with the commits that have it."""
    commits: dict[tuple[str, bytes, bytes], dict[str, None]] = {}
    for item in named:
        if item.pointer.oid not in report.broken:
            continue
        for path, oid in _broken_paths(report, item, sources):
            found = commits.setdefault((item.path, path, oid), {})
            if item.revision:
                found[item.revision] = None
    return [Concern(*key, tuple(found)) for key, found in sorted(commits.items())]


def _broken_paths(
    report: CheckReport, item: Named, sources: Sources
) -> Iterator[tuple[bytes, bytes]]:
    """The files that are broken, and the folders whose listing nobody has."""
    if item.pointer.kind != "tree":
        yield b"", item.pointer.oid
        return
    waiting = [(b"", item.pointer.oid, 0)]
    while waiting:
        prefix, oid, depth = waiting.pop()
        lost = report.needs is not None and oid in report.needs.lacking_objects
        tree = sources.bring_tree(oid, [report.index]) if depth <= MAX_DEPTH else None
        if lost or tree is None:
            yield prefix, oid
        hit = not_whole(report, tree.oid_list()) if tree else ()
        for entry in tree or ():
            if entry.oid not in hit:
                continue
            path = prefix if entry.kind == Kind.PART else prefix + entry.name
            if entry.kind == Kind.TREE:
                waiting.append((path + b"/", entry.oid, depth + 1))
            elif entry.kind == Kind.PART:
                waiting.append((path, entry.oid, depth + 1))
            else:
                yield path, entry.oid
