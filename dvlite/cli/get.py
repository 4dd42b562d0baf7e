"""`dvlite get`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, jobs_of, jobs_option, json_option, say_places
from dvlite.cli.output import count, emit_json, json_path, name, note, say, size, transferring

if TYPE_CHECKING:
    from dvlite.ops.get import GetResult
    from dvlite.ops.ls import Target
    from dvlite.project import Project

_KINDS = ("file", "exec", "link", "tree")


@click.command()
@click.argument("word", metavar="[REV:]PATH")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="The new file or folder; OUT/ puts it into a folder, - writes a file to stdout "
    "(default: its name, in the current folder).",
)
@click.option("--rev", "revision", metavar="REV", help="At a revision: PATH is a path in it.")
@click.option("-f", "--force", is_flag=True, help="Replace what is there (it can be had again).")
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
    word: str,
    output: str | None,
    revision: str | None,
    force: bool,
    remotes: tuple[str, ...],
    jobs: int | None,
    as_json: bool,
) -> None:
    """Get a file or folder at any revision, without a checkout.

    PATH is tracked, or lies in a tracked folder. Only what is asked for is fetched, every byte is
    verified, and the workspace stays as it is. Without a revision: as the pointers say now.

    \b
    Examples:
      dvlite get v1.0:model.pt -o old.pt
      dvlite get HEAD~3:images/train -o /tmp/train
      dvlite get v1.0:metrics.csv -o - | head
    """
    from dvlite.errors import UsageError
    from dvlite.ops.get import GetRequest, get, get_bytes

    if output == "-" and as_json:
        raise UsageError("--json and -o - both write to stdout")
    project = common.project()
    target = _target(common, project, word, revision)
    where = "" if output == "-" else _where(common, target, output)
    request = GetRequest(target, where, force, remotes, jobs_of(project, jobs))
    if common.verbose:
        say_places(project, remotes)
    with transferring(common.quiet, common.verbose) as progress:
        if output == "-":
            result = get_bytes(project, request, sys.stdout.buffer, progress)
        else:
            result = get(project, request, progress)
    _fail_if_incomplete(result)
    if as_json:
        emit_json(_to_json(result))
    elif not common.quiet and output != "-":
        _show(result)


def _target(common: Common, project: Project, word: str, revision: str | None) -> Target:
    from dvlite.ops.ls import Target, parse_target

    if revision is not None:
        return Target(project.relative(common.resolve(word)), revision)
    return parse_target(project, word, common.directory, "get")


def _where(common: Common, target: Target, output: str | None) -> str:
    """The absolute path to make."""
    last = os.path.basename(target.path).removesuffix(".dvl") or "data"
    chosen = last if output is None else output
    if chosen.endswith("/"):
        chosen = os.path.join(chosen, last)
    return os.path.abspath(common.resolve(chosen))


def _fail_if_incomplete(result: GetResult) -> None:
    from dvlite.cli import fetch as fetch_words

    if result.fetched is not None:
        fetch_words.fail_if_incomplete(result.fetched)


def _show(result: GetResult) -> None:
    entry = result.entry
    files = f"{count(entry.files, 'file')}, " if entry.kind == 3 else ""
    say(f"got        {name(result.output)}  {files}{size(entry.size)}, verified")
    if result.kept is not None:
        note(
            f"what was there is in the cache for now; to get it back: "
            f"dvlite checkout --recover {result.kept.id}"
        )
    if result.moved:
        note(f"what was there is now {name(result.moved)}")


def _to_json(result: GetResult) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    entry = result.entry
    return {
        **json_path(result.target.path),
        "revision": result.target.revision or None,
        **json_path(result.output, "output"),
        "kind": _KINDS[entry.kind],
        "oid": to_text(entry.oid),
        "size": entry.size,
        "files": entry.files,
        "fetched_bytes": result.fetched.report.read_bytes if result.fetched else 0,
        "recover": result.kept.id if result.kept else None,
        "moved": result.moved or None,
    }
