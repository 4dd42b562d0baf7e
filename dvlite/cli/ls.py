"""`dvlite ls`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, size, table, warn

if TYPE_CHECKING:
    from dvlite.ops.ls import Listed, Listing, LsResult, Target
    from dvlite.project import Project

# As `ls -F` marks them; indexed by the kind of entry: file, exec, link, tree.
_MARKS = ("", "*", "@", "/")
_KINDS = ("file", "exec", "link", "tree")


@click.command()
@click.argument("words", nargs=-1, type=click.Path(), metavar="[[REV:]PATH]...")
@click.option("--rev", "revision", metavar="REV", help="At a revision: all PATHs are paths in it.")
@click.option("-R", "--recursive", is_flag=True, help="All files below, not one level.")
@json_option
@common
def command(
    common: Common, words: tuple[str, ...], revision: str | None, recursive: bool, as_json: bool
) -> None:
    """List tracked files at a revision.

    Without a path: what is tracked. With one: what is in it, with sizes. Without a revision: as
    the workspace's pointers say. Only listings are read, so the data itself may be elsewhere.
    Marks: / folder, * executable, @ link.

    \b
    Examples:
      dvlite ls
      dvlite ls images/train
      dvlite ls v1.0:images
      dvlite ls -R --rev HEAD~3 images
    """
    from dvlite.ops.ls import ls

    project = common.project()
    result = ls(project, _targets(common, project, words, revision), recursive)
    if as_json:
        emit_json(_to_json(result))
    else:
        _show(result, common.quiet)
    for path, why in result.unreadable:
        warn(f"{name(path)}: {why}")


def _targets(
    common: Common, project: Project, words: tuple[str, ...], revision: str | None
) -> list[Target]:
    from dvlite.errors import MissingError
    from dvlite.ops.ls import Target, parse_target

    if revision == "":
        raise MissingError("git knows no commit with an empty name", "--rev REV")
    if not words:
        return [Target("", revision or "")]
    if revision is not None:
        return [Target(path, revision) for path in common.paths(project, words)]
    return [parse_target(project, word, common.directory) for word in words]


def _show(result: LsResult, quiet: bool) -> None:
    for at, listing in enumerate(result.listings):
        if len(result.listings) > 1:
            say(("\n" if at else "") + _label(listing) + ":")
        table([_row(listing, item) for item in listing.items], right=(0, 1))
        if not listing.items:
            where = f" at {listing.target.revision}" if listing.target.revision else ""
            empty = f"{name(listing.target.path)} is an empty folder"
            nothing = f"nothing is tracked{where}"
            note(empty if listing.target.path else nothing, quiet=quiet)


def _label(listing: Listing) -> str:
    path = name(listing.target.path or ".")
    return f"{listing.target.revision}:{path}" if listing.target.revision else path


def _row(listing: Listing, item: Listed) -> tuple[str, str, str]:
    entry = item.entry
    shown = os.path.relpath(item.path, os.fsencode(listing.folder or "."))
    files = count(entry.files, "file") if entry.kind == 3 else ""
    return size(entry.size), files, name(shown) + _MARKS[entry.kind]


def _to_json(result: LsResult) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    return {
        "listings": [
            {
                **json_path(listing.target.path),
                "revision": listing.target.revision or None,
                "entries": [
                    {
                        **json_path(item.path),
                        "kind": _KINDS[item.entry.kind],
                        "size": item.entry.size,
                        "files": item.entry.files,
                        "oid": to_text(item.entry.oid),
                    }
                    for item in listing.items
                ],
            }
            for listing in result.listings
        ],
        "unreadable": [{**json_path(path), "reason": why} for path, why in result.unreadable],
    }
