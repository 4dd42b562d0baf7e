"""`dvlite rm`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size


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
    is given; older versions stay in the cache and on remotes.

    \b
    Examples:
      dvlite rm images
      dvlite rm --delete old-model.pt
    """
    from dvlite.ops.rm import rm

    project = common.project()
    with showing(common.quiet) as progress:
        removed = rm(
            project,
            common.paths(project, paths),
            delete=delete,
            force=force,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        emit_json([{**json_path(one.path), "deleted": one.deleted} for one in removed])
        return
    for one in () if common.quiet else removed:
        what = "its data deleted" if one.deleted else "its data stays"
        counts = f"{count(one.pointer.files, 'file')}, {size(one.pointer.size)}"
        say(f"not tracked any more  {name(one.path)}  {counts}; {what}")
    if not common.quiet:
        if dry_run:
            note("nothing was done (dry run)")
        elif not all(one.deleted for one in removed):
            note("git does not ignore the data any more: move it away before git add .")
