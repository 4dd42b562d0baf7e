"""`dvlite add`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size, warn

if TYPE_CHECKING:
    from dvlite.ops.add import Added, AddResult

_NOTED = 5


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
@click.option("-u", "--update", is_flag=True, help="Only what is tracked already and changed.")
@click.option("-f", "--force", is_flag=True, help="The workspace wins over a pointer that moved.")
@dry_run_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    update: bool,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Track files and folders, or take up what changed in them.

    The content goes to the cache, PATH.dvl is written and staged in git, and git ignores PATH
    itself. On a tracked path, or inside a tracked folder, only what changed is taken up.

    \b
    Examples:
      dvlite add images model.pt     track a folder and a file
      dvlite add images/new.png      take up one file of a tracked folder
      dvlite add -u                  take up everything tracked that changed
    """
    from dvlite.errors import UsageError
    from dvlite.ops.add import AddRequest, add

    if not paths and not update:
        raise UsageError("nothing to add", "name paths: dvlite add PATH; or what is tracked: -u")
    project = common.project()
    request = AddRequest(common.paths(project, paths), update, force, dry_run)
    with showing(common.quiet) as progress:
        result = add(project, request, progress)
    if as_json:
        emit_json({"items": [_to_json(item) for item in result.items], "dry_run": dry_run})
    elif not common.quiet:
        _show(result, dry_run)
    if not dry_run and project.config.text("cache.max_size") is not None:
        from dvlite.cli.cachetrim import keep_to_limit  # only who has a limit pays for it

        keep_to_limit(common, project)


def _show(result: AddResult, dry_run: bool) -> None:
    for item in result.items:
        say(_line(item))
        for path, why in item.noted[:_NOTED]:
            warn(f"{name(item.path)}/{name(path)}: {why}")
        if len(item.noted) > _NOTED:
            warn(f"and {len(item.noted) - _NOTED:,} more of these in {name(item.path)}")
    if not result.items:
        say("nothing tracked has changed")
    elif dry_run:
        note("nothing was done (dry run)")
    elif any(item.what in ("new", "updated", "merged") for item in result.items):
        note("the pointers are staged: git commit")


def _line(item: Added) -> str:
    now = f"{count(item.pointer.files, 'file')}, {size(item.pointer.size)}"
    shown = name(item.path)
    if item.what == "new":
        return f"tracked    {shown}  {now}"
    if item.what == "unchanged":
        return f"unchanged  {shown}"
    if item.what == "behind":
        return f"unchanged  {shown}  (its pointer has news: dvlite checkout)"
    assert item.before is not None
    was = f"{count(item.before.files, 'file')}, {size(item.before.size)}"
    return f"{item.what:<9}  {shown}  {was} -> {now}"


def _to_json(item: Added) -> dict[str, Any]:
    from dvlite.storage.oid import to_text

    return {
        **json_path(item.path),
        "what": item.what,
        "kind": item.pointer.kind,
        "oid": to_text(item.pointer.oid),
        "size": item.pointer.size,
        "files": item.pointer.files,
        "before": to_text(item.before.oid) if item.before is not None else None,
        "left_out": [{**json_path(path), "reason": why} for path, why in item.noted],
    }
