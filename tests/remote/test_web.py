"""Remotes on a static web server: the reader's half of the contract, and servers that misbehave."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dvlite.errors import CorruptError, RemoteError, UsageError
from dvlite.storage import webbackend
from dvlite.storage.backend import Backend, NotThere, ReadOnlyError, open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.fetch import fetch
from dvlite.storage.fetched import Wanted
from dvlite.storage.publishedlist import publish_list, read_index
from dvlite.storage.push import push
from dvlite.storage.remote import NotMade, Remote, open_remote, pack_name
from tests.remote.conftest import add_tree, contents, sample_files
from tests.servers.web import WebServer, serve

DATA = bytes(range(256)) * 40


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebServer]:
    with serve(tmp_path / "served") as running:
        yield running


@pytest.fixture(params=["ranges", "no ranges", "no lengths"])
def web(request: pytest.FixtureRequest, server: WebServer) -> Backend:
    server.conduct.ranges = request.param == "ranges"
    server.conduct.length = request.param != "no lengths"
    return open_backend(f"{server.url}/a prefix/ü%", {"retries": "0"})


def put(server: WebServer, name: str, data: bytes, folder: str = "a prefix/ü%") -> None:
    path = server.folder / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# -- what every storage must do, as far as it is reading -------------------------------------------


def test_what_is_there_is_read_whole_and_in_ranges(server: WebServer, web: Backend) -> None:
    put(server, "packs/ab/x", DATA)
    assert web.read("packs/ab/x") == DATA
    assert web.read("packs/ab/x", 100, 50) == DATA[100:150]
    assert web.read("packs/ab/x", 0, 10) == DATA[:10]
    assert web.read("packs/ab/x", 5, 0) == b""
    assert web.read("packs/ab/x", len(DATA) - 3, 3) == DATA[-3:]
    assert web.read_view("packs/ab/x", 7, 9) == DATA[7:16]
    assert web.read("packs/ab/x", 50) == DATA[50:]


def test_ranges_at_the_end_give_what_there_is(server: WebServer, web: Backend) -> None:
    put(server, "a", b"12345")
    assert web.read("a", 3, 100) == b"45"
    assert web.read("a", -2) == b"45"
    assert web.read("a", -9) == b"12345"
    assert web.read("a", 5, 10) == b""
    assert web.read("a", 9, 10) == b""
    put(server, "empty", b"")
    assert web.read("empty") == b""
    assert web.read("empty", 0, 10) == b""


def test_an_absent_name_is_not_there(web: Backend) -> None:
    with pytest.raises(NotThere):
        web.read("nothing/here")
    with pytest.raises(NotThere):
        web.read("nothing/here", 5, 10)


def test_many_threads_read_at_once(server: WebServer, web: Backend) -> None:
    def work(number: int) -> None:
        if web.read(f"packs/{number:02d}/x", 10, 100) != bytes([number]) * 100:
            wrong.append(number)

    for number in range(16):
        put(server, f"packs/{number:02d}/x", bytes([number]) * 50_000)
    wrong: list[int] = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_writing_is_refused_without_a_request(server: WebServer, web: Backend) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: web.write("a", b"1"),
        lambda: web.write_if_absent("a", b"1"),
        lambda: web.delete("a"),
        lambda: open_remote("r", web, create=True),
    ]
    for attempt in attempts:
        with pytest.raises(ReadOnlyError if attempt is not attempts[-1] else RemoteError):
            attempt()
    assert [one for one in server.conduct.requests if "dvlite.json" not in one[0]] == []


def test_a_listing_is_what_was_published(server: WebServer, cache: Cache) -> None:
    remote = _pushed(server, cache)
    web = open_backend(server.url)
    with pytest.raises(RemoteError, match="has no index/list") as caught:
        web.list("index")
    assert "dvlite remote publish" in str(caught.value.hint)
    publish_list(remote)
    for folder in ("index", "packs", "roots"):
        here = [(one.name, one.size) for one in remote.backend.list(folder)]
        assert [(one.name, one.size) for one in web.list(folder)] == [
            one for one in here if one[0] != "index/list"
        ]
    assert "dvlite.json" in [one.name for one in web.list("")]
    assert web.list("pack") == []


# -- a remote on it --------------------------------------------------------------------------------


def _pushed(server: WebServer, cache: Cache, seed: int = 1) -> Remote:
    remote = open_remote("r", open_backend(str(server.folder)), create=True)
    push(remote, cache, [add_tree(cache, sample_files(seed))])
    return remote


@pytest.mark.parametrize("ranges", [True, False])
def test_a_fetch_brings_every_byte(
    server: WebServer, cache: Cache, fresh: Callable[[], Cache], ranges: bool
) -> None:
    files = sample_files()
    root = add_tree(cache, files)
    remote = open_remote("r", open_backend(str(server.folder)), create=True)
    push(remote, cache, [root])
    publish_list(remote)
    server.conduct.ranges = ranges
    other = fresh()
    far = open_remote("web", open_backend(server.url, {"retries": "0"}))
    wanted = [Wanted(root.kind, root.oid, root.size, root.files, root.label)]
    report = fetch([far], other, wanted)
    assert not report.absent and not report.damaged
    assert contents(other, root) == files
    if not ranges:  # each pack comes a few times at most, not once a range
        packs = [path for path, _ in server.conduct.requests if path.startswith("/packs/")]
        assert len(packs) <= 2 * len(set(packs)) + 4


def test_a_place_without_a_remote_says_so(server: WebServer) -> None:
    with pytest.raises(NotMade) as caught:
        open_remote("web", open_backend(server.url))
    assert "push" not in str(caught.value).lower()


def test_a_server_that_shows_a_page_for_everything_is_no_remote(server: WebServer) -> None:
    server.conduct.soft_404 = True
    backend = open_backend(server.url)
    with pytest.raises(RemoteError, match="not a dvlite remote's"):
        open_remote("web", backend)
    with pytest.raises(CorruptError, match="no list of a remote's names"):
        backend.list("index")


# -- servers that misbehave ------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_passing_trouble_is_tried_again(server: WebServer, status: int) -> None:
    put(server, "a", b"12345", "")
    server.conduct.failures["a"] = [status, status]
    assert open_backend(server.url).read("a") == b"12345"
    server.conduct.failures["a"] = [status]
    with pytest.raises(RemoteError, match=f"{status}.*tried 1 times"):
        open_backend(server.url, {"retries": "0"}).read("a")


@pytest.mark.parametrize("status", [400, 401, 403, 405])
def test_lasting_trouble_is_not(server: WebServer, status: int) -> None:
    server.conduct.refuse_all = status
    with pytest.raises(RemoteError, match=str(status)):
        open_backend(server.url).read("a")
    assert len(server.conduct.requests) == 1


@pytest.mark.parametrize("begin", [10, len(DATA) - 500])
def test_a_long_file_that_breaks_off_without_ranges_is_asked_for_again(
    server: WebServer, monkeypatch: pytest.MonkeyPatch, begin: int
) -> None:
    monkeypatch.setattr(webbackend, "_KEPT_BYTES", 100)
    put(server, "a", DATA, "")
    web = open_backend(server.url)
    server.conduct.ranges, server.conduct.break_off = False, 1
    assert web.read("a", begin, len(DATA) - begin) == DATA[begin:]


def test_an_answer_that_breaks_off_is_asked_for_again(server: WebServer) -> None:
    put(server, "a", DATA, "")
    web = open_backend(server.url)
    server.conduct.break_off = 1
    assert web.read("a") == DATA
    server.conduct.break_off = 1
    assert web.read("a", 10, 1000) == DATA[10:1010]
    server.conduct.ranges, server.conduct.break_off = False, 1
    assert web.read("a", 10, 1000) == DATA[10:1010]


def test_a_silent_server_is_given_up(server: WebServer) -> None:
    put(server, "a", DATA, "")
    server.conduct.silent = 1
    assert open_backend(server.url, {"timeout": "0.2"}).read("a") == DATA
    server.conduct.silent = 1
    with pytest.raises(RemoteError, match="silent"):
        open_backend(server.url, {"timeout": "0.2", "retries": "0"}).read("a")


def test_connections_are_used_again_and_one_that_was_closed_is_made_anew(
    server: WebServer,
) -> None:
    put(server, "a", DATA, "")
    web = open_backend(server.url, {"retries": "0"})
    assert web.read("a") == DATA
    server.conduct.silent = 1
    server.conduct.released.set()  # the server closes the connection instead of answering
    assert web.read("a") == DATA


def test_a_wrong_range_is_not_believed(server: WebServer) -> None:
    put(server, "a", DATA, "")
    server.conduct.wrong_ranges = True
    with pytest.raises(RemoteError, match="another range"):
        open_backend(server.url).read("a", 10, 10)


def test_compressed_answers_are_refused(server: WebServer) -> None:
    put(server, "a", DATA, "")
    server.conduct.encoding = "gzip"
    for offset, length in ((0, None), (5, 10)):
        with pytest.raises(RemoteError, match="encoding 'gzip'"):
            open_backend(server.url).read("a", offset, length)


def test_an_unreachable_server_is_named(server: WebServer) -> None:
    with pytest.raises(RemoteError, match="refused"):
        open_backend("http://127.0.0.1:1/x", {"retries": "0"}).read("a")


def test_what_came_damaged_is_not_kept(server: WebServer) -> None:
    """A server without ranges: whole files are kept for their other ranges, but only good ones."""
    from blake3 import blake3

    name = pack_name(blake3(DATA).digest())
    server.conduct.ranges = False
    web = open_backend(server.url)
    put(server, name, DATA[::-1], "")
    assert web.read(name, 0, 5) == DATA[::-1][:5]
    put(server, name, DATA, "")
    assert web.read(name, 0, 5) == DATA[:5]
    count = len(server.conduct.requests)
    assert web.read(name, 100, 5) == DATA[100:105]
    assert len(server.conduct.requests) == count


# -- redirects -------------------------------------------------------------------------------------


def test_redirects_are_followed(server: WebServer, tmp_path: Path) -> None:
    with serve(tmp_path / "other") as other:
        put(other, "deep/a", DATA, "")
        server.conduct.redirects["/store/"] = f"{other.url}/deep/"
        web = open_backend(f"{server.url}/store")
        assert web.read("a", 10, 20) == DATA[10:30]
        server.conduct.redirects["/store/"] = "/here/"
        put(server, "here/a", b"relative", "")
        assert web.read("a") == b"relative"


@pytest.mark.parametrize(
    "place", ["file:///etc/hostname?", "ftp://127.0.0.1/", "gopher://x/", "http://:80/", "//[", ""]
)
def test_redirects_to_anything_else_are_refused(server: WebServer, place: str) -> None:
    server.conduct.redirects["/"] = place
    with pytest.raises(RemoteError, match="redirects"):
        open_backend(server.url, {"retries": "0"}).read("a")


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example.org"])
def test_a_host_that_cannot_be_is_an_error_and_no_bug(server: WebServer, host: str) -> None:
    server.conduct.redirects["/"] = f"http://{host}/"
    for url in (server.url, f"http://{host}/x"):
        with pytest.raises(RemoteError, match="a host that cannot be"):
            open_backend(url, {"retries": "0"}).read("a")


def test_redirects_have_an_end(server: WebServer) -> None:
    server.conduct.redirects["/"] = "/x/"
    with pytest.raises(RemoteError, match="redirects without end"):
        open_backend(server.url).read("a")
    assert len(server.conduct.requests) < 10


def test_a_password_goes_to_its_own_server_only(server: WebServer, tmp_path: Path) -> None:
    with serve(tmp_path / "other") as other:
        put(other, "a", DATA, "")
        server.conduct.redirects["/"] = f"{other.url}/"
        web = open_backend(server.url.replace("//", "//me:secret@"))
        assert web.read("a") == DATA
        assert "secret" not in web.url
        assert server.conduct.users == ["Basic bWU6c2VjcmV0"]
        assert other.conduct.users == [None]


# -- proxies, certificates, options ----------------------------------------------------------------


def test_a_proxy_is_used(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    put(server, "a", DATA, "")
    web = open_backend("http://data.invalid:8080", {"proxy": server.url, "retries": "0"})
    assert web.read("a") == DATA
    assert server.conduct.requests[-1][0] == "http://data.invalid:8080/a"
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.url)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "localhost")
    assert open_backend("http://127.0.0.1:1", {"retries": "0"}).read("a") == DATA
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with pytest.raises(RemoteError, match="refused"):
        open_backend("http://127.0.0.1:1", {"retries": "0"}).read("a")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    command = ["openssl", *words.split(), *names, *files]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def test_https_needs_a_certificate_that_is_known(tmp_path: Path, certificate: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "cert", certificate / "key")
    with ExitStack() as stack:
        server = stack.enter_context(serve(tmp_path / "secure", tls))
        plain = stack.enter_context(serve(tmp_path / "plain"))
        put(server, "a", DATA, "")
        put(plain, "a", DATA, "")
        with pytest.raises(RemoteError, match="certificate") as caught:
            open_backend(server.url).read("a")
        assert "ca_bundle" in str(caught.value.hint)
        options = {"ca_bundle": str(certificate / "cert")}
        assert open_backend(server.url, options).read("a", 10, 20) == DATA[10:30]
        server.conduct.redirects["/"] = f"{plain.url}/"
        with pytest.raises(RemoteError, match="does not follow"):
            open_backend(server.url, options).read("a")
        plain.conduct.redirects["/"] = f"{server.url}/"
        server.conduct.redirects.clear()
        assert open_backend(plain.url, options).read("a") == DATA


def test_a_password_of_netrc_is_for_https_only(
    server: WebServer, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    os.chmod(tmp_path / ".netrc", 0o600)
    put(server, "a", DATA, "")
    assert open_backend(server.url).read("a") == DATA
    assert server.conduct.users == [None]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "cert", certificate / "key")
    with serve(tmp_path / "secure", tls) as secure:
        put(secure, "a", DATA, "")
        open_backend(secure.url, {"ca_bundle": str(certificate / "cert")}).read("a")
        assert secure.conduct.users == ["Basic bWU6c2VjcmV0"]


@pytest.mark.parametrize(
    "url",
    ["http://", "http:///path", "https://host:port/", "http://host/x?query", "http://host/#part"],
)
def test_urls_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_backend(url)


@pytest.mark.parametrize(
    "options",
    [
        {"password": "x"},
        {"timeout": "0"},
        {"timeout": "nan"},
        {"ca_bundle": "/no/such/file"},
        {"proxy": "socks5://host"},
        {"proxy": "http://"},
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        open_backend("http://127.0.0.1:1", options)


def test_the_list_is_asked_for_past_caches(server: WebServer, cache: Cache) -> None:
    publish_list(_pushed(server, cache))
    backend = open_backend(server.url)
    assert read_index(backend)
    assert server.conduct.requests == [("/index/list", "bytes=0-262143")]
