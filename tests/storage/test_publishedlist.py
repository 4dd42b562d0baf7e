"""`index/list`: its bytes, hostile ones, and that it never misses what was pushed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.backend import Backend, Stored, open_backend
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.publishedlist import (
    mend_list,
    parse_list,
    publish_list,
    read_index,
    render_list,
)
from dvlite.storage.remote import LIST_NAME, Remote, SegmentName, open_remote, render_name
from dvlite.storage.segment import Counts

ONE = SegmentName(0, Counts(1, 2, 1, 1), "0" * 31 + "1")
OLD = SegmentName(0, Counts(1, 0, 1, 0), "a" * 32)
MERGED = SegmentName(0, Counts(3, 0, 1, 0), "b" * 32, (OLD.short,))
PACK = f"packs/cd/cd{'0' * 62}"
RECORDS = [f"roots/{'c' * 32}-{time:020}-{'d' * 16}" for time in (1, 2)]


def stored(name: SegmentName, more: int = 0) -> Stored:
    return Stored(render_name(name), name.counts.size_bytes() + more, 1.5)


def rendered(everything: list[Stored]) -> bytes:
    remote = Remote("r", open_backend("memory://nothing"))
    return render_list(remote.listing(everything), everything)


def test_the_bytes_are_what_the_format_page_says() -> None:
    everything = [
        Stored("dvlite.json", 216, 1.0),
        Stored(PACK, 1000, 1.0),
        Stored(LIST_NAME, 5, 1.0),
        Stored("tmp/x", 5, 1.0),
        Stored("index/other", 5, 1.0),
        *(Stored(name, 30, 1.0) for name in RECORDS),
        stored(MERGED),
        stored(OLD),
        stored(ONE),
        stored(SegmentName(0, Counts(9, 9, 9, 9), "e" * 32), more=-1),
    ]
    one, merged = ONE.counts.size_bytes(), MERGED.counts.size_bytes()
    index = (
        f"{one} index/s-0-1-2-1-1-{'0' * 31}1\n{merged} index/s-0-3-0-1-0-{'b' * 32}-{'a' * 12}\n"
    )
    others = f"216 dvlite.json\n1000 {PACK}\n30 {RECORDS[1]}\n"
    digests = [blake3(part.encode()).hexdigest()[:32] for part in (index, others)]
    assert rendered(everything).decode() == (
        f"dvlite list 1\nindex 2 {len(index)} {digests[0]}\n"
        f"others 3 {len(others)} {digests[1]}\n{index}{others}"
    )


def test_the_bytes_never_change() -> None:
    golden = (
        b"dvlite list 1\n"
        b"index 0 0 af1349b9f5f9a1a6a0404dea36dcc949\n"
        b"others 1 16 a0720579a12efaa5fb92ba7781e6a018\n"
        b"216 dvlite.json\n"
    )
    assert rendered([Stored("dvlite.json", 216, 1.0)]) == golden


def list_of(index: str, others: str = "", counts: tuple[int, int] | None = None) -> bytes:
    """A list with right digests, whatever its lines."""
    head = "dvlite list 1\n"
    lines = counts or (index.count("\n"), others.count("\n"))
    for name, body, count in (("index", index, lines[0]), ("others", others, lines[1])):
        data = body.encode("latin-1")
        head += f"{name} {count} {len(data)} {blake3(data).hexdigest()[:32]}\n"
    return head.encode() + (index + others).encode("latin-1")


def test_what_was_written_is_read() -> None:
    everything = [stored(ONE), Stored("dvlite.json", 216, 1.0), Stored(PACK, 9, 1.0)]
    found = parse_list(rendered(everything))
    assert [(one.name, one.size) for one in found] == sorted(
        (one.name, one.size) for one in everything
    )
    assert all(one.modified_s == -1 for one in found)


GOOD = f"5 {render_name(ONE)}\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"dvlite list",
        b"dvlite list 1",
        b"dvlite list 0x1\n",
        b"<html>not found</html>",
        list_of(GOOD)[:-1],
        list_of(GOOD) + b"5 dvlite.json\n",
        list_of(GOOD, counts=(2, 0)),
        list_of(GOOD).replace(b"index 1", b"index 01"),
        list_of(GOOD).replace(b"index 1", b"index -1"),
        list_of(GOOD).replace(b"5 index/s", b"6 index/s"),
        list_of(GOOD).replace(b"\n", b"\r\n"),
        list_of(GOOD + GOOD),
        list_of(GOOD + f"5 {render_name(OLD)}\n" + GOOD),
        list_of("5 index/../../etc/passwd\n"),
        list_of("5 index/list\n"),
        list_of("5 /etc/passwd\n"),
        list_of("5 packs/ab/../../x\n"),
        list_of("", "5 packs/ab/../../x\n"),
        list_of("", f"5 packs/ab/{'0' * 64}\n"),
        list_of("", "5 file:///etc/passwd\n"),
        list_of("", GOOD),
        list_of(f"05 {render_name(ONE)}\n"),
        list_of(f"-5 {render_name(ONE)}\n"),
        list_of(f"5  {render_name(ONE)}\n"),
        list_of(f"{'9' * 17} {render_name(ONE)}\n"),
        list_of("5 index/s-٣-1-2-1-1\n".encode().decode("latin-1")),
        list_of("\n"),
        b"dvlite list 1\nindex 1 999999999 " + b"0" * 32 + b"\nothers 0 0 " + b"0" * 32 + b"\n",
    ],
)
def test_hostile_lists_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError) as caught:
        parse_list(data)
    assert "dvlite remote publish" in str(caught.value.hint)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_no_damage_is_taken_for_a_list(noise: bytes, place: int) -> None:
    data = rendered([stored(ONE), stored(MERGED), Stored("dvlite.json", 216, 1.0)])
    changed = data[:place] + noise + data[place + len(noise) :]
    if changed != data:
        with pytest.raises(CorruptError):
            parse_list(changed)


def test_a_newer_version_says_upgrade() -> None:
    with pytest.raises(FormatVersionError, match="version 2"):
        parse_list(b"dvlite list 2\nwhatever\n")


def test_a_long_index_part_is_read_whole_and_the_rest_is_not(tmp_path: Path) -> None:
    class Counting(FolderBackend):
        def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
            data = super().read(name, offset, length)
            sizes.append(len(data))
            return data

    sizes: list[int] = []
    names = [SegmentName(0, Counts(1, 2, 1, 1), f"{number:032x}") for number in range(6000)]
    packs = [Stored(f"packs/00/{number:064x}", 1, 1.0) for number in range(9000)]
    backend = Counting(str(tmp_path))
    backend.write(LIST_NAME, rendered([*map(stored, names), *packs]))
    assert [one.name for one in read_index(backend)] == [render_name(one) for one in names]
    assert len(sizes) == 2 and sum(sizes) < 700_000


# -- publishing ------------------------------------------------------------------------------------


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return open_remote("r", open_backend(str(tmp_path / "remote")), create=True)


def add_segment(backend: Backend, number: int) -> str:
    name = SegmentName(0, Counts(1, 0, 0, 0), f"{number:032x}")
    backend.write(render_name(name), bytes(name.counts.size_bytes()))
    return render_name(name)


def test_publishing_twice_writes_once(remote: Remote) -> None:
    add_segment(remote.backend, 1)
    assert publish_list(remote, dry_run=True).written
    assert not remote.listing().published
    assert publish_list(remote).written
    assert remote.listing().published
    done = publish_list(remote)
    assert (done.written, done.names) == (False, 2)


def test_a_list_is_mended_only_where_something_is_missing(remote: Remote) -> None:
    publish_list(remote)
    assert not mend_list(remote)
    name = add_segment(remote.backend, 1)
    assert mend_list(remote)
    assert [one.name for one in read_index(remote.backend)] == [name]
    remote.backend.write(LIST_NAME, b"damaged")
    assert mend_list(remote)
    assert [one.name for one in read_index(remote.backend)] == [name]


def test_a_list_is_mended_where_it_names_what_is_deleted(remote: Remote) -> None:
    names = [add_segment(remote.backend, number) for number in (1, 2)]
    publish_list(remote)
    remote.backend.delete(names[0])
    assert mend_list(remote) and not mend_list(remote)
    assert [one.name for one in read_index(remote.backend)] == names[1:]


def test_a_damaged_marker_does_not_stop_readers(remote: Remote) -> None:
    name = add_segment(remote.backend, 1)
    remote.backend.write("index/gc-0000000000000001", b"damaged")
    publish_list(remote)
    assert name in [one.name for one in read_index(remote.backend)]


def test_pushers_at_once_leave_a_list_of_all(remote: Remote, tmp_path: Path) -> None:
    """Whatever the order of their steps: each waits at each step until it is its turn."""
    publish_list(remote)

    class Slow(FolderBackend):
        """Every request waits for the others to have come as far, so that they interleave."""

        def list(self, folder: str) -> list[Stored]:
            found = super().list(folder)
            meet()
            return found

        def write(self, name: str, data: bytes | memoryview) -> None:
            meet()
            super().write(name, data)

    barrier = threading.Barrier(4)

    def meet() -> None:
        try:
            barrier.wait(0.05)
        except threading.BrokenBarrierError:
            barrier.reset()

    def push(number: int) -> None:
        backend = Slow(str(tmp_path / "remote"))
        names.append(add_segment(backend, number))
        mend_list(Remote("r", backend))

    names: list[str] = []
    threads = [threading.Thread(target=push, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == [one.name for one in read_index(remote.backend)]


def test_a_segment_that_comes_while_the_list_is_written_is_in_it(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., None] = remote.backend.write
    late: list[str] = []

    def another_pushes(name: str, data: bytes) -> None:
        if name == LIST_NAME and not late:
            late.append(add_segment(FolderBackend(remote.backend.url), 7))
        write(name, data)

    monkeypatch.setattr(remote.backend, "write", another_pushes)
    publish_list(remote)
    assert [one.name for one in read_index(remote.backend)] == late


def test_the_description_is_in_the_list(remote: Remote) -> None:
    publish_list(remote)
    listed = {one.name: one.size for one in parse_list(remote.backend.read(LIST_NAME))}
    size = len(remote.backend.read("dvlite.json"))
    assert listed == {"dvlite.json": size}
    assert json.loads(remote.backend.read("dvlite.json"))["dvlite"] == 1
