"""`dvlite run`: real commands, in order and at once, failing, killed and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from dvlite.ops.recorder import Recorder
from tests.repositories import TIMEOUT_S, Repository, finished

TWO = """\
stages:
  one:
    cmd: echo one >> runs && tr a-z A-Z < raw > upper
    deps: [raw]
    params: [lr]
    outs: [upper]
  two:
    cmd: echo two >> runs && wc -c < upper > count
    deps: [upper]
    outs:
      - count:
          cache: false
"""


@pytest.fixture
def piped(repository: Repository) -> Repository:
    """Two stages that ran, committed and pushed."""
    repository.write({"dvlite.yaml": TWO.encode(), "raw": b"abc\n", "params.yaml": b"lr: 1\n"})
    repository.write({".gitignore": b"runs\n*.state\n"})
    repository.dvlite("run")
    repository.git("add", "-A")
    repository.commit("first")
    repository.share()
    return repository


def results(repository: Repository, *words: str, code: int | None = 0) -> dict[str, str]:
    """Stage -> what became of it."""
    found = json.loads(repository.dvlite("run", "--json", *words, code=code).out)
    return {one["stage"]: one["what"] for one in found}


def ran(repository: Repository) -> list[str]:
    """The stages whose commands ran since the last time this was asked."""
    path = repository.path / "runs"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def pipeline(repository: Repository, text: str) -> None:
    repository.write({"dvlite.yaml": text.encode()})


def test_what_changed_runs_and_nothing_else(piped: Repository) -> None:
    assert ran(piped) == ["one", "two"] and piped.read("upper") == b"ABC\n"
    assert piped.dvlite("run").out == "nothing to run: 2 stages up to date\n"
    piped.write({"params.yaml": b"lr: 2\n"})
    said = piped.dvlite("run", "--dry-run").out
    assert "would run  one: params.yaml:lr 1 -> 2\n" in said
    assert ran(piped) == []
    assert results(piped) == {"one": "ran", "two": "unchanged"}
    assert ran(piped) == ["one"]
    piped.write({"raw": b"abcd\n"})
    assert results(piped) == {"one": "ran", "two": "ran"}
    assert piped.read("count").strip() == b"5"


def test_the_lockfile_is_staged_and_outputs_are_ignored(piped: Repository) -> None:
    tracked = piped.git("ls-files").split()
    assert {"dvlite.lock", "count"} <= set(tracked) and "upper" not in tracked
    piped.dvlite("status", "--exit-code")
    piped.write({"upper": b"edited"})
    assert "upper: 1 modified" in piped.dvlite("status").out


def test_a_former_state_comes_back_without_running(piped: Repository) -> None:
    ran(piped)
    piped.write({"raw": b"other\n"})
    piped.dvlite("run")
    piped.write({"raw": b"abc\n"})
    ran(piped)
    assert results(piped) == {"one": "restored", "two": "restored"}
    assert ran(piped) == [] and piped.read("upper") == b"ABC\n"
    assert piped.read("count").strip() == b"4"
    piped.write({"raw": b"other\n"})
    assert results(piped, "--no-run-cache") == {"one": "ran", "two": "ran"}


def test_what_a_colleague_ran_is_not_run_again(piped: Repository) -> None:
    """By the lockfile of a commit, with the content from the remote."""
    piped.write({"raw": b"theirs\n"})
    piped.dvlite("run")
    piped.git("add", "-A")
    piped.commit("theirs")
    piped.share()
    clone = piped.clone("clone")
    clone.git("checkout", "--quiet", "-b", "mine", "HEAD~1")
    clone.write({"raw": b"theirs\n"})
    assert results(clone) == {"one": "restored", "two": "restored"}
    assert clone.read("upper") == b"THEIRS\n" and ran(clone) == []


def test_outputs_in_the_way_are_kept_before_they_go(piped: Repository) -> None:
    piped.write({"upper": b"my edit", "raw": b"new\n"})
    said = piped.dvlite("run").err
    [word] = [line.split()[-1] for line in said.splitlines() if "--recover" in line]
    piped.dvlite("checkout", "--recover", word)
    assert piped.read(f"upper.recovered-{word}") == b"my edit"


def test_outputs_that_persist_are_there_when_the_command_runs(repository: Repository) -> None:
    text = "stages:\n  a:\n    cmd: echo more >> log\n    always_changed: true\n    outs:\n"
    pipeline(repository, text + "      - log: {persist: true}\n")
    repository.dvlite("run")
    repository.dvlite("run")
    assert repository.read("log") == b"more\nmore\n"


@pytest.mark.parametrize("link", ["hardlink", "symlink", "copy"])
@pytest.mark.parametrize("path", ["kept", "kept/part"])
def test_a_command_that_goes_on_with_an_output_never_writes_into_the_cache(
    repository: Repository, link: str, path: str, tmp_path: Path
) -> None:
    repository.dvlite("config", "--local", "cache.dir", str(tmp_path / "cache"))
    repository.dvlite("config", "cache.link", link)
    text = f"stages:\n  a:\n    cmd: mkdir -p kept; head -c 200000 /dev/zero >> {path}\n"
    text = text.replace("mkdir -p kept;", "" if path == "kept" else "mkdir -p kept;")
    pipeline(repository, text + "    always_changed: true\n    outs: [kept: {persist: true}]\n")
    repository.dvlite("run")
    subprocess.run(["rm", "-r", str(repository.path / "kept")], check=True)
    repository.dvlite("checkout", "kept")  # linked into the cache
    repository.dvlite("run")
    assert len(repository.read(path)) == 400_000
    repository.dvlite("fsck")
    assert not (repository.path / path).is_symlink()


def test_edits_of_what_git_keeps_are_kept_before_they_go(piped: Repository) -> None:
    piped.write({"count": b"by hand", "raw": b"new one\n"})
    said = piped.dvlite("run").err
    [word] = [line.split()[-1] for line in said.splitlines() if "--recover" in line]
    piped.dvlite("checkout", "--recover", word)
    assert piped.read(f"count.recovered-{word}") == b"by hand"


def test_data_that_is_not_checked_out_is_asked_for(piped: Repository) -> None:
    piped.add_and_commit({"data/a": b"1"}, "data")
    pipeline(piped, "stages: {a: {cmd: cat data/a > x, deps: [data], outs: [x]}}")
    subprocess.run(["rm", "-r", str(piped.path / "data")], check=True)
    failed = piped.dvlite("run", code=6)
    assert "reads data, which is not in the workspace" in failed.err
    assert "hint: bring it: dvlite pull data" in failed.err


def test_a_dry_run_gives_all_reasons_also_after_others(piped: Repository) -> None:
    text = TWO.replace("deps: [upper]", "deps: [upper]\n    params: [n]")
    pipeline(piped, text)
    piped.write({"params.yaml": b"lr: 1\nn: 1\n"})
    piped.dvlite("run")
    pipeline(
        piped, TWO.replace("deps: [upper]", "deps: [upper]\n    params: [n]").replace("-c", "-l")
    )
    piped.write({"params.yaml": b"lr: 2\nn: 2\n"})
    assert piped.dvlite("run", "--dry-run").out == (
        "would run  one: params.yaml:lr 1 -> 2\n"
        "would run  two: one would run\n"
        "           its command changed\n"
        "             - echo two >> runs && wc -c < upper > count\n"
        "             + echo two >> runs && wc -l < upper > count\n"
        "           params.yaml:n 1 -> 2\n"
        "2 stages: 2 would run\n"
    )


def test_fsck_finds_nothing_wrong_after_a_run(piped: Repository) -> None:
    os.utime(piped.path / "raw", (1, 1))
    piped.dvlite("run")
    assert "damaged" not in piped.dvlite("fsck").out
    (piped.path / ".git/dvlite/top/stat/inputs").write_bytes(b"dvlfiles and no more")
    assert "stat index" in piped.dvlite("fsck", code=None).out
    assert results(piped) == {"one": "unchanged", "two": "unchanged"}


def test_a_failure_is_told_and_leaves_nothing_half_done(piped: Repository) -> None:
    pipeline(piped, TWO.replace("tr a-z A-Z < raw > upper", "echo x > upper; echo why >&2; exit 3"))
    before = piped.read("dvlite.lock")
    failed = piped.dvlite("run", code=14)
    assert "the stage one failed" in failed.err and "exit code 3" in failed.err
    assert "hint: all that it wrote: " in failed.err and "why" in failed.out
    assert piped.read("dvlite.lock") == before
    assert not (piped.path / "upper").exists()
    log = Path(failed.err.split("all that it wrote: ")[1].strip())
    assert "why" in log.read_text()
    piped.dvlite("run", "--keep-outputs", code=14)
    assert piped.read("upper") == b"x\n"


def test_an_output_that_is_not_made_is_an_error(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: 'true', outs: [x]}}")
    assert "ended well, but made no x" in repository.dvlite("run", code=14).err


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("stages: {a: {cmd: x, deps: [gone]}}", 6, "reads gone, which is not there"),
        ("stages: {a: {cmd: x, params: [gone]}}", 6, "which params.yaml does not have"),
        ("stages: {a: {cmd: x, params: [{gone.yaml: [b]}]}}", 6, "gone.yaml, which is not there"),
        ("stages: {a: {cmd: x, wdir: gone}}", 6, "there is no folder gone"),
        ("stages: {a: {cmd: x, outs: [data]}}", 4, "is tracked on its own"),
        ("stages: {a: {cmd: x, outs: [data/x]}}", 4, "is tracked on its own"),
        ("stages: {a: {cmd: x, deps: [{path: code.py, rev: nope}]}}", 6, "nope"),
        ("stages: {a: {cmd: [x", 13, "dvlite.yaml"),
    ],
)
def test_what_cannot_run_says_why(repository: Repository, text: str, code: int, said: str) -> None:
    repository.write({"params.yaml": b"lr: 1\n"})
    repository.add_and_commit({"data/a": b"1"}, "data")
    pipeline(repository, text)
    assert said in repository.dvlite("run", code=code).err
    assert repository.read("data/a") == b"1"


def test_without_a_pipeline(repository: Repository) -> None:
    assert "there are no stages here" in repository.dvlite("run", code=6).err
    pipeline(repository, "stages: {a: {cmd: 'true'}}")
    assert "no stage" in repository.dvlite("run", "nope", code=6).err


def test_the_environment_and_folder_of_a_stage(repository: Repository) -> None:
    repository.write({"sub/here": b""})
    text = "stages: {a: {cmd: 'ls > out; echo $NAME $HOME_OF >> out', wdir: sub, outs: [out], "
    pipeline(repository, text + "env: {NAME: 'a b', HOME_OF: 1}}}")
    repository.dvlite("run")
    assert repository.read("sub/out") == b"here\nout\na b 1\n"
    pipeline(repository, text + "env: {NAME: 'a c', HOME_OF: 1}}}")
    assert 'would run  a: its NAME "a b" -> "a c"' in repository.dvlite("run", "-n").out


def test_a_dependency_at_an_older_revision(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"old", "conf": b"c1"}, "data")
    repository.git("add", "conf")
    repository.commit()
    repository.git("tag", "v1")
    repository.add_and_commit({"data/a": b"new", "conf": b"c2"}, "data")
    pipeline(
        repository,
        "stages:\n  a:\n    cmd: cat $DVLITE_AT_1/data/a data/a $DVLITE_AT_1/conf > out\n"
        "    deps: [data, {path: data/a, rev: v1}, {path: conf, rev: v1}]\n    outs: [out]\n",
    )
    repository.dvlite("run")
    assert repository.read("out") == b"oldnewc1"
    assert results(repository) == {"a": "unchanged"}
    repository.git("tag", "--force", "v1", "HEAD")
    assert results(repository) == {"a": "ran"}
    assert repository.read("out") == b"newnewc2"


def test_scripts_that_are_no_dependencies_are_named(repository: Repository) -> None:
    repository.write({"train.py": b"print(1)\n", "step.sh": b"true\n"})
    pipeline(
        repository,
        "stages:\n  a: {cmd: python3 -u train.py && bash step.sh}\n"
        "  b: {cmd: python3 train.py, deps: [train.py]}\n",
    )
    said = repository.dvlite("run").err
    assert "a: it runs train.py, which is not among its deps" in said
    assert "a: it runs step.sh" in said and "b: it runs" not in said


def test_accept_records_what_is_there(piped: Repository) -> None:
    ran(piped)
    piped.write({"upper": b"by hand", "params.yaml": b"lr: 9\n"})
    assert results(piped, "--accept") == {"one": "accepted", "two": "accepted"}
    assert ran(piped) == [] and results(piped) == {"one": "unchanged", "two": "unchanged"}
    piped.dvlite("push")
    clone_text = piped.read("dvlite.lock")
    assert b'"value": 9' in clone_text


def test_stages_can_be_chosen(piped: Repository) -> None:
    ran(piped)
    piped.write({"raw": b"other\n"})
    assert results(piped, "--single", "two") == {"two": "unchanged"}
    assert results(piped, "--downstream", "two") == {"two": "unchanged"}
    assert results(piped, "upper") == {"one": "ran"}
    assert results(piped, "--force", "--single", "two") == {"two": "ran"}


# -- several at once -------------------------------------------------------------------------------

SLEEPS = """\
stages:
  s:
    matrix: {n: [1, 2, 3, 4, 5, 6, 7, 8]}
    cmd:
      - date +%s.%N > b${item.n}.state; sleep 1
      - date +%s.%N > e${item.n}.state; echo ${item.n} > o${item.n}
    outs: ["o${item.n}"]
