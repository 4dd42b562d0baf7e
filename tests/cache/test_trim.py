"""The size limit: what was not used for longest goes, if a remote has it."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dvlite.storage.cache import Cache
from dvlite.storage.oid import hash_bytes
from tests.cache.conftest import FILES, LARGE, age, cache_of
from tests.repositories import Repository, run

USAGE, CONFLICT, LOCKED = 2, 5, 10
SIZE = len(LARGE)


def trim(repository: Repository, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(repository.dvlite("cache", "trim", "--json", *words).out)
    return found


def has(repository: Repository, data: bytes, folder: Path | None = None) -> bool:
    return Cache(str(folder or cache_of(repository))).has(hash_bytes(data))


def path_of(repository: Repository, data: bytes) -> Path:
    return Path(Cache(str(cache_of(repository))).object_path(hash_bytes(data)))


@pytest.fixture
def versions(repository: Repository) -> Repository:
    """Five pushed versions of a model, each used an hour after the one before, long ago."""
    for number in range(5):
        repository.add_and_commit({"model": b"%d" % number + LARGE}, "model")
        repository.dvlite("push")
    for number in range(5):
        then = time.time() - (100 - number) * 3600
        os.utime(path_of(repository, b"%d" % number + LARGE), (then, then))
    return repository


def kept(repository: Repository) -> list[int]:
    return [number for number in range(5) if has(repository, b"%d" % number + LARGE)]


def test_the_least_recently_used_goes_until_it_is_enough(versions: Repository) -> None:
    plan = trim(versions, "--max-size", "800K", "--dry-run")
    assert plan["removed"]["objects"] == 2 and kept(versions) == [0, 1, 2, 3, 4]
    done = trim(versions, "--max-size", "800K")
    assert done["freed"] == 2 * (SIZE + 1) and done["over"] == 0
    assert kept(versions) == [2, 3, 4]
    assert trim(versions, "--max-size", "800K")["removed"]["objects"] == 0
    versions.dvlite("fetch", "--all-commits")
    assert kept(versions) == [0, 1, 2, 3, 4]


def test_a_checkout_is_a_use(versions: Repository) -> None:
    versions.dvlite("checkout", "--rev", "HEAD~4", "model")
    trim(versions, "--max-size", "800K")
    assert 0 in kept(versions) and len(kept(versions)) == 3


def test_what_was_used_just_now_stays(versions: Repository) -> None:
    age(cache_of(versions), 1)
    done = trim(versions, "--max-size", "1")
    assert done["kept"]["young"]["objects"] == 5 and done["over"] > 0
    assert kept(versions) == [0, 1, 2, 3, 4]


def test_what_no_remote_has_stays_and_that_is_said(versions: Repository) -> None:
    versions.add_and_commit({"own": b"own" + LARGE}, "own")
    age(cache_of(versions), 100)
    ran = versions.dvlite("cache", "trim", "--max-size", "1")
    assert "250.0 KiB of it is on no remote: dvlite push" in ran.err
    assert has(versions, b"own" + LARGE) and kept(versions) == []


def test_without_a_remote_that_answers_nothing_goes(versions: Repository) -> None:
    os.rename(versions.store, versions.store.with_name("away"))
    done = trim(versions, "--max-size", "1")
    assert done["removed"]["objects"] == 0 and done["remotes"][0]["problem"]
    assert kept(versions) == [0, 1, 2, 3, 4]
    # nor does one that anybody may have written into the settings
    versions.dvlite("config", "remote.store.url", str(versions.store.with_name("away")))
    assert trim(versions, "--max-size", "1")["removed"]["objects"] == 0


def test_a_remote_that_lost_a_pack_does_not_count_until_it_is_mended(versions: Repository) -> None:
    pack = max(path for path in (versions.store / "packs").rglob("*") if path.is_file())
    pack.unlink()
    for words in (["cache", "trim", "--max-size", "1"], ["gc", "--yes"]):
        done = json.loads(versions.dvlite(*words, "--json").out)
        assert done["removed"]["objects"] == 0
        assert "1 of its packs are gone: dvlite remote check store" in done["remotes"][0]["problem"]
    assert "remote check store" in versions.dvlite("cache", "trim", "--max-size", "1").err
    assert kept(versions) == [0, 1, 2, 3, 4]
    versions.dvlite("remote", "check", "store", "--repair")
    age(cache_of(versions), 100)
    assert trim(versions, "--max-size", "800K")["removed"]["objects"] >= 2


def test_what_files_are_links_to_stays(versions: Repository) -> None:
    for kind in ("symlink", "hardlink"):
        versions.dvlite("config", "--local", "cache.link", f"{kind},copy")
        versions.dvlite("checkout", "--relink")
        versions.dvlite("config", "--local", "--unset", "cache.link")
        age(cache_of(versions), 100)
        trim(versions, "--max-size", "1")
        assert kept(versions) == [4] and versions.read("model") == b"4" + LARGE
        versions.dvlite("fsck")


def test_what_a_checkout_was_about_to_link_to_stays(versions: Repository) -> None:
    """Links that were made before it was killed are in no stat index."""
    versions.dvlite("config", "--local", "cache.link", "symlink,copy")
    for path in versions.path.glob(".git/dvlite/*/stat/*"):
        path.unlink()
    age(cache_of(versions), 100)
    trim(versions, "--max-size", "1")
    assert kept(versions) == [4]


def test_what_force_discarded_can_be_had_again_for_as_long_as_was_said(full: Repository) -> None:
    discarded = full.read("model")
    full.add_and_commit({"model": b"the second" + LARGE}, "model")
    full.dvlite("push")
    full.write({"model": discarded})  # which the remote has
    kept = json.loads(full.dvlite("checkout", "--force", "--json").out)["recover"]
    age(cache_of(full), 30)
    full.dvlite("cache", "trim", "--max-size", "0")
    full.dvlite("checkout", "--recover", kept[0]["id"])
    assert full.read(f"model.recovered-{kept[0]['id']}") == discarded


def test_listings_stay_and_packs_go_as_a_whole(full: Repository) -> None:
    age(cache_of(full), 100)
    trim(full, "--max-size", "1")
    assert not has(full, b"17") and not list(cache_of(full).glob("packs/*"))
    for path in (full.path / "data").iterdir():
        path.unlink()
    status = json.loads(full.dvlite("status", "--json").out)
    assert not status.get("unreadable")
    assert len(full.dvlite("ls", "data").out.splitlines()) == 101
    full.dvlite("pull", "--force")
    assert {name: full.read(name) for name in FILES} == FILES


def test_packs_that_hold_a_little_that_is_not_pushed_are_rewritten(
    repository: Repository,
) -> None:
    """One pack of 200 files, of which 30 are named no more and on no remote."""
    repository.write({f"data/f{n}": b"%d" % n for n in range(200)})
    repository.dvlite("add", "data")
    for n in range(30):
        (repository.path / f"data/f{n}").unlink()
    repository.dvlite("add", "data")
    repository.commit()
    repository.dvlite("push")
    age(cache_of(repository), 100)
    done = trim(repository, "--max-size", "1")
    assert done["removed"]["objects"] == 170 and done["freed_later"] > 0
    assert [n for n in range(200) if has(repository, b"%d" % n)] == list(range(30))
    # what goes by itself after a day does not count, or ever more would have to go
    assert trim(repository, "--max-size", "1M")["size"] < done["size"]
    repository.dvlite("fetch")


# -- by itself -------------------------------------------------------------------------------------


def test_commands_keep_to_the_limit(versions: Repository) -> None:
    versions.dvlite("config", "--local", "cache.max_size", "1M")
    ran = versions.dvlite("push")
    assert "cache.max_size: 2 objects went" in ran.err and kept(versions) == [2, 3, 4]
    versions.write({"more": b"more" + LARGE})
    assert "went from the cache" in versions.dvlite("add", "more").err
    assert kept(versions) == [3, 4] and has(versions, b"more" + LARGE)
    assert "went" not in versions.dvlite("add", "more").err


def test_a_fetch_does_not_lose_what_it_was_for(versions: Repository) -> None:
    versions.dvlite("config", "--local", "cache.max_size", "500K")
    ran = versions.dvlite("fetch", "--all-commits")
    assert "larger than cache.max_size" in ran.err
    assert kept(versions) == [0, 1, 2, 3, 4]
    versions.dvlite("fetch", "--rev", "HEAD~4")
    assert kept(versions)[0] == 0 and len(kept(versions)) == 1


def test_a_limit_that_cannot_be_kept_is_a_warning(versions: Repository) -> None:
    versions.dvlite("config", "--local", "cache.max_size", "1K")
    shutil.rmtree(versions.store)
    versions.write({"more": b"more"})
    ran = versions.dvlite("add", "more")
    assert "larger than cache.max_size; store:" in ran.err
    assert "larger than cache.max_size" in versions.dvlite("doctor", code=None).out
    assert kept(versions) == [0, 1, 2, 3, 4]


def test_a_pointer_of_a_newer_format_stops_it(versions: Repository) -> None:
    """It may name what a link leads to."""
    versions.git("checkout", "--quiet", "-b", "newer")
    versions.write({"newer.dvl": b"dvlite: 9\nkind: file\n"})
    versions.git("add", "newer.dvl")
    versions.commit("newer")
    versions.git("checkout", "--quiet", "main")
    assert "upgrade dvlite" in versions.dvlite("cache", "trim", "--max-size", "1", code=8).err
    assert kept(versions) == [0, 1, 2, 3, 4]


def test_without_a_limit_it_asks_for_one(versions: Repository) -> None:
    assert "--max-size" in versions.dvlite("cache", "trim", code=USAGE).err
    versions.dvlite("cache", "trim", "--max-size", "much", code=USAGE)
    versions.dvlite("config", "cache.max_size", "1G", code=USAGE)  # for this clone only


def test_beside_a_gc_it_does_not_begin(versions: Repository) -> None:
    from dvlite.atomic import try_lock

    with try_lock(str(cache_of(versions) / "gc.lock")) as taken:
        assert taken
        versions.dvlite("cache", "trim", "--max-size", "1", code=LOCKED)
    assert kept(versions) == [0, 1, 2, 3, 4]


# -- shared caches ---------------------------------------------------------------------------------


@pytest.fixture
def shared(
    versions: Repository, another: Callable[[str], Repository], tmp_path: Path
) -> tuple[Repository, Repository, Path]:
    """Another project, with a remote of its own, has one of the versions too, in the same cache."""
    cache, other = tmp_path / "shared", another("other")
    for one in (versions, other):
        one.dvlite("cache", "move", str(cache))
    other.add_and_commit({"theirs": b"1" + LARGE}, "theirs")
    age(cache, 100)
    return versions, other, cache


def test_what_another_project_names_stays_if_it_cannot_fetch_it(
    shared: tuple[Repository, Repository, Path],
) -> None:
    ours, theirs, cache = shared
    trim(ours, "--max-size", "1")
    assert [n for n in range(5) if has(ours, b"%d" % n + LARGE, cache)] == [1]
    theirs.dvlite("push")
    assert "everything" in theirs.dvlite("push").out


def test_clones_with_the_same_remote_count_as_one(
    shared: tuple[Repository, Repository, Path],
) -> None:
    ours, theirs, cache = shared
    theirs.dvlite("config", "remote.store.url", str(ours.store))
    theirs.dvlite("push", "--yes")
    age(cache, 100)
    trim(ours, "--max-size", "1")
    assert not [n for n in range(5) if has(ours, b"%d" % n + LARGE, cache)]
    theirs.dvlite("fetch")
    assert has(theirs, b"1" + LARGE, cache)


def test_a_repository_that_cannot_be_read_stops_it(
    shared: tuple[Repository, Repository, Path],
) -> None:
    ours, theirs, cache = shared
    os.rename(theirs.path, theirs.path.with_name("unmounted"))
    ran = ours.dvlite("cache", "trim", "--max-size", "1", code=CONFLICT)
    assert "gc --forget" in ran.err
    assert all(has(ours, b"%d" % n + LARGE, cache) for n in range(5))


def test_links_of_another_work_tree_count(versions: Repository, tmp_path: Path) -> None:
    versions.git("worktree", "add", "--quiet", str(tmp_path / "tree"), "HEAD~2")
    versions.dvlite("config", "--local", "cache.link", "symlink")
    run(tmp_path / "tree", "checkout")
    age(cache_of(versions), 100)
    trim(versions, "--max-size", "1")
    assert kept(versions) == [2, 4]
