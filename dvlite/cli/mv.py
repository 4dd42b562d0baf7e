"""`dvlite mv`."""

from __future__ import annotations

import os

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import emit_json, json_path, name, note, say


@click.command()
@click.argument("source", type=click.Path(), metavar="SRC")
@click.argument("target", type=click.Path(), metavar="DST")
@dry_run_option
@json_option
@common
def command(common: Common, source: str, target: str, dry_run: bool, as_json: bool) -> None:
    """Move or rename tracked data with its pointer.

    If DST is a folder that is not tracked, SRC moves into it. Nothing is copied, hashed or
    pushed again.

    \b
    Examples:
      dvlite mv images pictures
      dvlite mv model.pt models/
    """
    from dvlite.errors import PathError
    from dvlite.ops.mv import mv

    if target.endswith("/") and not os.path.isdir(common.resolve(target)):
        raise PathError(f"there is no folder {target}", "make it, or leave the / out")
    project = common.project()
    first, second = common.paths(project, (source, target))
    moved = mv(project, first, second, dry_run)
    if as_json:
        emit_json(
            {
                **json_path(moved.source, "source"),
                **json_path(moved.target, "target"),
                "with_data": moved.with_data,
            }
        )
    elif not common.quiet:
        without = "" if moved.with_data else "  (its data is not in the workspace)"
        say(f"moved {name(moved.source)} -> {name(moved.target)}{without}")
        note("nothing was done (dry run)" if dry_run else "staged: git commit")
