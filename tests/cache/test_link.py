"""`dvlite cache link`: reading from another cache, which is never written to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvlite.storage.cache import Cache
from dvlite.storage.oid import hash_bytes
from tests.cache.conftest import FILES, LARGE, age, cache_of, names, whole
from tests.repositories import Listing, Repository, listing

PATH, CONFLICT, MISSING, STORAGE = 4, 5, 6, 11


@pytest.fixture
def team(full: Repository, tmp_path: Path) -> Path:
    """A team's cache, which has everything."""
    full.dvlite("cache", "move", str(tmp_path / "team"))
    return tmp_path / "team"


@pytest.fixture
def clone(full: Repository, team: Path) -> Repository:
    """A clone with nothing in its cache that reads from the team's."""
    full.git("push", "--quiet", "origin", "HEAD")
    clone = full.clone("clone")
    clone.dvlite("cache", "link", str(team))
    return clone


@pytest.fixture
def untouched(team: Path) -> Iterator[None]:
    """At the end the team's cache is as it was, to the change times of its files."""
    before = _all_of(team)
    yield
    assert _all_of(team) == before


def _all_of(folder: Path) -> tuple[Listing, dict[str, int]]:
    times = {str(path): path.lstat().st_ctime_ns for path in folder.rglob("*")}
    return listing(folder), times


def own(repository: Repository) -> set[str]:
    return names(cache_of(repository))


@pytest.mark.usefixtures("untouched")
def test_what_is_there_is_neither_downloaded_nor_copied(clone: Repository) -> None:
    shutil.rmtree(clone.store)  # nothing can be downloaded
    clone.dvlite("checkout")
    assert clone.read("model") == b"model" + LARGE
    assert {name: clone.read(name) for name in FILES} == FILES
    assert own(clone) == set()
    assert "clean" in clone.dvlite("status", "--exit-code").out
    clone.dvlite("ls", "data")
    clone.dvlite("diff")


@pytest.mark.usefixtures("untouched")
def test_fetch_brings_only_what_it_lacks(full: Repository, clone: Repository) -> None:
    full.dvlite("config", "--local", "--unset", "cache.dir")  # the team's stays as it is
    full.add_and_commit({"model": b"newer" + LARGE}, "model")
    full.share()
    clone.git("pull", "--quiet")
    done = json.loads(clone.dvlite("fetch", "--json").out)
    assert done["files"] == 1 and len(own(clone)) == 1
    clone.dvlite("checkout")
    assert clone.read("model") == b"newer" + LARGE


@pytest.mark.usefixtures("untouched")
def settle(clone: Repository) -> None:
    """Waits until nothing was written so lately that its time is not trusted, and looks again."""
    settled = time.monotonic() + 0.2
    while time.monotonic() < settled:
        clone.dvlite("status")
    clone.dvlite("status")


def test_add_copies_what_it_reads_and_nothing_else(clone: Repository) -> None:
    """Nobody promises that a source keeps it; what was checked out from it is not read."""
    clone.dvlite("checkout")
    settle(clone)
    clone.write({"data/f0": b"changed", "again": b"model" + LARGE})
    clone.dvlite("add", "data", "again")
    cache = Cache(str(cache_of(clone)))
    assert cache.has(hash_bytes(b"changed")) and cache.has(hash_bytes(b"model" + LARGE))
    assert not cache.has(hash_bytes(b"in a folder" + LARGE))
    assert not cache.has(hash_bytes(b"17"))


@pytest.mark.usefixtures("untouched")
def test_push_sends_what_only_the_source_has(clone: Repository, tmp_path: Path) -> None:
    clone.dvlite("remote", "add", "two", str(tmp_path / "two"))
    clone.dvlite("push", "-r", "two")
    assert own(clone) == set()
    report = json.loads(clone.dvlite("remote", "check", "two", "--full", "--json").out)
    assert report["clean"]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "reflink,copy"])
