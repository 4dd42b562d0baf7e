"""`dvlite resolve`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option, paths_argument
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, warn

if TYPE_CHECKING:
    from dvlite.ops.resolve import Resolved, ResolveResult

_NAMED = 10


@click.command()
@paths_argument
@click.option("--ours", is_flag=True, help="Take our side: HEAD's (in a rebase: the new base's).")
@click.option("--theirs", is_flag=True, help="Take the other side, which is being merged.")
@click.option("--fetch", is_flag=True, help="First fetch what is missing of the versions.")
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    ours: bool,
    theirs: bool,
    fetch: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decide what git could not merge.

    PATH is a tracked path, or files and folders inside one. The pointer is written and staged,
    and the workspace brought in line; unsaved edits stay. What both sides did elsewhere in a
    folder is merged already. Without --ours or --theirs: what can be merged now, or was merged
    by hand, is taken, and what is still to be decided is listed (exit code 1).

    \b
    Examples:
      dvlite resolve                              what conflicts?
      dvlite resolve --theirs images/cat.png      take their version of one file
      dvlite resolve --ours .                     our version of all that conflicts
    """
    from dvlite.errors import UsageError
    from dvlite.ops.resolve import ResolveRequest, resolve

    if ours and theirs:
        raise UsageError("--ours and --theirs exclude each other")
    if (ours or theirs) and not paths:
        raise UsageError(
            "name what is to be decided", "all that conflicts: dvlite resolve --ours ."
        )
    side: Literal["ours", "theirs"] | None = "ours" if ours else "theirs" if theirs else None
    project = common.project()
    request = ResolveRequest(common.paths(project, paths), side, fetch, dry_run)
    with showing(common.quiet) as progress:
        result = resolve(project, request, progress)
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not common.quiet:
        _show(result, dry_run)
    _warn(result)
    if side is None and any(item.left for item in result.items):
        raise SystemExit(1)


def _show(result: ResolveResult, dry_run: bool) -> None:
    if not result.items:
        say("nothing conflicts")
    for item in result.items:
        for line in _lines(item):
            say(line)
    done = [item for item in result.items if not item.left]
    if done and not dry_run:
        note("resolved pointers are staged: git commit, or git rebase --continue")
    if any(item.left for item in result.items):
        note("decide: dvlite resolve --ours PATH, or --theirs")


def _lines(item: Resolved) -> list[str]:
    if not item.left and item.pointer is None:
        return [f"resolved   {name(item.path)}  no longer tracked"]
    if not item.left and item.pointer is not None:
        return [f"resolved   {name(item.path)}  {count(item.pointer.files, 'file')}"]
    if item.why:
        return [f"conflict   {name(item.path)}: {item.why}"]
    return [f"conflict   {name(f'{item.path}/{one}')}" for one in item.left]


def _warn(result: ResolveResult) -> None:
    for path, inside in result.edits[:_NAMED]:
        shown = name(os.fsencode(path) + (b"/" + inside if inside else b""))
        warn(f"{shown} holds an edit that is not added; it was left as it is")
    if len(result.edits) > _NAMED:
        warn(f"and {len(result.edits) - _NAMED:,} more such edits")
    for path in dict.fromkeys(path for path, _ in result.edits):
        note(
            f"add it: dvlite add {name(path)}; or discard it: dvlite checkout --force {name(path)}"
        )
    for path, files in result.checkout.missing:
        note(f"{name(path)}: {count(files, 'file')} not in the cache yet: dvlite pull")
    for path, why in result.checkout.damaged:
        warn(f"{name(path)}: {why}")


def _to_json(result: ResolveResult, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "items": [
            {
                **json_path(item.path),
                "resolved": not item.left,
                "oid": f"blake3:{item.pointer.oid.hex()}" if item.pointer is not None else None,
                "left": [json_path(_join(item.path, one)) for one in item.left],
                "reason": item.why or None,
            }
            for item in result.items
        ],
        "edits": [json_path(_join(path, inside)) for path, inside in result.edits],
        "missing": [{**json_path(path), "files": files} for path, files in result.checkout.missing],
        "damaged": [{**json_path(path), "reason": why} for path, why in result.checkout.damaged],
    }


def _join(path: str, inside: str | bytes) -> bytes:
    return os.fsencode(path) + (b"/" + os.fsencode(inside) if inside else b"")
