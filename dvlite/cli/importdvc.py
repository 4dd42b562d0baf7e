"""`dvlite import-dvc`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common, dry_run_option, jobs_of, jobs_option, json_option
from dvlite.cli.output import transferring


@click.command()
@click.option(
    "--history", is_flag=True, help="Old commits too: what they name is taken and mapped."
)
@click.option("--remove-old", is_flag=True, help="Remove DVC's files that dvlite has replaced.")
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
    """Take over what DVC tracks: data, remotes, and old versions.

    Outputs of .dvc files and of dvc.lock become pointers, their content is taken from DVC's cache,
    the workspace or DVC's remotes, and compared with its md5. Everything is staged, nothing
    committed, and DVC goes on working. What cannot be taken over is listed.

    \b
    Examples:
      dvlite init && dvlite import-dvc --dry-run
      dvlite import-dvc --history
      dvlite import-dvc --remove-old
    """
    from dvlite.cli import importwords
    from dvlite.ops.importdvc import ImportDvcRequest, import_dvc

    project = common.project()
    request = ImportDvcRequest(history, remove_old, dry_run, jobs_of(project, jobs))
    with transferring(common.quiet, common.verbose) as progress:
        result = import_dvc(project, request, progress)
    importwords.report(result, as_json, common.quiet, dry_run)
