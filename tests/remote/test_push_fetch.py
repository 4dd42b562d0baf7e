"""Push and fetch: whole, resumable, verified, and safe against gc's epochs."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from dvlite.errors import FormatVersionError, RemoteError
from dvlite.storage import pushlarge, upload
from dvlite.storage.backend import Backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.check import CheckOptions, check_remote
from dvlite.storage.chunker import MAX_CHUNK
from dvlite.storage.codec import HEAD
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import FetchReport, Wanted
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.index import open_index
from dvlite.storage.merging import store_segment
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import PushOptions, Root, lacking, push
from dvlite.storage.recipe import Hint
from dvlite.storage.remote import (
    DESCRIPTION_NAME,
    Remote,
    description,
    open_remote,
    pack_name,
)
from dvlite.storage.segment import encode

from .conftest import add_tree, contents, sample_files

MakeCache = Callable[[], Cache]


def wanted(root: Root, **more: object) -> Wanted:
    return Wanted(root.kind, root.oid, root.size, root.files, root.label, **more)  # type: ignore[arg-type]


def names(remote: Remote) -> set[str]:
    return {item.name for item in remote.backend.list("")}


def test_what_is_pushed_is_fetched_elsewhere_byte_for_byte(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    files = sample_files()
    root = add_tree(cache, files)
    report = push(remote, cache, [root])
    assert report.new_files == len(files)
    assert not report.absent
    other = fresh()
    got = fetch([remote], other, [wanted(root)])
    assert contents(other, root) == files
    assert got.files == len(files)
    assert got.size_bytes == sum(map(len, files.values()))


def test_a_single_large_file_and_a_single_small_one(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    roots = []
    for data in (b"small", b"", random.Random(3).randbytes(2_000_000)):
        oid = hash_bytes(data)
        publish_object(cache, oid, data)
        roots.append((Root("file", oid, len(data), 1, "f"), data))
    push(remote, cache, [root for root, _ in roots])
    other = fresh()
    fetch([remote], other, [wanted(root) for root, _ in roots])
    for root, data in roots:
        assert other.read(root.oid) == data


@pytest.mark.parametrize("knows_better", [True, False], ids=["now", "as pushed before"])
def test_a_large_file_in_a_folder_that_is_one_chunk_is_not_taken_for_it(
    cache: Cache,
    remote: Remote,
    fresh: MakeCache,
    monkeypatch: pytest.MonkeyPatch,
    knows_better: bool,
) -> None:
    """Its oid is the chunk's id; what repeats is cut as late as can be."""
    files = {"even": bytes(range(256)) * 1000, "small": b"s"}
    if not knows_better:

        def of_anything(self: upload.Uploader, oid: bytes) -> Hint | None:
            return self._hint(oid, self.objects) or self._hint(oid, self.pieces)

        monkeypatch.setattr(upload.Uploader, "object_hint", of_anything)
    root, other = add_tree(cache, files), fresh()
    push(remote, cache, [root])
    assert fetch([remote], other, [wanted(root)]).complete
    assert contents(other, root) == files


@pytest.mark.parametrize("first", ["large", "small"])
def test_a_file_with_the_bytes_of_another_ones_chunk_is_sent_as_a_file(
    cache: Cache, remote: Remote, fresh: MakeCache, first: str
) -> None:
    """Zeros, say: 1 MiB of them ends with a chunk that some small file may be."""
    end = bytes(100_000)
    files = {"large": bytes(1 << 20) + end, "a chunk": bytes(MAX_CHUNK), "small": end}
    roots = []
    for name in sorted(files, key=lambda name: name != first):
        oid = hash_bytes(files[name])
        publish_object(cache, oid, files[name])
        roots.append(Root("file", oid, len(files[name]), 1, name))
    push(remote, cache, roots)
    assert check_remote(remote, fresh().folder, CheckOptions(full=True)).clean
    other = fresh()
    assert fetch([remote], other, [wanted(root) for root in roots]).complete
    for root in roots:
        assert other.read(root.oid) == files[root.label]


