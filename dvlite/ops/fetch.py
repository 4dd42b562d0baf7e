"""`dvlite fetch`: what pointers name, brought from remotes into the cache."""

from __future__ import annotations

from dataclasses import dataclass, field

from dvlite.ops.looking import Looker
from dvlite.ops.remotes import chosen_names, open_some, record_contact
from dvlite.ops.roots import Named, Selection, select, to_wanted
from dvlite.ops.stepping import missing_files
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.fetch import FetchReport
from dvlite.storage.fetch import fetch as fetch_objects


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to fetch and from where (several remotes are tried in order)."""

    selection: Selection = field(default_factory=Selection)
    remotes: tuple[str, ...] = ()
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What came. `report.absent` is what no remote had."""

    remotes: tuple[str, ...]
    pointers: int
    report: FetchReport
    unreadable: tuple[tuple[str, str], ...] = ()


def fetch(project: Project, request: FetchRequest, progress: Progress = silent) -> FetchResult:
    """Fetches what the cache lacks. One missing object does not stop the others.

    Raises:
        RemoteError: no remote can be asked.
    """
    roots = select(project, request.selection)
    return fetch_named(project, roots.current + roots.older, request, progress)


def to_fetch(project: Project, selection: Selection) -> list[Named]:
    """The pointers whose content is not wholly in the cache."""
    roots = select(project, selection)
    looker = Looker(project)
    return [one for one in roots.everything() if missing_files(looker, one.pointer)]


def fetch_named(
    project: Project, named: list[Named], request: FetchRequest, progress: Progress = silent
) -> FetchResult:
    """Fetches the objects of these pointers."""
    names = chosen_names(project, request.remotes)
    remotes = open_some(project, names)
    wanted = to_wanted(project, named)
    report = fetch_objects(remotes, project.cache(), wanted, request.jobs, progress)
    lacking = {item.label for item in (*report.absent, *report.damaged)}
    if len(remotes) == 1:
        # what the cache had was not asked for, and may never have been pushed
        whole = {item.oid for item in wanted if item.label not in lacking}
        record_contact(project, remotes[0].name, whole & report.present)
    return FetchResult(tuple(names), len(named), report)
