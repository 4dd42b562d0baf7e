"""`dvlite cache trim`, and keeping to the size limit after other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, note, plain, say, showing, size, warn
from dvlite.errors import DvliteError, UsageError

if TYPE_CHECKING:
    from dvlite.ops.cachetrim import TrimPlan
    from dvlite.ops.gc import Amount
    from dvlite.project import Project
    from dvlite.workspace.pointer import Pointer


@click.command("trim")
@click.option(
    "--max-size",
    metavar="SIZE",
    help="How large the cache may be: 500M, 200G (default: the setting cache.max_size).",
)
@dry_run_option
@json_option
@common
def command(common: Common, max_size: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove what was not used for longest, until the cache is small enough.

    Only what a remote says that it has, asked now, so that it can be fetched again: without a
    remote that answers, and has all the packs that it should have, nothing goes. What was used in
    the last two hours stays, and so do the listings of folders that anything names, and what files
    of work trees are links to. After add, push, fetch and pull this happens by itself where
    cache.max_size is set and exceeded.

    \b
    Examples:
      dvlite cache trim --max-size 200G --dry-run
      dvlite config --local cache.max_size 200G && dvlite cache trim
    """
    from dvlite.ops.cachetrim import TrimRequest, execute, plan
    from dvlite.workspace.config import KEYS

    project = common.project()
    limit = project.config.get("cache.max_size")
    if max_size is not None:
        limit = KEYS["cache.max_size"].read("--max-size", max_size)
    if limit is None:
        raise UsageError(
            "nothing says how large the cache may be",
            "--max-size SIZE; or for good: dvlite config --local cache.max_size SIZE",
        )
    with showing(common.quiet) as progress:
        todo = plan(project, TrimRequest(int(limit)), progress)
    if not as_json and not common.quiet:
        _show(todo)
    freed = later = 0
    if not dry_run and not todo.is_empty:
        with showing(common.quiet) as progress:
            freed, later = execute(project, todo, progress)
    if as_json:
        emit_json(_to_json(todo, dry_run, freed, later))
    elif not common.quiet and freed + later:
        say(f"freed {size(freed)}" + (f", {size(later)} more in a day" if later else ""))
    elif not common.quiet and dry_run:
        note("nothing was done (dry run)")


def keep_to_limit(
    common: Common, project: Project, needs: Callable[[], Iterable[Pointer]] = tuple
) -> None:
    """Makes the cache smaller after a command, where the setting says so; a command does not fail
    for that. `needs`: what the command was about."""
    if project.config.text("cache.max_size") is None:
        return
    from dvlite.ops.cachetrim import trim_if_over

    try:
        with showing(common.quiet) as progress:
            done = trim_if_over(project, needs(), progress)
    except (DvliteError, OSError) as error:
        warn(f"the cache may be larger than cache.max_size: {error}")
        return
    if done is None:
        return
    if done.removed.objects and not common.quiet:
        note(f"cache.max_size: {count(done.removed.objects, 'object')} went from the cache")
    if done.over:
        warn(f"the cache is {size(done.over)} larger than cache.max_size; {_why(done)}")


def _why(done: TrimPlan) -> str:
    silent = [f"{name}: {plain(why)}" for name, why in done.asked if why]
    if silent:
        return "; ".join(silent)
    if done.unpushed.objects:
        return f"{size(done.unpushed.size)} of it is on no remote: dvlite push"
    return "the rest is in use"


def _show(todo: TrimPlan) -> None:
    say(f"the cache has {size(todo.size)}, and may have {size(todo.max_size)}")
    if todo.size <= todo.max_size:
        say("nothing to remove")
        return
    later = f", {size(todo.later)} of it after a day" if todo.later else ""
    say(
        f"{count(todo.removed.objects, 'object')} can be fetched again: "
        f"{size(todo.freed + todo.later)}{later}"
    )
    _kept("used in the last two hours", todo.young)
    _kept("old, but on no remote that could be asked", todo.unpushed)
    _kept("files of work trees are links to it", todo.linked)
    _kept("listings, and what others need", todo.needed)
    for remote, why in todo.asked:
        if why:
            note(f"the remote {remote} does not count: {plain(why)}")
    if todo.over:
        note(f"{size(todo.over)} too much stays: {_why(todo)}")


def _kept(why: str, amount: Amount) -> None:
    if amount.objects:
        say(f"kept: {count(amount.objects, 'object')}, {size(amount.size)}: {why}")


def _to_json(todo: TrimPlan, dry_run: bool, freed: int, later: int) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "size": todo.size,
        "max_size": todo.max_size,
        "removed": todo.removed._asdict(),
        "would_free": todo.freed,
        "would_free_later": todo.later,
        "freed": freed,
        "freed_later": later,
        "over": todo.over,
        "kept": {
            "young": todo.young._asdict(),
            "unpushed": todo.unpushed._asdict(),
            "linked": todo.linked._asdict(),
            "needed": todo.needed._asdict(),
        },
        "remotes": [{"name": remote, "problem": why or None} for remote, why in todo.asked],
    }
