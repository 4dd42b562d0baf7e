"""`dvlite cache`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.cachemove import command as move_command
from dvlite.cli.cacheshare import link_command, share_command
from dvlite.cli.cachetrim import command as trim_command
from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, json_path, name, say, size, warn

if TYPE_CHECKING:
    from dvlite.ops.cacheshow import CacheState, SourceState


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show, move, share and limit the cache, and read from others.

    The cache is this machine's store of data, inside of .git unless the setting cache.dir (or
    DVLITE_CACHE_DIR) names another folder.

    \b
    Examples:
      dvlite cache
      dvlite cache move /mnt/big/dvlite-cache
      dvlite cache link /mnt/team/dvlite-cache
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(show_command)


@command.command("show")
@json_option
@common
def show_command(common: Common, as_json: bool) -> None:
    """Show where the cache is, what it holds, and who uses it.

    \b
    Examples:
      dvlite cache show --json
    """
    from dvlite.ops.cacheshow import show

    state = show(common.project())
    if as_json:
        emit_json(_to_json(state))
        return
    say(name(state.folder))
    limit = f" of {size(state.limit)} (cache.max_size)" if state.limit is not None else ""
    say(f"  {size(state.size)}{limit}, {size(state.free)} free on its disk")
    say(
        f"  {count(state.objects, 'object')} in files of their own, "
        f"{count(state.packed, 'object')} in {count(state.packs, 'pack')}"
    )
    if state.group is not None:
        say(f"  shared by the group {state.group}")
    for top in state.users:
        say(f"  used by {name(top)}")
    for source in state.sources:
        say(f"second source {source_line(source)}")
    for path in state.unreadable_users:
        warn(f"{name(path)} does not say which repository uses the cache")
    if state.moving is not None:
        warn(f"a move was interrupted; go on: dvlite cache move {name(state.moving)}")


command.add_command(move_command)
command.add_command(share_command)
command.add_command(link_command)
command.add_command(trim_command)


def source_line(source: SourceState) -> str:
    """A second source in words."""
    if source.problem is not None:
        return f"{name(source.folder)}: {source.problem}"
    objects = count(source.objects, "object")
    return f"{name(source.folder)}: {objects} in files of their own, {count(source.packs, 'pack')}"


def source_json(source: SourceState) -> dict[str, Any]:
    """A second source for --json."""
    return {
        **json_path(source.folder),
        "objects": source.objects,
        "packs": source.packs,
        "problem": source.problem,
    }


def _to_json(state: CacheState) -> dict[str, Any]:
    return {
        **json_path(state.folder),
        "objects": state.objects,
        "packs": state.packs,
        "packed": state.packed,
        "size": state.size,
        "free": state.free,
        "limit": state.limit,
        "group": state.group,
        "users": [json_path(top) for top in state.users],
        "unreadable_users": [json_path(path) for path in state.unreadable_users],
        "sources": [source_json(one) for one in state.sources],
        "moving": state.moving,
    }