@pytest.mark.parametrize("when", ["packs/", "index/s-", "roots/"])
def test_a_remote_that_is_emptied_under_a_push_is_told(
    cache: Cache, tmp_path: Path, when: str
) -> None:
    """A disk is unmounted, say, and what was below it is an empty folder."""
    store = tmp_path / "store"

    class Unmounted(FolderBackend):
        is_due = False

        def write(self, name: str, data: bytes | memoryview) -> None:
            if self.is_due and name.startswith(when):
                self.is_due = False
                store.rename(tmp_path / "away")
                store.mkdir()
            super().write(name, data)

    backend = Unmounted(str(store))
    remote = open_remote("store", backend, create=True)
    files = sample_files(count=20, large=0)
    push(remote, cache, [add_tree(cache, files)])
    backend.is_due = True
    root = add_tree(cache, {**files, "more": b"more"})
    with pytest.raises(RemoteError, match="lost its index meanwhile"):
        push(remote, cache, [root], PushOptions(jobs=1))


def test_a_push_with_nothing_to_do_writes_nothing(cache: Cache, remote: Remote) -> None:
    root = add_tree(cache, sample_files())
    push(remote, cache, [root])
    before = names(remote)
    report = push(remote, cache, [root])
    assert names(remote) == before
    assert (report.new_files, report.stored_bytes, report.unchanged_roots) == (0, 0, 1)


def test_a_dry_run_counts_and_writes_nothing(cache: Cache, remote: Remote) -> None:
    root = add_tree(cache, sample_files())
    before = names(remote)
    planned = push(remote, cache, [root], PushOptions(dry_run=True))
    assert names(remote) == before
    done = push(remote, cache, [root])
    assert (planned.new_files, planned.new_bytes) == (done.new_files, done.new_bytes)


def test_one_changed_file_sends_little_more_than_itself(cache: Cache, remote: Remote) -> None:
    files = sample_files(count=2000)
    push(remote, cache, [add_tree(cache, files)])
    files["d1/e1/f0001"] = b"changed"
    report = push(remote, cache, [add_tree(cache, files)])
    assert report.new_files == 1
    assert report.stored_bytes < 60_000


