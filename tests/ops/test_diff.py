"""`dvlite diff` on small real repositories."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from tests.repositories import Repository

EXIT_USAGE, EXIT_PATH, EXIT_MISSING, EXIT_CORRUPT = 2, 4, 6, 8
FIRST = {"data/same": b"same", "data/old": b"old", "data/sub/x": b"x" * 9, "model": b"one"}


@pytest.fixture
def two(repository: Repository) -> Repository:
    """Two commits: the first tagged v1; the workspace is as the second."""
    repository.add_and_commit(FIRST, "data", "model")
    repository.git("tag", "v1")
    (repository.path / "data/old").rename(repository.path / "data/renamed")
    files = {"data/new": b"new!", "data/sub/x": b"y" * 5, "model": b"second"}
    repository.add_and_commit(files, "data", "model")
    return repository


def differences(repository: Repository, *words: str) -> list[tuple[str, ...]]:
    """(what, path) or (what, path, old path) of each difference."""
    found = json.loads(repository.dvlite("diff", "--json", *words).out)["differences"]
    return [
        (one["what"], one["path"], *([one["old_path"]] if "old_path" in one else []))
        for one in found
    ]


def as_json(repository: Repository, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repository.dvlite("diff", "--json", *words).out)
    return found


SECOND = [
    ("added", "data/new"),
    ("renamed", "data/renamed", "data/old"),
    ("changed", "data/sub/x"),
    ("changed", "model"),
]


def test_two_revisions_are_compared_file_by_file(two: Repository) -> None:
    assert differences(two, "v1", "HEAD") == SECOND
    assert differences(two, "HEAD", "HEAD") == []
    shown = two.dvlite("diff", "v1", "HEAD").out
    assert "R  data/old -> data/renamed  3 B" in shown
    assert "M  data/sub/x  9 B -> 5 B" in shown
    assert "1 added, 2 changed, 1 renamed: 15 B -> 18 B" in shown


def test_one_revision_is_compared_with_the_workspace(two: Repository) -> None:
    assert differences(two, "v1") == SECOND
    two.write({"data/same": b"edited"})
    assert differences(two, "v1", "data/same") == [("changed", "data/same")]
    assert differences(two, "HEAD") == [("changed", "data/same")]


def test_without_a_revision_it_shows_what_add_would_take_up(two: Repository) -> None:
    assert two.dvlite("diff").out == "no differences\n"
    two.write({"data/fresh": b"fresh", "model": b"third"})
    (two.path / "data/same").unlink()
    found = [("added", "data/fresh"), ("removed", "data/same"), ("changed", "model")]
    assert differences(two) == found
    two.dvlite("add", "-u")
    assert differences(two) == []
    assert differences(two, "HEAD") == found


def test_a_new_file_of_the_same_size_is_seen(two: Repository) -> None:
    two.write({"model": b"SECOND"})
    assert differences(two) == [("changed", "model")]


def test_paths_limit_what_is_compared(two: Repository) -> None:
    assert differences(two, "v1", "HEAD", "data/sub") == [("changed", "data/sub/x")]
    assert differences(two, "v1", "HEAD", "model.dvl") == [("changed", "model")]
    found = differences(two, "v1", "HEAD", "data/new", "model")
    assert found == [("added", "data/new"), ("changed", "model")]
    assert two.dvlite("-C", "data", "diff", "v1", "HEAD", "sub").out.startswith("M  data/sub/x")


def test_other_tracked_paths_are_not_read_when_a_path_is_given(two: Repository) -> None:
    shutil.rmtree(two.path / ".git/dvlite/top/stat")
    shutil.rmtree(two.path / "data")
    os.mkfifo(two.path / "data")
    ran = two.dvlite("diff", "v1", "model")
    assert ran.out.startswith("M  model") and not ran.err


def test_dashes_separate_revisions_from_paths(two: Repository) -> None:
    two.git("branch", "model", "v1")
    ran = two.dvlite("diff", "model", code=EXIT_PATH)
    assert "model is a revision and a path" in ran.err and "dvlite diff -- model" in ran.err
    two.write({"model": b"third"})
    assert differences(two, "--", "model") == [("changed", "model")]
    assert len(differences(two, "model", "HEAD", "--")) == 4
    assert differences(two, "model", "HEAD", "--", "model") == [("changed", "model")]
    assert differences(two, "model", "--", "data/new") == [("added", "data/new")]


def test_a_branch_named_like_a_tracked_path_that_is_not_here_is_ambiguous(two: Repository) -> None:
    two.git("branch", "model")
    (two.path / "model").unlink()
    assert "a revision and a path" in two.dvlite("diff", "model", code=EXIT_PATH).err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere"], EXIT_PATH, "nowhere is neither a revision nor tracked"),
        (["v1", "HEAD", "nowhere"], EXIT_PATH, "nowhere is neither"),
        (["v1", "HEAD", "data/nowhere"], EXIT_PATH, "data/nowhere is neither"),
        (["nowhere", "--", "model"], EXIT_MISSING, "no commit nowhere"),
        (["v1", "v1", "v1", "--"], EXIT_USAGE, "at most two"),
        (["../outside"], EXIT_PATH, "outside the project"),
        ([""], EXIT_PATH, "not a path"),
        (["--", "--exit-code"], EXIT_PATH, "--exit-code is neither"),
    ],
)
def test_bad_input_is_said(two: Repository, words: list[str], code: int, said: str) -> None:
    assert said in two.dvlite("diff", *words, code=code).err


def test_exit_code_tells_whether_anything_differs(two: Repository) -> None:
    two.dvlite("diff", "--exit-code", code=0)
    assert two.dvlite("diff", "--exit-code", "-q", "v1", code=1).out == ""
    two.dvlite("diff", "v1", code=0)


def test_the_list_can_be_cut_and_left_out(two: Repository) -> None:
    lines = two.dvlite("diff", "v1", "HEAD", "-n", "1").out.splitlines()
    assert lines[:2] == ["A  data/new  4 B", "… and 3 more (--all lists them)"]
    assert two.dvlite("diff", "v1", "HEAD", "--stat").out.count("\n") == 1
    assert two.dvlite("diff", "v1", "HEAD", "--all", "-n", "1").out.count("\n") == 5


def test_a_folder_renamed_whole_is_one_line(two: Repository) -> None:
    (two.path / "data/sub").rename(two.path / "data/moved")
    shown = two.dvlite("diff").out
    assert "R  data/sub -> data/moved/ (1 file)" in shown


def test_folders_whose_listings_are_not_in_the_cache_are_named(two: Repository) -> None:
    two.share()
    clone = two.clone("clone")
    clone.dvlite("pull")
    clone.git("fetch", "--quiet", "--tags", str(two.path))
    ran = clone.dvlite("diff", "v1", "HEAD")
    assert "?  data/ differs" in ran.out and "dvlite fetch --rev v1" in ran.out
    assert "M  model  3 B -> 6 B" in ran.out
    assert as_json(clone, "v1", "HEAD")["not_compared"] == [{"path": "data", "missing": "old"}]
    clone.dvlite("diff", "v1", "HEAD", "--exit-code", code=1)
    assert "dvlite fetch" in clone.dvlite("diff", "v1", "HEAD", "data/new", code=EXIT_MISSING).err
    clone.dvlite("fetch", "--rev", "v1")
    assert differences(clone, "v1", "HEAD") == SECOND


def test_a_damaged_pointer_is_named_and_the_rest_compared(two: Repository) -> None:
    two.write({"model.dvl": b"nonsense\n", ".dvl": b"nonsense\n", "in/x.dvl/y": b""})
    two.git("add", "-f", ".dvl", "in/x.dvl/y")
    two.commit("damaged")
    for words in (["v1", "HEAD"], ["v1"]):
        ran = two.dvlite("diff", *words)
        assert "A  data/new" in ran.out and "model" not in ran.out
        assert "model.dvl: " in ran.err and "not a valid pointer" in ran.err
    two.dvlite("diff", "--exit-code", code=1)
    assert "warning" in two.dvlite("diff", "v1", "HEAD", "model").err


def test_what_cannot_be_read_is_not_taken_for_removed(two: Repository) -> None:
    (two.path / "model").unlink()
    os.mkfifo(two.path / "model")
    ran = two.dvlite("diff")
    assert "model" not in ran.out and "model: neither a file nor a folder" in ran.err


def test_a_data_file_that_git_took_over_and_an_empty_history(repository: Repository) -> None:
    assert repository.dvlite("diff").out == "no differences\n"
    assert repository.dvlite("diff", "HEAD").out == "no differences\n"
