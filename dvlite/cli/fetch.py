"""`dvlite fetch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import (
    Common,
    common,
    dry_run_option,
    jobs_of,
    jobs_option,
    json_option,
    paths_argument,
    revisions_options,
    run_cache_option,
    say_places,
    selection,
)
from dvlite.cli.output import count, emit_json, json_path, name, say, size, transferring, warn

if TYPE_CHECKING:
    from dvlite.ops.fetch import FetchResult
    from dvlite.project import Project
    from dvlite.storage.absent import Absent
    from dvlite.storage.runfiles import Synced


@click.command()
@paths_argument
@click.option(
    "-r",
    "--remote",
    "remotes",
    multiple=True,
    metavar="NAME",
    help="Where from; repeatable, asked in this order (default: the default remote).",
)
@jobs_option
@revisions_options
@run_cache_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    remotes: tuple[str, ...],
    jobs: int | None,
    run_cache: bool,
    dry_run: bool,
    as_json: bool,
    **revisions: Any,
) -> None:
    """Bring data from a remote into the cache.

    The workspace stays as it is.

    \b
    Examples:
      dvlite fetch                     what the workspace's pointers name
      dvlite fetch --rev v1.0 images   what a tag's pointer names
      dvlite fetch --all-branches
      dvlite fetch --run-cache         also what colleagues' runs made of what
    """
    from dvlite.cli.cachetrim import keep_to_limit
    from dvlite.ops.fetch import FetchRequest, fetch, named, to_fetch

    project = common.project()
    chosen = selection(common, project, paths, revisions)
    if dry_run:
        wanted = to_fetch(project, chosen)
        if as_json:
            emit_json({"dry_run": True, "pointers": [json_path(one.label) for one in wanted]})
        elif not common.quiet:
            for one in wanted:
                say(f"would fetch  {one.label}  up to {size(one.pointer.size)}")
            say("" if wanted else "everything is in the cache")
            if run_cache:
                say("would fetch  the records of runs that are new")
        return
    if common.verbose:
        say_places(project, remotes)
    with transferring(common.quiet, common.verbose) as progress:
        result = fetch(project, FetchRequest(chosen, remotes, jobs_of(project, jobs)), progress)
    runs = bring_runs(common, project, remotes, jobs) if run_cache else None
    if as_json:
        emit_json({**to_json(result), "runs": runs_json(runs)})
    elif not common.quiet:
        show(result)
        show_runs(runs)
    keep_to_limit(common, project, lambda: [one.pointer for one in named(project, chosen)])
    fail_if_incomplete(result)


def bring_runs(
    common: Common, project: Project, remotes: tuple[str, ...], jobs: int | None
) -> Synced:
    """Fetches records of runs."""
    from dvlite.ops.runrecords import fetch_runs

    with transferring(common.quiet, common.verbose):
        return fetch_runs(project, remotes, jobs_of(project, jobs))


def show_runs(runs: Synced | None) -> None:
    """What came of that, in words."""
    if runs is None:
        return
    for damaged in runs.damaged:
        warn(f"{damaged} is damaged, and passed over")
    if runs.passed_over:
        warn(
            f"too many or too large, and passed over: {count(runs.passed_over, 'file')} of records"
        )
    if runs.read:
        say(f"fetched    {count(runs.read, 'file')} of records of runs, {size(runs.read_bytes)}")
    else:
        say("no new records of runs")


def runs_json(runs: Synced | None) -> dict[str, Any] | None:
    """The same for --json."""
    if runs is None:
        return None
    return {
        "files": runs.read,
        "read_bytes": runs.read_bytes,
        "damaged": runs.damaged,
        "passed_over": runs.passed_over,
    }


def show(result: FetchResult) -> None:
    """The result in words."""
    report = result.report
    if not report.files:
        if report.complete:
            say("everything is in the cache")
        return
    reused = f", {size(report.reused_bytes)} reused" if report.reused_bytes else ""
    say(
        f"fetched    {count(report.files, 'file')}, {size(report.size_bytes)}"
        f" ({size(report.read_bytes)} read{reused})"
    )


def fail_if_incomplete(result: FetchResult) -> None:
    """Ends the command with an error when something was nowhere."""
    from dvlite.errors import CorruptError, MissingError, PathError
    from dvlite.storage.absent import describe_absent

    for label, why in (*result.unreadable, *result.failed):
        warn(f"{label}: {why}")
    if result.report.damaged:
        absent = result.report.absent
        raise CorruptError(
            f"damaged on {' and '.join(result.remotes)}:\n"
            + describe_absent(result.report.damaged)
            + ("\nand not there:\n" + describe_absent(absent) if absent else ""),
            "bring it from another remote (-r NAME), or from a machine whose cache has it: "
            "dvlite remote check --repair",
        )
    if result.report.absent:
        raise MissingError(
            f"not on {' or '.join(result.remotes)}:\n" + describe_absent(result.report.absent),
            "whoever added it has to push it: dvlite push; or ask another remote: -r NAME",
        )
    if result.without:
        raise PathError(
            "there is no such path:\n" + "\n".join(map(name, result.without)),
            "what a folder holds: dvlite ls -R FOLDER",
        )


def to_json(result: FetchResult) -> dict[str, Any]:
    """The result for --json."""
    report = result.report
    return {
        "remotes": list(result.remotes),
        "pointers": result.pointers,
        "files": report.files,
        "size": report.size_bytes,
        "read_bytes": report.read_bytes,
        "reused_bytes": report.reused_bytes,
        "failed": [{"remote": remote, "reason": why} for remote, why in result.failed],
        "absent": [_absent_json(item) for item in report.absent],
        "damaged": [_absent_json(item) for item in report.damaged],
    }


def _absent_json(item: Absent) -> dict[str, str]:
    return {"pointer": item.label, **json_path(item.path), "oid": f"blake3:{item.oid.hex()}"}
