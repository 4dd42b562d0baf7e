"""Remotes behind SSH: who is let in, who is believed, and servers that can little or lie."""

from __future__ import annotations

import getpass
import shutil
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend, NotThere, open_backend
from dvlite.storage.retrying import RetryingBackend
from dvlite.storage.sftp import Broken, Fields, Kind, Refused, Session, names
from dvlite.storage.sftpbackend import SftpBackend
from tests.repositories import Repository
from tests.servers import sftp
from tests.servers.sftp import SftpServer


def opened(server: SftpServer, path: Path, **options: str) -> Backend:
    given = {**server.options, "retries": "1", **options}
    return open_backend(server.url(path), {key: text for key, text in given.items() if text})


@pytest.fixture
def own_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives `ssh` another configuration than the user's (it does not look at HOME)."""

    def use(config: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "config").write_text(config)
        program = folder / "ssh"
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(folder), prepend=":")

    return use


def test_an_unknown_host_key_is_refused(sftp_server: SftpServer, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.write_text("")
    with pytest.raises(RemoteError, match=r"host key .* is not known") as caught:
        opened(sftp_server, tmp_path / "r", known_hosts=str(nobody)).read("a")
    assert "accept it" in str(caught.value.hint)
    assert "tried" not in str(caught.value)
    assert nobody.read_text() == ""


def test_another_host_key_than_the_known_one_is_refused(
    sftp_server: SftpServer, tmp_path: Path
) -> None:
    key = sftp.make_key(tmp_path / "other")
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{sftp_server.port} {key}\n")
    with pytest.raises(RemoteError, match="another host key") as caught:
        opened(sftp_server, tmp_path / "r", known_hosts=str(known)).write("a", b"secret")
    assert "tried" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_a_careless_configuration_does_not_let_a_stranger_in(
    sftp_server: SftpServer, tmp_path: Path, own_ssh: Callable[[str], None]
) -> None:
    own_ssh(f"StrictHostKeyChecking no\nUserKnownHostsFile {tmp_path}/none\n")
    with pytest.raises(RemoteError, match=r"host key .* is not known"):
        opened(sftp_server, tmp_path / "r", known_hosts="").read("a")


def test_the_user_s_ssh_configuration_counts(
    sftp_server: SftpServer, tmp_path: Path, own_ssh: Callable[[str], None]
) -> None:
    own_ssh(
        "Host depot\n"
        "    HostName 127.0.0.1\n"
        f"    Port {sftp_server.port}\n"
        f"    User {getpass.getuser()}\n"
        f"    IdentityFile {sftp_server.keyfile}\n"
        f"    UserKnownHostsFile {sftp_server.known_hosts}\n"
        "    RemoteCommand echo no\n"
        "    RequestTTY yes\n"
    )
    backend = open_backend(f"ssh://depot{tmp_path}/r")
    backend.write("a", b"1")
    assert (tmp_path / "r" / "a").read_bytes() == b"1"


def test_a_key_that_is_not_let_in_fails_at_once(sftp_server: SftpServer, tmp_path: Path) -> None:
    sftp.make_key(tmp_path / "stranger")
    with pytest.raises(RemoteError, match="does not let you in") as caught:
        opened(sftp_server, tmp_path / "r", keyfile=str(tmp_path / "stranger")).read("a")
    assert "ssh-add" in str(caught.value.hint)
    assert "tried" not in str(caught.value)


def test_nobody_listening_is_tried_again_and_then_said(
    sftp_server: SftpServer, tmp_path: Path
) -> None:
    with pytest.raises(RemoteError, match=r"refused.*tried 2 times"):
        opened(sftp_server, tmp_path / "r", port="9").read("a")


def test_without_ssh_it_is_named(
    sftp_server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteError, match="program ssh") as caught:
        opened(sftp_server, tmp_path / "r").read("a")
    assert "openssh-client" in str(caught.value.hint)


@pytest.mark.parametrize(
    "url",
    [
        "sftp://-oProxyCommand=touch x/folder",
        "sftp://-x@host/folder",
        "sftp://$(touch x)/folder",
        "sftp://a;b/folder",
        "sftp://`b`@host/folder",
        "sftp://@host/folder",
        "sftp:///folder",
        "sftp://host",
        "sftp://host/",
        "sftp://host:0/folder",
        "sftp://host:22x/folder",
        "sftp://user:word@host/folder",
    ],
)
def test_a_url_that_is_no_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        open_backend(url)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("password", "x"),
        ("proxycommand", "touch x"),
        ("port", "-1"),
        ("user", "-oProxyCommand=x"),
        ("timeout", "nan"),
        ("connections", "0"),
        ("ask", "maybe"),
        ("keyfile", "id_rsa"),
        ("keyfile", "/nobody/has/this"),
        ("known_hosts", '/tmp/" x'),
    ],
)
def test_an_option_that_cannot_be_is_refused(option: str, value: str) -> None:
    with pytest.raises(UsageError):
        open_backend("sftp://host/folder", {option: value})


