"""`dvlite remote`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, note, say, size, table
from dvlite.cli.remotecheck import command as check_command
from dvlite.cli.remotecopy import command as copy_command
from dvlite.cli.remotepublish import command as publish_command

if TYPE_CHECKING:
    from dvlite.ops.remote import RemoteState


@click.group(invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Manage the places that data is pushed to.

    A remote is a folder, a bucket (s3://bucket/path, gs://, az://), a folder on a server that
    SSH reaches (sftp://host/path), or, to read from, any of these behind a web server
    (https://host/path). Its options are settings: dvlite config remote.NAME.OPTION VALUE.

    \b
    Examples:
      dvlite remote add store /mnt/team/store --default
      dvlite remote add cloud s3://bucket/project
      dvlite remote list
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_command)


@command.command("add")
@click.argument("name")
@click.argument("url")
@click.option("-d", "--default", is_flag=True, help="Use it when no remote is named.")
@click.option("--local", is_flag=True, help="For this clone only; nothing is committed.")
@click.option("-f", "--force", is_flag=True, help="Replace the remote of that name.")
@common
def add_command(
    common: Common, name: str, url: str, default: bool, local: bool, force: bool
) -> None:
    """Add a remote; the first one becomes the default.

    A relative folder counts from the folder you are in.

    \b
    Examples:
      dvlite remote add store /mnt/team/store --default
      dvlite remote add near ../store --local
    """
    from dvlite.ops.remote import add_remote, stored_url
    from dvlite.workspace.config import redact

    project = common.project()
    written = stored_url(project, url, common.directory)
    is_default = add_remote(project, name, written, default=default, local=local, force=force)
    if not common.quiet:
        say(f"added {name}: {redact(written)}" + (" (the default)" if is_default else ""))
        _note_staged(local)


@command.command("list")
@json_option
@common
def list_command(common: Common, as_json: bool) -> None:
    """List the remotes.

    \b
    Examples:
      dvlite remote list
    """
    from dvlite.ops.remote import describe_remote
    from dvlite.workspace.config import redact

    project = common.project()
    found = [describe_remote(project, name, ask=False) for name in project.config.remotes()]
    if as_json:
        emit_json([_to_json(one, asked=False) for one in found])
        return
    if not found and not common.quiet:
        note("no remotes yet: dvlite remote add NAME URL")
    table((one.name, redact(one.url), "default" if one.is_default else "") for one in found)


@command.command("show")
@click.argument("name", required=False)
@json_option
@common
def show_command(common: Common, name: str | None, as_json: bool) -> None:
    """Show a remote: its settings, whether it can be reached, what it holds.

    \b
    Examples:
      dvlite remote show store
    """
    from dvlite.ops.config import shown
    from dvlite.ops.remote import describe_remote
    from dvlite.ops.remotes import chosen_names
    from dvlite.workspace.config import redact

    project = common.project()
    chosen = chosen_names(project, [name] if name else [])[0]
    state = describe_remote(project, chosen, ask=True)
    if as_json:
        emit_json(_to_json(state, asked=True))
        return
    say(f"{state.name}: {redact(state.url)}" + (" (the default)" if state.is_default else ""))
    for option, text in state.options:
        say(f"  {option} = {shown(f'remote.{state.name}.{option}', text)}")
    if state.problem is not None:
        say(f"  cannot be used now: {state.problem}", colour="red")
    elif not state.made:
        say("  nothing was pushed to it yet")
    else:
        say(
            f"  {count(state.packs, 'pack')}, {size(state.stored_bytes)} stored, "
            f"{count(state.segments, 'index segment')}"
        )
    if state.last_contact_s is not None:
        moment = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.last_contact_s))
        say(f"  last contact: {moment}")


@command.command("rename")
@click.argument("old")
@click.argument("new")
@common
def rename_command(common: Common, old: str, new: str) -> None:
    """Rename a remote, with all its options.

    \b
    Examples:
      dvlite remote rename store archive
    """
    from dvlite.ops.remote import rename_remote

    committed = rename_remote(common.project(), old, new)
    if not common.quiet:
        say(f"renamed {old} to {new}")
        _note_staged(not committed)


@command.command("default")
@click.argument("name", required=False)
@click.option("--local", is_flag=True, help="For this clone only; nothing is committed.")
@common
def default_command(common: Common, name: str | None, local: bool) -> None:
    """Show or set the remote that is used when none is named.

    \b
    Examples:
      dvlite remote default archive
    """
    from dvlite.ops.remote import default_name, set_default

    project = common.project()
    if name is not None:
        set_default(project, name, local)
        if not common.quiet:
            say(f"the default is {name}")
            _note_staged(local)
        return
    current = default_name(project.config)
    if current is None:
        raise SystemExit(1)
    say(current)


@command.command("remove")
@click.argument("name")
@common
def remove_command(common: Common, name: str) -> None:
    """Forget a remote; what is stored there stays.

    \b
    Examples:
      dvlite remote remove archive
    """
    from dvlite.ops.remote import remove_remote

    committed = remove_remote(common.project(), name)
    if not common.quiet:
        say(f"removed {name}; what is stored there stays")
        _note_staged(not committed)


command.add_command(check_command)
command.add_command(copy_command)
command.add_command(publish_command)


def _note_staged(local: bool) -> None:
    if not local:
        note(".dvlite/config.toml is staged: git commit")


def _to_json(state: RemoteState, asked: bool) -> dict[str, Any]:
    from dvlite.ops.config import shown
    from dvlite.workspace.config import redact

    described: dict[str, Any] = {
        "name": state.name,
        "url": redact(state.url),
        "default": state.is_default,
        "options": {
            option: shown(f"remote.{state.name}.{option}", text) for option, text in state.options
        },
        "last_contact": state.last_contact_s,
    }
    if asked:
        described |= {
            "made": state.made,
            "packs": state.packs,
            "stored_bytes": state.stored_bytes,
            "segments": state.segments,
            "problem": state.problem,
        }
    return described
