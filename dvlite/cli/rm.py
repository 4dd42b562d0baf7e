"""`dvlite rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size

if TYPE_CHECKING:
    from dvlite.ops.rm import Removed


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(), metavar="PATH...")
@click.option("--delete", is_flag=True, help="Delete the data in the workspace too.")
@click.option("-f", "--force", is_flag=True, help="Delete even edits that are not added.")
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    delete: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Stop tracking files and folders.

    The pointer goes, and git does not ignore the path any more. The data stays unless --delete
    is given; older versions stay in the cache and on remotes. Files that .dvliteignore keeps out
    are never deleted; edits that --force deletes are kept in the cache for a while.

    \b
    Examples:
      dvlite rm images
      dvlite rm --delete old-model.pt
    """
    from dvlite.ops.rm import RmRequest, rm

    project = common.project()
    request = RmRequest(common.paths(project, paths), delete, force, dry_run)
    with showing(common.quiet) as progress:
        removed = rm(project, request, progress)
    if as_json:
        emit_json(
            [
                {**json_path(one.path), "deleted": one.deleted, "recover": one.recover}
                for one in removed
            ]
        )
        return
    for one in () if common.quiet else removed:
        counts = f"{count(one.pointer.files, 'file')}, {size(one.pointer.size)}"
        say(f"not tracked any more  {name(one.path)}  {counts}; {_what(one, delete)}")
        if one.recover is not None:
            note(
                f"discarded edits of {name(one.path)} are in the cache for now; to get them back: "
                f"dvlite checkout --recover {one.recover}"
            )
    if not common.quiet:
        if dry_run:
            note("nothing was done (dry run)")
        elif not delete:
            note("git does not ignore the data any more: move it away before git add .")


def _what(one: Removed, delete: bool) -> str:
    if one.left:
        return "its data deleted; what is still there never was tracked"
    if one.deleted:
        return "its data deleted"
    return "its data was not here" if delete else "its data stays"
