"""`dvlite install`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common
from dvlite.cli.output import name, note, say


@click.command()
@click.option(
    "--pre-commit", "framework", is_flag=True, help="Let the pre-commit framework call the hooks."
)
@click.option("--uninstall", is_flag=True, help="Take everything away again.")
@common
def command(common: Common, framework: bool, uninstall: bool) -> None:
    """Tell git to work with dvlite: hooks, and drivers that merge and show pointers.

    Hooks check commits, let the data follow git's checkouts and merges, and push the data before
    git pushes the commits (docs/git.md). A hook of yours is kept and called first; --uninstall
    brings it back as it was. Every clone needs it once, for all its projects; doing it again
    changes nothing.

    \b
    Examples:
      dvlite install
      dvlite install --pre-commit      write .pre-commit-config.yaml instead of git's hooks
      dvlite install --uninstall
    """
    from dvlite.errors import UsageError
    from dvlite.ops import install as ops

    if framework and uninstall:
        raise UsageError("--pre-commit and --uninstall exclude each other")
    project = ops.project_of(common.directory)
    if uninstall:
        changed = ops.uninstall(project)
    elif framework:
        changed = ops.install_for_framework(project)
    else:
        changed = ops.install(project)
    if common.quiet:
        return
    for part, names in changed.items():
        if names:
            say(
                f"{'removed' if uninstall else 'changed':<9}  {part}: {', '.join(map(name, names))}"
            )
    if not any(changed.values()):
        say("nothing is installed" if uninstall else "everything is installed already")
    if framework:
        from dvlite.ops.precommitconfig import install_command

        note(f"next: {install_command()}")
