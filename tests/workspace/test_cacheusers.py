"""A clone keeps its name where it is moved to, and a copy of it gets one of its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dvlite.workspace.cacheusers import clone_id


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "one" / ".git"
    folder.mkdir(parents=True)
    return folder


def test_a_name_is_made_once(clone: Path) -> None:
    name = clone_id(str(clone))
    assert len(name) == 16 and any(name)
    before = (clone / "dvlite/clone-id").stat()
    assert clone_id(str(clone)) == name
    assert (clone / "dvlite/clone-id").stat() == before


def test_a_copy_gets_another_and_keeps_that(clone: Path, tmp_path: Path) -> None:
    name = clone_id(str(clone))
    copy = tmp_path / "two"
    shutil.copytree(clone.parent, copy)
    second = clone_id(str(copy / ".git"))
    assert second != name
    assert clone_id(str(copy / ".git")) == second and clone_id(str(clone)) == name


def test_moved_or_copied_back_to_its_place_it_is_the_same(clone: Path, tmp_path: Path) -> None:
    name = clone_id(str(clone))
    moved = tmp_path / "moved"
    clone.parent.rename(moved)
    assert clone_id(str(moved / ".git")) == name
    # to another disk: a copy of what is not there any more
    shutil.copytree(moved, tmp_path / "disk")
    shutil.rmtree(moved)
    assert clone_id(str(tmp_path / "disk/.git")) == name
    # another one where it was does not matter
    assert clone_id(str(clone)) != name
    assert clone_id(str(tmp_path / "disk/.git")) == name


def test_a_link_to_it_is_no_other_place(clone: Path, tmp_path: Path) -> None:
    name = clone_id(str(clone))
    (tmp_path / "link").symlink_to(clone.parent)
    assert clone_id(str(tmp_path / "link" / ".git")) == name


def test_a_name_of_before_places_were_written_down_stays(clone: Path, tmp_path: Path) -> None:
    (clone / "dvlite").mkdir()
    (clone / "dvlite/clone-id").write_text("0123456789abcdef" * 2 + "\n")
    assert clone_id(str(clone)).hex() == "0123456789abcdef" * 2
    assert clone_id(str(clone)).hex() == "0123456789abcdef" * 2
    shutil.copytree(clone.parent, tmp_path / "two")
    assert clone_id(str(tmp_path / "two/.git")).hex() != "0123456789abcdef" * 2


@pytest.mark.parametrize("text", ["no name\n", "", "0123\n"])
def test_a_broken_name_is_made_anew_once(clone: Path, text: str) -> None:
    (clone / "dvlite").mkdir()
    (clone / "dvlite/clone-id").write_text(text)
    name = clone_id(str(clone))
    assert len(name) == 16 and any(name) and clone_id(str(clone)) == name


@pytest.mark.skipif(os.geteuid() == 0, reason="NOT TESTED: a folder without rights (root has all)")
def test_what_cannot_be_written_down_changes_no_name(clone: Path, tmp_path: Path) -> None:
    name = clone_id(str(clone))
    clone.parent.rename(tmp_path / "moved")
    folder = tmp_path / "moved/.git/dvlite"
    folder.chmod(0o500)
    try:
        assert clone_id(str(folder.parent)) == name
    finally:
        folder.chmod(0o700)
