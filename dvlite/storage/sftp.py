"""SFTP version 3, as OpenSSH speaks it (draft-ietf-secsh-filexfer-02, OpenSSH's PROTOCOL).

Owns the bytes of requests and replies on one connection, used by one thread at a time. Many
requests are on their way at once, so that a round trip is paid once and not for each of them.
What the server says is checked; what it means for a remote is not decided here.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

# 64 requests of 255 KiB fill a line of 1 Gbit/s with 130 ms of delay. Their replies to writes, and
# they themselves for reads, fit into the buffer of a socket, so the two ends never wait for room.
_AT_ONCE = 64
# What every server has to take (the draft's 32,768), where it does not tell more.
_LEAST_DATA = 32 << 10
# OpenSSH's own bound of a message is 256 KiB; nothing longer is read into memory.
_MAX_MESSAGE = 1 << 20
_MAX_DATA = 255 << 10
_STOPPED = "the connection was closed"
_NONSENSE = "the server's answer is not SFTP"


class Kind(IntEnum):
    """Of a message."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    STAT = 17
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """Of a status."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    UNSUPPORTED = 8


class Refused(Exception):
    """The server answers that it does not do it. The connection stays usable."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Broken(Exception):
    """The connection ended, was silent for too long, or brought what is no SFTP."""


class Attributes(NamedTuple):
    """Of a file. `mode` with its type; -1 where the server does not tell."""

    size: int
    mode: int
    modified_s: int


class Reply(NamedTuple):
    """A message from the server, without its length and number."""

    kind: int
    body: bytes

    def raise_unless(self, kind: Kind) -> bytes:
        """The body of a reply of that kind; for a status, one that is not an error."""
        if self.kind == Kind.STATUS:
            code, text = _status(self.body)
            if code != Code.OK or kind != Kind.STATUS:
                raise Refused(code, text)
        elif self.kind != kind:
            raise Broken(_NONSENSE)
        return self.body


OPEN_READ = 1
OPEN_NEW = 2 | 8 | 32  # write, create, exclusive


