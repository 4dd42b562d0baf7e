"""How imports from other tools are reported: the same for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvlite.cli.output import count, emit_json, json_path, name, note, plain, say, size, table, warn

if TYPE_CHECKING:
    from dvlite.ops.importing import ImportResult, Item

_NAMED = 20


def report(result: ImportResult, as_json: bool, quiet: bool, dry_run: bool) -> None:
    """Prints what was taken over; ends with an error when something was not.

    Raises:
        PartialError: naming how much.
    """
    if as_json:
        emit_json(_to_json(result, dry_run))
    elif not quiet:
        _show(result, dry_run)
    _fail_if_incomplete(result)


def _show(result: ImportResult, dry_run: bool) -> None:
    rows = [_row(item, dry_run) for item in result.items if item.state != "not taken"]
    table(rows, right=(2, 3))
    for item in result.items:
        for text in item.notes:
            note(f"{name(item.path)}: {plain(text)}")
    for remote in result.remotes:
        private = f" (in this clone only: {', '.join(remote.private)})" if remote.private else ""
        say(f"remote     {remote.name}  {plain(remote.url)}{private}")
    if result.history is not None:
        say(f"history    {_history(result, dry_run)}")
    for path in result.removed:
        say(f"removed    {name(path)}")
    if dry_run:
        note("nothing was done (dry run)")
    elif any(item.state == "taken" for item in result.items):
        note("everything is staged: git commit; then bring the data to a remote: dvlite push")


def _row(item: Item, dry_run: bool) -> tuple[str, str, str, str, str]:
    pointer = item.pointer
    if item.state == "in git":
        return "in git", name(item.path), "", "", ""
    word = "would take" if dry_run and item.state == "taken" else item.state
    files = count(pointer.files, "file") if pointer and pointer.kind == "tree" else ""
    come_from = f"from {', '.join(item.come_from)}" if item.come_from else ""
    return f"{word:<9}", name(item.path), files, size(pointer.size) if pointer else "", come_from


def _history(result: ImportResult, dry_run: bool) -> str:
    assert result.history is not None
    if dry_run:
        return f"{count(result.history.names, 'version')} in all commits"
    return f"{result.history.mapped:,} of {count(result.history.names, 'version')} mapped"


def _fail_if_incomplete(result: ImportResult) -> None:
    from dvlite.errors import PartialError

    for what, why in result.left:
        warn(f"{plain(what)}: {plain(why)}")
    missing = [(item.path, item.reason) for item in result.items if item.state == "not taken"]
    if result.history is not None:
        missing += result.history.missing
    for path, why in missing[:_NAMED]:
        warn(f"not taken: {name(path)}: {plain(why)}")
    if len(missing) > _NAMED:
        warn(f"not taken: and {len(missing) - _NAMED:,} more (--json lists them)")
    if not result.complete:
        raise PartialError(
            f"{count(len(missing), 'path')} could not be taken over",
            "bring the content where it is looked for, and run the command again: it goes on",
        )


def _to_json(result: ImportResult, dry_run: bool) -> dict[str, Any]:
    history = result.history
    return {
        "dry_run": dry_run,
        "items": [_item_json(item) for item in result.items],
        "remotes": [
            {"name": one.name, "url": one.url, "private": list(one.private)}
            for one in result.remotes
        ],
        "history": None
        if history is None
        else {
            "versions": history.names,
            "mapped": history.mapped,
            "missing": [{**json_path(path), "reason": why} for path, why in history.missing],
        },
        "left": [{"what": what, "reason": why} for what, why in result.left],
        "removed": [json_path(path) for path in result.removed],
    }


def _item_json(item: Item) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    pointer = item.pointer
    return {
        **json_path(item.path),
        **json_path(item.source, "source"),
        "state": item.state,
        "kind": pointer.kind if pointer else None,
        "oid": to_text(pointer.oid) if pointer else None,
        "size": pointer.size if pointer else None,
        "files": pointer.files if pointer else None,
        "from": list(item.come_from),
        "notes": list(item.notes),
        "reason": item.reason or None,
    }
