"""`dvlite du`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, json_path, name, showing, size, table, warn

if TYPE_CHECKING:
    from dvlite.ops.du import DuResult, Space


@click.command()
@click.option("--remote", "ask_remote", is_flag=True, help="Ask the remote what it holds.")
@click.option("-r", "--remote-name", "remote", metavar="NAME", help="Which remote to ask.")
@json_option
@common
def command(common: Common, ask_remote: bool, remote: str | None, as_json: bool) -> None:
    """Show the space that data takes, and what was saved.

    What the versions in history would take as copies, how much of that is in the cache, what
    it takes there on disk, and with --remote what is stored on the remote.

    \b
    Examples:
      dvlite du
      dvlite du --remote
    """
    from dvlite.ops.du import du

    project = common.project()
    with showing(common.quiet) as progress:
        result = du(project, remote, ask_remote, progress)
    if as_json:
        emit_json(_to_json(result))
    else:
        table(_rows(result), right=(1,))
    for path, why in result.unreadable:
        warn(f"{name(path)}: {why}")


def _rows(result: DuResult) -> list[tuple[str, str, str]]:
    unpacked = result.unique.size + result.unnamed.size
    stored = result.objects.size + result.packs.size
    rows = [
        _row("workspace", result.workspace),
        _row("all versions in history", result.history),
        _row("  of these in the cache", result.cached),
        (
            "  each content once",
            size(result.unique.size),
            _saved("deduplication", result.cached.size, result.unique.size),
        ),
        ("cache on disk", size(result.cache.size), _saved("compression", unpacked, stored)),
        _row("  whole objects", result.objects),
        _row("  packs", result.packs),
    ]
    if result.other.files:
        rows.append(_row("  other", result.other))
    if result.unnamed.files:
        rows.append(_row("  named by no version", result.unnamed))
    if result.remote is not None:
        rows.append(_row(f"remote {result.remote_name}", result.remote))
    return [*rows, ("free on the cache's disk", size(result.free), "")]


def _row(label: str, space: Space) -> tuple[str, str, str]:
    return label, size(space.size), count(space.files, "file")


def _saved(how: str, whole: int, stored: int) -> str:
    if stored >= whole:
        return ""
    return f"{how} saves {size(whole - stored)} ({100 - 100 * stored / whole:.0f} %)"


def _to_json(result: DuResult) -> dict[str, Any]:
    unreadable = [{**json_path(path), "reason": why} for path, why in result.unreadable]
    return {**asdict(result), "cache": asdict(result.cache), "unreadable": unreadable}
