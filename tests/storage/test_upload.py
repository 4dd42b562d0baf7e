"""Packs of one push: built in memory that is used again, and on the remote as they were built."""

from __future__ import annotations

import mmap
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from pickle import PickleBuffer

import pytest

from dvlite.errors import RemoteError
from dvlite.storage import upload
from dvlite.storage.backend import TransientError
from dvlite.storage.codec import pack_frame
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import DATA, Member, read_pack_rows
from dvlite.storage.remote import pack_name
from dvlite.storage.row import RowKind
from dvlite.storage.s3backend import open_s3
from dvlite.storage.upload import Uploader

SOURCE = random.Random(5)
# A pack is closed behind the second of the small ones; the large one needs more memory than is
# set aside.
THINGS = [SOURCE.randbytes(size) for size in (700, 700, 5000, 600, 600, 100)]


class Lingering(FolderBackend):
    """A folder; the first request for it never ends, and goes on reading what it was given. With
    `fails` it was the only try, else another one stored the pack."""

    kept: PickleBuffer | None = None
    fails = False

    def write(self, name: str, data: bytes | memoryview) -> None:
        if self.kept is None:
            self.kept = PickleBuffer(data)  # holds memory as programs in C do
            if self.fails:
                raise RemoteError("the disk is full")
        super().write(name, data)


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", 1400)
    monkeypatch.setattr(upload, "_BUFFER_BYTES", 2000)


def add(uploader: Uploader, raw: bytes) -> None:
    member = Member(hash_bytes(raw), RowKind.CHUNK, 0, len(raw))
    uploader.add_frame(pack_frame(raw), [member])


def add_all(uploader: Uploader) -> None:
    for raw in THINGS:
        add(uploader, raw)
    uploader.close_pack()


@pytest.mark.usefixtures("small_packs")
def test_packs_are_stored_as_they_were_built(tmp_path: Path) -> None:
    backend = FolderBackend(str(tmp_path))
    uploader = Uploader(backend, DATA, 0, jobs=2)
    add_all(uploader)
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
@pytest.mark.parametrize("fails", [True, False])
def test_memory_that_a_request_may_still_send_is_not_used_again(
    tmp_path: Path, fails: bool
) -> None:
    backend = Lingering(str(tmp_path))
    backend.fails = fails
    uploader = Uploader(backend, DATA, 0, jobs=1)
    with pytest.raises(RemoteError) if fails else nullcontext():
        add_all(uploader)
    add_all(uploader)
    uploader.drain()
    uploader.stop()
    assert backend.kept is not None
    assert hash_bytes(bytes(backend.kept)) == uploader.pack_ids[0]
    for pack in uploader.sent:
        assert hash_bytes(backend.read(pack_name(pack))) == pack


@pytest.mark.usefixtures("small_packs")
def test_memory_is_used_again_when_nobody_reads_it_any_more(tmp_path: Path) -> None:
    uploader = Uploader(FolderBackend(str(tmp_path)), DATA, 0, jobs=1)
    seen = set()
    for number in range(8):
        add(uploader, SOURCE.randbytes(1000 + number))
        seen.add(id(uploader._buffer))
        uploader.close_pack()
        uploader.drain()
    uploader.stop()
    assert len(seen) == 1


def test_a_request_that_was_answered_too_early_shows_that_it_still_reads() -> None:
    """What the uploader relies on: obstore holds the memory itself as long as it may send it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def answer() -> socket.socket:
            client, _ = listener.accept()
            client.recv(4096)
            client.sendall(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\n\r\n")
            return client

        answering = pool.submit(answer)
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
        options = {"endpoint_url": endpoint, "region": "x", "driver": "obstore"}
        keys = {"access_key_id": "a", "secret_access_key": "b"}
        view = memoryview(mmap.mmap(-1, 64 << 20))
        with pytest.raises(TransientError):
            open_s3("s3://bucket/x", options | keys).write("pack", view)
        with answering.result(), pytest.raises(BufferError):
            view.release()
        wait_until_released(view)


def wait_until_released(view: memoryview) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            view.release()
        except BufferError:
            assert time.monotonic() < deadline
            time.sleep(0.01)  # the connection is given up by threads of obstore's own
        else:
            return
