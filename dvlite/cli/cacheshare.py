"""`dvlite cache share` and `dvlite cache link`: one cache for several users."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size, warn
from dvlite.errors import UsageError

if TYPE_CHECKING:
    from dvlite.ops.cacheshare import ShareResult

_NAMED = 5


@click.command("share")
@click.option("--group", metavar="NAME", help="Whose users (default: the group of its folder).")
@dry_run_option
@json_option
@common
def share_command(common: Common, group: str | None, dry_run: bool, as_json: bool) -> None:
    """Let the users of a group share the cache.

    Its folders get the group, which may add to them; its files can be read by the group, and
    objects stay read-only. From then on everything that dvlite writes there has the group's rights,
    whatever the umask: the mode of the cache's own folder says so, to everybody who uses it.

    \b
    Examples:
      dvlite cache move /srv/dvlite-cache && dvlite cache share --group data
      dvlite cache share --dry-run
    """
    from dvlite.ops.cacheshare import share

    result = share(common.project(), group, dry_run)
    if as_json:
        emit_json(_share_json(result, dry_run))
    elif not common.quiet:
        what = "would be" if dry_run else "is"
        say(f"{name(result.folder)} {what} shared by the group {result.group}")
        verb = "would get" if dry_run else "got"
        say(f"{count(result.changed, 'file and folder', 'files and folders')} {verb} its rights")
    if result.others:
        shown = ", ".join(map(name, result.others[:_NAMED]))
        warn(f"{count(len(result.others), 'file')} belong to other users: {shown}")
        note("each of them has to run the same, or an administrator")
    for folder in result.closed:
        warn(f"the group cannot enter {name(folder)}: chmod +x {name(folder)}")


def _share_json(result: ShareResult, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        **json_path(result.folder),
        "group": result.group,
        "looked_at": result.looked,
        "changed": result.changed,
        "of_other_users": [json_path(path) for path in result.others],
        "closed": [json_path(path) for path in result.closed],
    }


@click.command("link")
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path())
@click.option("--remove", is_flag=True, help="Read from it no more.")
@click.option("--copy", is_flag=True, help="With --remove: first copy from it what is needed.")
@dry_run_option
@json_option
@common
def link_command(
    common: Common, folder: str | None, remove: bool, copy: bool, dry_run: bool, as_json: bool
) -> None:
    """Read from another cache too, such as a team's on a read-only mount.

    What this cache lacks is looked for there before any remote is asked, and is not copied:
    checkouts copy or link from there. It is never written to, and counts for no safe copy. When it
    is not there, commands warn and go on without it. Without DIR: the sources are listed.

    \b
    Examples:
      dvlite cache link /mnt/team/dvlite-cache
      dvlite cache link --remove /mnt/team/dvlite-cache --copy
    """
    if folder is None:
        if remove or copy:
            raise UsageError("which one?", "dvlite cache link --remove DIR")
        _list(common, as_json)
        return
    if copy and not remove:
        raise UsageError("--copy goes with --remove", "to read from a cache nothing is copied")
    chosen = os.path.abspath(common.resolve(folder))
    if remove:
        _remove(common, chosen, (copy, dry_run, as_json))
    else:
        _link(common, chosen, dry_run, as_json)


def _list(common: Common, as_json: bool) -> None:
    from dvlite.cli.cache import source_json, source_line
    from dvlite.ops.cacheshow import source_state

    states = [source_state(one) for one in common.project().cache_sources()]
    if as_json:
        emit_json({"sources": [source_json(one) for one in states]})
        return
    for one in states:
        say(source_line(one))
    if not states and not common.quiet:
        note("no second sources: dvlite cache link DIR")


def _link(common: Common, folder: str, dry_run: bool, as_json: bool) -> None:
    from dvlite.cli.cache import source_json, source_line
    from dvlite.ops.cachelink import link

    state = link(common.project(), folder, dry_run)
    if as_json:
        emit_json({"dry_run": dry_run, "sources": [source_json(state)]})
    elif not common.quiet:
        say(("would read" if dry_run else "reading") + f" from {source_line(state)}")


def _remove(common: Common, folder: str, how: tuple[bool, bool, bool]) -> None:
    from dvlite.ops.cachelink import unlink

    copy, dry_run, as_json = how
    with showing(common.quiet) as progress:
        result = unlink(common.project(), folder, copy, dry_run, progress)
    if as_json:
        emit_json(
            {
                "dry_run": dry_run,
                **json_path(result.folder, "removed"),
                "objects": result.objects,
                "size": result.size,
                "links": result.links,
            }
        )
    elif not common.quiet:
        if copy:
            verb = "would copy" if dry_run else "copied"
            say(f"{verb} {count(result.objects, 'object')}, {size(result.size)}")
        say(f"{name(folder)} " + ("would be" if dry_run else "is") + " no second source any more")
