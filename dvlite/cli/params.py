"""`dvlite params`."""

from __future__ import annotations

from typing import Any

import click

from dvlite.cli.options import Common, common, source_of
from dvlite.cli.output import transferring
from dvlite.cli.values import diff_options, show_diff


@click.group()
def command() -> None:
    """Compare parameters between revisions.

    \b
    Examples:
      dvlite params diff
      dvlite params diff main
    """


@command.command("diff")
@diff_options
@common
def diff_command(
    common: Common, old: str | None, new: str | None, targets: tuple[str, ...], **options: Any
) -> None:
    """Show which parameters differ between A and B.

    Without a revision: from HEAD to the workspace; with one: from it to the workspace. Those count
    that stages of dvlite.yaml name (all of params.yaml where none is named), as it is at each
    revision. Files are YAML, JSON, TOML, or Python, which is read and never run.

    \b
    Examples:
      dvlite params diff
      dvlite params diff v1.0 v2.0
      dvlite params diff main --targets config/train.toml --all
    """
    from dvlite.ops.content import compared_views
    from dvlite.ops.params import params
    from dvlite.ops.values import ValuesRequest, compare

    project = common.project()
    views = tuple(compared_views(project, [one for one in (old, new) if one]))
    paths = common.paths(project, targets)
    request = ValuesRequest(views, paths, source_of(project, options))
    with transferring(common.quiet, common.verbose) as progress:
        found = params(project, request, progress)
    show_diff(common, found, compare(found, options["everything"]), options)
