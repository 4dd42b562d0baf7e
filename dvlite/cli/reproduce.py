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
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("-o", "--output", metavar="DIR", help="The new folder (default: ../REPO-HASH).")
@click.option(
    "-r",
    "--remote",
    "remotes",
    multiple=True,
    metavar="NAME",
    help="Where from; repeatable, asked in this order (default: the default remote).",
)
@jobs_option
@json_option
@common
def command(
    common: Common,
    revision: str,
    paths: tuple[str, ...],
    output: str | None,
    remotes: tuple[str, ...],
    jobs: int | None,
    as_json: bool,
) -> None:
    """Restore a past commit with its data into a new folder.

    Code, parameters, data and models as they were then, every file verified. Your workspace
    stays as it is. The folder is a git work tree; git worktree remove DIR takes it away.

    \b
    Examples:
      dvlite reproduce v1.0
      dvlite reproduce HEAD~3 model.pt -o /tmp/old
    """
    from dvlite.ops.reproduce import ReproduceRequest, reproduce

    project = common.project()
    request = ReproduceRequest(
        revision,
        common.paths(project, paths),
        os.path.abspath(common.resolve(output)) if output else None,
        remotes,
        jobs_of(project, jobs),
    )
    with transferring(common.quiet, common.verbose) as progress:
        result = reproduce(project, request, progress)
    if as_json:
        emit_json(_to_json(result))
    elif not common.quiet:
        _show(result)
    _fail_if_incomplete(result)


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
