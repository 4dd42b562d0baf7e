"""`dvlite push`: what the chosen commits name, brought onto the remote."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from dvlite.errors import RemoteError
from dvlite.ops.remotes import (
    chosen_names,
    clone_id,
    is_known,
    mend_published,
    open_named,
    open_unchecked,
    place_of,
    project_id,
    record_contact,
    refuse_changed_url,
    refuse_read_only,
    remember_url,
)
from dvlite.ops.roots import (
    Named,
    Roots,
    Selection,
    add_imported,
    add_unpublished,
    select,
    to_roots,
)
from dvlite.ops.runcache import RunCache
from dvlite.ops.runrecords import RunsPushed, push_runs
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.absent import Absent
from dvlite.storage.backend import is_read_only
from dvlite.storage.push import PushOptions, PushReport, lacking
from dvlite.storage.push import push as push_objects
from dvlite.storage.remote import NotMade, Remote


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What to push and where. `accept_url`: the user agreed to a URL that has changed. `run_cache`:
    also the records of runs, and what those made; without, as the setting `run.push_records` says.
    """

    selection: Selection = field(default_factory=Selection)
    remote: str | None = None
    jobs: int = 4
    dry_run: bool = False
    accept_url: bool = False
    run_cache: bool = False


@dataclass(frozen=True, slots=True)
class PushResult:
    """What was pushed. `absent` and `damaged` concern what is named now; `absent_before`
    only commits of the past, whose data is nowhere. `list_problem`: why the list for readers
    behind a web server does not name what was pushed. `runs`: the records of runs, where those were
    to be pushed."""

    remote: str
    report: PushReport
    absent: tuple[Absent, ...]
    absent_before: tuple[Absent, ...]
    damaged: tuple[Absent, ...]
    unreadable: tuple[tuple[str, str], ...]
    list_problem: str | None = None
    runs: RunsPushed | None = None

    @property
    def complete(self) -> bool:
        """Whether everything that is named now is on the remote."""
        return not self.absent and not self.damaged


def push(project: Project, request: PushRequest, progress: Progress = silent) -> PushResult:
    """Pushes the workspace's pointers and those of commits that git has not pushed either.

    Raises:
        ConflictError: the remote's URL is not the one this clone knows.
        RemoteError: the remote fails; what arrived counts for the next push. Or it was there before
            and is gone, as where a disk is not mounted, and this is not of all commits.
    """
    name = _chosen(project, request)
    refuse_read_only(project, name)
    return _push(project, name, request, _collect(project, request.selection), progress)


def push_roots(
    project: Project, roots: Roots, request: PushRequest, progress: Progress = silent
) -> PushResult:
    """As `push`, for these pointers alone, whatever the request selects.

    Raises:
        RemoteError: also where a remote is gone that was there before.
    """
    name = _chosen(project, request)
    if is_read_only(project.config.remotes()[name].url) and not lacking_of(
        project, open_named(project, name), roots.current
    ):
        return _result(name, roots, PushReport(len(roots.everything())))
    refuse_read_only(project, name)
    return _push(project, name, request, roots, progress, partial=True)


def _chosen(project: Project, request: PushRequest) -> str:
    name = chosen_names(project, [request.remote] if request.remote else [])[0]
    refuse_changed_url(project, name, request.accept_url, "dvlite push")
    return name


def _push(
    project: Project,
    name: str,
    request: PushRequest,
    roots: Roots,
    progress: Progress,
    partial: bool = False,
) -> PushResult:
    may_make = not partial and request.selection.of_history
    remote, made = _open(project, name, request.dry_run, may_make)
    clone = bytes(16) if request.dry_run else clone_id(project)
    chosen = request.selection
    options = PushOptions(
        request.jobs,
        request.dry_run,
        project_id(project),
        clone,
        progress,
        partial=partial or bool(chosen.paths) or chosen.of_history,
        unmade=not made,
    )
    report = push_objects(remote, project.cache(), to_roots(roots.everything()), options)
    runs = None
    if not partial and (request.run_cache or project.config.get("run.push_records")):
        runs = push_runs(RunCache(project), remote, options)
    problem = None
    if not request.dry_run:
        remember_url(project, name)
        _remember_present(project, remote, roots.everything(), report)
        problem = mend_published(remote, runs.report.after if runs else report.after)
    return replace(_result(name, roots, report, problem), runs=runs)


def _open(project: Project, name: str, dry_run: bool, may_make: bool) -> tuple[Remote, bool]:
    """The remote, and whether it is made by now. One that was there before is made anew only where
    the user wants all data there: a part must not begin one where a disk is not mounted, say."""
    try:
        return open_named(project, name), True
    except NotMade as error:
        if is_known(project, name) and not may_make:
            raise RemoteError(
                f"the remote {name} is gone from {place_of(project, name)}",
                "is its disk there? if it is to be made anew: dvlite push --all-commits",
            ) from error
    if dry_run:
        return open_unchecked(project, name), False
    return open_named(project, name, create=True), True


def unpushed(project: Project, remote_name: str | None = None) -> list[Named]:
    """Pointers (of the workspace and of commits git has not pushed) that the remote lacks, each
    content once.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    name = chosen_names(project, [remote_name] if remote_name else [])[0]
    unique: dict[bytes, Named] = {}
    for item in _collect(project, Selection()).everything():
        unique.setdefault(item.pointer.oid, item)
    named = list(unique.values())
    try:
        remote = open_named(project, name)
    except NotMade:
        return named
    missing = lacking_of(project, remote, named)
    return [item for item in named if item.pointer.oid in missing]


def lacking_of(project: Project, remote: Remote, named: Iterable[Named]) -> set[bytes]:
    """Oids of those pointers that the remote lacks; what it has is remembered."""
    roots = to_roots(named)
    missing = {root.oid for root in lacking(remote, project.cache_folder, roots)}
    record_contact(project, remote.name, {root.oid for root in roots} - missing)
    return missing


def _collect(project: Project, selection: Selection) -> Roots:
    roots = select(project, selection)
    if not selection.of_history:
        add_unpublished(project, roots, selection.paths)
        add_imported(project, roots, selection.paths)
    return roots


def _remember_present(
    project: Project, remote: Remote, named: list[Named], report: PushReport
) -> None:
    failed = {item.label for item in (*report.absent, *report.damaged)}
    record_contact(
        project, remote.name, {item.pointer.oid for item in named if item.label not in failed}
    )


def _result(
    name: str, roots: Roots, report: PushReport, list_problem: str | None = None
) -> PushResult:
    current = {item.label for item in roots.current}
    older_oids = {item.pointer.oid for item in roots.older}
    current_oids = {item.pointer.oid for item in roots.current}
    labels = current | {i.label for i in roots.older if i.pointer.oid in older_oids & current_oids}
    return PushResult(
        name,
        report,
        tuple(item for item in report.absent if item.label in labels),
        tuple(item for item in report.absent if item.label not in labels),
        tuple(report.damaged),
        tuple(roots.unreadable),
        list_problem,
    )
