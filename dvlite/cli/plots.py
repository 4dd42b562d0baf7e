"""`dvlite plots`."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dvlite._version import VERSION
from dvlite.cli.options import (
    Common,
    common,
    fetch_options,
    json_option,
    paths_argument,
    revisions_options,
    selection,
    source_of,
)
from dvlite.cli.output import count, emit_json, json_path, name, say, size, transferring, warn

if TYPE_CHECKING:
    from dvlite.ops.content import View
    from dvlite.ops.plots import PlotsResult
    from dvlite.project import Project

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("-x", "x", metavar="COLUMN", help="The column on the x axis (default: the row)."),
    click.option(
        "-y",
        "y",
        multiple=True,
        metavar="COLUMN",
        help="A column to draw; repeatable (default: the last one).",
    ),
    click.option("-t", "--template", metavar="NAME", help="The kind of plot, or a template file."),
    click.option("--title", metavar="TEXT", help="The title."),
    click.option("--x-label", metavar="TEXT", help="The label of the x axis."),
    click.option("--y-label", metavar="TEXT", help="The label of the y axis."),
    click.option("--log-x", "x_scale", is_flag=True, help="A logarithmic x axis."),
    click.option("--log-y", "y_scale", is_flag=True, help="A logarithmic y axis."),
    click.option("--no-header", is_flag=True, help="CSV and TSV have no names of columns."),
)
_OUTPUT = (
    click.option(
        "-o", "--output", metavar="FILE", help="The page (default: dvlite_plots/index.html)."
    ),
    click.option("--page-template", metavar="FILE", help="HTML with {{plots}} in it."),
    click.option("--svg", is_flag=True, help="Also each chart as an SVG file, beside the page."),
    click.option("--png", is_flag=True, help="Also each chart as a PNG file (dvlite[png])."),
    click.option("--open", "open_it", is_flag=True, help="Open the page in the browser."),
)


def _with(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed([one for group in groups for one in group]):
            command = option(command)
        return command

    return decorate


@click.group()
def command() -> None:
    """Draw plots of data files and images, at one or several revisions.

    They come as one HTML page that needs no network. Data is CSV, TSV, JSON or YAML; images are
    PNG, JPEG, SVG, GIF or WebP.

    \b
    Examples:
      dvlite plots show train.csv -x step -y loss
      dvlite plots diff main --targets train.csv
    """


@command.command("show")
@paths_argument
@revisions_options
@_with(_OPTIONS, _OUTPUT)
@fetch_options
@json_option
@common
def show_command(common: Common, paths: tuple[str, ...], **options: Any) -> None:
    """Draw plots of the workspace or of revisions.

    PATHs are data files, images, or folders of these. Several revisions are drawn into the same
    chart, and the page can hide each.

    \b
    Examples:
      dvlite plots show train.csv -x step -y loss -y val_loss
      dvlite plots show preds.csv -t confusion -x actual -y predicted
      dvlite plots show --rev main --rev v1.0 figures
    """
    from dvlite.ops.content import chosen_views

    project = common.project()
    views = chosen_views(project, selection(common, project, paths, options))
    _run(common, project, tuple(views), paths, options)


@command.command("diff")
@click.argument("revisions", nargs=-1, metavar="[REV]...")
@click.option(
    "--targets",
    multiple=True,
    type=click.Path(),
    metavar="PATH",
    help="A data file, image or folder to draw; repeatable.",
)
@_with(_OPTIONS, _OUTPUT)
@fetch_options
@json_option
@common
def diff_command(
    common: Common, revisions: tuple[str, ...], targets: tuple[str, ...], **options: Any
) -> None:
    """Draw plots of several revisions over each other.

    Without a revision: HEAD and the workspace. With one: it and the workspace. The workspace among
    several is called workspace.

    \b
    Examples:
      dvlite plots diff --targets figures
      dvlite plots diff v1.0 v2.0 workspace --targets train.csv
      dvlite plots diff main --targets train.csv -x step -y loss
    """
    from dvlite.ops.content import compared_views

    project = common.project()
    _run(common, project, tuple(compared_views(project, revisions)), targets, options)


def _run(
    common: Common,
    project: Project,
    views: tuple[View, ...],
    targets: tuple[str, ...],
    options: dict[str, Any],
) -> None:
    from dvlite.ops.plots import PlotsRequest, plots

    paths = common.paths(project, targets)
    request = PlotsRequest(views, paths, _drawing(options), source_of(project, options))
    with transferring(common.quiet, common.verbose) as progress:
        result = plots(project, request, progress)
    for revision, path, why in result.lost:
        warn(f"{revision}: {name(path)}: {why}")
    if options["as_json"]:
        emit_json(_to_json(result))
        return
    _write(common, result, options)


def _drawing(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a plot that were given, as `dvlite.yaml` writes them."""
    found = {key: options[key] for key in ("x", "template", "title", "x_label", "y_label")}
    found["y"] = list(options["y"])
    found |= {key: "log" for key in ("x_scale", "y_scale") if options[key]}
    if options["no_header"]:
        found["header"] = False
    return {key: value for key, value in found.items() if value not in (None, [], "")}


def _write(common: Common, result: PlotsResult, options: dict[str, Any]) -> None:
    from dvlite.ops.plots import FOLDER, make_page, read_template, write_charts, write_page

    chosen = options["output"] or os.path.join(FOLDER, "index.html")
    path = os.path.abspath(common.resolve(chosen))
    template = options["page_template"]
    text = read_template(common.resolve(template)) if template else None
    page = make_page(result, "Plots", f"dvlite {VERSION}", text)
    write_page(path, page)
    shown = os.path.relpath(path)
    if not common.quiet:
        say(f"wrote      {name(shown)}  {count(len(result.panels), 'plot')}, {size(len(page))}")
    for as_png in [
        one for one, asked in ((False, options["svg"]), (True, options["png"])) if asked
    ]:
        for chart in write_charts(result, os.path.dirname(path), as_png):
            if not common.quiet:
                say(f"wrote      {name(os.path.relpath(chart))}")
    if options["open_it"]:
        click.launch(path)


def _to_json(result: PlotsResult) -> dict[str, Any]:
    from dvlite.ops.plots import rows_of

    return {
        "revisions": list(result.revisions),
        "plots": [
            {
                "name": plot.name,
                "kind": plot.options.kind,
                "title": plot.options.title or plot.name,
                "x": [{"path": path, "column": column} for path, column in plot.options.x],
                "y": [{"path": path, "column": column} for path, column in plot.options.y],
                "data": rows_of(result, plot),
            }
            for plot in result.plots
        ],
        "lost": [
            {"revision": revision, **json_path(path), "reason": why}
            for revision, path, why in result.lost
        ],
    }
