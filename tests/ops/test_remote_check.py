"""`dvlite remote check`: whom damage concerns, and repairing from the command line."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from tests.repositories import Ran, Repository, listing


@pytest.fixture
def shared(repository: Repository) -> Repository:
    """Two commits of a folder and a model, pushed."""
    source = random.Random(7)
    repository.add_and_commit(
        {"data/a": b"a", "data/sub/b": b"b", "model": source.randbytes(400_000)}, "data", "model"
    )
    repository.share()
    repository.add_and_commit({"data/sub/c": b"c", "data/big": source.randbytes(300_000)}, "data")
    repository.share()
    return repository


def packs(repository: Repository) -> list[Path]:
    found = [one for one in (repository.store / "packs").rglob("*") if one.is_file()]
    return sorted(found, key=lambda one: -one.stat().st_size)


def forget(repository: Repository) -> None:
    """The cache loses everything."""
    shutil.rmtree(repository.path / ".git" / "dvlite" / "cache")


def parsed(ran: Ran) -> dict[str, list[dict[str, object]]]:
    return json.loads(ran.out)  # type: ignore[no-any-return]


def test_a_clean_remote_exits_with_0_and_changes_nothing(shared: Repository) -> None:
    before = listing(shared.store)
    assert "store is undamaged" in shared.dvlite("remote", "check").out
    assert shared.dvlite("remote", "check", "-q", "--full").out == ""
    shared.dvlite("remote", "check", "--repair")
    assert listing(shared.store) == before


def test_damage_is_told_with_commits_and_paths(shared: Repository) -> None:
    first, second = (
        shared.git("rev-parse", "--short=8", rev).strip() for rev in ("HEAD~1", "HEAD")
    )
    packs(shared)[0].unlink()  # the first push's data: model, data/a, data/sub/b
    ran = shared.dvlite("remote", "check", code=1)
    assert f"damaged  packs/{packs_name(ran)}: missing" in ran.out
    lines = ran.out.split("needs what is damaged:\n")[1].splitlines()
    assert sorted(lines[:3]) == [
        f"  data/a  ({second}, {first})",
        f"  data/sub/b  ({second}, {first})",
        f"  model  ({first})",
    ]
    content = parsed(shared.dvlite("remote", "check", "--json", code=1))
    assert {(one["pointer"], one["path"]) for one in content["concerns"]} == {
        ("data", "a"),
        ("data", "sub/b"),
        ("model", ""),
    }
    assert content["clean"] is False


def packs_name(ran: Ran) -> str:
    return ran.out.split("damaged  packs/")[1].split(":")[0]


def test_repairing_from_the_cache_makes_it_whole(shared: Repository) -> None:
    for pack in packs(shared):
        pack.unlink()
    before = listing(shared.store)
    shared.dvlite("remote", "check", "--repair", "--dry-run", code=1)
    assert listing(shared.store) == before
    ran = shared.dvlite("remote", "check", "--repair")
    assert "store is undamaged now" in ran.out
    clone = shared.clone("clone")
    clone.dvlite("pull")
    assert clone.data() == shared.data()
    clone.dvlite("fetch", "--all-commits")
    clone.dvlite("remote", "check", "--full")


def test_what_is_nowhere_stays_named_and_the_rest_is_repaired(shared: Repository) -> None:
    content = (shared.path / "model").read_bytes()
    packs(shared)[0].unlink()
    forget(shared)
    shared.dvlite("add", "data")  # data is here again, the model is not
    (shared.path / "model").unlink()
    ran = shared.dvlite("remote", "check", "--repair", code=1)
    left = ran.out.split("could not be repaired:\n")[1].splitlines()
    first = shared.git("rev-parse", "--short=8", "HEAD~1").strip()
    assert left[0] == f"  model  ({first})"
    assert not any("data" in line for line in left)
    clone = shared.clone("clone")
    clone.dvlite("fetch", "data")
    assert "  model: blake3:" in clone.dvlite("fetch", code=8).err
    # somebody finds the model again: an ordinary push heals the remote
    shared.write({"model": content})
    shared.dvlite("add", "--force", "model")
    shared.dvlite("push")
    shared.dvlite("remote", "check", "--full")
    clone.dvlite("pull")
    assert clone.read("model") == content


def test_another_remote_gives_what_the_cache_does_not_have(shared: Repository) -> None:
    shared.dvlite("remote", "add", "archive", str(shared.path.parent / "archive"))
    shared.dvlite("push", "-r", "archive", "--all-commits")
    for pack in packs(shared)[:3]:
        pack.write_bytes(b"garbage")
    forget(shared)
    shared.dvlite("remote", "check", "--full", "--repair", code=1)
    shared.dvlite("remote", "check", "--full", "--repair", "--from", "archive", "store")
    clone = shared.clone("clone")
    clone.dvlite("pull")
    assert clone.data() == shared.data()
    assert clone.read("model") == shared.read("model")


def test_a_remote_without_its_description_can_be_checked_and_repaired(shared: Repository) -> None:
    (shared.store / "dvlite.json").unlink()
    shared.dvlite("fetch", code=7)
    assert "dvlite.json: missing" in shared.dvlite("remote", "check", code=1).out
    shared.dvlite("remote", "check", "--repair")
    shared.dvlite("fetch")


def test_what_was_there_at_the_last_contact_is_missed(shared: Repository) -> None:
    """Also where nothing on the remote tells of it any more."""
    for folder in ("packs", "index", "roots"):
        shutil.rmtree(shared.store / folder)
    ran = shared.dvlite("remote", "check", code=1)
    assert ran.out.count("was here and is not any more") >= 2
    shared.dvlite("remote", "check", "--repair")
    shared.clone("clone").dvlite("pull")


def test_what_was_never_pushed_is_not_missed(shared: Repository) -> None:
    """A fetch that finds all in the cache says nothing about the remote."""
    shared.add_and_commit({"data/unpushed": b"u"}, "data")
    shared.dvlite("fetch")
    assert "not on store at the last contact" in shared.dvlite("status").out
    shared.dvlite("remote", "check", "--full")


def test_a_damaged_marker_stops_pushes_but_no_fetch(shared: Repository) -> None:
    (shared.store / "index" / "gc-0000000000000001").write_bytes(b"garbage")
    clone = shared.clone("clone")
    clone.dvlite("pull")
    shared.add_and_commit({"data/new": b"new"}, "data")
    assert "hint: dvlite remote check --repair" in shared.dvlite("push", code=8).err
    shared.dvlite("remote", "check", "--repair")
    assert ": 1 new file, 3 B" in shared.dvlite("push").out


def test_an_empty_place_is_no_remote(repository: Repository) -> None:
    repository.store.mkdir()
    ran = repository.dvlite("remote", "check", code=7)
    assert "there is no dvlite remote" in ran.err


def test_wrong_usage_is_refused(shared: Repository) -> None:
    assert "add --repair" in shared.dvlite("remote", "check", "--dry-run", code=2).err
    shared.dvlite("remote", "check", "nothere", code=6)
