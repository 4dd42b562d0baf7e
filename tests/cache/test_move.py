"""`dvlite cache move`: to another folder or disk, into another cache, interrupted anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvlite.errors import ConflictError
from dvlite.ops.add import AddRequest, add
from dvlite.project import Project
from dvlite.storage import transfer
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.oid import hash_bytes
from dvlite.storage.sweep import leftovers
from tests.cache.conftest import LARGE, cache_of, names, whole
from tests.repositories import Repository, run

USAGE, PATH, CONFLICT, MISSING, LOCKED, STORAGE = 2, 4, 5, 6, 10, 11


def move(repository: Repository, *words: str | Path, code: int = 0) -> dict[str, Any]:
    ran = repository.dvlite("cache", "move", *map(str, words), "--json", code=code)
    found: dict[str, Any] = json.loads(ran.out) if not code else {}
    return found


def refused(repository: Repository, folder: Path, code: int) -> str:
    before = repository.everything()
    said = repository.dvlite("cache", "move", str(folder), code=code).err
    assert repository.everything() == before and "hint: " in said
    return said


def test_a_move_within_a_file_system_copies_nothing(full: Repository, tmp_path: Path) -> None:
    old, new = cache_of(full), tmp_path / "new"
    before = {name: os.stat(old / name).st_ino for name in names(old)}
    done = move(full, new)
    assert done["copied"] == 0 and done["same_file_system"] and done["files"] == len(before)
    assert {name: os.stat(new / name).st_ino for name in names(new)} == before
    assert not old.exists()
    assert full.dvlite("config", "cache.dir").out.strip() == str(new)
    whole(full)


def test_a_move_to_another_disk_copies_verifies_and_keeps_ages(
    full: Repository, other_disk: Path
) -> None:
    old = cache_of(full)
    before = {name: int(os.stat(old / name).st_mtime) for name in names(old)}
    done = move(full, other_disk / "new")
    assert done["copied"] == done["size"] and not done["same_file_system"]
    after = {name: os.stat(other_disk / "new" / name) for name in names(other_disk / "new")}
    assert {name: int(found.st_mtime) for name, found in after.items()} == before
    assert all(found.st_mode & 0o777 == 0o444 for found in after.values())
    assert not old.exists()
    whole(full)


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(
    full: Repository, tmp_path: Path, other_disk: Path
) -> None:
    before = full.everything()
    assert "without copying" in full.dvlite("cache", "move", str(tmp_path / "new"), "-n").out
    assert "by copying" in full.dvlite("cache", "move", str(other_disk / "new"), "-n").out
    assert full.everything() == before and not (tmp_path / "new").exists()


def test_moving_back_to_the_default_needs_no_setting(full: Repository, tmp_path: Path) -> None:
    move(full, tmp_path / "new")
    move(full, "--default")
    assert not (tmp_path / "new").exists() and names(cache_of(full))
    full.dvlite("config", "cache.dir", code=1)  # it is not set
    assert "already" in full.dvlite("cache", "move", "--default").out
    whole(full)


def test_run_records_come_along(full: Repository, tmp_path: Path) -> None:
    """They cannot be fetched from anywhere."""
    full.write({"dvlite.yaml": b"stages: {copy: {cmd: cp model copied, outs: [copied]}}\n"})
    full.dvlite("run")
    records = {path.name for path in cache_of(full).glob("runs/*/*")}
    move(full, tmp_path / "new")
    assert records and {path.name for path in (tmp_path / "new").glob("runs/*/*")} == records


# -- links of the workspace ------------------------------------------------------------------------


def test_symbolic_links_of_every_work_tree_lead_to_the_new_place(
    full: Repository, tmp_path: Path
) -> None:
    full.dvlite("config", "--local", "cache.link", "symlink,copy")
    move(full, tmp_path / "first")
    full.dvlite("checkout", "--relink")
    full.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "-b", "more")
    run(tmp_path / "tree", "checkout")
    done = move(full, tmp_path / "second")
    assert done["links"] == 4
    for top in (full.path, tmp_path / "tree"):
        for path in ("model", "data/large"):
            assert os.readlink(top / path).startswith(str(tmp_path / "second" / "objects"))
            assert LARGE in (top / path).read_bytes()
        assert "clean" in run(top, "status").out
    assert not (tmp_path / "first").exists()


def test_links_to_a_cache_that_is_being_moved_are_known_for_what_they_are(
    full: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted between the setting and the links: nothing looks changed."""
    full.dvlite("config", "--local", "cache.link", "symlink,copy")
    move(full, tmp_path / "first")
    full.dvlite("checkout", "--relink")
    with monkeypatch.context() as patch:
        patch.setattr("dvlite.ops.cachemove.repoint", _fail)
        full.dvlite("cache", "move", str(tmp_path / "second"), code=None)
    assert os.readlink(full.path / "model").startswith(str(tmp_path / "first"))
    whole(full)
    assert "interrupted" in full.dvlite("doctor", code=1).out
    assert json.loads(full.dvlite("cache", "show", "--json").out)["moving"]
    move(full, tmp_path / "second")
    assert os.readlink(full.path / "model").startswith(str(tmp_path / "second"))
    assert not (tmp_path / "first").exists()
    assert "interrupted" not in full.dvlite("doctor", code=None).out
    whole(full)


