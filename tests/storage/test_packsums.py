"""Checksums beside packs: a CRC-64 only where the store was seen to compare it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dvlite.storage import packsums, s3backend
from dvlite.storage.backend import Backend
from dvlite.storage.objectstore import NotAsSent
from dvlite.storage.s3backend import open_s3
from dvlite.storage.s3options import s3_options
from tests.servers.faultproxy import Fault, Request, fault_proxy
from tests.servers.s3 import S3Server

PACK = b"p" * 5000
ASKED = "tmp/checksum"


@pytest.fixture(autouse=True)
def asked_at_the_second_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packsums, "ASK_FROM", 2 * len(PACK))


@dataclass
class Store:
    """A store of one manner: `compares`, `ignores` the header, wants bodies in signatures
    (`signed`), or counts CRC-64 in a way of its own (`refuses`). `may_delete`: whether we may."""

    manner: str
    may_delete: bool = True
    port: int = 0
    log: list[tuple[str, str, str]] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)

    def open(self, **more: str) -> Backend:
        keys = {"access_key_id": "a", "secret_access_key": "b", "region": "x"}
        endpoint = {"endpoint_url": f"http://127.0.0.1:{self.port}"}
        return open_s3("s3://bucket/r", endpoint | keys | more)

    def answer(self, name: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        crc, sha = (f"x-amz-checksum-{kind}" for kind in ("crc64nvme", "sha256"))
        sum_sent = "crc" if crc in headers else "sha" if sha in headers else ""
        is_signed = headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD"
        self.log.append((name, sum_sent, "signed" if is_signed else "unsigned"))
        if self.manner == "signed" and not is_signed:
            # what it says of wrong sums it says first, as a policy looks at what is right
            return (400, "BadDigest") if name == ASKED else (403, "AccessDenied")
        if crc in headers and self.manner == "refuses":
            return 400, "XAmzContentChecksumMismatch"
        if crc in headers and self.manner == "compares" and name == ASKED:
            return 400, "BadDigest"
        self.stored[name] = body
        return 200, ""


@contextmanager
def serving(store: Store) -> Iterator[Store]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {key.lower(): value for key, value in self.headers.items()}
            status, code = store.answer(self.path.removeprefix("/bucket/r/"), headers, body)
            text = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
            self._say(status, text)

        def do_POST(self) -> None:  # deletes
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            name = body.partition("<Key>r/")[2].partition("<")[0]
            store.log.append((name, "delete", ""))
            if store.may_delete:
                store.stored.pop(name)
                self._say(200, b"<DeleteResult></DeleteResult>")
            else:
                self._say(403, b"<Error><Code>AccessDenied</Code></Error>")

        def _say(self, status: int, text: bytes) -> None:
            self.send_response(status)
            self.send_header("ETag", '"x"')
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        store.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield store
        server.shutdown()
        thread.join()


def push(backend: Backend, count: int, first: int = 0) -> list[str]:
    names = [f"packs/{number:02d}" for number in range(first, first + count)]
    for name in names:
        backend.write(name, PACK)
    return names


SHA, CRC = ("sha", "signed"), ("crc", "unsigned")


def test_packs_go_with_a_crc_once_the_store_refused_a_wrong_one() -> None:
    with serving(Store("compares")) as store:
        backend = store.open()
        names = push(backend, 4)
        backend.write("index/s", PACK)
    log = {name: tuple(how) for name, *how in store.log}
    assert [name for name, *_ in store.log] == [names[0], ASKED, *names[1:], "index/s"]
    assert [log[name] for name in names] == [SHA, CRC, CRC, CRC]
    assert log["index/s"] == SHA
    assert ASKED not in store.stored


@pytest.mark.parametrize("may_delete", [True, False])
def test_a_store_that_ignores_the_header_gets_what_it_compares(may_delete: bool) -> None:
    with serving(Store("ignores", may_delete)) as store:
        names = push(store.open(), 4)
    how = [tuple(how) for name, *how in store.log if name in names]
    assert how == [SHA] * 4
    assert [name for name, *_ in store.log].count(ASKED) == 2  # asked once, and removed
    assert (ASKED in store.stored) != may_delete


def test_one_pack_is_not_worth_asking() -> None:
    with serving(Store("compares")) as store:
        push(store.open(), 1)
    assert len(store.log) == 1


@pytest.mark.parametrize("manner", ["signed", "refuses"])
def test_a_store_that_does_not_take_packs_so_gets_them_as_all_else(manner: str) -> None:
    with serving(Store(manner)) as store:
        names = push(store.open(), 4)
    assert [store.stored[name] for name in names] == [PACK] * 4
    tried = [name for name, *how in store.log if tuple(how) == CRC and name != ASKED]
    assert tried == names[1:2]  # and never again


@pytest.mark.parametrize("checksum", ["sha256", "none"])
def test_a_configured_checksum_is_what_goes_along(checksum: str) -> None:
    with serving(Store("compares")) as store:
        names = push(store.open(checksum=checksum), 4)
    sums = [what for _, what, _ in store.log]
    assert [name for name, *_ in store.log] == names
    assert sums == ["sha" if checksum == "sha256" else ""] * 4


def test_of_several_threads_one_asks_and_the_others_go_on() -> None:
    with serving(Store("compares")) as store, ThreadPoolExecutor(8) as pool:
        backend = store.open()
        list(pool.map(lambda number: push(backend, 1, number), range(40)))
    assert [name for name, *_ in store.log].count(ASKED) == 1
    assert len(store.stored) == 40


def test_aws_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3backend, "_AWS_HOSTS", ("127.0.0.1",))
    with serving(Store("compares")) as store:
        names = push(store.open(), 3)
    assert [tuple(how) for _, *how in store.log] == [CRC] * len(names)


def test_a_real_store_refuses_a_flipped_bit_beside_a_crc(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was refused goes again, with SHA-256."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = s3_server.new_url()

    def plan(request: Request) -> Fault | None:
        is_third = request.target.partition(" ")[0].endswith("packs/02")
        return Fault.FLIP_IN_REQUEST if is_third and "crc64nvme" in request.sums else None

    with fault_proxy(s3_server.port) as proxy:
        proxy.begin(plan)
        backend = open_s3(url, {"endpoint_url": proxy.endpoint})
        names = push(backend, 4)
        assert len(proxy.hits) == 1
        assert proxy.hits[0].status == 400
        packs = [request for request in proxy.log if request.what == "packs"]
        assert [set(request.sums) for request in packs] == [
            {"sha256"},
            {"crc64nvme"},
            {"crc64nvme"},
            {"sha256"},
            {"sha256"},
        ]
        assert [backend.read(name) for name in names] == [PACK] * 4
        assert backend.list("tmp") == []


def test_a_real_store_says_that_other_bytes_arrived(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    with fault_proxy(s3_server.port) as proxy:
        backend = open_s3(s3_server.new_url(), {"endpoint_url": proxy.endpoint})
        proxy.begin(lambda request: Fault.FLIP_IN_REQUEST)
        with pytest.raises(NotAsSent):
            backend.write("packs/00", PACK)
        proxy.begin()
        assert backend.list("packs") == []


PROFILE = "[default]\nregion = x\nendpoint_url = {}\n"
SERVICE = "[default]\nregion = x\nservices = own\n[services own]\ns3 =\n  endpoint_url = {}\n"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"])
def test_an_address_in_the_environment_is_a_store_s_as_well(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over http, the bucket in the path, and asked like any other."""
    with serving(Store("ignores")) as store:
        monkeypatch.setenv(name, f"http://127.0.0.1:{store.port}")
        keys = {"access_key_id": "a", "secret_access_key": "b", "region": "x"}
        names = push(open_s3("s3://bucket/r", keys), 3)
    assert set(names) == set(store.stored)
    assert ASKED in [name for name, *_ in store.log]


