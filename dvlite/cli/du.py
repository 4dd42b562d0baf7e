"""`dvlite du`."""

from __future__ import annotations

from dataclasses import asdict

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, say, size, table


@click.command()
@click.option("--remote", "ask_remote", is_flag=True, help="Ask the remote what it holds.")
@click.option("-r", "--remote-name", "remote", metavar="NAME", help="Which remote to ask.")
@json_option
@common
def command(common: Common, ask_remote: bool, remote: str | None, as_json: bool) -> None:
    """Show the space that data takes, and what was saved.

    What all versions in history would take as copies, what the cache takes on this disk, and
    with --remote what is stored there.

    \b
    Examples:
      dvlite du
      dvlite du --remote
    """
    from dvlite.ops.du import du

    result = du(common.project(), remote, ask_remote)
    if as_json:
        emit_json({**asdict(result), "cache": asdict(result.cache)})
        return
    rows = [
        ("workspace", size(result.workspace.size), count(result.workspace.files, "file")),
        ("all versions", size(result.versions.size), count(result.versions.files, "file")),
        ("cache", size(result.cache.size), _saved(result.unique.size, result.cache.size)),
        ("  whole objects", size(result.objects.size), count(result.objects.files, "file")),
        ("  packs", size(result.packs.size), count(result.packs.files, "file")),
    ]
    if result.remote is not None:
        saved = _saved(result.versions.size, result.remote.size)
        rows.append((f"remote {result.remote_name}", size(result.remote.size), saved))
    rows.append(("free on the cache's disk", size(result.free), ""))
    table(rows, right=(1,))
    if not common.quiet and result.versions.size > result.unique.size > 0:
        say(
            f"deduplication: {size(result.versions.size)} of all versions are "
            f"{size(result.unique.size)} of different files in the cache"
        )


def _saved(whole: int, stored: int) -> str:
    if whole <= 0 or stored >= whole:
        return ""
    return f"{100 - 100 * stored / whole:.0f} % saved of {size(whole)}"
