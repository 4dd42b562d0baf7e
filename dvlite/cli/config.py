"""`dvlite config`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, note, say

if TYPE_CHECKING:
    from dvlite.workspace.config import Config


@click.command()
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--local", is_flag=True, help="For this clone only; nothing is committed.")
@click.option("--unset", is_flag=True, help="Remove the setting.")
@click.option("--list", "as_list", is_flag=True, help="Show all that are set, as without KEY.")
@json_option
@common
def command(
    common: Common,
    key: str | None,
    value: str | None,
    local: bool,
    unset: bool,
    as_list: bool,
    as_json: bool,
) -> None:
    """Show or change settings.

    Without KEY all that are set; with KEY its value (exit 1 when there is none). Settings are
    committed with the project; --local ones stay in this clone, and secrets must.

    \b
    Examples:
      dvlite config
      dvlite config cache.link hardlink,copy
      dvlite config remote.store.endpoint_url https://s3.example.org
      dvlite config --local remote.store.secret SECRET
      dvlite config --unset cache.link
    """
    from dvlite.errors import UsageError
    from dvlite.ops.config import change

    if as_list and (key is not None or unset):
        raise UsageError("--list takes no setting and changes none")
    if key is None and (unset or (local and not as_list)):
        raise UsageError("name the setting", "dvlite config --unset KEY")
    if unset and value is not None:
        raise UsageError("--unset takes no value")
    project = common.project()
    if key is None:
        _show_all(project.config, local, as_json)
    elif unset or value is not None:
        change(project, {key: value}, local)
        if not common.quiet and not local:
            note(".dvlite/config.toml is staged: git commit")
    else:
        _show_one(project.config, key, as_json)


def _show_all(config: Config, local: bool, as_json: bool) -> None:
    from dvlite.ops.config import shown

    everything = config.private if local else config.everything()
    found = {key: shown(key, everything[key]) for key in sorted(everything)}
    if as_json:
        emit_json({key: {"value": found[key], "local": key in config.private} for key in found})
        return
    for key, text in found.items():
        say(f"{key} = {text}" + ("  (this clone only)" if key in config.private else ""))


def _show_one(config: Config, key: str, as_json: bool) -> None:
    from dvlite.ops.config import shown, value_of

    text = value_of(config, key)
    if as_json:
        emit_json({key: None if text is None else shown(key, text)})
    elif text is not None:
        say(shown(key, text))
    if text is None:
        raise SystemExit(1)
