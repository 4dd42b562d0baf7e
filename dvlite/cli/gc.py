"""`dvlite gc`."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option, yes_option
from dvlite.cli.output import (
    count,
    emit_json,
    json_path,
    name,
    note,
    plain,
    say,
    showing,
    size,
    table,
    warn,
)
from dvlite.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from dvlite.ops.gc import Amount, GcPlan, GcRequest, Group

_LISTED = 20
_LEAST_DAYS = 2


@click.command()
@click.option(
    "--keep-days",
    type=click.FloatRange(0, 36500),
    metavar="N",
    help="Of history, keep the commits of the last N days, and the newest of branches and tags.",
)
@click.option(
    "--workspaces-only", is_flag=True, help="Of history, keep what is checked out or stashed."
)
@click.option(
    "--grace-days",
    type=click.FloatRange(0, 36500),
    metavar="N",
    help="Spare what is younger than N days (default: 14; at least 2, on a remote 1).",
)
@click.option(
    "--force",
    "forced",
    multiple=True,
    metavar="OID|PATH",
    help="Also remove this where no remote has it, unless it is in use; repeatable.",
)
@click.option(
    "--unnamed", is_flag=True, help="Also remove, where no remote has it, what nothing names."
)
@click.option(
    "--forget",
    "forgotten",
    multiple=True,
    metavar="DIR|CLONE",
    help="Forget a repository that used this shared cache, or a clone that used the remote, and "
    "is gone; repeatable.",
)
@click.option("--remote", "of_remote", is_flag=True, help="Collect on the remote, not here.")
@click.option("-r", "--remote-name", metavar="NAME", help="Which remote (default: core.remote).")
@click.option("--no-fetch", is_flag=True, help="With --remote: do not git fetch first.")
@click.option(
    "--exclusive",
    is_flag=True,
    help="With --remote: nobody else pushes or collects now; allows less than one day.",
)
@dry_run_option
@yes_option
@json_option
@common
def command(
    common: Common,
    keep_days: float | None,
    workspaces_only: bool,
    grace_days: float | None,
    forced: tuple[str, ...],
    unnamed: bool,
    forgotten: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **remote: Any,
) -> None:
    """Remove from the cache what nothing names and a remote has.

    Kept is what any commit, branch, tag, stash, reflog, index or work tree of any repository
    that uses the cache names; what is younger than the grace period; and what no remote has,
    which is asked now. First the plan is shown, then you are asked.

    With --remote: removes from a remote what neither this repository needs (all of it, after git
    fetch) nor other clones and projects that pushed there. Others may push meanwhile. What is
    found unneeded is condemned, and deleted by a gc after the grace period (docs/remotes.md).

    \b
    Examples:
      dvlite gc --dry-run
      dvlite gc --keep-days 90
      dvlite gc --yes --json
      dvlite gc --force images/old --dry-run
      dvlite gc --remote --dry-run
    """
    from dvlite.ops.cacheroots import forget
    from dvlite.ops.gc import GcRequest, execute, plan
    from dvlite.ops.reachable import GRACE_DAYS

    if keep_days is not None and workspaces_only:
        raise UsageError("--keep-days and --workspaces-only exclude each other", "choose one")
    if remote["of_remote"]:
        here: dict[str, Any] = {
            "--keep-days": keep_days,
            "--workspaces-only": workspaces_only or None,
        }
        here |= {"--force": forced or None, "--unnamed": unnamed or None}
        for option, given in here.items():
            if given is not None:
                raise UsageError(f"{option} is about the cache, not about a remote")
        _collect_remote(common, remote, (grace_days, forgotten, dry_run, yes, as_json))
        return
    for option in ("remote_name", "no_fetch", "exclusive"):
        if remote[option]:
            raise UsageError(f"--{option.replace('_', '-')} goes with --remote")
    if grace_days is not None and grace_days < _LEAST_DAYS:
        raise UsageError(f"--grace-days has to be at least {_LEAST_DAYS} in a cache")
    project = common.project()
    places = tuple(os.path.abspath(common.resolve(place)) for place in forgotten)
    for place in places:
        forget(project, place, dry_run)
        verb = "would be forgotten" if dry_run else "forgotten"
        note(f"{verb}: {plain(place)}", quiet=common.quiet)
    days = GRACE_DAYS if grace_days is None else grace_days
    request = GcRequest(keep_days, workspaces_only, days, forced, unnamed, places)
    with showing(common.quiet) as progress:
        todo = plan(project, request, progress)
    for text in todo.warnings[:_LISTED]:
        warn(text)
    if not as_json and not common.quiet:
        _show(todo, request)
    freed = later = 0
    if not dry_run:
        _ask(todo, yes or todo.is_empty)
        with showing(common.quiet) as progress:
            freed, later = execute(project, todo, request, progress)
    if as_json:
        emit_json(_to_json(todo, dry_run, freed, later))
    elif not common.quiet and not dry_run and not todo.is_empty:
        say(f"freed {size(freed)}" + (f", {size(later)} more in a day" if later else ""))


def _collect_remote(
    common: Common,
    remote: dict[str, Any],
    others: tuple[float | None, tuple[str, ...], bool, bool, bool],
) -> None:
    from dvlite.cli.gcremote import collect
    from dvlite.ops.gcremote import GcRemoteRequest
    from dvlite.ops.reachable import GRACE_DAYS

    grace_days, forgotten, dry_run, yes, as_json = others
    days = GRACE_DAYS if grace_days is None else grace_days
    if days < 1 and not remote["exclusive"]:
        raise UsageError(
            "a grace period under one day is not safe beside pushes",
            "if nobody else pushes or collects now: --exclusive",
        )
    request = GcRemoteRequest(
        remote["remote_name"],
        days,
        forgotten,
        not remote["no_fetch"],
        remote["exclusive"],
        dry_run=dry_run,
    )
    collect(common, request, lambda question: _confirm(question, yes), as_json)


def _ask(todo: GcPlan, yes: bool) -> None:
    _confirm(f"remove {count(todo.removed.objects, 'object')}?", yes)


def _confirm(question: str, yes: bool) -> None:
    """Raises:
    ConflictError: nobody is there to answer, or the answer is no.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConflictError(
            "nothing was removed: nobody is there to confirm it", "look at the plan, then: --yes"
        )
    if not click.confirm(question, err=True):
        raise ConflictError("nothing was removed")


