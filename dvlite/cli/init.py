"""`dvlite init`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common
from dvlite.cli.output import name, note, say


@click.command()
@common
def command(common: Common) -> None:
    """Make a git repository a dvlite project.

    Run it at the top of the repository, or in a folder of it: a repository may hold several
    projects side by side. Doing it again changes nothing.

    \b
    Examples:
      git init && dvlite init
      dvlite init -C research/vision
    """
    from dvlite.ops.init import init

    result = init(common.directory)
    if common.quiet:
        return
    if not result.created:
        say(f"{name(result.root)} is a dvlite project already")
        return
    say(f"made {name(result.root)} a dvlite project: {', '.join(map(name, result.created))} staged")
    note("next: dvlite add PATH, and git commit")
