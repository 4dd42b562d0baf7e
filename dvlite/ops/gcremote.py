"""`dvlite gc --remote`: what nobody needs any more goes from a remote.

Owns what is needed: everything that this repository's git knows, after a `git fetch`; and what
other clones and projects have left word of on the remote. The deleting is `storage.remotegc`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time_ns

from dvlite.errors import ConflictError, CorruptError, MissingError, ProjectError
from dvlite.ops.gcruns import RunsPlan, plan_runs, write_new
from dvlite.ops.hookprojects import projects_here
from dvlite.ops.reachable import DAY_S, GRACE_DAYS, Kept, reachable
from dvlite.ops.remotes import (
    chosen_names,
    clone_id,
    mend_published,
    open_named,
    project_id,
    refuse_changed_url,
    refuse_read_only,
)
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.backend import Backend, NotThere
from dvlite.storage.index import mirror_of
from dvlite.storage.remote import Remote
from dvlite.storage.remotegc import GcOptions, Looked, RemotePlan, execute, look, plan_gc
from dvlite.storage.rootrecord import (
    Said,
    newest_records,
    read_said,
    record_parts,
    render_record,
)


@dataclass(frozen=True, slots=True)
class GcRemoteRequest:
    """What to collect and how. `forget`: clones (32 hexadecimal digits, or their beginning) whose
    word no longer counts. `fetch`: ask git's remotes first. `exclusive`: nobody else writes."""

    remote: str | None = None
    grace_days: float = GRACE_DAYS
    forget: tuple[str, ...] = ()
    fetch: bool = True
    exclusive: bool = False
    jobs: int = 4
    dry_run: bool = False


@dataclass(slots=True)
class RemoteGc:
    """A gc that is planned. `word_of`: the clones that left word, and `forgotten`: records that are
    deleted with it. `runs`: what becomes of records of runs; the old files are in the plan too."""

    remote: Remote
    options: GcOptions
    looked: Looked
    plan: RemotePlan
    reachable: set[bytes]
    own_projects: set[bytes]
    word_of: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    runs: RunsPlan = field(default_factory=RunsPlan)


def plan_remote(
    project: Project, request: GcRemoteRequest, progress: Progress = silent
) -> RemoteGc:
    """Looks what may go.

    Raises:
        ConflictError: the URL changed; or history is cut off, so that nobody knows what is needed.
        CorruptError: something that names data cannot be read, or something needed is not there.
        RemoteError: git's remotes or the remote cannot be asked.
    """
    name = chosen_names(project, [request.remote] if request.remote else [])[0]
    refuse_changed_url(project, name, False, "dvlite gc --remote")
    refuse_read_only(project, name)
    remote = open_named(project, name)
    options = GcOptions(
        request.grace_days * DAY_S,
        request.exclusive,
        request.dry_run,
        request.jobs,
        project_id(project),
        bytes(16) if request.dry_run else clone_id(project),
        progress,
    )
    looked = look(remote, mirror_of(remote, project.cache_folder), options)
    if request.fetch:
        _fetch(project, progress)
    progress("reading history", 0, 0)
    found = reachable(project.repo, Kept(grace_days=request.grace_days))
    found.refuse_uncertain()
    if found.shallow:
        raise ConflictError(
            "this clone is shallow: it does not know what older commits need",
            "git fetch --unshallow, or collect from another clone",
        )
    own = {project_id(one) for one in projects_here(project.repo, None).values()}
    own.add(project_id(project))
    gc = RemoteGc(remote, options, looked, RemotePlan(), set(found.roots()), own)
    gc.warnings = [f"{what}: {why}" for what, why in found.unreadable]
    gc.warnings += [f"the work tree {top} is not there" for top in found.absent_trees]
    said = _said_by_others(project, gc, request.forget)
    gc.plan = plan_gc(looked, {*gc.reachable, *said}, options)
    gc.runs = plan_runs(looked, gc.plan, options.grace_s)
    gc.plan.old_names.update(gc.runs.old)
    return gc


def run_remote(project: Project, gc: RemoteGc) -> int:
    """Carries the plan out; the bytes that were freed.

    Raises:
        RemoteError: another gc was quicker; nothing was deleted.
    """
    write_new(gc.looked, gc.runs)
    freed = execute(gc.looked, gc.plan, gc.options)
    for name in gc.forgotten:
        gc.remote.backend.delete(name)
    _leave_word(gc)
    mend_published(gc.remote, has_deleted=True)
    return freed


def _fetch(project: Project, progress: Progress) -> None:
    progress("git fetch", 0, 0)
    try:
        project.repo.ask("fetch", "--all", "--quiet", "--no-recurse-submodules")
    except ProjectError as error:
        raise MissingError(
            f"git cannot fetch, so what others committed is not known: {error}",
            "if there is nobody else, or all of it is here: --no-fetch",
        ) from error


def _said_by_others(project: Project, gc: RemoteGc, forget: Sequence[str]) -> set[bytes]:
    """What clones left word of. Those of this project say by it what they pushed last; what they
    pushed before is in git if anybody needs it."""
    names = [one.name for one in gc.looked.stored]
    newest = newest_records(names)
    for clone in forget:
        chosen = [one for one in newest if len(clone) >= 8 and one.startswith(clone)]
        if len(chosen) != 1:
            raise MissingError(
                f"no clone, or several, left word as {clone}",
                "dvlite gc --remote --dry-run --json lists them (8 digits or more are needed)",
            )
        gc.forgotten += [name for name in names if name.startswith(f"roots/{chosen[0]}-")]
        del newest[chosen[0]]
    needed: set[bytes] = set()
    newest.pop(clone_id(project).hex(), None)  # of this one git itself tells
    for clone, name in newest.items():
        try:
            said = read_said(name, gc.remote.backend.read(name))
        except CorruptError as error:
            raise CorruptError(
                f"{name} is damaged, so what the clone {clone[:8]} needs is not known",
                f"dvlite remote check --repair; or: dvlite gc --remote --forget {clone[:8]}",
            ) from error
        gc.word_of.append(clone)
        needed |= set(said.now) if said.project in gc.own_projects else said.all
    return needed


def _leave_word(gc: RemoteGc) -> None:
    """For gcs of other projects: all that this one needs, in its own record; so what other clones
    of it pushed long ago need not be kept for their sake."""
    backend, own = gc.remote.backend, gc.options.clone.hex()
    names = {one.name for one in backend.list("roots")} - set(gc.forgotten)
    newest = newest_records(names)
    said = _read_if_sound(backend, newest[own]) if own in newest else None
    said = said or Said()
    there = gc.reachable - gc.plan.absent
    now = there.intersection(said.now)
    whole = Said(gc.options.project, now, there - now)
    if whole != said:
        backend.write(*render_record(own, whole, _later(newest.get(own))))
    for clone, name in newest.items():
        if clone == own:
            continue
        theirs = _read_if_sound(backend, name)
        if theirs is not None and theirs.before and theirs.project in gc.own_projects:
            shorter = Said(theirs.project, theirs.now)
            backend.write(*render_record(clone, shorter, _later(name, True)))


def _read_if_sound(backend: Backend, name: str) -> Said | None:
    try:
        return read_said(name, backend.read(name))
    except (CorruptError, NotThere):
        return None


def _later(name: str | None, barely: bool = False) -> int:
    """A time behind that of a record; `barely`: so that any word that comes meanwhile is later."""
    parts = record_parts(name) if name is not None else None
    if parts is None:
        return time_ns()
    return parts[1] + 1 if barely else max(time_ns(), parts[1] + 1)
