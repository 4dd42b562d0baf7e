"""A static web server on loopback, as strict and as wrong as a test wants it."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


@dataclass
class Conduct:
    """How the server behaves, and what it was asked.

    `failures`: names (their last part) and the status codes with which the next requests of each
    are answered; `redirects`: a path's beginning, and what comes in its place; `requests`: path
    and range of each request; `users`: the header Authorization of each.
    """

    ranges: bool = True
    wrong_ranges: bool = False
    length: bool = True
    break_off: int = 0
    silent: int = 0
    encoding: str = ""
    refuse_all: int = 0
    soft_404: bool = False
    failures: dict[str, list[int]] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    released: threading.Event = field(default_factory=threading.Event)

    def takes(self, attribute: str) -> bool:
        """Counts one of the misbehaviours down; whether it is due."""
        with self.lock:
            left = getattr(self, attribute)
            setattr(self, attribute, max(0, left - 1))
            return bool(left)


@dataclass(frozen=True)
class WebServer:
    """A running server of a folder."""

    folder: Path
    port: int
    conduct: Conduct
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    conduct: Conduct
    folder: Path

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        conduct, asked = self.conduct, self.headers.get("Range", "")
        path = self.path
        if "://" in path:  # we are a proxy, and serve it ourselves
            path = urlsplit(path).path
        with conduct.lock:
            conduct.requests.append((self.path, asked))
            conduct.users.append(self.headers.get("Authorization"))
        status = self._refusal(path)
        if status:
            self._answer(status, b"no")
            return
        for start, place in conduct.redirects.items():
            if path.startswith(start):
                self._answer(302, b"there", {"Location": place + path[len(start) :]})
                return
        if conduct.takes("silent"):
            conduct.released.wait()
            self.close_connection = True
            return
        self._serve(self.folder / unquote(path).lstrip("/"), asked)

    def _refusal(self, path: str) -> int:
        with self.conduct.lock:
            left = self.conduct.failures.get(path.rpartition("/")[2], [])
            return left.pop(0) if left else self.conduct.refuse_all

    def _serve(self, path: Path, asked: str) -> None:
        try:
            data = path.read_bytes()
        except OSError:
            self._answer(200 if self.conduct.soft_404 else 404, b"<html>not here</html>")
            return
        match = _RANGE.match(asked) if self.conduct.ranges else None
        if match is None:
            self._answer(200, data)
            return
        begin, end = self._span(match, len(data))
        if begin >= end:
            self._answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        if self.conduct.wrong_ranges:
            begin += 1
        said = f"bytes {begin}-{end - 1}/{len(data)}"
        self._answer(206, data[begin:end], {"Content-Range": said})

    @staticmethod
    def _span(match: re.Match[str], size: int) -> tuple[int, int]:
        if not match[1]:
            return max(0, size - int(match[2])), size
        return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        conduct = self.conduct
        self.send_response(status)
        for name, text in (headers or {}).items():
            self.send_header(name, text)
        if conduct.encoding:
            self.send_header("Content-Encoding", conduct.encoding)
        if conduct.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if status in (200, 206) and conduct.takes("break_off"):
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # more connections at once than the default of 5 that wait
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is what some tests are about."""


@contextmanager
def serve(folder: Path, tls: Any = None) -> Iterator[WebServer]:
    """Serves a folder as long as the block runs; `tls`: a context for https."""
    conduct = Conduct()
    handler = type("Handler", (_Handler,), {"conduct": conduct, "folder": folder})
    server = _Server(("127.0.0.1", 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        os.makedirs(folder, exist_ok=True)
        yield WebServer(folder, server.server_address[1], conduct, "https" if tls else "http")
    finally:
        conduct.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
