"""Charts are well-formed, say what they leave out, and let nothing from data become markup."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import pytest

from dvlite.errors import CorruptError
from dvlite.plots.images import MAX_IMAGE_BYTES, data_uri, type_of
from dvlite.plots.options import apply_template, parse_options
from dvlite.plots.page import Page, render, standalone
from dvlite.plots.panels import Content, Panel, Plot, make_panel

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
HOSTILE = '"><script>alert(1)</script>\x00\x1b[31m&amp;'
DATA = b"step,loss,word,when\n0,1.5,cat,2026-01-01\n1,nan,dog,2026-01-02\n2,inf,cat,2026-01-03\n"
KINDS: dict[str, dict[str, Any]] = {
    "line": {"x": "step", "y": ["loss"]},
    "words": {"x": "word", "y": "loss"},
    "dates": {"x": "when", "y": "loss"},
    "scatter": {"template": "scatter", "x": "step", "y": "loss"},
    "smooth": {"template": "smooth", "y": "loss"},
    "log": {"x": "step", "y": "loss", "y_scale": "log", "x_scale": "log"},
    "bar": {"template": "bar", "x": "word", "y": "loss"},
    "lying": {"template": "bar_horizontal_sorted", "x": "word", "y": "loss"},
    "confusion": {"template": "confusion", "x": "word", "y": "when"},
    "normalized": {"template": "confusion_normalized", "x": "word", "y": "when"},
}


def panel(
    options: dict[str, Any], data: Sequence[bytes | None] = (DATA,), path: str = "p.csv"
) -> Panel:
    names = [f"rev{at}" for at in range(len(data))]
    found = {(path, at): one for at, one in enumerate(data) if one is not None}
    return make_panel(Plot("a plot", path, parse_options(options, "here")), Content(found), names)


def words(one: Panel) -> str:
    trees = [ElementTree.fromstring(standalone(drawing)) for drawing, _ in one.charts]
    return "\n".join(text for tree in trees for text in tree.itertext())


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("revisions", [1, 3])
def test_every_kind_is_well_formed(name: str, revisions: int) -> None:
    one = panel(KINDS[name], [DATA] * revisions)
    assert one.charts
    for drawing, _ in one.charts:
        tree = ElementTree.fromstring(standalone(drawing))
        assert tree.attrib["role"] == "img"
        assert drawing.summary in tree.attrib["aria-label"]
        for number in re.findall(r' (?:x|y|width|height)="([^"]+)"', standalone(drawing)):
            assert -1 <= float(number) <= 2000


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("data", [b"", b"step,loss,word,when\n", DATA.replace(b"inf", b""), None])
def test_every_kind_survives_little_data(name: str, data: bytes | None) -> None:
    words(panel(KINDS[name], [data]))
    words(panel(KINDS[name], [data, DATA]))


def test_a_chart_says_what_it_leaves_out() -> None:
    said = words(panel(KINDS["line"]))
    assert "1 of 3 values are no numbers: gaps" in said
    assert "1 of 3 values are infinite: arrows at the edge" in said
    log = {"x": "step", "y": "loss", "y_scale": "log"}
    assert "1 of 3 values are not above 0" in words(panel(log, [b"step,loss\n0,-1\n1,2\n2,3\n"]))
    assert "p.csv has no column nope" in words(panel({"y": "nope"}))
    assert "rev1: p.csv: not there" in words(panel(KINDS["line"], [DATA, None]))


def test_series_get_colours_by_revision_and_dashes_by_column() -> None:
    text = standalone(panel({"x": "step", "y": ["loss", "step"]}, [DATA, DATA]).charts[0][0])
    lines = re.findall(r'class="line (s\d)"(?: stroke-dasharray="([^"]+)")?', text)
    assert {("s0", ""), ("s1", ""), ("s0", "7 4"), ("s1", "7 4")} <= set(lines)


def test_several_files_make_one_plot() -> None:
    options = {"x": "step", "y": {"a.csv": "loss", "b.csv": "loss"}}
    plot = Plot("both", "", parse_options(options, "here"))
    assert plot.files == ("a.csv", "b.csv")
    content = Content({("a.csv", 0): DATA, ("b.csv", 0): DATA})
    said = words(make_panel(plot, content, ["now"]))
    assert "a.csv" in said
    assert "b.csv" in said


def test_bars_of_one_category_are_added_and_sorted() -> None:
    data = b"k,v\na,1\nb,5\na,2\n"
    chart = panel({"template": "bar_horizontal_sorted", "x": "k", "y": "v"}, [data]).charts[0][0]
    assert chart.numbers == (("k", "v"), ("b", "5"), ("a", "3"))


def test_a_confusion_matrix_counts_and_takes_rare_classes_together() -> None:
    data = b"t,p\na,a\na,b\nb,b\n"
    chart = panel({"template": "confusion", "x": "t", "y": "p"}, [data]).charts[0][0]
    assert chart.numbers[1:] == (("a", "1", "1"), ("b", "0", "1"))
    assert "66.7% on the diagonal" in chart.summary
    many = b"t,p\n" + b"".join(b"%d,%d\n" % (at, at) for at in range(500))
    assert (
        len(panel({"template": "confusion", "x": "t", "y": "p"}, [many]).charts[0][0].numbers) == 41
    )


def test_a_million_rows_are_a_small_chart() -> None:
    data = b"v\n" + b"".join(b"%d\n" % (at % 977) for at in range(1_000_000))
    assert len(render(Page("p", ("now",), [panel({"y": "v"}, [data])]))) < 300_000


def test_nothing_from_data_becomes_markup() -> None:
    header = f'step,"{HOSTILE.replace(chr(34), chr(34) * 2)}"\n'.encode()
    one = panel({"title": HOSTILE, "x_label": HOSTILE, "y_label": HOSTILE}, [header + b"1,2\n"])
    broken = panel({"y": HOSTILE}, [DATA])
    text = render(Page(HOSTILE, (HOSTILE, "b"), [one, broken], HOSTILE))
    assert text.count("<script") == 1
    assert "alert(1)</script>" not in text
    assert "\x1b" not in text
    for drawing, _ in (*one.charts, *broken.charts):
        ElementTree.fromstring(standalone(drawing))


def test_the_policy_comes_first_and_forbids_requests() -> None:
    for template in (None, "<!DOCTYPE html><html><head></head><body>{{plots}}</body></html>"):
        text = render(Page("p", ("now",), []), template)
        assert text.startswith(
            '<!doctype html>\n<meta charset="utf-8">\n<meta http-equiv="Content-S'
        )
        policy = re.search(r'content="(default-src[^"]+)"', text)
        assert policy
        assert "default-src 'none'; img-src data:;" in policy[1]
        assert "http" not in policy[1]
        assert text.lower().count("<!doctype") == 1


def test_a_page_template_is_filled_in_and_checked() -> None:
    page = Page("My <plots>", ("now",), [])
    assert "<h2>My &lt;plots&gt;</h2>" in render(page, "<h2>{{title}}</h2>{{ plots }}")
    with pytest.raises(CorruptError, match=r"has no \{\{plots"):
        render(page, "<h2>{{title}}</h2>")
    with pytest.raises(CorruptError, match=r"names \{\{secret"):
        render(page, "{{plots}}{{secret}}")


def test_a_plot_template_gives_options_below_the_plots_own() -> None:
    template = {"kind": "scatter", "title": "{title}: {y} by {x} in {path}", "x_label": "n"}
    own = {"template": "mine", "title": "Loss", "x": "step", "y": ["a", "b"], "x_label": "k"}
    assert apply_template(template, own, "t.csv") == {
        "kind": "scatter",
        "title": "Loss: a, b by step in t.csv",
        "x": "step",
        "y": ["a", "b"],
        "x_label": "k",
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"colour": "red"}, "no option 'colour'"),
        ({"template": "pie"}, "no template 'pie'"),
        ({"kind": "pie"}, "no kind 'pie'"),
        ({"x_scale": "sqrt"}, "linear or log"),
        ({"smooth": "1"}, "less than 1"),
        ({"sort": "maybe"}, "true or false"),
        ({"y": [["a"]]}, "a column, a list of columns"),
        ({"y": [str(at) for at in range(500)]}, "more than 200"),
        ({"title": ["a"]}, "title is a text"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(CorruptError, match=why):
        parse_options(options, "dvlite.yaml")


def test_images_are_what_their_bytes_say() -> None:
    assert type_of(PNG) == "image/png"
    assert type_of(b"\xff\xd8\xff\xe0") == "image/jpeg"
    assert type_of(b"GIF89a") == "image/gif"
    assert type_of(b"RIFF\0\0\0\0WEBPVP8 ") == "image/webp"
    svg = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by -->\n<svg xmlns="x">'
    assert type_of(svg) == "image/svg+xml"
    for other in (b"<html><svg>", b"", b"<script>", b"\x89PN", b"<svgx>"):
        assert type_of(other) is None
    with pytest.raises(CorruptError, match="whatever its name"):
        data_uri(b"<html>", "a.png")
    with pytest.raises(CorruptError, match="too large for a page"):
        data_uri(PNG + b"\0" * MAX_IMAGE_BYTES, "a.png")


def test_an_svg_image_stays_in_its_box() -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    one = panel({}, [svg, None, b"no image"], "a.svg")
    text = render(Page("p", ("x", "y", "z"), [one]))
    assert f'src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"' in text
    assert "not there" in text
    assert "whatever its name" in text
