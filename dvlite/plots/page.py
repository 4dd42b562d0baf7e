"""The page: all plots in one HTML file that needs no network, and a chart as a file of its own.

Owns that nothing leaves the page: its policy (a `meta` tag, which comes before anything else)
forbids every request, images are inside as `data:`, and of scripts only ours runs, known by its
hash. Everything that comes from data or from a repository is escaped. A page template is HTML with
`{{plots}}` in it; its own scripts do not run.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dvlite.errors import CorruptError
from dvlite.plots.colours import SERIES_LIGHT, chart_style, named, variables
from dvlite.plots.frame import Drawing
from dvlite.plots.panels import Panel
from dvlite.plots.svg import element, escape, number

MAX_TEMPLATE_BYTES = 1 << 20
_NAMESPACE = "http://www.w3.org/2000/svg"
_SLOT = re.compile(r"\{\{ *([a-z]+) *\}\}")
_SLOTS = ("title", "revisions", "plots", "style", "script", "made")
_MOST_ROWS = 60
_DOCTYPE = re.compile(r"\A(?:\ufeff)?\s*<!doctype[^>]*>\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """What is on a page. `made`: when, and by what."""

    title: str
    revisions: tuple[str, ...]
    panels: Sequence[Panel]
    made: str = ""


def standalone(drawing: Drawing) -> str:
    """A chart as an SVG file, on white."""
    colours = named(dark=False)
    size = {"width": drawing.width, "height": drawing.height}
    back = element("rect", fill=colours["surface"], **size)
    style = f"<style>{chart_style(colours)}</style>"
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _svg(drawing, style + back, size) + "\n"


def render(page: Page, template: str | None = None) -> str:
    """The page, by the template or by ours.

    Raises:
        CorruptError: a template without `{{plots}}`, or with a name that there is not.
    """
    text = _asset("page.html") if template is None else _checked(template)
    script = _asset("page.js")
    parts = {
        "title": escape(page.title),
        "revisions": _toggles(page.revisions),
        "plots": "\n".join(_panel(panel, page.revisions) for panel in page.panels),
        "style": f"<style>{_style(len(page.revisions))}</style>",
        "script": f"<script>{script}</script>",
        "made": escape(page.made),
    }
    body = _SLOT.sub(lambda one: parts[one[1]], _DOCTYPE.sub("", text))
    return f"<!doctype html>\n{_policy(script)}\n{body}"


def _policy(script: str) -> str:
    """The parser puts what comes first into the head, so that it counts for all of the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    rules = [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    policy = "; ".join(rules)
    return (
        f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">'
    )


def _checked(template: str) -> str:
    names = set(_SLOT.findall(template))
    unknown = sorted(names - set(_SLOTS))
    if unknown or "plots" not in names:
        what = f"names {{{{{unknown[0]}}}}}, which there is not" if unknown else "has no {{plots}}"
        known = ", ".join(f"{{{{{one}}}}}" for one in _SLOTS)
        raise CorruptError(f"the page template {what}", f"there are {known}")
    return template


@cache
def _asset(name: str) -> str:
    return files("dvlite.plots").joinpath(name).read_text(encoding="utf-8")


def _style(revisions: int) -> str:
    """The colours of both kinds of pages, the charts, and what hides a revision."""
    by_name = {name: f"var(--{name})" for name in named(dark=False)}
    dark = variables(dark=True)
    hiding = "".join(
        f":root:has(#rev{at}:not(:checked)) .r{at}{{display:none}}"
        f":root:has(#rev{at}:not(:checked)) .k{at}{{opacity:.35}}"
        for at in range(revisions if revisions > 1 else 0)
    )
    return (
        f":root{{color-scheme:light dark;{variables(dark=False)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"{_asset('page.css')}{chart_style(by_name)}{hiding}"
    )


def _toggles(revisions: Sequence[str]) -> str:
    """A box to tick for each revision; they work without a script."""
    if len(revisions) < 2:
        return f'<p class="one">{escape(revisions[0])}</p>' if revisions else ""
    boxes = "".join(
        f'<label class="rev"><input type="checkbox" id="rev{at}" checked>'
        f'<span class="swatch b{at % len(SERIES_LIGHT)}"></span>{escape(name)}</label>'
        for at, name in enumerate(revisions)
    )
    return f'<fieldset class="revs"><legend>Revisions</legend>{boxes}</fieldset>'


def _panel(panel: Panel, revisions: Sequence[str]) -> str:
    if panel.pictures:
        return _pictures(panel, revisions)
    shown = []
    for drawing, revision in panel.charts:
        class_ = "plot" if revision is None else f"plot r{revision}"
        inside = _svg(drawing, "") + _numbers(drawing)
        shown.append(f'<figure class="{class_}">{inside}</figure>')
    return "\n".join(shown)


def _pictures(panel: Panel, revisions: Sequence[str]) -> str:
    shown = []
    for one in panel.pictures:
        name = revisions[one.revision] if len(revisions) > 1 else ""
        alt = escape(f"{panel.name} {name}".strip())
        inside = f'<p class="none">{escape(one.why)}</p>'
        if one.uri:
            inside = f'<img src="{one.uri}" alt="{alt}" loading="lazy">'
        caption = f"<span>{escape(name)}</span>" if name else ""
        shown.append(f'<div class="picture r{one.revision}">{caption}{inside}</div>')
    wide = " wide" if len(panel.pictures) > 1 else ""
    title = f"<figcaption>{escape(panel.name)}</figcaption>"
    return (
        f'<figure class="plot{wide}">{title}<div class="pictures">{"".join(shown)}</div></figure>'
    )


def _svg(drawing: Drawing, first: str, size: dict[str, float] | None = None) -> str:
    box = f"0 0 {number(drawing.width)} {number(drawing.height)}"
    about = element("title", escape(drawing.title)) + element("desc", escape(drawing.summary))
    return element(
        "svg",
        about,
        first,
        element("g", drawing.body, class_="dv"),
        xmlns=_NAMESPACE,
        viewBox=box,
        role="img",
        aria_label=f"{drawing.title}: {drawing.summary}",
        **(size or {}),
    )


def _numbers(drawing: Drawing) -> str:
    """The chart's numbers as a table, for whoever wants to read or copy them."""
    if len(drawing.numbers) < 2:
        return ""
    first, *rows = drawing.numbers
    heads = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in first)
    lines = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[:_MOST_ROWS]
    )
    more = f"<p>and {len(rows) - _MOST_ROWS} more</p>" if len(rows) > _MOST_ROWS else ""
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>"
    return f'<details><summary>Numbers</summary><div class="scroll">{table}</div>{more}</details>'
