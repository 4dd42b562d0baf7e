"""A cache with a small real data set, and remotes on every storage that runs here."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import pytest

from dvlite.storage.backend import Backend, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter, publish_object
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.push import Root
from dvlite.storage.remote import Remote, open_remote
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Entry, Kind, store_folder
from dvlite.storage.treewalk import walk
from tests.servers.azure import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server
from tests.servers.sftp import SftpServer

Files = dict[str, bytes]


def sample_files(seed: int = 1, count: int = 200, large: int = 1) -> Files:
    """Small files in nested folders and some large ones, the same for the same seed."""
    source = random.Random(seed)
    files = {
        f"d{number % 7}/e{number % 3}/f{number:04d}": source.randbytes(source.randrange(6000))
        for number in range(count)
    }
    for number in range(large):
        files[f"big{number}"] = source.randbytes(3_000_000) + bytes(600_000)
    return files


def add_tree(cache: Cache, files: Files) -> Root:
    """Puts files into the cache as one tree."""
    with CacheWriter(cache) as writer:
        entry = _add_folder(cache, writer, files)
    return Root("tree", entry.oid, entry.size, entry.files, "data")


def _add_folder(cache: Cache, writer: CacheWriter, files: Files) -> Entry:
    folders: dict[str, Files] = {}
    entries = []
    for path, data in sorted(files.items()):
        name, _, rest = path.partition("/")
        if rest:
            folders.setdefault(name, {})[rest] = data
            continue
        oid = hash_bytes(data)
        if len(data) >= SMALL_BYTES:
            publish_object(cache, oid, data)
        else:
            writer.add(oid, data)
        kind = Kind.EXEC if name.endswith("7") else Kind.FILE
        entries.append(Entry(name.encode(), kind, oid, len(data)))
    for name, inside in folders.items():
        entries.append(_add_folder(cache, writer, inside)._replace(name=name.encode()))

    def put(oid: bytes, data: bytes) -> None:
        assert oid == hash_tree(data)
        writer.add(oid, data, RowKind.TREE)

    return store_folder(entries, put)


def contents(cache: Cache, root: Root) -> Files:
    """What a tree holds, from the cache, every byte checked."""
    files = {}
    for path, entry in walk(cache.read_tree, root.oid):
        if entry.kind < Kind.TREE:
            data = cache.read(entry.oid)
            assert hash_bytes(data) == entry.oid
            files[path.decode()] = data
    return files


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


@pytest.fixture
def fresh(tmp_path: Path):
    """Makes empty caches, each as if on another machine."""
    made = []

    def make() -> Cache:
        made.append(1)
        return Cache(str(tmp_path / f"fresh{len(made)}"))

    return make


@pytest.fixture(params=["folder", "memory", "s3", "s3fs", "sftp", "gs", "az", "adlfs"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    if request.param == "folder":
        return open_backend(str(tmp_path / "remote"))
    if request.param in ("s3", "s3fs"):
        server: S3Server = request.getfixturevalue("s3_remote")
        driver = "obstore" if request.param == "s3" else "s3fs"
        options = {"endpoint_url": server.endpoint, "driver": driver}
        return open_backend(server.new_url() + "/a prefix/ü%", options)
    if request.param == "gs":
        google: GcsServer = request.getfixturevalue("gcs_server")
        return open_backend(google.new_url() + "/a prefix/ü%", google.options)
    if request.param in ("az", "adlfs"):
        azure: AzureServer = request.getfixturevalue("azure_server")
        driver = "obstore" if request.param == "az" else "adlfs"
        return open_backend(azure.new_url() + "/a prefix/ü%", {**azure.options, "driver": driver})
    if request.param == "sftp":
        ssh: SftpServer = request.getfixturevalue("sftp_server")
        return open_backend(ssh.url(tmp_path / "a remote" / "ü%"), ssh.options)
    return open_backend(f"memory://test-{uuid.uuid4().hex}/prefix")


@pytest.fixture
def remote(backend: Backend) -> Remote:
    return open_remote("r", backend, create=True)
