"""What a run says of its inputs is true, also where they change meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dvlite.ops.seeing import Seer
from dvlite.pipeline import lockfile
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes
from tests.pipeline.test_run import pipeline, results
from tests.repositories import Repository


def test_what_changes_while_a_stage_runs_is_not_recorded_as_what_it_read(
    repository: Repository,
) -> None:
    text = "stages: {a: {cmd: 'if [ -e once ]; then rm once; echo 2 > in; fi; cat in > out', "
    pipeline(repository, text + "deps: [in], params: [lr], outs: [out]}}")
    repository.write({"in": b"1\n", "once": b"", "params.yaml": b"lr: 1\n"})
    assert "a: in changed while it ran: it is to run again" in repository.dvlite("run").err
    repository.write({"in": b"1\n"})
    assert results(repository) == {"a": "ran"}  # neither up to date nor restored
    assert repository.read("out") == b"1\n"
    assert results(repository) == {"a": "unchanged"}


def test_a_parameter_that_changes_while_a_stage_runs_is_not_recorded(
    repository: Repository,
) -> None:
    text = "stages: {a: {cmd: 'if [ -e once ]; then rm once; echo lr: 2 > params.yaml; fi; "
    pipeline(repository, text + "cp params.yaml out', params: [lr], outs: [out]}}")
    repository.write({"once": b"", "params.yaml": b"lr: 1\n"})
    said = repository.dvlite("run").err
    assert "a: params.yaml:lr changed while it ran: it is to run again" in said
    repository.write({"params.yaml": b"lr: 1\n"})
    assert results(repository) == {"a": "ran"}
    assert repository.read("out") == b"lr: 1\n"


def test_a_stage_is_recorded_with_what_it_reads_when_it_begins(repository: Repository) -> None:
    """Not with what the run saw when it looked at an earlier stage."""
    text = "stages: {a: {cmd: 'cp in x', deps: [in], outs: [x]}, "
    text += "b: {cmd: 'echo 2 > in', always_changed: true, deps: [x]}, "
    pipeline(repository, text + "c: {cmd: 'cp in y', deps: [in, x], outs: [y]}}")
    repository.write({"in": b"1\n"})
    repository.dvlite("run")
    locked = lockfile.parse(repository.read("dvlite.lock"))["c"]
    assert [one.oid for one in locked.deps if one.path == "in"] == [hash_bytes(b"2\n")]
    assert repository.read("y") == b"2\n"


def test_what_is_forgotten_in_a_tracked_folder_is_looked_at_again(repository: Repository) -> None:
    repository.add_and_commit({"d/sub/x": b"old"}, "d")
    project = Project.open(str(repository.path))
    seer = Seer(project, project.pointers())
    before = seer.see("d/sub")
    repository.write({"d/sub/x": b"another"})
    seer.forget(["d/sub"])
    assert seer.see("d/sub") != before


def test_true_is_not_one_and_no_number_is_itself(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: cp params.yaml o, params: [p], outs: [o]}}")
    for text in (b"p: 1\n", b"p: true\n", b"p: 1.0\n", b"p: .nan\n"):
        repository.write({"params.yaml": text})
        assert results(repository) == {"a": "ran"}
        assert results(repository) == {"a": "unchanged"}


def test_json_has_no_nan(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: cp params.yaml o, params: [p], outs: [o]}}")
    repository.write({"params.yaml": b"p: 1\n"})
    repository.dvlite("run")
    repository.write({"params.yaml": b"p: .nan\n"})
    [found] = json.loads(repository.dvlite("run", "--dry-run", "--json").out)
    assert found["reasons"][0]["new"] == "nan"


def test_a_link_to_a_folder_that_leads_elsewhere_is_a_change(repository: Repository) -> None:
    repository.write({"src/a": b"1", "one/m": b"1", "two/m": b"2"})
    os.symlink("../one", repository.path / "src/lib")
    pipeline(repository, "stages: {a: {cmd: cat src/lib/m > o, deps: [src], outs: [o]}}")
    repository.dvlite("run")
    (repository.path / "src/lib").unlink()
    os.symlink("../two", repository.path / "src/lib")
    assert results(repository) == {"a": "ran"}
    assert repository.read("o") == b"2"


def test_a_folder_that_is_nested_too_deeply_is_refused(repository: Repository) -> None:
    here, path = os.getcwd(), Path("deep")
    os.chdir(repository.path)
    try:
        for _ in range(300):
            path.mkdir()
            os.chdir(path)
            path = Path("d")
    finally:
        os.chdir(here)
    pipeline(repository, "stages: {a: {cmd: 'true', deps: [deep]}}")
    assert "nested too deeply" in repository.dvlite("run", "--dry-run", code=4).err
