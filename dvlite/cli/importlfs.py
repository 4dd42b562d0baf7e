"""`dvlite import-lfs`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common, dry_run_option, jobs_of, jobs_option, json_option
from dvlite.cli.output import transferring


@click.command()
@click.option(
    "--history", is_flag=True, help="Old commits too: what they name is taken and mapped."
)
@click.option("--remove-old", is_flag=True, help="Remove the lines of .gitattributes for git-lfs.")
@jobs_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    history: bool,
    remove_old: bool,
    jobs: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take over files that git-lfs keeps, and old versions.

    Each file gets a pointer of its own, and git tracks that instead. Content is taken from
    git-lfs's store (git lfs fetch fills it) or the workspace, and compared with its SHA-256.
    Everything is staged, nothing committed. What cannot be taken over is listed.

    \b
    Examples:
      dvlite init && dvlite import-lfs --dry-run
      git lfs fetch --all && dvlite import-lfs --history
      dvlite import-lfs --remove-old
    """
    from dvlite.cli import importwords
    from dvlite.ops.importlfs import ImportLfsRequest, import_lfs

    project = common.project()
    request = ImportLfsRequest(history, remove_old, dry_run, jobs_of(project, jobs))
    with transferring(common.quiet, common.verbose) as progress:
        result = import_lfs(project, request, progress)
    importwords.report(result, as_json, common.quiet, dry_run)