def test_checkouts_link_to_it_but_never_by_a_hard_link(
    clone: Repository, team: Path, kind: str
) -> None:
    clone.dvlite("config", "--local", "cache.link", kind)
    clone.dvlite("checkout")
    model = clone.path / "model"
    assert model.read_bytes() == b"model" + LARGE
    assert model.is_symlink() == (kind == "symlink")
    if kind == "symlink":
        assert os.readlink(model).startswith(str(team))
    assert clone.path.joinpath("model").stat().st_nlink == 1
    assert "clean" in clone.dvlite("status", "--exit-code").out
    clone.dvlite("checkout", "--relink")
    clone.dvlite("gc", "--yes")
    clone.dvlite("fsck")


def test_many_files_come_by_worker_processes(full: Repository, tmp_path: Path) -> None:
    full.add_and_commit({f"many/{n % 7}/{n}": b"many %d" % n for n in range(2500)}, "many")
    full.share()
    full.dvlite("cache", "move", str(tmp_path / "team"))
    clone = full.clone("clone")
    clone.dvlite("cache", "link", str(tmp_path / "team"))
    shutil.rmtree(clone.store)
    clone.process("checkout")
    assert clone.data("many") == full.data("many")
    settle(clone)
    clone.write({f"many/new/{n}": b"new %d" % n for n in range(2100)})
    clone.process("add", "many")
    assert not Cache(str(cache_of(clone))).has(hash_bytes(b"many 7"))


# -- a source that is not as it should be ----------------------------------------------------------


def test_one_that_is_not_there_is_a_warning(clone: Repository, team: Path) -> None:
    os.rename(team, team.with_name("unmounted"))
    ran = clone.dvlite("status")
    assert f"the second source {team} is not there" in ran.err
    assert "it is not there" in clone.dvlite("doctor", code=1).out
    clone.dvlite("pull")
    assert clone.read("model") == b"model" + LARGE and len(own(clone)) > 2
    os.rename(team.with_name("unmounted"), team)
    assert not clone.dvlite("status").err


def test_links_into_one_that_is_not_there_are_not_taken_for_removed_files(
    clone: Repository, team: Path
) -> None:
    clone.dvlite("config", "--local", "cache.link", "symlink")
    clone.dvlite("checkout")
    os.rename(team, team.with_name("unmounted"))
    said = clone.dvlite("add", "-u", code=PATH).err
    assert "a link into a cache that is not there" in said
    clone.git("diff", "--exit-code", "HEAD")
    clone.dvlite("pull")
    clone.dvlite("checkout", "--relink")
    assert clone.read("model") == b"model" + LARGE
    assert os.readlink(clone.path / "model").startswith(str(cache_of(clone)))
    clone.dvlite("status", "--exit-code")


def test_damage_in_it_is_found_and_does_not_spread(clone: Repository, team: Path) -> None:
    damaged = Path(Cache(str(team)).object_path(hash_bytes(b"model" + LARGE)))
    damaged.unlink()
    damaged.write_bytes(b"wrong" + LARGE)
    said = clone.dvlite("checkout", code=None).err
    assert f"dvlite cache link --remove {team}" in said
    assert not (clone.path / "model").exists()
    assert "damaged" in clone.dvlite("cache", "link", "--remove", "--copy", str(team), code=8).err
    assert not Cache(str(cache_of(clone))).has(hash_bytes(b"model" + LARGE))
    clone.dvlite("cache", "link", "--remove", str(team))
    clone.dvlite("pull")
    assert clone.read("model") == b"model" + LARGE


def test_a_damaged_index_there_hides_only_its_pack(clone: Repository, team: Path) -> None:
    index = next(team.glob("packs/*.idx"))
    index.unlink()
    index.write_bytes(b"nonsense")
    assert "damaged" in clone.dvlite("doctor", code=1).out
    clone.dvlite("pull")
    assert {name: clone.read(name) for name in FILES} == FILES


