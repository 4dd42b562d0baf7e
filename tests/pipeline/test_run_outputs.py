"""What stages made is never lost, and one output has one entry in `dvlite.lock`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvlite.ops.reachable import reachable
from dvlite.ops.recorder import Recorder
from dvlite.ops.run import run
from dvlite.ops.runwords import RunRequest
from dvlite.ops.stageprocess import Ended, StageProcess, Work
from dvlite.pipeline import lockfile
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes
from tests.pipeline.test_run import pipeline, results
from tests.repositories import Repository

ONE = "stages:\n  %s: {cmd: echo %s > o; echo > p, outs: [%s]}\n"


def entries(repository: Repository) -> dict[str, list[str]]:
    """Stage -> its outputs, as dvlite.lock has them."""
    lock = lockfile.parse(repository.read("dvlite.lock"))
    return {name: [one.path for one in stage.outs] for name, stage in lock.items()}


# -- one entry an output ---------------------------------------------------------------------------


def test_a_stage_with_another_name_takes_its_output_along(repository: Repository) -> None:
    pipeline(repository, ONE % ("train", "old", "o"))
    repository.dvlite("run")
    pipeline(repository, ONE % ("fit", "new", "o"))
    repository.dvlite("run")
    assert entries(repository) == {"fit": ["o"]}
    assert "clean" in repository.dvlite("status").out
    repository.dvlite("checkout")
    assert repository.read("o") == b"new\n"


def test_what_else_a_former_stage_made_stays_tracked(repository: Repository) -> None:
    pipeline(repository, ONE % ("train", "old", "o, p"))
    repository.dvlite("run")
    pipeline(repository, ONE % ("fit", "new", "o"))
    repository.dvlite("run")
    assert entries(repository) == {"fit": ["o"], "train": ["p"]}


def test_an_output_inside_or_around_a_former_one_takes_its_place(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: mkdir -p d/e; echo 1 > d/e/f, outs: [d/e]}}")
    repository.dvlite("run")
    pipeline(repository, "stages: {b: {cmd: mkdir -p d; echo 1 > d/f, outs: [d]}}")
    repository.dvlite("run")
    assert entries(repository) == {"b": ["d"]}
    pipeline(repository, "stages: {c: {cmd: mkdir -p d; echo 1 > d/f, outs: [d/f]}}")
    repository.dvlite("run")
    assert entries(repository) == {"c": ["d/f"]}


def test_of_two_entries_for_an_output_that_of_its_stage_stays(repository: Repository) -> None:
    pipeline(repository, ONE % ("train", "old", "o"))
    repository.dvlite("run")
    old = repository.read("dvlite.lock")
    pipeline(repository, ONE % ("fit", "new", "o"))
    repository.dvlite("run")
    lines = old.split(b"\n", 2)[2]  # as a merge of both leaves them
    repository.write({"dvlite.lock": repository.read("dvlite.lock") + lines})
    assert set(entries(repository)) == {"fit", "train"}
    assert results(repository) == {"fit": "unchanged"}
    assert entries(repository) == {"fit": ["o"]}
    assert repository.read("o") == b"new\n" and "clean" in repository.dvlite("status").out


def test_of_two_entries_for_an_output_gc_keeps_both(repository: Repository) -> None:
    pipeline(repository, ONE % ("train", "old", "o"))
    repository.dvlite("run")
    old = repository.read("dvlite.lock")
    pipeline(repository, ONE % ("fit", "new", "o"))
    repository.dvlite("run")
    repository.write({"dvlite.lock": repository.read("dvlite.lock") + old.split(b"\n", 2)[2]})
    repository.git("add", "-A")
    repository.commit("both")
    project = Project.open(str(repository.path))
    kept = {use.pointer.oid for use in reachable(project.repo).uses}
    assert {hash_bytes(b"old\n"), hash_bytes(b"new\n")} <= kept


def test_an_output_that_git_is_to_keep_from_now_on_is_gits(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: echo 1 > m, outs: [m]}}")
    repository.dvlite("run")
    repository.git("add", "-A")
    repository.commit("kept by dvlite")
    pipeline(repository, "stages: {a: {cmd: echo 1 > m, outs: [m: {cache: false}]}}")
    repository.dvlite("run")
    assert "m" in repository.git("ls-files").splitlines()
    repository.dvlite("checkout")  # it is no data whose pointer is gone
    assert repository.read("m") == b"1\n"
    assert results(repository) == {"a": "unchanged"}


def test_an_output_that_git_ignores_and_dvlite_does_not_keep_is_nobodys(
    repository: Repository,
) -> None:
    repository.write({".gitignore": b"big/\n"})
    text = "stages: {a: {cmd: mkdir big; echo 1 > big/m; echo 2 > n, outs: [big: {cache: false}, "
    pipeline(repository, text + "n: {cache: false}]}}")
    repository.dvlite("run")
    assert {"n", "dvlite.lock"} <= set(repository.git("diff", "--cached", "--name-only").split())
    assert results(repository) == {"a": "unchanged"}
