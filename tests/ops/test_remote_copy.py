"""`dvlite remote copy` from the command line: in a project, outside any, and what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.repositories import Repository, finished, listing, run
from tests.servers.s3 import S3Server


@pytest.fixture
def shared(repository: Repository) -> Repository:
    """Two commits, pushed, and a second remote where nothing is yet."""
    source = random.Random(7)
    files = {f"data/sub/{number}": b"%d" % number for number in range(80)}
    repository.add_and_commit({**files, "model": source.randbytes(400_000)}, "data", "model")
    repository.share()
    repository.add_and_commit({"data/big": source.randbytes(300_000)}, "data")
    repository.dvlite("remote", "add", "archive", str(repository.path.parent / "archive"))
    repository.commit()
    repository.share()
    return repository


def archive(repository: Repository) -> Path:
    return repository.path.parent / "archive"


def packs(folder: Path) -> list[Path]:
    return sorted(one for one in (folder / "packs").rglob("*") if one.is_file())


def test_a_fresh_clone_pulls_the_same_from_the_copy(shared: Repository) -> None:
    ran = shared.dvlite("remote", "copy", "store", "archive")
    assert f"copied from store to archive: {len(packs(shared.store))} packs" in ran.out
    clone = shared.clone("clone")
    clone.dvlite("pull", "-r", "archive")
    assert clone.data() == shared.data()
    assert clone.read("model") == shared.read("model")
    clone.dvlite("fetch", "--all-commits", "-r", "archive")
    shared.dvlite("remote", "check", "--full", "archive")
    assert shared.dvlite("push", "-r", "archive").out == "everything is on archive\n"
    ran = shared.dvlite("remote", "copy", "store", "archive")
    assert ran.out == "everything on store is on archive\n"


def test_folders_are_copied_outside_any_repository(shared: Repository, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    ran = run(outside, "remote", "copy", str(shared.store), "copies/store", "--json")
    content = json.loads(ran.out)
    assert content["complete"]
    assert content["to"] == str(outside / "copies" / "store")
    copies = [one.name for one in packs(outside / "copies" / "store")]
    assert copies == [one.name for one in packs(shared.store)]
    clone = shared.clone("clone")
    clone.set_remote(str(outside / "copies" / "store"))
    clone.dvlite("pull")
    assert clone.data() == shared.data()


def test_s3_is_reached_with_the_environment_alone(
    shared: Repository, s3_remote: S3Server, tmp_path: Path
) -> None:
    url, option = s3_remote.new_url(), f"endpoint_url={s3_remote.endpoint}"
    outside = tmp_path / "outside"
    outside.mkdir()
    run(outside, "remote", "copy", f"file://{shared.store}", url, "--to-option", option)
    run(outside, "remote", "copy", url, "./back", "--from-option", option)
    assert [one.name for one in packs(outside / "back")] == [
        one.name for one in packs(shared.store)
    ]
    clone = shared.clone("clone")
    clone.set_remote(str(outside / "back"))
    clone.dvlite("pull")
    assert clone.data() == shared.data()


def test_a_dry_run_makes_nothing(shared: Repository) -> None:
    ran = shared.dvlite("remote", "copy", "store", "archive", "-n")
    assert f"would copy from store to archive: {len(packs(shared.store))} packs" in ran.out
    assert not archive(shared).exists()


def test_a_killed_copy_goes_on(shared: Repository) -> None:
    """A process of its own, killed when the first packs are there."""
    shared.dvlite("config", "--local", "core.max_rate", "200K")
    process = shared.start("remote", "copy", "store", "archive", "-j", "1")
    while process.poll() is None and not (archive(shared) / "packs").exists():
        pass
    process.kill()
    assert finished(process, None).code != 0
    shared.dvlite("config", "--local", "--unset", "core.max_rate")
    before = {one.name for one in packs(archive(shared))}
    content = json.loads(shared.dvlite("remote", "copy", "store", "archive", "--json").out)
    assert content["packs"] == len(packs(shared.store)) - len(before)
    shared.dvlite("remote", "check", "--full", "archive")


@pytest.mark.parametrize(("damage", "code"), [(b"damaged", 8), (None, 6)])
def test_a_damaged_pack_is_named_and_the_rest_copied(
    shared: Repository, damage: bytes | None, code: int
) -> None:
    bad = max(packs(shared.store), key=lambda one: one.stat().st_size)
    if damage is None:
        bad.unlink()
    else:
        bad.write_bytes(damage)
    ran = shared.dvlite("remote", "copy", "store", "archive", code=code)
    assert f"not all of store is on archive:\n  packs/{bad.name[:2]}/{bad.name}: " in ran.err
    assert "hint: find whom it concerns" in ran.err
    assert len(packs(archive(shared))) == len(packs(shared.store)) - (damage is not None)
    shared.dvlite("remote", "check", "--full", "archive")


def test_a_target_that_refuses_is_said(shared: Repository) -> None:
    archive(shared).write_bytes(b"a file in the way")
    ran = shared.dvlite("remote", "copy", "store", "archive", code=7)
    assert "a remote is a folder; this path leads through a file" in ran.err


def test_a_target_of_another_format_is_refused_unchanged(shared: Repository) -> None:
    archive(shared).mkdir()
    text = (shared.store / "dvlite.json").read_text()
    (archive(shared) / "dvlite.json").write_text(text.replace("65536", "4096"))
    before = listing(archive(shared))
    assert (
        "other chunk parameters" in shared.dvlite("remote", "copy", "store", "archive", code=9).err
    )
    assert listing(archive(shared)) == before


def test_a_target_whose_url_a_commit_has_changed_is_confirmed(shared: Repository) -> None:
    shared.dvlite("remote", "copy", "store", "archive")
    elsewhere = str(shared.path.parent / "elsewhere")
    shared.dvlite("remote", "add", "--force", "archive", elsewhere)
    assert "now points to" in shared.dvlite("remote", "copy", "store", "archive", code=5).err
    assert not Path(elsewhere).exists()
    shared.dvlite("remote", "copy", "store", "archive", "--yes")
    assert packs(Path(elsewhere))


def test_wrong_usage_is_refused(shared: Repository, tmp_path: Path) -> None:
    def refused(code: int, *words: str) -> str:
        return shared.dvlite("remote", "copy", *words, code=code).err

    assert "the same place" in refused(2, "store", "store")
    assert "the same place" in refused(2, "./x", "./x/")
    assert "no remote named nowhere" in refused(6, "nowhere", "archive")
    assert "there is no dvlite remote" in refused(7, "archive", "store")
    assert "cannot use the protocol" in refused(2, "store", "ftp://host/x")
    assert "is a remote's name" in refused(2, "store", "archive", "--to-option", "region=x")
    assert "is a secret" in refused(2, "store", "s3://b/x", "--to-option", "secret=x")
    assert "is not OPTION=VALUE" in refused(2, "store", "s3://b/x", "--to-option", "region")
    outside = tmp_path / "outside"
    outside.mkdir()
    run(outside, "remote", "copy", "store", "./x", code=3)
