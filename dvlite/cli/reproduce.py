"""`dvlite reproduce`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, jobs_of, jobs_option, json_option
from dvlite.cli.output import (
    count,
    emit_json,
    json_path,
    name,
    note,
    plain,
    say,
    size,
    table,
    transferring,
)

if TYPE_CHECKING:
    from dvlite.ops.reproduce import ReproduceResult


@click.command()
@click.argument("revision", metavar="REV")
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH|STAGE]...")
@click.option("-o", "--output", metavar="DIR", help="The new folder (default: ../REPO-HASH).")
@click.option(
    "-r",
    "--remote",
    "remotes",
    multiple=True,
    metavar="NAME",
    help="Where from; repeatable, asked in this order (default: the default remote).",
)
@click.option(
    "--rerun",
    is_flag=True,
    help="Run the pipeline there from scratch, and compare what comes of it.",
)
@click.option("--env", is_flag=True, help="Compare Python, packages and system with then.")
@jobs_option
@json_option
@common
def command(
    common: Common,
    revision: str,
    paths: tuple[str, ...],
    output: str | None,
    remotes: tuple[str, ...],
    rerun: bool,
    env: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Restore a past commit with its data into a new folder.

    Code, parameters, data and models as they were then, every file verified. Your workspace
    stays as it is. The folder is a git work tree; git worktree remove DIR takes it away.

    With --rerun: then the pipeline (or the STAGEs) runs there from scratch, with the inputs of that
    commit, and each output is compared with what the commit recorded; exit code 1 if any differs.

    \b
    Examples:
      dvlite reproduce v1.0
      dvlite reproduce HEAD~3 model.pt -o /tmp/old
      dvlite reproduce v1.0 --rerun --env
      dvlite reproduce v1.0 --rerun evaluate
    """
    from dvlite.ops.reproduce import ReproduceRequest, reproduce

    project = common.project()
    request = ReproduceRequest(
        revision,
        () if rerun else common.paths(project, paths),
        os.path.abspath(common.resolve(output)) if output else None,
        remotes,
        jobs_of(project, jobs),
    )
    with transferring(common.quiet, common.verbose) as progress:
        result = reproduce(project, request, progress)
    if not as_json and not common.quiet:
        _show(result)
    told: dict[str, Any] = {}
    if rerun or env:
        from dvlite.cli.rerun import compare_environment, run_again

        if env:
            told |= compare_environment(common, project, result, as_json)
        if rerun and not result.checked_out.missing:
            told |= run_again(common, project, result, (paths, jobs or 1, as_json))
    if as_json:
        emit_json({**_to_json(result), **told})
    _fail_if_incomplete(result)
    if told.get("same") is False or told.get("environment"):
        raise click.exceptions.Exit(1)


def _show(result: ReproduceResult) -> None:
    commit = result.commit
    say(f"{commit.short}  {commit.date[:10]}  {plain(commit.author)}  {plain(commit.subject)}")
    rows = [
        (
            name(one.path),
            count(one.pointer.files, "file"),
            size(one.pointer.size),
            "verified",
            one.pointer.oid.hex()[:12],
        )
        for one in result.restored
    ]
    table(rows, right=(1, 2), indent="  ")
    files = sum(one.pointer.files for one in result.restored)
    total = sum(one.pointer.size for one in result.restored)
    say(f"restored {count(files, 'data file')}, {size(total)}, and the code in {result.folder}")
    note(f"when you are done: git worktree remove --force {result.folder}")


def _fail_if_incomplete(result: ReproduceResult) -> None:
    from dvlite.cli import checkout as checkout_words

    checkout_words.fail_if_incomplete(result.checked_out)


def _to_json(result: ReproduceResult) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    return {
        "commit": result.commit.hash,
        "author": result.commit.author,
        "date": result.commit.date,
        "subject": result.commit.subject,
        "folder": result.folder,
        "restored": [
            {
                **json_path(one.path),
                "kind": one.pointer.kind,
                "oid": to_text(one.pointer.oid),
                "size": one.pointer.size,
                "files": one.pointer.files,
                "verified": True,
            }
            for one in result.restored
        ],
        "missing": [
            {**json_path(path), "files": files} for path, files in result.checked_out.missing
        ],
    }
