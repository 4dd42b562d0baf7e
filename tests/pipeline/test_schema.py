"""The schema for editors says what the reader says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from dvlite.pipeline.schema import schema
from dvlite.pipeline.stagefile import STAGE_KEYS, TOP_KEYS
from tests.pipeline.test_stagefile import pipeline
from tests.repositories import Repository

PUBLISHED = Path(__file__).parents[2] / "docs" / "dvlite.schema.json"
GOOD = [
    "stages:",
    "stages: {a: {cmd: x}}",
    "stages: {a: {cmd: [x, y], deps: a, outs: {b: {cache: false}}, params: [a, {b: [c]}, {d: }]}}",
    "stages: {a: {foreach: [1], do: {cmd: x}}, b: {matrix: {n: [1]}, cmd: x, frozen: true}}",
    "stages: {a: {cmd: x, plots: [{p.csv: {x: a, title: b}}], metrics: [m], env: {A: 1}}}",
    "vars: [a: 1]\nplots: [p.csv, {q: {y: {p.csv: a}}}]\nmetrics: m\nparams: [a]",
    "stages: {a: {cmd: x, deps: [{path: a, rev: v1}], wdir: b, desc: c, always_changed: false}}",
]
BAD = [
    "stages: [1]",
    "stagse: {}",
    "stages: {a: {deps: [x]}}",
    "stages: {a: {cmd: x, outs: [{b: {chache: true}}]}}",
    "stages: {a: {cmd: x, deps: [{rev: v1}]}}",
    "stages: {'a b': {cmd: x}}",
    "stages: {a: {cmd: x, frozen: 1}}",
    "stages: {a: {foreach: [1]}}",
]


def check(text: str) -> None:
    tree: Any = yaml.safe_load(text)
    jsonschema.Draft202012Validator(schema()).validate(tree)


def test_it_is_a_schema_and_the_published_one() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(PUBLISHED.read_text()) == schema()


def test_it_knows_every_key_of_the_reader() -> None:
    assert set(schema()["properties"]) == set(TOP_KEYS)
    assert set(schema()["$defs"]["stage"]["properties"]) == set(STAGE_KEYS)


@pytest.mark.parametrize("text", GOOD)
def test_what_the_reader_takes_is_valid(text: str) -> None:
    pipeline(text + "\n")
    check(text)


@pytest.mark.parametrize("text", BAD)
def test_what_it_refuses_is_not(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(text)


def test_the_command_prints_it(repository: Repository) -> None:
    assert json.loads(repository.dvlite("stage", "schema").out) == schema()
