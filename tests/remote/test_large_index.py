"""An index too large to be mirrored: what a push and a fetch then ask for."""

from __future__ import annotations

import random
import threading
from collections import Counter
from pathlib import Path

import pytest

from dvlite.storage import index, sampling
from dvlite.storage import remote as remote_module
from dvlite.storage.backend import Backend, Stored, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.codec import unpack_frame
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.index import Index, open_index, segment_id
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import PushOptions, Root, push
from dvlite.storage.recipe import decode
from dvlite.storage.remote import (
    DESCRIPTION_NAME,
    Remote,
    SegmentName,
    open_remote,
    open_to_read,
    render_name,
)
from dvlite.storage.row import ROW_BYTES, Row, RowKind
from dvlite.storage.segment import encode, read_head

LARGE = 12_000_000


class Counting(Backend):
    """A storage that counts what it is asked, by the first part of the name."""

    def __init__(self, inner: Backend) -> None:
        self.inner, self.url = inner, inner.url
        self.reads: Counter[str] = Counter()
        self.lists = 0

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self.reads[name.partition("/")[0]] += 1
        return self.inner.read(name, offset, length)

    def write(self, name: str, data: bytes | memoryview) -> None:
        self.inner.write(name, data)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        return self.inner.write_if_absent(name, data)

    def list(self, folder: str) -> list[Stored]:
        self.lists += 1
        return self.inner.list(folder)

    def delete(self, name: str) -> None:
        self.inner.delete(name)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Remote:
    """A remote whose index is too large to be mirrored, and its tables to be read whole."""
    monkeypatch.setattr(index, "MIRROR_BYTES", 0)
    monkeypatch.setattr(sampling, "_WHOLE_BYTES", 0)
    backend = Counting(open_backend(f"memory://{request.node.name}"))
    return open_remote("r", backend, create=True)


def counting(remote: Remote) -> Counting:
    assert isinstance(remote.backend, Counting)
    return remote.backend


def pushed(remote: Remote, folder: Path, data: bytes) -> tuple[bytes, int]:
    """Pushes one file from a cache of its own; its oid and how many bytes were new."""
    cache = Cache(str(folder))
    oid = hash_bytes(data)
    publish_object(cache, oid, data)
    report = push(remote, cache, [Root("file", oid, len(data), 1, "file")], PushOptions())
    assert not report.absent
    return oid, report.new_bytes


def test_a_changed_file_is_found_again_by_the_sample(far: Remote, tmp_path: Path) -> None:
    first = random.Random(1).randbytes(LARGE)
    pushed(far, tmp_path / "a", first)
    second = first[:5_000_000] + b"inserted" + first[5_000_000:]
    oid, new_bytes = pushed(far, tmp_path / "b", second)
    assert 0 < new_bytes < LARGE // 50
    cache = Cache(str(tmp_path / "c"))
    assert fetch([far], cache, [Wanted("file", oid, len(second), 1, "file")]).complete
    assert cache.read(oid) == second


def test_chunks_known_from_a_pack_s_footer_get_rows_of_their_own(
    far: Remote, tmp_path: Path
) -> None:
    first = random.Random(2).randbytes(LARGE)
    pushed(far, tmp_path / "a", first)
    forget_every_third_chunk(far, tmp_path)
    oid, new_bytes = pushed(far, tmp_path / "b", first + b"more")
    assert new_bytes < LARGE // 50
    view = open_index(far, str(tmp_path / "d"))
    hint = view.objects([oid])[oid]
    frame = far.backend.read(
        f"packs/{hint.pack.hex()[:2]}/{hint.pack.hex()}", hint.frame_offset, hint.frame_length
    )
    recipe = decode(unpack_frame(frame), hint.pack)
    ids = {need.id for need in recipe.needs()}
    assert view.chunks(ids, trusted=True).keys() == ids


def forget_every_third_chunk(remote: Remote, folder: Path) -> None:
    """Leaves the remote's only segment without some rows, as gc does with dead chunks."""
    view = open_index(remote, str(folder))
    [name] = view.listing.readable
    segment = view.segment(name)
    rows = segment.chunks.all_rows()
    kept = [rows[at : at + ROW_BYTES] for at in range(0, len(rows), ROW_BYTES)]
    del kept[::3]
    data = encode(b"".join(kept), segment.objects.all_rows(), view.pack_ids(name), segment.roots())
    new = SegmentName(0, read_head(data)[0], segment_id(data))
    remote.backend.write(render_name(new), data)
    remote.backend.delete(render_name(name))