"""


def test_independent_stages_run_at_once(piped: Repository) -> None:
    pipeline(piped, SLEEPS)
    piped.dvlite("run", "-j", "8")
    begun = [float(piped.read(f"b{n}.state")) for n in range(1, 9)]
    ended = [float(piped.read(f"e{n}.state")) for n in range(1, 9)]
    assert max(begun) < min(ended)  # there was a moment at which all eight ran


def test_lines_say_whose_they_are(repository: Repository) -> None:
    pipeline(repository, "stages: {a: {cmd: 'echo x; printf y'}, b: {cmd: 'echo z'}}")
    lines = repository.process("run", "-j", "2").out.splitlines()
    assert {"a | x", "a | y", "b | z"} <= set(lines)


def test_one_failed_cell_of_many_stops_or_not(repository: Repository) -> None:
    numbers = ", ".join(map(str, range(200)))
    pipeline(
        repository,
        f"stages:\n  c:\n    matrix: {{n: [{numbers}]}}\n"
        "    cmd: test ${item.n} != 77 && echo ${item.n} > o${item.n}\n"
        '    outs: ["o${item.n}"]\n  last: {cmd: cat o*, deps: [o1, o77]}\n',
    )
    failed = repository.dvlite("run", "-j", "4", "--keep-going", code=14)
    assert "the stage c@77 failed" in failed.err
    assert "199 ran, 1 failed, 1 blocked" in failed.out
    assert json.loads(repository.dvlite("run", "--json", "-n").out)[77]["what"] == "would run"
    assert len(list(repository.path.glob("o*"))) == 199


# -- interruptions ---------------------------------------------------------------------------------

SLOW = """\
stages:
  quick: {cmd: 'echo quick >> runs; echo 1 > q', outs: [q]}
  slow:
    cmd: >-
      echo slow >> runs; echo half > s; echo $$ > pid.state; test -e go.state || sleep 100;
      echo all > s
    deps: [q]
    outs: [s]
