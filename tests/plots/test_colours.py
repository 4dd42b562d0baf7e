"""The colours of series stay apart, also for people who see fewer."""

from __future__ import annotations

from itertools import combinations

import pytest

from dvlite.plots.colours import SERIES_DARK, SERIES_LIGHT, named

Triple = tuple[float, float, float]
# Machado, Oliveira and Fernandes (2009), full severity, for linear RGB.
SEEN_BY = {
    "everybody": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopes": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopes": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def linear(colour: str) -> Triple:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return r, g, b


def lab(rgb: Triple) -> Triple:
    r, g, b = (min(max(one, 0.0), 1.0) for one in rgb)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def seen(colour: str, by: str) -> Triple:
    rgb = linear(colour)
    rows = SEEN_BY[by]
    r, g, b = (sum(part * one for part, one in zip(row, rgb, strict=True)) for row in rows)
    return lab((r, g, b))


def luminance(colour: str) -> float:
    r, g, b = linear(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("by", SEEN_BY)
@pytest.mark.parametrize("series", [SERIES_LIGHT, SERIES_DARK])
def test_no_two_series_look_alike(series: tuple[str, ...], by: str) -> None:
    for one, other in combinations(series, 2):
        pairs = zip(seen(one, by), seen(other, by), strict=True)
        assert sum((a - b) ** 2 for a, b in pairs) ** 0.5 > 10, (one, other)


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_seen_on_its_page(dark: bool) -> None:
    colours = named(dark)
    for series in SERIES_DARK if dark else SERIES_LIGHT:
        assert contrast(series, colours["surface"]) > 2.7, series
    assert contrast(colours["ink"], colours["surface"]) > 10
    assert contrast(colours["muted"], colours["surface"]) > 4.5
    assert contrast(colours["muted"], colours["page"]) > 4.5
