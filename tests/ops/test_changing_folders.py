"""A folder of the workspace is changed: what users do meanwhile, and what is in the way."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from dvlite.workspace import materialise, writers
from dvlite.workspace.statindex import Block
from tests.repositories import Repository

CONFLICT, MISSING = 5, 6
LARGE = random.Random(1).randbytes(300_000)


def clone_of(repository: Repository, files: dict[str, bytes]) -> Repository:
    repository.add_and_commit(files, "data")
    repository.share()
    clone = repository.clone("clone")
    clone.dvlite("pull")
    return clone


def bring(repository: Repository, clone: Repository, files: dict[str, bytes]) -> None:
    """A colleague's new version; only its pointer is in the clone."""
    repository.add_and_commit(files, "data")
    repository.share()
    clone.git("pull", "-q")
    clone.dvlite("fetch")


def test_an_edit_made_while_other_files_are_replaced_is_left_alone(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many files, seconds pass between the look at them and the last one's turn."""
    clone = clone_of(repository, {"data/a": b"1", "data/b": b"1"})
    bring(repository, clone, {"data/a": b"2", "data/b": b"2"})
    prune = materialise._prune

    def editing(*arguments: Any) -> None:
        (clone.path / "data/b").write_bytes(b"mine")
        prune(*arguments)

    monkeypatch.setattr(materialise, "_prune", editing)
    assert "b changed" in clone.dvlite("checkout", code=CONFLICT).err
    assert clone.read("data/b") == b"mine"
    monkeypatch.undo()
    clone.dvlite("checkout", code=CONFLICT)
    assert clone.read("data/b") == b"mine"


@pytest.mark.parametrize("new", [{}, {f"data/{name}": LARGE + name.encode() for name in "abc"}])
def test_links_to_one_object_are_removed_and_replaced_like_other_files(
    repository: Repository, new: dict[str, bytes]
) -> None:
    """Removing one name of a file changes the time of the others."""
    repository.dvlite("config", "cache.link", "hardlink,copy")
    same = {f"data/{name}": LARGE for name in "abc"}
    repository.add_and_commit({**same, "data/kept": b"1"}, "data")
    for name in same:
        os.unlink(repository.path / name)
    repository.add_and_commit(new, "data")
    repository.git("checkout", "-q", "HEAD~1")
    repository.dvlite("checkout")
    assert (repository.path / "data/a").stat().st_nlink > 3
    repository.git("checkout", "-q", "main")
    repository.dvlite("checkout")
    assert sorted(os.listdir(repository.path / "data")) == sorted(
        [*(Path(name).name for name in new), "kept"]
    )
    assert "clean" in repository.dvlite("status").out


def test_the_names_of_a_folder_are_not_looked_through_for_each_file(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"data/{number}" for number in range(200)]
    clone = clone_of(repository, dict.fromkeys(names, b"1"))
    bring(repository, clone, dict.fromkeys(names, b"2"))
    looked = []
    name_list = Block.name_list

    def noting(block: Block) -> list[bytes]:
        looked.append(block)
        return name_list(block)

    monkeypatch.setattr(Block, "name_list", noting)
    clone.dvlite("checkout")
    assert clone.read("data/199") == b"2"
    assert len(looked) < 20


@pytest.mark.parametrize("mine, theirs", [("data/x", "data/x/y"), ("data/x/y", "data/x")])
def test_files_of_the_user_where_a_folder_is_to_be_are_edits_that_would_be_lost(
    repository: Repository, mine: str, theirs: str
) -> None:
    """And the other way round. They can neither stay nor are they to be called changed."""
    clone = clone_of(repository, {"data/a": b"1"})
    bring(repository, clone, {"data/a": b"2", theirs: b"theirs"})
    clone.write({mine: b"mine", "data/other": b"mine too"})
    for words in (["pull"], ["checkout"], ["checkout", "--keep-edits"]):
        said = clone.dvlite(*words, code=CONFLICT).err
        assert "would be lost" in said and mine in said and "data/other" not in said
        assert (clone.read("data/a"), clone.read(mine)) == (b"1", b"mine")
    said = clone.dvlite("checkout", "--force").err
    assert (clone.read("data/a"), clone.read(theirs)) == (b"2", b"theirs")
    assert clone.read("data/other") == b"mine too"
    kept = said.split("--recover ")[1].split()[0]
    clone.dvlite("checkout", "--recover", kept)
    assert clone.read(mine.replace("data", f"data.recovered-{kept}", 1)) == b"mine"


def test_what_a_worker_process_lacks_does_not_stop_other_paths(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_WORKERS_FROM", 1)
    monkeypatch.setattr(writers, "usable_cores", lambda: 2)
    repository.add_and_commit({"data/large": LARGE, "more/small": b"1"}, "data", "more")
    for name in ("data", "more"):
        shutil.rmtree(repository.path / name)
    _lose_large(repository)
    said = repository.dvlite("checkout", code=MISSING).err
    assert "not in the cache: data (1 file)" in said
    assert repository.read("more/small") == b"1"


def _lose_large(repository: Repository) -> None:
    for folder, _, names in os.walk(repository.path / ".git/dvlite/cache"):
        for name in names:
            if os.path.getsize(os.path.join(folder, name)) == len(LARGE):
                os.unlink(os.path.join(folder, name))
