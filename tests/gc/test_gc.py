"""`dvlite gc`: what goes, and all that must not."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvlite.atomic import open_to_publish
from dvlite.storage.cache import Cache
from dvlite.storage.oid import hash_bytes
from tests.repositories import Repository

LARGE = bytes(range(256)) * 1000
OLD_S = 40 * 24 * 3600
EXIT_CONFLICT, EXIT_MISSING, EXIT_CORRUPT = 5, 6, 8


def age(repository: Repository, folder: Path | None = None) -> None:
    """Everything in the cache was last used 40 days ago."""
    cache = folder or repository.path / ".git" / "dvlite" / "cache"
    then = time.time() - OLD_S
    for path in (*cache.glob("objects/*/*"), *cache.glob("packs/*")):
        os.utime(path, (then, then))


def version(repository: Repository, data: bytes, name: str = "model") -> None:
    repository.add_and_commit({name: data}, name)


def abandon(repository: Repository) -> None:
    """Nothing names the last commit any more, nor does the work tree have its data."""
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("update-ref", "-d", "ORIG_HEAD")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.dvlite("checkout", "--force")
    for path in repository.path.glob(".git/dvlite/*/discarded"):
        path.unlink()


def has(repository: Repository, data: bytes, cache: Path | None = None) -> bool:
    return Cache(str(cache or repository.path / ".git/dvlite/cache")).has(hash_bytes(data))


def gc(repository: Repository, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repository.dvlite("gc", "--yes", "--json", *words).out)
    return found


def pushed(repository: Repository, *contents: bytes) -> None:
    """Versions of a model, each pushed, and the last one kept."""
    for data in contents:
        version(repository, data)
        repository.dvlite("push")


@pytest.fixture
def forgotten(repository: Repository) -> Repository:
    """`kept` is in use, `pushed` was pushed and is forgotten; all of it is old."""
    pushed(repository, b"kept" + LARGE, b"pushed" + LARGE)
    abandon(repository)
    age(repository)
    return repository


def test_what_nothing_names_and_a_remote_has_goes(forgotten: Repository) -> None:
    done = gc(forgotten)
    assert done["removed"]["objects"] == 1 and done["freed"] == len(LARGE) + 6
    assert has(forgotten, b"kept" + LARGE) and not has(forgotten, b"pushed" + LARGE)
    assert gc(forgotten)["removed"]["objects"] == 0


def test_the_plan_says_what_and_changes_nothing(forgotten: Repository) -> None:
    before = forgotten.everything()
    said = forgotten.dvlite("gc", "--dry-run").out
    assert "named by nothing" in said and "would free 250.0 KiB" in said
    assert "nothing was removed" in forgotten.dvlite("gc", code=EXIT_CONFLICT).err
    assert forgotten.everything() == before


def test_what_is_young_or_was_looked_up_lately_is_spared(forgotten: Repository) -> None:
    cache = Cache(str(forgotten.path / ".git/dvlite/cache"))
    assert not cache.keep([hash_bytes(b"pushed" + LARGE)])
    assert gc(forgotten)["kept"]["young"]["objects"] == 1
    age(forgotten)
    assert gc(forgotten, "--grace-days", "50")["kept"]["young"]["objects"] == 1
    assert has(forgotten, b"pushed" + LARGE)
    forgotten.dvlite("gc", "--grace-days", "1", code=2)


def test_what_a_work_trees_file_holds_stays_though_no_pointer_names_it(
    repository: Repository,
) -> None:
    """The stat index knows the file, so add will not read it again."""
    pushed(repository, b"kept", b"pushed")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("update-ref", "-d", "ORIG_HEAD")
    repository.git("reflog", "expire", "--expire=now", "--all")
    next(repository.path.glob(".git/dvlite/*/base")).unlink()
    age(repository)
    assert gc(repository)["removed"]["objects"] == 0
    repository.dvlite("add", "--force", "model")
    assert has(repository, b"pushed")


def test_the_last_copy_stays_unless_it_is_forced_by_name(repository: Repository) -> None:
    pushed(repository, b"kept")
    version(repository, b"only here")
    abandon(repository)
    version(repository, b"only here too")
    abandon(repository)
    age(repository)
    assert gc(repository)["kept"]["unpushed"]["objects"] == 2
    oid = hash_bytes(b"only here").hex()
    assert gc(repository, "--force", oid)["removed"]["objects"] == 1
    assert not has(repository, b"only here") and has(repository, b"only here too")
    assert gc(repository, "--unnamed")["removed"]["objects"] == 1
    in_use = repository.dvlite("gc", "--force", "model", code=EXIT_CONFLICT).err
    assert "model is in use" in in_use
    repository.dvlite("gc", "--force", "nothing/such", code=EXIT_MISSING)


def test_what_a_damaged_listing_names_does_not_count_as_unnamed(repository: Repository) -> None:
    repository.add_and_commit({"few/a": b"a" + LARGE, "few/b": b"b" + LARGE}, "few")
    tree = repository.path.joinpath("few.dvl").read_text().partition("blake3:")[2][:64]
    listing = repository.path / ".git/dvlite/cache/objects" / tree[:2] / tree[2:]
    saved = listing.read_bytes()
    listing.chmod(0o644)
    listing.write_bytes(b"x" + saved)
    shutil.rmtree(repository.path / "few")
    for path in repository.path.glob(".git/dvlite/*/stat/*"):
        path.unlink()
    age(repository)
    said = repository.dvlite("gc", "--unnamed", "--yes", code=EXIT_CORRUPT).err
    assert "damaged" in said and "fsck --repair" in said
    assert has(repository, b"a" + LARGE) and has(repository, b"b" + LARGE)
    listing.write_bytes(saved)
    repository.dvlite("push")
    listing.write_bytes(b"x" + saved)
    assert gc(repository, "--unnamed")["removed"]["objects"] == 2  # the remote has all of it


def test_a_remote_that_cannot_be_asked_or_was_never_used_does_not_count(
    forgotten: Repository,
) -> None:
    os.rename(forgotten.store, forgotten.store.with_name("away"))
    done = gc(forgotten)
    assert done["removed"]["objects"] == 0 and done["remotes"][0]["problem"]
    forgotten.dvlite("config", "remote.store.url", str(forgotten.store.with_name("away")))
    assert "not used it" in gc(forgotten)["remotes"][0]["problem"]
    assert has(forgotten, b"pushed" + LARGE)


def test_history_is_kept_until_told_otherwise(repository: Repository) -> None:
    pushed(repository, b"one" + LARGE, b"two" + LARGE, b"three" + LARGE)
    repository.git("reflog", "expire", "--expire=now", "--all")
    age(repository)
    assert gc(repository)["removed"]["objects"] == 0
    plan = gc(repository, "--workspaces-only", "--dry-run")
    assert [one["path"] for one in plan["remove"]] == ["model"]
    assert plan["remove"][0]["objects"] == 2 and plan["remove"][0]["first_commit"]
    assert gc(repository, "--keep-days", "1")["removed"]["objects"] == 0
    # what no remote has stays, also where only old history names it
    repository.git("tag", "two", "HEAD~1")
    assert gc(repository, "--keep-days", "0")["removed"]["objects"] == 1
    assert [has(repository, name + LARGE) for name in (b"one", b"two", b"three")] == [
        *(False, True, True)
    ]
    repository.dvlite("fetch", "--all-commits")
    assert has(repository, b"one" + LARGE)


def test_packs_that_are_mostly_dead_are_rewritten(repository: Repository) -> None:
    files = {f"data/f{n}": b"%d" % n for n in range(200)}
    repository.add_and_commit(files, "data")
    repository.dvlite("push")
    for n in range(180):
        (repository.path / f"data/f{n}").unlink()
    repository.dvlite("add", "data")
    repository.git("commit", "--quiet", "--amend", "-m", "fewer")
    repository.git("update-ref", "-d", "ORIG_HEAD")
    repository.git("reflog", "expire", "--expire=now", "--all")
    age(repository)
    done = gc(repository)
    assert done["removed"]["objects"] == 181 and done["would_free_later"] > 0
    assert not has(repository, b"5") and has(repository, b"190")
    packs = repository.path / ".git/dvlite/cache/packs"
    assert len(list(packs.glob("*.idx.old"))) == 1  # those who read it have a day
    for path in (repository.path / "data").iterdir():
        path.unlink()
    repository.dvlite("checkout", "--force")
    assert repository.read("data/f190") == b"190"


def test_a_reader_that_has_an_old_pack_in_hand_goes_on(repository: Repository) -> None:
    from dvlite.storage.sweep import look_through, sweep

    files = {f"data/f{n}": b"%d" % n for n in range(200)}
    repository.add_and_commit(files, "data")
    age(repository)
    folder = str(repository.path / ".git/dvlite/cache")
    reader, live = Cache(folder), hash_bytes(b"7")
    place = reader.find(live)
    assert place is not None and place.row is not None
    found = look_through(Cache(folder), {live}, time.time())
    sweep(Cache(folder), found, time.time() - 1000)
    for path in Path(folder, "packs").glob("*"):
        if path.name.split(".")[0] == Path(place.path).name.split(".")[0]:
            path.unlink()  # as after a day
    assert reader.read_row(place.path, place.row) == b"7"


def test_an_object_that_is_looked_up_amid_the_removal_stays(
    forgotten: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An add that finds the object in the very moment in which gc has taken its name away."""
    real = os.rename

    def rename(source: str, target: str) -> None:
        real(source, target)
        if "/tmp/gc-" in target:
            os.utime(target)  # what the other process had begun on the old name

    monkeypatch.setattr("dvlite.storage.sweep.os.rename", rename)
    gc(forgotten)
    assert has(forgotten, b"pushed" + LARGE)


