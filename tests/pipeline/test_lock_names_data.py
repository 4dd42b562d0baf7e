"""What `dvlite.lock` names is tracked data for every command: as if each output had a pointer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping

import pytest

from dvlite.gitrepo import GitRepo
from dvlite.ops.reachable import reachable
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import LockedFile, LockedStage
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.repositories import Repository

OUTS = {"model.pt": b"weights", "features/a.csv": b"1,2\n", "features/b.csv": b"3,4\n"}


def locked(repository: Repository, files: Mapping[str, bytes], stage: str = "train") -> None:
    """Makes files outputs of a stage, as `dvlite run` would: in the cache, ignored, and locked."""
    repository.write(files)
    tops = sorted({name.split("/")[0] for name in files})
    project = Project.open(str(repository.path))
    data = project.read_lock()
    if data is not None:
        os.unlink(repository.path / "dvlite.lock")
    repository.dvlite("add", *tops)
    outs = []
    for top in tops:
        pointer = project.read_pointer(top + ".dvl")
        outs.append(LockedFile(top, pointer.kind, pointer.oid, pointer.size, pointer.files))
        repository.git("rm", "--quiet", "-f", "--cached", top + ".dvl")
        os.unlink(repository.path / (top + ".dvl"))
    stages = lockfile.parse(data) if data else {}
    stages[stage] = LockedStage((f"make {stage}",), outs=tuple(outs))
    repository.write({"dvlite.lock": lockfile.render(stages)})
    repository.git("add", "dvlite.lock", ".gitignore")


@pytest.fixture
def run_once(repository: Repository) -> Repository:
    locked(repository, OUTS)
    repository.commit("trained")
    return repository


def test_outputs_are_listed_and_compared(run_once: Repository) -> None:
    assert {"features/", "model.pt"} <= set(run_once.dvlite("ls").out.split())
    status = json.loads(run_once.dvlite("status", "--json").out)
    assert {one["path"]: one["state"] for one in status["paths"]} == {
        "features": "clean",
        "model.pt": "clean",
    }
    run_once.write({"features/a.csv": b"5,6\n"})
    assert "features/a.csv" in run_once.dvlite("diff").out


def test_a_clone_pulls_outputs(run_once: Repository) -> None:
    run_once.share()
    clone = run_once.clone("clone")
    clone.dvlite("pull")
    assert {name: clone.read(name) for name in OUTS} == OUTS


def test_outputs_of_unpushed_commits_are_pushed(run_once: Repository) -> None:
    locked(run_once, {"model.pt": b"better weights"})
    run_once.commit("better")
    run_once.share()
    shutil.rmtree(run_once.path / ".git" / "dvlite")
    run_once.dvlite("get", "HEAD~1:model.pt", "-o", "old")
    assert run_once.read("old") == b"weights"


def test_git_hooks_push_and_follow(run_once: Repository) -> None:
    run_once.dvlite("install")
    run_once.commit("hooks")
    run_once.git("push", "--quiet", "origin", "HEAD")
    assert run_once.dvlite("status", "--remote").out.endswith("everything is on store\n")
    run_once.git("switch", "--quiet", "-c", "other")
    locked(run_once, {"model.pt": b"other weights", "new.bin": b"new"})
    run_once.commit("other")
    run_once.git("switch", "--quiet", "main")
    assert run_once.read("model.pt") == b"weights"
    assert not (run_once.path / "new.bin").exists()
    run_once.git("switch", "--quiet", "other")
    assert run_once.read("model.pt") == b"other weights"
    assert run_once.read("new.bin") == b"new"


def test_log_tells_which_outputs_a_commit_changed(run_once: Repository) -> None:
    locked(run_once, {"model.pt": b"better weights"}, "train2")
    data = lockfile.parse(run_once.read("dvlite.lock"))
    features = tuple(one for one in data["train"].outs if one.path == "features")
    stages = {**data, "train": LockedStage(("make train",), outs=features)}
    run_once.write({"dvlite.lock": lockfile.render(stages)})
    run_once.git("add", "dvlite.lock")
    run_once.commit("better")
    entries = json.loads(run_once.dvlite("log", "--json").out)
    changed = [{one["path"] for one in entry["changes"]} for entry in entries]
    assert changed == [{"model.pt"}, {"features", "model.pt"}]


def test_a_past_commit_is_reproduced_with_its_outputs(run_once: Repository) -> None:
    folder = run_once.path.parent / "then"
    run_once.dvlite("reproduce", "HEAD", "-o", str(folder))
    assert (folder / "model.pt").read_bytes() == b"weights"


@pytest.mark.parametrize("path", ["model.pt", "features", "features/a.csv"])
def test_outputs_cannot_be_tracked_moved_or_untracked(run_once: Repository, path: str) -> None:
    for words in (("add", path), ("mv", path, "elsewhere"), ("rm", path)):
        ran = run_once.dvlite(*words, code=4)
        assert "an output of a stage" in ran.err and "hint: " in ran.err


def test_gc_knows_outputs_of_the_past(run_once: Repository) -> None:
    before = {one.oid for one in Project.open(str(run_once.path)).outputs().values()}
    os.unlink(run_once.path / "dvlite.lock")
    run_once.commit("no pipeline")
    assert before <= set(reachable(GitRepo.discover(str(run_once.path))).roots())


def test_two_branches_lockfiles_are_merged_by_stage(run_once: Repository) -> None:
    run_once.dvlite("install")
    run_once.commit("drivers")
    run_once.git("switch", "--quiet", "-c", "other")
    locked(run_once, {"a.bin": b"a"}, "stage-a")
    run_once.commit("a")
    run_once.git("switch", "--quiet", "main")
    locked(run_once, {"b.bin": b"b"}, "stage-b")
    run_once.commit("b")
    run_once.git("merge", "--quiet", "-m", "both", "other")
    merged = lockfile.parse(run_once.read("dvlite.lock"))
    assert sorted(merged) == ["stage-a", "stage-b", "train"]
    assert run_once.read("a.bin") == b"a"


def test_a_lockfile_in_conflict_is_decided_as_the_hint_says(run_once: Repository) -> None:
    pipeline = b"stages:\n  copy:\n    cmd: cp in out\n    deps: [in]\n    outs: [out]\n"
    run_once.dvlite("install")
    run_once.write({"dvlite.yaml": pipeline})
    for name in ("base", "ours", "theirs"):
        run_once.git("checkout", "--quiet", "-B", name, "base" if name != "base" else "main")
        run_once.write({"in": name.encode()})
        run_once.dvlite("run")
        run_once.git("add", "in", "dvlite.yaml")
        run_once.commit()
    told = git(run_once, "merge", "ours")
    assert told.code == 1 and "both sides ran the stage copy" in told.err
    hint = "git checkout --ours dvlite.lock (or --theirs); then dvlite run"
    assert hint in told.err and "dvlite resolve" not in told.err
    status = run_once.dvlite("status").out
    assert hint in status and "its pointer is gone" not in status
    assert hint in run_once.dvlite("run", code=None).err
    run_once.git("checkout", "--quiet", "--ours", "dvlite.lock")
    run_once.write({"in": b"decided"})
    run_once.dvlite("run")
    assert run_once.read("out") == b"decided"
    run_once.git("add", "in")
    run_once.commit()
    assert not run_once.git("status", "--porcelain")


def test_a_pointer_beside_an_output_of_that_name_counts(run_once: Repository) -> None:
    outputs = Project.open(str(run_once.path)).outputs()
    locked(run_once, {"other.bin": b"x"}, "other")
    data = run_once.read("dvlite.lock")
    os.unlink(run_once.path / "dvlite.lock")
    run_once.write({"model.pt": b"mine"})
    run_once.dvlite("add", "model.pt")
    run_once.write({"dvlite.lock": data})
    pointers = Project.open(str(run_once.path)).pointers()
    assert pointers["model.pt"].oid != outputs["model.pt"].oid
    assert "features" in pointers and "other.bin" in pointers


def test_hostile_lockfiles_are_refused(run_once: Repository) -> None:
    good = run_once.read("dvlite.lock")
    for bad in (b"../model.pt", b"/model.pt", b".git/model.pt", b"features/../../model.pt"):
        run_once.write({"dvlite.lock": good.replace(b'"model.pt"', b'"' + bad + b'"')})
        assert run_once.dvlite("checkout", code=8).err.startswith("error: dvlite.lock")
        assert "dvlite.lock" in run_once.dvlite("status").out
