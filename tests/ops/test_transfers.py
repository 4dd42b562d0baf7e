"""What push, fetch and pull say, and how they end when somebody stops them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dvlite.storage import ranges
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.remote import open_remote
from tests.repositories import TIMEOUT_S, Repository, finished
from tests.servers.faultproxy import Fault, FaultProxy, Request, each_once, fault_proxy
from tests.servers.s3 import S3Server

CACHE = (".git", "dvlite", "cache")


@pytest.fixture
def shared(repository: Repository) -> Repository:
    """A folder and a model, pushed."""
    source = random.Random(5)
    files = {f"data/{'ab'[n % 2]}/{n // 20}/{n:03d}": source.randbytes(2000) for n in range(200)}
    repository.add_and_commit({**files, "model": source.randbytes(3_000_000)}, "data", "model")
    repository.share()
    return repository


def forget(repository: Repository) -> None:
    """The cache loses everything."""
    shutil.rmtree(repository.path.joinpath(*CACHE))


def copied(repository: Repository, name: str) -> Path:
    """Another remote with the same in it."""
    folder = repository.path.parent / name
    if repository.store.exists():
        shutil.copytree(repository.store, folder)
    repository.dvlite("remote", "add", name, str(folder))
    return folder


def parsed(repository: Repository, *words: str, code: int = 0) -> dict[str, Any]:
    return json.loads(repository.dvlite(*words, "--json", code=code).out)  # type: ignore[no-any-return]


def biggest_pack(folder: Path) -> Path:
    packs = [one for one in (folder / "packs").rglob("*") if one.is_file()]
    return max(packs, key=lambda one: one.stat().st_size)


# -- a dry run -----------------------------------------------------------------------------------


def test_a_dry_run_says_what_the_push_then_does(repository: Repository) -> None:
    """The first one, and one of which most is there already."""
    source = random.Random(6)
    large = source.randbytes(3_000_000)
    repository.add_and_commit({"data/a": b"a" * 50, "data/large": large}, "data")
    first = parsed(repository, "push", "--dry-run")
    assert not repository.store.exists()
    assert parsed(repository, "push") == {**first, "dry_run": False}
    assert (first["new_files"], first["size"], first["new_bytes"]) == (2, 3_000_050, 3_000_050)
    repository.add_and_commit({"data/edited": large[:1_000_000] + b"!" + large[1_000_000:]}, "data")
    words = repository.dvlite("push", "-n").out
    second = parsed(repository, "push", "--dry-run")
    assert (second["new_files"], second["size"]) == (1, 3_000_001)
    assert 0 < second["new_bytes"] < 1_000_000
    assert words.startswith("would push to store: 1 new file, 2.86 MiB, of which ")
    assert parsed(repository, "push") == {**second, "dry_run": False}


# -- a part of it --------------------------------------------------------------------------------


def test_a_push_that_lacks_files_names_each_and_sends_the_rest(repository: Repository) -> None:
    source = random.Random(8)
    files = {f"data/{n}": source.randbytes(200_000) for n in range(4)}
    repository.add_and_commit(files, "data")
    for name in ("data/1", "data/3"):  # large files are whole in the cache
        (found,) = _cached(repository, files[name])
        found.unlink()
    ran = repository.dvlite("push", code=6)
    assert "not pushed:\n  data: 1\n  data: 3\nhint: " in ran.err
    content = parsed(repository, "push", code=6)
    assert [one["path"] for one in content["absent"]] == ["1", "3"]
    assert not content["complete"]
    forget(repository)
    repository.dvlite("add", "--force", "data")
    assert parsed(repository, "push")["size"] == 400_000


def _cached(repository: Repository, data: bytes) -> list[Path]:
    objects = [one for one in repository.path.joinpath(*CACHE).rglob("*") if one.is_file()]
    return [one for one in objects if one.read_bytes() == data]


@pytest.mark.parametrize(("command", "code"), [("fetch", 8), ("pull", 8)])
def test_what_cannot_be_fetched_is_named_file_by_file(
    shared: Repository, command: str, code: int
) -> None:
    biggest_pack(shared.store).write_bytes(b"damaged")
    clone = shared.clone("clone")
    ran = clone.dvlite(command, code=code)
    listed = ran.err.split("damaged on store:\n")[1].splitlines()
    assert listed[:2] == ["  data: a/0/000", "  data: a/0/002"]  # in order
    assert listed[20].startswith("  and ")
    content = parsed(clone, "fetch", code=code)
    assert {"pointer": "model", "path": ""}.items() <= content["damaged"][-1].items()


# -- a path inside -------------------------------------------------------------------------------


def test_a_path_inside_a_folder_brings_only_that(
    shared: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as ranges go, which are cut where what lies between is worth a request."""
    monkeypatch.setattr(ranges, "GAP_BYTES", 0)
    forget(shared)
    content = parsed(shared, "fetch", "data/a/0")
    assert (content["files"], content["size"]) == (10, 20_000)
    assert content["read_bytes"] < 150_000 < 200 * 2000
    content = parsed(shared, "fetch", "data/b/3/061")
    assert (content["files"], content["size"]) == (1, 2000)
    assert parsed(shared, "fetch", "data/b/3/061")["files"] == 0
    assert parsed(shared, "fetch")["files"] == 190


