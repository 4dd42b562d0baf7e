"""What breaking commands at every point has found, each by itself."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from dvlite.atomic import end_exchange, exchange, publish_in_tree
from dvlite.errors import LockError
from tests.repositories import Repository


def settle(folder: Path) -> None:
    """Makes all files clearly older than now: only such ones does the stat index trust."""
    limit = time.time_ns() - 60_000_000
    while max(os.stat(path).st_ctime_ns for path in folder.rglob("*")) > limit:
        limit = time.time_ns() - 60_000_000


def test_discarded_edits_are_kept_even_if_status_has_seen_them_before(
    repository: Repository,
) -> None:
    """The second status took what the first had noted for something that the cache has."""
    repository.add_and_commit({"data/a": b"a", "data/b": b"b"}, "data")
    repository.write({"data/a": b"an edit"})
    settle(repository.path / "data")
    for _ in range(3):
        repository.dvlite("status")
    ran = repository.dvlite("checkout", "--force")
    assert repository.read("data/a") == b"a"
    repository.dvlite("checkout", "--recover", ran.err.split()[-1])
    (found,) = repository.path.glob("data.recovered-*")
    assert (found / "a").read_bytes() == b"an edit"


def test_discarded_edits_are_kept_when_the_cache_has_lost_them(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"a", "model": b"m" * 200_000}, "data", "model")
    repository.dvlite("push")
    edits = {"data/a": b"an edit", "model": b"n" * 200_000}
    for files in (edits, {"data/a": b"a", "model": b"m" * 200_000}):
        repository.write(files)
        repository.dvlite("add", "data", "model")
    repository.write(edits)
    settle(repository.path / "data")
    repository.dvlite("status")
    subprocess.run(["rm", "-rf", str(repository.path / ".git/dvlite/cache")], check=True)
    repository.dvlite("fetch")
    ran = repository.dvlite("checkout", "--force")
    for line in ran.err.splitlines():
        repository.dvlite("checkout", "--recover", line.split()[-1])
    (data,) = repository.path.glob("data.recovered-*")
    (model,) = repository.path.glob("model.recovered-*")
    assert (data / "a").read_bytes() == b"an edit" and model.read_bytes() == b"n" * 200_000


# -- changing git's files --------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Path:
    (tmp_path / "index").write_bytes(b"old")
    return tmp_path / "index"


def swap(index: Path, data: bytes = b"new") -> None:
    def change(draft: str) -> None:
        Path(draft).write_bytes(data)

    exchange(str(index), str(index.parent / "dvlite" / "git-index"), change)


def test_a_file_of_gits_is_exchanged_and_nothing_is_left(index: Path) -> None:
    swap(index)
    assert index.read_bytes() == b"new"
    left = sorted(str(path.relative_to(index.parent)) for path in index.parent.rglob("*"))
    assert left == ["dvlite", "dvlite/git-index.own", "index"]


def test_the_lock_of_somebody_else_stops_it(index: Path) -> None:
    lock = index.parent / "index.lock"
    lock.write_bytes(b"of a git that runs")
    with pytest.raises(LockError):
        swap(index)
    assert index.read_bytes() == b"old" and lock.exists()
    end_exchange(str(index), str(index.parent / "dvlite" / "git-index"))
    assert lock.exists()


def test_a_lock_that_a_kill_of_ours_left_is_removed(index: Path) -> None:
    draft, lock = index.parent / "dvlite" / "git-index", index.parent / "index.lock"
    swap(index)
    for remove in (lambda: swap(index, b"newer"), lambda: end_exchange(str(index), str(draft))):
        draft.write_bytes(b"new")
        os.link(draft, lock)
        remove()
        assert not lock.exists()
    assert index.read_bytes() == b"newer"


def test_what_another_git_did_meanwhile_is_not_undone(index: Path) -> None:
    seen = []

    def change(draft: str) -> None:
        seen.append(Path(draft).read_bytes())
        if len(seen) == 1:
            index.unlink()
            index.write_bytes(b"of another git")
        Path(draft).write_bytes(seen[-1] + b", changed")

    exchange(str(index), str(index.parent / "git-index"), change)
    assert seen == [b"old", b"of another git"]
    assert index.read_bytes() == b"of another git, changed"


def test_the_copy_has_the_times_of_the_original(index: Path) -> None:
    """git compares its index's time with those of files, to see which changed just then."""
    times = []

    def change(draft: str) -> None:
        times.append(os.stat(draft).st_mtime_ns)

    before = os.stat(index).st_mtime_ns
    exchange(str(index), str(index.parent / "git-index"), change)
    assert times == [before]


