"""Link types: large files are linked as the setting says, small ones never."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dvlite.workspace import statindex
from tests.repositories import Repository

BIG, SMALL = b"b" * 300_000, b"s"


@pytest.fixture
def tracked(repository: Repository) -> Repository:
    repository.add_and_commit({"d/big": BIG, "d/small": SMALL, "one": BIG + b"1"}, "d", "one")
    return repository


@pytest.mark.parametrize("kind", ["hardlink", "symlink", "copy"])
def test_relink_makes_large_files_as_the_setting_says(tracked: Repository, kind: str) -> None:
    tracked.dvlite("config", "cache.link", kind)
    tracked.dvlite("checkout", "--relink")
    for name in ("d/big", "one"):
        path = tracked.path / name
        assert path.is_symlink() == (kind == "symlink")
        assert (os.lstat(path).st_nlink > 1) == (kind == "hardlink")
    assert os.lstat(tracked.path / "d" / "small").st_nlink == 1
    assert tracked.read("d/big") == BIG
    tracked.dvlite("status", "--exit-code")
    assert "unchanged" in tracked.dvlite("add", "d").out


def test_a_linked_file_that_is_replaced_is_an_edit(tracked: Repository) -> None:
    tracked.dvlite("config", "cache.link", "hardlink")
    tracked.dvlite("checkout", "--relink")
    (tracked.path / "d" / "big").unlink()
    tracked.write({"d/big": b"new" + BIG})
    assert "1 modified" in tracked.dvlite("status").out
    tracked.dvlite("checkout", "--relink", code=5)
    tracked.dvlite("checkout", "--force")
    assert tracked.read("d/big") == BIG


def test_an_executable_is_never_linked(repository: Repository) -> None:
    repository.write({"tool": BIG})
    (repository.path / "tool").chmod(0o755)
    repository.dvlite("add", "tool")
    repository.dvlite("config", "cache.link", "hardlink")
    repository.dvlite("checkout", "--relink")
    found = os.lstat(repository.path / "tool")
    assert found.st_nlink == 1 and found.st_mode & 0o100


def test_a_link_whose_object_left_the_cache_is_not_taken_for_what_the_pointer_says(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statindex, "_TICK_NS", -(10**9))  # all that is known is trusted
    tracked.dvlite("push")
    tracked.dvlite("cache", "move", str(tmp_path / "cache"))
    tracked.dvlite("config", "cache.link", "symlink")
    tracked.dvlite("checkout", "--relink")
    tracked.dvlite("status", "--exit-code")
    for path in (tracked.path / "d/big", tracked.path / "one"):
        os.unlink(os.readlink(path))
    assert "d/big" in tracked.dvlite("status", "--exit-code", code=1).out
    tracked.dvlite("checkout", code=6)
    tracked.dvlite("pull")
    assert tracked.read("d/big") == BIG and tracked.read("one") == BIG + b"1"
    tracked.dvlite("status", "--exit-code")
