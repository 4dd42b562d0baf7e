"""`dvlite fsck`: real damage is found, told by commit and path, and mended."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from dvlite.storage.cache import Cache
from dvlite.storage.consolidate import MANY_PACKS
from dvlite.storage.oid import hash_bytes
from tests.repositories import Repository
from tests.storage.test_consolidate import fill

EXIT_STORAGE = 11
LARGE = random.Random(7).randbytes(400_000)
SMALL = {f"data/f{n}": b"%d" % n for n in range(100)}


def fsck(repository: Repository, *words: str, code: int | None = None) -> dict[str, Any]:
    ran = repository.dvlite("fsck", "--json", *words, code=code)
    found: dict[str, Any] = json.loads(ran.out)
    assert ran.code == (not found["clean"])
    return found


def cache_of(repository: Repository) -> Path:
    return repository.path / ".git" / "dvlite" / "cache"


def object_of(repository: Repository, data: bytes) -> Path:
    text = hash_bytes(data).hex()
    return cache_of(repository) / "objects" / text[:2] / text[2:]


def damage(path: Path, at: int = -1) -> None:
    """Turns one byte over."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at == -1 else at] ^= 0xFF
    path.chmod(0o644)
    path.write_bytes(data)


def empty_workspace(repository: Repository) -> None:
    for name in ("data", "model"):
        path = repository.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture
def filled(repository: Repository) -> Repository:
    repository.add_and_commit({**SMALL, "model": LARGE}, "data", "model")
    repository.dvlite("push")
    return repository


def test_a_whole_cache_is_clean(filled: Repository) -> None:
    found = fsck(filled, code=0)
    assert found["objects"] == 102 and found["versions"] == 2 and not found["findings"]
    assert "all is well" in filled.dvlite("fsck", "--remote").out
    assert fsck(filled, "--remote")["remote"] == {"name": "store", "clean": True}


@pytest.mark.parametrize("source", ["workspace", "remote", "cache"])
def test_a_damaged_file_is_told_by_commit_and_path_and_mended(
    filled: Repository, source: str, tmp_path: Path
) -> None:
    commit = filled.git("rev-parse", "HEAD").strip()
    backup = tmp_path / "backup"
    shutil.copytree(cache_of(filled), backup)
    damage(object_of(filled, LARGE))
    found = fsck(filled, code=1)
    assert [(one["pointer"], one["commits"]) for one in found["lost"]] == [("model", [commit])]
    assert "model" in filled.dvlite("fsck", code=1).out
    words = ["--repair"]
    if source != "workspace":
        empty_workspace(filled)
    if source != "remote":
        filled.store.rename(tmp_path / "away")
    if source == "cache":
        words += ["--from", str(backup)]
    mended = fsck(filled, *words, code=0)
    assert mended["mended"] == 1 and mended["findings"][0]["mended"]
    assert object_of(filled, LARGE).read_bytes() == LARGE
    assert [path.name[:7] for path in (cache_of(filled) / "damaged").iterdir()] == ["objects"]
    assert fsck(filled, code=0)["findings"] == []


@pytest.mark.parametrize("source", ["workspace", "remote"])
@pytest.mark.parametrize("place", ["frame", "footer", "index", "index gone wrong"])
def test_a_damaged_pack_or_index_is_mended(filled: Repository, place: str, source: str) -> None:
    pack = next((cache_of(filled) / "packs").glob("*.pack"))
    index = pack.with_suffix(".idx")
    if place == "frame":
        damage(pack, 60)
    elif place == "footer":
        damage(pack, pack.stat().st_size - 60)
    elif place == "index":
        damage(index)
    else:
        index.chmod(0o644)
        index.write_bytes(b"")
    if source == "remote":
        empty_workspace(filled)
    assert not fsck(filled, code=1)["clean"]
    assert fsck(filled, "--repair", code=0)["clean"]
    assert fsck(filled, code=0)["findings"] == []
    filled.dvlite("checkout", "--force")
    assert filled.data() == filled.data() and filled.read("data/f7") == b"7"
    filled.dvlite("status", "--exit-code")


