"""Confusion matrices: how often each true class (x) was taken for each class (y)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dvlite.plots import frame
from dvlite.plots.frame import PAD, WIDTH, Drawing, Labels
from dvlite.plots.series import to_word
from dvlite.plots.svg import element, escape, text, width_of
from dvlite.plots.table import Cell

# More classes would be cells of less than 8 pixels: the rarest are taken together.
MOST_CLASSES = 40
_OTHER = "(other)"
_SIDE = 400.0


def draw(
    labels: Labels, actual: Sequence[Cell], predicted: Sequence[Cell], normalized: bool = False
) -> Drawing:
    """Draws the matrix; `normalized`: of each true class, the share that went to each class."""
    pairs = Counter(zip(map(to_word, actual), map(to_word, predicted), strict=False))
    if not pairs:
        return frame.empty(labels, "no data")
    classes, counts = _classes(pairs)
    totals: Counter[str] = Counter()
    for (true, _), count in counts.items():
        totals[true] += count
    top, y = frame.head(labels.title, (), "line")
    left = frame.left_margin([(0, name) for name in classes], 140.0) + 4
    side = min(_SIDE, max(62.0 * len(classes), 160.0))
    cell = side / len(classes)
    origin = ((WIDTH + left - PAD - side) / 2, y + 38)
    most = max(counts.values())
    parts = [text(labels.y or "predicted", origin[0], y + 24, "name")]
    for row, guess in enumerate(classes):
        for column, true in enumerate(classes):
            count = counts.get((true, guess), 0)
            share = count / totals[true] if totals[true] else 0.0
            depth = share if normalized else count / most
            words = _words(count, share, normalized)
            whole = f"{true} taken for {guess}: {count:,} ({share:.1%} of {true})"
            place = (origin[0] + column * cell, origin[1] + row * cell, cell)
            parts.append(_cell(place, depth, words, whole))
    parts += _names(classes, origin, cell)
    under = origin[1] + side
    parts.append(
        text(labels.x or "actual", origin[0] + side / 2, under + 38, "name", "middle", 500)
    )
    right = sum(counts.get((name, name), 0) for name in classes) / sum(counts.values())
    parts.append(
        text(f"{sum(counts.values()):,} rows, {right:.1%} on the diagonal", PAD, under + 62)
    )
    summary = f"Confusion matrix of {len(classes)} classes, {right:.1%} on the diagonal"
    marks = element("g", *parts, class_="marks")
    rows = [("actual / predicted", *classes)]
    rows += [(true, *(f"{counts.get((true, one), 0):,}" for one in classes)) for true in classes]
    return Drawing(top + marks, WIDTH, under + 76, labels.title, summary, tuple(rows))


def _classes(pairs: Counter[tuple[str, str]]) -> tuple[list[str], Counter[tuple[str, str]]]:
    """The classes in order (numbers by value), and the counts; the rarest taken together."""
    seen: Counter[str] = Counter()
    for pair, count in pairs.items():
        for name in pair:
            seen[name] += count
    names = sorted(seen, key=_by_value)
    if len(names) <= MOST_CLASSES:
        return names, pairs
    kept = {name for name, _ in seen.most_common(MOST_CLASSES - 1)}
    counts: Counter[tuple[str, str]] = Counter()
    for (true, guess), count in pairs.items():
        counts[true if true in kept else _OTHER, guess if guess in kept else _OTHER] += count
    return [*(name for name in names if name in kept), _OTHER], counts


def _by_value(name: str) -> tuple[bool, float, str]:
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _words(count: int, share: float, normalized: bool) -> str:
    if normalized:
        return f"{share:.2f}" if share else "0"
    return f"{count:,}"


def _cell(place: tuple[float, float, float], depth: float, words: str, whole: str) -> str:
    x, y, size = place
    inner = size - (2 if size > 14 else 0.5)
    spot: dict[str, float | None] = {"x": x, "y": y, "width": inner, "height": inner}
    spot["rx"] = 3 if size > 20 else None
    title = element("title", escape(whole))
    parts = [element("rect", class_="cold", **spot)]
    if depth > 0:
        shade = f"{0.08 + 0.92 * depth:.3f}"
        parts.append(element("rect", class_="heat", fill_opacity=shade, **spot))
    if width_of(words) <= inner - 2 and size >= 15:
        class_ = "onheat" if depth > 0.5 else "oncold"
        middle = {"x": x + inner / 2, "y": y + inner / 2 + 4.2}
        parts.append(element("text", escape(words), class_=class_, text_anchor="middle", **middle))
    return element("g", title, *parts)


def _names(classes: Sequence[str], origin: tuple[float, float], cell: float) -> list[str]:
    """The classes beside and below the matrix; every few of them where cells are small."""
    parts = []
    every = max(1, round(14 / cell + 0.49))
    across = cell * every
    for at in range(0, len(classes), every):
        middle = at * cell + cell / 2
        beside = text(
            classes[at], origin[0] - 8, origin[1] + middle + 4, "num", "end", origin[0] - PAD
        )
        x, y = origin[0] + middle, origin[1] + cell * len(classes) + 16
        below = text(classes[at], x, y, "num", "middle", max(across - 2, 26.0))
        parts += [beside, below]
    return parts
