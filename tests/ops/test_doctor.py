"""doctor: finds nothing in a sound project, and names each thing that is wrong."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.repositories import Repository


@pytest.fixture(name="repository")
def with_data(repository: Repository) -> Repository:
    repository.add_and_commit({"f": b"1", "data/a": b"a"}, "f", "data")
    repository.dvlite("push")
    return repository


def found(repository: Repository, grade: str, code: int = 0) -> str:
    """The texts and hints of a grade, one a line."""
    findings = json.loads(repository.dvlite("doctor", "--json", code=code).out)
    chosen = [one for one in findings if one["grade"] == grade]
    return "\n".join(f"{one['check']}: {one['text']} ({one['hint']})" for one in chosen)


def test_nothing_is_wrong_with_a_sound_project_and_nothing_is_changed(
    repository: Repository,
) -> None:
    before = repository.everything()
    assert found(repository, "problem") == ""
    fine = found(repository, "ok")
    for check in ("git", "cache", "links", "space", "clock", "base", "pointers", "remotes"):
        assert f"{check}: " in fine
    assert "problem" not in repository.dvlite("doctor", "-q").out
    assert repository.everything() == before


def test_damaged_pointers_and_lost_remotes_are_problems(repository: Repository) -> None:
    repository.write({"f.dvl": b"nonsense\n"})
    repository.dvlite("remote", "add", "lost", "/proc/nowhere/x")
    assert "f.dvl is not a valid pointer" in found(repository, "problem", 1)


def test_a_stray_file_that_looks_like_a_pointer_is_worth_a_note(repository: Repository) -> None:
    repository.write({"stray.dvl": b"nonsense\n"})
    assert "stray.dvl is not a valid pointer" in found(repository, "note")


def test_data_that_git_does_not_ignore_is_a_problem(repository: Repository) -> None:
    (repository.path / ".gitignore").unlink()
    assert "git does not ignore data (dvlite add data)" in found(repository, "problem", 1)
    repository.dvlite("add", "data", "f")
    assert found(repository, "problem") == ""


@pytest.mark.parametrize("content", [b"", b"no index"])
def test_a_damaged_index_of_the_cache_is_a_problem(repository: Repository, content: bytes) -> None:
    repository.write({".git/dvlite/cache/packs/x.idx": content})
    assert "x.idx is damaged" in found(repository, "problem", 1)


def test_an_index_without_its_pack_is_a_problem(repository: Repository) -> None:
    repository.add_and_commit({f"many/{number}": b"%d" % number for number in range(500)}, "many")
    packs = [*(repository.path / ".git/dvlite/cache/packs").glob("*.pack")]
    assert packs
    packs[0].unlink()
    assert "is missing, its index is there" in found(repository, "problem", 1)


def test_a_damaged_base_is_a_problem(repository: Repository) -> None:
    repository.write({".git/dvlite/top/base": b"nonsense"})
    assert "base is damaged" in found(repository, "problem", 1)


def test_a_cache_that_anybody_can_change_is_worth_a_note(repository: Repository) -> None:
    os.chmod(repository.path / ".git/dvlite/cache", 0o777)
    assert "anybody on this machine can change" in found(repository, "note")


def test_a_remote_whose_clock_is_ahead_is_a_problem(repository: Repository) -> None:
    for path in (repository.store / "index").iterdir():
        os.utime(path, (time.time() + 3600, time.time() + 3600))
    assert "in the future" in found(repository, "problem", 1)


def test_only_old_leftovers_are_removed_and_only_when_asked(repository: Repository) -> None:
    old, new = ".dvlite/tmp/old/inside", ".dvlite/tmp/new"
    cached = ".git/dvlite/cache/tmp/old"
    repository.write({old: b"x", new: b"x", cached: b"x"})
    for name in (".dvlite/tmp/old", cached):
        os.utime(repository.path / name, (1, 1))
    assert "2 unfinished files" in found(repository, "note")
    assert (repository.path / old).exists()
    assert "removed 2 leftovers" in repository.dvlite("doctor", "--fix").err
    assert not (repository.path / old).exists() and not (repository.path / cached).exists()
    assert (repository.path / new).exists()
    assert "leftovers: none" in found(repository, "ok")


def test_odd_names_neither_move_the_cursor_nor_break_the_json(repository: Repository) -> None:
    name = os.fsdecode(b"\x1b[2J\xff.dvl")
    repository.write({name: b"nonsense\n"})
    for words in (["doctor"], ["status"]):
        ran = repository.process(*words)
        assert "\x1b" not in ran.out + ran.err
    assert "nonsense" in repository.process("doctor", "--json").out.encode().decode("utf-8")
