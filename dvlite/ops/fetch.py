"""`dvlite fetch`: what pointers name, brought from remotes into the cache."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dvlite.ops.looking import Looker
from dvlite.ops.remotes import chosen_names, open_some, record_contact
from dvlite.ops.roots import Named, Selection, select, to_wanted
from dvlite.ops.stepping import missing_files
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.fetch import fetch as fetch_objects
from dvlite.storage.fetched import Copies, FetchReport


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch and from where (several remotes are tried in order). `copies`: where large
    files are written a second time as they come."""

    selection: Selection = field(default_factory=Selection)
    remotes: tuple[str, ...] = ()
    jobs: int = 4
    copies: Copies | None = None


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What came. `report.absent` is what no remote had; `failed`: remotes that others had to stand
    in for, and why; `without`: paths that none of the folders holds which they are said to be in.
    """

    remotes: tuple[str, ...]
    pointers: int
    report: FetchReport
    unreadable: tuple[tuple[str, str], ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()


def fetch(project: Project, request: FetchRequest, progress: Progress = silent) -> FetchResult:
    """Fetches what the cache lacks. One missing object does not stop the others.

    Raises:
        RemoteError: no remote can be asked.
    """
    roots = select(project, request.selection)
    return fetch_named(project, roots.current + roots.older, request, progress)


def to_fetch(project: Project, selection: Selection) -> list[Named]:
    """The pointers whose content is not wholly in the cache."""
    looker = Looker(project)
    return [one for one in named(project, selection) if missing_files(looker, one.pointer)]


def named(project: Project, selection: Selection) -> list[Named]:
    """The pointers that are meant."""
    return list(select(project, selection).everything())


def fetch_named(
    project: Project, named: list[Named], request: FetchRequest, progress: Progress = silent
) -> FetchResult:
    """Fetches the objects of these pointers."""
    names = chosen_names(project, request.remotes)
    remotes, failed = open_some(project, names, ahead=True)
    wanted = [replace(one, copies=request.copies) for one in to_wanted(project, named)]
    report = fetch_objects(remotes, project.cache(), wanted, request.jobs, progress)
    lacking = {item.label for item in (*report.absent, *report.damaged)}
    if len(remotes) == 1:
        # what the cache had was not asked for, and may never have been pushed
        whole = {item.oid for item in wanted if item.label not in lacking}
        record_contact(project, remotes[0].name, whole & report.present)
    return FetchResult(
        tuple(names),
        len(named),
        report,
        failed=(*failed, *report.failed),
        without=tuple(_without(named, report)),
    )


def fetch_listings(
    project: Project,
    named: list[Named],
    progress: Progress = silent,
    names: Sequence[str] | None = None,
) -> None:
    """Fetches only the trees of these pointers: enough to compare or merge them; from the remotes
    `names`, or where none are given the default one.

    Raises:
        RemoteError: no remote can be asked.
    """
    remotes, _ = open_some(project, chosen_names(project) if names is None else names, ahead=True)
    trees = [one for one in to_wanted(project, named) if one.kind == "tree"]
    wanted = [replace(one, listings=True) for one in trees]
    fetch_objects(remotes, project.cache(), wanted, progress=progress)


def _without(named: list[Named], report: FetchReport) -> list[str]:
    """Paths inside folders that no chosen version of the folder has."""
    asked = {f"{one.path}/{one.inside}" for one in named if one.inside}
    have = {
        f"{one.path}/{one.inside}"
        for one in named
        if (one.pointer.oid, os.fsencode(one.inside)) not in report.without_path
    }
    return sorted(asked - have)
