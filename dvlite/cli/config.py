"""`dvlite config`."""

from __future__ import annotations

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, note, say


@click.command()
@click.argument("key", required=False)
@click.argument("value", required=False)
@click.option("--local", is_flag=True, help="For this clone only; nothing is committed.")
@click.option("--unset", is_flag=True, help="Remove the setting.")
@json_option
@common
def command(
    common: Common, key: str | None, value: str | None, local: bool, unset: bool, as_json: bool
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
    from dvlite.ops.config import change, shown, value_of

    if key is None and (unset or local):
        raise UsageError("name the setting", "dvlite config --unset KEY")
    if unset and value is not None:
        raise UsageError("--unset takes no value")
    project = common.project()
    config = project.config
    if key is None:
        found = {one: shown(config, one, text) for one, text in config.everything().items()}
        if as_json:
            emit_json({one: {"value": found[one], "local": one in config.private} for one in found})
            return
        for one in sorted(found):
            say(f"{one} = {found[one]}" + ("  (this clone only)" if one in config.private else ""))
        return
    if unset or value is not None:
        change(project, {key: value}, local)
        if not common.quiet and not local:
            note(".dvlite/config.toml is staged: git commit")
        return
    current = value_of(config, key)
    if as_json:
        emit_json({key: None if current is None else shown(config, key, current)})
    elif current is not None:
        say(shown(config, key, current))
    if current is None:
        raise SystemExit(1)
