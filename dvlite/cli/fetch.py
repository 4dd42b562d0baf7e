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
    say_places,
    selection,
)
from dvlite.cli.output import count, emit_json, json_path, name, say, size, transferring, warn

if TYPE_CHECKING:
    from dvlite.ops.fetch import FetchResult
    from dvlite.storage.absent import Absent


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
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    remotes: tuple[str, ...],
    jobs: int | None,
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
        return
    if common.verbose:
        say_places(project, remotes)
    with transferring(common.quiet, common.verbose) as progress:
        result = fetch(project, FetchRequest(chosen, remotes, jobs_of(project, jobs)), progress)
    if as_json:
        emit_json(to_json(result))
    elif not common.quiet:
        show(result)
    keep_to_limit(common, project, lambda: [one.pointer for one in named(project, chosen)])
    fail_if_incomplete(result)


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
