"""Every damage to a remote is found, repaired from whatever still has the data, or named."""

from __future__ import annotations

import os
import random
import shutil
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.check import CheckOptions, CheckReport, check_remote
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.index import open_index
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import META
from dvlite.storage.push import PushOptions, Root, lacking, push
from dvlite.storage.remote import Remote, open_remote
from dvlite.storage.repair import RepairOptions, RepairReport, repair_remote
from dvlite.storage.treewalk import walk
from tests.servers.s3 import S3Server

from .conftest import Files, add_tree, contents, sample_files
from .damages import DAMAGES, FarStore, Store

MakeCache = Callable[[], Cache]
each_damage = pytest.mark.parametrize("kind", DAMAGES)
CLONE = bytes(range(16))


@dataclass(frozen=True)
class Pushed:
    """A remote as several pushes left it, and the cache that they came from."""

    store: Store
    cache: Cache
    roots: list[Root]
    trees: dict[bytes, Files]
    folder: Path

    def check(self) -> CheckReport:
        return check_remote(self.store.remote, self.cache.folder, CheckOptions(full=True))

    def repair(self, cache: Cache, others: tuple[Remote, ...] = ()) -> RepairReport:
        found = check_remote(self.store.remote, cache.folder, CheckOptions(full=True))
        indexes = [open_index(one, cache.folder) for one in others]
        options = RepairOptions(self.roots, clone=CLONE)
        return repair_remote(self.store.remote, cache, indexes, found, options)

    def assert_whole(self, other: Cache) -> None:
        """A fresh fetch restores everything, and pushers know that all is there."""
        report = self.check()
        assert report.clean, report.problems
        remote = open_remote("r", self.store.remote.backend)
        got = fetch([remote], other, [wanted(root) for root in self.roots])
        assert got.complete
        for root in self.roots:
            self.assert_content(other, root)
        assert lacking(remote, other.folder, self.roots) == []

    def assert_content(self, other: Cache, root: Root) -> None:
        if root.kind == "tree":
            assert contents(other, root) == self.trees[root.oid]
        else:
            assert other.read(root.oid) == self.trees[root.oid][""]


def wanted(root: Root) -> Wanted:
    return Wanted(root.kind, root.oid, root.size, root.files, root.label)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Pushed:
    """Two versions of a folder, and eight pushes of single files, which were merged."""
    folder = tmp_path_factory.mktemp("original")
    cache = Cache(str(folder / "cache"), durable=False)
    remote = open_remote("r", open_backend(str(folder / "store")), create=True)
    roots, trees = [], {}
    files = sample_files(count=90)
    more = {**files, "d1/e1/f0001": b"changed", "new/big": random.Random(5).randbytes(900_000)}
    del more["d2/e2/f0002"]
    for number, version in enumerate((files, more)):
        root = add_tree(cache, version)._replace(label=f"v{number}")
        trees[root.oid] = version
        roots.append(root)
        push(remote, cache, roots, PushOptions(clone=CLONE))
    for number in range(8):
        data = b"single %d" % number
        oid = hash_bytes(data)
        publish_object(cache, oid, data)
        trees[oid] = {"": data}
        roots.append(Root("file", oid, len(data), 1, f"single{number}"))
        push(remote, cache, roots, PushOptions(clone=CLONE))
    assert any(name.supersedes for name in remote.listing().readable)
    return Pushed(Store(folder / "store", remote), cache, roots, trees, folder)


@pytest.fixture
def pushed(original: Pushed, tmp_path: Path) -> Pushed:
    """A copy to damage; the cache is shared and only read."""
    shutil.copytree(original.folder / "store", tmp_path / "store")
    remote = Remote("r", open_backend(str(tmp_path / "store")))
    return Pushed(
        Store(tmp_path / "store", remote), original.cache, original.roots, original.trees, tmp_path
    )


def test_an_undamaged_remote_is_clean_and_nothing_is_written(pushed: Pushed) -> None:
    before = sorted((one.name, one.size) for one in pushed.store.remote.backend.list(""))
    report = pushed.check()
    assert (report.clean, report.problems, report.broken) == (True, [], set())
    assert report.verified_packs == len(report.inventory.packs)
    assert report.verified_bytes == sum(report.inventory.packs.values())
    assert sorted((one.name, one.size) for one in pushed.store.remote.backend.list("")) == before


def test_there_are_enough_kinds_of_damage() -> None:
    assert len(DAMAGES) >= 60


@each_damage
def test_every_damage_is_found(pushed: Pushed, kind: str) -> None:
    names = DAMAGES[kind](pushed.store)
    report = pushed.check()
    assert not report.clean
    assert names <= {one.name for one in report.problems if one.damage}


@each_damage
def test_every_damage_is_repaired_from_the_cache(
    pushed: Pushed, kind: str, fresh: MakeCache
) -> None:
    DAMAGES[kind](pushed.store)
    report = pushed.repair(pushed.cache)
    assert report.after.clean, report.after.problems
    assert report.actions
    pushed.assert_whole(fresh())


