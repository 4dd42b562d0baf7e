"""Packs of one push: built in memory that is used again, and on the remote as they were built."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dvlite.errors import RemoteError
from dvlite.storage import upload
from dvlite.storage.codec import pack_frame
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import DATA, Member, read_pack_rows
from dvlite.storage.remote import pack_name
from dvlite.storage.row import RowKind
from dvlite.storage.upload import Uploader

SOURCE = random.Random(5)
# A pack is closed behind the second of the small ones; the large one needs more memory than is
# set aside.
THINGS = [SOURCE.randbytes(size) for size in (700, 700, 5000, 600, 600, 100)]


class Refusing(FolderBackend):
    """A folder in which one pack cannot be stored; keeps the memory it was given for it."""

    kept: memoryview | None = None

    def write(self, name: str, data: bytes | memoryview) -> None:
        if self.kept is None:
            self.kept = memoryview(data)
            raise RemoteError("the disk is full")
        super().write(name, data)


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 1400)
    monkeypatch.setattr(upload, "_BUFFER_BYTES", 2000)


def add(uploader: Uploader, raw: bytes) -> None:
    member = Member(hash_bytes(raw), RowKind.CHUNK, 0, len(raw))
    uploader.add_frame(pack_frame(raw), [member])


@pytest.mark.usefixtures("small_packs")
def test_packs_are_stored_as_they_were_built(tmp_path: Path) -> None:
    backend = FolderBackend(str(tmp_path))
    uploader = Uploader(backend, DATA, 0, jobs=2)
    for raw in THINGS:
        add(uploader, raw)
    uploader.close_pack()
    uploader.drain()
    uploader.stop()
    assert len(uploader.pack_ids) == 3
    found = {}
    for pack in uploader.pack_ids:
        data = backend.read(pack_name(pack))
        assert hash_bytes(data) == pack
        assert uploader.sent[pack] == len(data)
        found |= {row.id: row.raw_length for row in read_pack_rows(data)}
    assert found == {hash_bytes(raw): len(raw) for raw in THINGS}


@pytest.mark.usefixtures("small_packs")
def test_memory_that_a_failed_request_may_still_send_is_not_used_again(tmp_path: Path) -> None:
    backend = Refusing(str(tmp_path))
    uploader = Uploader(backend, DATA, 0, jobs=1)
    with pytest.raises(RemoteError):
        for raw in THINGS:
            add(uploader, raw)
    assert backend.kept is not None
    before = bytes(backend.kept)
    assert hash_bytes(before) == uploader.pack_ids[0]
    for raw in THINGS:
        add(uploader, raw)
    uploader.close_pack()
    uploader.drain()
    uploader.stop()
    assert bytes(backend.kept) == before
    for pack in uploader.sent:
        assert hash_bytes(backend.read(pack_name(pack))) == pack
