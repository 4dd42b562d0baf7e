"""The series of a plot: which points belong to which column, file and revision.

Owns turning columns into numbers (what is none becomes NaN), telling numbers from dates from words
on the x axis, and thinning out: a million rows are drawn as the few thousand points that a screen
can show, with every peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dvlite.plots.scales import LARGEST, to_seconds
from dvlite.plots.table import Cell, Table

XKind = Literal["linear", "time", "category"]
# Each of so many stretches keeps its first, lowest, highest and last point, as M4 does (Jugel et
# al., VLDB 2014): no pixel of a line 600 wide differs from the one with all points.
_STRETCHES = 600
# A scatter's points that lie closer than this part of the plot are one.
_GRID = 280
_MOST_POINTS = 5000


@dataclass(frozen=True, slots=True)
class Source:
    """A table at a revision: `revision` counts from 0, in the order of what was asked for."""

    path: str
    revision: int
    table: Table


@dataclass(frozen=True, slots=True)
class Series:
    """Points that belong together. `name` says which column (and file), `lane` counts those."""

    name: str
    lane: int
    revision: int
    xs: Sequence[float]
    ys: Sequence[float]


@dataclass(slots=True)
class Collected:
    """All series of a plot. `names`: the categories on the x axis. `missing`: what was asked for
    and is not there."""

    series: list[Series] = field(default_factory=list)
    x_kind: XKind = "linear"
    names: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Pair:
    """A column of x (None: the rows' numbers) and one of y, of one source."""

    name: str
    lane: int
    source: Source
    xs: Sequence[Cell] | None
    ys: Sequence[Cell]


def collect(pairs: Sequence[Pair], words: bool = False) -> Collected:
    """The series of these columns; `words`: x are words, whatever they look like (bars)."""
    columns = [pair.xs for pair in pairs if pair.xs is not None]
    kind: XKind = "category" if words else _kind(columns)
    places: dict[str, int] = {}
    found = Collected(x_kind=kind)
    for pair in pairs:
        xs: Sequence[float]
        if pair.xs is None:
            xs = range(len(pair.ys))
            if kind == "category":
                xs = [places.setdefault(str(x), len(places)) for x in xs]
        elif kind == "category":
            xs = [places.setdefault(to_word(x), len(places)) for x in pair.xs]
        elif kind == "time":
            xs = [_time(x) for x in pair.xs]
        else:
            xs = to_numbers(pair.xs)
        ys = to_numbers(pair.ys)
        found.series.append(Series(pair.name, pair.lane, pair.source.revision, xs, ys))
    found.names = tuple(places)
    return found


def to_numbers(cells: Sequence[Cell]) -> list[float]:
    """Each cell as a number; NaN where it is none."""
    try:
        found = list(map(float, cells))  # a column without gaps, ten times as fast
    except (TypeError, ValueError, OverflowError):
        found = [_number(cell) for cell in cells]
    return [value if -LARGEST < value < LARGEST else _infinite(value) for value in found]


def to_word(cell: Cell) -> str:
    """A cell as the name of a category."""
    return cell if isinstance(cell, str) else "" if cell is None else str(cell)


def thin_line(xs: Sequence[float], ys: Sequence[float]) -> list[int]:
    """Which points to draw of a line: all, or the outline of each stretch."""
    count = len(xs)
    if count <= _STRETCHES * 4:
        return list(range(count))
    kept: list[int] = []
    for part in range(_STRETCHES):
        first, last = part * count // _STRETCHES, (part + 1) * count // _STRETCHES
        inside = [at for at in range(first, last) if ys[at] == ys[at]]
        if not inside:
            kept.append(first)
            continue
        low, high = min(inside, key=ys.__getitem__), max(inside, key=ys.__getitem__)
        # one gap of each stretch stays a gap
        gap = (
            [next(at for at in range(first, last) if ys[at] != ys[at])]
            if (len(inside) < last - first)
            else []
        )
        kept += sorted({inside[0], low, high, inside[-1], *gap})
    return kept


def thin_points(xs: Sequence[float], ys: Sequence[float]) -> list[int]:
    """Which points to draw of a scatter: one of those that would cover each other."""
    finite = [at for at in range(len(xs)) if _is_finite(xs[at]) and _is_finite(ys[at])]
    if len(finite) <= _MOST_POINTS:
        return finite
    low_x, low_y = min(xs[at] for at in finite), min(ys[at] for at in finite)
    wide = (max(xs[at] for at in finite) - low_x) or 1.0
    high = (max(ys[at] for at in finite) - low_y) or 1.0
    grid = _GRID
    while True:
        cells: dict[tuple[int, int], int] = {}
        for at in finite:
            cell = int((xs[at] - low_x) / wide * grid), int((ys[at] - low_y) / high * grid)
            cells.setdefault(cell, at)
        if len(cells) <= _MOST_POINTS:
            return list(cells.values())
        finite, grid = list(cells.values()), grid * 3 // 4


def smoothed(ys: Sequence[float], weight: float) -> list[float]:
    """The running mean in which what came before has this weight, without its bias to zero."""
    mean, share, found = 0.0, 0.0, []
    for y in ys:
        if not _is_finite(y):
            found.append(y)
            continue
        mean, share = mean * weight + y * (1 - weight), share * weight + 1 - weight
        found.append(mean / share)
    return found


def _kind(columns: Sequence[Sequence[Cell]]) -> XKind:
    """Words, unless every cell that is not empty is a number, or every one a date."""
    if not any(_is_filled(cell) for column in columns for cell in column):
        return "linear"
    if all(_is_number(cell) for column in columns for cell in column if _is_filled(cell)):
        return "linear"
    dates = all(
        isinstance(cell, str) and to_seconds(cell) is not None
        for column in columns
        for cell in column
        if _is_filled(cell)
    )
    return "time" if dates else "category"


def _is_filled(cell: Cell) -> bool:
    return cell is not None and cell != ""


def _is_number(cell: Cell) -> bool:
    try:
        float(cell)
    except (TypeError, ValueError):
        return False
    except OverflowError:
        return True
    return True


def _number(cell: Cell) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan
    except OverflowError:
        return math.inf if cell > 0 else -math.inf


def _infinite(value: float) -> float:
    return math.nan if value != value else math.copysign(math.inf, value)


def _time(cell: Cell) -> float:
    found = to_seconds(cell) if isinstance(cell, str) else None
    return math.nan if found is None else found


def _is_finite(value: float) -> bool:
    return -math.inf < value < math.inf
