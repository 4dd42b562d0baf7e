"""The graph of a pipeline as a picture: SVG that needs nothing else.

Owns the layout, after Sugiyama, Tagawa and Toda (1981): each box is a row below all that it needs,
arrows over several rows bend where they pass a row, boxes of a row are ordered by where their
neighbours are, and then moved as near to them as the others allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from dvlite.pipeline.dag import Box, Dag

_CHAR, _PAD, _HEIGHT, _GAP, _ROW, _MARGIN = 7.6, 14, 34, 26, 46, 20
_SWEEPS = 8
_MAX_LABEL = 42
_STYLE = """
svg{background:#fff;font:13px ui-sans-serif,system-ui,-apple-system,"Segoe UI",sans-serif}
.s{fill:#eef4fb;stroke:#3b6ea5}.f{fill:#fbf6e9;stroke:#b08a2e}.s,.f{stroke-width:1.3}
text{fill:#16222e;text-anchor:middle;dominant-baseline:central}
.e{fill:none;stroke:#7b8a99;stroke-width:1.4}.h{fill:#7b8a99}
@media (prefers-color-scheme:dark){svg{background:#14181d}text{fill:#e6edf3}
.s{fill:#1d2b3a;stroke:#6ea8e0}.f{fill:#2d2818;stroke:#d1a945}.e{stroke:#8896a5}.h{fill:#8896a5}}
"""


@dataclass(slots=True)
class _Spot:
    """A box in its row, or (`box` None) where an arrow passes one."""

    row: int
    box: Box | None = None
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    x: float = 0.0

    @property
    def width(self) -> float:
        """Pixels: of its label, or of a chain that passes by."""
        return len(_label(self.box)) * _CHAR + 2 * _PAD if self.box else 4.0


def draw_svg(dag: Dag) -> str:
    """The picture, light or dark as the reader's screen is."""
    spots, chains = _spots(dag)
    rows = _ordered(spots)
    _place(spots, rows)
    left = min(spot.x - spot.width / 2 for spot in spots)
    right = max(spot.x + spot.width / 2 for spot in spots)
    for spot in spots:
        spot.x += _MARGIN - left
    width = right - left + 2 * _MARGIN
    height = len(rows) * (_HEIGHT + _ROW) - _ROW + 2 * _MARGIN
    body = [*(_arrow([spots[at] for at in chain]) for chain in chains)]
    body += [_drawn(spot, spot.box) for spot in spots if spot.box is not None]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="pipeline">\n'
        f"<style>{_STYLE}</style>\n"
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="h" d="M0 0 8 4 0 8z"/></marker></defs>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _label(box: Box | None) -> str:
    text = box.label if box is not None else ""
    return text if len(text) <= _MAX_LABEL else text[: _MAX_LABEL - 1] + "…"


def _spots(dag: Dag) -> tuple[list[_Spot], list[list[int]]]:
    """The boxes in rows, and for each arrow the spots that it passes, first to last."""
    spots: list[_Spot] = []
    for box, needed in zip(dag.boxes, dag.needs, strict=True):
        above = [spots[other].row + 1 for other in needed if other < len(spots)]
        spots.append(_Spot(max(above, default=0), box))
    chains = []
    for number, needed in enumerate(dag.needs):
        for other in needed:
            if spots[other].row >= spots[number].row:
                continue
            chain = [other]
            for row in range(spots[other].row + 1, spots[number].row):
                spots.append(_Spot(row))
                chain.append(len(spots) - 1)
            chain.append(number)
            for one, next_one in pairwise(chain):
                spots[one].below.append(next_one)
                spots[next_one].above.append(one)
            chains.append(chain)
    return spots, chains


def _ordered(spots: Sequence[_Spot]) -> list[list[int]]:
    """The spots of each row, ordered by the middle of their neighbours' places."""
    rows: list[list[int]] = [[] for _ in range(max(spot.row for spot in spots) + 1)]
    for number, spot in enumerate(spots):
        rows[spot.row].append(number)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        places = {at: place for row in rows for place, at in enumerate(row)}
        for row in rows if down else reversed(rows):
            keys = {}
            for at in row:
                near = spots[at].above if down else spots[at].below
                keys[at] = sum(places[one] for one in near) / len(near) if near else places[at]
            row.sort(key=lambda at, by=keys: by[at])  # type: ignore[misc]
            places.update((at, place) for place, at in enumerate(row))
    return rows


def _place(spots: Sequence[_Spot], rows: Sequence[Sequence[int]]) -> None:
    for row in rows:
        edge = 0.0
        for at in row:
            spots[at].x = edge + spots[at].width / 2
            edge += spots[at].width + _GAP
    for sweep in range(2 * _SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            _settle(spots, row, down)


def _settle(spots: Sequence[_Spot], row: Sequence[int], down: bool) -> None:
    """Moves a row's spots to the middle of their neighbours, as far as nothing overlaps: the mean
    of pushing from the left and from the right."""
    aims = []
    for at in row:
        near = spots[at].above if down else spots[at].below
        aims.append(sum(spots[one].x for one in near) / len(near) if near else spots[at].x)
    from_left, from_right = list(aims), list(aims)
    apart = [(spots[one].width + spots[other].width) / 2 + _GAP for one, other in pairwise(row)]
    for place in range(1, len(row)):
        least = from_left[place - 1] + apart[place - 1]
        from_left[place] = max(aims[place], least)
    for place in range(len(row) - 2, -1, -1):
        most = from_right[place + 1] - apart[place]
        from_right[place] = min(aims[place], most)
    for at, left, right in zip(row, from_left, from_right, strict=True):
        spots[at].x = (left + right) / 2


def _top(spot: _Spot) -> float:
    return _MARGIN + spot.row * (_HEIGHT + _ROW)


def _arrow(chain: Sequence[_Spot]) -> str:
    points = list(_points(chain))
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        path += f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}"
    return f'<path class="e" marker-end="url(#a)" d="{path}"/>'


def _points(chain: Sequence[_Spot]) -> Iterator[tuple[float, float]]:
    yield chain[0].x, _top(chain[0]) + _HEIGHT
    for spot in chain[1:-1]:
        yield spot.x, _top(spot)
        yield spot.x, _top(spot) + _HEIGHT
    yield chain[-1].x, _top(chain[-1])


def _drawn(spot: _Spot, box: Box) -> str:
    kind, round_by = ("f", _HEIGHT / 2) if box.is_file else ("s", 6)
    left, top = spot.x - spot.width / 2, _top(spot)
    title = f"<title>{escape(_clean(box.about))}</title>" if box.about else ""
    return (
        f'<g>{title}<rect class={quoteattr(kind)} x="{left:.1f}" y="{top:.1f}" '
        f'width="{spot.width:.1f}" height="{_HEIGHT}" rx="{round_by:g}"/>'
        f'<text x="{spot.x:.1f}" y="{top + _HEIGHT / 2:.1f}">'
        f"{escape(_clean(_label(box)))}</text></g>"
    )


def _clean(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c if c.isprintable() else "�" for c in text)