def test_what_a_repair_saves_of_a_pack_does_not_have_the_damage_joined_with_other_packs(
    filled: Repository,
) -> None:
    """As soon as there are more than 64 packs, those who add one join them."""
    files = {f"noise/f{n}": random.Random(n).randbytes(1000) for n in range(200)}
    filled.add_and_commit(files, "noise")
    filled.dvlite("push")
    place = Cache(str(cache_of(filled))).find(hash_bytes(files["noise/f7"]))
    assert place is not None
    cache = Cache(str(cache_of(filled)), durable=False)
    while len(cache.packs()) < MANY_PACKS:
        fill(cache, 1, seed=len(cache.packs()))
    damage(Path(place.path), 60)
    assert 0 < len(fsck(filled, code=1)["lost"]) < 136  # so more than 64 of it are good
    assert fsck(filled, "--repair", code=0)["mended"]
    assert fsck(filled, code=0)["findings"] == []


@pytest.mark.parametrize("source", ["workspace", "remote", "nobody"])
def test_a_pack_that_is_gone_while_its_index_is_there_is_damage(
    filled: Repository, source: str
) -> None:
    pack = next((cache_of(filled) / "packs").glob("*.pack"))
    pack.unlink()
    if source != "workspace":
        empty_workspace(filled)
    if source == "nobody":
        shutil.rmtree(filled.store)
    found = fsck(filled, code=1)
    assert len(found["lost"]) == 100
    assert [one["text"] for one in found["findings"]] == ["it is missing, its index is there"]
    if source == "nobody":
        assert fsck(filled, "data", code=1)["findings"] and not fsck(filled, "model")["findings"]
        filled.dvlite("fsck", "--repair", code=None)
        assert fsck(filled)["findings"] == []
        return
    assert fsck(filled, "--repair", code=0)["mended"]
    assert fsck(filled, code=0)["findings"] == []
    filled.dvlite("checkout", "--force")
    assert filled.read("data/f7") == b"7"