@each_damage
def test_every_damage_is_repaired_from_a_copy_of_the_remote(
    pushed: Pushed, original: Pushed, kind: str, fresh: MakeCache
) -> None:
    DAMAGES[kind](pushed.store)
    report = pushed.repair(fresh(), (original.store.remote,))
    assert report.after.clean, report.after.problems
    pushed.assert_whole(fresh())


@each_damage
def test_every_damage_is_repaired_from_an_unlike_remote(
    pushed: Pushed, unlike: Remote, kind: str, fresh: MakeCache
) -> None:
    DAMAGES[kind](pushed.store)
    report = pushed.repair(fresh(), (unlike,))
    assert report.after.clean, report.after.problems
    pushed.assert_whole(fresh())


@pytest.fixture(scope="module")
def unlike(original: Pushed, tmp_path_factory: pytest.TempPathFactory) -> Remote:
    """Another remote with the same content in other packs."""
    folder = tmp_path_factory.mktemp("unlike")
    remote = open_remote("u", open_backend(str(folder / "store")), create=True)
    push(remote, original.cache, list(reversed(original.roots)))
    ours = {one.name for one in original.store.remote.backend.list("packs")}
    assert not ours & {one.name for one in remote.backend.list("packs")}
    return remote


@each_damage
def test_what_nobody_has_is_named_and_the_rest_still_comes(
    pushed: Pushed, kind: str, fresh: MakeCache
) -> None:
    """Without any source: what does not come is named, what is not named comes."""
    DAMAGES[kind](pushed.store)
    report = pushed.repair(fresh())
    assert report.after.clean == (not report.after.broken)
    other = fresh()
    remote = open_remote("r", pushed.store.remote.backend)
    got = fetch([remote], other, [wanted(root) for root in pushed.roots])
    came = set()
    for root in pushed.roots:
        if root.oid not in report.after.broken:
            pushed.assert_content(other, root)
            came.add(root.oid)
        oids = [root.oid]
        if root.kind == "tree":
            oids += [entry.oid for _, entry in walk(pushed.cache.read_tree, root.oid)]
        for oid in oids:
            # a file below a tree that nobody has any more cannot be reached
            assert other.has(oid) or oid in report.after.broken or root.oid not in came
    assert got.complete == (len(came) == len(pushed.roots))
    # whoever has the content heals it all by an ordinary push
    push(remote, pushed.cache, pushed.roots, PushOptions(clone=CLONE))
    pushed.assert_whole(fresh())


# One of each sort: what a storage does differently is not what is in a file.
_ON_S3 = [
    *(
        f"{which} pack, {how}"
        for which in ("data", "meta")
        for how in ("deleted", "emptied", "cut in half", "longer", "bit in a frame")
    ),
    *(f"segment, {how}" for how in ("deleted", "emptied", "one byte short", "bit in the roots")),
    *(f"merged segment, {how}" for how in ("emptied", "bit in the object rows")),
    *(f"dvlite.json, {how}" for how in ("deleted", "emptied", "garbage", "other parameters")),
    "data packs, swapped",
    "a pack and its segment damaged",
    "a data pack gone and a meta pack damaged",
    "marker, garbage",
]


@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
@pytest.mark.parametrize("kind", _ON_S3)
def test_damage_on_s3_is_found_and_repaired(
    original: Pushed, s3_remote: S3Server, driver: str, kind: str, fresh: MakeCache
) -> None:
    backend = open_backend(
        s3_remote.new_url(), {"endpoint_url": s3_remote.endpoint, "driver": driver}
    )
    for one in original.store.remote.backend.list(""):
        backend.write(one.name, original.store.remote.backend.read(one.name))
    store = FarStore(original.store.path, Remote("r", backend))
    far = Pushed(store, original.cache, original.roots, original.trees, original.folder)
    assert far.check().clean
    names = DAMAGES[kind](store)
    report = far.check()
    assert not report.clean
    assert names <= {one.name for one in report.problems if one.damage}
    assert far.repair(original.cache).after.clean
    far.assert_whole(fresh())


@pytest.mark.parametrize("kind", ["data pack, deleted", "data pack, bit in a frame"])
def test_a_damaged_pack_of_data_becomes_what_it_was(
    pushed: Pushed, original: Pushed, kind: str
) -> None:
    """Hints in recipes stay true, so that no reader has to look anywhere twice."""
    DAMAGES[kind](pushed.store)
    report = pushed.repair(pushed.cache)
    assert [action.what for action in report.actions] == ["restored"]
    for one in original.store.remote.backend.list("packs"):
        assert pushed.store.data(one.name) == original.store.data(one.name)


