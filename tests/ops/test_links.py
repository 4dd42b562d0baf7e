"""Link types: large files are linked as the setting says, small ones never."""

from __future__ import annotations

import os

import pytest

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