def test_what_may_not_be_read_is_no_damage(
    filled: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colleague's object without rights for the group: --repair would hide it."""
    from dvlite.storage import cachecheck

    def refuse(path: str, *words: Any) -> Any:
        if "/objects/" in path:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open(path, *words)

    monkeypatch.setattr(cachecheck, "open", refuse, raising=False)
    said = filled.dvlite("fsck", "--repair", code=EXIT_STORAGE).err
    assert "cannot be read: Permission denied" in said and "hint: " in said
    assert object_of(filled, LARGE).exists() and not (cache_of(filled) / "damaged").exists()


def test_a_cache_that_is_mended_from_may_be_damaged_itself(
    filled: Repository, tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    shutil.copytree(cache_of(filled), backup)
    (backup / "packs" / ("0" * 64 + ".idx")).write_bytes(b"an index that is looked at first")
    shutil.rmtree(cache_of(filled) / "packs")
    shutil.rmtree(filled.store)
    empty_workspace(filled)
    said = filled.dvlite("fsck")
    assert "not here, and not all remotes answered" in said.err and "well" not in said.out
    assert fsck(filled, "--repair", "--from", str(backup), code=0)["mended"] == 100


def test_a_damaged_listing_is_made_again(filled: Repository) -> None:
    filled.add_and_commit({"few/a": b"1", "few/sub/b": b"2"}, "few")
    tree = filled.path.joinpath("few.dvl").read_text().partition("blake3:")[2][:64]
    path = cache_of(filled) / "objects" / tree[:2] / tree[2:]
    damage(path)
    found = fsck(filled, code=1)
    assert [(one["pointer"], one["path"]) for one in found["lost"]] == [("few", "")]
    assert fsck(filled, "--repair", code=0)["mended"] == 1
    shutil.rmtree(filled.path / "few")
    filled.dvlite("checkout")
    assert filled.read("few/sub/b") == b"2"


def test_what_nobody_has_stays_lost_and_every_version_of_it_is_named(
    repository: Repository,
) -> None:
    repository.add_and_commit({"a/one": b"same", "a/two": b"other"}, "a")
    repository.add_and_commit({"a/two": b"changed"}, "a")
    object_of(repository, b"same").unlink()
    (repository.path / "a" / "one").unlink()
    found = fsck(repository, "--repair", code=1)
    assert [(one["pointer"], one["path"]) for one in found["lost"]] == [("a", "one")] * 2
    assert len({one["commits"][0] for one in found["lost"] if one["commits"]}) == 2
    assert fsck(repository, "a", code=1)["lost"] == found["lost"]
    repository.dvlite("fsck", "nowhere", code=4)


def test_only_the_paths_asked_for_are_checked(filled: Repository) -> None:
    damage(object_of(filled, LARGE))
    assert fsck(filled, "data", code=0)["objects"] == 101
    assert fsck(filled, "model.dvl", code=1)["objects"] == 1


def test_what_only_a_remote_has_is_no_damage_and_what_cannot_be_asked_is_said(
    filled: Repository,
) -> None:
    filled.share()
    clone = filled.clone("clone")
    clone.dvlite("fetch", "data")
    found = fsck(clone, code=0)
    assert found["only_remote"] == 1 and not found["unknown"]
    os.rename(filled.store, filled.store.with_name("away"))
    found = fsck(clone, code=0)
    assert found["unknown"] == 1 and found["remotes"][0]["problem"]


def test_a_remote_that_was_not_asked_because_it_was_never_used_is_told(filled: Repository) -> None:
    filled.share()
    clone = filled.clone("clone")
    said = clone.dvlite("fsck", code=1)
    assert "has not used it at this place: dvlite fetch" in said.err and "lost" in said.out
    clone.dvlite("fetch", "model")
    assert not fsck(clone, code=0)["lost"]


def test_a_damaged_object_that_nothing_names_is_set_aside(repository: Repository) -> None:
    repository.add_and_commit({"model": LARGE}, "model")
    repository.write({"model": LARGE + b"2"})
    repository.dvlite("add", "model")
    damage(object_of(repository, LARGE + b"2"))
    repository.write({"model": LARGE})
    repository.dvlite("add", "model")
    found = fsck(repository, code=1)
    assert "(unused)" in found["findings"][0]["text"] and not found["lost"]
    assert fsck(repository, "--repair", code=0)["findings"][0]["mended"]


def test_damaged_records_and_pointers_are_told(filled: Repository) -> None:
    stat = next(filled.path.glob(".git/dvlite/*/stat/t-*"))
    damage(stat)
    found = fsck(filled, "--repair", code=0)
    assert [one["what"] for one in found["findings"]] == ["stat index"]
    assert not stat.exists()
    filled.write({"model.dvl": b"nonsense\n"})
    filled.git("add", "model.dvl")
    assert fsck(filled, code=1)["findings"][0]["what"] == "pointer"
    filled.git("reset", "--quiet", "--hard")
    next(filled.path.glob(".git/dvlite/*/base")).write_bytes(b"nonsense")
    assert any("base" in one["name"] for one in fsck(filled, code=1)["findings"])


def test_from_needs_repair_and_a_cache(filled: Repository, tmp_path: Path) -> None:
    filled.dvlite("fsck", "--from", ".", code=2)
    damage(object_of(filled, LARGE))
    filled.dvlite("fsck", "--repair", "--from", str(tmp_path / "nothing"), code=4)
    other = filled.path.parent / "other"
    shutil.copytree(filled.path, other)
    empty_workspace(filled)
    shutil.copy(other / "model", object_of(Repository(other, filled.store), LARGE))
    shutil.rmtree(filled.store)
    assert fsck(filled, "--repair", "--from", str(other), code=0)["mended"] == 1
