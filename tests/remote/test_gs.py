"""Google Cloud Storage as a remote, from the command line and at its edges; fake-gcs-server."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend, open_backend
from tests.repositories import Repository
from tests.servers.faultproxy import Fault, at, fault_proxy
from tests.servers.gcs import GcsServer

pytestmark = pytest.mark.usefixtures("no_cloud")


def opened(server: GcsServer, url: str, **options: str) -> Backend:
    return open_backend(url, {**server.options, "retries": "1", **options})


def test_a_missing_bucket_fails_at_once_and_is_never_an_empty_remote(
    gcs_server: GcsServer,
) -> None:
    for action in (
        lambda remote: remote.read("a"),
        lambda remote: remote.list("index"),
        lambda remote: remote.write("a", b"1"),
        lambda remote: remote.write_if_absent("a", b"1"),
    ):
        with pytest.raises(RemoteError, match="no such bucket") as caught:
            action(opened(gcs_server, "gs://nobody-made-this/x"))
        assert "make it first" in str(caught.value.hint)
        assert "tried" not in str(caught.value)


def test_no_credentials_at_all_are_an_error_that_says_what_to_do(gcs_server: GcsServer) -> None:
    with pytest.raises(RemoteError, match="no Google credentials") as caught:
        open_backend(gcs_server.new_url(), {"endpoint": gcs_server.endpoint})
    assert "gcloud auth application-default login" in str(caught.value.hint)


@contextmanager
def refusing_server(status: int, answer: object) -> Iterator[str]:
    """A server that takes nothing: fake-gcs-server lets everybody in."""

    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def key_file(folder: Path, token_uri: str) -> Path:
    """A service account's key, as Google gives them out."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "key.json"
    content = {
        "type": "service_account",
        "client_email": "t@example.org",
        "private_key": private.decode(),
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(content))
    return path


def test_an_account_that_google_refuses_fails_at_once(
    gcs_server: GcsServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with refusing_server(400, {"error": "invalid_grant"}) as token_uri:
        key = key_file(tmp_path, token_uri)
        backend = opened(gcs_server, gcs_server.new_url(), anon="false", keyfile=str(key))
        with pytest.raises(RemoteError, match="refuses access") as caught:
            backend.write("a", b"1")
    assert "credentials" in str(caught.value.hint)
    assert "tried" not in str(caught.value)
    assert "PRIVATE KEY" not in str(caught.value)
    assert capfd.readouterr().err == ""  # gcsfs would have logged a traceback


def test_a_right_that_is_missing_fails_at_once_with_google_s_reason(no_cloud: None) -> None:
    reason = "t@example.org does not have storage.objects.create access"
    with refusing_server(403, {"error": {"code": 403, "message": reason}}) as endpoint:
        backend = open_backend("gs://abc/x", {"endpoint": endpoint, "token": "hidden"})
        with pytest.raises(RemoteError, match="refuses access") as caught:
            backend.write("a", b"1")
    assert reason in str(caught.value)
    assert "tried" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_keyfile_that_is_none_is_refused(gcs_server: GcsServer, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text('{"type": "service_account"}')
    with pytest.raises(UsageError, match="keyfile"):
        opened(gcs_server, "gs://abc/x", anon="false", keyfile=str(tmp_path / "key.json"))


def test_throttling_and_broken_connections_are_tried_again(gcs_server: GcsServer) -> None:
    with fault_proxy(gcs_server.port) as proxy:
        backend = opened(gcs_server, gcs_server.new_url(), endpoint=proxy.endpoint)
        for fault in (Fault.SLOW_DOWN, Fault.ERROR_500, Fault.RESET_EARLY):
            proxy.begin(at(0, fault))
            backend.write("packs/x", fault.value.encode())
            assert len(proxy.log) == 2
            assert backend.read("packs/x") == fault.value.encode()


def test_a_bit_that_flips_on_the_way_is_noticed_and_sent_again(gcs_server: GcsServer) -> None:
    with fault_proxy(gcs_server.port) as proxy:
        backend = opened(gcs_server, gcs_server.new_url(), endpoint=proxy.endpoint)
        proxy.begin(at(0, Fault.FLIP_IN_REQUEST))
        backend.write("packs/x", bytes(100_000))
        assert [hit.fault for hit in proxy.hits] == [Fault.FLIP_IN_REQUEST]
        assert backend.read("packs/x") == bytes(100_000)


def test_nobody_listening_is_tried_again_and_then_said(no_cloud: None) -> None:
    began = time.monotonic()
    options = {"endpoint": "http://127.0.0.1:9", "anon": "true", "retries": "1"}
    with pytest.raises(RemoteError, match=r"(?i)connect.*tried 2 times"):
        open_backend("gs://bucket/x", options).read("a")
    assert time.monotonic() - began < 15  # gcsfs alone waits for half a minute each time


@pytest.mark.parametrize("url", ["gs://", "gs://a", "gs://Upper/x", "gs://b b/x", "gs://u@host/x"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no bucket"):
        open_backend(url, {"anon": "true"})


def test_the_main_job_works_on_google(repository: Repository, gcs_server: GcsServer) -> None:
    repository.set_remote(gcs_server.new_url())
    repository.dvlite("config", "remote.store.anon", "true")
    repository.dvlite("config", "--local", "remote.store.endpoint", gcs_server.endpoint)
    large = bytes(range(256)) * 4000
    repository.add_and_commit({"data/a.txt": b"first", "data/big.bin": large}, "data")
    assert "pushed to store" in repository.dvlite("push").out
    assert "everything is on store" in repository.dvlite("push").out
    repository.share()
    clone = repository.clone("clone")
    clone.dvlite("config", "--local", "remote.store.endpoint", gcs_server.endpoint)
    clone.dvlite("pull")
    assert clone.read("data/a.txt") == b"first"
    assert clone.read("data/big.bin") == large


def test_a_listing_of_many_pages_is_whole(gcs_server: GcsServer) -> None:
    backend = opened(gcs_server, gcs_server.new_url())
    ids = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(1100))
    names = [f"index/s-0-{number % 7}-1-{one}" for number, one in enumerate(ids)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: backend.write(name, b"x"), names))
    backend.write("roots/other", b"x")
    assert [item.name for item in backend.list("index")] == sorted(names)
