"""`.dvliteignore` decides as git decides about the same lines in `.gitignore`."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, PathError
from dvlite.workspace.ignorefile import NAME, Ignore, rules_above
from tests.repositories import Repository

FILES = ["a.log", "b.txt", "sub/a.log", "sub/deep/keep.log", "build/x", "sub/build/y", "é\u2028z"]
RULES = [
    "*.log",
    "*.log\n!keep.log",
    "/a.log",
    "sub/",
    "build/",
    "/build",
    "**/deep",
    "sub/**/keep.log",
    "# *.txt",
    "\\#x\n*.txt  ",
    "*.log\r\nb.txt\r\n",
    "é\u2028z",
    "a.lo[a-g]",
    "?.txt",
    "!*\n*.txt",
]


def git_ignores(repository: Repository, paths: list[str]) -> set[str]:
    command = ["git", "check-ignore", "-z", "--stdin", "--no-index"]
    asked = b"\0".join(os.fsencode(path) for path in paths)
    done = subprocess.run(command, cwd=repository.path, input=asked, capture_output=True)
    return {os.fsdecode(path) for path in done.stdout.split(b"\0")[:-1]}


def ignored(root: Path, path: str) -> bool:
    """As a scan decides: a folder that is left out is not entered."""
    rules, parts = Ignore().entering(str(root), ""), path.split("/")
    for count in range(1, len(parts)):
        folder = "/".join(parts[:count])
        if rules.matches(folder, is_folder=True):
            return True
        rules = rules.entering(str(root / folder), folder)
    return rules.matches(path, is_folder=False)


@pytest.mark.parametrize("text", RULES)
def test_lines_mean_what_they_mean_to_git(repository: Repository, text: str) -> None:
    (repository.path / ".gitignore").unlink(missing_ok=True)
    repository.write(dict.fromkeys(FILES, b""))
    repository.write({".gitignore": text.encode(), NAME: text.encode()})
    mine = {path for path in FILES if ignored(repository.path, path)}
    assert mine == git_ignores(repository, FILES)


def test_the_nearest_file_decides(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / NAME).write_text("*.log\n")
    (tmp_path / "a" / NAME).write_text("!x.log\n/b/only\n")
    rules = rules_above(str(tmp_path), "a/b/any")
    assert rules.matches("a/b/y.log", False) and rules.matches("a/b/only", False)
    assert not rules.matches("a/b/x.log", False)
    assert rules_above(str(tmp_path), "x.log").matches("x.log", False)


def test_a_byte_order_mark_is_no_part_of_a_pattern(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\xef\xbb\xbfa\n")
    assert rules_above(str(tmp_path), "x").matches("a", False)


def test_names_that_are_not_utf8_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"\xff*\n")
    assert rules_above(str(tmp_path), "x").matches(os.fsdecode(b"\xff\xfe"), False)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, make: object) -> None:
    assert callable(make)
    make(tmp_path / NAME)
    with pytest.raises(PathError):
        rules_above(str(tmp_path), "x")


def test_a_file_too_large_to_be_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"a\n" * (1 << 20))
    with pytest.raises(PathError, match="larger than"):
        rules_above(str(tmp_path), "x")


@given(data=st.binary(max_size=40))
def test_any_bytes_are_rules_or_an_error_in_words(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("rules")
    (root / NAME).write_bytes(data)
    with suppress(DvliteError):
        rules_above(str(root), "x").matches("a/b", False)
