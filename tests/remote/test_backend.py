"""The contract that every storage must keep."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dvlite.errors import RemoteError
from dvlite.storage.backend import Backend, NotThere, open_backend
from dvlite.storage.folderbackend import FolderBackend


def test_what_is_written_is_read_whole_and_in_ranges(backend: Backend) -> None:
    data = bytes(range(256)) * 40
    backend.write("packs/ab/x", data)
    assert backend.read("packs/ab/x") == data
    assert backend.read("packs/ab/x", 100, 50) == data[100:150]
    assert backend.read("packs/ab/x", 0, 10) == data[:10]
    assert backend.read("packs/ab/x", 5, 0) == b""
    assert backend.read("packs/ab/x", len(data) - 3, 3) == data[-3:]


def test_a_range_past_the_end_gives_what_there_is(backend: Backend) -> None:
    backend.write("a", b"12345")
    assert backend.read("a", 3, 100) == b"45"


def test_a_negative_offset_counts_from_the_end(backend: Backend) -> None:
    backend.write("a", b"12345")
    assert backend.read("a", -2) == b"45"
    assert backend.read("a", -5) == b"12345"
    assert backend.read("a", -9) == b"12345"


def test_a_range_that_begins_past_the_end_is_empty(backend: Backend) -> None:
    backend.write("a", b"12345")
    assert backend.read("a", 5, 10) == b""
    assert backend.read("a", 9, 10) == b""


def test_an_empty_file_is_read(backend: Backend) -> None:
    backend.write("a", b"")
    assert backend.read("a") == b""
    assert backend.read("a", 0, 10) == b""


def test_names_below_a_prefix_of_other_names_are_not_listed(backend: Backend) -> None:
    backend.write("index/a", b"1")
    backend.write("index-other/a", b"1")
    assert [item.name for item in backend.list("index")] == ["index/a"]


def test_reading_an_absent_name_says_not_there(backend: Backend) -> None:
    with pytest.raises(NotThere):
        backend.read("nothing/here")


def test_write_if_absent_keeps_the_first(backend: Backend) -> None:
    assert backend.write_if_absent("index/gc-1", b"first")
    assert not backend.write_if_absent("index/gc-1", b"second")
    assert backend.read("index/gc-1") == b"first"


def test_a_listing_is_complete_and_relative(backend: Backend) -> None:
    backend.write("dvlite.json", b"{}")
    for name in ("index/a", "index/b", "packs/ab/c", "packs/cd/d"):
        backend.write(name, name.encode())
    assert [item.name for item in backend.list("packs")] == ["packs/ab/c", "packs/cd/d"]
    assert [(item.name, item.size) for item in backend.list("index")] == [
        ("index/a", 7),
        ("index/b", 7),
    ]
    assert "dvlite.json" in [item.name for item in backend.list("")]


def test_a_listing_sees_what_was_just_written(backend: Backend) -> None:
    backend.write("index/a", b"1")
    backend.list("index")
    backend.write("index/b", b"2")
    assert len(backend.list("index")) == 2


def test_a_listing_of_nothing_is_empty(backend: Backend) -> None:
    backend.write("dvlite.json", b"{}")
    assert backend.list("index") == []


def test_listed_times_are_the_storage_s_own(backend: Backend) -> None:
    backend.write("index/a", b"1")
    assert backend.list("index")[0].modified_s > 1_600_000_000


def test_delete_is_idempotent(backend: Backend) -> None:
    backend.write("index/a", b"1")
    backend.delete("index/a")
    backend.delete("index/a")
    assert backend.list("index") == []


def test_many_threads_write_and_read_at_once(backend: Backend) -> None:
    def work(number: int) -> None:
        data = bytes([number]) * 50_000
        backend.write(f"packs/{number:02d}/x", data)
        if backend.read(f"packs/{number:02d}/x", 10, 100) != data[:100]:
            wrong.append(number)

    wrong: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(backend.list("packs")) == 16


def test_a_folder_never_shows_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FolderBackend(str(tmp_path / "r"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RemoteError, match="No space left"):
        backend.write("packs/ab/x", b"data")
    monkeypatch.undo()
    assert backend.list("packs") == []
    assert backend.list("tmp") == []


def test_a_folder_that_is_a_file_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("not a folder")
    backend = open_backend(str(tmp_path / "r"))
    with pytest.raises(RemoteError):
        backend.write("dvlite.json", b"{}")


def test_an_unmounted_folder_is_not_an_empty_remote(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="does not exist"):
        open_backend(str(tmp_path / "gone")).list("index")
