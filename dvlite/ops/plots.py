"""`dvlite plots show` and `dvlite plots diff`: the project's plots at one or several revisions.

Owns which plots there are (those of `dvlite.yaml`, or the files that were named), what they are
called on the page, and the files that come out: the page, and each chart on its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dvlite.atomic import publish
from dvlite.errors import ConflictError, CorruptError, DvliteError, PathError
from dvlite.ops.content import MAX_FILES, Reader, Source, View, read_all, readers
from dvlite.pipeline.stage import OutKind, Pipeline
from dvlite.pipeline.stagefile import FILE, load
from dvlite.plots import images
from dvlite.plots.options import TEMPLATES, apply_template, parse_options
from dvlite.plots.page import MAX_TEMPLATE_BYTES, Page, render, standalone
from dvlite.plots.panels import Content, Panel, Plot, make_panel, read_tables
from dvlite.plots.raster import to_png
from dvlite.plots.table import MAX_DATA_BYTES, is_data
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.yamltext import parse_yaml

FOLDER = "dvlite_plots"
TEMPLATE_FOLDER = ".dvlite/plots"
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class PlotsRequest:
    """What to draw. `targets`: project paths, none for all that are declared; `options`: of the
    command, before those that are declared."""

    views: tuple[View, ...]
    targets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    source: Source = field(default_factory=Source)


@dataclass(slots=True)
class PlotsResult:
    """Everything drawn. `lost`: what could not be read (revision, path, why)."""

    revisions: tuple[str, ...]
    plots: tuple[Plot, ...]
    panels: tuple[Panel, ...]
    content: Content
    lost: tuple[tuple[str, str, str], ...] = ()


def plots(project: Project, request: PlotsRequest, progress: Progress = silent) -> PlotsResult:
    """Reads and draws the plots.

    Raises:
        PathError: a target that is no plot. CorruptError: options that cannot be.
    """
    every = readers(project, request.views, MAX_DATA_BYTES)
    lost: list[tuple[str, str, str]] = []
    chosen = _of_targets(every, request) if request.targets else _declared(every, request, lost)
    if not chosen:
        raise PathError(
            "dvlite.yaml declares no plots", "declare some, or name files: dvlite plots show a.csv"
        )
    wanted = dict.fromkeys(path for plot in chosen for path in plot.files)
    asked = dict.fromkeys(range(len(every)), wanted)
    contents = read_all(every, asked, request.source, progress)
    names = tuple(view.name for view in request.views)
    lost += [(names[at], path, why) for (path, at), why in sorted(contents.lost.items())]
    content = Content(contents.found, contents.lost)
    panels = tuple(make_panel(plot, content, names) for plot in chosen)
    return PlotsResult(names, tuple(chosen), panels, content, tuple(lost))


def _of_targets(every: Sequence[Reader], request: PlotsRequest) -> list[Plot]:
    found = []
    for target in request.targets:
        for path in _files(every, target):
            options = with_template(every[-1], dict(request.options), path)
            found.append(Plot(path, path, parse_options(options, path)))
    return found


def _declared(
    every: Sequence[Reader], request: PlotsRequest, lost: list[tuple[str, str, str]]
) -> list[Plot]:
    """What the pipelines of the revisions declare, that of the last one first."""
    found: dict[str, Plot] = {}
    for reader in reversed(every):
        try:
            pipeline = load(reader.read_small)
        except DvliteError as error:
            lost.append((reader.view.name, FILE, str(error)))
            continue
        for name, path, own in _specs(pipeline):
            if name in found:
                continue
            several = not path
            for file in [""] if several else _files_of(every, path):
                label = name if several or file == path else file
                options = with_template(reader, {**own, **request.options}, file or name)
                found.setdefault(label, Plot(label, file, parse_options(options, file)))
    return list(found.values())


def _specs(pipeline: Pipeline) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, data file and options of each plot; plots of several files have no single one."""
    for stage in pipeline.stages.values():
        for out in stage.outs:
            if out.kind is OutKind.PLOT:
                yield out.path, out.path, dict(out.options)
    for plot in pipeline.plots:
        yield plot.name, plot.path, dict(plot.options)


def _files_of(every: Sequence[Reader], path: str) -> list[str]:
    """The file that is declared, or the plots in the folder that it is."""
    inside = {one for reader in every for one in reader.below(path) if one != path}
    drawn = sorted(one for one in inside if is_data(one) or images.is_image(one))
    if len(drawn) > MAX_FILES:
        raise PathError(f"{path} holds more than {MAX_FILES:,} plots", "name some of them")
    return drawn or [path]


