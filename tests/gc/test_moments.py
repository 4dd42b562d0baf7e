"""Moments in which gc, pushes and merges meet, each of which once lost something: the model in
tests/model has them all, here they are with the real code."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable
from pathlib import Path

import pytest

from dvlite._version import VERSION
from dvlite.storage import merging, remotecensus, rootrecord
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.fetch import Wanted, fetch
from dvlite.storage.index import open_index
from dvlite.storage.merging import merge_segments, store_segment
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import PushOptions, Root, _Push, push
from dvlite.storage.remote import Remote, SegmentName, open_remote
from dvlite.storage.remotecopy import copy_remote
from dvlite.storage.remotegc import GcOptions, RemotePlan, execute, look, plan_gc
from dvlite.storage.rootrecord import newest_records, read_said, record_roots
from dvlite.storage.row import RowKind
from dvlite.storage.segment import Stamp, open_bytes
from tests.remote.conftest import add_tree, contents

ONE, TWO = bytes(15) + b"\1", bytes(15) + b"\2"


@pytest.fixture
def remote() -> Remote:
    return open_remote("r", open_backend(f"memory://moments-{uuid.uuid4().hex}"), create=True)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


def file_of(seed: int) -> bytes:
    return random.Random(seed).randbytes(40_000)  # a frame of its own


def collect(remote: Remote, cache: Cache, roots: Iterable[Root]) -> RemotePlan:
    """gc without any grace period."""
    options = GcOptions(0.0)
    looked = look(remote, cache.folder, options)
    plan = plan_gc(looked, [root.oid for root in roots], options)
    execute(looked, plan, options)
    return plan


def assert_readable(remote: Remote, root: Root, cache: Cache, folder: Path) -> None:
    fresh = Cache(str(folder / uuid.uuid4().hex))
    wanted = Wanted(root.kind, root.oid, root.size, root.files, root.label)
    report = fetch([remote], fresh, [wanted])
    assert not report.absent and contents(fresh, root) == contents(cache, root)


def push_unaware(remote: Remote, cache: Cache, *pushes: tuple[Root, bytes]) -> None:
    """Pushes that all planned before any of them wrote."""
    indexes = [open_index(remote, cache.folder) for _ in pushes]
    for index, (root, clone) in zip(indexes, pushes, strict=True):
        _Push(index, cache, PushOptions(clone=clone)).run([root])


def plan_merge(
    remote: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> tuple[Remote, bytes, int, list[SegmentName]]:
    """A merge of two, all but stored."""
    late: list[tuple[Remote, bytes, int, list[SegmentName]]] = []
    with monkeypatch.context() as patched:
        patched.setattr(merging, "MERGE_COUNT", 2)
        patched.setattr(merging, "store_segment", lambda *words: late.append(words))
        assert merge_segments(remote, open_index(remote, cache.folder), Stamp())
    return late[0]


def test_a_merge_that_counts_no_more_hides_nothing(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It came while gc worked, with the row of a pack that this condemned. What gc named itself is
    what the merge replaces; a push counted on that, and the next gc did not."""
    second = file_of(2)
    small = add_tree(cache, {"second": second})
    for seed in range(3, 40):
        both = add_tree(cache, {"first": file_of(seed), "second": second})
        remote = open_remote("r", open_backend(f"memory://late-{uuid.uuid4().hex}"), create=True)
        push_unaware(remote, cache, (small, bytes(16)), (both, bytes(16)))
        late, options = plan_merge(remote, cache, monkeypatch), GcOptions(0.0)
        looked = look(remote, cache.folder, options)
        store_segment(*late)
        plan = plan_gc(looked, [small.oid], options)
        execute(looked, plan, options)
        merged = open_bytes(late[1])
        row = merged.objects.find(hash_bytes(second))
        assert row is not None
        if merged.pack_ids()[row.pack] in plan.condemned:
            break
    else:
        raise AssertionError("no merge kept the row of the pack that goes")
    assert not push(remote, cache, [small]).packs
    looked = look(remote, cache.folder, options)
    plan = plan_gc(looked, [], options)
    plan.old_names.clear()  # it dies before it deletes segments
    execute(looked, plan, options)
    assert plan.deleted
    assert_readable(remote, small, cache, tmp_path)
    collect(remote, cache, [small])
    assert_readable(remote, small, cache, tmp_path)