def test_a_path_that_the_folder_does_not_have_is_an_error(shared: Repository) -> None:
    """Whether its tree is here or not; what else was asked for comes."""
    for _ in range(2):
        forget(shared)
        for _ in range(2):
            ran = shared.dvlite("fetch", "data/nothing", "data/a/0/000/x", "model", code=4)
            assert "no such path:\n  data/a/0/000/x\n  data/nothing\n" in ran.err
    assert parsed(shared, "fetch", "model")["files"] == 0


# -- several remotes -----------------------------------------------------------------------------


def test_a_remote_that_cannot_be_reached_gives_way_to_the_next(shared: Repository) -> None:
    shared.dvlite("remote", "add", "gone", str(shared.path.parent / "gone"))
    forget(shared)
    ran = shared.dvlite("fetch", "-r", "gone", "-r", "store")
    assert "warning: gone: there is no dvlite remote at" in ran.err
    assert "fetched    201 files" in ran.out
    forget(shared)
    content = parsed(shared, "fetch", "-r", "gone", "-r", "store")
    assert [one["remote"] for one in content["failed"]] == ["gone"]
    assert content["files"] == 201
    shared.dvlite("fetch", "-r", "gone", code=7)


@pytest.mark.parametrize("command", ["fetch", "pull"])
def test_what_one_remote_lacks_comes_from_the_next(shared: Repository, command: str) -> None:
    other = copied(shared, "other")
    shared.commit()
    shared.git("push", "--quiet", "origin", "HEAD")
    biggest_pack(other).unlink()
    shared.add_and_commit({"data/new": b"only on the second"}, "data")
    shared.share()
    clone = shared.clone("clone")
    ran = clone.dvlite("fetch", "-r", "other", code=8)
    assert "damaged on other:\n  model: " in ran.err
    assert "not there:\n  data: " in ran.err
    clone.dvlite(command, "-r", "other", "-r", "store")
    clone.dvlite("checkout")
    assert clone.data() == shared.data()
    assert clone.read("model") == shared.read("model")


def test_verbose_says_where_a_remote_is(shared: Repository) -> None:
    for command in ("push", "fetch", "pull"):
        assert f"remote store: {shared.store}\n" in shared.dvlite(command, "-v").err
        assert "remote store" not in shared.dvlite(command).err


# -- asking again --------------------------------------------------------------------------------


@pytest.fixture
def proxied(shared: Repository, s3_remote: S3Server) -> Iterator[tuple[Repository, FaultProxy]]:
    """The same, on S3 behind a proxy."""
    with fault_proxy(s3_remote.port) as proxy:
        shared.set_remote(s3_remote.new_url())
        shared.dvlite("config", "remote.store.endpoint_url", proxy.endpoint)
        shared.dvlite("push", "--yes")
        forget(shared)
        yield shared, proxy


