"""An HTTP/1.1 proxy on loopback that counts requests and breaks some of them on purpose.

The client is given the proxy's address as the server's. Heads pass unchanged, Host too, which
is what the client signed and the server checks, so signatures stay valid. Every request reaches
the server over a connection of its own; bodies are held in memory.
"""

from __future__ import annotations

import random
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import BinaryIO, NamedTuple

# Nothing in a test legitimately takes so long; a wedged test ends with an error instead.
_GIVE_UP_S = 60.0
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_BROKEN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>InternalError</Code>'
    b"<Message>We encountered an internal error.</Message></Error>"
)


class Fault(Enum):
    """What can be done to a request or its answer."""

    ERROR_500 = "answers 500"
    SLOW_DOWN = "answers 503 SlowDown"
    RESET_EARLY = "resets the connection; the server never sees the request"
    RESET_LATE = "resets the connection after the server has done it"
    RESET_IN_REQUEST = "resets in the middle of the request's body"
    RESET_IN_RESPONSE = "resets in the middle of the response's body"
    CLOSE_IN_RESPONSE = "closes early: Content-Length says more than there is"
    SHORTEN_RESPONSE = "leaves out the end of the body, and says so in Content-Length"
    FLIP_IN_RESPONSE = "flips a bit of the response's body"
    FLIP_IN_REQUEST = "flips a bit of the request's body"
    STALL = "never answers"


NEEDS_REQUEST_BODY = frozenset({Fault.RESET_IN_REQUEST, Fault.FLIP_IN_REQUEST})
NEEDS_RESPONSE_BODY = frozenset(
    {
        Fault.RESET_IN_RESPONSE,
        Fault.CLOSE_IN_RESPONSE,
        Fault.SHORTEN_RESPONSE,
        Fault.FLIP_IN_RESPONSE,
    }
)


class Request(NamedTuple):
    """One request as it came: its number from 0, and what kind of thing it asks for.

    `what`: dvlite.json, packs, index, roots, list or other. `target`: its path and range. `sums`:
    the checksums beside its body. Sizes are those of the bodies, in bytes; -1 where there was no
    answer.
    """

    index: int
    method: str
    what: str
    request_size: int
    response_size: int = -1
    status: int = 0
    fault: Fault | None = None
    target: str = ""
    sums: frozenset[str] = frozenset()


# A plan says what to do to a request; it is asked once for each.
Plan = Callable[[Request], Fault | None]


def no_fault(request: Request) -> Fault | None:
    """The plan that lets everything pass."""
    return None


def at(index: int, fault: Fault) -> Plan:
    """The plan with one fault, at the request of that number."""
    return lambda request: fault if request.index == index else None


def each_once(fault: Fault) -> Plan:
    """The plan that breaks every request the first time that it is made."""
    seen = set()

    def plan(request: Request) -> Fault | None:
        key = (request.method, request.target)
        if key in seen:
            return None
        seen.add(key)
        return fault

    return plan


def from_on(index: int, fault: Fault) -> Plan:
    """The plan that breaks the request of that number, and all later ones."""
    return lambda request: fault if request.index >= index else None


def at_random(seed: int, probability: float, faults: Collection[Fault] = tuple(Fault)) -> Plan:
    """The plan that breaks each request with a probability; each fault where it fits."""
    source = random.Random(seed)
    order = list(faults)

    def plan(request: Request) -> Fault | None:
        if source.random() >= probability:
            return None
        fault = source.choice(order)
        return None if fault in NEEDS_REQUEST_BODY and not request.request_size else fault

    return plan


class Head(NamedTuple):
    """The first lines of a message, and what they say of its body."""

    first: str
    lines: list[bytes]

    def get(self, name: str) -> str:
        start = name.lower().encode() + b":"
        for line in self.lines:
            if line.lower().startswith(start):
                return line[len(start) :].strip().decode("latin-1")
        return ""

    def checksums(self) -> frozenset[str]:
        found = re.findall(rb"(?im)^x-amz-checksum-(\w+):", b"\n".join(self.lines))
        return frozenset(name.decode().lower() for name in found)

    def encode(self, leave_out: Collection[str] = (), more: Collection[str] = ()) -> bytes:
        gone = tuple(name.lower().encode() + b":" for name in leave_out)
        kept = [line for line in self.lines if not line.lower().startswith(gone)]
        every = [self.first.encode("latin-1"), *kept, *(line.encode("latin-1") for line in more)]
        return b"\r\n".join(every) + b"\r\n\r\n"