def test_it_counts_for_no_safe_copy(clone: Repository, team: Path) -> None:
    """gc and trim go by remotes, fsck by what is there."""
    clone.dvlite("checkout")
    clone.dvlite("fsck")
    clone.write({"again": b"model" + LARGE})
    clone.dvlite("add", "again")
    clone.git("rm", "--quiet", "--cached", "--force", "again.dvl")
    (clone.path / "again.dvl").unlink()
    (clone.path / "again").unlink()
    for path in clone.path.glob(".git/dvlite/*/base"):
        path.unlink()
    for path in clone.path.glob(".git/dvlite/*/stat/*"):
        path.unlink()
    shutil.rmtree(clone.store)
    age(cache_of(clone), 24 * 100)
    done = json.loads(clone.dvlite("gc", "--yes", "--json").out)
    assert done["removed"]["objects"] == 0
    clone.dvlite("cache", "trim", "--max-size", "0")
    assert Cache(str(cache_of(clone))).has(hash_bytes(b"model" + LARGE))


# -- the setting -----------------------------------------------------------------------------------


def test_several_are_asked_in_order_and_listed(clone: Repository, team: Path) -> None:
    second = team.with_name("second")
    shutil.copytree(team, second)
    clone.dvlite("cache", "link", "../second")
    listed = json.loads(clone.dvlite("cache", "link", "--json").out)["sources"]
    assert [one["path"] for one in listed] == [str(team), str(second)]
    assert all(one["objects"] == 3 and one["packs"] == 1 for one in listed)
    clone.dvlite("cache", "link", "../second")  # again: nothing changes
    assert len(json.loads(clone.dvlite("cache", "show", "--json").out)["sources"]) == 2
    clone.dvlite("cache", "link", "--remove", "../second")
    clone.dvlite("cache", "link", "--remove", "../second", code=MISSING)
    assert clone.git("status", "--porcelain") == ""


def test_a_committed_one_does_not_count(full: Repository, team: Path) -> None:
    """It would lead others' dvlite to any folder of their machines."""
    settings = full.path / ".dvlite" / "config.toml"
    settings.write_text(settings.read_text() + f'\n[cache]\nsources = "{team}"\n')
    assert json.loads(full.dvlite("cache", "show", "--json").out)["sources"] == []


def test_what_is_no_cache_is_refused(full: Repository, tmp_path: Path) -> None:
    def refused(folder: Path, code: int) -> str:
        return full.dvlite("cache", "link", str(folder), code=code).err

    (tmp_path / "photos").mkdir()
    (tmp_path / "a:b" / "packs").mkdir(parents=True)
    assert "no folder" in refused(tmp_path / "nothing", MISSING)
    assert "is no cache" in refused(tmp_path / "photos", PATH)
    assert "own cache" in refused(cache_of(full), PATH)
    assert "in its name" in refused(tmp_path / "a:b", PATH)
    full.dvlite("cache", "link", "--copy", str(tmp_path), code=2)
    full.dvlite("cache", "link", "--remove", code=2)


def test_leaving_one_can_take_over_what_is_needed(clone: Repository, team: Path) -> None:
    clone.dvlite("config", "--local", "cache.link", "symlink")
    clone.dvlite("checkout")
    shutil.rmtree(clone.store)
    said = clone.dvlite("cache", "link", "--remove", str(team), code=CONFLICT).err
    assert "2 files of the workspace are symbolic links" in said and "--copy" in said
    plan = json.loads(
        clone.dvlite("cache", "link", "--remove", "--copy", "--json", "-n", str(team)).out
    )
    done = json.loads(clone.dvlite("cache", "link", "--remove", "--copy", "--json", str(team)).out)
    assert plan["objects"] == done["objects"] == 103 and done["links"] == 2
    shutil.rmtree(team)
    assert clone.read("model") == b"model" + LARGE
    whole(clone)


@pytest.mark.root
def test_a_read_only_mount_is_enough(full: Repository, team: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bind = ["mount", "--bind", str(team), str(mounted)]
    if os.getuid() or subprocess.run(bind, capture_output=True).returncode:
        pytest.skip("NOT TESTED: a cache on a read-only mount (needs root, to mount it)")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True)
        clone = full.clone("clone")
        clone.dvlite("cache", "link", str(mounted))
        shutil.rmtree(clone.store)
        clone.dvlite("checkout")
        assert clone.read("model") == b"model" + LARGE
        clone.dvlite("status", "--exit-code")
        said = clone.dvlite("cache", "move", str(mounted), code=STORAGE).err
        assert "read-only file system" in said and "cache link" in said
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
