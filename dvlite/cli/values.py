"""Tables of values: what `metrics` and `params` print.

Owns how a number is written (enough digits to tell values apart, no more), and the three forms:
aligned columns, Markdown, JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dvlite.cli.options import Common, fetch_options, json_option
from dvlite.cli.output import emit_json, json_path, name, say, table, warn

if TYPE_CHECKING:
    from dvlite.ops.values import Change, Found, Lost

F = TypeVar("F", bound=Callable[..., Any])
# Longer text would make the table useless; JSON has all of it.
_MOST = 60


def form_options(command: F) -> F:
    """Adds --precision, --md and --json."""
    for option in (
        json_option,
        click.option("--md", "as_markdown", is_flag=True, help="Print a table in Markdown."),
        click.option(
            "--precision",
            type=click.IntRange(1, 30),
            default=5,
            metavar="N",
            help="Digits behind the point; for small numbers, digits that count (default: 5).",
        ),
    ):
        command = option(command)
    return command


def diff_options(command: F) -> F:
    """Adds what `metrics diff` and `params diff` have in common."""
    command = form_options(fetch_options(command))
    for option in (
        click.option("--no-path", is_flag=True, help="Leave out the column with the files."),
        click.option("--all", "everything", is_flag=True, help="Also what did not change."),
        click.option(
            "--targets",
            multiple=True,
            type=click.Path(),
            metavar="PATH",
            help="A file to compare instead of what dvlite.yaml names; repeatable.",
        ),
        click.argument("new", required=False, metavar="[B]"),
        click.argument("old", required=False, metavar="[A]"),
    ):
        command = option(command)
    return command


def show_diff(
    common: Common, found: Found, changes: Sequence[Change], options: dict[str, Any]
) -> None:
    """Prints what `metrics diff` or `params diff` found."""
    old, new = found.views[0].name, found.views[-1].name
    if options["as_json"]:
        emit_json(
            {
                "old": old,
                "new": new,
                "changes": [_change_to_json(one) for one in changes],
                "lost": [lost_to_json(one) for one in found.lost],
            }
        )
        return
    digits = options["precision"]
    heads = ["Path", "Key", old, new, "Change"]
    rows = [
        [
            name(one.path),
            one.key,
            write(one.old, digits) if one.has_old else "-",
            write(one.new, digits) if one.has_new else "-",
            _signed(one.change, digits),
        ]
        for one in changes
    ]
    if options["no_path"]:
        heads, rows = heads[1:], [row[1:] for row in rows]
    tell_lost(found.lost)
    if rows:
        show_table([heads, *rows], options["as_markdown"], right=3)
    elif not common.quiet and not options["as_markdown"]:
        say("no differences")


def show_table(rows: list[list[str]], as_markdown: bool, right: int = 0) -> None:
    """Prints rows under a head; the last `right` columns are numbers."""
    wide = len(rows[0])
    if not as_markdown:
        table(rows, right=range(wide - right, wide))
        return
    line = ["---:" if at >= wide - right else "---" for at in range(wide)]
    for row in [[_in_markdown(cell) for cell in rows[0]], line] + [
        [_in_markdown(cell) for cell in row] for row in rows[1:]
    ]:
        say(f"| {' | '.join(row)} |")


def tell_lost(lost: Sequence[Lost]) -> None:
    """Warns of what could not be read."""
    for one in lost:
        warn(f"{one.revision}: {name(one.path)}: {one.why}")


def lost_to_json(lost: Lost) -> dict[str, str]:
    """The same for JSON."""
    return {"revision": lost.revision, **json_path(lost.path), "reason": lost.why}


def write(value: Any, digits: int) -> str:
    """A value as people read it."""
    if isinstance(value, float):
        return _number(value, digits)
    if isinstance(value, str):
        text = value if value.isprintable() and value else json.dumps(value, ensure_ascii=False)
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def plain(value: Any) -> Any:
    """A value for JSON, which has no infinite numbers: they become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _number(value: float, digits: int) -> str:
    if value == 0 or not math.isfinite(value):
        return str(value)
    power = math.floor(math.log10(abs(value)))
    if power < -5 or power > 15:
        return f"{value:.{digits}g}"
    text = f"{value:.{digits if power >= 0 else digits - power - 1}f}"
    text = text.rstrip("0")
    return text + "0" if text.endswith(".") else text


def _signed(change: float | None, digits: int) -> str:
    if change is None:
        return "-"
    text = write(change, digits)
    return text if text.startswith("-") or change == 0 else "+" + text


def _in_markdown(text: str) -> str:
    for char in "\\|`*_<>[]":
        text = text.replace(char, "\\" + char)
    return text


def _change_to_json(one: Change) -> dict[str, Any]:
    found: dict[str, Any] = {**json_path(one.path), "key": one.key}
    if one.has_old:
        found["old"] = plain(one.old)
    if one.has_new:
        found["new"] = plain(one.new)
    if one.change is not None:
        found["change"] = plain(one.change)
    return found
