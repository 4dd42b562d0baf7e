"""`dvlite push`."""

from __future__ import annotations

from collections.abc import Callable
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
    yes_option,
)
from dvlite.cli.output import count, emit_json, json_path, note, say, size, transferring, warn

if TYPE_CHECKING:
    from dvlite.ops.push import PushResult
    from dvlite.ops.runrecords import RunsPushed


@click.command()
@paths_argument
@click.option("-r", "--remote", metavar="NAME", help="Where to (default: the default remote).")
@jobs_option
@revisions_options
@click.option(
    "--run-cache",
    is_flag=True,
    help="Also the records of what stages made, with that, for everyone's dvlite run.",
)
@yes_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    remote: str | None,
    jobs: int | None,
    run_cache: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    **revisions: Any,
) -> None:
    """Bring data to a remote.

    Without --rev and its relatives: what the workspace's pointers name, and what the commits
    name that git has not pushed either. Only what the remote lacks is sent, as compressed
    chunks; an interrupted push goes on where it was.

    \b
    Examples:
      dvlite push && git push
      dvlite push --all-commits -r archive
      dvlite push --run-cache
      dvlite push --dry-run
    """
    from dvlite.cli.cachetrim import keep_to_limit
    from dvlite.ops.push import PushRequest, push

    project = common.project()
    request = PushRequest(
        selection(common, project, paths, revisions),
        remote,
        jobs_of(project, jobs),
        dry_run,
        yes or _confirmed(project, remote),
        run_cache,
    )
    if common.verbose:
        say_places(project, [remote] if remote else [])
    with transferring(common.quiet, common.verbose) as progress:
        result = push(project, request, progress)
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not common.quiet:
        show(result, dry_run=dry_run)
    if not dry_run:
        keep_to_limit(common, project)
    fail_if_incomplete(result)


def _confirmed(project: Any, remote: str | None) -> bool:
    """Asks about a remote whose URL has changed; without a terminal nothing is asked."""
    import sys

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    from dvlite.ops.remotes import changed_url, chosen_names, place_of

    name = chosen_names(project, [remote] if remote else [])[0]
    before = changed_url(project, name)
    if before is None:
        return False
    warn(f"the remote {name} was {before} before")
    return click.confirm(f"push to {place_of(project, name)}?", err=True)


def show(result: PushResult, tell: Callable[[str], None] = say, *, dry_run: bool = False) -> None:
    """The result in words."""
    report = result.report
    if result.runs is not None:
        _show_runs(result.runs, tell, dry_run)
    if not report.new_files and not report.stored_bytes:
        if result.complete:
            tell(f"everything is on {result.remote}")
        return
    files = f"{count(report.new_files, 'new file')}, {size(report.size_bytes)}"
    if report.new_bytes < report.size_bytes:
        files += f", of which {size(report.new_bytes)} are new"
    verb = "would push" if dry_run else "pushed"
    tell(f"{verb} to {result.remote}: {files} ({size(report.stored_bytes)} stored)")
    if result.absent_before:
        note(
            "neither here nor on the remote: "
            f"{count(len(result.absent_before), 'object')} of older commits"
        )


def _show_runs(runs: RunsPushed, tell: Callable[[str], None], dry_run: bool) -> None:
    stored = runs.stored_bytes + runs.report.stored_bytes
    if runs.records:
        verb = "would push" if dry_run else "pushed"
        tell(f"{verb} {count(runs.records, 'record')} of runs and what they made: {size(stored)}")
    else:
        tell("no new records of runs")
    if runs.left_out:
        note(f"left out, as not all is here that they made: {count(runs.left_out, 'record')}")


def warn_unlisted(remote: str, problem: str | None) -> None:
    """Says that readers behind a web server do not see yet what has arrived."""
    if problem is not None:
        warn(
            f"index/list on {remote} could not be brought up to date, so readers at http(s):// "
            f"do not see this yet: {problem}; dvlite remote publish {remote}"
        )


def fail_if_incomplete(result: PushResult) -> None:
    """Ends the command with an error when something could not be pushed."""
    from dvlite.errors import CorruptError, MissingError
    from dvlite.storage.absent import describe_absent

    for label, why in result.unreadable:
        warn(f"{label}: {why}")
    warn_unlisted(result.remote, result.list_problem)
    if result.damaged:
        raise CorruptError(
            "damaged in the cache, so not pushed:\n" + describe_absent(result.damaged),
            "take them up again: dvlite add; or bring them from another remote: dvlite fetch -r",
        )
    if result.absent:
        raise MissingError(
            "neither in the cache nor on the remote, so not pushed:\n"
            + describe_absent(result.absent),
            "push from the machine that added them, or dvlite fetch from another remote first",
        )


def _to_json(result: PushResult, dry_run: bool) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    report = result.report

    def absent(items: Any) -> list[dict[str, str]]:
        return [
            {"pointer": item.label, **json_path(item.path), "oid": to_text(item.oid)}
            for item in items
        ]

    return {
        "remote": result.remote,
        "dry_run": dry_run,
        "complete": result.complete,
        "pointers": report.roots,
        "new_files": report.new_files,
        "size": report.size_bytes,
        "new_bytes": report.new_bytes,
        "stored_bytes": report.stored_bytes,
        "packs": report.packs,
        "absent": absent(result.absent),
        "absent_in_older_commits": absent(result.absent_before),
        "damaged": absent(result.damaged),
        "list_problem": result.list_problem,
        "runs": _runs_json(result.runs),
        "unreadable": [{"pointer": label, "reason": why} for label, why in result.unreadable],
    }


def _runs_json(runs: RunsPushed | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    return {
        "records": runs.records,
        "left_out": runs.left_out,
        "stored_bytes": runs.stored_bytes + runs.report.stored_bytes,
    }