class Session:
    """One connection. Whoever gets Broken from a method must not use it again."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._number = 0
        self._unread: set[int] = set()
        self.extensions: dict[str, bytes] = {}
        self._write_bytes = self._read_bytes = _LEAST_DATA
        self._greet()

    # -- questions with one answer -----------------------------------------------------------------

    def ask(self, kind: Kind, *fields: bytes) -> Reply:
        """Sends a request and waits for its reply."""
        return self.ask_all([(kind, b"".join(fields))])[0]

    def ask_all(self, requests: Sequence[tuple[Kind, bytes]]) -> list[Reply]:
        """The replies to many requests, in their order."""
        numbers: dict[int, int] = {}
        replies: list[Reply] = [Reply(0, b"")] * len(requests)
        for position, (kind, body) in enumerate(requests):
            if len(numbers) == _AT_ONCE:
                self._take(numbers, replies)
            numbers[self._send(kind, body)] = position
        while numbers:
            self._take(numbers, replies)
        return replies

    def tell(self, kind: Kind, *fields: bytes) -> None:
        """Sends a request whose reply nobody waits for."""
        if len(self._unread) >= _AT_ONCE:  # or their replies would fill the line
            self.ask(kind, *fields)
        else:
            self._unread.add(self._send(kind, *fields))

    def extended(self, name: str, *fields: bytes) -> Reply:
        """Sends one of OpenSSH's own requests."""
        return self.ask(Kind.EXTENDED, text(name.encode()), *fields)

    # -- bytes of an open file ---------------------------------------------------------------------

    def read(self, handle: bytes, offset: int, length: int) -> memoryview:
        """Bytes of an open file; fewer than asked for where it ends before."""
        view = memoryview(bytearray(length))
        pending: dict[int, tuple[int, int]] = {}
        refused: Refused | None = None
        asked, end = 0, length

        def want(start: int, count: int) -> None:
            place = struct.pack(">QI", offset + start, count)
            pending[self._send(Kind.READ, text(handle), place)] = (start, count)

        while pending or (asked < end and refused is None):
            while asked < end and refused is None and len(pending) < _AT_ONCE:
                want(asked, min(self._read_bytes, end - asked))
                asked += min(self._read_bytes, end - asked)
            number, kind, size = self._head()
            if number not in pending:
                raise Broken(_NONSENSE)
            start, count = pending.pop(number)
            if kind == Kind.DATA:
                got = self._data_into(view[start : start + count], size)
                if got < count and start + got < end:
                    want(start + got, count - got)
                continue
            code, said = _status(self._exactly(size)) if kind == Kind.STATUS else (-1, "")
            if code == Code.EOF:
                end = min(end, start)
            else:
                refused = Refused(code, said)
        if refused is not None:
            raise refused
        return view[:end]

    def write(self, handle: bytes, data: bytes | memoryview) -> None:
        """Writes an open file from its beginning."""
        view, start = memoryview(data), 0
        pending: set[int] = set()
        refused: Refused | None = None
        while pending or (start < len(view) and refused is None):
            if start < len(view) and refused is None and len(pending) < _AT_ONCE:
                part = view[start : start + self._write_bytes]
                place = struct.pack(">QI", start, len(part))
                pending.add(self._send(Kind.WRITE, text(handle), place, data=part))
                start += len(part)
                continue
            number, kind, size = self._head()
            if number not in pending:
                raise Broken(_NONSENSE)
            pending.discard(number)
            try:
                Reply(kind, self._exactly(size)).raise_unless(Kind.STATUS)
            except Refused as error:
                refused = error
        if refused is not None:
            raise refused

    def close(self) -> None:
        """Ends the connection."""
        self._stream.close()

    # -- messages ----------------------------------------------------------------------------------

    def _greet(self) -> None:
        self._put(struct.pack(">IBI", 5, Kind.INIT, 3))
        size, kind = struct.unpack(">IB", self._exactly(5))
        if kind != Kind.VERSION or not 5 <= size <= _MAX_MESSAGE:
            # what a login script prints comes here first
            raise Broken(_NONSENSE + "; does a login script there print something?")
        fields = Fields(self._exactly(size - 1))
        if fields.u32() < 3:
            raise Broken("the server speaks an SFTP older than version 3")
        while fields.left():
            name = fields.text().decode("ascii", "replace")
            self.extensions[name] = fields.text()
        if "limits@openssh.com" in self.extensions:
            self._ask_limits()

    def _ask_limits(self) -> None:
        reply = self.extended("limits@openssh.com")
        if reply.kind == Kind.EXTENDED_REPLY and len(reply.body) >= 24:
            _, reads, writes = struct.unpack_from(">QQQ", reply.body)
            self._read_bytes = max(_LEAST_DATA, min(reads, _MAX_DATA))
            self._write_bytes = max(_LEAST_DATA, min(writes, _MAX_DATA))

    def _send(self, kind: Kind, *fields: bytes, data: memoryview | None = None) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        body = b"".join(fields)
        size = 5 + len(body) + (len(data) if data is not None else 0)
        self._put(struct.pack(">IBI", size, kind, self._number) + body)
        if data is not None:
            self._put(data)
        return self._number

    def _take(self, numbers: dict[int, int], replies: list[Reply]) -> None:
        number, kind, size = self._head()
        if number not in numbers:
            raise Broken(_NONSENSE)
        replies[numbers.pop(number)] = Reply(kind, self._exactly(size))

    def _head(self) -> tuple[int, int, int]:
        """Number and kind of the next message that somebody waits for, and what is left of it."""
        while True:
            size, kind, number = struct.unpack(">IBI", self._exactly(9))
            if not 5 <= size <= _MAX_MESSAGE:
                raise Broken(_NONSENSE)
            if number not in self._unread:
                return number, kind, size - 5
            self._unread.discard(number)
            self._exactly(size - 5)

    def _data_into(self, view: memoryview, size: int) -> int:
        count = int.from_bytes(self._exactly(4), "big") if size >= 4 else 0
        if not 0 < count <= len(view) or size != 4 + count:
            raise Broken(_NONSENSE)
        self._fill(view[:count])
        return count

    def _exactly(self, count: int) -> bytes:
        data = bytearray(count)
        self._fill(memoryview(data))
        return bytes(data)

    def _fill(self, view: memoryview) -> None:
        try:
            while view:
                count = self._stream.recv_into(view)
                if not count:
                    raise Broken(_STOPPED)
                view = view[count:]
        except OSError as error:
            raise Broken(_reason(error)) from error

    def _put(self, data: bytes | memoryview) -> None:
        try:
            self._stream.sendall(data)
        except OSError as error:
            raise Broken(_reason(error)) from error


class Fields:
    """Reads the parts of a message one after the other.

    Raises (all methods):
        Broken: the message ends before.
    """

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def u32(self) -> int:
        """A number."""
        return int.from_bytes(self.take(4), "big")

    def u64(self) -> int:
        """A long number."""
        return int.from_bytes(self.take(8), "big")

    def text(self) -> bytes:
        """A text."""
        return self.take(self.u32())

    def take(self, count: int) -> bytes:
        """So many bytes."""
        part = self._body[self._at : self._at + count]
        if len(part) < count:
            raise Broken(_NONSENSE)
        self._at += count
        return part

    def left(self) -> bool:
        """Whether there is more."""
        return self._at < len(self._body)

    def attributes(self) -> Attributes:
        """Of a file."""
        flags = self.u32()
        size = self.u64() if flags & 1 else -1
        if flags & 2:
            self.take(8)
        mode = self.u32() if flags & 4 else -1
        modified = -1
        if flags & 8:
            self.take(4)
            modified = self.u32()
        if flags & 0x80000000:
            for _ in range(self.u32()):
                self.text()
                self.text()
        return Attributes(size, mode, modified)


def text(data: bytes) -> bytes:
    """A text as a message holds it."""
    return struct.pack(">I", len(data)) + data


def names(body: bytes) -> list[tuple[bytes, Attributes]]:
    """What a folder's listing says."""
    fields = Fields(body)
    found = []
    for _ in range(fields.u32()):
        name = fields.text()
        fields.text()  # the same for people
        found.append((name, fields.attributes()))
    return found


def _status(body: bytes) -> tuple[int, str]:
    fields = Fields(body)
    code = fields.u32()
    said = fields.text().decode("utf-8", "replace") if fields.left() else ""
    try:
        return code, said or Code(code).name.lower().replace("_", " ")
    except ValueError:
        return code, said or f"status {code}"


def _reason(error: OSError) -> str:
    return "it does not answer in time" if isinstance(error, TimeoutError) else _STOPPED
