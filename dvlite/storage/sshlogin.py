"""Logging in to an SSH server, with the user's own `ssh` program.

Owns which server, user and keys a remote means, how `ssh` is started for it, and what its last
words mean. Everything that OpenSSH knows works for a remote as it does for git: ~/.ssh/config,
agents, hardware keys, certificates, jump hosts. A host key that is not known is always refused,
whatever the configuration says: data must not go to a stranger.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import IO, Any

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import TransientError
from dvlite.storage.sftp import Broken, Session

# A host or user goes to a program, and into the shell commands of a ~/.ssh/config: no option, and
# nothing that a shell reads (CVE-2017-1000117, CVE-2023-51385).
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\Z|\[[0-9A-Fa-f:.]+\]\Z")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]*\Z")
_MAX_TIMEOUT_S = 3600.0
# Somebody has to find and type a password.
_TYPING_S = 300.0
# The program says why it ended at once; a moment for it to end.
_ENDING_S = 5.0
_MAX_WORDS = 4000
# Of a message: what trying again may mend. Everything else that ends `ssh` is lasting.
_PASSING = (
    "Connection refused",
    "Connection reset",
    "Connection closed",
    "Connection timed out",
    "Operation timed out",
    "timed out",
    "No route to host",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "kex_exchange_identification",
    "Broken pipe",
    "not responding",
)
_FIXED = (
    "StrictHostKeyChecking=yes",
    "ClearAllForwardings=yes",
    "ControlMaster=no",
    "Compression=no",  # packs are compressed
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "LogLevel=ERROR",
)


@dataclass(frozen=True, slots=True)
class SftpOptions:
    """Validated options; see docs/commands.md for what each does. `timeout`: seconds."""

    user: str = ""
    port: str = ""
    keyfile: str = ""
    known_hosts: str = ""
    ask: bool = False
    connections: int = 4
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a remote is: a server (its name may be of ~/.ssh/config), and a folder there."""

    host: str
    user: str
    port: str
    folder: str