def _show(todo: GcPlan, request: GcRequest) -> None:
    table([_row(one) for one in todo.groups[:_LISTED]], right=(1, 2))
    if len(todo.groups) > _LISTED:
        say(f"… and {len(todo.groups) - _LISTED} more paths")
    if todo.leftover:
        total = sum(size_bytes for _, size_bytes in todo.leftover)
        say(f"leftovers: {count(len(todo.leftover), 'file')}, {size(total)}")
    if todo.is_empty:
        say("nothing to remove")
    else:
        later = f", {size(todo.later)} of it after a day" if todo.later else ""
        total = todo.freed + todo.later + sum(size_bytes for _, size_bytes in todo.leftover)
        say(f"would free {size(total)}{later}")
    _spared("in use", todo.kept)
    _spared(f"younger than {request.grace_days:g} days", todo.young)
    _spared("on no remote that could be asked (see --unnamed, --force)", todo.unpushed)
    _spared("hard links to it are in use", todo.linked)
    _spared("in packs that are mostly in use", todo.packed)
    for remote, why in todo.asked:
        if why:
            note(f"the remote {remote} does not count: {plain(why)}")
    others = todo.repositories[1:]
    if others:
        note("this cache is also used by: " + ", ".join(name(path) for path in others))


def _row(one: Group) -> tuple[str, str, str, str]:
    if not one.path:
        seen = f"last used {_day(one.first_s)} to {_day(one.last_s)}"
        return "named by nothing", count(one.objects, "object"), size(one.size), seen
    commits = ""
    if one.first:
        commits = f"commits {one.first[:8]} ({_day(one.first_s)}) to {one.last[:8]}"
        commits += f" ({_day(one.last_s)})"
    return name(one.path), count(one.objects, "object"), size(one.size), commits


def _spared(why: str, amount: Amount) -> None:
    if amount.objects:
        say(f"kept: {count(amount.objects, 'object')}, {size(amount.size)}: {why}")


def _day(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, timezone.utc).date().isoformat()


def _to_json(todo: GcPlan, dry_run: bool, freed: int, later: int) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "remove": [
            {
                **(json_path(one.path) if one.path else {"path": None}),
                "objects": one.objects,
                "size": one.size,
                "first_commit": one.first or None,
                "last_commit": one.last or None,
                "first_time": one.first_s,
                "last_time": one.last_s,
            }
            for one in todo.groups
        ],
        "removed": todo.removed._asdict(),
        "would_free": todo.freed,
        "would_free_later": todo.later,
        "freed": freed,
        "freed_later": later,
        "kept": {
            "in_use": todo.kept._asdict(),
            "young": todo.young._asdict(),
            "unpushed": todo.unpushed._asdict(),
            "linked": todo.linked._asdict(),
            "packed": todo.packed._asdict(),
        },
        "leftovers": {
            "files": len(todo.leftover),
            "size": sum(size_bytes for _, size_bytes in todo.leftover),
        },
        "remotes": [{"name": remote, "problem": why or None} for remote, why in todo.asked],
        "repositories": [json_path(path) for path in todo.repositories],
        "warnings": todo.warnings,
    }