def test_asking_again_is_told_with_verbose(proxied: tuple[Repository, FaultProxy]) -> None:
    repository, proxy = proxied
    proxy.begin(each_once(Fault.SLOW_DOWN))
    ran = repository.dvlite("fetch", "-v")
    assert "the remote is slow, trying again: " in ran.err
    assert "fetched    201 files" in ran.out
    forget(repository)
    proxy.begin(each_once(Fault.SLOW_DOWN))
    assert "trying again" not in repository.dvlite("fetch").err  # it took no time


def test_only_the_first_remote_is_listed_before_it_is_asked(
    proxied: tuple[Repository, FaultProxy],
) -> None:
    repository, proxy = proxied
    folder = str(repository.path.parent / "folder")
    repository.dvlite("remote", "add", "folder", folder)
    repository.dvlite("fetch", "-r", "store")
    repository.dvlite("push", "-r", "folder")
    for first, second, lists in (("store", "folder", 1), ("folder", "store", 0)):
        forget(repository)
        proxy.begin()
        ran = repository.dvlite("fetch", "-r", first, "-r", second)
        assert "fetched    201 files" in ran.out
        assert [one.what for one in proxy.log].count("list") == lists
        assert [one.what for one in proxy.log].count("dvlite.json") == 1


# -- Ctrl-C --------------------------------------------------------------------------------------


def interrupted(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C; it ends, although it waits for what takes longer than this waits for it."""
    process.send_signal(signal.SIGINT)
    ran = finished(process, 130)
    assert ran.err.endswith("error: interrupted; nothing is lost, run the command again\n")
    assert "Traceback" not in ran.err


def test_a_push_that_is_stopped_does_not_send_again_what_arrived(repository: Repository) -> None:
    """Its second pack would have to wait for an hour."""
    data = random.Random(9).randbytes(40 << 20)
    repository.add_and_commit({"data/one": data}, "data")
    repository.dvlite("config", "--local", "core.max_rate", "10K")
    process = repository.start("push")
    packs = repository.store / "packs"
    while process.poll() is None and not list(packs.glob("*/*")):
        pass
    arrived = biggest_pack(repository.store)
    interrupted(process)
    repository.dvlite("config", "--local", "--unset", "core.max_rate")
    content = parsed(repository, "push")
    assert content["new_bytes"] <= len(data) - arrived.stat().st_size + (1 << 20)
    repository.dvlite("remote", "check", "--full")


def test_a_fetch_from_a_remote_that_never_answers_can_be_stopped(
    proxied: tuple[Repository, FaultProxy],
) -> None:
    repository, proxy = proxied
    asked = threading.Event()

    def stall(request: Request) -> Fault | None:
        if request.what != "packs":
            return None
        asked.set()
        return Fault.STALL

    proxy.begin(stall)
    process = repository.start("fetch")
    assert asked.wait(TIMEOUT_S)
    interrupted(process)
    proxy.begin()
    repository.dvlite("fetch")


class _StoppedAfter:
    """A progress callback that is a user who stops after so many files."""

    def __init__(self, files: int) -> None:
        self.files = files

    def __call__(self, phase: str, files: int, *rest: object) -> None:
        if files >= self.files:
            raise KeyboardInterrupt


def test_a_fetch_that_is_stopped_keeps_what_came(
    shared: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", 16 << 10)
    remote = open_remote("r", open_backend(str(shared.store)))
    cache = Cache(str(tmp_path / "cache"), durable=False)
    pointer = dict(line.split(": ") for line in (shared.path / "data.dvl").read_text().splitlines())
    oid = bytes.fromhex(pointer["oid"].removeprefix("blake3:"))
    wanted = Wanted("tree", oid, int(pointer["size"]), 200, "data")
    with pytest.raises(KeyboardInterrupt):
        fetch([remote], cache, [wanted], jobs=1, progress=_StoppedAfter(120))
    report = fetch([remote], cache, [wanted])
    assert report.complete
    assert 0 < report.files <= 200 - 60
    assert os.listdir(cache.temporary_folder) == []