def _fail(*words: Any, **options: Any) -> Any:
    raise OSError(5, "Input/output error")


def test_hard_links_stay_what_they_are(full: Repository, tmp_path: Path, other_disk: Path) -> None:
    full.dvlite("config", "--local", "cache.link", "hardlink,copy")
    full.dvlite("checkout", "--relink")
    object_path = next(
        path for path in cache_of(full).glob("objects/*/*") if path.stat().st_nlink > 1
    )
    name = object_path.relative_to(cache_of(full))
    move(full, tmp_path / "new")
    assert (tmp_path / "new" / name).stat().st_nlink > 1
    assert "clean" in full.dvlite("status").out
    move(full, other_disk / "new")
    assert (other_disk / "new" / name).stat().st_nlink == 1
    assert not os.access(full.path / "model", os.W_OK) or os.getuid() == 0
    assert full.path.joinpath("model").stat().st_mode & 0o222 == 0
    whole(full)


# -- into another cache ----------------------------------------------------------------------------


@pytest.fixture
def theirs(full: Repository, another: Callable[[str], Repository], tmp_path: Path) -> Path:
    """Another project's cache, outside of its repository; one object is in both."""
    other = another("other")
    other.add_and_commit({"theirs": b"theirs" + LARGE, "both": b"model" + LARGE}, "theirs", "both")
    move(other, tmp_path / "theirs")
    return tmp_path / "theirs"


def test_a_cache_that_is_there_takes_it_in(full: Repository, theirs: Path) -> None:
    ours, before = names(cache_of(full)), names(theirs)
    done = move(full, theirs)
    assert done["merged"] and done["there_already"] == 1
    assert names(theirs) == ours | before and ours & before
    assert len(list((theirs / "users").iterdir())) == 2
    whole(full)
    whole(Repository(theirs.parent / "other" / "work", theirs.parent / "other" / "store"))


def test_a_damaged_copy_there_does_not_stand_for_ours(full: Repository, theirs: Path) -> None:
    oid = hash_bytes(b"model" + LARGE)
    damaged = Path(Cache(str(theirs)).object_path(oid))
    damaged.unlink()
    damaged.write_bytes(b"wrong" + LARGE)
    move(full, theirs)
    assert damaged.read_bytes() == b"model" + LARGE
    whole(full)


def test_what_is_damaged_here_comes_along_and_is_told(full: Repository, other_disk: Path) -> None:
    path = Path(Cache(str(cache_of(full))).object_path(hash_bytes(b"model" + LARGE)))
    path.unlink()
    path.write_bytes(b"wrong" + LARGE)
    ran = full.dvlite("cache", "move", str(other_disk / "new"))
    assert "1 file had been damaged before" in ran.err and not cache_of(full).exists()
    full.dvlite("fsck", "--repair")
    whole(full)


def test_what_is_young_here_is_young_there(full: Repository, theirs: Path) -> None:
    """It may be named by what is not written yet."""
    path = Path(Cache(str(theirs)).object_path(hash_bytes(b"model" + LARGE)))
    os.utime(path, (1e9, 1e9))
    move(full, theirs)
    assert path.stat().st_mtime > 1e9 + 1


# -- other repositories that use it ----------------------------------------------------------------


@pytest.fixture
def both(full: Repository, another: Callable[[str], Repository], tmp_path: Path) -> Repository:
    """A second repository with the same cache."""
    other = another("other")
    for one in (full, other):
        move(one, tmp_path / "shared")
    other.add_and_commit({"theirs": b"theirs" + LARGE}, "theirs")
    other.dvlite("push")
    return other


def test_others_stop_it_unless_they_come_along(
    full: Repository, both: Repository, tmp_path: Path
) -> None:
    said = full.dvlite("cache", "move", str(tmp_path / "new"), code=CONFLICT).err
    assert str(both.path) in said and "--everyone" in said and "--keep-old" in said
    done = move(full, tmp_path / "new", "--everyone")
    assert [one["path"] for one in done["repositories"]] == [str(full.path), str(both.path)]
    for one in (full, both):
        assert one.dvlite("config", "cache.dir").out.strip() == str(tmp_path / "new")
        whole(one)
    assert not (tmp_path / "shared").exists()


