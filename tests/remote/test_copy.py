"""A remote is copied whole, or what is not is named; the target is whole at every moment."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dvlite.errors import CorruptError, DvliteError, FormatVersionError, RemoteError
from dvlite.storage import heldindex, remotecopy, upload
from dvlite.storage.backend import Backend, Stored, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.check import CheckOptions, check_remote
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.inventory import take_inventory
from dvlite.storage.pack import META
from dvlite.storage.push import PushOptions, Root, lacking, push
from dvlite.storage.remote import Marker, Remote, marker_name, open_remote, render_marker
from dvlite.storage.remotecopy import CopyOptions, CopyReport, copy_remote
from tests.servers.s3 import S3Server

from .conftest import Files, add_tree, contents, sample_files
from .damages import DAMAGES, Store

MakeCache = Callable[[], Cache]
CLONE, OTHER_CLONE = bytes(range(16)), bytes(range(1, 17))


@dataclass(frozen=True)
class Full:
    """A remote with several versions, and the cache they came from."""

    store: Store
    cache: Cache
    roots: list[Root]
    trees: dict[bytes, Files]

    @property
    def remote(self) -> Remote:
        return self.store.remote


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Full:
    """Twelve pushes, eight of them merged, in packs small enough that there are many."""
    folder = tmp_path_factory.mktemp("original")
    cache = Cache(str(folder / "cache"), durable=False)
    remote = open_remote("a", open_backend(str(folder / "store")), create=True)
    files, roots, trees = sample_files(count=90), [], {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upload, "PACK_TARGET", 200_000)
        for number in range(12):
            files = {**files, f"d1/new{number}": b"version %d" % number}
            if number % 4 == 3:
                files[f"large{number}"] = random.Random(number).randbytes(400_000)
            root = add_tree(cache, files)._replace(label=f"v{number}")
            roots.append(root)
            trees[root.oid] = files
            push(remote, cache, [root], PushOptions(clone=CLONE))
    assert any(name.supersedes for name in remote.listing().readable)
    assert len(remote.listing().readable) > 1
    return Full(Store(folder / "store", remote), cache, roots, trees)


@pytest.fixture
def full(original: Full, tmp_path: Path) -> Full:
    """A copy of it to damage."""
    shutil.copytree(original.store.path, tmp_path / "store")
    remote = Remote("a", open_backend(str(tmp_path / "store")))
    return Full(Store(tmp_path / "store", remote), original.cache, original.roots, original.trees)


@pytest.fixture
def target(tmp_path: Path) -> Remote:
    return open_remote("b", open_backend(str(tmp_path / "target")), create=True)


def wanted(root: Root) -> Wanted:
    return Wanted(root.kind, root.oid, root.size, root.files, root.label)


def state(remote: Remote) -> list[tuple[str, int]]:
    return sorted((one.name, one.size) for one in remote.backend.list(""))


def assert_sound(remote: Remote, cache: Cache) -> None:
    """Whatever the index says is there."""
    report = check_remote(remote, cache.folder, CheckOptions(full=True))
    assert report.clean, report.problems


def assert_whole(remote: Remote, full: Full, other: Cache) -> None:
    """All of the source can be fetched from there, and pushers know that it is there."""
    assert_sound(remote, other)
    assert lacking(remote, other.folder, full.roots) == []
    assert fetch([remote], other, [wanted(root) for root in full.roots]).complete
    for root in full.roots:
        assert contents(other, root) == full.trees[root.oid]


def test_a_copy_has_everything_and_a_second_one_has_nothing_to_do(
    full: Full, remote: Remote, fresh: MakeCache
) -> None:
    """On every storage that runs here."""
    before = state(full.remote)
    report = copy_remote(full.remote, remote)
    assert report.complete
    assert report.packs == len(full.remote.backend.list("packs"))
    assert report.stored_bytes == sum(one.size for one in full.remote.backend.list("packs"))
    assert_whole(remote, full, fresh())
    assert state(full.remote) == before
    assert take_inventory(remote, 2).recorded == take_inventory(full.remote, 2).recorded
    copied = state(remote)
    again = copy_remote(full.remote, remote)
    assert (again.complete, again.packs, again.segments, again.records) == (True, 0, 0, 0)
    assert state(remote) == copied


@pytest.mark.parametrize("driver", ["obstore", "s3fs"])
def test_a_copy_from_s3_has_everything(
    full: Full, target: Remote, s3_remote: S3Server, driver: str, fresh: MakeCache
) -> None:
    options = {"endpoint_url": s3_remote.endpoint, "driver": driver}
    middle = open_remote("s", open_backend(s3_remote.new_url(), options), create=True)
    copy_remote(full.remote, middle)
    assert copy_remote(middle, target).complete
    assert_whole(target, full, fresh())


def test_a_later_copy_brings_only_what_is_new(full: Full, target: Remote, fresh: MakeCache) -> None:
    copy_remote(full.remote, target)
    cache = fresh()
    new = add_tree(cache, {f"x{number}": b"%d" % number for number in range(100)})
    done = push(full.remote, cache, [new])
    report = copy_remote(full.remote, target)
    assert (report.packs, report.segments) == (done.packs, 1)
    assert report.shared == len(full.remote.backend.list("packs")) - done.packs
    assert lacking(target, cache.folder, [new, *full.roots]) == []
    assert_sound(target, cache)


def test_what_the_target_had_stays_and_is_not_brought_again(
    full: Full, target: Remote, fresh: MakeCache
) -> None:
    """It got half of it by pushes of its own, in other packs, and something else."""
    own = add_tree(full.cache, {"only/there": b"only there", "d1/new1": b"version 1"})
    push(target, full.cache, [own, full.roots[5]], PushOptions(clone=OTHER_CLONE))
    report = copy_remote(full.remote, target)
    assert report.complete
    assert report.stored_bytes < sum(one.size for one in full.remote.backend.list("packs"))
    other = fresh()
    assert_whole(target, full, other)
    assert fetch([target], other, [wanted(own)]).complete
    recorded = take_inventory(target, 2).recorded
    assert recorded == {own.oid, full.roots[5].oid} | take_inventory(full.remote, 2).recorded


def test_what_a_clone_said_on_both_counts_on_the_target(full: Full, target: Remote) -> None:
    """Else a gc there would forget what the clone has pushed only there."""
    own = add_tree(full.cache, {"only/there": b"only there"})
    push(target, full.cache, [own], PushOptions(clone=CLONE))
    push(full.remote, full.cache, full.roots[:1], PushOptions(clone=CLONE))
    copy_remote(full.remote, target)
    assert take_inventory(target, 2).recorded >= {own.oid, full.roots[0].oid}
    copied = state(target)
    copy_remote(full.remote, target)
    assert state(target) == copied


def test_a_dry_run_changes_nothing_and_says_how_much(full: Full, tmp_path: Path) -> None:
    options = CopyOptions(dry_run=True)
    would = copy_remote(full.remote, None, options)
    target = open_remote("b", open_backend(str(tmp_path / "target")), create=True)
    before = state(target)
    assert copy_remote(full.remote, target, options) == would
    assert state(target) == before
    did = copy_remote(full.remote, target)
    assert (did.packs, did.stored_bytes) == (would.packs, would.stored_bytes)
    assert (did.objects, did.chunks) == (would.objects, would.chunks)


def test_a_remote_of_another_format_is_refused(full: Full, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    text = (full.store.path / "dvlite.json").read_text().replace("65536", "4096")
    (tmp_path / "target" / "dvlite.json").write_text(text)
    with pytest.raises(FormatVersionError):
        open_remote("b", open_backend(str(tmp_path / "target")), create=True)


def test_many_rows_become_several_segments_that_are_whole_one_by_one(
    full: Full, target: Remote, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is compared in many stretches, and written in many parts."""
    monkeypatch.setattr(heldindex, "_STRETCH_ROWS", 16)
    monkeypatch.setattr(remotecopy, "MERGE_BYTES", 56 * 40)
    report = copy_remote(full.remote, target)
    assert report.segments > 3
    assert_whole(target, full, fresh())
    assert copy_remote(full.remote, target).segments == 0


