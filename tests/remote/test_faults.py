"""A network that breaks: every fault at every request of a push and of a fetch, and at random.

What has to hold whatever breaks: a run ends complete, or with an error of ours after which
everything goes on; and no byte that was damaged on its way is ever taken for another.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from dvlite.errors import DvliteError, RemoteError
from dvlite.storage import packsums, s3backend, upload
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import FetchReport, Wanted
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import PACK_TARGET
from dvlite.storage.packsums import ASK_FROM
from dvlite.storage.push import PushOptions, PushReport, Root, push
from dvlite.storage.remote import Remote, open_remote
from dvlite.storage.retrying import Patience, RetryingBackend
from tests.servers.faultproxy import (
    NEEDS_REQUEST_BODY,
    NEEDS_RESPONSE_BODY,
    Fault,
    FaultProxy,
    Request,
    at,
    at_random,
    each_once,
    fault_proxy,
    from_on,
)
from tests.servers.s3 import S3Server

from .conftest import Files, add_tree, contents

# The sample is 4 MB: several data packs, meta packs, and a segment.
_PACK_TARGET = 1_500_000
# A connection that is silent for so long is given up where a fault is that it never answers.
_SILENCE_S = 0.25
_NONE = Patience(retries=0)
_QUICK = Patience(retries=6, first_s=0.001, longest_s=0.01)
_DRIVERS = ("obstore", "s3fs")
# What damages silently; all others fail the request, so that it is made again.
_SILENT = (Fault.SHORTEN_RESPONSE, Fault.FLIP_IN_RESPONSE)
_LOUD = [fault for fault in Fault if fault not in _SILENT]
_PAIRS = [(fault, driver) for driver in _DRIVERS for fault in _LOUD]


@dataclass(frozen=True, slots=True)
class Bench:
    """A data set in a cache, a server with a copy of it, and a proxy in front of that.

    `push_log`, `fetch_log`: what an unbroken run asks for.
    """

    server: S3Server
    proxy: FaultProxy
    folder: Path
    cache: Cache
    files: Files
    root: Root
    url: str
    push_log: list[Request]
    fetch_log: list[Request]
    numbers: Iterator[int]

    def open(
        self,
        url: str,
        patience: Patience = _NONE,
        timeout_s: float = 30.0,
        driver: str = "obstore",
        direct: bool = False,
    ) -> Remote:
        """The remote there, through the proxy or directly."""
        endpoint = self.server.endpoint if direct else self.proxy.endpoint
        options = {"endpoint_url": endpoint, "timeout": str(timeout_s), "driver": driver}
        backend = open_backend(url, options)
        assert isinstance(backend, RetryingBackend)
        return open_remote("r", RetryingBackend(backend.inner, patience), create=True)

    def push(self, remote: Remote) -> PushReport:
        return push(remote, self.cache, [self.root], PushOptions(jobs=1))

    def fetch(self, remotes: list[Remote], cache: Cache, jobs: int = 1) -> FetchReport:
        root = self.root
        wanted = Wanted(root.kind, root.oid, root.size, root.files, root.label)
        return fetch(remotes, cache, [wanted], jobs=jobs)

    def new_cache(self) -> Cache:
        return Cache(str(self.folder / f"cache{next(self.numbers)}"), durable=False)

    def check_remote(self, url: str, why: object) -> None:
        """Somebody who has nothing gets everything from there."""
        cache = self.new_cache()
        assert self.fetch([self.open(url, direct=True)], cache).complete, why
        assert contents(cache, self.root) == self.files, why

    def check_cache(self, cache: Cache, why: object = None) -> int:
        """Whatever got into a cache is what its name says; how many files did."""
        found = 0
        for data in self.files.values():
            oid = hash_bytes(data)
            if cache.has(oid):
                assert cache.read(oid) == data, why
                found += 1
        return found


@pytest.fixture(scope="module")
def bench(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("faults")
    cache = Cache(str(folder / "cache"), durable=False)
    files = _sample()
    root = add_tree(cache, files)
    with pytest.MonkeyPatch.context() as patch, fault_proxy(s3_server.port) as proxy:
        patch.setattr(upload, "PACK_TARGET", _PACK_TARGET)
        patch.setattr(packsums, "ASK_FROM", 2 * _PACK_TARGET)
        patch.setattr(s3backend, "WRITE_FACTOR", 1)
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        url = s3_server.new_url()
        bench = Bench(s3_server, proxy, folder, cache, files, root, url, [], [], count())
        bench.push(bench.open(url))
        bench.push_log.extend(proxy.log)
        proxy.begin()
        bench.fetch([bench.open(url)], bench.new_cache())
        bench.fetch_log.extend(proxy.log)
        yield bench


def _sample() -> Files:
    """2,000 small files, and a large one that is cut."""
    source = random.Random(1)
    files = {
        f"d{number % 7}/e{number % 3}/f{number:04d}": source.randbytes(source.randrange(1000))
        for number in range(2000)
    }
    return {**files, "big": source.randbytes(3_000_000)}


def timeout_s(fault: Fault) -> float:
    return _SILENCE_S if fault is Fault.STALL else 30.0


def fitting(log: list[Request], fault: Fault) -> list[int]:
    """Numbers of the requests that have what the fault breaks."""
    return [
        one.index
        for one in log
        if (one.request_size or fault not in NEEDS_REQUEST_BODY)
        and (one.response_size or fault not in NEEDS_RESPONSE_BODY)
    ]


# -- one fault -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", Fault)
def test_a_push_broken_anywhere_is_completed_by_the_next(bench: Bench, fault: Fault) -> None:
    failed = 0
    for index in fitting(bench.push_log, fault):
        url = bench.server.new_url()
        bench.proxy.begin(at(index, fault))
        try:
            bench.push(bench.open(url, timeout_s=timeout_s(fault)))
        except DvliteError:
            failed += 1
            bench.push(bench.open(url, direct=True))
        bench.check_remote(url, (fault, index))
    assert failed or fault in _SILENT


@pytest.mark.parametrize("fault", Fault)
def test_a_fetch_broken_anywhere_is_completed_by_the_next(bench: Bench, fault: Fault) -> None:
    for index in fitting(bench.fetch_log, fault):
        cache = bench.new_cache()
        bench.proxy.begin(at(index, fault))
        try:
            remote = bench.open(bench.url, timeout_s=timeout_s(fault))
            complete = bench.fetch([remote], cache).complete
        except DvliteError:
            complete = False
        bench.check_cache(cache, (fault, index))
        if not complete:
            remote = bench.open(bench.url, direct=True)
            assert bench.fetch([remote], cache).complete, (fault, index)
        assert contents(cache, bench.root) == bench.files, (fault, index)
        assert len(bench.proxy.log) <= len(bench.fetch_log) + 2, (fault, index)


# -- every request broken, and tried again ---------------------------------------------------------


@pytest.mark.parametrize(("fault", "driver"), _PAIRS)
def test_what_fails_once_is_tried_again(bench: Bench, fault: Fault, driver: str) -> None:
    url = bench.server.new_url()
    for run in (bench.push, lambda remote: bench.fetch([remote], bench.new_cache())):
        bench.proxy.begin(each_once(fault))
        run(bench.open(url, _QUICK, timeout_s(fault), driver))
        assert len(bench.proxy.hits) >= len(fitting(bench.push_log, fault)) / 2 or (
            fault in NEEDS_REQUEST_BODY  # a fetch sends none
        )
    bench.check_remote(url, fault)


@pytest.mark.parametrize("driver", _DRIVERS)
def test_a_flipped_upload_is_never_stored(bench: Bench, driver: str) -> None:
    """The server compares what arrives with the checksum beside it and refuses it."""
    url = bench.server.new_url()
    bench.proxy.begin(lambda request: Fault.FLIP_IN_REQUEST if request.what == "packs" else None)
    with pytest.raises(RemoteError):
        bench.push(bench.open(url, _QUICK, driver=driver))
    assert len(bench.proxy.hits) >= 1 + _QUICK.retries
    assert bench.open(url, direct=True).backend.list("packs") == []


# -- damage on the way down ------------------------------------------------------------------------


@pytest.mark.parametrize("fault", _SILENT)
def test_nothing_damaged_gets_into_the_cache(bench: Bench, fault: Fault) -> None:
    """Every answer is damaged, those to the second try too."""
    cache = bench.new_cache()
    bench.proxy.begin(
        lambda request: fault if request.what == "packs" and request.index > 5 else None
    )
    report = bench.fetch([bench.open(bench.url)], cache)
    assert len(bench.proxy.hits) >= 4
    assert report.damaged
    found = bench.check_cache(cache)
    assert found == len(bench.files) - len({item.path for item in report.damaged})
    bench.fetch([bench.open(bench.url, direct=True)], cache)
    assert contents(cache, bench.root) == bench.files


def test_a_damaged_answer_is_asked_for_again(bench: Bench) -> None:
    cache = bench.new_cache()
    seen: set[str] = set()

    def plan(request: Request) -> Fault | None:
        path = request.target.partition(" ")[0]
        if request.what != "packs" or path in seen:
            return None
        seen.add(path)
        return Fault.FLIP_IN_RESPONSE

    bench.proxy.begin(plan)
    assert bench.fetch([bench.open(bench.url)], cache).complete
    assert contents(cache, bench.root) == bench.files
    assert len(bench.proxy.hits) >= 3


# -- an outage -------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 4])
def test_an_outage_ends_a_fetch_soon_and_keeps_what_came(bench: Bench, jobs: int) -> None:
    cache = bench.new_cache()
    late = len(bench.fetch_log) - 3
    bench.proxy.begin(from_on(late, Fault.ERROR_500))
    with pytest.raises(RemoteError, match="tried 7 times"):
        bench.fetch([bench.open(bench.url, _QUICK)], cache, jobs)
    assert len(bench.proxy.hits) <= jobs * (1 + _QUICK.retries)
    came = bench.check_cache(cache)
    assert came > len(bench.files) / 4
    bench.proxy.begin()
    again = bench.fetch([bench.open(bench.url)], cache, jobs)
    assert again.files == len(bench.files) - came
    assert contents(cache, bench.root) == bench.files


def test_after_an_outage_the_next_remote_is_asked(bench: Bench) -> None:
    other = bench.server.new_url()
    bench.push(bench.open(other, direct=True))
    cache = bench.new_cache()
    first = bench.open(bench.url)
    bench.proxy.begin(from_on(5, Fault.RESET_EARLY))
    report = bench.fetch([first, bench.open(other, direct=True)], cache)
    assert report.complete
    assert bench.proxy.hits
    assert contents(cache, bench.root) == bench.files


# -- at random -------------------------------------------------------------------------------------


def broken_at_random(bench: Bench, seed: int, driver: str) -> None:
    """Until both are through: one try in four of each request breaks, and is made twice more."""
    url, cache = bench.server.new_url(), bench.new_cache()
    patience = Patience(retries=2, first_s=0.001, longest_s=0.01)
    checked = [one for one in Fault if driver != "s3fs" or one is not Fault.FLIP_IN_REQUEST]
    bench.proxy.begin(at_random(seed, 0.25, checked))
    for _ in range(60):
        try:
            bench.push(bench.open(url, patience, 1.0, driver))
            break
        except DvliteError:
            continue
    for _ in range(60):
        try:
            if bench.fetch([bench.open(url, patience, 1.0, driver)], cache, jobs=4).complete:
                break
        except DvliteError:
            continue
    assert bench.proxy.hits
    assert contents(cache, bench.root) == bench.files
    bench.check_remote(url, seed)


@pytest.mark.parametrize("seed", range(1, 5))
def test_faults_at_random(bench: Bench, seed: int) -> None:
    broken_at_random(bench, seed, _DRIVERS[seed % 2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 200))
def test_faults_at_random_for_long(bench: Bench, seed: int) -> None:
    broken_at_random(bench, seed, _DRIVERS[seed % 2])


# -- how many requests -----------------------------------------------------------------------------


@pytest.mark.parametrize("files", [20_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_requests_depend_on_packs_and_not_on_files(
    bench: Bench, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PACK_TARGET", PACK_TARGET)
    monkeypatch.setattr(packsums, "ASK_FROM", ASK_FROM)
    cache = bench.new_cache()
    named = {f"{n % 97}/{n}.txt": b"%d is the content of a file" % n for n in range(files)}
    root = add_tree(cache, named)
    url = bench.server.new_url()
    bench.proxy.begin()
    report = push(bench.open(url), cache, [root])
    assert report.new_files == files
    assert bench.proxy.counts()["PUT"] <= report.packs + 3  # dvlite.json, a segment, roots
    assert report.packs <= report.stored_bytes // PACK_TARGET + 2
    assert len(bench.proxy.log) <= 60
    bench.proxy.begin()
    assert push(bench.open(url), cache, [root]).new_files == 0
    assert bench.proxy.counts()["PUT"] == 0
    assert len(bench.proxy.log) <= 10