def test_a_push_asks_a_few_times_for_each_segment_whatever_its_size(
    far: Remote, tmp_path: Path
) -> None:
    for seed in range(6):
        pushed(far, tmp_path / f"{seed}", random.Random(seed).randbytes(LARGE // 4))
    backend = counting(far)
    backend.reads.clear()
    pushed(far, tmp_path / "last", random.Random(99).randbytes(LARGE))
    assert backend.reads["index"] <= 6 * 5
    assert backend.reads["packs"] == 0


def test_a_fetch_asks_a_few_times_for_each_segment(far: Remote, tmp_path: Path) -> None:
    oids = [
        pushed(far, tmp_path / f"{seed}", random.Random(seed).randbytes(LARGE // 8))[0]
        for seed in range(7)
    ]
    backend = counting(far)
    backend.reads.clear()
    backend.lists = 0
    cache = Cache(str(tmp_path / "fresh"))
    assert fetch([far], cache, [Wanted("file", oids[3], LARGE // 8, 1, "file")]).complete
    assert backend.lists == 1
    assert backend.reads["index"] <= 7 + 1
    assert backend.reads["packs"] <= 2


class Together(Counting):
    """Answers reads only when so many are under way."""

    def __init__(self, inner: Backend, count: int) -> None:
        super().__init__(inner)
        self._barrier = threading.Barrier(count, timeout=60)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._barrier.wait()
        return super().read(name, offset, length)


@pytest.mark.parametrize(("pushes", "reads"), [(1, 1), (100, 1), (600, 2)])
def test_an_object_is_found_in_one_look_however_many_roots_a_segment_names(
    far: Remote, pushes: int, reads: int
) -> None:
    """They stand between the rows and what checks them; both are asked for at once then."""
    source = random.Random(pushes)
    packs, oids = ([source.randbytes(32) for _ in range(pushes)] for _ in range(2))
    rows = sorted(Row(oid, RowKind.FILE, at, 32, 100, 0, 50) for at, oid in enumerate(oids))
    data = encode(b"", b"".join(row.pack_bytes() for row in rows), packs, sorted(oids))
    name = SegmentName(0, read_head(data)[0], segment_id(data))
    far.backend.write(render_name(name), data)
    listing = far.listing()
    view = Index(Remote("r", Together(far.backend, reads)), listing, "/nowhere")
    assert view.objects([oids[0]])[oids[0]].pack == packs[0]
    assert counting(view.remote).reads["index"] == reads


class Slow(Counting):
    """Says what the remote is only when its index was asked for."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.listed = threading.Event()

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        assert name != DESCRIPTION_NAME or self.listed.wait(60)
        return super().read(name, offset, length)

    def list(self, folder: str) -> list[Stored]:
        self.listed.set()
        return super().list(folder)


def test_a_reader_asks_for_the_index_while_it_looks_what_the_remote_is(
    far: Remote, tmp_path: Path
) -> None:
    pushed(far, tmp_path / "a", b"first")
    backend = Slow(counting(far).inner)
    remote = open_to_read("r", backend)
    assert len(remote.listing().readable) == 1 and backend.lists == 1
    pushed(far, tmp_path / "b", b"second")
    assert len(remote.listing().readable) == 2 and backend.lists == 2


def test_what_was_asked_for_too_early_is_asked_for_again(
    far: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_module, "_AHEAD_S", -1.0)
    remote = open_to_read("r", counting(far).inner)
    pushed(far, tmp_path / "a", b"first")
    assert len(remote.listing().readable) == 1


def test_a_damaged_sample_on_this_machine_is_read_again(far: Remote, tmp_path: Path) -> None:
    first = random.Random(3).randbytes(LARGE)
    pushed(far, tmp_path / "a", first)
    pushed(far, tmp_path / "b", first + b"1")
    for path in (tmp_path / "b").rglob("*.sample"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
    assert list((tmp_path / "b").rglob("*.sample"))
    _, new_bytes = pushed(far, tmp_path / "b", first + b"2")
    assert new_bytes < LARGE // 50
