"""What is around the marks of a chart: title, legend, axes, grid, notes.

Owns the layout: a chart is 720 wide; the margin on the left is as wide as the longest number needs,
the head as high as the legend. The label of the y axis stands above it, where it can be read
without turning the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dvlite.plots.colours import series_class
from dvlite.plots.scales import Scale
from dvlite.plots.svg import element, number, shorten, text, width_of

WIDTH = 720.0
PAD = 18.0
_TITLE_SIZE = 16.0
_LEGEND_LINE = 20.0
_SAMPLE = 22.0
# More would push the marks out of sight; the table below the chart has them all.
_MOST_KEYS = 24
DASHES: tuple[str | None, ...] = (None, "7 4", "2 4", "11 4 2 4", "4 3")


@dataclass(frozen=True, slots=True)
class Look:
    """How a series is told from others: colour and dashes, both counted from 0."""

    colour: int | None = 0
    dash: int = 0

    @property
    def class_(self) -> str:
        """The class of its colour (as a stroke)."""
        return "axis" if self.colour is None else series_class(self.colour)

    @property
    def fill(self) -> str:
        """The class of its colour (as a fill)."""
        return "f" + series_class(self.colour or 0)[1:]

    @property
    def dasharray(self) -> str | None:
        """The pattern of its line."""
        return DASHES[self.dash % len(DASHES)]


@dataclass(frozen=True, slots=True)
class Key:
    """An entry of the legend; `revision`: which one it stands for, if for one."""

    name: str
    look: Look
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """The area of the marks."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Labels:
    """The words around a chart."""

    title: str
    x: str = ""
    y: str = ""


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished chart: what is in its `<svg>`, how large it is, what it shows in words, and its
    numbers: a line for each series."""

    body: str
    width: float
    height: float
    title: str
    summary: str
    numbers: tuple[tuple[str, ...], ...] = ()


def lane_class(lane: int) -> str:
    """What sets bars of the same colour apart."""
    return f" lane{lane % 4}" if lane % 4 else ""


def head(title: str, keys: Sequence[Key], mark: str) -> tuple[str, float]:
    """Title and legend, and where they end; `mark` of the samples: line, dot or square."""
    parts = []
    y = PAD - 4
    if title:
        y += _TITLE_SIZE
        shown = shorten(title, WIDTH - 2 * PAD, _TITLE_SIZE)
        parts.append(text(shown, PAD, y, "title"))
        y += 8
    if len(keys) > 1 or any(key.name for key in keys):
        placed, y = _legend(keys, mark, y + 6)
        parts.append(placed)
    return "".join(parts), y


def _legend(keys: Sequence[Key], mark: str, top: float) -> tuple[str, float]:
    parts = []
    x, y = PAD, top + 8
    for key in keys[:_MOST_KEYS]:
        name = shorten(key.name, 300)
        wide = _SAMPLE + 6 + width_of(name) + 18
        if x > PAD and x + wide > WIDTH - PAD + 18:
            x, y = PAD, y + _LEGEND_LINE
        sample = _sample(key.look, mark, x, y)
        class_ = "k" if key.revision is None else f"k k{key.revision}"
        words = text(name, x + _SAMPLE + 6, y + 4, "key")
        parts.append(element("g", sample, words, class_=class_))
        x += wide
    if len(keys) > _MOST_KEYS:
        parts.append(text(f"and {len(keys) - _MOST_KEYS} more", PAD, y + _LEGEND_LINE + 4))
        y += _LEGEND_LINE
    return "".join(parts), y + 10


def _sample(look: Look, mark: str, x: float, y: float) -> str:
    if mark == "square":
        fill = "f-axis" if look.colour is None else look.fill + lane_class(look.dash)
        return element("rect", x=x + 8, y=y - 6, width=12, height=12, rx=2, class_=fill)
    if mark == "dot":
        dot = f"M{number(x + 14)},{number(y)}h0"
        ring = element("path", d=dot, class_="dots hole") if look.dash else ""
        return element("path", d=dot, class_=f"dots {look.class_}") + ring
    d = f"M{number(x)},{number(y)}h{number(_SAMPLE)}"
    return element("path", d=d, class_=f"line {look.class_}", stroke_dasharray=look.dasharray)


def left_margin(ticks: Sequence[tuple[float, str]], most: float = 220.0) -> float:
    """Room for the words beside the y axis."""
    widest = max((width_of(name) for _, name in ticks), default=0.0)
    return PAD + min(widest, most) + 10


def x_axis(scale: Scale, box: Box, label: str, lines: bool = True) -> str:
    """The axis below the marks, with ticks as far apart as their words need."""
    about = 8
    ticks = scale.ticks(about)
    while about > 2:
        widest = min(max((width_of(name) for _, name in ticks), default=1.0), 110.0)
        if len(ticks) * (widest + 16) <= box.right - box.left + widest:
            break
        about -= 1
        ticks = scale.ticks(about)
    room = (box.right - box.left) / max(1, len(ticks)) - 6
    parts = []
    for value, name in ticks:
        x = scale(value)
        if lines and scale.kind != "category":
            d = f"M{number(x)},{number(box.top)}V{number(box.bottom)}"
            parts.append(element("path", d=d, class_="grid"))
        most = max(room, 24.0) if scale.kind == "category" else 0.0
        parts.append(text(name, x, box.bottom + 18, "num", "middle", most))
    base = f"M{number(box.left)},{number(box.bottom)}H{number(box.right)}"
    parts.append(element("path", d=base, class_="axis"))
    if label:
        middle = (box.left + box.right) / 2
        parts.append(text(label, middle, box.bottom + 38, "name", "middle", 500))
    return "".join(parts)


def y_axis(scale: Scale, box: Box, label: str, about: int = 6) -> str:
    """The axis beside the marks, with a line at each tick."""
    parts = []
    for value, name in scale.ticks(about):
        y = scale(value)
        if scale.kind != "category":
            d = f"M{number(box.left)},{number(y)}H{number(box.right)}"
            parts.append(element("path", d=d, class_="grid"))
        parts.append(text(name, box.left - 8, y + 4, "num", "end", box.left - PAD))
    if label:
        parts.append(text(label, PAD, box.top - 15, "name", None, 640))
    return "".join(parts)


def notes(words: Sequence[str], top: float) -> tuple[str, float]:
    """What the reader should know about the marks, below everything; and where it ends."""
    parts = [text(one, PAD, top + 14 * at, "note", None, 720) for at, one in enumerate(words)]
    return "".join(parts), top + 14 * len(words)


def empty(labels: Labels, why: str) -> Drawing:
    """A chart without anything to draw says so."""
    top, y = head(labels.title, (), "line")
    height = 220.0
    frame = element(
        "rect", x=PAD, y=y + 8, width=WIDTH - 2 * PAD, height=height - y - 8 - PAD, rx=6, **_FRAME
    )
    middle = (y + 8 + height - PAD) / 2 + 4
    words = text(why, WIDTH / 2, middle, "t", "middle", WIDTH - 4 * PAD)
    return Drawing(top + frame + words, WIDTH, height, labels.title, why)


_FRAME = {"class_": "grid", "stroke_dasharray": "4 4"}