# -- interruptions ---------------------------------------------------------------------------------


class Stopped(Exception):
    """Not one of ours: as a kill, nothing may handle it."""


@dataclass
class Stopping:
    """A storage that stops answering after some writes. See Backend."""

    inner: Backend
    left: int
    error: Callable[[], Exception] = Stopped
    written: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.inner.url

    def _count(self, name: str) -> None:
        if self.left == 0:
            raise self.error()
        self.left -= 1
        self.written.append(name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.read(name, offset, length)

    def read_view(self, name: str, offset: int, length: int) -> bytes | memoryview:
        return self.inner.read_view(name, offset, length)

    def write(self, name: str, data: bytes | memoryview) -> None:
        self._count(name)
        self.inner.write(name, data)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        self._count(name)
        return self.inner.write_if_absent(name, data)

    def list(self, folder: str) -> list[Stored]:
        return self.inner.list(folder)

    def delete(self, name: str) -> None:
        self.inner.delete(name)


@pytest.mark.parametrize("part_bytes", [32 << 20, 56 * 40])
def test_wherever_a_copy_ends_the_target_is_sound_and_the_next_run_completes_it(
    full: Full,
    tmp_path: Path,
    fresh: MakeCache,
    part_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At every write, with the index in one part and in many. (A read that fails changes nothing.
    Between the third pack and the last but one, all are alike.)"""
    monkeypatch.setattr(remotecopy, "MERGE_BYTES", part_bytes)
    packs = len(full.remote.backend.list("packs"))
    for number in (*range(4), *range(packs - 1, 1000)):
        folder = tmp_path / f"target{number}"
        backend = Stopping(open_backend(str(folder)), number)
        remote = Remote("b", open_backend(str(folder)))
        try:
            copy_remote(full.remote, open_remote("b", backend, create=True), CopyOptions(jobs=1))
        except Stopped:
            pass
        else:
            break
        if number:  # else nothing is there
            assert_sound(remote, fresh())
            arrived = {name for name, _ in state(remote)}
            rest = Stopping(open_backend(str(folder)), -1)
            copy_remote(full.remote, Remote("b", rest))
            # nothing that had arrived is sent again
            assert not arrived.intersection(rest.written)
        else:
            copy_remote(full.remote, open_remote("b", open_backend(str(folder)), create=True))
        assert lacking(remote, fresh().folder, full.roots) == []
        assert_sound(remote, fresh())
    assert number > packs + 2  # dvlite.json, packs, a segment, and a record of roots


def test_a_full_target_is_said_and_what_arrived_counts(full: Full, target: Remote) -> None:
    def refuse() -> Exception:
        return RemoteError("no space", "free some space there")

    backend = Stopping(target.backend, 3, refuse)
    with pytest.raises(RemoteError, match="no space"):
        copy_remote(full.remote, Remote("b", backend), CopyOptions(jobs=1))
    assert len(target.backend.list("packs")) == 3
    report = copy_remote(full.remote, target)
    assert report.packs == len(full.remote.backend.list("packs")) - 3


# -- damage ----------------------------------------------------------------------------------------

# What of the source makes a copy impossible from the start: nobody can tell what counts.
_STOPS = {kind for kind in DAMAGES if kind.startswith(("dvlite.json", "marker"))}
# What is not read: nothing names it any more, or it says nothing about what is stored.
_UNSEEN = {"segment, deleted", "all of the index gone"}


@pytest.mark.parametrize("kind", sorted(DAMAGES))
def test_of_a_damaged_source_the_rest_comes_and_the_target_is_sound(
    full: Full, target: Remote, kind: str, fresh: MakeCache
) -> None:
    names = DAMAGES[kind](full.store)
    if kind in _STOPS:
        with pytest.raises((CorruptError, RemoteError)) as caught:
            copy_remote(open_remote("a", full.remote.backend), target)
        assert isinstance(caught.value, DvliteError)
        return
    report = copy_remote(full.remote, target)
    told = {one.name for one in report.uncopied}
    if kind not in _UNSEEN:
        assert not report.complete
        assert names <= told
    assert_sound(target, fresh())
    other = fresh()
    missing = {root.oid for root in lacking(target, other.folder, full.roots)}
    whole = [root for root in full.roots if root.oid not in missing]
    assert fetch([target], other, [wanted(root) for root in whole]).complete
    for root in whole:
        assert contents(other, root) == full.trees[root.oid]
    # whoever has the content heals it all by an ordinary push
    push(target, full.cache, full.roots)
    assert_whole(target, full, fresh())


@pytest.mark.parametrize("content", [0, META])
def test_a_damaged_pack_is_named_and_after_its_repair_the_copy_is_completed(
    full: Full, original: Full, target: Remote, content: int, fresh: MakeCache
) -> None:
    name = full.store.packs(content)[0]
    full.store.flip(name, 60)
    report = copy_remote(full.remote, target)
    assert [(one.what, one.name, one.missing) for one in report.uncopied] == [("pack", name, False)]
    assert report.left_out
    assert report.packs == len(full.remote.backend.list("packs")) - 1
    full.store.write(name, bytes(original.store.data(name)))
    again = copy_remote(full.remote, target)
    assert (again.complete, again.packs) == (True, 1)
    assert_whole(target, full, fresh())


def test_what_a_damaged_pack_held_comes_from_another_place(
    full: Full, target: Remote, tmp_path: Path, fresh: MakeCache
) -> None:
    """Two remotes in one: everything is there twice, in different packs."""
    twin = open_remote("t", open_backend(str(tmp_path / "twin")), create=True)
    push(twin, full.cache, list(reversed(full.roots)))
    shutil.copytree(tmp_path / "twin", full.store.path, dirs_exist_ok=True)
    full.store.flip(full.store.packs(0)[0], 60)
    report = copy_remote(full.remote, target)
    assert len(report.uncopied) <= 1
    assert not report.left_out
    assert_whole(target, full, fresh())


def test_a_damaged_target_gets_what_it_lost(full: Full, target: Remote, fresh: MakeCache) -> None:
    """Packs that are gone or cut short do not count as there."""
    copy_remote(full.remote, target)
    store = Store(Path(target.backend.url), target)
    first, second = store.packs(0)[:2]
    store.delete(first)
    store.write(second, bytes(store.data(second)[:-7]))
    report = copy_remote(full.remote, target)
    assert (report.complete, report.packs) == (True, 2)
    assert_whole(target, full, fresh())


def test_a_target_with_a_damaged_index_is_refused_and_named(full: Full, target: Remote) -> None:
    copy_remote(full.remote, target)
    DAMAGES["segment, bit in the roots"](Store(Path(target.backend.url), target))
    with pytest.raises(CorruptError, match="damaged") as caught:
        copy_remote(full.remote, target)
    assert "remote check --repair b" in str(caught.value.hint)


# -- epochs ----------------------------------------------------------------------------------------


def begin_epoch(remote: Remote, condemned: frozenset[str] = frozenset(), keep: bool = True) -> None:
    """What gc does at its end."""
    listing = remote.listing()
    new = frozenset(name.id for name in listing.trusted) if keep else frozenset()
    data = render_marker(Marker(new, condemned))
    assert remote.backend.write_if_absent(marker_name(listing.epoch + 1), data)


@pytest.mark.parametrize("source_epochs", [0, 1, 3])
@pytest.mark.parametrize("target_epochs", [0, 1, 3])
def test_epochs_of_one_remote_mean_nothing_on_the_other(
    full: Full, target: Remote, source_epochs: int, target_epochs: int, fresh: MakeCache
) -> None:
    for remote, number in ((full.remote, source_epochs), (target, target_epochs)):
        for _ in range(number):
            begin_epoch(remote)
    assert copy_remote(full.remote, target).complete
    assert target.epoch() == target_epochs
    assert_whole(target, full, fresh())


def test_what_the_source_gave_up_is_not_copied(full: Full, target: Remote) -> None:
    """Its gc found nothing alive."""
    begin_epoch(full.remote, keep=False)
    report = copy_remote(full.remote, target)
    assert (report.complete, report.packs, report.segments) == (True, 0, 0)


def test_a_condemned_name_does_not_come_back(full: Full, target: Remote, fresh: MakeCache) -> None:
    """The target's gc will delete these names; what is in them lies under new ones."""
    condemned = frozenset(one.name[-64:] for one in full.remote.backend.list("packs"))
    copy_remote(full.remote, target)
    begin_epoch(target, condemned, keep=False)
    assert copy_remote(full.remote, target).complete
    for name in condemned:  # gc does so after the grace period
        target.backend.delete(f"packs/{name[:2]}/{name}")
    for one in target.backend.list("index"):
        if one.name.startswith("index/s-0-"):
            target.backend.delete(one.name)
    assert_whole(target, full, fresh())
    assert copy_remote(full.remote, target).packs == 0


def test_an_epoch_that_begins_meanwhile_makes_the_copy_plan_again(
    full: Full, target: Remote, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted on may be condemned now."""
    condemned = frozenset(one.name[-64:] for one in full.remote.backend.list("packs"))
    merge, runs = remotecopy.merge_segments, []

    def gc_in_between(*rest: object) -> bool:
        if not runs:
            begin_epoch(target, condemned, keep=False)
        runs.append(1)
        return merge(*rest)  # type: ignore[arg-type]

    monkeypatch.setattr(remotecopy, "merge_segments", gc_in_between)
    report: CopyReport = copy_remote(full.remote, target)
    assert report.complete
    assert len(runs) == 2
    for name in condemned:
        target.backend.delete(f"packs/{name[:2]}/{name}")
    for one in target.backend.list("index"):
        if one.name.startswith("index/s-0-"):
            target.backend.delete(one.name)
    assert_whole(target, full, fresh())


def test_a_gc_that_never_ends_is_an_error(
    full: Full, target: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gc_again(*rest: object) -> bool:
        begin_epoch(target, keep=False)
        return False

    monkeypatch.setattr(remotecopy, "merge_segments", gc_again)
    with pytest.raises(RemoteError, match="gc keeps running"):
        copy_remote(full.remote, target)


def test_a_target_that_is_emptied_meanwhile_is_told(
    full: Full, target: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk is unmounted, say, and what was below it is an empty folder."""

    def unmount(*rest: object) -> bool:
        (tmp_path / "target").rename(tmp_path / "away")
        (tmp_path / "target").mkdir()
        return False

    monkeypatch.setattr(remotecopy, "merge_segments", unmount)
    with pytest.raises(RemoteError, match="lost its index meanwhile"):
        copy_remote(full.remote, target)


def test_copies_do_not_pile_up_segments(full: Full, target: Remote, fresh: MakeCache) -> None:
    """Nobody else merges on a remote that is only copied to."""
    for number in range(20):
        push(full.remote, full.cache, [add_tree(full.cache, {"a": b"%d" % number})])
        assert copy_remote(full.remote, target).segments == 1
    assert len(target.listing().readable) < 12
    assert_whole(target, full, fresh())
