"""A folder that was tracked as a whole in one commit, and by files inside it in the next."""

from __future__ import annotations

import pytest

from tests.repositories import Repository


@pytest.fixture
def nested(repository: Repository) -> Repository:
    """`whole`: all of `d`; `same`: only `d/x`, as it was; `other`: with other content."""
    repository.add_and_commit({"d/x": b"1\n", "d/y": b"1\n"}, "d")
    repository.git("tag", "whole")
    repository.dvlite("rm", "d")
    (repository.path / "d/y").unlink()
    repository.add_and_commit({}, "d/x")
    repository.git("tag", "same")
    repository.add_and_commit({"d/x": b"2\n"}, "d/x")
    repository.git("tag", "other")
    return repository


def go(repository: Repository, commit: str, *words: str) -> None:
    repository.git("checkout", "-q", commit)
    repository.dvlite("checkout", *words)
    assert "clean" in repository.dvlite("status").out


def test_what_lies_in_a_folder_that_is_tracked_again_stays(nested: Repository) -> None:
    go(nested, "same")
    go(nested, "whole")
    assert (nested.read("d/x"), nested.read("d/y")) == (b"1\n", b"1\n")


def test_a_folder_that_is_not_tracked_any_more_leaves_what_is(nested: Repository) -> None:
    go(nested, "same")
    go(nested, "whole")
    go(nested, "same")
    assert nested.read("d/x") == b"1\n" and not (nested.path / "d/y").exists()
    go(nested, "whole")
    go(nested, "other")
    assert nested.read("d/x") == b"2\n" and not (nested.path / "d/y").exists()


def test_an_edit_of_what_lies_in_it_still_stops_a_checkout(nested: Repository) -> None:
    go(nested, "same")
    go(nested, "whole")
    nested.write({"d/x": b"mine"})
    nested.git("checkout", "-q", "other")
    assert "would be lost" in nested.dvlite("checkout", code=5).err
    assert nested.read("d/x") == b"mine"


def test_with_other_content_it_takes_force_and_comes_whole(nested: Repository) -> None:
    go(nested, "whole", "--force")
    assert (nested.read("d/x"), nested.read("d/y")) == (b"1\n", b"1\n")