def sftp_options(given: Mapping[str, str]) -> SftpOptions:
    """Reads a remote's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    known = {field.name: field for field in fields(SftpOptions)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("password", "passphrase"):
            raise UsageError(
                "an SSH remote takes no password from the settings",
                "use a key and an agent (ssh-add); or let ssh ask: dvlite config "
                "remote.NAME.ask true",
            )
        if name not in known:
            raise UsageError(
                f"an SSH remote has no option {name}", "known: " + ", ".join(sorted(known))
            )
        values[name] = _value(name, value, known[name].default)
    return SftpOptions(**values)


def place_of(url: str, options: SftpOptions) -> Place:
    """What a URL `sftp://[user@]host[:port]/path` means; `/~/` is the user's home.

    Raises:
        UsageError: it cannot be.
    """
    authority, slash, path = url.partition("://")[2].partition("/")
    who, at, server = authority.rpartition("@")
    host, _, port = server.partition(":") if not server.startswith("[") else _bracketed(server)
    if ":" in who:
        raise UsageError(
            "a password in the URL of an SSH remote is not used",
            "use a key and an agent (ssh-add)",
        )
    user = options.user or who
    if not _HOST.match(host) or (user and not _USER.match(user)) or (at and not who):
        raise UsageError(
            f"{url} names no server that can be", "sftp://HOST/PATH or sftp://USER@HOST:PORT/PATH"
        )
    port = options.port or port
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"the port {port!r} of the remote is no number from 1 to 65535")
    folder = path[2:] if path.startswith("~/") else path if path == "~" else slash + path
    if not folder.strip("/"):
        raise UsageError(f"{url} names no folder", "sftp://HOST/PATH, or sftp://HOST/~/PATH")
    return Place(host.strip("[]"), user, port, "." if folder == "~" else folder.rstrip("/"))


@dataclass(frozen=True, slots=True)
class Line:
    """A running `ssh`, the stream to it, and the file with what it says for people."""

    process: subprocess.Popen[bytes]
    stream: socket.socket
    said: IO[bytes]

    def close(self, patience_s: float = 0.0) -> None:
        """Ends it; it may take so long to end by itself."""
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_WR)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(patience_s)
        self.stream.close()
        self.process.kill()
        self.process.wait()

    def explained(self, error: Broken, url: str) -> RemoteError:
        """Why it broke, from the last words of `ssh`; it is ended."""
        self.close(_ENDING_S)
        self.said.seek(0)
        return _meaning(self.said.read(_MAX_WORDS).decode("utf-8", "replace").strip(), error, url)


@dataclass(frozen=True, slots=True)
class Login:
    """A connection, and the line it goes over."""

    session: Session
    line: Line


def log_in(place: Place, options: SftpOptions, url: str) -> Login:
    """A new connection to the server.

    Raises:
        RemoteError: there is no `ssh`, or it or the server refuses. TransientError: not this time.
    """
    line = _start(command(place, options))
    try:
        line.stream.settimeout(_TYPING_S if options.ask else options.timeout)
        session = Session(line.stream)
        line.stream.settimeout(options.timeout)
    except Broken as error:
        raise line.explained(error, url) from None
    except BaseException:
        line.close()
        raise
    return Login(session, line)


def _start(words: list[str]) -> Line:
    ours, theirs = socket.socketpair()
    said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
    try:
        process = subprocess.Popen(
            words, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=said.fileno()
        )
    except FileNotFoundError:
        ours.close()
        raise RemoteError(
            "SSH remotes need the program ssh, which is not installed",
            "install OpenSSH's client (openssh-client)",
        ) from None
    finally:
        theirs.close()
    return Line(process, ours, said)


def command(place: Place, options: SftpOptions) -> list[str]:
    """How `ssh` is called."""
    count = max(1, round(options.timeout / 15))
    settings = [
        *_FIXED,
        f"BatchMode={'no' if options.ask else 'yes'}",
        f"ConnectTimeout={max(1, round(min(options.timeout, 20)))}",
        "ServerAliveInterval=15",
        f"ServerAliveCountMax={count}",
    ]
    if options.known_hosts:
        settings += [f"UserKnownHostsFile={_quoted(options.known_hosts)}"]
        settings += ["GlobalKnownHostsFile=/dev/null"]
    if options.keyfile:
        settings += [f"IdentityFile={_quoted(options.keyfile)}", "IdentitiesOnly=yes"]
    words = ["ssh", "-x", "-a", "-T"]
    for setting in settings:
        words += ["-o", setting]
    words += ["-p", place.port] if place.port else []
    words += ["-l", place.user] if place.user else []
    return [*words, "-s", "--", place.host, "sftp"]


def _meaning(words: str, error: Broken, url: str) -> RemoteError:
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in words:
        return RemoteError(
            f"the server of the remote {url} shows another host key than the known one",
            "somebody may be in between; if the server is new, ask its owner for the key and "
            "remove the old one: ssh-keygen -R HOST",
        )
    if "Host key verification failed" in words or "host key is known for" in words:
        return RemoteError(
            f"the host key of the server of the remote {url} is not known",
            "log in once with ssh, compare the fingerprint and accept it; or add the key to "
            "~/.ssh/known_hosts",
        )
    if "Permission denied" in words or "Too many authentication failures" in words:
        return RemoteError(
            f"the server of the remote {url} does not let you in: {_last(words)}",
            "does `ssh` work there without a question? load the key into an agent (ssh-add), or "
            "set remote.NAME.keyfile",
        )
    if not words or any(one in words for one in _PASSING):
        return TransientError(f"the remote {url} breaks off: {_last(words) or error}")
    return RemoteError(
        f"the remote {url} cannot be reached: {_last(words)}",
        "does `sftp` work there? the remote's URL: dvlite remote list",
    )


def _last(words: str) -> str:
    return words.splitlines()[-1].strip() if words else ""


def _bracketed(server: str) -> tuple[str, str, str]:
    host, _, port = server.partition("]")
    return host + "]", "", port.removeprefix(":")


def _value(name: str, value: str, default: object) -> object:
    if isinstance(default, bool):
        if value not in ("true", "false"):
            raise UsageError(f"the remote's option {name} is {value!r}", "one of: true, false")
        return value == "true"
    if isinstance(default, int):
        if not (value.isascii() and value.isdigit() and 1 <= int(value) <= 64):
            raise UsageError(f"the remote's option {name} is {value!r}, not a number from 1 to 64")
        return int(value)
    if isinstance(default, float):
        return _seconds(name, value)
    if name in ("keyfile", "known_hosts"):
        _check_path(name, value)
    return value


def _seconds(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_TIMEOUT_S:
        raise UsageError(f"the remote's option {name} is {value!r}, not a number of seconds")
    return number


def _check_path(name: str, value: str) -> None:
    path = os.path.expanduser(value)
    if not os.path.isabs(path) or set(path) & set('"\\\n\0$'):
        raise UsageError(f"the remote's option {name} is no absolute path: {value}")
    if not os.path.isfile(path):
        raise UsageError(f"the remote's option {name} names no file: {value}")


def _quoted(path: str) -> str:
    """A path as a value of `ssh -o`, which splits words and replaces what follows a `%`."""
    return '"' + os.path.expanduser(path).replace("%", "%%") + '"'
