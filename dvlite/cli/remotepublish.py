"""`dvlite remote publish`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option, yes_option
from dvlite.cli.output import count, emit_json, say, size

if TYPE_CHECKING:
    from dvlite.ops.remotepublish import RemotePublishResult


@click.command("publish")
@click.argument("remote", required=False, metavar="[NAME]")
@yes_option
@dry_run_option
@json_option
@common
def command(common: Common, remote: str | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Write down what is on a remote, for those who read it from a web server.

    A web server cannot list a folder or bucket; index/list on the remote says what is there.
    Once it is written, every push brings it up to date, and anybody can read the remote at
    http(s)://. Doing it again changes nothing.

    \b
    Examples:
      dvlite remote publish
      dvlite remote publish store && dvlite remote add public https://data.example.org/store
    """
    from dvlite.ops.remotepublish import RemotePublishRequest, publish

    result = publish(common.project(), RemotePublishRequest(remote, dry_run, yes))
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not common.quiet:
        _show(result, dry_run)


def _show(result: RemotePublishResult, dry_run: bool) -> None:
    done = result.publication
    if not done.written:
        say(f"{result.remote} is published as it is: {count(done.names, 'name')}")
        return
    verb = "would publish" if dry_run else "published"
    say(f"{verb} {result.remote}: {count(done.names, 'name')}, {size(done.size_bytes)}")


def _to_json(result: RemotePublishResult, dry_run: bool) -> dict[str, Any]:
    done = result.publication
    return {
        "remote": result.remote,
        "dry_run": dry_run,
        "written": done.written,
        "names": done.names,
        "size": done.size_bytes,
    }
