"""`dvlite log`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option, paths_argument
from dvlite.cli.output import count, emit_json, json_path, name, plain, say, size

if TYPE_CHECKING:
    from dvlite.ops.log import LogEntry, PathChange
    from dvlite.workspace.pointer import Pointer

_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "unreadable": "red"}


@click.command()
@paths_argument
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="At most so many commits.",
)
@click.option("--rev", "revision", default="HEAD", metavar="REV", help="Begin at REV, not HEAD.")
@json_option
@common
def command(
    common: Common, paths: tuple[str, ...], limit: int, revision: str, as_json: bool
) -> None:
    """Show the commits that changed data.

    Each with the tracked paths it changed and how; for folders also how many files, where the
    cache has both listings. A merge shows only what it changed itself.

    \b
    Examples:
      dvlite log
      dvlite log -n 5 images
      dvlite log --rev v1.0
    """
    from dvlite.ops.log import LogRequest, log

    project = common.project()
    entries = log(project, LogRequest(revision, common.paths(project, paths), limit))
    if as_json:
        emit_json([_to_json(entry) for entry in entries])
        return
    for at, entry in enumerate(entries):
        commit = entry.commit
        if at:
            say()
        say(f"{commit.short}  {commit.date[:10]}  {plain(commit.author)}", colour="yellow")
        say(f"  {plain(commit.subject)}")
        for change in entry.changes:
            say(f"  {_line(change)}", colour=_COLOURS[change.what])
    if not entries and not common.quiet:
        say("no commit has changed data")


def _line(change: PathChange) -> str:
    shown = f"{change.what:<8} {name(change.path)}"
    if change.what == "unreadable":
        return f"{shown}  {change.reason}"
    if change.old is not None and change.new is not None:
        inside = f" ({_inside(change)})" if change.files is not None else ""
        return f"{shown}  {_what(change.old)} -> {_what(change.new)}{inside}"
    known = change.new or change.old
    assert known is not None
    return f"{shown}  {_what(known)}"


def _inside(change: PathChange) -> str:
    assert change.files is not None
    found = [
        f"{change.files.count(what):,} {what}"
        for what in ("added", "removed", "changed", "renamed")
        if change.files.count(what)
    ]
    return ", ".join(found) or "only folders"


def _what(pointer: Pointer) -> str:
    files = f"{count(pointer.files, 'file')}, " if pointer.kind == "tree" else ""
    return f"{files}{size(pointer.size)}"


def _to_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "commit": entry.commit.hash,
        "author": entry.commit.author,
        "date": entry.commit.date,
        "subject": entry.commit.subject,
        "changes": [
            {
                **json_path(change.path),
                "what": change.what,
                "old": _pointer_json(change.old),
                "new": _pointer_json(change.new),
                "inside": {
                    what: change.files.count(what)
                    for what in ("added", "removed", "changed", "renamed")
                }
                if change.files is not None
                else None,
                "reason": change.reason or None,
            }
            for change in entry.changes
        ],
    }


def _pointer_json(pointer: Pointer | None) -> dict[str, Any] | None:
    if pointer is None:
        return None
    return {
        "kind": pointer.kind,
        "oid": f"blake3:{pointer.oid.hex()}",
        "size": pointer.size,
        "files": pointer.files,
    }