@dataclass(slots=True)
class FaultProxy:
    """A running proxy. `log` has every request in order; `plan` may be exchanged at any time.
    Each request waits `wait_s`, beside the others, as if the server were far."""

    target: int
    endpoint: str = ""
    plan: Plan = no_fault
    wait_s: float = 0.0
    log: list[Request] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _open: set[socket.socket] = field(default_factory=set)
    _random: random.Random = field(default_factory=lambda: random.Random(1))

    def begin(self, plan: Plan = no_fault) -> None:
        """Counts from 0 again, with another plan."""
        with self._lock:
            self.plan, self.log = plan, []
            self._random.seed(1)

    @property
    def hits(self) -> list[Request]:
        """The requests that a fault was done to."""
        return [request for request in self.log if request.fault is not None]

    def counts(self) -> Counter[str]:
        """How many requests of each method."""
        return Counter(request.method for request in self.log)

    # -- one connection ----------------------------------------------------------------------------

    def serve(self, client: socket.socket) -> None:
        """Serves one connection of a client until it ends."""
        with self._lock:
            self._open.add(client)
        try:
            with client, client.makefile("rb") as stream:
                while self._one(client, stream):
                    pass
        except (OSError, ValueError):  # a client that went away, or a reset of ours
            pass
        finally:
            with self._lock:
                self._open.discard(client)

    def stop(self) -> None:
        """Ends all connections."""
        with self._lock:
            for client in self._open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def _one(self, client: socket.socket, stream: BinaryIO) -> bool:
        """One request and its answer; whether the connection goes on."""
        head = _read_head(stream)
        if head is None:
            return False
        size = int(head.get("content-length") or 0)
        if head.get("transfer-encoding"):
            raise ValueError("a chunked request")
        request, fault, log = self._decide(head, size)
        time.sleep(self.wait_s)
        if size and head.get("expect"):
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault is Fault.RESET_IN_REQUEST:
            self._break_upload(head, stream, size)
            self._note(log, request)
            return _reset(client)
        body = stream.read(size)
        if fault is Fault.FLIP_IN_REQUEST:
            body = self._flipped(body)
        return self._answer(client, head, body, request, log)

    def _answer(
        self,
        client: socket.socket,
        head: Head,
        body: bytes,
        request: Request,
        log: list[Request],
    ) -> bool:
        fault = request.fault
        if fault in (Fault.ERROR_500, Fault.SLOW_DOWN):
            self._note(log, request)
            return _refuse(client, fault, request.method)
        if fault is Fault.RESET_EARLY:
            self._note(log, request)
            return _reset(client)
        if fault is Fault.STALL:
            self._note(log, request)
            client.recv(1)  # returns when the client has waited enough
            return False
        answer, data = self._ask(head, body)
        done = request._replace(status=int(answer.first.split()[1]), response_size=len(data))
        if fault in NEEDS_RESPONSE_BODY and not data:
            done = done._replace(fault=None)
        self._note(log, done)
        if fault is Fault.RESET_LATE:
            return _reset(client)
        return self._send(client, head, answer, data, done.fault)

    def _send(
        self, client: socket.socket, head: Head, answer: Head, data: bytes, fault: Fault | None
    ) -> bool:
        length, half = len(data), len(data) // 2
        if fault is Fault.SHORTEN_RESPONSE:
            data = data[:half]
            length = half
        elif fault is Fault.FLIP_IN_RESPONSE:
            data = self._flipped(data)
        length_line = f"Content-Length: {length}"
        if head.first.startswith("HEAD"):
            length_line = f"Content-Length: {answer.get('content-length') or 0}"
        lines = [length_line] if answer.first.split()[1] not in ("204", "304") else []
        leave_out = ["content-length", "transfer-encoding", "connection"]
        client.sendall(answer.encode(leave_out, lines))
        if fault in (Fault.RESET_IN_RESPONSE, Fault.CLOSE_IN_RESPONSE):
            client.sendall(data[:half])
            return _reset(client) if fault is Fault.RESET_IN_RESPONSE else False
        client.sendall(data)
        return True

    # -- the server's side -------------------------------------------------------------------------

    def _ask(self, head: Head, body: bytes) -> tuple[Head, bytes]:
        """Passes a request on; the answer's head and whole body."""
        with socket.create_connection(("127.0.0.1", self.target), _GIVE_UP_S) as server:
            server.sendall(head.encode(["expect", "connection"], ["Connection: close"]))
            server.sendall(body)
            with server.makefile("rb") as stream:
                answer = _read_head(stream)
                if answer is None:
                    raise OSError("the server closed")
                return answer, _read_body(stream, answer, head.first.startswith("HEAD"))

    def _break_upload(self, head: Head, stream: BinaryIO, size: int) -> None:
        with socket.create_connection(("127.0.0.1", self.target), _GIVE_UP_S) as server:
            server.sendall(head.encode(["expect"]))
            server.sendall(stream.read(size // 2))
            _reset(server)

    # -- counting ----------------------------------------------------------------------------------

    def _decide(self, head: Head, size: int) -> tuple[Request, Fault | None, list[Request]]:
        method, target = head.first.split()[:2]
        with self._lock:
            where = f"{target} {head.get('range')}"
            what = _what(target)
            request = Request(
                len(self.log), method, what, size, target=where, sums=head.checksums()
            )
            fault = self.plan(request)
            if fault in NEEDS_REQUEST_BODY and not size:
                fault = None
            request = request._replace(fault=fault)
            self.log.append(request)
            return request, fault, self.log

    def _note(self, log: list[Request], request: Request) -> None:
        """Puts what became of a request into the log, which may be another one by now."""
        with self._lock:
            log[request.index] = request

    def _flipped(self, data: bytes) -> bytes:
        changed = bytearray(data)
        with self._lock:
            bit = self._random.randrange(8 * len(changed))
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)


@contextmanager
def fault_proxy(target: int) -> Iterator[FaultProxy]:
    """A proxy in front of a port of this machine."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        proxy = FaultProxy(target, f"http://127.0.0.1:{listener.getsockname()[1]}")
        threads: list[threading.Thread] = []

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                client.settimeout(_GIVE_UP_S)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threads.append(threading.Thread(target=proxy.serve, args=(client,), daemon=True))
                threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close does not
            accepting.join()
            proxy.stop()
            for thread in threads:
                thread.join(_GIVE_UP_S)


def _read_head(stream: BinaryIO) -> Head | None:
    lines = []
    while True:
        line = stream.readline(65_536)
        if not line:
            return None
        line = line.rstrip(b"\r\n")
        if line:
            lines.append(line)
        elif lines:
            return Head(lines[0].decode("latin-1"), lines[1:])


def _read_body(stream: BinaryIO, head: Head, bodiless: bool) -> bytes:
    if bodiless or head.first.split()[1] in ("204", "304"):
        return b""
    if head.get("transfer-encoding").lower() == "chunked":
        return b"".join(_chunks(stream))
    length = head.get("content-length")
    data = stream.read(int(length)) if length else stream.read()
    if length and len(data) != int(length):
        raise OSError("the server broke off")
    return data


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while True:
        size = int(stream.readline().split(b";")[0], 16)
        if size == 0:
            while stream.readline().strip():
                pass
            return
        yield stream.read(size)
        stream.readline()


def _refuse(client: socket.socket, fault: Fault, method: str) -> bool:
    first, body = "HTTP/1.1 500 Internal Server Error", _BROKEN
    if fault is Fault.SLOW_DOWN:
        first, body = "HTTP/1.1 503 Slow Down", _SLOW_DOWN
    lines = ["Content-Type: application/xml", f"Content-Length: {len(body)}"]
    client.sendall(Head(first, []).encode(more=lines))
    client.sendall(b"" if method == "HEAD" else body)
    return True


def _reset(client: socket.socket) -> bool:
    """Ends a connection with RST at its closing; False, as it does not go on."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _what(target: str) -> str:
    path, _, query = target.partition("?")
    if "list-type" in query or "prefix=" in query:
        return "list"
    found = re.search(r"/(packs|index|roots)/|/(dvlite\.json)$", path)
    return next((word for word in found.groups() if word), "other") if found else "other"
