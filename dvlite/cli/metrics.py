"""`dvlite metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import (
    Common,
    common,
    fetch_options,
    paths_argument,
    revisions_options,
    selection,
    source_of,
)
from dvlite.cli.output import emit_json, json_path, name, say, transferring
from dvlite.cli.values import (
    diff_options,
    form_options,
    lost_to_json,
    plain,
    show_diff,
    show_table,
    tell_lost,
    write,
)

if TYPE_CHECKING:
    from dvlite.ops.values import Found


@click.group()
def command() -> None:
    """Show and compare metrics of revisions.

    Metrics are YAML, JSON or TOML files that a stage of dvlite.yaml declares, or that are named.

    \b
    Examples:
      dvlite metrics show
      dvlite metrics diff main
    """


@command.command("show")
@paths_argument
@revisions_options
@form_options
@fetch_options
@common
def show_command(common: Common, paths: tuple[str, ...], **options: Any) -> None:
    """Show metrics of the workspace or of revisions.

    PATHs are files; without one, those that dvlite.yaml declares at each revision.

    \b
    Examples:
      dvlite metrics show
      dvlite metrics show --all-tags
      dvlite metrics show eval.json --rev main --rev v1.0
    """
    from dvlite.ops.content import chosen_views
    from dvlite.ops.metrics import metrics
    from dvlite.ops.values import ValuesRequest

    project = common.project()
    views = tuple(chosen_views(project, selection(common, project, paths, options)))
    request = ValuesRequest(views, common.paths(project, paths), source_of(project, options))
    with transferring(common.quiet, common.verbose) as progress:
        found = metrics(project, request, progress)
    if options["as_json"]:
        emit_json(_to_json(found))
        return
    tell_lost(found.lost)
    _show(common, found, options)


@command.command("diff")
@diff_options
@common
def diff_command(
    common: Common, old: str | None, new: str | None, targets: tuple[str, ...], **options: Any
) -> None:
    """Show which metrics differ between A and B.

    Without a revision: from HEAD to the workspace; with one: from it to the workspace.

    \b
    Examples:
      dvlite metrics diff
      dvlite metrics diff v1.0 v2.0 --md
      dvlite metrics diff main --targets eval.json --all
    """
    from dvlite.ops.content import compared_views
    from dvlite.ops.metrics import metrics
    from dvlite.ops.values import ValuesRequest, compare

    project = common.project()
    views = tuple(compared_views(project, [one for one in (old, new) if one]))
    request = ValuesRequest(views, common.paths(project, targets), source_of(project, options))
    with transferring(common.quiet, common.verbose) as progress:
        found = metrics(project, request, progress)
    show_diff(common, found, compare(found, options["everything"]), options)


def _show(common: Common, found: Found, options: dict[str, Any]) -> None:
    digits, markdown = options["precision"], options["as_markdown"]
    if not any(found.values):
        if not common.quiet and not found.lost:
            say("no metrics: dvlite.yaml declares none, name files: dvlite metrics show PATH")
    elif len(found.views) == 1:
        rows = [["Path", "Key", "Value"]]
        for (path, key), value in found.values[0].items():
            rows.append([name(path), key, write(value, digits)])
        show_table(rows, markdown, right=1)
    else:
        show_table(_by_revision(found, digits), markdown)


def _by_revision(found: Found, digits: int) -> list[list[str]]:
    """A line for each revision and file, a column for each key."""
    keys = list(dict.fromkeys(key for values in found.values for _, key in values))
    rows = [["Revision", "Path", *keys]]
    for view, values in zip(found.views, found.values, strict=True):
        for path in dict.fromkeys(path for path, _ in values):
            cells = [
                write(values[path, key], digits) if (path, key) in values else "-" for key in keys
            ]
            rows.append([view.name, name(path), *cells])
    return rows


def _to_json(found: Found) -> dict[str, Any]:
    return {
        "revisions": [
            {
                "revision": view.name,
                "commit": view.commit or None,
                "values": [
                    {**json_path(path), "key": key, "value": plain(value)}
                    for (path, key), value in values.items()
                ],
            }
            for view, values in zip(found.views, found.values, strict=True)
        ],
        "lost": [lost_to_json(one) for one in found.lost],
    }
