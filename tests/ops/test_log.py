"""`dvlite log` on small real repositories."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.repositories import Repository

EXIT_USAGE, EXIT_PATH, EXIT_MISSING = 2, 4, 6


@pytest.fixture
def history(repository: Repository) -> Repository:
    """Four commits of data, and one of code between them."""
    for subject, files in (
        ("first", {"data/a": b"a", "data/sub/b": b"b", "model": b"one"}),
        ("second", {"data/a": b"aa", "data/c": b"c"}),
    ):
        repository.write(files)
        repository.dvlite("add", "data", "model")
        repository.commit(subject)
    repository.write({"code.py": b"changed"})
    repository.commit("only code")
    repository.write({"model": b"three"})
    repository.dvlite("add", "model")
    repository.commit("third")
    repository.git("rm", "--quiet", "model.dvl")
    repository.commit("gone")
    return repository


def entries(repository: Repository, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(repository.dvlite("log", "--json", *words).out)
    return found


def subjects(repository: Repository, *words: str) -> list[str]:
    return [entry["subject"] for entry in entries(repository, *words)]


def changes(entry: dict[str, Any]) -> list[tuple[str, str]]:
    return [(change["what"], change["path"]) for change in entry["changes"]]


def test_the_commits_that_changed_data_newest_first(history: Repository) -> None:
    found = entries(history)
    assert [entry["subject"] for entry in found] == ["gone", "third", "second", "first"]
    assert changes(found[0]) == [("removed", "model")]
    assert changes(found[1]) == [("changed", "model")]
    assert changes(found[3]) == [("added", "data"), ("added", "model")]
    assert found[1]["changes"][0]["old"]["size"] == 3
    assert found[1]["changes"][0]["new"]["size"] == 5


def test_a_folder_tells_how_many_files_changed_inside(history: Repository) -> None:
    inside = entries(history)[2]["changes"][0]["inside"]
    assert inside == {"added": 1, "removed": 0, "changed": 1, "renamed": 0}
    shown = history.dvlite("log").out
    assert "changed  data  2 files, 2 B -> 3 files, 4 B (1 added, 1 changed)" in shown


def test_without_the_listings_the_pointers_still_tell(history: Repository) -> None:
    shutil.rmtree(history.path / ".git" / "dvlite" / "cache")
    assert entries(history)[2]["changes"][0]["inside"] is None
    assert "changed  data  2 files, 2 B -> 3 files, 4 B\n" in history.dvlite("log").out
    assert subjects(history, "data/sub") == ["second", "first"]


def test_limit_and_revision(history: Repository) -> None:
    assert subjects(history, "-n", "2") == ["gone", "third"]
    assert subjects(history, "--rev", "HEAD~3") == ["second", "first"]


def test_paths_choose_the_commits_that_touched_them(history: Repository) -> None:
    assert subjects(history, "model") == ["gone", "third", "first"]
    assert subjects(history, "model.dvl") == ["gone", "third", "first"]
    assert subjects(history, "data") == ["second", "first"]
    assert subjects(history, "data/c") == ["second"]
    assert subjects(history, "data/sub/b") == ["first"]
    assert subjects(history, "data/sub", "model") == ["gone", "third", "first"]
    assert [len(entry["changes"]) for entry in entries(history, "data/c")] == [1]
    assert len(subjects(history, ".")) == 4
    assert subjects(history, "-n", "1", "data/sub") == ["first"]


def test_a_merge_shows_only_what_it_changed_itself(history: Repository) -> None:
    history.git("checkout", "--quiet", "-b", "side", "HEAD~2")
    history.add_and_commit({"side": b"1"}, "side")
    history.git("checkout", "--quiet", "main")
    history.add_and_commit({"main": b"2"}, "main")
    history.git("merge", "--quiet", "--no-edit", "side")
    merged = entries(history, "-n", "2")
    assert sorted(changes(entry)[0] for entry in merged) == [("added", "main"), ("added", "side")]
    history.git("checkout", "--quiet", "-b", "other", "HEAD~1")
    history.git("merge", "--quiet", "--no-commit", "--no-ff", "side")
    history.write({"both": b"3"})
    history.dvlite("add", "both")
    history.commit("evil merge")
    newest = entries(history, "-n", "1")[0]
    assert (newest["subject"], changes(newest)) == ("evil merge", [("added", "both")])


def test_a_damaged_pointer_in_history_is_reported_and_not_fatal(history: Repository) -> None:
    history.write({"data.dvl": b"nonsense\n"})
    history.commit("damaged")
    history.git("checkout", "--quiet", "HEAD~1", "--", "data.dvl")
    history.commit("repaired")
    found = entries(history)
    assert [changes(entry) for entry in found[:2]] == [[("unreadable", "data")]] * 2
    assert "not a valid pointer" in found[0]["changes"][0]["reason"]
    assert "unreadable data  data.dvl is not a valid pointer" in history.dvlite("log").out


def test_other_peoples_words_cannot_move_the_cursor(history: Repository) -> None:
    history.write({"model": b"four"})
    history.dvlite("add", "model")
    history.git("commit", "--quiet", "-m", "evil \x1b[2J subject")
    assert "\x1b" not in history.dvlite("log").out


def test_a_project_below_the_top_shows_its_own_paths(own_home: Path, tmp_path: Path) -> None:
    several = Repository(tmp_path / "several", tmp_path / "store")
    subprocess.run(["git", "init", "--quiet", str(several.path)], check=True)
    for project in ("one", "two"):
        several.write({f"{project}/{project}.bin": b"x"})
        several.dvlite("-C", project, "init")
        several.dvlite("-C", project, "add", f"{project}.bin")
        several.commit(project)
    found = json.loads(several.dvlite("-C", "two", "log", "--json").out)
    assert [changes(entry) for entry in found] == [[("added", "two.bin")]]


def test_nothing_to_show(repository: Repository) -> None:
    assert repository.dvlite("log").out == "no commit has changed data\n"
    repository.git("checkout", "--quiet", "--orphan", "empty")
    assert repository.dvlite("log").out == "no commit has changed data\n"
    assert entries(repository) == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--rev", "nowhere"], EXIT_MISSING, "no commit nowhere"),
        (["--rev", "--all"], EXIT_MISSING, "no commit --all"),
        (["../outside"], EXIT_PATH, "outside the project"),
        (["-n", "0"], EXIT_USAGE, "invalid value"),
    ],
)
def test_bad_input_is_said(history: Repository, words: list[str], code: int, said: str) -> None:
    assert said in history.dvlite("log", *words, code=code).err


def test_a_repository_with_sha256_names(own_home: Path, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "new", tmp_path / "store")
    repository.path.mkdir()
    repository.git("init", "--quiet", "--object-format=sha256")
    repository.dvlite("init")
    commit = repository.add_and_commit({"x": b"x"}, "x")
    (found,) = entries(repository)
    assert found["commit"] == commit and found["subject"] == "a commit"
    date = repository.git("show", "-s", "--format=%aI").strip().replace("Z", "+00:00")
    assert found["date"] == date
