"""From a plot and its files at several revisions to what a page shows of it.

Owns which columns are drawn where nobody said, the names that series get, and that a file which
cannot be read costs its own plot (with the reason in its place) and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import DvliteError
from dvlite.plots import bars, confusion, frame, images, lines
from dvlite.plots.frame import Drawing, Labels
from dvlite.plots.lines import Chart
from dvlite.plots.options import Columns, Options
from dvlite.plots.series import Collected, Pair, Source, collect
from dvlite.plots.table import Table, read_table


@dataclass(frozen=True, slots=True)
class Plot:
    """What to draw: `name` is unique on the page, `path` its data file or image ("" where the
    options name all files)."""

    name: str
    path: str
    options: Options = field(default_factory=Options)

    @property
    def files(self) -> tuple[str, ...]:
        """All files it needs."""
        pairs = (*self.options.x, *self.options.y)
        own = any(not path for path, _ in pairs) or not self.options.y
        named = [path for path, _ in pairs if path]
        return tuple(dict.fromkeys([*([self.path] if own and self.path else []), *named]))


@dataclass(frozen=True, slots=True)
class Picture:
    """An image at a revision, as a `data:` URI; or why there is none."""

    revision: int
    uri: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a page shows of a plot: charts (those of one revision with its number), or pictures."""

    name: str
    charts: tuple[tuple[Drawing, int | None], ...] = ()
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """Files by path and revision's number: their bytes, and why some are not there."""

    found: Mapping[tuple[str, int], bytes]
    lost: Mapping[tuple[str, int], str] = field(default_factory=dict)


def make_panel(plot: Plot, content: Content, revisions: Sequence[str]) -> Panel:
    """Draws a plot."""
    if plot.options.kind == "image" or images.is_image(plot.path):
        return Panel(plot.name, pictures=_pictures(plot, content, len(revisions)))
    tables, missing = read_tables(plot, content, revisions)
    if plot.options.kind == "confusion":
        return Panel(plot.name, charts=_confusions(plot, tables, missing, revisions))
    pairs = choose(plot, tables, missing)
    present = sorted({pair.source.revision for pair in pairs})
    kind = plot.options.kind
    data = collect(pairs, words=kind.startswith("bar")) if pairs else Collected()
    data.missing = missing
    shown = tuple(revisions) if len(revisions) > 1 else ("",) * max(1, len(present))
    chart = Chart(_labels(plot, pairs), plot.options, data, shown)
    drawing = bars.draw(chart) if kind.startswith("bar") else lines.draw(chart)
    return Panel(plot.name, charts=((drawing, None),))


def read_tables(
    plot: Plot, content: Content, revisions: Sequence[str]
) -> tuple[list[Source], list[str]]:
    """The plot's files at each revision, and what is missing or cannot be read."""
    found, missing = [], []
    for path in plot.files:
        for at, revision in enumerate(revisions):
            data = content.found.get((path, at))
            where = f"{revision}: {path}" if len(revisions) > 1 else path
            if data is None:
                missing.append(f"{where}: {content.lost.get((path, at), 'not there')}")
                continue
            try:
                found.append(Source(path, at, read_table(data, path, plot.options.header)))
            except DvliteError as error:
                missing.append(f"{revision}: {error}" if len(revisions) > 1 else str(error))
    return found, missing


def choose(plot: Plot, sources: Sequence[Source], missing: list[str]) -> list[Pair]:
    """The columns to draw; notes in `missing` those that are not there."""
    wanted = plot.options.y or _default_y(plot, sources)
    lanes: dict[tuple[str, str], int] = {pair: at for at, pair in enumerate(wanted)}
    several_files = len({path for path, _ in wanted}) > 1
    several_names = len({column for _, column in wanted}) > 1
    found = []
    for (path, column), lane in lanes.items():
        for source in sources:
            if source.path != (path or plot.path):
                continue
            ys = source.table.columns.get(column)
            if ys is None:
                missing.append(f"{source.path} has no column {column}")
                continue
            xs, why = _x_of(plot.options.x, source, column, sources)
            if why:
                missing.append(why)
                continue
            name = column if several_names or not several_files else source.path
            if several_names and several_files:
                name = f"{source.path}: {column}"
            found.append(Pair(name, lane, source, xs, ys))
    missing[:] = list(dict.fromkeys(missing))
    return found


def _default_y(plot: Plot, sources: Sequence[Source]) -> Columns:
    """The last column that is not on the x axis."""
    on_x = {column for _, column in plot.options.x}
    for source in sources:
        names = [name for name in source.table.columns if name not in on_x]
        if names:
            return (("", names[-1]),)
    return ()


def _x_of(
    x: Columns, source: Source, y: str, sources: Sequence[Source]
) -> tuple[Sequence[object] | None, str]:
    """The column for the x axis (None: the rows' numbers), or why there is none."""
    if not x:
        return None, ""
    path, column = next((one for one in x if one[0] == source.path), x[0])
    table: Table | None = source.table
    if path and path != source.path:
        others = (one for one in sources if one.path == path and one.revision == source.revision)
        table = next((one.table for one in others), None)
        if table is None:
            return None, f"no x for {y}: {path} is not there"
    assert table is not None
    found = table.columns.get(column)
    if found is None:
        return None, f"{path or source.path} has no column {column}"
    if len(found) != source.table.rows:
        return None, f"{path} and {source.path} have different numbers of rows"
    return found, ""


def _labels(plot: Plot, pairs: Sequence[Pair]) -> Labels:
    options = plot.options
    names = dict.fromkeys(column for _, column in options.x)
    x = options.x_label or ", ".join(names) or ("row" if pairs else "")
    columns = dict.fromkeys(column for _, column in options.y)
    if not columns:
        columns = dict.fromkeys(pair.name for pair in pairs)
    y = options.y_label or (next(iter(columns)) if len(columns) == 1 else "")
    return Labels(options.title or plot.name, x, y)


def _confusions(
    plot: Plot, sources: Sequence[Source], missing: list[str], revisions: Sequence[str]
) -> tuple[tuple[Drawing, int | None], ...]:
    """A matrix a revision."""
    title = plot.options.title or plot.name
    if not plot.options.x or not plot.options.y:
        missing.append("a confusion matrix needs x (the true class) and y (the predicted one)")
    found: list[tuple[Drawing, int | None]] = []
    for pair in choose(plot, sources, missing) if plot.options.x and plot.options.y else []:
        at = pair.source.revision
        name = f"{title} ({revisions[at]})" if len(revisions) > 1 else title
        labels = Labels(name, plot.options.x_label, plot.options.y_label)
        if not labels.x:
            labels = Labels(name, plot.options.x[0][1], labels.y or plot.options.y[0][1])
        assert pair.xs is not None
        drawing = confusion.draw(labels, pair.xs, pair.ys, plot.options.normalized)
        found.append((drawing, at if len(revisions) > 1 else None))
    if missing:
        found.append((frame.empty(Labels(title), "; ".join(missing[:3])), None))
    return tuple(found)


def _pictures(plot: Plot, content: Content, revisions: int) -> tuple[Picture, ...]:
    found = []
    for at in range(revisions):
        data = content.found.get((plot.path, at))
        if data is None:
            found.append(Picture(at, why=content.lost.get((plot.path, at), "not there")))
            continue
        try:
            found.append(Picture(at, images.data_uri(data, plot.path)))
        except DvliteError as error:
            found.append(Picture(at, why=str(error)))
    return tuple(found)