"""


def begun(repository: Repository, words: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """A run whose second stage is at work."""
    repository.write({".gitignore": b"runs\n*.state\n"})
    pipeline(repository, SLOW)
    process = repository.start("run", *words)
    while not (repository.path / "pid.state").exists():
        assert process.poll() is None, process.communicate()
    return process


def is_alive(number: int) -> bool:
    try:
        with open(f"/proc/{number}/stat", encoding="utf-8") as stream:
            return stream.read().split()[2] != "Z"
    except OSError:
        return False


def test_killed_the_next_run_goes_on(repository: Repository) -> None:
    process = begun(repository)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    repository.write({"go.state": b""})
    assert results(repository) == {"quick": "unchanged", "slow": "ran"}
    assert ran(repository) == ["quick", "slow", "slow"] and repository.read("s") == b"all\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_its_commands_stop_and_finished_stages_are_recorded(
    repository: Repository, number: int
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run with nohup
    try:
        process = begun(repository)
    finally:
        signal.signal(signal.SIGHUP, before)
    shell = int(repository.read("pid.state"))
    process.send_signal(number)
    assert finished(process, None).code == 130
    assert not is_alive(shell)
    assert not (repository.path / "s").exists()
    assert b"quick" in repository.read("dvlite.lock") and b"slow" not in repository.read(
        "dvlite.lock"
    )
    repository.write({"go.state": b""})
    assert results(repository) == {"quick": "unchanged", "slow": "ran"}


def test_a_second_ctrl_c_ends_commands_that_do_not_stop(repository: Repository) -> None:
    repository.write({".gitignore": b"*.state\n"})
    stubborn = "trap 'echo > asked.state' TERM; echo $$ > pid.state; while :; do sleep 0.05; done"
    pipeline(repository, f"stages:\n  a:\n    cmd: |\n      {stubborn}\n")
    process = repository.start("run")
    for name in ("pid.state", "asked.state"):
        while not (repository.path / name).exists() or not repository.read(name):
            assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
    assert finished(process, None).code == 130
    until = time.monotonic() + TIMEOUT_S
    while is_alive(int(repository.read("pid.state"))):  # the kernel ends it, but not at once
        assert time.monotonic() < until


def test_two_runs_of_one_workspace_share_the_work(repository: Repository) -> None:
    first = begun(repository)
    second = repository.start("run")
    assert second.stderr is not None
    assert b"another dvlite runs it; waiting" in second.stderr.readline()
    repository.dvlite("status")  # reads do not wait
    os.killpg(int(repository.read("pid.state")), signal.SIGKILL)
    repository.write({"go.state": b""})
    assert finished(first, None).code == 14
    finished(second)
    assert repository.read("s") == b"all\n"
    assert results(repository) == {"quick": "unchanged", "slow": "unchanged"}


# Its second command goes on when the test says so; what it then writes is of another run.
GATED = """\
stages:
  make: {cmd: 'echo make >> runs; cat in > m; echo $$ > pid.state; %s', deps: [in], outs: [m]}
  use: {cmd: 'echo use >> runs; cat m m > u', deps: [m], outs: [u]}
