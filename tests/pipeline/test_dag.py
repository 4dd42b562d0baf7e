"""`dvlite dag`: the drawing of a pipeline, in each form."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dvlite.pipeline.dag import Box, Dag
from dvlite.pipeline.dagsvg import draw_svg
from dvlite.pipeline.dagtext import draw_text
from tests.repositories import Repository

STAGES = """\
stages:
  prepare: {cmd: a, deps: [raw], outs: [clean], desc: "cleans <raw>"}
  featurise: {cmd: b, deps: [clean], outs: [feats]}
  train: {cmd: c, deps: [feats], params: [lr], outs: [model]}
  side: {cmd: d}
  evaluate: {cmd: e, deps: [model, clean], metrics: [m.json]}
  grid: {matrix: {n: [1, 2, 3, 4, 5]}, cmd: f, deps: [feats], outs: ["g${item.n}"]}
  last: {cmd: g, deps: [g3, m.json]}
"""


@pytest.fixture
def piped(repository: Repository) -> Repository:
    repository.write({"dvlite.yaml": STAGES.encode(), "params.yaml": b"lr: 1\n"})
    return repository


def test_it_is_drawn_as_text(piped: Repository) -> None:
    assert piped.dvlite("dag").out == (
        "● prepare\n"
        "├─● featurise\n"
        "│ ├─● train\n"
        "│ │ │ ● side\n"
        "└─│─┴─● evaluate\n"
        "  └─● │ grid (5 cells)\n"
        "    └─┴─● last\n"
    )


def test_a_stage_is_drawn_with_what_it_needs(piped: Repository) -> None:
    assert piped.dvlite("dag", "train").out == "● prepare\n└─● featurise\n  └─● train\n"
    assert "grid@3" in piped.dvlite("dag", "last").out
    assert "g5" not in piped.dvlite("dag", "last").out
    assert piped.dvlite("dag", "--cells").out.count("grid@") == 5


def test_files_stand_between_the_stages(piped: Repository) -> None:
    lines = piped.dvlite("dag", "featurise", "--outs").out.splitlines()
    assert lines == [
        "○ raw",
        "└─● prepare",
        "  └─○ clean",
        "    └─● featurise",
        "      └─○ feats",
    ]


def test_terminals_without_unicode_get_ascii() -> None:
    dag = Dag((Box("a"), Box("b"), Box("c")), ((), (0,), (0, 1)))
    assert draw_text(dag, ascii_only=True) == ["* a", "|-* b", "`-'-* c"]


def test_mermaid_and_dot_are_for_other_tools(piped: Repository) -> None:
    mermaid = piped.dvlite("dag", "train", "--mermaid").out
    assert mermaid.splitlines() == [
        "flowchart TD",
        '    n0["prepare"]',
        '    n1["featurise"]',
        '    n2["train"]',
        "    n0 --> n1",
        "    n1 --> n2",
    ]
    assert "n0 -> n1;" in piped.dvlite("dag", "--dot").out


def test_a_file_is_written_in_the_form_that_its_name_tells(
    piped: Repository, tmp_path: Path
) -> None:
    for name, begin in (
        ("d.svg", "<svg"),
        ("d.mmd", "flowchart"),
        ("d.dot", "digraph"),
        ("d", "●"),
    ):
        piped.dvlite("dag", "-o", str(tmp_path / name))
        assert (tmp_path / name).read_text().startswith(begin)


def test_the_picture_is_xml_with_every_box_apart(piped: Repository, tmp_path: Path) -> None:
    piped.dvlite("dag", "--outs", "--cells", "-o", str(tmp_path / "d.svg"))
    root = ElementTree.parse(tmp_path / "d.svg").getroot()
    boxes = [
        tuple(float(box.get(key) or 0) for key in ("x", "y", "width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert len(boxes) == 11 + 11
    for number, (x, y, width, _) in enumerate(boxes):
        assert x >= 0 and x + width <= float(root.get("width") or 0)
        for other in boxes[number + 1 :]:
            apart = other[1] != y or other[0] >= x + width or other[0] + other[2] <= x
            assert apart, (boxes[number], other)
    assert "cleans &lt;raw&gt;" in (tmp_path / "d.svg").read_text()


def test_names_cannot_break_out_of_the_picture() -> None:
    drawn = draw_svg(Dag((Box('</text><script>"\x1b', about="<b>"),), ((),)))
    ElementTree.fromstring(drawn)
    assert "<script>" not in drawn and "\x1b" not in drawn


def test_large_pipelines_are_drawn() -> None:
    boxes = tuple(Box(f"s{n}") for n in range(400))
    dag = Dag(boxes, tuple(tuple({n // 2, n - 1} - {n, -1}) for n in range(400)))
    assert len(draw_text(dag)) == 400
    ElementTree.fromstring(draw_svg(dag))


def test_json_has_boxes_and_what_they_need(piped: Repository) -> None:
    found = {one["name"]: one for one in json.loads(piped.dvlite("dag", "--json").out)}
    assert found["grid"] == {"name": "grid", "kind": "stage", "cells": 5, "needs": ["featurise"]}


def test_an_older_pipeline_and_none_at_all(piped: Repository) -> None:
    assert "no stages at HEAD" in piped.dvlite("dag", "--rev", "HEAD", code=6).err
    piped.git("add", "-A")
    piped.commit()
    piped.write({"dvlite.yaml": b"stages:\n"})
    assert "no stages here" in piped.dvlite("dag", code=6).err
    assert "evaluate" in piped.dvlite("dag", "--rev", "HEAD").out
    assert "no stage" in piped.dvlite("dag", "--rev", "HEAD", "nope", code=6).err
