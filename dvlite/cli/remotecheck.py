"""`dvlite remote check`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import (
    Common,
    common,
    dry_run_option,
    jobs_of,
    jobs_option,
    json_option,
    yes_option,
)
from dvlite.cli.output import count, emit_json, json_path, name, note, say, size, transferring

if TYPE_CHECKING:
    from dvlite.ops.remotecheck import Concern, RemoteCheckResult
    from dvlite.storage.inventory import Problem

# More paths than this are a number; --json has all.
_SHOWN = 50


@click.command("check")
@click.argument("remote", required=False, metavar="[NAME]")
@click.option("--full", is_flag=True, help="Verify every byte, not a sample.")
@click.option("--repair", is_flag=True, help="Repair what is damaged from the cache.")
@click.option(
    "--from",
    "others",
    multiple=True,
    metavar="NAME",
    help="Repair from this remote too; repeatable.",
)
@jobs_option
@yes_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    remote: str | None,
    full: bool,
    repair: bool,
    others: tuple[str, ...],
    jobs: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Check that everything on a remote is there and undamaged, and repair it.

    Reads the whole index, looks that every pack is there, and verifies a random sample of the
    bytes, with --full all of them. Says which commits and paths are concerned. --repair takes
    what is damaged from the cache of this machine, and from other remotes with --from. Exits
    with 1 when something is damaged, and not all of it was repaired.

    \b
    Examples:
      dvlite remote check
      dvlite remote check --full store
      dvlite remote check --repair --dry-run
      dvlite remote check --full --repair --from archive store
    """
    from dvlite.errors import UsageError
    from dvlite.ops.remotecheck import RemoteCheckRequest, check

    if (others or dry_run) and not repair:
        raise UsageError("--from and --dry-run are about repairing", "add --repair")
    project = common.project()
    request = RemoteCheckRequest(remote, full, repair, dry_run, others, jobs_of(project, jobs), yes)
    with transferring(common.quiet, common.verbose) as progress:
        result = check(project, request, progress)
    if as_json:
        emit_json(_to_json(result, request.full, dry_run))
    else:
        _show(result, dry_run, common.quiet)
    if not result.clean:
        raise SystemExit(1)


def _show(result: RemoteCheckResult, dry_run: bool, quiet: bool) -> None:
    for problem in result.problems:
        _show_problem(problem, quiet)
    _show_concerns("needs what is damaged:", result.concerns, quiet)
    for action in result.actions:
        if not quiet:
            say(f"{'would be ' if dry_run else ''}{action.what}: {action.name}")
    if result.actions and not dry_run:
        for problem in result.remaining:
            if problem.damage:
                _show_problem(problem, quiet)
        _show_concerns("could not be repaired:", result.left, quiet)
    for oid in result.nameless:
        say(f"  blake3:{oid.hex()}  (no pointer here names it)", colour="red")
    report, inventory = result.report, result.report.inventory
    if quiet:
        return
    note(
        f"{count(len(inventory.packs), 'pack')}, {size(sum(inventory.packs.values()))}, "
        f"{count(len(inventory.listing.readable), 'index segment')}; verified "
        f"{count(report.verified_packs, 'pack')}, {size(report.verified_bytes)}"
    )
    if result.clean:
        say(f"{result.remote} is undamaged" + (" now" if result.actions else ""), colour="green")
    elif dry_run:
        note("a dry run: nothing was changed")
    elif result.actions:
        note("hint: whoever still has these files brings them back: dvlite push")
    else:
        note("hint: dvlite remote check --repair, with --from NAME from another remote too")


def _show_problem(problem: Problem, quiet: bool) -> None:
    if problem.damage:
        say(f"damaged  {problem.name}: {problem.text}", colour="red")
    elif not quiet:
        say(f"note     {problem.name}: {problem.text}")


def _show_concerns(title: str, concerns: list[Concern], quiet: bool) -> None:
    if not concerns:
        return
    say(title)
    for one in concerns[:_SHOWN]:
        where = ", ".join(one.commits) or "the workspace"
        say(f"  {_path(one)}  ({where})")
    if len(concerns) > _SHOWN:
        say(f"  and {len(concerns) - _SHOWN:,} more: --json lists all")


def _path(concern: Concern) -> str:
    inside = os.fsdecode(concern.path)
    return name(f"{concern.pointer}/{inside}" if inside else concern.pointer)


def _to_json(result: RemoteCheckResult, full: bool, dry_run: bool) -> dict[str, Any]:
    inventory = result.report.inventory
    return {
        "remote": result.remote,
        "full": full,
        "clean": result.clean,
        "packs": len(inventory.packs),
        "stored_bytes": sum(inventory.packs.values()),
        "segments": len(inventory.listing.readable),
        "verified_packs": result.report.verified_packs,
        "verified_bytes": result.report.verified_bytes,
        "problems": [one._asdict() for one in result.problems],
        "concerns": [_concern(one) for one in result.concerns],
        "dry_run": dry_run,
        "actions": [one._asdict() for one in result.actions],
        "remaining": [one._asdict() for one in result.remaining],
        "not_repaired": [_concern(one) for one in result.left],
        "nameless": [f"blake3:{oid.hex()}" for oid in result.nameless],
    }


def _concern(one: Concern) -> dict[str, Any]:
    return {
        **json_path(one.pointer, "pointer"),
        **json_path(one.path),
        "oid": f"blake3:{one.oid.hex()}",
        "commits": list(one.commits),
    }