"""
WAIT = "while [ -e wait.state ]; do sleep 0.02; done; echo late >> m"


def gated(repository: Repository) -> subprocess.Popen[bytes]:
    """Both stages ran with `first`; the first one is at work with `second`, and does not end."""
    repository.write({".gitignore": b"runs\n*.state\n", "in": b"first\n"})
    pipeline(repository, GATED % WAIT)
    repository.dvlite("run")
    (repository.path / "pid.state").unlink()
    repository.write({"in": b"second\n", "wait.state": b""})
    process = repository.start("run", "make")
    while not (repository.path / "pid.state").exists() or not repository.read("pid.state"):
        assert process.poll() is None, process.communicate()
    ran(repository)
    return process


def test_what_a_killed_run_left_does_not_write_into_what_is_restored(
    repository: Repository,
) -> None:
    process = gated(repository)
    shell = int(repository.read("pid.state"))
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    repository.write({"in": b"first\n"})
    ended = repository.process("run")
    assert "make: what a killed dvlite run left running was stopped" in ended.err
    assert not is_alive(shell)
    assert repository.read("m") == b"first\nlate\n" and ran(repository) == []
    assert "restored   make" in ended.out


def test_what_a_killed_run_left_is_stopped_also_when_its_stage_is_not_to_be_run(
    repository: Repository,
) -> None:
    process = gated(repository)
    shell = int(repository.read("pid.state"))
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    pipeline(repository, "stages: {other: {cmd: 'true'}}")
    repository.dvlite("run")
    assert not is_alive(shell)


def test_what_was_made_by_hand_after_a_kill_is_kept(repository: Repository) -> None:
    process = gated(repository)
    os.killpg(int(repository.read("pid.state")), signal.SIGKILL)
    process.kill()
    process.communicate(timeout=TIMEOUT_S)
    (repository.path / "wait.state").unlink()
    repository.write({"m": b"by hand\n"})
    said = repository.dvlite("run", "--force", "make").err
    [word] = [line.split()[-1] for line in said.splitlines() if "--recover" in line]
    repository.dvlite("checkout", "--recover", word)
    assert repository.read(f"m.recovered-{word}") == b"by hand\n"


def test_a_stage_waits_for_another_run_that_makes_what_it_reads(repository: Repository) -> None:
    first = gated(repository)
    second = repository.start("run", "--force", "--single", "use")
    assert second.stderr is not None
    assert b"make: another dvlite runs it; waiting" in second.stderr.readline()
    (repository.path / "wait.state").unlink()
    finished(first)
    finished(second)
    assert repository.read("u") == b"second\nlate\n" * 2
    assert results(repository) == {"make": "unchanged", "use": "unchanged"}


def test_a_stage_waits_for_another_run_that_reads_what_it_makes(repository: Repository) -> None:
    repository.write({".gitignore": b"runs\n*.state\n", "in": b"first\n", "wait.state": b""})
    text = GATED.replace("'echo use", "'while [ -e wait.state ]; do sleep 0.02; done; echo use")
    pipeline(repository, text % "true")
    first = repository.start("run")
    while not (repository.path / ".git/dvlite/top/stages/use.run").exists():
        assert first.poll() is None, first.communicate()
    repository.write({"in": b"second\n"})
    second = repository.start("run", "make")
    assert second.stderr is not None
    assert b"use: another dvlite runs it; waiting" in second.stderr.readline()
    (repository.path / "wait.state").unlink()
    finished(first)
    finished(second)
    assert repository.read("u") == b"first\n" * 2 and repository.read("m") == b"second\n"
    assert results(repository) == {"make": "unchanged", "use": "ran"}


def test_what_changes_while_it_is_recorded_does_not_get_into_the_cache(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An output that git keeps, to which something the stage left running goes on writing."""
    keep = Recorder._keep_small

    def changed(recorder: Recorder, path: str, oid: bytes) -> None:
        repository.write({path: b"more\n"})
        keep(recorder, path, oid)

    monkeypatch.setattr(Recorder, "_keep_small", changed)
    repository.write({"dvlite.yaml": TWO.encode(), "raw": b"abc\n", "params.yaml": b"lr: 1\n"})
    repository.dvlite("run")
    assert repository.dvlite("fsck", code=None).code == 0


def test_a_program_that_git_keeps_is_restored_as_one(repository: Repository) -> None:
    pipeline(
        repository,
        """\
stages:
  build:
    cmd: cp raw tool && chmod +x tool
    deps: [raw]
    outs:
      - tool: {cache: false}
""",
    )
    for raw in (b"1", b"2"):
        repository.write({"raw": raw})
        assert results(repository) == {"build": "ran"}
    repository.write({"raw": b"1"})
    assert results(repository) == {"build": "restored"}
    assert repository.read("tool") == b"1" and os.access(repository.path / "tool", os.X_OK)