def test_or_keep_the_old_one(full: Repository, both: Repository, tmp_path: Path) -> None:
    before = names(tmp_path / "shared")
    move(full, tmp_path / "new", "--keep-old")
    assert names(tmp_path / "shared") == before == names(tmp_path / "new")
    assert len(list((tmp_path / "shared" / "users").iterdir())) == 1
    for one in (full, both):
        whole(one)
    both.dvlite("gc", "--dry-run")  # which does not ask the one that left
    full.dvlite("cache", "move", str(tmp_path / "x"), "--keep-old", "--everyone", code=USAGE)


# -- refused ---------------------------------------------------------------------------------------


def test_places_that_cannot_be_are_refused_and_nothing_changes(
    full: Repository, tmp_path: Path
) -> None:
    assert "work tree" in refused(full, full.path / "cache", PATH)
    assert "own folder" in refused(full, full.path / ".git" / "cache", PATH)
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "foreign")], check=True)
    assert "the git repository" in refused(full, tmp_path / "foreign" / "cache", PATH)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"")
    assert "other things" in refused(full, tmp_path / "photos", PATH)
    assert "not a folder" in refused(full, tmp_path / "photos" / "me.jpg", PATH)
    assert "no folder" in refused(full, tmp_path / "unmounted" / "cache", MISSING)
    move(full, tmp_path / "new")
    assert "in the other" in refused(full, tmp_path / "new" / "sub", PATH)
    full.dvlite("cache", "move", code=USAGE)