def test_readers_ask_for_a_lost_pack_once_not_once_a_file(
    pushed: Pushed, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recipes go on to point at a pack that could only be replaced, not restored."""
    name = pushed.store.packs(0)[0]
    monkeypatch.setattr("dvlite.storage.repair.find_pack", lambda *rest: None)
    pushed.store.delete(name)
    assert pushed.repair(pushed.cache).after.clean
    remote = open_remote("r", pushed.store.remote.backend)
    asked: list[str] = []
    read = remote.backend.read

    def counting(name: str, offset: int = 0, length: int | None = None) -> bytes:
        asked.append(name)
        return read(name, offset, length)

    monkeypatch.setattr(remote.backend, "read", counting)
    other = fresh()
    got = fetch([remote], other, [wanted(root) for root in pushed.roots])
    assert got.complete
    assert contents(other, pushed.roots[0]) == pushed.trees[pushed.roots[0].oid]
    assert asked.count(name) <= 6


def test_an_interrupted_push_is_a_note(pushed: Pushed, original: Pushed) -> None:
    """Its packs arrived and nothing names them yet."""
    before = {one.name for one in pushed.store.remote.backend.list("")}
    root = add_tree(original.cache, {f"x{n}": b"%d" % n for n in range(80)})
    push(pushed.store.remote, original.cache, [root])
    for one in pushed.store.remote.backend.list(""):
        if one.name not in before and not one.name.startswith("packs/"):
            os.unlink(pushed.store.path / one.name)
    report = pushed.check()
    assert report.clean
    assert [one.text for one in report.problems] == [
        "no segment names it: left by an interrupted push"
    ] * 2


def test_names_that_nobody_knows_are_notes(pushed: Pushed) -> None:
    pushed.store.write("packs/aa/readme.txt", b"?")
    pushed.store.write("index/s-1-2", b"?")
    report = pushed.check()
    assert report.clean
    assert {one.name for one in report.problems} == {"packs/aa/readme.txt", "index/s-1-2"}


def test_without_full_a_short_pack_and_a_lost_segment_are_found(
    pushed: Pushed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvlite.storage.check._SAMPLE_LEAST", 0)
    name = pushed.store.packs(META)[0]
    pushed.store.write(name, pushed.store.data(name)[:-1])
    report = check_remote(pushed.store.remote, pushed.cache.folder)
    assert name in {one.name for one in report.problems if one.damage}
    DAMAGES["segment, deleted"](pushed.store)
    report = check_remote(pushed.store.remote, pushed.cache.folder)
    assert report.lost_index


def test_a_second_repair_of_what_nobody_has_changes_nothing(
    pushed: Pushed, fresh: MakeCache
) -> None:
    DAMAGES["data pack, deleted"](pushed.store)
    pushed.repair(fresh())
    before = sorted(pushed.store.remote.backend.list(""))
    report = pushed.repair(fresh())
    assert report.actions == []
    assert sorted(pushed.store.remote.backend.list("")) == before


def test_a_dry_run_writes_nothing_and_says_what_would_be(pushed: Pushed) -> None:
    DAMAGES["a data pack gone and a meta pack damaged"](pushed.store)
    before = sorted(pushed.store.remote.backend.list(""))
    found = pushed.check()
    options = RepairOptions(pushed.roots, dry_run=True)
    report = repair_remote(pushed.store.remote, pushed.cache, [], found, options)
    assert sorted(pushed.store.remote.backend.list("")) == before
    assert not report.after.clean
    assert {action.what for action in report.actions} == {"restored", "written", "rewritten"}


def test_a_pack_of_tensors_becomes_what_it_was(tmp_path: Path, cache: Cache) -> None:
    """Its frames are in planes, which only their length tells."""
    source = random.Random(3)
    data = array("f", [source.gauss(0, 0.02) for _ in range(200_000)]).tobytes()
    oid = hash_bytes(data)
    publish_object(cache, oid, data)
    remote = open_remote("r", open_backend(str(tmp_path / "store")), create=True)
    root = Root("file", oid, len(data), 1, "model")
    assert push(remote, cache, [root]).stored_bytes < 0.9 * len(data)
    store = Store(tmp_path / "store", remote)
    before = store.data(store.packs(0)[0])
    (name,) = store.delete(store.packs(0)[0])
    found = check_remote(remote, cache.folder)
    report = repair_remote(remote, cache, [], found, RepairOptions([root]))
    assert [action.what for action in report.actions] == ["restored"]
    assert store.data(name) == before


@pytest.mark.parametrize("content", [0, META])
def test_a_file_of_many_recipe_parts_is_repaired(
    tmp_path: Path,
    cache: Cache,
    fresh: MakeCache,
    content: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The new parts have new ids, because hints are in them: there is a new recipe then."""
    monkeypatch.setattr("dvlite.storage.pushlarge.PART_CHUNKS", 16)
    data = random.Random(4).randbytes(6_000_000)
    oid = hash_bytes(data)
    publish_object(cache, oid, data)
    root = Root("file", oid, len(data), 1, "model")
    remote = open_remote("r", open_backend(str(tmp_path / "store")), create=True)
    push(remote, cache, [root])
    store = Store(tmp_path / "store", remote)
    name = store.packs(content)[0]
    store.flip(name, len(store.data(name)) // 2)
    found = check_remote(remote, cache.folder, CheckOptions(full=True))
    assert found.broken >= {oid}
    report = repair_remote(remote, cache, [], found, RepairOptions([root]))
    assert report.after.clean
    other = fresh()
    assert fetch([remote], other, [wanted(root)]).complete
    assert other.read(oid) == data
    assert check_remote(remote, cache.folder, CheckOptions(full=True)).clean