def test_a_folder_that_is_not_there_is_not_an_empty_remote(
    sftp_server: SftpServer, tmp_path: Path
) -> None:
    with pytest.raises(RemoteError, match="does not exist"):
        opened(sftp_server, tmp_path / "gone").list("index")


def test_what_may_not_be_written_is_refused_at_once(tmp_path: Path, sftp_server: object) -> None:
    with sftp.server(tmp_path / "server", "internal-sftp -R") as server:
        with pytest.raises(RemoteError, match="refuses access") as caught:
            opened(server, tmp_path / "r").write("a", b"1")
        assert "tried" not in str(caught.value)


def test_a_server_with_the_least_of_sftp_is_enough(tmp_path: Path, sftp_server: object) -> None:
    few = "internal-sftp -P posix-rename,hardlink,fsync,statvfs,fstatvfs,limits"
    with sftp.server(tmp_path / "server", few) as server:
        backend = opened(server, tmp_path / "r")
        data = bytes(range(256)) * 4000
        backend.write("packs/ab/x", b"old")
        backend.write("packs/ab/x", data)
        assert backend.read("packs/ab/x") == data
        assert backend.write_if_absent("index/a", b"first")
        assert not backend.write_if_absent("index/a", b"second")
        assert backend.read("index/a") == b"first"
        assert backend.list("tmp") == []
        assert isinstance(backend, RetryingBackend) and isinstance(backend.inner, SftpBackend)
        with backend.inner._logins.one() as login:
            assert "posix-rename@openssh.com" not in login.session.extensions


@pytest.mark.parametrize("unsaid", ["mode", "size"])
def test_a_listing_that_does_not_tell_what_is_there_is_refused(
    sftp_server: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unsaid: str
) -> None:
    """What it shows would be passed over as if it were not there."""
    backend, whole = opened(sftp_server, tmp_path / "r"), Fields.attributes
    backend.write("index/a", b"1")
    monkeypatch.setattr(Fields, "attributes", lambda one: whole(one)._replace(**{unsaid: -1}))
    with pytest.raises(RemoteError, match="does not tell what"):
        backend.list("index")


def test_of_many_that_create_a_name_one_does(sftp_server: SftpServer, tmp_path: Path) -> None:
    backend = opened(sftp_server, tmp_path / "r")
    made: list[int] = []

    def create(number: int) -> None:
        if backend.write_if_absent("index/gc-1", b"%d" % number):
            made.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert backend.read("index/gc-1") == b"%d" % made[0]
    assert [item.name for item in backend.list("")] == ["index/gc-1"]


def test_a_connection_that_died_is_replaced(sftp_server: SftpServer, tmp_path: Path) -> None:
    backend = opened(sftp_server, tmp_path / "r")
    backend.write("a", b"1")
    assert isinstance(backend, RetryingBackend) and isinstance(backend.inner, SftpBackend)
    (login,) = backend.inner._logins._idle
    login.line.process.kill()
    login.line.process.wait()
    assert backend.read("a") == b"1"


def test_a_name_that_is_a_folder_is_an_error_and_no_hang(
    sftp_server: SftpServer, tmp_path: Path
) -> None:
    backend = opened(sftp_server, tmp_path / "r")
    backend.write("packs/ab/x", b"1")
    with pytest.raises(RemoteError, match="refuses packs"):
        backend.write("packs", b"1")
    assert backend.read("packs/ab/x") == b"1"
    assert backend.list("tmp") == []
    with pytest.raises(NotThere):
        backend.read("packs/ab/x/y")


def test_the_main_job_works_over_ssh(
    repository: Repository, sftp_server: SftpServer, tmp_path: Path
) -> None:
    repository.set_remote(sftp_server.url(tmp_path / "far" / "store"))
    for option, text in sftp_server.options.items():
        repository.dvlite("config", "--local", f"remote.store.{option}", text)
    large = bytes(range(256)) * 4000
    repository.add_and_commit({"data/a.txt": b"first", "data/big.bin": large}, "data")
    assert "pushed to store" in repository.dvlite("push").out
    assert "everything is on store" in repository.dvlite("push").out
    repository.share()
    clone = repository.clone("clone")
    for option, text in sftp_server.options.items():
        clone.dvlite("config", "--local", f"remote.store.{option}", text)
    clone.dvlite("pull")
    assert clone.read("data/a.txt") == b"first"
    assert clone.read("data/big.bin") == large
    clone.dvlite("remote", "check", "--full")


