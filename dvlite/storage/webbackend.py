"""A remote on a static web server: read-only, and listed by what `dvlite remote publish` wrote.

Owns what a web server's answers mean, and what to do with a server that knows no ranges.
"""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TypeVar

from blake3 import blake3

from dvlite.errors import DvliteError, RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError, refuse_writing
from dvlite.storage.publishedlist import read_index, read_names
from dvlite.storage.remote import LIST_NAME
from dvlite.storage.webclient import Target, WebClient, split_url
from dvlite.storage.weboptions import web_options

T = TypeVar("T")

# A pack has at most 4 GiB - 1 (docs/formats.md); a server that sends more is not believed.
_MAX_BYTES = (4 << 30) - 1
_BLOCK = 1 << 20
# Of a server that knows no ranges, so many whole files are kept for the next ranges of them, each
# up to this size (a pack has 32 MB): as many as are read at once, in as much memory as a fetch has.
_KEPT_FILES = 4
_KEPT_BYTES = 80 << 20
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(?:\d{1,18}|\*)\Z")
# Answers of the 400s that are about the moment and not about the request.
_PASSING = {408, 425, 429}
_ID = re.compile(r"(?:packs/[0-9a-f]{2}/|index/s-[0-9-]*-)([0-9a-f]{32,64})(?:-[0-9a-f.]+)?\Z")