@pytest.mark.parametrize("text", [PROFILE, SERVICE])
@pytest.mark.parametrize("keys", ["environment", "file"])
def test_so_is_one_in_the_configuration_of_aws(
    text: str, keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the credentials are."""
    with serving(Store("ignores")) as store:
        content = text.format(f"http://127.0.0.1:{store.port}")
        if keys == "environment":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
            monkeypatch.setenv("AWS_REGION", "x")
        else:
            monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
            (tmp_path / "keys").write_text(
                "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
            )
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
        (tmp_path / "config").write_text(content)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        names = push(open_s3("s3://bucket/r", {}), 3)
    assert set(names) == set(store.stored)
    assert ASKED in [name for name, *_ in store.log]


@pytest.mark.parametrize(
    ("endpoint", "is_aws"),
    [
        ("", True),
        ("https://s3.eu-west-1.amazonaws.com", True),
        ("https://bucket.vpce-1a2b.s3.cn-north-1.vpce.amazonaws.com.cn", True),
        ("https://s3.amazonaws.com.example.org", False),
        ("https://notamazonaws.com", False),
    ],
)
def test_what_is_aws_is_told_by_its_name(endpoint: str, is_aws: bool) -> None:
    options = s3_options({"endpoint_url": endpoint, "access_key_id": "a", "secret_access_key": "b"})
    assert s3backend._Stores.of("bucket", "", options).is_aws == is_aws
