"""rm and mv: git, ignore lines and data stay in step, nothing is lost."""

from __future__ import annotations

import pytest

from tests.repositories import Repository


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


def test_a_dry_run_changes_nothing(tracked: Repository) -> None:
    before = tracked.everything()
    tracked.dvlite("rm", "-n", "--delete", "data")
    tracked.dvlite("mv", "-n", "data", "d2")
    assert tracked.everything() == before
