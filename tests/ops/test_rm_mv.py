"""rm and mv: git, ignore lines and data stay in step, nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repositories import Repository

# Dies at once, as by kill -9, before the nth time that a name changes or git is started.
DYING = """
import os, sys
left = int(sys.argv.pop(1))
NAMES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "subprocess.Popen"}
def hook(event, args):
    global left
    if event in NAMES:
        left -= 1
        if left < 0:
            os._exit(137)
from dvlite.cli.main import main
sys.addaudithook(hook)
main(sys.argv[1:])
"""


@pytest.fixture
def tracked(repository: Repository) -> Repository:
    files = {"data/a": b"a", "data/sub/b": b"b", "model.bin": b"m" * 200_000}
    repository.add_and_commit(files, "data", "model.bin")
    return repository


def test_rm_keeps_the_data_and_git_sees_it_again(tracked: Repository) -> None:
    tracked.dvlite("rm", "data")
    assert tracked.read("data/sub/b") == b"b"
    assert not (tracked.path / "data.dvl").exists()
    assert "?? data/" in tracked.git("status", "--short")
    assert "data" not in tracked.dvlite("status").out


def test_rm_delete_takes_the_data_too_but_no_edits(tracked: Repository) -> None:
    tracked.write({"data/a": b"edited"})
    refused = tracked.dvlite("rm", "--delete", "data", code=5)
    assert "edits" in refused.err and tracked.read("data/a") == b"edited"
    tracked.dvlite("rm", "--delete", "--force", "data", "model.bin")
    assert not (tracked.path / "data").exists()
    assert not (tracked.path / ".gitignore").exists()
    assert tracked.git("status", "--short").split() == [
        "D",
        ".gitignore",
        "D",
        "data.dvl",
        "D",
        "model.bin.dvl",
    ]


def test_edits_that_were_deleted_can_be_brought_back(tracked: Repository) -> None:
    tracked.write({"data/a": b"edited", "data/new": b"new"})
    ran = tracked.dvlite("rm", "--delete", "--force", "--json", "data")
    recover = json.loads(ran.out)[0]["recover"]
    assert f"data.recovered-{recover}" in tracked.dvlite("checkout", "--recover", recover).out
    assert tracked.read(f"data.recovered-{recover}/a") == b"edited"
    assert tracked.read(f"data.recovered-{recover}/new") == b"new"


def test_rm_delete_leaves_what_never_was_data(tracked: Repository) -> None:
    tracked.write({".dvliteignore": b"*.log\n"})
    tracked.write({"data/run.log": b"kept nowhere else"})
    assert "still there" in tracked.dvlite("rm", "--delete", "data").out
    assert tracked.read("data/run.log") == b"kept nowhere else"
    assert not (tracked.path / "data/a").exists()


def test_rm_delete_of_empty_folders_and_of_what_is_not_here(tracked: Repository) -> None:
    (tracked.path / "empty/a/b").mkdir(parents=True)
    tracked.dvlite("add", "empty")
    (tracked.path / "model.bin").unlink()
    out = tracked.dvlite("rm", "--delete", "empty", "model.bin").out
    assert "its data was not here" in out
    assert not (tracked.path / "empty").exists()


def test_one_path_with_edits_stops_rm_delete_of_all(tracked: Repository) -> None:
    tracked.write({"data/a": b"edited"})
    before = tracked.work_files()
    tracked.dvlite("rm", "--delete", "model.bin", "data", code=5)
    assert tracked.work_files() == before


@pytest.mark.parametrize("path", [".", "nothing", "code.py", "..", "data/sub", ".dvl", ""])
def test_rm_of_what_is_not_tracked_changes_nothing(tracked: Repository, path: str) -> None:
    before = tracked.work_files()
    assert "error: " in tracked.dvlite("rm", "model.bin", path, code=4).err
    assert tracked.work_files() == before


def test_what_was_removed_comes_back_with_its_commit(tracked: Repository) -> None:
    tracked.dvlite("rm", "--delete", "data")
    tracked.git("commit", "-q", "-m", "gone")
    tracked.git("checkout", "-q", "HEAD~1")
    tracked.dvlite("checkout")
    assert tracked.read("data/a") == b"a"


def test_rm_of_a_path_inside_a_tracked_folder_says_what_to_do(tracked: Repository) -> None:
    assert "dvlite add data" in tracked.dvlite("rm", "data/a", code=4).err


def test_mv_takes_data_pointer_and_ignore_line_along(tracked: Repository) -> None:
    (tracked.path / "deep").mkdir()
    tracked.dvlite("mv", "data", "deep")
    tracked.dvlite("mv", "model.bin", "deep/m.bin")
    assert tracked.read("deep/data/sub/b") == b"b"
    assert not (tracked.path / "data").exists()
    tracked.dvlite("status", "--exit-code")
    tracked.git("commit", "-q", "-m", "moved")
    assert not tracked.git("status", "--short")
    assert tracked.git("check-ignore", "deep/data", "deep/m.bin").split() == [
        "deep/data",
        "deep/m.bin",
    ]


def test_edits_move_along_and_are_still_edits(tracked: Repository) -> None:
    tracked.write({"data/a": b"edited"})
    tracked.dvlite("mv", "data", "pictures")
    assert "modified" in tracked.dvlite("status").out
    tracked.dvlite("checkout", code=5)


def test_mv_of_data_that_is_not_in_the_workspace_moves_the_pointer(tracked: Repository) -> None:
    tracked.share()
    clone = tracked.clone("clone")
    clone.dvlite("mv", "model.bin", "m2.bin")
    assert (clone.path / "m2.bin.dvl").exists() and not (clone.path / "m2.bin").exists()


@pytest.mark.parametrize(
    ("target", "code"),
    [("model.bin", 5), ("data/x", 4), ("nowhere/x", 4), ("../x", 4), ("x.dvl", 0), (".git/x", 4)],
)
def test_mv_overwrites_nothing_and_stays_inside(
    tracked: Repository, target: str, code: int
) -> None:
    before = tracked.work_files()
    tracked.dvlite("mv", "data", target, code=code)
    if code:
        assert tracked.work_files() == before


@pytest.mark.parametrize(
    ("make", "target"),
    [
        ({".gitignore": b"/out/\n", "out/x": b""}, "out"),
        ({".gitignore": b"*.pt.dvl\n"}, "m.pt"),
        ({"inner/.git/HEAD": b"ref: x\n"}, "inner"),
        ({"inner/.dvlite/config.toml": b"dvlite = 1\n", "inner/deep/x": b""}, "inner/deep"),
        ({"taken": b"x"}, "taken"),
        ({"taken.dvl": b"x"}, "taken"),
        ({}, "models/"),
        ({}, "MODEL.bin/x"),
        ({}, "n" * 252),
    ],
)
def test_mv_is_refused_before_anything_moves(
    tracked: Repository, make: dict[str, bytes], target: str
) -> None:
    tracked.write(make)
    before = tracked.work_files()
    assert tracked.process("mv", "data", target, code=None).code in (4, 5)
    assert tracked.work_files() == before


def test_mv_to_a_name_that_some_systems_take_for_another_is_refused(tracked: Repository) -> None:
    assert "same on some systems" in tracked.dvlite("mv", "data", "Model.BIN", code=5).err


def test_mv_keeps_the_users_lines_in_both_folders(tracked: Repository) -> None:
    tracked.write({"deep/.gitignore": b"*.tmp\n"})
    tracked.dvlite("mv", "model.bin", "deep")
    tracked.dvlite("mv", "data", "deep")
    assert not (tracked.path / ".gitignore").exists()
    assert tracked.read("deep/.gitignore").startswith(b"*.tmp\n# dvlite begin")
    tracked.dvlite("mv", "deep/data", "deep/model.bin", ".", code=2)
    tracked.dvlite("mv", "deep/data", ".")
    tracked.dvlite("mv", "deep/model.bin", ".")
    assert tracked.read("deep/.gitignore") == b"*.tmp\n"
    tracked.dvlite("status", "--exit-code")


def test_a_move_that_the_system_refuses_is_undone(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise OSError(18, "Invalid cross-device link", source)

    before = tracked.everything()
    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        tracked.dvlite("mv", "data", "elsewhere", code=11)
    assert tracked.everything() == before


@pytest.mark.parametrize(
    "words", [["mv", "data", "deep/d"], ["rm", "data"], ["rm", "--delete", "data", "model.bin"]]
)
def test_killed_anywhere_nothing_is_lost_and_the_next_command_works(
    tracked: Repository, words: list[str], tmp_path: Path
) -> None:
    (tracked.path / "deep").mkdir()
    code, step = 137, 0
    while code == 137:
        copy = Repository(tmp_path / f"copy-{step}", tracked.store)
        shutil.copytree(tracked.path, copy.path, symlinks=True)
        command = [sys.executable, "-c", DYING, str(step), *words]
        code = subprocess.run(command, cwd=copy.path, capture_output=True).returncode
        copy.dvlite("status")
        copy.dvlite("checkout")
        places = [place for place in ("data", "deep/d") if (copy.path / place).exists()]
        pointers = [place for place in ("data", "deep/d") if (copy.path / f"{place}.dvl").exists()]
        assert set(pointers) <= set(places)
        if words[1] == "--delete":
            assert places == pointers or not [*(copy.path / "data").rglob("[ab]")]
            places = pointers
        else:
            assert places
        for place in places:
            assert copy.read(f"{place}/a") == b"a" and copy.read(f"{place}/sub/b") == b"b"
        if words[0] == "mv":
            copy.git("add", "--all")
            assert not {f"{place}/a" for place in places} & set(copy.git("ls-files").split())
        shutil.rmtree(copy.path)
        step += 1
    assert code == 0 and step > 5


def test_a_dry_run_changes_nothing(tracked: Repository) -> None:
    before = tracked.everything()
    tracked.dvlite("rm", "-n", "--delete", "data")
    tracked.dvlite("mv", "-n", "data", "d2")
    assert tracked.everything() == before
