"""`dvlite fsck`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, jobs_of, jobs_option, json_option, paths_argument
from dvlite.cli.output import (
    count,
    emit_json,
    json_path,
    name,
    note,
    plain,
    say,
    size,
    transferring,
    warn,
)
from dvlite.errors import UsageError

if TYPE_CHECKING:
    from dvlite.ops.fsck import FsckResult
    from dvlite.ops.mending import Concern

# More paths than this are a number; --json has all.
_SHOWN = 50


@click.command()
@paths_argument
@click.option("--remote", "ask_remote", is_flag=True, help="Check the remote too.")
@click.option("-r", "--remote-name", "remote", metavar="NAME", help="Which remote to check.")
@click.option("--repair", is_flag=True, help="Mend what is damaged.")
@click.option(
    "--from",
    "sources",
    multiple=True,
    metavar="DIR",
    help="Mend from this cache or clone too; repeatable.",
)
@jobs_option
@json_option
@common
def command(
    common: Common,
    paths: tuple[str, ...],
    ask_remote: bool,
    remote: str | None,
    repair: bool,
    sources: tuple[str, ...],
    jobs: int | None,
    as_json: bool,
) -> None:
    """Check that all data is there and undamaged, and mend it.

    Reads every byte of the cache, and looks that what every commit, branch, stash and work tree
    names is in the cache or on a remote. --repair sets what is damaged aside and takes it from
    other caches, the workspace or the remotes. Exits with 1 when damage remains. (dvlite doctor
    examines the set-up, dvlite remote check a remote.)

    \b
    Examples:
      dvlite fsck
      dvlite fsck images
      dvlite fsck --repair --from ../other-clone
      dvlite fsck --remote
    """
    from dvlite.ops.fsck import FsckRequest, fsck

    if sources and not repair:
        raise UsageError("--from is about mending", "add --repair")
    project = common.project()
    request = FsckRequest(
        common.paths(project, paths),
        ask_remote or bool(remote),
        remote,
        repair,
        tuple(common.resolve(one) for one in sources),
        jobs_of(project, jobs),
    )
    with transferring(common.quiet, common.verbose) as progress:
        result = fsck(project, request, progress)
    if as_json:
        emit_json(_to_json(result))
    else:
        _show(result, repair, common.quiet)
    if not result.clean:
        raise SystemExit(1)


def _show(result: FsckResult, repair: bool, quiet: bool) -> None:
    for one in result.findings:
        text = f"{one.what} {name(one.name)}: {plain(one.text)}"
        if one.mended and not quiet:
            say(f"mended   {text}")
        elif one.damage:
            say(f"damaged  {text}", colour="red")
        elif not quiet:
            say(f"note     {text}")
    for concern in result.concerns[:_SHOWN]:
        say(f"lost     {_path(concern)}  ({_where(concern)})", colour="red")
    if len(result.concerns) > _SHOWN:
        say(f"  and {len(result.concerns) - _SHOWN:,} more: --json lists all")
    if result.unknown:
        warn(f"{count(len(result.unknown), 'object')} not here, and not all remotes answered")
    for remote, why in result.asked:
        if why:
            warn(f"the remote {remote} could not be asked: {plain(why)}")
    if quiet:
        return
    elsewhere = result.only_remote
    note(
        f"{count(result.objects, 'object')}, {size(result.size)} verified; "
        f"{count(result.pointers, 'version')} named"
        + (f"; {count(elsewhere, 'object')} on a remote only" if elsewhere else "")
        + ("; older history is not here (a shallow clone)" if result.shallow else "")
    )
    if result.remote is not None:
        state = "undamaged" if result.remote.clean else "damaged: see dvlite remote check"
        say(f"the remote {result.remote.remote} is {state}")
    if result.clean and not result.unknown:
        say("all is well" + (" now" if result.mended else ""), colour="green")
    elif not repair:
        note("hint: dvlite fsck --repair, with --from DIR from another cache or clone too")


def _path(concern: Concern) -> str:
    inside = os.fsdecode(concern.inside)
    return name(f"{concern.use.path}/{inside}" if inside else concern.use.path)


def _where(concern: Concern) -> str:
    use = concern.use
    shown = ", ".join(commit[:8] for commit in use.commits[:3])
    return shown + (" and more" if len(use.commits) > 3 else "") if shown else f"the {use.where}"


def _to_json(result: FsckResult) -> dict[str, Any]:
    return {
        "clean": result.clean,
        "objects": result.objects,
        "size": result.size,
        "versions": result.pointers,
        "only_remote": result.only_remote,
        "unknown": len(result.unknown),
        "shallow": result.shallow,
        "findings": [
            {
                "what": one.what,
                **json_path(one.name, "name"),
                "text": one.text,
                "damage": one.damage,
                "mended": one.mended,
            }
            for one in result.findings
        ],
        "lost": [
            {
                **json_path(one.use.path, "pointer"),
                **json_path(one.inside),
                "oid": f"blake3:{one.oid.hex()}",
                "named_by": one.use.where,
                "commits": list(one.use.commits),
            }
            for one in result.concerns
        ],
        "mended": result.mended,
        "remotes": [{"name": remote, "problem": why or None} for remote, why in result.asked],
        "remote": None
        if result.remote is None
        else {"name": result.remote.remote, "clean": result.remote.clean},
    }
