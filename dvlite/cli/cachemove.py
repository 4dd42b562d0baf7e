"""`dvlite cache move`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size, warn
from dvlite.errors import UsageError

if TYPE_CHECKING:
    from dvlite.ops.cachemove import MoveResult

_NAMED = 5


@click.command("move")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path())
@click.option("--default", "to_default", is_flag=True, help="Back to where it is by default.")
@click.option("--everyone", is_flag=True, help="All repositories that use the cache move with it.")
@click.option("--keep-old", is_flag=True, help="Leave the old cache as it is, for the others.")
@dry_run_option
@json_option
@common
def command(
    common: Common,
    folder: str | None,
    to_default: bool,
    everyone: bool,
    keep_old: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move the cache of this repository to another folder or disk.

    Everything is at the new place, durable and verified, before the setting cache.dir changes
    and the old folder is removed. Interrupted, it goes on when the same command is run again.
    Within a file system nothing is copied. A cache that is at DIR already, such as another
    project's, takes this one in. Workspace files that are links into the cache are made anew.

    \b
    Examples:
      dvlite cache move /mnt/big/dvlite-cache
      dvlite cache move /mnt/big/dvlite-cache --dry-run
      dvlite cache move --default
    """
    from dvlite.ops.cachemove import MoveRequest, move

    if (folder is None) != to_default:
        raise UsageError("name one folder, or --default", "dvlite cache move DIR")
    if everyone and keep_old:
        raise UsageError("--everyone and --keep-old exclude each other", "choose one")
    project = common.project()
    given = project.default_cache() if folder is None else common.resolve(folder)
    request = MoveRequest(os.path.abspath(given), everyone, keep_old, dry_run)
    with showing(common.quiet) as progress:
        result = move(project, request, progress)
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not common.quiet:
        _show(result, dry_run)
    _warn(result)


def _show(result: MoveResult, dry_run: bool) -> None:
    if result.source == result.target:
        say(f"the cache is at {name(result.target)} already")
        return
    amount = f"{count(result.files, 'file')}, {size(result.size)}"
    if dry_run:
        how = "without copying" if result.linked else "by copying"
        into = "into the cache that is there" if result.merged else how
        say(f"would move the cache to {name(result.target)} ({amount}), {into}")
        note("nothing was done (dry run)")
        return
    say(f"the cache is at {name(result.target)} now ({amount})")
    if result.brought.there:
        say(f"{count(result.brought.there, 'file')} had been there already")
    if result.links:
        say(f"{count(result.links, 'link')} of the workspace lead there now")
    for top in result.repositories[1:]:
        note(f"{name(top)} uses it there too")


def _warn(result: MoveResult) -> None:
    damaged = result.brought.damaged
    if damaged:
        shown = ", ".join(sorted(set(damaged))[:_NAMED])
        warn(f"{count(len(set(damaged)), 'file')} had been damaged before: {shown}")
        note("mend them: dvlite fsck --repair")
    if result.left:
        warn(
            f"something is left in {name(result.source)} that has come meanwhile; "
            "run the same command again"
        )
    if result.abandoned:
        warn(f"an earlier move to {name(result.abandoned)} was not finished; that folder is no "
             "longer needed for this repository")  # fmt: skip
    for top in result.absent_trees:
        warn(f"the work tree {name(top)} is not there; if its files are links, run there later: "
             "dvlite checkout --force")  # fmt: skip


def _to_json(result: MoveResult, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        **json_path(result.source, "from"),
        **json_path(result.target, "to"),
        "files": result.files,
        "size": result.size,
        "copied": result.brought.copied,
        "same_file_system": result.linked,
        "merged": result.merged,
        "there_already": result.brought.there,
        "links": result.links,
        "damaged": sorted(set(result.brought.damaged)),
        "left": result.left,
        "abandoned": result.abandoned or None,
        "repositories": [json_path(top) for top in result.repositories],
        "absent_work_trees": [json_path(top) for top in result.absent_trees],
    }
