"""`dvlite metrics`, `params` and declared plots: at the workspace and at revisions."""

from __future__ import annotations

import json

import pytest

from tests.repositories import Repository

PIPELINE = b"""\
metrics: [extra.json]
plots:
  - losses: {x: {loss.csv: step}, y: {loss.csv: loss}, title: Losses}
stages:
  train:
    cmd: sh make.sh
    deps: [make.sh]
    params: [lr, net.depth, {conf.toml: }]
    metrics:
      - score.json
      - small.yaml:
          cache: false
    plots:
      - loss.csv: {x: step}
"""
MAKE = b"""\
lr=$(sed -n 's/lr: //p' params.yaml)
echo "{\\"accuracy\\": 0.$lr, \\"deep\\": {\\"f1\\": [1, $lr]}}" > score.json
echo "loss: $lr" > small.yaml
printf 'step,loss\\n0,1\\n1,0.%s\\n' $lr > loss.csv
"""


@pytest.fixture
def trained(repository: Repository) -> Repository:
    """Two commits with different parameters, and a third set in the workspace."""
    repository.write({"dvlite.yaml": PIPELINE, "make.sh": MAKE, "extra.json": b'{"n": 1}'})
    repository.write({"conf.toml": b"[a]\nb = 1\n"})
    for lr in (1, 2, 3):
        repository.write({"params.yaml": b"lr: %d\nnet: {depth: 5}\nother: %d\n" % (lr, lr)})
        repository.dvlite("run")
        if lr < 3:
            repository.git("add", "-A")
            repository.commit(f"lr {lr}")
            repository.git("tag", f"v{lr}")
    return repository


def test_metrics_are_shown(trained: Repository) -> None:
    lines = trained.dvlite("metrics", "show").out.splitlines()
    assert lines[0].split() == ["Path", "Key", "Value"]
    assert ["score.json", "accuracy", "0.3"] in [line.split() for line in lines]
    assert any("deep.f1" in line for line in lines) and any("extra.json" in line for line in lines)
    found = json.loads(trained.dvlite("metrics", "show", "--all-tags", "--json").out)
    values = {
        one["revision"]: {value["key"]: value["value"] for value in one["values"]}
        for one in found["revisions"]
    }
    assert values["v1"]["accuracy"] == 0.1 and values["v2"]["loss"] == 2
    table = trained.dvlite("metrics", "show", "--rev", "v1", "--rev", "v2", "--md").out
    assert "| v1" in table and "| v2" in table


def test_metrics_are_compared(trained: Repository) -> None:
    found = json.loads(trained.dvlite("metrics", "diff", "--json").out)
    text = json.dumps(found)
    assert '"accuracy"' in text and "extra.json" not in text
    said = trained.dvlite("metrics", "diff", "v1", "v2", "--precision", "2").out
    assert "accuracy" in said and "0.1" in said and "0.2" in said
    everything = trained.dvlite("metrics", "diff", "v1", "v2", "--all").out
    assert "extra.json" in everything
    assert "| " in trained.dvlite("metrics", "diff", "--md").out
    only = trained.dvlite("metrics", "diff", "v1", "--targets", "small.yaml").out
    assert "loss" in only and "accuracy" not in only


def test_parameters_are_compared(trained: Repository) -> None:
    said = trained.dvlite("params", "diff", "v1").out
    assert "lr" in said and "other" not in said and "depth" not in said
    trained.write({"conf.toml": b"[a]\nb = 2\n"})
    found = trained.dvlite("params", "diff", "--json").out
    assert "a.b" in found and "lr" in found
    assert "depth" in trained.dvlite("params", "diff", "--all").out


def test_content_that_is_nowhere_is_named_and_the_rest_is_shown(trained: Repository) -> None:
    trained.share()
    trained.git("push", "--quiet", "--tags", "origin")
    clone = trained.clone("clone")
    ran = clone.dvlite("metrics", "diff", "v1", "v2")
    assert "score.json" in ran.err and "loss" in ran.out
    trained.dvlite("push", "--all-commits")
    assert "accuracy" in clone.dvlite("metrics", "diff", "v1", "v2", "--fetch").out


def test_files_that_are_not_metrics_are_refused(trained: Repository) -> None:
    trained.write({"broken.json": b"{"})
    assert "broken.json" in trained.dvlite("metrics", "show", "broken.json").err
    assert "there is no nope.json" in trained.dvlite("metrics", "show", "nope.json", code=4).err


def test_declared_plots_are_drawn(trained: Repository) -> None:
    found = json.loads(trained.dvlite("plots", "show", "--json").out)
    assert [one["name"] for one in found["plots"]] == ["loss.csv", "losses"]
    assert found["plots"][1]["title"] == "Losses"
    trained.dvlite("plots", "diff", "v1", "v2")
    page = trained.read("dvlite_plots/index.html").decode()
    assert "Losses" in page and "v1" in page and "<svg" in page


def test_without_declarations_somebody_says_what_to_do(repository: Repository) -> None:
    assert "declares no plots" in repository.dvlite("plots", "show", code=4).err
    assert "no metrics" in repository.dvlite("metrics", "show").out


def test_keys_and_values_that_are_no_utf8_are_shown(repository: Repository) -> None:
    repository.write({"m.json": b'{"\\ud800a": "\\udfff", "b": 1}'})
    shown = repository.dvlite("metrics", "show", "m.json").out
    assert "?a" in shown and '"?"' in shown
    json.loads(repository.dvlite("metrics", "show", "m.json", "--json").out)
