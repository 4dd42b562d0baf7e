"""`dvlite status`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option, paths_argument
from dvlite.cli.output import count, emit_json, json_path, name, say, size, transferring

if TYPE_CHECKING:
    from dvlite.ops.status import PathStatus, Status
    from dvlite.storage.treediff import Difference

_LISTED = 20
_LETTERS = {"added": "new", "removed": "deleted", "changed": "modified", "renamed": "renamed"}
_COLOURS = {"added": "green", "removed": "red", "changed": "yellow", "renamed": "cyan"}


@click.command()
@paths_argument
@click.option("--remote", "ask_remote", is_flag=True, help="Ask the remote what is not pushed.")
@click.option("-r", "--remote-name", "remote", metavar="NAME", help="Which remote to ask.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 when anything differs.")
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    ask_remote: bool,
    remote: str | None,
    exit_code: bool,
    as_json: bool,
) -> None:
    """Show what changed, and what is missing or not pushed.

    Compares the workspace's files with the pointers. What is not pushed is as of the last
    contact with the remote; --remote asks it now.

    \b
    Examples:
      dvlite status
      dvlite status --remote
      dvlite status --exit-code -q     for scripts: 0 clean, 1 not
    """
    from dvlite.ops.status import StatusRequest, status

    project = common.project()
    request = StatusRequest(common.paths(project, paths), ask_remote or bool(remote), remote)
    with transferring(common.quiet, common.verbose) as progress:
        result = status(project, request, progress)
    if as_json:
        emit_json(_to_json(result))
    elif not common.quiet:
        _show(result, common.verbose)
    if exit_code and (not result.is_clean or (result.asked and result.unpushed)):
        raise SystemExit(1)


def _show(result: Status, everything: bool) -> None:
    for one in result.paths:
        _show_path(one, everything)
    if not result.paths:
        say("nothing is tracked yet: dvlite add PATH")
    elif result.is_clean:
        files = sum(one.pointer.files for one in result.paths if one.pointer is not None)
        bytes_ = sum(one.pointer.size for one in result.paths if one.pointer is not None)
        tracked = count(len(result.paths), "tracked path")
        say(f"clean: {tracked}, {count(files, 'file')}, {size(bytes_)}")
    _show_unpushed(result)


def _show_path(one: PathStatus, everything: bool) -> None:
    shown = name(one.path)
    lines = {
        "absent": f"{shown}: not in the workspace (dvlite {_bring(one)})",
        "behind": f"{shown}: its pointer has news (dvlite {_bring(one)})",
        "gone": f"{shown}: its pointer is gone (dvlite checkout removes the data if unchanged)",
        "unreadable": f"{shown}: {one.reason}",
    }
    if one.state in lines:
        say(lines[one.state], colour="red" if one.state == "unreadable" else "yellow")
    if one.comparison is not None:
        _show_changes(one, everything)
    for path, why in one.failed:
        say(f"  unreadable  {name(path)}  {why}", colour="red")
    if one.missing_files and one.state != "absent":
        missing = f"{count(one.missing_files, 'file')}, {size(one.missing_bytes)}"
        say(f"{shown}: {missing} not in the cache (dvlite fetch)", colour="yellow")
    if not one.ignored:
        say(f"{shown}: git does not ignore it (dvlite add {shown})", colour="yellow")


def _show_changes(one: PathStatus, everything: bool) -> None:
    assert one.comparison is not None
    from dvlite.ops.looking import entry_of

    differences = one.comparison.differences
    whole = one.pointer is not None and one.pointer.kind == "file"
    tallies = [
        f"{one.comparison.count(what):,} {word}"  # type: ignore[arg-type]
        for what, word in _LETTERS.items()
        if any(item.what == what for item in differences)
    ]
    moved = "; its pointer has news too: dvlite add merges" if one.pointer_moved else ""
    say(f"{name(one.path)}: {', '.join(tallies) or 'changed'} (dvlite add){moved}")
    if whole and one.pointer is not None and entry_of(one.pointer).files == 1 and not moved:
        return
    listed = differences if everything else differences[:_LISTED]
    for item in listed:
        say(_line(item), colour=_COLOURS[item.what])
    if len(differences) > len(listed):
        say(f"  … and {len(differences) - len(listed):,} more (dvlite status -v)")
    for unread in one.comparison.unread:
        say(f"  {name(unread.path)}/ differs; its listing is not in the cache (dvlite fetch)")


def _line(item: Difference) -> str:
    entry = item.new or item.old
    assert entry is not None
    folder = "/" if entry.kind == 3 else ""
    was = f"{name(item.old_path)} -> " if item.old_path is not None else ""
    return f"  {_LETTERS[item.what]:<8}  {was}{name(item.path)}{folder}"


def _bring(one: PathStatus) -> str:
    return "pull" if one.missing_files else "checkout"


def _show_unpushed(result: Status) -> None:
    if result.unpushed is None or result.remote is None:
        return
    when = ""
    if not result.asked and result.contact is not None:
        moment = time.localtime(result.contact.time_s)
        when = f" at the last contact ({time.strftime('%Y-%m-%d %H:%M', moment)})"
    if result.unpushed:
        listed = ", ".join(name(label) for label in result.unpushed[:_LISTED])
        more = len(result.unpushed) - _LISTED
        say(
            f"not on {result.remote}{when}: {listed}"
            + (f" and {more:,} more" if more > 0 else "")
            + " (dvlite push)"
        )
    elif result.asked:
        say(f"everything is on {result.remote}")


def _to_json(result: Status) -> dict[str, Any]:
    return {
        "clean": result.is_clean,
        "paths": [_path_json(one) for one in result.paths],
        "remote": {
            "name": result.remote,
            "asked": result.asked,
            "time": result.contact.time_s if result.contact is not None else None,
            "not_pushed": result.unpushed,
        }
        if result.remote is not None
        else None,
    }


def _path_json(one: PathStatus) -> dict[str, Any]:
    changes = one.comparison.differences if one.comparison is not None else ()
    return {
        **json_path(one.path),
        "state": one.state,
        "reason": one.reason or None,
        "pointer_moved": one.pointer_moved,
        "missing_files": one.missing_files,
        "missing_bytes": one.missing_bytes,
        "ignored_by_git": one.ignored,
        "changes": [
            {
                "what": item.what,
                **json_path(item.path),
                **(json_path(item.old_path, "old_path") if item.old_path is not None else {}),
                "old_size": item.old.size if item.old is not None else None,
                "size": item.new.size if item.new is not None else None,
            }
            for item in changes
        ],
        "unreadable": [{**json_path(path), "reason": why} for path, why in one.failed],
    }
