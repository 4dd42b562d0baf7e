"""`dvlite remote copy`."""

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
    yes_option,
)
from dvlite.cli.output import count, emit_json, note, say, size, transferring
from dvlite.cli.push import warn_unlisted

if TYPE_CHECKING:
    from dvlite.ops.remotecopy import RemoteCopyResult
    from dvlite.storage.remotecopy import CopyReport, Uncopied

# Transfers at a time where no project says how many.
_JOBS = 4
# More objects than this are a number; --json has all.
_SHOWN = 20


@click.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@click.option(
    "--from-option",
    "source_options",
    multiple=True,
    metavar="OPTION=VALUE",
    help="An option of FROM where that is a URL (endpoint_url=...); repeatable.",
)
@click.option(
    "--to-option",
    "target_options",
    multiple=True,
    metavar="OPTION=VALUE",
    help="The same of TO.",
)
@jobs_option
@yes_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    source: str,
    target: str,
    source_options: tuple[str, ...],
    target_options: tuple[str, ...],
    jobs: int | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Copy what a remote holds to another remote.

    FROM and TO are names of remotes, or URLs or folders (with a slash: ./store); with two of
    the latter it works outside any project. Only what TO lacks is copied, and every byte is
    verified. TO may hold other data, and people may go on using both. After an interruption,
    run it again.

    \b
    Examples:
      dvlite remote copy store archive
      dvlite remote copy /mnt/store s3://bucket/store --dry-run
      dvlite remote copy s3://old/p s3://new/p --to-option endpoint_url=https://s3.example.org
    """
    from dvlite.ops.remotecopy import RemoteCopyRequest, copy, place

    places = (
        place(source, _options(source_options), common.directory),
        place(target, _options(target_options), common.directory),
    )
    named = any(not one.is_url for one in places)
    project = common.project() if named else None
    transfers = jobs_of(project, jobs) if project is not None else jobs or _JOBS
    request = RemoteCopyRequest(*places, transfers, dry_run, yes)
    with transferring(common.quiet, common.verbose) as progress:
        result = copy(project, request, progress)
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not common.quiet:
        _show(result, dry_run)
    warn_unlisted(result.target, result.list_problem)
    _fail_if_incomplete(result)


def _options(given: tuple[str, ...]) -> dict[str, str]:
    from dvlite.errors import UsageError

    found = {}
    for one in given:
        option, equals, text = one.partition("=")
        if not equals or not option:
            raise UsageError(f"{one} is not OPTION=VALUE")
        found[option] = text
    return found


def _show(result: RemoteCopyResult, dry_run: bool) -> None:
    report = result.report
    if not report.packs and not report.objects and not report.chunks:
        if report.complete:
            say(f"everything on {result.source} is on {result.target}")
        return
    what = f"{count(report.packs, 'pack')}, {size(report.stored_bytes)}"
    rows = f"{report.objects:,} files, folders and recipes, {count(report.chunks, 'chunk')}"
    verb = "would copy" if dry_run else "copied"
    say(f"{verb} from {result.source} to {result.target}: {what} ({rows})")
    if report.shared:
        note(f"{count(report.shared, 'pack')} of {result.source} are there already")


def _fail_if_incomplete(result: RemoteCopyResult) -> None:
    from dvlite.errors import CorruptError, MissingError

    report = result.report
    if report.complete:
        return
    kind = MissingError if _only_missing(report) else CorruptError
    raise kind(
        f"not all of {result.source} is on {result.target}:\n" + _list_uncopied(report),
        f"find whom it concerns and repair it: dvlite remote check --full {result.source}; "
        "then copy again",
    )


def _only_missing(report: CopyReport) -> bool:
    return bool(report.uncopied) and all(one.missing for one in report.uncopied)


def _list_uncopied(report: CopyReport) -> str:
    lines = [f"{one.name}: {one.text}" for one in report.uncopied[:_SHOWN]]
    if len(report.uncopied) > _SHOWN:
        lines.append(f"and {len(report.uncopied) - _SHOWN:,} more")
    if report.left_out:
        lines.append(f"{count(len(report.left_out), 'object')} need what could not be copied")
    return "\n".join(lines)


def _to_json(result: RemoteCopyResult, dry_run: bool) -> dict[str, Any]:
    report = result.report

    def describe(one: Uncopied) -> dict[str, Any]:
        return {"what": one.what, "name": one.name, "text": one.text, "missing": one.missing}

    return {
        "from": result.source,
        "to": result.target,
        "dry_run": dry_run,
        "complete": report.complete,
        "packs": report.packs,
        "stored_bytes": report.stored_bytes,
        "packs_there_already": report.shared,
        "objects": report.objects,
        "chunks": report.chunks,
        "segments": report.segments,
        "records": report.records,
        "run_files": report.run_files,
        "list_problem": result.list_problem,
        "uncopied": [describe(one) for one in report.uncopied],
        "left_out": [f"blake3:{oid.hex()}" for oid in sorted(report.left_out)],
    }
