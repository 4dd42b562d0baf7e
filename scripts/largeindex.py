"""What one fetch and one push cost in a remote of ten million chunks, left by 10,000 pushes.

The index is made by the code that pushes use, of random ids: each push writes a segment, and
merges as pushes do; nothing is collected. One push in the middle is real. All of it then lies on a
real S3 server, behind a proxy that counts requests and makes each wait: the time that this adds,
divided by the wait, is how many requests had to follow each other. A fresh clone fetches the real
file; another one pushes a changed version of it.

    scripts/largeindex [--pushes 10000] [--chunks 1000] [--wait-ms 500]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dvlite.storage.backend import Stored, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import publish_object
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.index import open_index
from dvlite.storage.merging import merge_segments, write_segment
from dvlite.storage.oid import hash_bytes
from dvlite.storage.push import PushOptions, Root, push
from dvlite.storage.remote import Remote, live, open_remote, open_to_read, parse_name
from dvlite.storage.row import RowKind, pack_row
from dvlite.storage.segment import Stamp
from dvlite.storage.upload import Rows
from tests.servers.faultproxy import FaultProxy, fault_proxy
from tests.servers.s3 import S3Server, shared_server

FILE_BYTES = 4_000_000
CHUNK_BYTES = 65_536
# The goals of the design page: of one object in a fresh clone.
MOST_REQUESTS, MOST_BYTES, MOST_ROUNDS, MOST_MEMORY_MB = 200, 5_000_000, 6, 500


class LiveFolder(FolderBackend):
    """A folder that lists only segments which no merge supersedes: the others change nothing for
    who pushes, and listing all of them 10,000 times would take an hour."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.gone: set[str] = set()

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""
        if folder != "index":
            return super().list(folder)
        found = [one for one in self._stored() if one.name not in self.gone]
        names = [name for one in found if (name := parse_name(one.name[6:])) is not None]
        kept = {name.id for name in live(names)}
        for one in found:
            name = parse_name(one.name[6:])
            if name is not None and name.id not in kept:
                self.gone.add(one.name)
        return [one for one in found if one.name not in self.gone]

    def _stored(self) -> Iterator[Stored]:
        for entry in os.scandir(Path(self.folder) / "index"):
            if f"index/{entry.name}" not in self.gone:
                yield Stored(f"index/{entry.name}", entry.stat().st_size, 0.0)


@dataclass
class Made:
    """The rows of one push of one large file that never was."""

    pack_ids: list[bytes]
    objects: Rows = field(default_factory=Rows)
    pieces: Rows = field(default_factory=Rows)

    @classmethod
    def of(cls, chunks: int, source: random.Random) -> Made:
        made = cls([source.randbytes(32), source.randbytes(32)])
        ids = source.randbytes(32 * chunks)
        for number in range(chunks):
            place = (number * CHUNK_BYTES, CHUNK_BYTES, 0, CHUNK_BYTES)
            made.pieces.add(pack_row(ids[number * 32 : number * 32 + 32], RowKind.CHUNK, 0, *place))
        recipe = (0, 48 * chunks, 0, 48 * chunks)
        made.objects.add(pack_row(source.randbytes(32), RowKind.FILE_RECIPE, 1, *recipe))
        return made


def real_file() -> bytes:
    """The one file that can be fetched."""
    return random.Random(FILE_BYTES).randbytes(FILE_BYTES)


def build(folder: Path, pushes: int, chunks: int) -> None:
    """Makes the remote in a folder."""
    source = random.Random(1)
    remote = open_remote("made", LiveFolder(str(folder)), create=True)
    (folder / "index").mkdir(exist_ok=True)
    start = time.monotonic()
    for number in range(pushes):
        if number == pushes // 2:
            push_file(remote, str(folder.parent / "first"), real_file())
        made = Made.of(chunks, source)
        stamp = Stamp(0, bytes(16), bytes(16), "made")
        write_segment(remote, [made], [source.randbytes(32)], stamp)
        merge_segments(remote, open_index(remote, str(folder.parent / "mirror")), stamp)
        if number % 500 == 499:
            print(f"{number + 1:,} pushes, {time.monotonic() - start:.0f} s", flush=True)
    listed = remote.listing()
    rows = sum(name.counts.chunks for name in listed.readable)
    print(f"{rows:,} chunks in {len(listed.readable)} live segments", flush=True)


def push_file(remote: Remote, cache_folder: str, data: bytes) -> int:
    """Pushes one file from a new cache; how many bytes were new."""
    cache = Cache(cache_folder)
    oid = hash_bytes(data)
    publish_object(cache, oid, data)
    report = push(remote, cache, [Root("file", oid, len(data), 1, "file")], PushOptions())
    return report.new_bytes


