"""A remote on a server that is reached by SSH.

Owns what a remote's requests are in SFTP: a file is written under another name and then renamed,
so that it appears whole; and which of several connections does it.
"""

from __future__ import annotations

import posixpath
import secrets
import stat
import struct
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from dvlite.errors import RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError
from dvlite.storage.sftp import (
    OPEN_NEW,
    OPEN_READ,
    Attributes,
    Broken,
    Code,
    Fields,
    Kind,
    Refused,
    Session,
    names,
    text,
)
from dvlite.storage.sshlogin import Login, SftpOptions, log_in, place_of, sftp_options

T = TypeVar("T")

_RENAME_OVER = "posix-rename@openssh.com"
_SYNC = "fsync@openssh.com"
_SPACE = "statvfs@openssh.com"
_NO_ATTRIBUTES = struct.pack(">I", 0)
# A remote's own layout is three deep; a server that shows folders without end is stopped.
_MAX_DEPTH = 16
# A pack has at most 4 GiB - 1 (docs/formats.md); a server that names more is not believed.
_MAX_BYTES = (4 << 30) - 1
_FOLDERS_AT_ONCE = 64
_LITTLE_SPACE = 128 << 20


class SftpBackend(Backend):
    """A remote behind SSH. See Backend for what the methods do."""

    def __init__(self, url: str, given: dict[str, str]) -> None:
        options = sftp_options(given)
        place = place_of(url, options)
        self.url = url
        self._root = place.folder
        self._logins = _Logins(url, options, lambda: log_in(place, options, url))
        weakref.finalize(self, self._logins.close)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        return bytes(self._guard(name, lambda one: self._read(one, name, offset, length)))

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        return self._guard(name, lambda one: self._read(one, name, offset, length))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""

        def put(session: Session) -> None:
            with self._written(session, data) as temporary:
                self._with_folder(session, name, lambda: self._replace(session, temporary, name))

        self._guard(name, put)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend. By SFTP's own rename, which refuses to replace (OpenSSH: by a link)."""

        def put(session: Session) -> bool:
            with self._written(session, data) as temporary:
                try:
                    self._with_folder(session, name, lambda: self._rename(session, temporary, name))
                except Refused as error:
                    if error.code != Code.FAILURE or not self._exists(session, name):
                        raise
                    session.tell(Kind.REMOVE, self._path(temporary))
                    return False
                return True

        return self._guard(name, put)

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""
        return self._guard(folder, lambda one: sorted(self._walk(one, folder)))

    def delete(self, name: str) -> None:
        """See Backend."""

        def remove(session: Session) -> None:
            reply = session.ask(Kind.REMOVE, self._path(name))
            with _ignoring(Code.NO_SUCH_FILE):
                reply.raise_unless(Kind.STATUS)

        self._guard(name, remove)

    # -- reading -----------------------------------------------------------------------------------

    def _read(self, session: Session, name: str, offset: int, length: int | None) -> memoryview:
        path = self._path(name)
        opened, known = session.ask_all(
            [
                (Kind.OPEN, path + struct.pack(">I", OPEN_READ) + _NO_ATTRIBUTES),
                (Kind.STAT, path),
            ]
        )
        handle = Fields(opened.raise_unless(Kind.HANDLE)).text()
        try:
            size = Fields(known.raise_unless(Kind.ATTRS)).attributes().size
            if not 0 <= size <= _MAX_BYTES:
                raise RemoteError(f"the remote {self.url} says that {name} has {size} bytes")
            begin = offset if offset >= 0 else max(0, size + offset)
            end = size if length is None else min(size, begin + length)
            return session.read(handle, begin, max(0, end - begin))
        finally:
            session.tell(Kind.CLOSE, text(handle))

    # -- writing -----------------------------------------------------------------------------------

    @contextmanager
    def _written(self, session: Session, data: bytes | memoryview) -> Iterator[str]:
        """A new file with those bytes, durable where the server can; removed after a refusal."""
        temporary = f"tmp/{secrets.token_hex(12)}"
        handle = self._with_folder(session, temporary, lambda: self._create(session, temporary))
        try:
            try:
                session.write(handle, data)
                if _SYNC in session.extensions:
                    session.extended(_SYNC, text(handle)).raise_unless(Kind.STATUS)
            finally:
                session.ask(Kind.CLOSE, text(handle)).raise_unless(Kind.STATUS)
            yield temporary
        except Refused:
            session.tell(Kind.REMOVE, self._path(temporary))
            raise

    def _create(self, session: Session, name: str) -> bytes:
        reply = session.ask(
            Kind.OPEN, self._path(name), struct.pack(">I", OPEN_NEW), _NO_ATTRIBUTES
        )
        return Fields(reply.raise_unless(Kind.HANDLE)).text()

    def _replace(self, session: Session, temporary: str, name: str) -> None:
        """Renames over what is there. A server that cannot has a moment without the name."""
        if _RENAME_OVER in session.extensions:
            paths = self._path(temporary), self._path(name)
            session.extended(_RENAME_OVER, *paths).raise_unless(Kind.STATUS)
            return
        try:
            self._rename(session, temporary, name)
        except Refused as error:
            if error.code != Code.FAILURE or not self._exists(session, name):
                raise
            session.ask(Kind.REMOVE, self._path(name)).raise_unless(Kind.STATUS)
            self._rename(session, temporary, name)

    def _rename(self, session: Session, temporary: str, name: str) -> None:
        reply = session.ask(Kind.RENAME, self._path(temporary), self._path(name))
        reply.raise_unless(Kind.STATUS)

    def _with_folder(self, session: Session, name: str, action: Callable[[], T]) -> T:
        """Does it; makes the name's folder first where that is what is missing."""
        try:
            return action()
        except Refused as error:
            if error.code != Code.NO_SUCH_FILE:
                raise
        self._make_folder(session, posixpath.dirname(self._full(name)))
        return action()

    def _make_folder(self, session: Session, path: str) -> None:
        for _ in range(2):
            reply = session.ask(Kind.MKDIR, _encoded(path), _NO_ATTRIBUTES)
            try:
                reply.raise_unless(Kind.STATUS)
                return
            except Refused as error:
                above = posixpath.dirname(path)
                if error.code == Code.FAILURE:  # it is there, or what uses it next says why not
                    return
                if error.code != Code.NO_SUCH_FILE or above in ("", path):
                    raise
                self._make_folder(session, above)

    def _exists(self, session: Session, name: str) -> bool:
        return session.ask(Kind.LSTAT, self._path(name)).kind == Kind.ATTRS

    # -- listing -----------------------------------------------------------------------------------

    def _walk(self, session: Session, folder: str) -> Iterator[Stored]:
        level = [folder]
        if not self._is_folder(session, folder):
            if self._is_folder(session, ""):
                return
            raise RemoteError(
                f"the remote folder {self.url} does not exist",
                "is the URL right? `dvlite push` makes a new remote's folder",
            )
        for _ in range(_MAX_DEPTH):
            deeper: list[str] = []
            for begin in range(0, len(level), _FOLDERS_AT_ONCE):
                for name, found in self._entries(session, level[begin : begin + _FOLDERS_AT_ONCE]):
                    self._refuse_unsaid(name, found)
                    if stat.S_ISDIR(found.mode):
                        deeper.append(name)
                    elif stat.S_ISREG(found.mode):
                        yield Stored(name, found.size, float(found.modified_s))
            level = deeper
            if not level:
                return
        raise RemoteError(f"the remote {self.url} has folders more than {_MAX_DEPTH} deep")

    def _is_folder(self, session: Session, folder: str) -> bool:
        reply = session.ask(Kind.STAT, self._path(folder))
        with _ignoring(Code.NO_SUCH_FILE):
            found = Fields(reply.raise_unless(Kind.ATTRS)).attributes()
            self._refuse_unsaid(folder, found)
            return stat.S_ISDIR(found.mode)
        return False

    def _refuse_unsaid(self, name: str, found: Attributes) -> None:
        """What is passed over in a listing looks as if it were not there."""
        if found.mode < 0 or (stat.S_ISREG(found.mode) and found.size < 0):
            raise RemoteError(f"the server of the remote {self.url} does not tell what {name} is")

    def _entries(
        self, session: Session, folders: Sequence[str]
    ) -> Iterator[tuple[str, Attributes]]:
        """What is in those folders; a round trip for all of them together."""
        opened = session.ask_all([(Kind.OPENDIR, self._path(one)) for one in folders])
        handles: dict[str, bytes] = {}
        for folder, reply in zip(folders, opened, strict=True):
            with _ignoring(Code.NO_SUCH_FILE):  # removed meanwhile
                handles[folder] = Fields(reply.raise_unless(Kind.HANDLE)).text()
        left = dict(handles)
        while left:
            replies = session.ask_all([(Kind.READDIR, text(handle)) for handle in left.values()])
            for folder, reply in zip(list(left), replies, strict=True):
                try:
                    found = names(reply.raise_unless(Kind.NAME))
                except Refused as error:
                    if error.code != Code.EOF:
                        raise
                    del left[folder]
                    continue
                yield from _named(folder, found)
        session.ask_all([(Kind.CLOSE, text(handle)) for handle in handles.values()])

    # -- all of them -------------------------------------------------------------------------------

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root or "/"

    def _path(self, name: str) -> bytes:
        return _encoded(self._full(name))

    def _guard(self, name: str, action: Callable[[Session], T]) -> T:
        with self._logins.one() as login:
            try:
                return action(login.session)
            except Refused as error:
                raise self._translated(name, error, login.session) from None

    def _translated(self, name: str, error: Refused, session: Session) -> RemoteError:
        if error.code == Code.NO_SUCH_FILE:
            return NotThere(f"{self.url}/{name} does not exist")
        if error.code == Code.PERMISSION_DENIED:
            return RemoteError(
                f"the remote {self.url} refuses access to {name}",
                "check the rights of its folder on the server",
            )
        if error.code in (Code.NO_CONNECTION, Code.CONNECTION_LOST):
            return TransientError(f"the remote {self.url} fails on {name}: {error}")
        left = self._space_left(session)
        if left is not None and left < _LITTLE_SPACE:
            return RemoteError(
                f"the remote {self.url} refuses {name}; its disk has {left >> 20} MiB left",
                "free some space there and run the command again; what arrived already counts",
            )
        return RemoteError(
            f"the remote {self.url} refuses {name}: {error}",
            "is each part of the path a folder there? what the server logs says more",
        )

    def _space_left(self, session: Session) -> int | None:
        """Bytes; a full disk is the usual reason of a refusal without one."""
        if _SPACE not in session.extensions:
            return None
        reply = session.extended(_SPACE, self._path(""))
        if reply.kind != Kind.EXTENDED_REPLY or len(reply.body) < 40:
            return None
        _, fragment, _, _, available = struct.unpack_from(">QQQQQ", reply.body)
        return int(fragment * available)


