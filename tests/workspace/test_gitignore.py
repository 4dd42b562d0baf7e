"""The block in `.gitignore`: real git ignores exactly what is tracked, users' lines stay."""

from __future__ import annotations

import os
import subprocess
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvlite.errors import PathError
from dvlite.workspace.gitignore import ignore, merge_by_union, unignore
from tests.repositories import Repository

NAMES = [
    "a",
    "a b",
    " lead",
    "trail ",
    "#x",
    "!x",
    "*",
    "?",
    "[a]",
    "b\\c",
    "é",
    "-r",
    "..x",
    "x\ny",
]


def is_name(name: bytes) -> bool:
    return name not in (b".", b"..", b".git") and b"/" not in name and b"\0" not in name


@pytest.mark.parametrize("name", NAMES)
def test_git_ignores_the_name_here_and_nothing_else(repository: Repository, name: str) -> None:
    folder = repository.path / "sub"
    folder.mkdir()
    ignore(str(folder), [name])
    others = ["zz", name + "x", f"deeper/{name}"]
    asked = b"\0".join(os.fsencode(f"sub/{one}") for one in [name, *others])
    done = subprocess.run(
        ["git", "check-ignore", "-z", "--stdin", "--no-index"],
        cwd=repository.path,
        input=asked,
        capture_output=True,
    )
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(f"sub/{name}")]


def test_the_users_lines_stay_and_an_empty_block_goes(repository: Repository) -> None:
    path = repository.path / "sub" / ".gitignore"
    path.parent.mkdir()
    path.write_bytes(b"*.pyc\n# mine")
    assert ignore(str(path.parent), ["b", "a"]) == str(path)
    assert path.read_bytes().splitlines()[2:-1] == [
        b"# dvlite begin: kept by dvlite, edit outside this block",
        b"/a",
        b"/b",
    ]
    assert ignore(str(path.parent), ["a"]) is None
    unignore(str(path.parent), ["a", "b"])
    assert path.read_bytes() == b"*.pyc\n# mine\n"


def test_a_merge_that_left_two_blocks_is_put_in_order(repository: Repository) -> None:
    folder = repository.path / "sub"
    folder.mkdir()
    ignore(str(folder), ["b"])
    path = folder / ".gitignore"
    path.write_bytes(path.read_bytes() + path.read_bytes().replace(b"/b", b"/a"))
    ignore(str(folder), ["c"])
    assert path.read_bytes().splitlines()[1:-1] == [b"/a", b"/b", b"/c"]


def test_two_branches_that_track_other_data_merge_without_conflict(repository: Repository) -> None:
    repository.write({"one": b"1"})
    repository.add_and_commit({"zero": b"0"}, "zero")
    repository.git("checkout", "-q", "-b", "side")
    repository.add_and_commit({"two": b"2"}, "two")
    repository.git("checkout", "-q", "-")
    repository.add_and_commit({"one": b"1"}, "one")
    repository.git("merge", "-q", "-m", "both", "side")
    text = (repository.path / ".gitignore").read_text()
    assert all(f"/{name}\n" in text for name in ("zero", "one", "two"))


def test_a_link_in_place_of_the_file_is_refused(repository: Repository) -> None:
    (repository.path / "sub").mkdir()
    (repository.path / "sub" / ".gitignore").symlink_to("elsewhere")
    with pytest.raises(PathError):
        ignore(str(repository.path / "sub"), ["a"])


def test_the_rule_for_merging_is_written_once(repository: Repository) -> None:
    merge_by_union(str(repository.path))
    before = (repository.path / ".gitattributes").read_bytes()
    assert merge_by_union(str(repository.path)) is None
    assert before.count(b"merge=union") == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.binary(min_size=1, max_size=20).filter(is_name), min_size=1, max_size=20))
def test_git_ignores_any_names_and_no_others(repository: Repository, names: set[bytes]) -> None:
    with TemporaryDirectory(dir=repository.path) as folder:
        ignore(folder, [os.fsdecode(name) for name in names])
        prefix = os.fsencode(os.path.basename(folder)) + b"/"
        asked = [prefix + name for name in sorted(names)]
        others = [prefix + name + b"x" for name in names if name + b"x" not in names]
        command = ["git", "check-ignore", "-z", "--stdin", "--no-index"]
        done = subprocess.run(
            command,
            cwd=repository.path,
            input=b"\0".join(asked + others),
            capture_output=True,
        )
        ignored = set(done.stdout.split(b"\0")[:-1])
        assert ignored >= set(asked)
        # a newline becomes `?`, which stands for any one character
        if not any(byte in name for name in names for byte in (b"\n", b"\r")):
            assert ignored == set(asked)
        unignore(folder, [os.fsdecode(name) for name in names])
        assert not os.path.exists(os.path.join(folder, ".gitignore"))


def test_a_block_without_its_end_takes_no_line_of_the_users(repository: Repository) -> None:
    path = repository.path / "sub" / ".gitignore"
    path.parent.mkdir()
    ignore(str(path.parent), ["a"])
    path.write_bytes(path.read_bytes().replace(b"# dvlite end\n", b"*.pyc\n!keep.pyc\n"))
    ignore(str(path.parent), ["b"])
    assert path.read_bytes().startswith(b"*.pyc\n!keep.pyc\n# dvlite begin")
    assert path.read_bytes().endswith(b"/a\n/b\n# dvlite end\n")