def upload(folder: Path, server: S3Server, url: str) -> None:
    """Copies the folder to the server as it is."""
    backend = open_backend(url, {"endpoint_url": server.endpoint})
    files = [path for path in folder.rglob("*") if path.is_file()]

    def send(path: Path) -> None:
        backend.write(str(path.relative_to(folder)), path.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, files))
    print(f"{len(files):,} files on the server", flush=True)


# -- in a process of its own: what it takes --------------------------------------------------------


def one_fetch(remote: Remote, cache: str) -> int:
    """A fresh clone's fetch of the real file; how many bytes were new here."""
    oid = hash_bytes(real_file())
    report = fetch([remote], Cache(cache), [Wanted("file", oid, FILE_BYTES, 1, "file")])
    assert report.complete and hash_bytes(Cache(cache).read(oid)) == oid
    return report.size_bytes


def one_push(remote: Remote, cache: str) -> int:
    """A fresh clone's push of the real file with a small change; how many bytes were new there."""
    data, half = real_file(), FILE_BYTES // 2
    return push_file(remote, cache, data[:half] + os.fsencode(cache) + data[half:])


CHILDREN = {"fetch": one_fetch, "push": one_push}


def child(what: str, url: str, endpoint: str, cache: str) -> None:
    """Does one of them and prints how long it took, in how much memory, and what was new."""
    start = time.monotonic()
    opening = open_to_read if what == "fetch" else open_remote
    remote = opening("far", open_backend(url, {"endpoint_url": endpoint}))
    new = CHILDREN[what](remote, cache)
    took = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"took_s": took, "memory_mb": peak, "new_bytes": new}))


def measured(proxy: FaultProxy, what: str, url: str, folder: Path, wait_s: float) -> dict[str, Any]:
    """Runs a child behind the proxy, from a cache of its own; what it asked for and took."""
    proxy.begin()
    proxy.wait_s = wait_s
    cache = folder / f"{what}-{wait_s}"
    words = [sys.executable, __file__, "--child", what, url, proxy.endpoint, str(cache)]
    told = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    sizes = sum(max(0, one.response_size) for one in proxy.log)
    return {**told, "requests": len(proxy.log), "bytes": sizes, "by": what_of(proxy)}


def what_of(proxy: FaultProxy) -> dict[str, int]:
    """How many requests of each kind."""
    return dict(Counter(f"{one.method} {one.what}" for one in proxy.log))


def report(what: str, plain: dict[str, Any], waited: dict[str, Any], wait_s: float) -> list[str]:
    """Prints the figures; the goals that were missed (pushes have one only for memory)."""
    rounds = (waited["took_s"] - plain["took_s"]) / wait_s
    memory, size = waited["memory_mb"], waited["bytes"]
    print(f"{what}: {waited['requests']} requests {waited['by']}, {size / 1e6:.2f} MB received,")
    print(f"    {rounds:.1f} rounds, {memory:.0f} MB of memory, {waited['new_bytes']:,} bytes new")
    missed = [] if memory <= MOST_MEMORY_MB else ["memory"]
    if what == "fetch":
        index_bytes = size - FILE_BYTES
        print(f"    {index_bytes / 1e6:.2f} MB of them beside the file itself")
        missed += [] if waited["requests"] <= MOST_REQUESTS else ["requests"]
        missed += [] if index_bytes <= MOST_BYTES else ["bytes"]
        missed += [] if round(rounds) <= MOST_ROUNDS else ["rounds"]
    return [f"{what}: {one}" for one in missed]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pushes", type=int, default=10_000)
    parser.add_argument("--chunks", type=int, default=1_000, help="in each push")
    parser.add_argument("--wait-ms", type=float, default=500.0, help="of each request")
    parser.add_argument("--folder", help="where to work (about 4 GB)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*given.child)
        return 0
    os.environ.update(S3Server("").environment)
    folder = Path(tempfile.mkdtemp(prefix="dvlite-index-", dir=given.folder))
    try:
        missed = contest(folder, given.pushes, given.chunks, given.wait_ms / 1000)
    finally:
        shutil.rmtree(folder)
    print("all goals are met" if not missed else "missed: " + ", ".join(missed))
    return 1 if missed else 0


def contest(folder: Path, pushes: int, chunks: int, wait_s: float) -> list[str]:
    """Makes the remote, measures, and tells which goals were missed."""
    build(folder / "remote", pushes, chunks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"the pushes and merges took at most {peak:.0f} MB of memory", flush=True)
    missed = [] if peak <= MOST_MEMORY_MB else ["pushes: memory"]
    with shared_server(folder / "server") as server, fault_proxy(server.port) as proxy:
        url = server.new_url()
        upload(folder / "remote", server, url)
        for what in CHILDREN:
            plain, waited = (measured(proxy, what, url, folder, wait) for wait in (0.0, wait_s))
            missed += report(what, plain, waited, wait_s)
    return missed


if __name__ == "__main__":
    sys.exit(main())