class _Logins:
    """Connections that are in use by one thread each, made when they are needed."""

    def __init__(self, url: str, options: SftpOptions, make: Callable[[], Login]) -> None:
        # more than one would ask for the password more than once
        most = 1 if options.ask else options.connections
        self._url, self._make = url, make
        self._free = threading.BoundedSemaphore(most)
        self._making, self._changing = threading.Lock(), threading.Lock()
        self._idle: list[Login] = []

    @contextmanager
    def one(self) -> Iterator[Login]:
        """A connection. It is used again unless it broke."""
        with self._free:
            login = self._taken()
            try:
                yield login
            except Broken as error:
                self.close()  # the others are of the same server, and as old
                raise login.line.explained(error, self._url) from None
            except RemoteError:
                self._keep(login)
                raise
            except BaseException:
                login.line.close()
                raise
            self._keep(login)

    def close(self) -> None:
        """Ends those that nobody uses."""
        with self._changing:
            idle, self._idle = self._idle, []
        for login in idle:
            login.line.close()

    def _taken(self) -> Login:
        with self._changing:
            if self._idle:
                return self._idle.pop()
        with self._making:  # servers turn away many strangers at a time (sshd's MaxStartups: 10)
            return self._make()

    def _keep(self, login: Login) -> None:
        with self._changing:
            self._idle.append(login)


@contextmanager
def _ignoring(code: Code) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        if error.code != code:
            raise


def _named(
    folder: str, found: Sequence[tuple[bytes, Attributes]]
) -> Iterator[tuple[str, Attributes]]:
    """Names as a remote has them; what is no name of one file is not passed on."""
    for raw, attributes in found:
        with suppress(UnicodeDecodeError):
            name = raw.decode("utf-8")
            if name and name not in (".", "..") and "/" not in name and "\0" not in name:
                yield f"{folder}/{name}" if folder else name, attributes


def _encoded(path: str) -> bytes:
    return text(path.encode("utf-8", "surrogateescape"))
