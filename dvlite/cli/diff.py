"""`dvlite diff`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, size, warn
from dvlite.cli.progress import showing

if TYPE_CHECKING:
    from dvlite.ops.diff import DiffResult
    from dvlite.storage.treediff import Comparison, Difference

_LETTERS = {"added": "A", "removed": "D", "changed": "M", "renamed": "R"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "renamed": "cyan"}
_LISTED = 100


@click.command()
@click.argument("words", nargs=-1, metavar="[A [B]] [--] [PATH]...")
@click.option("--stat", is_flag=True, help="Only the totals.")
@click.option("--all", "everything", is_flag=True, help="List all files, however many.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there are differences.")
@json_option
@common
def command(
    common: Common,
    words: tuple[str, ...],
    stat: bool,
    everything: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Show which files differ between revisions or the workspace.

    Without a revision: what dvlite add would take up. With one: from it to the workspace. With
    two: from the first to the second. Files with the same content under another name are
    renamed.

    \b
    Examples:
      dvlite diff
      dvlite diff HEAD~1
      dvlite diff v1.0 v2.0 images/train
    """
    from dvlite.ops.diff import DiffRequest, diff, split_words

    project = common.project()
    given = sys.argv[1:]
    if "--" in given and len(words) == len(given) - given.index("--") - 1:
        request = DiffRequest((), common.paths(project, words))
    else:
        request = split_words(project, words, common.directory)
    with showing(common.quiet) as progress:
        result = diff(project, request, progress)
    if as_json:
        emit_json(_to_json(result))
    elif not common.quiet:
        _show(result, stat, everything or not sys.stdout.isatty())
    for path, why in result.unreadable:
        warn(f"{name(path)}: {why}")
    if exit_code and (result.comparison.differences or result.comparison.unread):
        raise SystemExit(1)


def _show(result: DiffResult, stat: bool, everything: bool) -> None:
    comparison = result.comparison
    if not comparison.differences and not comparison.unread:
        say("no differences")
        return
    shown = comparison.differences if everything else comparison.differences[:_LISTED]
    for item in () if stat else shown:
        say(_line(item), colour=_COLOURS[item.what])
    if not stat and len(shown) < len(comparison.differences):
        say(f"… and {len(comparison.differences) - len(shown):,} more (--all lists them)")
    for unread in comparison.unread:
        side = "the first side" if unread.side == "old" else "the second side"
        say(f"?  {name(unread.path)}/ differs; its listing on {side} is not in the cache")
    say(summary(comparison))
    if comparison.unread:
        note("bring missing listings: dvlite fetch --rev REV")


def summary(comparison: Comparison) -> str:
    """`3 added, 1 changed, 2.3 MiB -> 2.5 MiB` of all files that differ."""
    tallies = [
        f"{comparison.count(what):,} {what}"
        for what in ("added", "removed", "changed", "renamed")
        if any(item.what == what for item in comparison.differences)
    ]
    before = sum(item.old.size for item in comparison.differences if item.old is not None)
    after = sum(item.new.size for item in comparison.differences if item.new is not None)
    return f"{', '.join(tallies) or 'some folders differ'}: {size(before)} -> {size(after)}"


def _line(item: Difference) -> str:
    entry = item.new or item.old
    assert entry is not None
    shown = name(item.path) + (f"/ ({count(entry.files, 'file')})" if entry.kind == 3 else "")
    if item.old_path is not None:
        shown = f"{name(item.old_path)} -> {shown}"
    if item.old is not None and item.new is not None and item.old.size != item.new.size:
        return f"{_LETTERS[item.what]}  {shown}  {size(item.old.size)} -> {size(item.new.size)}"
    return f"{_LETTERS[item.what]}  {shown}  {size(entry.size)}"


def _to_json(result: DiffResult) -> dict[str, Any]:
    comparison = result.comparison
    return {
        "summary": {
            what: comparison.count(what) for what in ("added", "removed", "changed", "renamed")
        },
        "differences": [
            {
                "what": item.what,
                **json_path(item.path),
                **(json_path(item.old_path, "old_path") if item.old_path is not None else {}),
                "old_size": item.old.size if item.old is not None else None,
                "size": item.new.size if item.new is not None else None,
                "old_oid": f"blake3:{item.old.oid.hex()}" if item.old is not None else None,
                "oid": f"blake3:{item.new.oid.hex()}" if item.new is not None else None,
                "folder": (item.new or item.old).kind == 3,  # type: ignore[union-attr]
            }
            for item in comparison.differences
        ],
        "not_compared": [{**json_path(one.path), "missing": one.side} for one in comparison.unread],
        "unreadable": [{**json_path(path), "reason": why} for path, why in result.unreadable],
    }
