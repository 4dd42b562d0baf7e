"""`dvlite checkout`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import (
    Common,
    bisect_option,
    common,
    dry_run_option,
    json_option,
    paths_argument,
)
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size, warn

if TYPE_CHECKING:
    from dvlite.ops.checkout import CheckoutResult
    from dvlite.ops.stepping import Step

_NAMED = 10
_WORDS = {"make": "new", "change": "updated", "replace": "replaced", "remove": "removed"}


@click.command()
@paths_argument
@click.option("-f", "--force", is_flag=True, help="Discard edits (they are kept in the cache).")
@click.option(
    "-k",
    "--keep-edits",
    is_flag=True,
    help="Keep edits of files that the pointers say nothing new about.",
)
@click.option("--rev", "revision", metavar="REV", help="PATHs and their pointers as at REV.")
@click.option("--relink", is_flag=True, help="Make linked files anew, as cache.link says.")
@click.option("--recover", metavar="ID", help="Bring back what --force discarded.")
@bisect_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    force: bool,
    keep_edits: bool,
    revision: str | None,
    relink: bool,
    recover: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make the workspace match the pointers.

    Files that you changed and did not add stop it, and nothing is done: dvlite add takes them
    up, --keep-edits leaves them where the pointers say nothing new, --force discards them.
    With --rev, PATHs become what they were at a commit: their data, their pointers, and what git
    has staged of these, as with git checkout REV -- PATH.

    \b
    Examples:
      git checkout v1.0 && dvlite checkout    the data of a tag
      dvlite checkout images                  only this path
      dvlite checkout --rev v1.0 images       this path as it was then
      dvlite checkout --force model.pt        throw my changes away
    """
    from dvlite.errors import UsageError
    from dvlite.ops.checkout import CheckoutRequest, checkout

    if force and keep_edits:
        raise UsageError("--force and --keep-edits exclude each other")
    if revision is not None and (keep_edits or relink or recover is not None or not paths):
        raise UsageError(
            "--rev needs paths, and goes with --force and --dry-run alone",
            "all of a commit: git checkout REV && dvlite checkout; elsewhere: dvlite reproduce",
        )
    project = common.project()
    chosen = common.paths(project, paths)
    with showing(common.quiet) as progress:
        if recover is not None:
            from dvlite.ops.discarded import recover as bring_back

            say(f"recovered as {name(bring_back(project, recover, progress))}")
            return
        if relink:
            from dvlite.ops.relink import relink as make_anew

            report = make_anew(project, chosen, dry_run, progress)
            say(f"{count(report.files, 'file')} made anew as {report.link}, {size(report.size)}")
            return
        if revision is not None:
            from dvlite.ops.checkoutrev import RevisionRequest, checkout_revision

            request = RevisionRequest(revision, chosen, force, dry_run)
            result = checkout_revision(project, request, progress)
        else:
            what = CheckoutRequest(chosen, force, keep_edits, dry_run)
            result = checkout(project, what, progress)
    if as_json:
        emit_json(to_json(result))
    elif not common.quiet:
        show(result, dry_run)
    fail_if_incomplete(result)


def show(result: CheckoutResult, dry_run: bool = False) -> None:
    """The result in words."""
    for step in result.steps:
        if step.action in _WORDS:
            say(f"{_WORDS[step.action]:<9}  {name(step.path)}{_counts(step)}")
        for inside in step.kept[:_NAMED]:
            shown = name(_join(step.path, inside))
            say(f"{'left' if step.action == 'leave' else 'kept':<9}  {shown}  (your edit)")
        if len(step.kept) > _NAMED:
            say(f"{'kept':<9}  and {len(step.kept) - _NAMED:,} more edits in {name(step.path)}")
    for kept in result.discarded:
        note(
            f"discarded edits of {name(kept.path)} are in the cache for now; to get them back: "
            f"dvlite checkout --recover {kept.id}"
        )
    if all(step.action == "none" for step in result.steps) and not result.missing:
        say("the workspace matches the pointers")
    if dry_run:
        note("nothing was done (dry run)")


def fail_if_incomplete(result: CheckoutResult) -> None:
    """Ends the command with an error when content was missing or damaged."""
    from dvlite.errors import CorruptError, MissingError

    for path, why in result.damaged:
        warn(f"{name(path)}: {why}")
    if result.missing:
        lines = [f"{name(path)} ({count(files, 'file')})" for path, files in result.missing]
        raise MissingError(
            "not in the cache: " + ", ".join(lines[:_NAMED]), "bring it from a remote: dvlite pull"
        )
    if result.damaged:
        raise CorruptError(
            f"{count(len(result.damaged), 'path')} could not be checked out",
            "dvlite doctor examines the cache; dvlite pull brings the content again",
        )


def to_json(result: CheckoutResult) -> dict[str, Any]:
    """The result for --json."""
    return {
        "steps": [
            {
                **json_path(step.path),
                "action": step.action,
                "files": step.files,
                "size": step.size,
                "kept": [json_path(_join(step.path, inside)) for inside in step.kept],
                "discarded": [json_path(_join(step.path, inside)) for inside in step.lost],
                "untracked": [json_path(_join(step.path, inside)) for inside in step.extra],
            }
            for step in result.steps
        ],
        "recover": [{**json_path(one.path), "id": one.id} for one in result.discarded],
        "missing": [{**json_path(path), "files": files} for path, files in result.missing],
        "damaged": [{**json_path(path), "reason": why} for path, why in result.damaged],
    }


def _counts(step: Step) -> str:
    if step.action == "remove":
        return ""
    removed = f", {count(step.gone, 'file')} removed" if step.gone else ""
    return f"  {count(step.files, 'file')} written, {size(step.size)}{removed}"


def _join(path: str, inside: bytes) -> bytes:
    import os

    return os.fsencode(path) + (b"/" + inside if inside else b"")
