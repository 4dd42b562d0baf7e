"""The colours of charts, for light and dark pages, and the style sheet that charts are drawn with.

The colours of series stay apart for people with the common kinds of colour blindness, and from the
page (tests/plots/test_colours.py computes both). They begin with those of Okabe and Ito ("Color
universal design", 2008), darkened or lightened until lines of 2 pixels can be seen.
"""

from __future__ import annotations

from collections.abc import Mapping

SERIES_LIGHT = (
    *("#0072b2", "#b54600", "#00916a", "#a64286"),
    *("#3d9fda", "#ba870e", "#3d434d", "#8c2d19"),
)
SERIES_DARK = (
    *("#56b4e9", "#ff8c42", "#15c598", "#d481b8"),
    *("#2f86c9", "#f2c231", "#c5ccd8", "#d0604a"),
)
_LIGHT = {"surface": "#ffffff", "ink": "#1c2330", "muted": "#5b6575", "grid": "#e6e9ee"} | {
    "axis": "#a3acb9",
    "page": "#f5f6f8",
    "heat": "#0b4f8a",
    "cold": "#eef4fa",
}
_DARK = {"surface": "#171b22", "ink": "#e8ecf2", "muted": "#9aa5b5", "grid": "#2a303a"} | {
    "axis": "#5b6575",
    "page": "#0f1217",
    "heat": "#7cc4f5",
    "cold": "#1d2733",
}


def named(dark: bool) -> dict[str, str]:
    """Every colour by its name, `s0` and up being those of series."""
    series = SERIES_DARK if dark else SERIES_LIGHT
    return {**(_DARK if dark else _LIGHT), **{f"s{at}": one for at, one in enumerate(series)}}


def variables(dark: bool) -> str:
    """The colours as CSS variables."""
    return "".join(f"--{name}:{colour};" for name, colour in named(dark).items())


def series_class(at: int) -> str:
    """The class of a series' colour; there are as many as there are colours, and then again."""
    return f"s{at % len(SERIES_LIGHT)}"


def chart_style(colours: Mapping[str, str]) -> str:
    """What every chart needs; `colours`: name -> colour, or the variable that holds it."""
    font = "font-family:system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"
    rules = [
        f".dv text{{{font};font-size:12px;fill:{colours['muted']}}}",
        f".dv .title{{font-size:16px;font-weight:600;fill:{colours['ink']}}}",
        f".dv .key,.dv .name{{fill:{colours['ink']}}}",
        ".dv .note{font-size:11px}",
        f".dv .f-axis{{fill:{colours['axis']}}}",
        ".dv .lane1{fill-opacity:.62}.dv .lane2{fill-opacity:.38}.dv .lane3{fill-opacity:.8}",
        f".dv .surface{{fill:{colours['surface']}}}",
        f".dv .grid{{stroke:{colours['grid']};stroke-width:1;fill:none}}",
        f".dv .axis{{stroke:{colours['axis']};stroke-width:1;fill:none}}",
        ".dv .line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}",
        ".dv .raw{stroke-width:1;stroke-opacity:.3}",
        ".dv .dots{fill:none;stroke-width:6;stroke-linecap:round}",
        ".dv .cloud{stroke-opacity:.75}",
        f".dv .hole{{stroke:{colours['surface']};stroke-width:2.6}}",
        f".dv .heat{{fill:{colours['heat']}}}.dv .cold{{fill:{colours['cold']}}}",
        f".dv .onheat{{fill:{colours['surface']}}}.dv .oncold{{fill:{colours['ink']}}}",
    ]
    for at in range(len(SERIES_LIGHT)):
        colour = colours[f"s{at}"]
        rules.append(f".dv .s{at}{{stroke:{colour}}}.dv .f{at}{{fill:{colour}}}")
    return "".join(rules)
