"""Line and scatter charts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dvlite.plots import frame
from dvlite.plots.frame import PAD, WIDTH, Box, Drawing, Key, Labels, Look
from dvlite.plots.options import Options
from dvlite.plots.scales import Scale, categories, fit, rounded, write, write_time
from dvlite.plots.series import Collected, Series, smoothed, thin_line, thin_points
from dvlite.plots.svg import element, number

_MARKS = 260.0
# Up to so many points each gets a dot, as a line through few points hides where they are.
_DOTTED = 40
_MOST_ARROWS = 40


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart is made of; `revisions` are names for people, in the order of their numbers."""

    labels: Labels
    options: Options
    data: Collected
    revisions: tuple[str, ...]


def looks(series: Sequence[Series], revisions: Sequence[str]) -> list[Look]:
    """Several revisions: each has a colour, and columns differ in dashes. One: each column has a
    colour."""
    if len(revisions) > 1:
        return [Look(one.revision, one.lane) for one in series]
    return [Look(one.lane, one.lane // 8) for one in series]


def keys(series: Sequence[Series], revisions: Sequence[str]) -> list[Key]:
    """The legend: of revisions, of columns, or of both."""
    lanes = {one.lane: one.name for one in series}
    if len(revisions) < 2:
        return [Key(name, Look(lane, lane // 8)) for lane, name in sorted(lanes.items())]
    found = [Key(name, Look(at), at) for at, name in enumerate(revisions)]
    if len(lanes) > 1:
        found += [Key(name, Look(None, lane)) for lane, name in sorted(lanes.items())]
    return found


def draw(chart: Chart) -> Drawing:
    """Draws lines, or the points of a scatter."""
    series = [_cleaned(one, chart.options) for one in chart.data.series]
    points = [(x, y) for one in series for x, y in zip(one.xs, one.ys, strict=True)]
    ys = [y for x, y in points if _is_finite(x) and _is_finite(y)]
    if not ys:
        return frame.empty(chart.labels, _why_empty(chart))
    scatter = chart.options.kind == "scatter"
    shown = keys(series, chart.revisions)
    many = len(shown) > 1
    top, y = frame.head(chart.labels.title, shown if many else (), "dot" if scatter else "line")
    top_of_box = y + 34
    y_kind = "log" if chart.options.y_log else "linear"
    y_scale = rounded(fit(y_kind, ys, (top_of_box + _MARKS, top_of_box)), 6)  # type: ignore[arg-type]
    left = frame.left_margin(y_scale.ticks(6))
    box = Box(left, top_of_box, WIDTH - PAD - 6, top_of_box + _MARKS)
    xs = (x for x, y in points if _is_finite(x) and y == y)
    x_scale = _x_scale(chart, xs, box)
    axes = frame.y_axis(y_scale, box, chart.labels.y) + frame.x_axis(x_scale, box, chart.labels.x)
    plain = len(chart.revisions) > 1 or many
    marks = "".join(
        _marks(chart, one, look, (x_scale, y_scale))
        for one, look in zip(series, looks(series, chart.revisions), strict=True)
    )
    area = element("g", marks, class_="marks", data_kind="point" if scatter else "line")
    bottom = box.bottom + (46 if chart.labels.x else 28)
    words, bottom = frame.notes(_notes(chart), bottom + 8)
    return Drawing(
        top + axes + area + words,
        WIDTH,
        bottom + 6,
        chart.labels.title,
        _summary(chart, plain),
        _numbers(chart),
    )


def _cleaned(series: Series, options: Options) -> Series:
    """Without what a log axis cannot show."""
    xs, ys = series.xs, series.ys
    if options.x_log:
        xs = [x if x > 0 else math.nan for x in xs]
    if options.y_log:
        ys = [y if y > 0 else math.nan for y in ys]
    return Series(series.name, series.lane, series.revision, xs, ys)


def _x_scale(chart: Chart, xs: Iterable[float], box: Box) -> Scale:
    kind = chart.data.x_kind
    if kind == "category":
        return categories(chart.data.names, box.left, box.right)
    if chart.options.x_log and kind == "linear":
        return fit("log", xs, (box.left + 4, box.right))
    scale = fit(kind, xs, (box.left, box.right))
    return rounded(scale, 8) if chart.options.kind == "scatter" and kind == "linear" else scale


def _marks(chart: Chart, series: Series, look: Look, scales: tuple[Scale, Scale]) -> str:
    if chart.options.kind == "scatter":
        parts, kept = _points(series, look, scales)
    else:
        parts, kept = _line(chart, series, look, scales)
    name = _label(chart, series)
    values = {
        "x": [_x_words(chart, series.xs[at]) for at in kept],
        "y": [write(series.ys[at]) if _is_finite(series.ys[at]) else None for at in kept],
    }
    return element(
        "g",
        *parts,
        class_=f"series r{series.revision}",
        data_name=name,
        data_v=json.dumps(values, separators=(",", ":"), ensure_ascii=False),
    )


def _points(series: Series, look: Look, scales: tuple[Scale, Scale]) -> tuple[list[str], list[int]]:
    kept = thin_points(series.xs, series.ys)
    d = "".join(f"M{_at(series.xs[at], series.ys[at], scales)}h0" for at in kept)
    cloud = " cloud" if len(kept) > 60 else ""
    parts = [element("path", d=d, class_=f"dots{cloud} {look.class_}")]
    if look.dash:
        parts.append(element("path", d=d, class_="dots hole"))
    return parts, kept


def _line(
    chart: Chart, series: Series, look: Look, scales: tuple[Scale, Scale]
) -> tuple[list[str], list[int]]:
    parts = []
    drawn = series
    style = {"class_": f"line {look.class_}", "stroke_dasharray": look.dasharray}
    if chart.options.smooth:
        raw = _path(series, thin_line(series.xs, series.ys), scales)
        parts.append(element("path", d=raw, class_=f"line raw {look.class_}"))
        even = smoothed(series.ys, chart.options.smooth)
        drawn = Series(series.name, series.lane, series.revision, series.xs, even)
    kept = thin_line(drawn.xs, drawn.ys)
    parts.insert(0 if not parts else 1, element("path", d=_path(drawn, kept, scales), **style))
    seen = [at for at in kept if _is_finite(drawn.xs[at]) and _is_finite(drawn.ys[at])]
    if len(seen) <= _DOTTED and not chart.options.smooth:
        dots = "".join(f"M{_at(drawn.xs[at], drawn.ys[at], scales)}h0" for at in seen)
        parts.append(element("path", d=dots, class_=f"dots {look.class_}"))
    parts += _arrows(series, look, scales)
    return parts, seen


def _path(series: Series, kept: Sequence[int], scales: tuple[Scale, Scale]) -> str:
    """A line with a gap where there is no number; a point alone is a dot."""
    parts: list[str] = []
    pen_down = False
    for at in kept:
        x, y = series.xs[at], series.ys[at]
        if not (_is_finite(x) and _is_finite(y)):
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{_at(x, y, scales)}{'' if pen_down else 'h0'}")
        pen_down = True
    return "".join(parts)


def _arrows(series: Series, look: Look, scales: tuple[Scale, Scale]) -> list[str]:
    """Where a value is infinite, an arrow at the edge points there."""
    x_scale, y_scale = scales
    parts = []
    for x, y in zip(series.xs, series.ys, strict=True):
        if not math.isinf(y) or not _is_finite(x):
            continue
        edge, back = (y_scale.end, 8) if y > 0 else (y_scale.start, -8)
        left = x_scale(x) - 4.5
        d = f"M{number(left)},{number(edge + back)}h9l-4.5,{number(-back)}z"
        parts.append(element("path", d=d, class_=look.fill))
        if len(parts) == _MOST_ARROWS:
            break
    return parts


def _at(x: float, y: float, scales: tuple[Scale, Scale]) -> str:
    return f"{number(scales[0](x))},{number(scales[1](y))}"


def _x_words(chart: Chart, x: float) -> str:
    if chart.data.x_kind == "category":
        return chart.data.names[int(x)][:100]
    return write_time(x) if chart.data.x_kind == "time" else write(x)


def _label(chart: Chart, series: Series) -> str:
    """How a series is called beside others."""
    lanes = {one.lane for one in chart.data.series}
    revision = chart.revisions[series.revision] if len(chart.revisions) > 1 else ""
    return " · ".join(word for word in (revision, series.name if len(lanes) > 1 else "") if word)


def _why_empty(chart: Chart) -> str:
    if chart.data.missing:
        return "; ".join(chart.data.missing[:3])
    if not any(len(one.ys) for one in chart.data.series):
        return "no data"
    return "no number that could be drawn" + (" on a log axis" if chart.options.y_log else "")


def _notes(chart: Chart) -> list[str]:
    total = sum(len(one.ys) for one in chart.data.series)
    lost = sum(y != y for one in chart.data.series for y in one.ys)
    infinite = sum(math.isinf(y) for one in chart.data.series for y in one.ys)
    found = [*chart.data.missing[:4]]
    if lost:
        found.append(f"{lost:,} of {total:,} values are no numbers: gaps")
    if infinite:
        found.append(f"{infinite:,} of {total:,} values are infinite: arrows at the edge")
    unfit = sum(
        (chart.options.y_log and y <= 0) or (chart.options.x_log and x <= 0)
        for one in chart.data.series
        for x, y in zip(one.xs, one.ys, strict=True)
    )
    if unfit:
        found.append(f"{unfit:,} of {total:,} values are not above 0, which a log axis cannot show")
    return found


def _summary(chart: Chart, several: bool) -> str:
    """The chart in words, for people who do not see it."""
    kind = "Scatter chart" if chart.options.kind == "scatter" else "Line chart"
    axes = f" of {chart.labels.y or 'values'} by {chart.labels.x or 'row'}"
    count = f", {len(chart.data.series)} series" if several else ""
    return f"{kind}{axes}{count}"


def _numbers(chart: Chart) -> tuple[tuple[str, ...], ...]:
    rows: list[tuple[str, ...]] = [("series", "points", "first", "last", "lowest", "highest")]
    for one in chart.data.series:
        ys = [y for y in one.ys if _is_finite(y)]
        found = [ys[0], ys[-1], min(ys), max(ys)] if ys else []
        name = _label(chart, one) or one.name
        rows.append(
            (name, f"{len(one.ys):,}", *(write(y) for y in found), *[""] * (4 - len(found)))
        )
    return tuple(rows)


def _is_finite(value: float) -> bool:
    return -math.inf < value < math.inf
