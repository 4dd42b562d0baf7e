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
    assert ".gitignore" not in repository.git("diff", "--name-only")  # its end is staged
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


# -- nothing is lost -------------------------------------------------------------------------------


def test_what_ended_well_but_cannot_be_recorded_stays(repository: Repository) -> None:
    pipeline(repository, ONE % ("a", "long", "o, typo"))
    failed = repository.dvlite("run", code=14)
    assert "made no typo" in failed.err
    assert repository.read("o") == b"long\n"
    pipeline(repository, ONE % ("a", "long", "o, p"))
    repository.dvlite("run", "--accept")
    assert results(repository) == {"a": "unchanged"}


def test_what_ended_well_stays_when_recording_it_is_interrupted(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    pipeline(repository, ONE % ("a", "long", "o"))
    monkeypatch.setattr(Recorder, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(Project.open(str(repository.path)), RunRequest(environment=dict(os.environ)))
    assert repository.read("o") == b"long\n"


def test_an_output_that_persists_is_gone_on_with_and_not_replaced(repository: Repository) -> None:
    text = "stages: {a: {cmd: 'echo ${lr} >> log', outs: [log: {persist: true}]}}"
    pipeline(repository, text)
    for lr in (b"1", b"2", b"1"):
        repository.write({"params.yaml": b"lr: " + lr})
        assert results(repository) == {"a": "ran"}
    assert repository.read("log") == b"1\n2\n1\n"
    (repository.path / "log").unlink()
    assert results(repository) == {"a": "restored"}


def test_what_a_failed_command_left_is_not_removed_behind_a_link(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "m").write_text("precious")
    command = f"rmdir d; ln -s {tmp_path} d; exit 3"
    pipeline(repository, f"stages: {{a: {{cmd: '{command}', outs: [d/m]}}}}")
    repository.dvlite("run", code=14)
    assert (tmp_path / "m").read_text() == "precious"


def test_what_git_keeps_can_be_run_again_when_it_comes_back(repository: Repository) -> None:
    text = "stages: {a: {cmd: 'echo %d > o; chmod +x o', outs: [o: {cache: false}]}}"
    for number in (1, 2, 1):
        pipeline(repository, text % number)
        found = results(repository)
    assert found == {"a": "restored"}
    assert repository.read("o") == b"1\n" and os.access(repository.path / "o", os.X_OK)


# -- commands --------------------------------------------------------------------------------------


def test_a_full_disk_ends_the_log_and_not_the_command(tmp_path: Path) -> None:
    ended: list[Ended] = []
    heard: list[bytes] = []
    with open(tmp_path / "lock", "wb") as lock:
        environment = {"PATH": os.environ["PATH"]}
        command = "echo said; echo made > out"
        work = Work("a", (command,), str(tmp_path), environment, "/dev/full", lock.fileno())
        process = StageProcess(
            work, lambda _, data: heard.append(data), lambda _, e: ended.append(e)
        )
        process.start()
        assert process.wait(60)
    assert ended[0].code == 0 and b"".join(heard) == b"said\n"
    assert (tmp_path / "out").read_text() == "made\n"


def test_text_that_no_system_call_takes_is_an_error(repository: Repository) -> None:
    pipeline(repository, 'stages:\n  a:\n    cmd: "echo \\0 x"\n')
    assert "a NUL cannot stand in a command" in repository.dvlite("run", code=13).err
    repository.write({"p.json": b'{"x": "\\ud800"}'})
    pipeline(repository, "vars: [p.json]\nstages: {a: {cmd: 'echo ${x}'}}")
    assert "surrogates not allowed" in repository.dvlite("run", code=14).out
    pipeline(repository, "stages: {a: {cmd: echo, params: [p.json: [x]]}}")
    repository.dvlite("run")
    assert results(repository) == {"a": "unchanged"}


def test_a_file_in_the_way_of_one_stage_does_not_stop_the_others(repository: Repository) -> None:
    repository.write({"f": b"mine"})
    text = "stages: {a: {cmd: echo 1 > f/o, outs: [f/o]}, b: {cmd: echo 1 > p, outs: [p]}}"
    pipeline(repository, text)
    said = repository.dvlite("run", "-k", code=4)
    assert "the folder f cannot be made" in said.err
    assert repository.read("p") == b"1\n" and repository.read("f") == b"mine"