class WebBackend(Backend):
    """A remote on a web server. See Backend for what the methods do."""

    def __init__(self, url: str, given: Mapping[str, str]) -> None:
        base, user, password = split_url(url)
        self.url = base.url  # without the password
        self._base = base
        self._client = WebClient(base.origin, user, password, web_options(given))
        self._ranges_work = True
        self._whole_files = _WholeFiles()

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        return bytes(self._guard(name, lambda: self._read(name, offset, length)))

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        return self._guard(name, lambda: memoryview(self._read(name, offset, length)))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Refused, always."""
        refuse_writing(self.url)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """Refused, always."""
        refuse_writing(self.url)

    def list(self, folder: str) -> list[Stored]:
        """What the published list names; as of when that was written."""
        try:
            found = read_index(self) if folder == "index" else read_names(self)
        except NotThere as error:
            raise RemoteError(
                f"{self.url} has no {LIST_NAME}, which says what is there",
                "whoever can write to that remote: dvlite remote publish",
            ) from error
        return [one for one in found if not folder or one.name.startswith(f"{folder}/")]

    def delete(self, name: str) -> None:
        """Refused, always."""
        refuse_writing(self.url)

    # -- reading -----------------------------------------------------------------------------------

    def _read(self, name: str, offset: int, length: int | None) -> bytes | bytearray | memoryview:
        if length == 0:
            return b""
        if length is None and offset == 0:
            return self._get(name, 0, None)
        if self._ranges_work or name == LIST_NAME:  # which changes: it is not kept
            return self._get(name, offset, length)
        whole = self._whole_files.get(name, lambda: self._get(name, 0, None))
        return _cut(whole, offset, length)

    def _get(self, name: str, offset: int, length: int | None) -> bytes | bytearray | memoryview:
        headers = {"Cache-Control": "no-cache"} if name == LIST_NAME else {}
        if offset or length is not None:
            end = "" if length is None else offset + length - 1
            headers["Range"] = f"bytes={offset}" if offset < 0 else f"bytes={offset}-{end}"
        target = Target(self._base.origin, f"{self._base.path}/{name}")
        with self._client.get(target, headers) as response:
            if response.status == 206 and "Range" in headers:
                return _part(response, offset, length, self.url)
            if response.status == 416:
                response.read(_BLOCK)
                return b""
            if response.status != 200:
                response.read(_BLOCK)
                raise self._refused(name, response)
            _refuse_encoded(response, self.url)
            if "Range" not in headers:
                return _all(response)
            return self._without_ranges(name, response, offset, length)

    def _without_ranges(
        self, name: str, response: http.client.HTTPResponse, offset: int, length: int | None
    ) -> bytes | bytearray | memoryview:
        """A range out of an answer that is the whole file."""
        if name != LIST_NAME:
            self._ranges_work = False
        if response.length is not None and response.length <= _KEPT_BYTES:
            whole = _all(response)
            if name != LIST_NAME:
                self._whole_files.keep(name, whole)
            return _cut(whole, offset, length)
        if offset < 0:
            return _cut(_all(response), offset, length)
        left = offset
        while left > 0:
            skipped = len(response.read(min(left, _BLOCK)))
            if not skipped:
                _refuse_broken_off(response)
                return b""
            left -= skipped
        if length is None:
            return _all(response)
        data = _filled(response, length)
        if len(data) < length:
            _refuse_broken_off(response)
        return data

    def _refused(self, name: str, response: http.client.HTTPResponse) -> RemoteError:
        status = response.status
        said = f"{status} {response.reason}"[:200]
        if status in (404, 410):
            return NotThere(f"{self.url}/{name} does not exist")
        if status in (401, 403, 407):
            return RemoteError(
                f"the remote {self.url} refuses access to {name}: {said}",
                "user and password belong into ~/.netrc, or into the URL (set with --local)",
            )
        kind = TransientError if status >= 500 or status in _PASSING else RemoteError
        return kind(f"the remote {self.url} fails on {name}: {said}")

    def _guard(self, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except DvliteError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise RemoteError(
                f"the certificate of {self.url} is not accepted: {error.verify_message}",
                "a certificate authority of your own: the remote's option ca_bundle",
            ) from error
        except UnicodeError as error:  # of its URL, or where a redirect leads
            raise RemoteError(f"the remote {self.url} leads to a host that cannot be") from error
        except TimeoutError as error:
            raise TransientError(f"the remote {self.url} is silent") from error
        except (OSError, http.client.HTTPException) as error:
            text = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TransientError(f"the remote {self.url} fails on {name}: {text}") from error


class _WholeFiles:
    """The last files that were read whole for want of ranges; each is brought once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._kept: OrderedDict[str, memoryview] = OrderedDict()

    def get(self, name: str, bring: Callable[[], bytes | bytearray | memoryview]) -> memoryview:
        """A whole file; whoever wants the same one meanwhile waits for it."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            with self._lock:
                if name in self._kept:
                    self._kept.move_to_end(name)
                    return self._kept[name]
            whole = bring()
            self.keep(name, whole)
            return memoryview(whole)

    def keep(self, name: str, whole: bytes | bytearray | memoryview) -> None:
        """Keeps what is as its name says: what came damaged is to be asked for again."""
        match = _ID.match(name)
        if match is None or len(whole) > _KEPT_BYTES:
            return
        if blake3(whole).hexdigest()[: len(match[1])] != match[1]:
            return
        with self._lock:
            self._kept[name] = memoryview(whole)
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT_FILES:
                self._kept.popitem(last=False)


def _part(
    response: http.client.HTTPResponse, offset: int, length: int | None, url: str
) -> bytearray | memoryview:
    """The body of a partial answer, if it is the part that was asked for."""
    _refuse_encoded(response, url)
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    begin, size = (int(match[1]), int(match[2]) - int(match[1]) + 1) if match else (-1, 0)
    most = -offset if offset < 0 else _MAX_BYTES if length is None else length
    if size <= 0 or size > most or (offset >= 0 and begin != offset):
        raise RemoteError(
            f"{url} answers with another range than was asked for",
            "the server, or a proxy before it, does not handle ranges as HTTP demands",
        )
    data = _filled(response, size)
    if len(data) < size:
        raise TransientError(f"{url} broke off in the middle of an answer")
    return data


def _filled(response: http.client.HTTPResponse, length: int) -> bytearray | memoryview:
    """The next bytes of an answer, fewer where it ends."""
    if length > _MAX_BYTES:
        length = _MAX_BYTES
    data = bytearray(length)
    view = memoryview(data)
    done = 0
    while done < length:
        count = response.readinto(view[done:])
        if not count:
            break
        done += count
    if response.length == 0:
        response.read()  # it notices its end, and the connection can be used again
    return view[:done] if done < length else data


def _refuse_broken_off(response: http.client.HTTPResponse) -> None:
    """Of an answer that has ended: it may have said that it is longer."""
    if response.length:
        raise TransientError("the server broke off in the middle of an answer")


def _all(response: http.client.HTTPResponse) -> bytes | bytearray | memoryview:
    """A whole body, which may say how long it is, or not."""
    size = response.length
    if size is not None and size <= _KEPT_BYTES:
        data = _filled(response, size)
        if len(data) < size:
            raise TransientError("the server broke off in the middle of an answer")
        return data
    found = bytearray()
    while block := response.read(_BLOCK):
        found += block
        if len(found) > _MAX_BYTES:
            raise RemoteError("the server sends more than any file of a remote can have")
    if size is not None and len(found) < size:
        raise TransientError("the server broke off in the middle of an answer")
    return found


def _cut(
    whole: bytes | bytearray | memoryview, offset: int, length: int | None
) -> bytes | bytearray | memoryview:
    view = memoryview(whole)
    if offset < 0:
        return view[max(0, len(view) + offset) :]
    return view[offset:] if length is None else view[offset : offset + length]


def _refuse_encoded(response: http.client.HTTPResponse, url: str) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise RemoteError(
            f"{url} sends its files in the encoding {encoding[:40]!r}, which nobody asked for",
            "switch off compression for this folder on the web server",
        )