@pytest.mark.root
def test_a_full_disk_is_told_and_shows_no_half_files(
    sftp_server: SftpServer, small_disk: Path
) -> None:
    backend = opened(sftp_server, small_disk / "r")
    backend.write("packs/ab/x", bytes(2_000_000))
    with pytest.raises(RemoteError, match=r"has [0-9] MiB left") as caught:
        backend.write("packs/cd/y", bytes(20_000_000))
    assert "free some space" in str(caught.value.hint)
    assert "tried" not in str(caught.value)
    assert [item.name for item in backend.list("")] == ["packs/ab/x"]
    backend.write("packs/cd/z", bytes(2_000_000))


# -- servers that lie ------------------------------------------------------------------------------


def message(kind: int, body: bytes) -> bytes:
    return struct.pack(">IB", 1 + len(body), kind) + body


GREETING = message(Kind.VERSION, struct.pack(">I", 3))


def data(number: int, content: bytes) -> bytes:
    return message(Kind.DATA, struct.pack(">II", number, len(content)) + content)


def status(number: int, code: int) -> bytes:
    return message(Kind.STATUS, struct.pack(">II", number, code))


@pytest.fixture
def lying() -> Any:
    """A session with a server that says what it is told to, whatever it is asked."""
    ends = []

    def say(answers: bytes, greeting: bytes = GREETING) -> Session:
        ours, theirs = socket.socketpair()
        ends.extend([ours, theirs])
        theirs.sendall(greeting + answers)
        theirs.shutdown(socket.SHUT_WR)
        threading.Thread(target=swallow, args=(theirs,)).start()
        ours.settimeout(30)
        return Session(ours)

    yield say
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()


def swallow(stream: socket.socket) -> None:
    with suppress(OSError):
        while stream.recv(1 << 16):
            pass


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"Welcome to this server!\r\n",
        message(Kind.VERSION, struct.pack(">I", 2)),
        message(Kind.VERSION, b"\0\0"),
        message(Kind.VERSION, struct.pack(">II", 3, 1 << 31) + b"x"),
        struct.pack(">IB", 1 << 31, Kind.VERSION),
    ],
)
def test_a_greeting_that_is_none_breaks_the_connection(lying: Any, greeting: bytes) -> None:
    with pytest.raises(Broken):
        lying(b"", greeting)


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        data(2, b"x"),  # to a request that nobody made
        data(1, b"x" * 11),  # more than was asked for
        data(1, b""),
        data(1, b"12345")[:-2],
        message(Kind.DATA, struct.pack(">II", 1, 4) + b"12345"),
        message(Kind.DATA, struct.pack(">I", 1)),
        struct.pack(">IBI", 1 << 30, Kind.DATA, 1),
        struct.pack(">IB", 0, Kind.DATA),
        message(Kind.STATUS, struct.pack(">I", 1)),
    ],
)
def test_data_that_was_not_asked_for_breaks_the_connection(lying: Any, answers: bytes) -> None:
    with pytest.raises(Broken):
        lying(answers).read(b"h", 0, 10)


def test_short_answers_are_put_together(lying: Any) -> None:
    session = lying(data(1, b"123") + data(2, b"4567") + data(3, b"890"))
    assert session.read(b"h", 0, 10) == b"1234567890"
    session = lying(data(1, b"123") + status(2, 1))
    assert session.read(b"h", 0, 10) == b"123"


def test_a_refused_read_leaves_the_connection_in_step(lying: Any) -> None:
    session = lying(data(1, b"x" * 32768) + status(2, 4) + data(3, b"y" * 100) + data(4, b"z"))
    with pytest.raises(Refused):
        session.read(b"h", 0, 65636)
    assert session.read(b"h", 0, 1) == b"z"


def test_a_refused_write_leaves_the_connection_in_step(lying: Any) -> None:
    session = lying(status(1, 0) + status(2, 4) + status(3, 0) + data(4, b"z"))
    with pytest.raises(Refused):
        session.write(b"h", bytes(3 * 32768))
    assert session.read(b"h", 0, 1) == b"z"


def test_a_listing_that_promises_more_than_it_holds_is_refused() -> None:
    with pytest.raises(Broken):
        names(struct.pack(">I", 0xFFFFFFFF) + struct.pack(">I", 1) + b"a")
