"""`dvlite pull`."""

from __future__ import annotations

import click

from dvlite.cli.options import (
    Common,
    bisect_option,
    common,
    dry_run_option,
    jobs_of,
    jobs_option,
    json_option,
    paths_argument,
    run_cache_option,
    say_places,
)
from dvlite.cli.output import emit_json, json_path, say, size, transferring


@click.command()
@paths_argument
@click.option(
    "-r",
    "--remote",
    "remotes",
    multiple=True,
    metavar="NAME",
    help="Where from; repeatable, asked in this order (default: the default remote).",
)
@jobs_option
@click.option("-f", "--force", is_flag=True, help="Discard edits (they are kept in the cache).")
@bisect_option
@run_cache_option
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    remotes: tuple[str, ...],
    jobs: int | None,
    force: bool,
    run_cache: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Fetch, then check out.

    Brings the data of the pointers that git has. Your edits stay where the pointers say nothing
    new; where both changed, the paths are listed and nothing is overwritten.

    \b
    Examples:
      git clone URL && cd project && dvlite pull
      git pull && dvlite pull
      dvlite pull images/train
      dvlite pull --run-cache
    """
    from dvlite.cli import checkout as checkout_words
    from dvlite.cli import fetch as fetch_words
    from dvlite.cli.cachetrim import keep_to_limit
    from dvlite.ops.pull import PullRequest, pull

    project = common.project()
    chosen = common.paths(project, paths)
    request = PullRequest(chosen, remotes, jobs_of(project, jobs), force, dry_run)
    if common.verbose:
        say_places(project, remotes)
    with transferring(common.quiet, common.verbose) as progress:
        result = pull(project, request, progress)
    fetches = run_cache and not dry_run
    runs = fetch_words.bring_runs(common, project, remotes, jobs) if fetches else None
    if as_json:
        emit_json(
            {
                "to_fetch": [json_path(one.label) for one in result.to_fetch],
                "fetched": fetch_words.to_json(result.fetched) if result.fetched else None,
                "checkout": checkout_words.to_json(result.checked_out),
                "runs": fetch_words.runs_json(runs),
            }
        )
    elif not common.quiet:
        for one in result.to_fetch if dry_run else ():
            say(f"would fetch  {one.label}  up to {size(one.pointer.size)}")
        if result.fetched is not None:
            fetch_words.show(result.fetched)
        fetch_words.show_runs(runs)
        checkout_words.show(result.checked_out, dry_run)
    if not dry_run:
        keep_to_limit(common, project)
    if result.fetched is not None:
        fetch_words.fail_if_incomplete(result.fetched)
    if not dry_run:
        checkout_words.fail_if_incomplete(result.checked_out)
