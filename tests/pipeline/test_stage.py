"""`dvlite stage`: adding to a file that people write, and listing."""

from __future__ import annotations

import json

import pytest

from tests.repositories import Repository

WRITTEN = b"""\
# our pipeline
vars:
  - size: 3   # small

stages:
    # first
    first:
        cmd: one   # a comment
        outs: [a]

    second:
        cmd: two
        deps:
            - a


# the end
plots: [p.csv]
"""


def stored(repository: Repository) -> str:
    return repository.read("dvlite.yaml").decode()


def test_a_first_stage_makes_the_file(repository: Repository) -> None:
    repository.dvlite(
        *("stage", "add", "train", "-d", "train.py", "-d", "data", "-p", "lr,net.depth"),
        *("-p", "o.toml:", "-p", "q.json:a", "-o", "model.pt", "-O", "small.txt"),
        *("--outs-persist", "logs", "-m", "m.json", "-M", "n.json", "--plots", "p.csv"),
        *("--plots-no-cache", "q.csv", "--desc", "makes it", "--env", "SEED=1"),
        *("--always-changed", "python", "train.py", "--fast", "a b"),
    )
    assert (
        stored(repository)
        == """\
stages:
  train:
    desc: makes it
    cmd: python train.py --fast 'a b'
    deps:
    - train.py
    - data
    params:
    - lr
    - net.depth
    - o.toml: null
    - q.json:
      - a
    outs:
    - model.pt
    - small.txt:
        cache: false
    - logs:
        persist: true
    metrics:
    - m.json
    - n.json:
        cache: false
    plots:
    - p.csv
    - q.csv:
        cache: false
    env:
      SEED: '1'
    always_changed: true
"""
    )
    assert "dvlite.yaml" in repository.git("diff", "--cached", "--name-only")
    listed = json.loads(repository.dvlite("stage", "list", "--json").out)
    assert listed[0]["commands"] == ["python train.py --fast 'a b'"]
    assert {out["path"]: out["cached"] for out in listed[0]["outs"]}["small.txt"] is False


def test_what_people_wrote_stays(repository: Repository) -> None:
    repository.write({"dvlite.yaml": WRITTEN})
    repository.dvlite("stage", "add", "third", "-d", "a", "three | four")
    expected = WRITTEN.replace(
        b"            - a\n",
        b"            - a\n    third:\n      cmd: three | four\n      deps:\n      - a\n",
    )
    assert repository.read("dvlite.yaml") == expected


def test_a_stage_is_replaced_where_it_stands(repository: Repository) -> None:
    repository.write({"dvlite.yaml": WRITTEN})
    assert "--force" in repository.dvlite("stage", "add", "first", "x", code=5).err
    assert repository.read("dvlite.yaml") == WRITTEN
    repository.dvlite("stage", "add", "--force", "first", "-o", "a", "x")
    expected = WRITTEN.replace(
        b"        cmd: one   # a comment\n        outs: [a]\n",
        b"      cmd: x\n      outs:\n      - a\n",
    )
    assert repository.read("dvlite.yaml") == expected
    repository.dvlite("stage", "add", "--force", "second", "y")
    assert stored(repository).endswith("    second:\n      cmd: y\n\n\n# the end\nplots: [p.csv]\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "stages:\n  a:\n    cmd: x\n"),
        ("vars: [b: 1]", "vars: [b: 1]\nstages:\n  a:\n    cmd: x\n"),
        ("stages:\nvars: [b: 1]\n", "stages:\n  a:\n    cmd: x\nvars: [b: 1]\n"),
        ("stages: {}  # none\n", "stages:  # none\n  a:\n    cmd: x\n"),
        ("stages:\n b:\n  cmd: y", "stages:\n b:\n  cmd: y\n a:\n   cmd: x\n"),
    ],
)
def test_other_layouts(repository: Repository, before: str, after: str) -> None:
    repository.write({"dvlite.yaml": before.encode()})
    repository.dvlite("stage", "add", "a", "x")
    assert stored(repository) == after


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["a b", "x"], 13, "cannot name a stage"),
        (["a"], 2, "needs a command"),
        (["a", "-o", "../x", "y"], 13, "leads out of the project"),
        (["a", "-d", "x", "-o", "x", "y"], 13, "what it makes itself"),
        (["a", "-o", "data", "y"], 4, "tracked on its own"),
        (["a", "-o", "data/a", "y"], 4, "tracked on its own"),
        (["a", "-o", "code.py", "y"], 4, "git tracks it"),
        (["a", "--env", "X", "y"], 2, "not NAME=VALUE"),
    ],
)
def test_what_does_not_fit_changes_nothing(
    repository: Repository, words: list[str], code: int, said: str
) -> None:
    repository.add_and_commit({"data/a": b"1"}, "data")
    assert said in repository.dvlite("stage", "add", *words, code=code).err
    assert not (repository.path / "dvlite.yaml").exists()


def test_braces_are_for_an_editor(repository: Repository) -> None:
    text = b"stages: {a: {cmd: x}}\n"
    repository.write({"dvlite.yaml": text})
    assert "in braces" in repository.dvlite("stage", "add", "b", "y", code=13).err
    assert repository.read("dvlite.yaml") == text


def test_stages_are_listed(repository: Repository) -> None:
    assert repository.dvlite("stage", "list").out == ""
    repository.write(
        {"dvlite.yaml": WRITTEN.replace(b"cmd: two", b"cmd: two\n        frozen: true")}
    )
    assert repository.dvlite("stage").out == "first   makes a\nsecond  makes nothing (frozen)\n"
    assert repository.dvlite("stage", "list", "--names", "second").out == "second\n"
    assert "no stage" in repository.dvlite("stage", "list", "nope", code=6).err
