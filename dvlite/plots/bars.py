"""Bar charts, upright and lying: a group of bars for each category, one bar a series."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dvlite.plots import frame
from dvlite.plots.frame import PAD, WIDTH, Box, Drawing, Look
from dvlite.plots.lines import Chart, keys, looks
from dvlite.plots.scales import Scale, categories, fit, rounded, write
from dvlite.plots.series import Series
from dvlite.plots.svg import element, escape, number, width_of

MOST_CATEGORIES = 60
_MARKS = 260.0
_GAP = 0.28  # of a group's band
Heights = list[dict[int, float]]


def draw(chart: Chart) -> Drawing:
    """Draws the bars; values of the same category and series are added up."""
    heights = [_added(one) for one in chart.data.series]
    order = _order(heights, chart)
    shown = order[:MOST_CATEGORIES]
    values = [h[at] for h in heights for at in shown if at in h and math.isfinite(h[at])]
    if not values:
        why = "; ".join(chart.data.missing[:3]) or "no data"
        return frame.empty(chart.labels, why)
    names = [chart.data.names[at] or "(empty)" for at in shown]
    entries = keys(chart.data.series, chart.revisions)
    top, y = frame.head(chart.labels.title, entries if len(entries) > 1 else (), "square")
    lying = chart.options.kind == "bar_horizontal"
    make = _lying if lying else _upright
    body, bottom = make(chart, [[h.get(at) for at in shown] for h in heights], names, values, y)
    words = list(chart.data.missing[:4])
    if len(order) > len(shown):
        words.append(f"{len(order) - len(shown):,} more categories are not shown")
    note, bottom = frame.notes(words, bottom + 8)
    what = f"Bar chart of {chart.labels.y or 'values'} by {chart.labels.x or 'category'}"
    summary = f"{what}, {len(shown)} categories"
    numbers = _numbers(chart, heights, shown, names)
    return Drawing(top + body + note, WIDTH, bottom + 6, chart.labels.title, summary, numbers)


def _added(series: Series) -> dict[int, float]:
    found: dict[int, float] = {}
    for x, y in zip(series.xs, series.ys, strict=True):
        if y == y:
            found[int(x)] = found.get(int(x), 0.0) + y
    return found


def _order(heights: Heights, chart: Chart) -> list[int]:
    order = list(range(len(chart.data.names)))
    if not chart.options.sort:
        return order
    largest = {at: max((h[at] for h in heights if at in h), default=-math.inf) for at in order}
    return sorted(order, key=lambda at: (-largest[at], at))


def _value_scale(chart: Chart, values: Sequence[float], pixels: tuple[float, float]) -> Scale:
    if chart.options.y_log:
        above = [value for value in values if value > 0]
        return rounded(fit("log", above, pixels), 6)
    return rounded(fit("linear", values, pixels, zero=True), 6)


def _upright(
    chart: Chart,
    heights: list[list[float | None]],
    names: Sequence[str],
    values: Sequence[float],
    y: float,
) -> tuple[str, float]:
    top = y + 34
    scale = _value_scale(chart, values, (top + _MARKS, top))
    box = Box(frame.left_margin(scale.ticks(6)), top, WIDTH - PAD, top + _MARKS)
    bands = categories(names, box.left, box.right)
    axes = frame.y_axis(scale, box, chart.labels.y)
    parts = []
    for spot, height, words, class_ in _spots(chart, heights, bands, names):
        parts.append(_bar(scale, height, spot, (words, class_), upright=True))
    axis = frame.x_axis(bands, box, chart.labels.x)
    marks = element("g", *parts, class_="marks")
    return axes + marks + axis, box.bottom + (46 if chart.labels.x else 28)


def _lying(
    chart: Chart,
    heights: list[list[float | None]],
    names: Sequence[str],
    values: Sequence[float],
    y: float,
) -> tuple[str, float]:
    top = y + (34 if chart.labels.x else 14)
    each = max(22.0, 15.0 * len(heights) + 8)
    left = frame.left_margin([(at, name) for at, name in enumerate(names)])
    bottom = top + each * len(names)
    box = Box(left, top, WIDTH - PAD - 20, bottom)
    scale = _value_scale(chart, values, (box.left, box.right))
    bands = categories(names, top, bottom)
    labels = frame.y_axis(bands, box, chart.labels.x, about=len(names))
    parts = []
    for spot, height, words, class_ in _spots(chart, heights, bands, names):
        parts.append(_bar(scale, height, spot, (words, class_), upright=False))
    axis = frame.x_axis(scale, box, chart.labels.y)
    return axis + labels + element("g", *parts, class_="marks"), bottom + (
        46 if chart.labels.y else 28
    )


def _spots(
    chart: Chart, heights: list[list[float | None]], bands: Scale, names: Sequence[str]
) -> list[tuple[tuple[float, float], float, str, str]]:
    """Each bar: where it begins and how wide it is, its value, its words, its classes."""
    band = abs(bands(1) - bands(0))
    wide = min(band * (1 - _GAP) / max(1, len(heights)), 64.0)
    many = len({one.lane for one in chart.data.series}) > 1
    found = []
    styles: list[Look] = looks(chart.data.series, chart.revisions)
    for at, (row, series) in enumerate(zip(heights, chart.data.series, strict=True)):
        revision = chart.revisions[series.revision] if len(chart.revisions) > 1 else ""
        whose = " · ".join(one for one in (revision, series.name if many else "") if one)
        for place, value in enumerate(row):
            if value is None or not math.isfinite(value):
                continue
            begin = bands(place) + (at - len(heights) / 2) * wide
            words = f"{names[place]}{f' · {whose}' if whose else ''}: {write(value)}"
            dim = frame.lane_class(series.lane) if revision else ""
            class_ = f"series bar {styles[at].fill} r{series.revision}{dim}"
            found.append(((begin, wide), value, words, class_))
    return found


def _bar(
    scale: Scale, value: float, spot: tuple[float, float], words: tuple[str, str], upright: bool
) -> str:
    base = scale(max(scale.low, 0.0) if scale.kind == "linear" else scale.low)
    if scale.kind == "linear" and scale.high < 0:
        base = scale(scale.high)
    if scale.kind == "log" and value <= 0:
        return ""
    end = scale(value)
    begin, wide = spot
    near, long = min(base, end), max(abs(end - base), 0.6)
    title = element("title", escape(words[0]))
    thick = max(wide - (1.5 if wide > 6 else 0), 0.6)
    rx = 2.0 if min(thick, long) > 5 else None
    if upright:
        place = {"x": begin, "y": near, "width": thick, "height": long}
    else:
        place = {"x": near, "y": begin, "width": long, "height": thick}
    bar = element("rect", title, class_=words[1], rx=rx, **place)
    return bar + _value_beside(value, end, spot, upright)


def _value_beside(value: float, end: float, spot: tuple[float, float], upright: bool) -> str:
    """The number at the bar's end, where there is room for it."""
    words = write(value)
    begin, wide = spot
    if upright and wide >= width_of(words, 11) + 4:
        y = end - 5 if value >= 0 else end + 13
        return _number_at(words, begin + wide / 2, y, "middle")
    if not upright and wide >= 11:
        room = end + 5 + width_of(words, 11) < WIDTH - 2
        if room and value >= 0:
            return _number_at(words, end + 5, begin + wide / 2 + 3.5, "start")
    return ""


def _number_at(words: str, x: float, y: float, anchor: str) -> str:
    attributes = f'x="{number(x)}" y="{number(y)}" text-anchor="{anchor}" class="note"'
    return f"<text {attributes}>{escape(words)}</text>"


def _numbers(
    chart: Chart, heights: Heights, shown: Sequence[int], names: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    heads = []
    for one in chart.data.series:
        revision = chart.revisions[one.revision] if len(chart.revisions) > 1 else ""
        heads.append(" · ".join(word for word in (revision, one.name) if word))
    rows = [(chart.labels.x or "category", *heads)]
    for at, name in zip(shown, names, strict=True):
        rows.append((name, *(write(h[at]) if at in h else "" for h in heights)))
    return tuple(rows)