@pytest.mark.parametrize("words", [["gc", "--yes"], ["cache", "trim", "--max-size", "0"]])
def test_a_gc_that_was_killed_then_has_its_object_given_back_however_late(
    forgotten: Repository, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    cache = Cache(str(forgotten.path / ".git/dvlite/cache"))
    oid = hash_bytes(b"pushed" + LARGE)
    os.rename(cache.object_path(oid), os.path.join(cache.temporary_folder, "gc-" + oid.hex()))
    os.utime(os.path.join(cache.temporary_folder, "gc-" + oid.hex()))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + OLD_S)
    forgotten.dvlite(*words)
    assert has(forgotten, b"pushed" + LARGE)


def test_who_is_about_to_add_an_object_finds_its_folder(forgotten: Repository) -> None:
    """Between making the folder of an object and its name there, gc takes the only one in there."""
    cache = Cache(str(forgotten.path / ".git/dvlite/cache"))
    gone = cache.object_path(hash_bytes(b"pushed" + LARGE))
    with open_to_publish(gone + "0", temporary_folder=cache.temporary_folder) as stream:
        gc(forgotten)
        assert not os.path.exists(gone)
        stream.write(b"another")
    assert os.path.exists(gone + "0")


def test_who_adds_an_object_that_gc_takes_meanwhile_adds_it_again(
    forgotten: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Cache.find_many

    def find_many(self: Cache, oids: Any) -> Any:
        places = real(self, oids)
        for place in places.values():
            if place.row is None:
                os.unlink(place.path)
        return places

    forgotten.write({"model": b"pushed" + LARGE})
    monkeypatch.setattr(Cache, "find_many", find_many)
    forgotten.dvlite("add", "model")
    monkeypatch.undo()
    assert has(forgotten, b"pushed" + LARGE)


def test_adds_beside_gcs_lose_nothing(forgotten: Repository) -> None:
    """A process adds forgotten content again and again while this one collects."""
    script = """
import os, sys
from pathlib import Path
from dvlite.cli.main import main
data = Path("model")
for n in range(12):
    data.unlink()
    data.write_bytes((b"kept", b"pushed")[n % 2] + bytes(range(256)) * 1000)
    try:
        main(["add", "model", "-q"])
    except SystemExit as end:
        assert not end.code, end.code
    main_cache = Path(".git/dvlite/cache/objects")
    for path in main_cache.glob("*/*"):
        try:
            os.utime(path, (1e9, 1e9))
        except FileNotFoundError:
            pass
"""
    adder = subprocess.Popen([sys.executable, "-c", script], cwd=forgotten.path)
    while adder.poll() is None:
        forgotten.dvlite("gc", "--yes", "-q")
    assert adder.returncode == 0
    forgotten.dvlite("status", "--exit-code")
    assert has(forgotten, b"pushed" + LARGE)


STEPS = ("rename", "unlink", "replace", "rmdir", "utime")


def test_a_gc_killed_at_any_step_leaves_all_fine(forgotten: Repository) -> None:
    files = {f"data/f{n}": b"%d" % n for n in range(200)}
    forgotten.add_and_commit(files, "data")
    forgotten.dvlite("push")
    for n in range(180):
        (forgotten.path / f"data/f{n}").unlink()
    forgotten.dvlite("add", "data")
    forgotten.git("commit", "--quiet", "--amend", "-m", "fewer")
    forgotten.git("update-ref", "-d", "ORIG_HEAD")
    forgotten.git("reflog", "expire", "--expire=now", "--all")
    age(forgotten)
    backup = forgotten.path.with_name("backup")
    cache = forgotten.path / ".git/dvlite/cache"
    shutil.copytree(cache, backup)
    for step in range(100):
        shutil.rmtree(cache)
        shutil.copytree(backup, cache)
        ended = collect_until(forgotten, step)
        assert has(forgotten, b"kept" + LARGE) and has(forgotten, b"190")
        assert not json.loads(forgotten.dvlite("status", "--json").out)["paths"][0]["missing_files"]
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        gc(forgotten)
        assert not has(forgotten, b"pushed" + LARGE) and not has(forgotten, b"5")
    assert 5 < step < 99


def collect_until(repository: Repository, step: int) -> int:
    """Runs gc in a child that is killed before so many steps; how it ended."""
    child = os.fork()
    if not child:
        left = [step]
        for name in STEPS:
            setattr(os, name, _counted(getattr(os, name), left))
        code = 1
        try:
            code = repository.dvlite("gc", "--yes", "-q", code=None).code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _counted(real: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def call(*words: Any, **options: Any) -> Any:
        if any("dvlite/cache" in str(word) for word in words):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return real(*words, **options)

    return call


# -- shared caches ---------------------------------------------------------------------------------


@pytest.fixture
def shared(
    repository: Repository, another: Callable[[str], Repository], tmp_path: Path
) -> tuple[Repository, Repository, Path]:
    """Two repositories with one cache; the first has forgotten what the second uses."""
    cache, other = tmp_path / "shared cache", another("other")
    for one in (repository, other):
        one.dvlite("config", "--local", "cache.dir", str(cache))
    pushed(repository, b"kept" + LARGE, b"both" + LARGE)
    abandon(repository)
    version(other, b"both" + LARGE)
    age(repository, cache)
    return repository, other, cache


def test_all_repositories_that_share_a_cache_count(
    shared: tuple[Repository, Repository, Path],
) -> None:
    first, second, cache = shared
    done = gc(first)
    assert done["removed"]["objects"] == 0 and len(done["repositories"]) == 2
    assert has(first, b"both" + LARGE, cache)
    second.git("checkout", "--quiet", "--orphan", "empty")
    second.git("branch", "-D", "main")
    second.git("rm", "-rf", "--quiet", ".")
    second.git("reflog", "expire", "--expire=now", "--all")
    shutil.rmtree(second.path / ".git" / "dvlite")
    assert gc(first)["removed"]["objects"] == 1


def test_old_history_of_another_repository_stays_if_it_cannot_fetch_it(
    shared: tuple[Repository, Repository, Path],
) -> None:
    """What this one pushed, the other one only has here."""
    first, second, cache = shared
    version(second, b"newer" + LARGE)
    age(first, cache)
    gc(first, "--workspaces-only")
    assert has(first, b"both" + LARGE, cache)
    second.set_remote(str(first.store))
    second.dvlite("push")
    age(first, cache)
    gc(first, "--workspaces-only")
    assert not has(first, b"both" + LARGE, cache)


def test_a_user_of_the_cache_that_cannot_be_read_stops_gc_until_it_is_forgotten(
    shared: tuple[Repository, Repository, Path],
) -> None:
    first, second, cache = shared
    away = second.path.with_name("away")
    os.rename(second.path, away)  # as unmounted
    said = first.dvlite("gc", "--yes", code=EXIT_CONFLICT).err
    assert f"dvlite gc --forget {second.path}" in said and has(first, b"both" + LARGE, cache)
    moved = Repository(away, second.store)
    moved.dvlite("status")  # at its new place it says so itself
    assert gc(first)["removed"]["objects"] == 0
    shutil.rmtree(away)
    first.dvlite("gc", "--yes", code=EXIT_CONFLICT)
    words = ["--forget", str(away), "--forget", str(second.path)]
    assert gc(first, *words, "--dry-run")["removed"]["objects"] == 1
    first.dvlite("gc", "--yes", code=EXIT_CONFLICT)  # nobody was forgotten
    done = gc(first, *words)
    assert done["removed"]["objects"] == 1
    first.dvlite("gc", "--forget", "nowhere", code=EXIT_MISSING)


def test_a_repository_is_found_by_another_work_tree_when_the_first_one_is_gone(
    shared: tuple[Repository, Repository, Path], tmp_path: Path
) -> None:
    """A bare repository can be found by its work trees only."""
    first, second, cache = shared
    bare = tmp_path / "bare" / "repository.git"
    second.git("clone", "--quiet", "--bare", ".", str(bare))
    trees = [Repository(tmp_path / name, second.store) for name in ("one", "two")]
    for tree in trees:
        subprocess.run(["git", "-C", bare, "worktree", "add", "--quiet", tree.path], check=True)
        tree.dvlite("config", "--local", "cache.dir", str(cache))
        tree.dvlite("checkout", code=None)
    shutil.rmtree(second.path)
    gc(first, "--forget", str(second.path))
    shutil.rmtree(trees[0].path)
    assert len(gc(first)["repositories"]) == 2 and has(first, b"both" + LARGE, cache)


def test_a_users_file_that_is_damaged_stops_gc(
    shared: tuple[Repository, Repository, Path],
) -> None:
    first, _, cache = shared
    next((cache / "users").iterdir()).write_bytes(b"nonsense")
    assert "does not say" in first.dvlite("gc", "--yes", code=EXIT_CONFLICT).err


def test_leftovers_old_mirrors_and_expired_records_go(repository: Repository) -> None:
    version(repository, b"kept")
    repository.write({"model": b"edited"})
    repository.dvlite("checkout", "--force")
    cache = repository.path / ".git/dvlite/cache"
    for name in ("tmp/pack-1-abc", "packs/" + "ab" * 32 + ".pack"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_bytes(b"unfinished")
    record = next(repository.path.glob(".git/dvlite/*/discarded"))
    moment, rest = record.read_text().split(" ", 1)
    record.write_text(f"{int(moment) - OLD_S} {rest}")
    age(repository)
    assert gc(repository)["leftovers"]["files"] == 0  # they may still be written
    from dvlite.storage.sweep import leftovers

    later = list(leftovers(Cache(str(cache)), time.time() + 3 * 24 * 3600))
    assert sorted(Path(path).name for path, _ in later) == ["ab" * 32 + ".pack", "pack-1-abc"]
    assert record.read_text() == ""


def test_mirrored_indexes_of_remotes_that_are_no_longer_used_go(forgotten: Repository) -> None:
    folder = forgotten.path / ".git/dvlite/cache/remotes/0123456789abcdef/index"
    folder.mkdir(parents=True)
    for name, days in (("old", 40), ("new", 1)):
        (folder / name).write_bytes(b"a segment")
        then = time.time() - days * 24 * 3600
        os.utime(folder / name, (then, then))
    assert gc(forgotten)["leftovers"] == {"files": 1, "size": 9}
    assert [path.name for path in folder.iterdir()] == ["new"]