# -- interrupted commands --------------------------------------------------------------------------


def test_a_killed_write_leaves_nothing_that_git_would_see(repository: Repository) -> None:
    """Unfinished files are where git ignores them, and go with the next checkout."""
    repository.write({"data/a": b"a"})
    repository.dvlite("add", "data")
    left = repository.path / ".dvlite" / "tmp" / ".tmp-1-a"
    left.write_bytes(b"half")
    assert ".tmp" not in repository.git("status", "--porcelain", "--untracked-files=all")
    repository.commit()
    (repository.path / "data" / "a").unlink()
    repository.dvlite("checkout", "--force")
    assert not left.exists()


def test_a_deletion_that_was_interrupted_goes_on(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"a", "data/b": b"b"}, "data")
    repository.git("rm", "--quiet", "--cached", "data.dvl")
    (repository.path / "data.dvl").unlink()
    (repository.path / "data" / "a").unlink()
    repository.dvlite("rm", "--delete", "data")
    assert not (repository.path / "data").exists()
    repository.dvlite("status", "--exit-code")


def test_an_interrupted_deletion_does_not_take_edits(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"a", "data/b": b"b"}, "data")
    (repository.path / "data.dvl").unlink()
    repository.write({"data/a": b"an edit"})
    ran = repository.dvlite("rm", "--delete", "data", code=5)
    assert "edits that are not added" in ran.err and repository.read("data/a") == b"an edit"


def test_what_a_killed_get_left_is_removed_by_the_next(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"a"}, "data")
    left = repository.path / ".dvlite-get-1-abc"
    left.mkdir()
    (left / "made").write_bytes(b"half")
    repository.dvlite("get", "data/a", "-o", "out")
    assert not left.exists() and repository.read("out") == b"a"


def test_the_same_remote_again_is_no_error(repository: Repository) -> None:
    repository.dvlite("remote", "add", "two", "/some/where")
    repository.dvlite("remote", "add", "two", "/some/where")
    repository.dvlite("remote", "add", "two", "/else/where", code=5)


def test_an_add_that_cannot_write_a_pointer_does_not_say_it_did(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The base said so, and a checkout took the edit for what was there before."""
    repository.add_and_commit({"one": b"1", "two": b"2"}, "one", "two")
    repository.write({"one": b"edit 1", "two": b"edit 2"})

    def refuse(final: str, data: bytes, *, durable: bool = True) -> None:
        if final.endswith("two.dvl"):
            raise OSError(errno.EIO, "Input/output error", final)
        publish_in_tree(final, data, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr("dvlite.ops.add.publish_in_tree", refuse)
        repository.dvlite("add", "one", "two", code=11)
    repository.dvlite("checkout", code=5)
    assert repository.read("two") == b"edit 2"
    assert "updated    two" in repository.dvlite("add", "one", "two").out
    repository.dvlite("status", "--exit-code")
    assert repository.git("status", "--porcelain").split() == ["M", "one.dvl", "M", "two.dvl"]


def test_a_work_tree_that_git_was_killed_in_making_is_made_anew(
    repository: Repository, tmp_path: Path
) -> None:
    repository.add_and_commit({"data/a": b"a"}, "data")
    again = tmp_path / "again"
    repository.git("worktree", "add", "--quiet", "--detach", str(again))
    subprocess.run(["rm", "-rf", str(again)], check=True)
    lock = repository.path / ".git/worktrees/again/locked"
    lock.write_text("on another disk")
    repository.dvlite("reproduce", "HEAD", "--output", str(again), code=3)
    lock.write_text("initializing")
    repository.dvlite("reproduce", "HEAD", "--output", str(again))
    assert (again / "data" / "a").read_bytes() == b"a"