def test_an_insertion_into_a_large_file_sends_only_the_chunks_around_it(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    first = random.Random(4).randbytes(8_000_000)
    second = first[:3_000_000] + b"inserted" + first[3_000_000:]
    old = add_tree(cache, {"big": first})
    new = add_tree(cache, {"big": second})
    push(remote, cache, [old])
    report = push(remote, cache, [new])
    assert report.new_bytes < 600_000
    other = fresh()
    fetch([remote], other, [wanted(old)])
    got = fetch([remote], other, [wanted(new, previous=old.oid)])
    assert contents(other, new) == {"big": second}
    assert got.reused_bytes > 7_000_000
    assert got.read_bytes < 700_000


def test_a_long_recipe_in_parts_restores(
    cache: Cache, remote: Remote, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushlarge, "PART_CHUNKS", 64)
    monkeypatch.setattr(pushlarge, "_REMEMBERED", 100)
    files = {
        "big": random.Random(9).randbytes(30_000_000),
        "more": random.Random(9).randbytes(999_999),
    }
    root = add_tree(cache, files)
    push(remote, cache, [root])
    other = fresh()
    fetch([remote], other, [wanted(root)])
    assert contents(other, root) == files


def test_one_path_inside_a_tree_is_fetched_alone(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    files = sample_files()
    root = add_tree(cache, files)
    push(remote, cache, [root])
    other = fresh()
    got = fetch([remote], other, [wanted(root, inside=b"d1/e1/f0001")])
    assert got.files == 1
    assert other.read(hash_bytes(files["d1/e1/f0001"])) == files["d1/e1/f0001"]


def test_a_tree_that_lacks_a_file_is_not_promised(cache: Cache, remote: Remote) -> None:
    files = sample_files(large=1)
    root = add_tree(cache, files)
    os.unlink(cache.object_path(hash_bytes(files["big0"])))
    report = push(remote, cache, [root])
    assert [item.path for item in report.absent] == [b"big0"]
    assert lacking(remote, cache.folder, [root]) == [root]
    publish_object(cache, hash_bytes(files["big0"]), files["big0"])
    again = push(remote, cache, [root])
    assert again.new_files == 1
    assert lacking(remote, cache.folder, [root]) == []


def test_a_damaged_cache_does_not_become_a_damaged_remote(cache: Cache, remote: Remote) -> None:
    files = sample_files(large=1)
    root = add_tree(cache, files)
    path = Path(cache.object_path(hash_bytes(files["big0"])))
    path.chmod(0o644)
    path.write_bytes(b"x" + files["big0"][1:])
    report = push(remote, cache, [root])
    assert [item.path for item in report.damaged] == [b"big0"]
    assert lacking(remote, cache.folder, [root]) == [root]


class Interrupting:
    """A backend that fails for good after so many writes."""

    def __init__(self, inner: Backend, writes: int) -> None:
        self._inner, self._writes = inner, writes
        self.url = inner.url

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def write(self, name: str, data: bytes) -> None:
        if self._writes == 0:
            raise RemoteError("the line was cut")
        self._writes -= 1
        self._inner.write(name, data)


def test_a_slow_push_names_all_that_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is in the pack that it builds, and the packs that are on their way."""
    monkeypatch.setattr("dvlite.storage.push.CHECKPOINT_S", -1.0)
    monkeypatch.setattr(upload, "PACK_TARGET", 5 << 20)
    cache = Cache(str(tmp_path / "cache"), durable=False)
    data = random.Random(2).randbytes(40 << 20)
    publish_object(cache, hash_bytes(data), data)
    unnamed: list[int] = []

    class Watched(FolderBackend):
        """Counts what is stored and in no segment, after each of these."""

        def write(self, name: str, data: bytes | memoryview) -> None:
            super().write(name, data)
            if name.startswith("index/"):
                index = open_index(remote, str(tmp_path / "mirror"))
                named = {pack for one in index.listing.readable for pack in index.pack_ids(one)}
                unnamed.append(len(remote.packs().keys() - named))

    remote = open_remote("r", Watched(str(tmp_path / "store")), create=True)
    push(remote, cache, [Root("file", hash_bytes(data), len(data), 1, "model")])
    assert len(unnamed) >= 4 and not any(unnamed)


def test_an_interrupted_push_goes_on_where_it_was(
    cache: Cache, remote: Remote, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 200_000)
    files = sample_files(count=1500, large=2)
    root = add_tree(cache, files)
    with pytest.raises(RemoteError, match="cut"):
        push(Remote("r", Interrupting(remote.backend, 20)), cache, [root])  # type: ignore[arg-type]
    assert lacking(remote, cache.folder, [root]) == [root]
    report = push(remote, cache, [root])
    assert report.new_bytes < 0.75 * root.size
    other = fresh()
    fetch([remote], other, [wanted(root)])
    assert contents(other, root) == files


def test_every_moment_of_interruption_leaves_a_remote_that_works(
    cache: Cache, tmp_path: Path, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 300_000)
    files = sample_files(count=300, large=1)
    root = add_tree(cache, files)
    for moment in range(30):
        remote = open_remote("r", FolderBackend(str(tmp_path / f"r{moment}")), create=True)
        try:
            push(Remote("r", Interrupting(remote.backend, moment)), cache, [root])  # type: ignore[arg-type]
        except RemoteError:
            push(remote, cache, [root])
        else:
            break
    else:
        pytest.fail("the push never got through")
    other = fresh()
    fetch([remote], other, [wanted(root)])
    assert contents(other, root) == files


class GcDuringPush:
    """A backend on which gc ends (keeping nothing of this push) when the segment is written."""

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.url = inner.url
        self.ran = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def write(self, name: str, data: bytes) -> None:
        self._inner.write(name, data)
        if name.startswith("index/s-") and not self.ran:
            self.ran = True
            marker = {"dvlite": 1, "new": [], "condemned": []}
            self._inner.write_if_absent("index/gc-0000000000000001", json.dumps(marker).encode())


def test_a_push_that_gc_overtakes_plans_again_in_the_new_epoch(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    root = add_tree(cache, sample_files())
    backend = GcDuringPush(remote.backend)
    push(Remote("r", backend), cache, [root])  # type: ignore[arg-type]
    assert backend.ran
    listing = remote.listing()
    assert listing.epoch == 1
    assert {name.epoch for name in listing.trusted} == {1}
    assert {name.epoch for name in listing.readable} == {0, 1}
    assert lacking(remote, cache.folder, [root]) == []


def test_packs_of_another_epoch_have_other_names(cache: Cache, remote: Remote) -> None:
    root = add_tree(cache, sample_files())
    push(remote, cache, [root])
    before = {name for name in names(remote) if name.startswith("packs/")}
    remote.backend.write_if_absent(
        "index/gc-0000000000000001",
        json.dumps({"dvlite": 1, "new": [], "condemned": []}).encode(),
    )
    push(remote, cache, [root])
    after = {name for name in names(remote) if name.startswith("packs/")}
    assert before < after
    assert len(after) == 2 * len(before)


def test_many_pushes_leave_few_live_segments_and_lose_nothing(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    roots = []
    for number in range(70):
        roots.append(add_tree(cache, {f"f{number}": b"%d" % number, "same": b"same"}))
        push(remote, cache, [roots[-1]])
    assert len(remote.listing().readable) <= 2 * 7 + 2
    assert lacking(remote, cache.folder, roots) == []
    other = fresh()
    fetch([remote], other, [wanted(root) for root in roots])
    for number, root in enumerate(roots):
        assert contents(other, root) == {f"f{number}": b"%d" % number, "same": b"same"}


def test_two_pushers_at_once_do_not_disturb_each_other(
    cache: Cache, remote: Remote, fresh: MakeCache
) -> None:
    mine = add_tree(cache, sample_files(1))
    other = fresh()
    theirs = add_tree(other, sample_files(2))

    class Meanwhile(Interrupting):
        def write(self, name: str, data: bytes) -> None:
            if self._writes:
                self._writes = 0
                push(remote, other, [theirs])
            self._inner.write(name, data)

    push(Remote("r", Meanwhile(remote.backend, 1)), cache, [mine])  # type: ignore[arg-type]
    third = fresh()
    fetch([remote], third, [wanted(mine), wanted(theirs)])
    assert contents(third, mine) == sample_files(1)
    assert contents(third, theirs) == sample_files(2)


def _damage(remote: Remote, prefix: str, change: Callable[[bytes], bytes]) -> None:
    assert isinstance(remote.backend, FolderBackend)
    for stored in remote.backend.list(prefix):
        path = Path(remote.backend.folder, stored.name)
        path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("step", [1009, 4999])
def test_flipped_bytes_are_found_and_never_enter_the_cache(
    cache: Cache, tmp_path: Path, fresh: MakeCache, step: int
) -> None:
    remote = open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)
    files = sample_files(count=120)
    root = add_tree(cache, files)
    push(remote, cache, [root])
    for start in range(0, step, step // 12):

        def flip(data: bytes, start: int = start) -> bytes:
            changed = bytearray(data)
            for at in range(start, len(changed), step):
                changed[at] ^= 1
            return bytes(changed)

        _damage(remote, "packs", flip)
        other = fresh()
        report = fetch([remote], other, [wanted(root)])
        assert report.damaged
        for oid, path in other.loose_objects():
            assert hash_bytes(Path(path).read_bytes()) == oid or other.read_tree(oid) is not None
        _damage(remote, "packs", flip)  # flips back
    other = fresh()
    assert fetch([remote], other, [wanted(root)]).complete
    assert contents(other, root) == files


def test_forged_chunks_with_right_checksums_never_enter_the_cache(
    cache: Cache, tmp_path: Path, fresh: MakeCache
) -> None:
    remote = open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)
    data = random.Random(4).randbytes(2_000_000)
    publish_object(cache, hash_bytes(data), data)
    root = Root("file", hash_bytes(data), len(data), 1, "f")
    push(remote, cache, [root])
    piece = data[1_000_000:1_000_032]

    def forge(pack: bytes) -> bytes:
        """Another byte in one chunk, and the checksum of its frame made right again."""
        at = pack.find(piece)
        if at < 0:
            return pack
        begin = at  # a frame's head begins with 8 zero bytes: stored as is, no key
        while True:
            begin = pack.rfind(bytes(8), 0, begin + 7)
            head = HEAD.unpack_from(pack, begin)
            stored = bytearray(pack[begin + HEAD.size : begin + HEAD.size + min(head[4], 1 << 20)])
            if head[6] == xxh3_64_intdigest(stored):
                break
        stored[at - begin - HEAD.size] ^= 1
        forged = HEAD.pack(*head[:6], xxh3_64_intdigest(stored)) + stored
        return pack[:begin] + forged + pack[begin + len(forged) :]

    _damage(remote, "packs", forge)
    other = fresh()
    report = fetch([remote], other, [wanted(root)])
    assert [item.oid for item in report.damaged] == [root.oid]
    assert not other.has(root.oid)
    assert not os.listdir(other.temporary_folder)


def test_a_missing_pack_does_not_stop_the_rest(
    cache: Cache, tmp_path: Path, fresh: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 100_000)
    remote = open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)
    root = add_tree(cache, sample_files(large=0))
    push(remote, cache, [root])
    data_packs = [item for item in remote.backend.list("packs") if item.size > 90_000]
    remote.backend.delete(data_packs[0].name)
    other = fresh()
    report = fetch([remote], other, [wanted(root)])
    assert report.damaged
    assert report.files + len(report.damaged) == root.files
    assert report.files > root.files / 2


def test_what_one_remote_lacks_comes_from_the_next(
    cache: Cache, tmp_path: Path, fresh: MakeCache
) -> None:
    first = open_remote("a", FolderBackend(str(tmp_path / "a")), create=True)
    second = open_remote("b", FolderBackend(str(tmp_path / "b")), create=True)
    files = sample_files()
    root = add_tree(cache, files)
    push(first, cache, [root])
    push(second, cache, [root])
    largest = max(first.backend.list("packs"), key=lambda item: item.size)
    first.backend.delete(largest.name)
    other = fresh()
    report = fetch([first, second], other, [wanted(root)])
    assert not report.absent
    assert contents(other, root) == files


def test_a_hint_that_fails_is_looked_up_by_id(
    cache: Cache, tmp_path: Path, fresh: MakeCache
) -> None:
    """As after gc has rewritten packs: recipes still point at the old ones."""
    remote = open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)
    files = sample_files(large=0)
    root = add_tree(cache, files)
    push(remote, cache, [root])
    old = max(remote.backend.list("packs"), key=lambda item: item.size)
    marker = json.dumps({"dvlite": 1, "new": [], "condemned": []}).encode()
    single = [
        Root("file", entry, 0, 1, "x") for entry in {hash_bytes(data) for data in files.values()}
    ]
    remote.backend.write_if_absent("index/gc-0000000000000001", marker)
    push(remote, cache, single)
    remote.backend.delete(old.name)
    other, counting = fresh(), Counting(remote.backend)
    report = fetch([Remote("r", counting)], other, [wanted(root)])  # type: ignore[arg-type]
    assert not report.absent
    assert contents(other, root) == files
    assert counting.reads["packs"] < 20  # 200 files: together, not one by one


class Counting:
    """A backend that counts reads by folder, and refuses some names."""

    def __init__(self, inner: Backend, refused: str = "?") -> None:
        self._inner, self._refused = inner, refused
        self.url = inner.url
        self.reads: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads[name.partition("/")[0]] += 1
        if name.startswith(self._refused):
            raise RemoteError(f"no access to {name}")
        return self._inner.read(name, offset, length)

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        return memoryview(self.read(name, offset, length))


@pytest.mark.parametrize("large", [0, 1])
def test_what_a_remote_refuses_is_not_called_damaged_and_stops_nothing_else(
    cache: Cache,
    tmp_path: Path,
    fresh: MakeCache,
    monkeypatch: pytest.MonkeyPatch,
    large: int,
) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 100_000)
    remote = open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)
    files = sample_files(large=large)
    root = add_tree(cache, files)
    push(remote, cache, [root])
    packs = sorted(item.name for item in remote.backend.list("packs") if item.size > 90_000)
    counting, other = Counting(remote.backend, packs[0]), fresh()
    with pytest.raises(RemoteError, match="no access"):
        fetch([Remote("r", counting)], other, [wanted(root)])  # type: ignore[arg-type]
    assert counting.reads["packs"] < 60
    came = [data for data in files.values() if other.has(hash_bytes(data))]
    assert len(came) > len(files) / 2
    assert fetch([Remote("r", counting), remote], other, [wanted(root)]).complete  # type: ignore[arg-type]
    assert contents(other, root) == files


def test_a_new_remote_that_keeps_other_bytes_is_not_left_so(tmp_path: Path) -> None:
    class Damaging(FolderBackend):
        def write_if_absent(self, name: str, data: bytes) -> bool:
            return super().write_if_absent(name, data[:-2] + b"!" + data[-1:])

    with pytest.raises(RemoteError, match="other bytes"):
        open_remote("r", Damaging(str(tmp_path / "r")), create=True)
    open_remote("r", FolderBackend(str(tmp_path / "r")), create=True)


def test_a_remote_of_a_newer_version_is_refused(backend: Backend) -> None:
    newer = json.loads(description())
    newer["dvlite"] = 2
    backend.write(DESCRIPTION_NAME, json.dumps(newer).encode())
    with pytest.raises(FormatVersionError, match="version 2"):
        open_remote("r", backend)


def test_a_remote_with_an_unknown_feature_is_refused_by_name(backend: Backend) -> None:
    content = json.loads(description())
    content["requires"] = ["encryption"]
    backend.write(DESCRIPTION_NAME, json.dumps(content).encode())
    with pytest.raises(FormatVersionError, match="encryption"):
        open_remote("r", backend)


def test_something_else_is_no_remote(backend: Backend) -> None:
    backend.write(DESCRIPTION_NAME, b"[1, 2]")
    with pytest.raises(RemoteError, match="not a dvlite remote"):
        open_remote("r", backend)


def test_opening_nothing_does_not_create(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="no dvlite remote"):
        open_remote("r", backend)


def test_a_small_index_is_mirrored_and_a_damaged_mirror_is_replaced(
    cache: Cache, fresh: MakeCache
) -> None:
    from dvlite.storage.backend import open_backend

    remote = open_remote("r", open_backend(f"memory://mirror-{os.getpid()}"), create=True)
    root = add_tree(cache, sample_files(large=0))
    push(remote, cache, [root])
    index = open_index(remote, cache.folder)
    assert root.oid in index.objects([root.oid])
    mirrored = list(Path(index.mirror_folder).iterdir())
    assert mirrored
    for path in mirrored:
        path.write_bytes(b"broken")
    assert root.oid in open_index(remote, cache.folder).objects([root.oid])


def test_packs_that_are_gone_are_those_that_rows_are_in(cache: Cache) -> None:
    from dvlite.storage.backend import open_backend

    remote = open_remote("r", open_backend(f"memory://lost-{os.getpid()}"), create=True)
    push(remote, cache, [add_tree(cache, sample_files(large=1))])
    index = open_index(remote, cache.folder)
    assert index.lost_packs() == set()
    [name] = index.listing.readable
    segment, ids = index.segment(name), index.pack_ids(name)
    # as a push that ended early leaves it: it names a pack that was not sent, and has no row for it
    chunks, objects = segment.chunks.all_rows(), segment.objects.all_rows()
    store_segment(remote, encode(chunks, objects, [*ids, bytes(32)], segment.roots()), 0)
    assert open_index(remote, cache.folder).lost_packs() == set()
    remote.backend.delete(pack_name(ids[0]))
    assert open_index(remote, cache.folder).lost_packs() == {ids[0]}


def test_reports_begin_empty() -> None:
    assert FetchReport().absent == []
