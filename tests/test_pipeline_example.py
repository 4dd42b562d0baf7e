"""The pipeline of examples/: three experiments, and the first of them again on another machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from dvlite.pipeline.schema import schema
from tests.repositories import Repository

EXAMPLE = Path(__file__).parents[1] / "examples" / "pipeline"
CHANGES = [("", ""), ("columns: 10", "columns: 30"), ("rate: 0.5", "rate: 0.05")]
STAGES = ["prepare", "featurise", "train", "evaluate"]


@pytest.fixture
def experiments(repository: Repository) -> dict[str, str]:
    """Three commits with other hyperparameters, pushed; commit -> its metrics."""
    pytest.importorskip("sklearn", reason="NOT TESTED: the example pipeline (needs scikit-learn)")
    for path in EXAMPLE.glob("*.[py]*"):
        shutil.copy(path, repository.path)
    found = {}
    for number, (old, new) in enumerate(CHANGES):
        params = repository.read("params.yaml").decode()
        assert old in params
        repository.write({"params.yaml": params.replace(old, new).encode()})
        ran = json.loads(repository.dvlite("run", "--json").out)
        begin = min(number, 2)
        assert [one["what"] for one in ran] == ["unchanged"] * begin + ["ran"] * (4 - begin)
        repository.git("add", "-A")
        found[repository.commit(f"experiment {number}")] = repository.read("metrics.json").decode()
    repository.share()
    return found


def test_experiments_are_compared(repository: Repository, experiments: dict[str, str]) -> None:
    first, second, _ = experiments
    assert len(set(experiments.values())) == 3
    diff = json.loads(repository.dvlite("metrics", "diff", first, second, "--json").out)
    [change] = [one for one in diff["changes"] if one["key"] == "accuracy"]
    assert change["old"] > 0.9 and change["new"] > 0.9 and change["change"] != 0
    params = json.loads(repository.dvlite("params", "diff", first, second, "--json").out)
    assert [(one["key"], one["old"], one["new"]) for one in params["changes"]] == [
        ("featurise.columns", 10, 30)
    ]
    repository.dvlite("plots", "diff", first, second)
    page = repository.read("dvlite_plots/index.html").decode()
    assert "Loss in training" in page and "What it said" in page
    assert repository.dvlite("dag").out.startswith("● prepare\n└─● featurise\n")


def test_the_first_one_again_on_a_fresh_clone(
    repository: Repository, experiments: dict[str, str], tmp_path: Path
) -> None:
    first = next(iter(experiments))
    clone = repository.clone("clone")
    # with what ran already, from git and the remote: no stage is executed
    clone.git("checkout", "--quiet", "-b", "again", first)
    ran = json.loads(clone.dvlite("run", "--json").out)
    assert {one["what"] for one in ran} <= {"restored", "unchanged"}
    clone.dvlite("pull")
    assert clone.read("metrics.json").decode() == experiments[first]
    # and with all of it executed: identical
    folder = str(tmp_path / "first")
    words = ["reproduce", first, "--rerun", "-o", folder, "--json"]
    found = json.loads(clone.dvlite(*words).out)
    assert found["same"]
    assert [one["what"] for one in found["stages"]] == ["ran"] * len(STAGES)
    assert {one["what"] for one in found["outputs"]} == {"identical"}


def test_the_example_fits_the_schema() -> None:
    import jsonschema
    import yaml

    content = yaml.safe_load((EXAMPLE / "dvlite.yaml").read_text())
    jsonschema.Draft202012Validator(schema()).validate(content)
    assert list(content["stages"]) == STAGES