def test_a_merge_that_comes_late_hides_nothing(
    remote: Remote, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was planned before an epoch began and comes after, with the row of a pack that goes."""
    second = file_of(2)
    for seed in range(3, 40):
        small = add_tree(cache, {"second": second})
        both = add_tree(cache, {"first": file_of(seed), "second": second})
        remote = open_remote("r", open_backend(f"memory://late-{uuid.uuid4().hex}"), create=True)
        push_unaware(remote, cache, (small, bytes(16)), (both, bytes(16)))
        late = plan_merge(remote, cache, monkeypatch)
        plan = collect(remote, cache, [small])
        merged = open_bytes(late[1])
        row = merged.objects.find(hash_bytes(second))
        assert row is not None
        if merged.pack_ids()[row.pack] in plan.condemned:
            break
    else:
        raise AssertionError("no merge kept the row of the pack that goes")
    options = GcOptions(0.0)
    looked = look(remote, cache.folder, options)
    store_segment(*late)
    plan = plan_gc(looked, [small.oid], options)
    execute(looked, plan, options)
    assert plan.deleted
    assert_readable(remote, small, cache, tmp_path)
    collect(remote, cache, [small])
    assert_readable(remote, small, cache, tmp_path)


def test_a_merge_does_not_replace_itself(
    remote: Remote, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clones that push the same at once leave equal rows; joined, they are one of the segments."""
    root = add_tree(cache, {"first": file_of(1)})
    push_unaware(remote, cache, (root, ONE), (root, TWO))
    assert len(remote.listing().readable) == 2
    monkeypatch.setattr(merging, "MERGE_COUNT", 2)
    stamp = Stamp(0, bytes(16), TWO, VERSION[:16])
    assert not merge_segments(remote, open_index(remote, cache.folder), stamp)
    assert_readable(remote, root, cache, tmp_path)
    merge_segments(remote, open_index(remote, cache.folder), Stamp(clone=bytes(15) + b"\3"))
    assert len(remote.listing().readable) == 1
    assert_readable(remote, root, cache, tmp_path)


def test_gc_does_not_condemn_what_it_copies_to(
    remote: Remote, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only small pack of its sort, copied whole, has the same bytes again."""
    root = add_tree(cache, {"first": file_of(1)})
    push(remote, cache, [root])
    monkeypatch.setattr(remotecensus, "MANY_SMALL", 1)
    assert collect(remote, cache, [root]).moved
    index = open_index(remote, cache.folder)
    named = {pack.hex() for name in index.listing.view() for pack in index.pack_ids(name)}
    assert index.listing.epoch == 1 and named
    assert named.isdisjoint(remote.marker(1).condemned)


def test_what_a_part_of_a_push_needs_stays(remote: Remote, cache: Cache, tmp_path: Path) -> None:
    """A folder that lacks one file is sent but for that; what it found there already stays too."""
    shared, mine = file_of(1), file_of(2)
    old = add_tree(cache, {"shared": shared})
    push(remote, cache, [old])
    before = {one.name for one in remote.backend.list("")}
    inner = {"shared": shared, "mine": mine}
    other = Cache(str(tmp_path / "other"))
    whole = add_tree(other, {"lacking": b"x" * 100, **{f"in/{k}": v for k, v in inner.items()}})
    part = add_tree(cache, inner)
    add_tree(cache, {"in/shared": shared})  # so that the cache has all but one file
    copy_listing(other, cache, whole.oid)
    report = push(remote, cache, [whole])
    assert [one.path for one in report.absent] == [b"lacking"]
    options = GcOptions(1000.0)
    looked = look(remote, cache.folder, options)
    looked.stored = [
        one._replace(modified_s=one.modified_s - (2000 if one.name in before else 0))
        for one in looked.stored
    ]
    plan = plan_gc(looked, [], options)
    execute(looked, plan, options)
    push(remote, cache, [part])
    collect(remote, cache, [])  # its pointer is not published yet, and will be within the period
    assert_readable(remote, part, cache, tmp_path)


def copy_listing(source: Cache, target: Cache, tree: bytes) -> None:
    """The listing alone."""
    with CacheWriter(target) as writer:
        writer.add(tree, source.read(tree), RowKind.TREE)


def test_the_last_word_counts_whatever_the_clock_says(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of next year, made while the clock was wrong, would hide all that follow."""
    first, second = hash_bytes(b"1"), hash_bytes(b"2")
    monkeypatch.setattr(rootrecord.time, "time_ns", lambda: 2 * 10**18)
    record_roots(remote, ONE, [first])
    monkeypatch.setattr(rootrecord.time, "time_ns", lambda: 10**18)
    record_roots(remote, ONE, [second])
    name = newest_records(one.name for one in remote.backend.list("roots"))[ONE.hex()]
    said = read_said(name, remote.backend.read(name))
    assert said.now == {second} and said.before == {first}


@pytest.mark.parametrize("interrupted", [False, True], ids=["whole", "interrupted"])
def test_a_pack_of_another_remote_s_epoch_is_not_deleted_as_its_own_copy(
    remote: Remote, cache: Cache, tmp_path: Path, interrupted: bool
) -> None:
    """It came with a copy, from a remote whose gc had run more often. It was condemned, and then
    pushed anew in the epoch that is in its head: a push and gc give it the same name again."""
    root = add_tree(cache, {"first": file_of(1), "second": file_of(2)})
    source = open_remote("s", open_backend(f"memory://source-{uuid.uuid4().hex}"), create=True)
    push(source, cache, [add_tree(cache, {"other": file_of(3)})])
    collect(source, cache, [])
    push(source, cache, [root])
    copy_remote(source, remote)
    assert collect(remote, cache, []).condemned
    push(remote, cache, [root])
    if interrupted:
        options = GcOptions(0.0)
        looked = look(remote, cache.folder, options)
        plan = plan_gc(looked, [root.oid], options)
        plan.deleted.clear()
        execute(looked, plan, options)
    for _ in range(3):
        collect(remote, cache, [root])
        assert_readable(remote, root, cache, tmp_path)


def test_a_reader_goes_on_when_gc_deletes_old_segments_that_it_has_listed(
    remote: Remote, cache: Cache, tmp_path: Path
) -> None:
    dead, root = add_tree(cache, {"dead": file_of(1)}), add_tree(cache, {"alive": file_of(2)})
    push(remote, cache, [dead])
    push(remote, cache, [root])
    assert collect(remote, cache, [root]).condemned
    index = open_index(remote, str(tmp_path / "fresh"))
    deleted = collect(remote, cache, [root]).old_names
    assert any(name.startswith("index/s-") for name in deleted)
    assert index.objects([root.oid, hash_bytes(b"nowhere")]).keys() == {root.oid}
    assert list(index.every_place(root.oid, chunk=False))