def test_a_name_that_the_settings_cannot_hold_is_refused_before_anything_moves(
    full: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / os.fsdecode(b"not UTF-8 \xff")
    assert "symbolic link" in refused(full, folder, USAGE)
    move(full, tmp_path / "new")
    os.rename(tmp_path / "new", folder)
    full.dvlite("config", "--local", "--unset", "cache.dir")
    full.dvlite("cache", "link", str(folder), code=USAGE)
    (tmp_path / "link").symlink_to(folder)
    full.dvlite("cache", "link", str(tmp_path / "link"))
    whole(full)


def test_a_folder_that_cannot_be_written_to_is_refused(full: Repository, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.access(tmp_path / "locked", os.W_OK):
        pytest.skip("NOT TESTED: a folder without rights (needs a user who is not root)")
    assert "permission denied" in refused(full, tmp_path / "locked" / "cache", STORAGE)


@pytest.mark.root
def test_a_disk_without_room_is_refused_before_anything_moves(
    full: Repository, small_disk: Path
) -> None:
    said = refused(full, small_disk / "cache", STORAGE)
    assert "MiB free" in said
    assert not names(small_disk / "cache")
    full.dvlite("doctor", code=None)


def test_where_the_environment_says_the_cache_is_nothing_moves(
    full: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVLITE_CACHE_DIR", str(tmp_path / "ci"))
    assert "unset DVLITE_CACHE_DIR" in refused(full, tmp_path / "new", USAGE)


def test_beside_a_gc_it_does_not_begin(full: Repository, tmp_path: Path) -> None:
    from dvlite.atomic import try_lock

    with try_lock(str(cache_of(full) / "gc.lock")) as taken:
        assert taken
        move(full, tmp_path / "new", code=LOCKED)
    move(full, tmp_path / "new")


def test_what_is_not_the_caches_stays_where_it_was(full: Repository, tmp_path: Path) -> None:
    """The setting may name a folder that holds other things too."""
    disk, old = tmp_path / "disk", time.time() - 40 * 24 * 3600
    theirs = ("tmp/notes", "tmp/work/deep", "objects/pack/idx", "remotes/list", "damaged/list")
    for name in theirs:
        (disk / name).parent.mkdir(parents=True, exist_ok=True)
        (disk / name).write_bytes(b"precious")
        os.utime(disk / name, (old, old))
    full.dvlite("config", "--local", "cache.dir", str(disk))
    full.dvlite("fetch", "--all-commits")
    later = list(leftovers(Cache(str(disk)), time.time() + 40 * 24 * 3600))
    full.dvlite("gc", "--yes")
    move(full, tmp_path / "new")
    for name in theirs:
        here, there = disk / name, tmp_path / "new" / name
        assert (here if here.exists() else there).read_bytes() == b"precious"
    assert not later and not names(disk) - {"objects/pack/idx"}
    whole(full)


def test_what_comes_while_the_old_place_is_emptied_stays(
    full: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge or a fetch holds no lock."""
    real, data = transfer.take_away, b"late" + LARGE

    def take_away(source: Cache, target: Cache) -> bool:
        publish_object(source, hash_bytes(data), data)
        return real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("dvlite.ops.cachemove.take_away", take_away)
        move(full, tmp_path / "new")
    move(full, tmp_path / "new")  # goes on
    assert Cache(str(tmp_path / "new")).read(hash_bytes(data)) == data
    assert not cache_of(full).exists()


def test_work_trees_that_a_relative_setting_gives_several_caches_stop_it(
    full: Repository, tmp_path: Path
) -> None:
    """One setting for all would lead to one of them, and nobody would find the other."""
    full.dvlite("config", "--local", "cache.dir", "../cache")
    full.dvlite("fetch")
    full.git("worktree", "add", "--quiet", "-b", "there", str(tmp_path / "deep" / "there"))
    there = Repository(tmp_path / "deep" / "there", full.store)
    there.add_and_commit({"theirs": b"theirs" + LARGE}, "theirs")
    said = refused(full, tmp_path / "new", CONFLICT)
    assert f"--from {tmp_path / 'deep' / 'cache'}" in said
    full.dvlite("config", "--local", "cache.dir", str(tmp_path / "cache"))
    full.dvlite("fsck", "--repair", "--from", str(tmp_path / "deep" / "cache"))
    move(full, tmp_path / "new")
    there.dvlite("fsck")


def test_who_waits_for_a_move_does_not_add_to_the_old_place(
    full: Repository, tmp_path: Path
) -> None:
    """The add has read where the cache is, and waits for the lock that the move holds."""
    project = Project.open(str(full.path))
    move(full, tmp_path / "new")
    full.write({"model": b"edited" + LARGE})
    with pytest.raises(ConflictError, match="moved"):
        add(project, AddRequest(("model",)))
    assert not cache_of(full).exists()
    add(Project.open(str(full.path)), AddRequest(("model",)))
    assert Cache(str(tmp_path / "new")).has(hash_bytes(b"edited" + LARGE))
    whole(full)


# -- interrupted -----------------------------------------------------------------------------------

STEPS = ("rename", "replace", "unlink", "rmdir", "link", "mkdir", "symlink")


@pytest.mark.parametrize("everyone", [False, True])
def test_a_copy_killed_at_any_step_loses_nothing_and_goes_on(
    full: Repository,
    another: Callable[[str], Repository],
    tmp_path: Path,
    other_disk: Path,
    everyone: bool,
) -> None:
    full.dvlite("config", "--local", "cache.link", "symlink,copy")
    move(full, tmp_path / "old")
    full.dvlite("checkout", "--relink")
    repositories = [full]
    if everyone:
        repositories.append(another("other"))
        repositories[1].add_and_commit({"theirs": b"theirs" + LARGE}, "theirs")
        move(repositories[1], tmp_path / "old")
    subprocess.run(["cp", "-a", str(tmp_path), str(tmp_path) + "-saved"], check=True)
    words = ["cache", "move", str(other_disk / "new"), *(["--everyone"] if everyone else [])]
    ended, step = -1, 0
    while ended:
        _restore(tmp_path, other_disk)
        ended = killed_at(full, step, words)
        assert ended in (0, -signal.SIGKILL)
        for one in repositories:
            assert "clean" in one.dvlite("status").out, step
            one.dvlite("fsck")
        full.dvlite(*words)
        for one in repositories:
            whole(one)
            assert one.dvlite("config", "cache.dir").out.strip() == str(other_disk / "new")
        assert not (tmp_path / "old").exists(), step
        step += 7 if everyone else 4  # scripts/torture tries every one, of moves that link
    assert step > 20
    shutil.rmtree(str(tmp_path) + "-saved")


def _restore(tmp_path: Path, other_disk: Path) -> None:
    for path in tmp_path.iterdir():
        shutil.rmtree(path)
    for path in other_disk.iterdir():
        shutil.rmtree(path)
    subprocess.run(["cp", "-a", f"{tmp_path}-saved/.", str(tmp_path)], check=True)


def killed_at(repository: Repository, step: int, words: list[str]) -> int:
    """Runs a command in a child that is killed before so many changes of names; how it ended."""
    child = os.fork()
    if not child:
        left = [step]
        for name in STEPS:
            setattr(os, name, _counted(getattr(os, name), left))
        code = 99
        try:
            code = repository.dvlite(*words, "-q", code=None).code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _counted(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def call(*words: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **options)

    return call


def test_an_earlier_move_is_ended_before_another_begins(
    full: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dvlite.ops.cachemove.take_away", _fail)
        full.dvlite("cache", "move", str(tmp_path / "one"), code=None)
    assert cache_of(full).exists()
    move(full, tmp_path / "two")
    assert not cache_of(full).exists() and not (tmp_path / "one").exists()
    whole(full)


def test_a_place_that_was_given_up_is_told(
    full: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dvlite.ops.cachemove._switch", _fail)
        full.dvlite("cache", "move", str(tmp_path / "one"), code=None)
    assert move(full, tmp_path / "two")["abandoned"] == str(tmp_path / "one")
    whole(full)
