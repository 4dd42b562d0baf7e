"""A pull writes large files to the cache and for the workspace at once; nothing depends on it."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from dvlite.atomic import SCRATCH
from dvlite.errors import PathError
from dvlite.ops import pull as pulling
from dvlite.ops.stepping import clear_scratch
from dvlite.project import Project
from dvlite.storage import fetchlarge
from dvlite.storage.oid import hash_bytes
from dvlite.workspace import ready as readiness
from dvlite.workspace.ready import Ready, take
from dvlite.workspace.write import FileWriter
from tests.repositories import Repository

MODEL = random.Random(1).randbytes(9_000_123)
IMAGE = random.Random(2).randbytes(5_000_000)


@pytest.fixture
def clone(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A fresh clone of a project with large files, one of them twice and one executable."""
    monkeypatch.setattr(pulling, "_WORTH_BYTES", 1)
    data = {"data/image": IMAGE, "data/again": IMAGE, "data/small": b"s", "data/run": MODEL[:-1]}
    (repository.path / "data").mkdir()
    (repository.path / "data" / "run").touch(0o755)
    repository.add_and_commit({**data, "model": MODEL}, "model", "data")
    repository.share()
    return repository.clone("clone")


def expect_whole(clone: Repository) -> None:
    found = {name: (clone.path / name).read_bytes() for name in ("model", "data/image", "data/run")}
    assert found == {"model": MODEL, "data/image": IMAGE, "data/run": MODEL[:-1]}
    assert (clone.path / "data/again").read_bytes() == IMAGE
    assert os.access(clone.path / "data/run", os.X_OK)
    assert not os.access(clone.path / "model", os.X_OK)
    assert "clean" in clone.dvlite("status").out
    assert not os.listdir(clone.path / SCRATCH)


def test_what_was_written_on_the_way_is_not_copied_again(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = []
    copy = FileWriter._copy

    def noting(writer: FileWriter, folder: int, item: Any, source: str) -> Any:
        copied.append(item.oid)
        return copy(writer, folder, item, source)

    monkeypatch.setattr(FileWriter, "_copy", noting)
    clone.dvlite("pull")
    assert sorted(copied) == sorted([hash_bytes(IMAGE), hash_bytes(MODEL[:-1])])
    expect_whole(clone)


def test_a_new_version_takes_the_place_of_the_old_one(
    clone: Repository, repository: Repository
) -> None:
    clone.dvlite("pull")
    changed = MODEL[:4_000_000] + b"changed" + MODEL[4_000_000:]
    repository.add_and_commit({"model": changed}, "model")
    repository.share()
    clone.git("pull", "-q")
    clone.dvlite("pull")
    assert (clone.path / "model").read_bytes() == changed
    assert "clean" in clone.dvlite("status").out


def test_without_room_for_two_there_is_one_copy_later(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_SPARE_BYTES", 1 << 60)
    clone.dvlite("pull")
    expect_whole(clone)


def test_a_copy_that_cannot_be_written_does_not_stop_the_fetch(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk of the workspace gets full on the way."""

    def full(ready: Ready, oid: bytes, size_bytes: int) -> tuple[int, int]:
        return os.open("/dev/full", os.O_RDWR), -1

    monkeypatch.setattr(Ready, "open", full)
    clone.dvlite("pull")
    expect_whole(clone)


def test_a_copy_that_vanished_is_made_again(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ready, "done", lambda ready, oid, size: None)
    clone.dvlite("pull")
    expect_whole(clone)


def test_links_and_edits_need_no_copies(clone: Repository) -> None:
    clone.dvlite("config", "cache.link", "hardlink,copy")
    clone.dvlite("pull", "data")
    assert (clone.path / "data/image").stat().st_nlink > 1
    (clone.path / "model").write_bytes(b"mine")
    clone.dvlite("pull", code=None)
    assert (clone.path / "model").read_bytes() == b"mine"
    assert not os.listdir(clone.path / SCRATCH)


def test_a_file_that_another_fetch_took_for_a_leftover_is_begun_anew(
    clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its making and its lock, by a fetch of the same file that ends just then."""
    lock, removed = fetchlarge.lock_once, []

    def late(descriptor: int) -> bool:
        if not removed:
            removed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            os.unlink(removed[0])
        return lock(descriptor)

    monkeypatch.setattr(fetchlarge, "lock_once", late)
    clone.dvlite("pull")
    expect_whole(clone)


def test_who_clears_up_spares_the_copies_of_a_command_that_runs(clone: Repository) -> None:
    project = Project.open(str(clone.path))
    scratch = clone.path / SCRATCH
    with Ready(project.root, str(scratch)) as ready:
        os.close(ready.open(hash_bytes(b"x"), 1)[0])
        (scratch / "left").write_bytes(b"")
        clear_scratch(project)
        assert os.listdir(scratch) == [os.path.basename(ready.folder)]
    assert not os.listdir(scratch)
    (scratch / f"{readiness.PREFIX}1-killed").mkdir()
    clear_scratch(project)
    assert not os.listdir(scratch)


def test_an_unfinished_copy_is_never_taken_and_nothing_is_replaced(tmp_path: Path) -> None:
    top, oid = os.fsencode(tmp_path), hash_bytes(b"whole")
    folder = os.open(tmp_path, os.O_RDONLY)
    with Ready(str(tmp_path), str(tmp_path / "scratch")) as ready:
        descriptor, _ = ready.open(oid, 5)
        os.write(descriptor, b"whole")
        os.close(descriptor)
        assert not take(top, os.fsencode(ready.folder), oid, folder, b"new")
        assert ready.size_bytes == 0
        ready.done(oid, 5)
        assert ready.size_bytes == 5
        (tmp_path / "new").write_bytes(b"mine")
        with pytest.raises(FileExistsError):
            take(top, os.fsencode(ready.folder), oid, folder, b"new")
        assert (tmp_path / "new").read_bytes() == b"mine"
        assert take(top, os.fsencode(ready.folder), oid, folder, b"other")
        assert (tmp_path / "other").read_bytes() == b"whole"
        assert ready.size_bytes == 0
    os.close(folder)


def test_copies_are_never_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "scratch").symlink_to(tmp_path / "elsewhere")
    with Ready(str(tmp_path), str(tmp_path / "scratch")) as ready, pytest.raises(PathError):
        ready.open(hash_bytes(b"x"), 1)
    assert not os.listdir(tmp_path / "elsewhere")


def test_one_copy_goes_to_one_of_two_processes_that_want_it_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two files would be one, or the second fail."""
    top, oid = os.fsencode(tmp_path), hash_bytes(b"whole")
    folder = os.open(tmp_path, os.O_RDONLY)
    link, answers = os.link, []
    with Ready(str(tmp_path), str(tmp_path / "scratch")) as ready:
        os.close(ready.open(oid, 5)[0])
        ready.done(oid, 5)

        def meanwhile(*words: Any, **options: Any) -> None:
            monkeypatch.undo()
            link(*words, **options)
            answers.append(take(top, os.fsencode(ready.folder), oid, folder, b"second"))

        monkeypatch.setattr(os, "link", meanwhile)
        answers.append(take(top, os.fsencode(ready.folder), oid, folder, b"first"))
    os.close(folder)
    assert answers == [False, True]
    assert sorted(os.listdir(tmp_path)) == ["first", "scratch"]
    assert (tmp_path / "first").stat().st_nlink == 1
