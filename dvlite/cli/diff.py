"""`dvlite diff`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, json_path, name, say, showing, size, warn

if TYPE_CHECKING:
    from dvlite.ops.diff import DiffResult
    from dvlite.storage.treediff import Comparison, Difference

_LETTERS = {"added": "A", "removed": "D", "changed": "M", "renamed": "R"}
COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "renamed": "cyan"}
# More would push the summary's beginning off any terminal.
_LISTED = 100
_AFTER = "dvlite.words_after_dashes"


class _Command(click.Command):
    """Remembers how many words stand behind `--`: they are paths, whatever they look like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        ctx.meta[_AFTER] = len(args) - args.index("--") - 1 if "--" in args else None
        return super().parse_args(ctx, args)


@click.command(cls=_Command)
@click.argument("words", nargs=-1, metavar="[A [B]] [--] [PATH]...")
@click.option("--stat", is_flag=True, help="Only the totals.")
@click.option("-n", "--limit", type=click.IntRange(0), metavar="N", help="List at most N.")
@click.option("--all", "everything", is_flag=True, help="List all files, however many.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there are differences.")
@json_option
@common
def command(
    common: Common,
    words: tuple[str, ...],
    stat: bool,
    limit: int | None,
    everything: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Show which files differ between revisions or the workspace.

    Without a revision: what dvlite add would take up. With one: from it to the workspace. With
    two: from the first to the second. Files with the same content under another name are
    renamed. Revisions come before paths; -- separates them where a word could be both. On a
    terminal the list ends after 100 files.

    \b
    Examples:
      dvlite diff
      dvlite diff HEAD~1
      dvlite diff v1.0 v2.0 images/train
    """
    from dvlite.ops.diff import diff, split_words

    project = common.project()
    after = click.get_current_context().meta[_AFTER]
    before = words if after is None else words[: len(words) - after]
    behind = None if after is None else words[len(words) - after :]
    request = split_words(project, before, behind, common.directory)
    with showing(common.quiet) as progress:
        result = diff(project, request, progress)
    if as_json:
        emit_json(_to_json(result))
    elif not common.quiet:
        _show(result, request.revisions, 0 if stat else _most(limit, everything))
    for path, why in result.unreadable:
        warn(f"{name(path)}: {why}")
    found = result.comparison
    if exit_code and (found.differences or found.unread or result.unreadable):
        raise SystemExit(1)


def _most(limit: int | None, everything: bool) -> int | None:
    """How many files to list; None: all."""
    if everything or (limit is None and not sys.stdout.isatty()):
        return None
    return _LISTED if limit is None else limit


def _show(result: DiffResult, revisions: tuple[str, ...], most: int | None) -> None:
    """Lists at most so many files. None are a choice, fewer than there are is said."""
    comparison = result.comparison
    if not comparison.differences and not comparison.unread:
        if not result.unreadable:
            say("no differences")
        return
    for item in comparison.differences[:most]:
        say(line(item), colour=COLOURS[item.what])
    left = len(comparison.differences) - most if most else 0
    if left > 0:
        say(f"… and {left:,} more (--all lists them)")
    for unread in comparison.unread:
        say(f"?  {name(unread.path)}/ differs, but {_unread(unread.side, revisions)}")
    say(summary(comparison))


def _unread(side: str, revisions: tuple[str, ...]) -> str:
    """Where a listing is missing, and what brings it."""
    at = 0 if side == "old" else 1
    if at < len(revisions):
        rev = revisions[at]
        return f"its listing at {rev} is not in the cache (dvlite fetch --rev {rev})"
    return "its listing is not in the cache (dvlite fetch)"


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


def line(item: Difference) -> str:
    """`M  images/a.png  1.2 KiB -> 1.3 KiB`."""
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
