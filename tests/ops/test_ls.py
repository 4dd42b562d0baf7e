"""`dvlite ls` on small real repositories."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

import pytest

from tests.repositories import Repository

EXIT_PATH, EXIT_MISSING, EXIT_CORRUPT = 4, 6, 8


@pytest.fixture
def tracked(repository: Repository) -> Repository:
    """A folder (nested, with a link, an executable and an empty folder) and two files."""
    files = {"data/a.txt": b"a" * 10, "data/sub/deep/b": b"bb", "data/run": b"#!", "in/m": b"model"}
    repository.write({**files, "model": b"1234567"})
    os.chmod(repository.path / "data/run", 0o755)
    (repository.path / "data/link").symlink_to("a.txt")
    (repository.path / "data/empty").mkdir()
    repository.dvlite("add", "data", "model", "in/m")
    repository.commit("one")
    return repository


def entries(repository: Repository, *words: str) -> dict[str, Any]:
    """Path -> entry, of all listings."""
    found = json.loads(repository.dvlite("ls", "--json", *words).out)
    return {one["path"]: one for listing in found["listings"] for one in listing["entries"]}


def lines(repository: Repository, *words: str) -> list[str]:
    return repository.dvlite("ls", *words).out.splitlines()


def test_without_a_path_it_lists_what_is_tracked(tracked: Repository) -> None:
    found = entries(tracked)
    assert list(found) == ["data", "in/m", "model"]
    assert (found["data"]["kind"], found["data"]["files"]) == ("tree", 4)
    assert (found["model"]["kind"], found["model"]["size"]) == ("file", 7)
    assert [line.split()[-1] for line in lines(tracked)] == ["data/", "in/m", "model"]


def test_a_folder_is_listed_one_level_deep_with_kinds(tracked: Repository) -> None:
    shown = [line.split()[-1] for line in lines(tracked, "data")]
    assert shown == ["a.txt", "empty/", "link@", "run*", "sub/"]
    kinds = {path: one["kind"] for path, one in entries(tracked, "data").items()}
    assert kinds["data/run"] == "exec" and kinds["data/link"] == "link"


def test_recursive_lists_all_files_and_empty_folders(tracked: Repository) -> None:
    assert list(entries(tracked, "-R", "data")) == [
        "data/a.txt",
        "data/empty",
        "data/link",
        "data/run",
        "data/sub/deep/b",
    ]
    assert {"model", "in/m", "data/sub/deep/b"} <= set(entries(tracked, "-R"))


def test_a_path_inside_a_folder_a_file_and_a_folder_above_are_found(tracked: Repository) -> None:
    assert list(entries(tracked, "data/sub")) == ["data/sub/deep"]
    assert list(entries(tracked, "data/sub/deep/b")) == ["data/sub/deep/b"]
    assert list(entries(tracked, "model.dvl")) == ["model"]
    assert list(entries(tracked, "in")) == ["in/m"]
    assert lines(tracked, "data/sub/deep/b")[0].split()[-1] == "b"


def test_a_revision_shows_what_was_there_then(tracked: Repository) -> None:
    tracked.git("tag", "v1")
    tracked.add_and_commit({"data/new": b"n", "model": b"other"}, "data", "model")
    assert "data/new" in entries(tracked, "data")
    assert "data/new" not in entries(tracked, "v1:data")
    assert entries(tracked, "--rev", "v1", "model")["model"]["size"] == 7
    assert list(entries(tracked, "HEAD~1:")) == ["data", "in/m", "model"]
    assert list(entries(tracked, "--rev", "v1")) == ["data", "in/m", "model"]


def test_several_paths_have_headings(tracked: Repository) -> None:
    shown = lines(tracked, "HEAD:data/sub", "in")
    assert shown[0] == "HEAD:data/sub:" and "in:" in shown


def test_listings_are_read_without_the_data(tracked: Repository) -> None:
    shutil.rmtree(tracked.path / "data")
    assert "data/sub/deep/b" in entries(tracked, "-R", "data")


def test_paths_count_from_the_folder_worked_in(tracked: Repository) -> None:
    found = tracked.dvlite("-C", "in", "ls", "HEAD:m", "../data/sub")
    assert "m" in found.out and "deep/" in found.out


def test_a_listing_that_is_not_in_the_cache_says_how_to_bring_it(tracked: Repository) -> None:
    shutil.rmtree(tracked.path / ".git" / "dvlite" / "cache")
    assert "dvlite fetch data" in tracked.dvlite("ls", "data", code=EXIT_MISSING).err
    ran = tracked.dvlite("ls", "-R", "HEAD:data/sub", code=EXIT_MISSING)
    assert "dvlite fetch --rev HEAD data" in ran.err
    assert list(entries(tracked)) == ["data", "in/m", "model"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nothing"], EXIT_PATH, "no pointer tracks nothing"),
        (["HEAD:nothing"], EXIT_PATH, "no pointer tracks nothing at HEAD"),
        (["data/nothing"], EXIT_PATH, "data holds no nothing"),
        (["data/a.txt/x"], EXIT_PATH, "data holds no a.txt/x"),
        (["../outside"], EXIT_PATH, "outside the project"),
        (["--rev", "nowhere", "data"], EXIT_MISSING, "no commit nowhere"),
        (["--rev", "", "data"], EXIT_MISSING, "no commit"),
        (["--rev", "--all", "data"], EXIT_MISSING, "no commit --all"),
        (["nowhere:data"], EXIT_PATH, "no pointer tracks nowhere:data"),
        ([""], EXIT_PATH, "not a path"),
    ],
)
def test_bad_input_is_said(tracked: Repository, words: list[str], code: int, said: str) -> None:
    assert said in tracked.dvlite("ls", *words, code=code).err


def test_a_name_with_a_colon_is_a_path_unless_a_revision_is_meant(tracked: Repository) -> None:
    tracked.add_and_commit({"x:y": b"colon"}, "x:y")
    assert list(entries(tracked, "x:y")) == ["x:y"]
    tracked.git("branch", "x")
    assert "say which" in tracked.dvlite("ls", "x:y", code=EXIT_PATH).err.replace("hint: ", "")
    assert list(entries(tracked, "./x:y")) == ["x:y"]
    assert list(entries(tracked, "--rev", "x", "x:y")) == ["x:y"]


def test_a_damaged_pointer_does_not_hide_the_others(tracked: Repository) -> None:
    tracked.write({"model.dvl": b"nonsense\n"})
    tracked.commit("damaged")
    for words in ([], ["--rev", "HEAD"]):
        ran = tracked.dvlite("ls", *words)
        assert "in/m" in ran.out and "warning: " in ran.err and "model.dvl" in ran.err
        ran = tracked.dvlite("ls", *words, "model", code=EXIT_CORRUPT)
        assert "not a valid pointer" in ran.err


def test_a_repository_without_anything_tracked(repository: Repository) -> None:
    assert "nothing is tracked" in repository.dvlite("ls").err
    assert json.loads(repository.dvlite("ls", "--json", "HEAD:").out)["listings"][0]["path"] == ""