def _files(every: Sequence[Reader], target: str) -> list[str]:
    """The target, or the plots in it where it is a folder at one of the revisions."""
    inside: set[str] = set()
    for reader in every:
        inside |= {one for one in reader.below(target) if is_data(one) or images.is_image(one)}
    if len(inside) > MAX_FILES:
        raise PathError(f"{target} holds more than {MAX_FILES:,} plots", "name some of them")
    if not inside and not (is_data(target) or images.is_image(target)):
        raise PathError(
            f"{target} cannot be drawn",
            "plots are CSV, TSV, JSON or YAML files, images, and folders of these",
        )
    return sorted(inside) or [target]


def with_template(reader: Reader, options: dict[str, Any], path: str) -> dict[str, Any]:
    """Options with those of the template file that they name.

    Raises:
        PathError: there is no such file.
    """
    name = options.get("template")
    if not isinstance(name, str) or name in TEMPLATES:
        return options
    file = name if "/" in name or name.endswith((".yaml", ".yml")) else ""
    file = file or f"{TEMPLATE_FOLDER}/{name}.yaml"
    data = reader.read_small(os.path.normpath(file))
    if data is None:
        raise PathError(
            f"there is no plot template {name}",
            f"{', '.join(TEMPLATES)} are built in; others are files: {TEMPLATE_FOLDER}/NAME.yaml",
        )
    tree = parse_yaml(data, file) or {}
    if not isinstance(tree, dict):
        raise CorruptError(f"{file} is no template: it has to hold options", "kind: scatter")
    return apply_template(tree, options, path)


# -- what comes out --------------------------------------------------------------------------------


def make_page(result: PlotsResult, title: str, made: str, template: str | None = None) -> str:
    """The page, as HTML."""
    return render(Page(title, result.revisions, result.panels, made), template)


def read_template(path: str) -> str:
    """A page template that the user named.

    Raises:
        PathError: it cannot be read. CorruptError: too large, or no text.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_TEMPLATE_BYTES + 1)
    except OSError as error:
        raise PathError(f"{path}: {error.strerror}") from error
    if len(data) > MAX_TEMPLATE_BYTES:
        raise CorruptError(f"{path} is larger than {MAX_TEMPLATE_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path} is not UTF-8 text") from error


def write_page(path: str, text: str) -> None:
    """Writes the page. A folder of our name that is made for it is ignored by git.

    Raises:
        PathError: there is no folder for it, or it is one. ConflictError: a link is there.
    """
    _write(path, text.encode("utf-8", "replace"))


def write_charts(result: PlotsResult, folder: str, as_png: bool) -> list[str]:
    """Writes each chart as a file of its own; the paths.

    Raises:
        UsageError: PNG, and resvg-py is not installed.
    """
    written: list[str] = []
    for panel in result.panels:
        for at, (drawing, revision) in enumerate(panel.charts):
            words = [panel.name, *([result.revisions[revision]] if revision is not None else [])]
            stem = _UNFIT.sub("_", "-".join(words)).strip("._") or f"plot-{at}"
            path = os.path.join(folder, stem[:120] + (".png" if as_png else ".svg"))
            path = _unused(path, written)
            text = standalone(drawing)
            _write(path, to_png(text) if as_png else text.encode("utf-8"))
            written.append(path)
    return written


def _write(path: str, data: bytes) -> None:
    folder = os.path.dirname(path)
    if os.path.basename(folder) == FOLDER and not os.path.lexists(folder):
        os.mkdir(folder)
        publish(os.path.join(folder, ".gitignore"), b"*\n", durable=False)
    if not os.path.isdir(folder):
        raise PathError(f"there is no folder {folder}", "make it first")
    if os.path.islink(path):
        raise ConflictError(f"{path} is a symbolic link", "choose another name: -o PATH")
    if os.path.isdir(path):
        raise PathError(f"{path} is a folder", "name a file in it: -o FOLDER/index.html")
    publish(path, data, durable=False)


def _unused(path: str, taken: Iterable[str]) -> str:
    used = {one.lower() for one in taken}
    stem, end = os.path.splitext(path)
    number = 1
    while path.lower() in used:
        number += 1
        path = f"{stem}-{number}{end}"
    return path


def rows_of(result: PlotsResult, plot: Plot) -> list[dict[str, Any]]:
    """A plot's data as it is in the files: one table for each file and revision."""
    if plot.options.kind == "image" or images.is_image(plot.path):
        return []
    sources, _ = read_tables(plot, result.content, result.revisions)
    return [
        {
            "revision": result.revisions[one.revision],
            "path": one.path,
            "columns": [
                {"column": name, "cells": list(cells)} for name, cells in one.table.columns.items()
            ],
        }
        for one in sources
    ]
