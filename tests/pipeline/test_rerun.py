"""`dvlite reproduce --rerun`: a past pipeline runs again, and what differs is told in numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.repositories import Repository

PIPELINE = b"""\
stages:
  make:
    cmd: sh make.sh > table.csv && mkdir parts && cp table.csv parts/a.csv && echo x > parts/b
    deps: [make.sh]
    params: [n]
    outs: [table.csv, parts]
  score:
    cmd: sh score.sh > score.json
    deps: [score.sh, table.csv]
    metrics:
      - score.json:
          cache: false
"""
MAKE = b"""\
n=$(sed -n 's/n: //p' params.yaml)
echo id,value
for i in 1 2 3; do echo "$i,$((n * i + ${NOISE:-0}))"; done
"""
SCORE = b"""\
printf '{"rows": %d, "noise": %d}' $(wc -l < table.csv) ${NOISE:-1}
"""


@pytest.fixture
def trained(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    monkeypatch.delenv("NOISE", raising=False)
    repository.write({"dvlite.yaml": PIPELINE, "make.sh": MAKE, "score.sh": SCORE})
    for number in (1, 2):
        repository.write({"params.yaml": b"n: %d\n" % number})
        repository.dvlite("run", "--env")
        repository.git("add", "-A")
        repository.commit(f"n {number}")
        repository.git("tag", f"v{number}")
    repository.share()
    repository.git("push", "--quiet", "--tags", "origin")
    return repository


def again(repository: Repository, folder: Path, *words: str, code: int = 0) -> Any:
    ran = repository.dvlite("reproduce", "-o", str(folder), "--rerun", "--json", *words, code=code)
    return json.loads(ran.out)


def test_what_comes_out_alike_is_identical(trained: Repository, tmp_path: Path) -> None:
    before = trained.work_files()
    found = again(trained, tmp_path / "old", "v1")
    assert found["same"] and {one["what"] for one in found["stages"]} == {"ran"}
    assert {one["path"]: one["what"] for one in found["outputs"]} == dict.fromkeys(
        ["parts", "table.csv", "score.json"], "identical"
    )
    assert trained.work_files() == before
    assert (tmp_path / "old/table.csv").read_text().splitlines()[1] == "1,1"


def test_from_a_fresh_clone(trained: Repository, tmp_path: Path) -> None:
    clone = trained.clone("clone")
    assert again(clone, tmp_path / "old", "v1")["same"]
    said = clone.dvlite("reproduce", "-o", str(tmp_path / "older"), "--rerun", "v2").out
    assert "all outputs are identical to what the commit recorded" in said


def test_what_differs_is_told_in_numbers(
    trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE", "5")
    found = again(trained, tmp_path / "old", "v1", code=1)
    by_path = {one["path"]: one for one in found["outputs"]}
    assert by_path["table.csv"]["what"] == "different"
    assert by_path["table.csv"]["largest_difference"] == 5
    assert by_path["parts/a.csv"]["what"] == "different" and "parts/b" not in by_path
    assert by_path["score.json"]["largest_difference"] == 4
    assert by_path["score.json"]["at"] == "noise"
    said = trained.dvlite("reproduce", "-o", str(tmp_path / "o2"), "--rerun", "v1", code=1).out
    assert "different  table.csv" in said and "by at most 5 at row" in said


def test_single_stages_can_run_again(
    trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOISE", "5")
    found = again(trained, tmp_path / "old", "v1", "score", code=1)
    assert [one["stage"] for one in found["stages"]] == ["score"]
    assert [one["path"] for one in found["outputs"]] == ["score.json"]


def test_what_fails_or_is_not_made_is_missing(trained: Repository, tmp_path: Path) -> None:
    trained.write({"make.sh": b"exit 7\n"})
    trained.git("commit", "--quiet", "--no-verify", "-am", "broken")
    found = again(trained, tmp_path / "old", "HEAD", code=1)
    assert {one["what"] for one in found["outputs"]} == {"missing"}
    assert {one["stage"]: one["what"] for one in found["stages"]} == {
        "make": "failed",
        "score": "blocked",
    }


def test_the_environment_is_compared(
    trained: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = trained.dvlite("reproduce", "-o", str(tmp_path / "old"), "--env", "v1")
    assert "the environment is as it was" in ran.out
    text = trained.read(".dvlite/environment.json").replace(b'"python": "3', b'"python": "2')
    trained.write({".dvlite/environment.json": text})
    trained.commit("another python")
    ran = trained.dvlite("reproduce", "-o", str(tmp_path / "o2"), "--env", "HEAD", code=1)
    assert "1 difference of the environment" in ran.out and "python" in ran.out


def test_without_a_record_there_is_nothing_to_compare(
    repository: Repository, tmp_path: Path
) -> None:
    ran = repository.dvlite("reproduce", "-o", str(tmp_path / "a"), "--rerun", "HEAD", code=6)
    assert "no dvlite.lock" in ran.err
    ran = repository.dvlite("reproduce", "-o", str(tmp_path / "b"), "--env", "HEAD")
    assert "does not say what it ran in" in ran.err


def test_a_stage_without_outputs_that_fails_is_not_the_same(
    repository: Repository, tmp_path: Path
) -> None:
    repository.write({"dvlite.yaml": b"stages: {check: {cmd: test -e here}}", "here": b""})
    repository.write({".gitignore": b"here\n"})
    repository.dvlite("run")
    repository.git("add", "-A")
    repository.commit("checked")
    found = again(repository, tmp_path / "old", "HEAD", code=1)
    assert not found["same"] and [one["what"] for one in found["stages"]] == ["failed"]
    said = repository.dvlite("reproduce", "-o", str(tmp_path / "b"), "--rerun", "HEAD", code=1).out
    assert "1 stage did not run, 0 outputs not as recorded" in said


def test_it_begins_without_what_persists_and_leaves_frozen_stages_alone(
    repository: Repository, tmp_path: Path
) -> None:
    text = (
        b"stages:\n  cold: {cmd: 'date +%N > c', outs: [c]}\n"
        b"  log:\n    cmd: echo more >> log\n    outs: [log: {persist: true}]\n"
    )
    repository.write({"dvlite.yaml": text})
    repository.dvlite("run")
    repository.write({"dvlite.yaml": text.replace(b"outs: [c]", b"outs: [c], frozen: true")})
    repository.git("add", "-A")
    repository.commit("all")
    found = again(repository, tmp_path / "old", "HEAD")
    assert found["same"] and [one["stage"] for one in found["stages"]] == ["log"]
    assert (tmp_path / "old" / "c").read_bytes() == repository.read("c")
