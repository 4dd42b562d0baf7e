"""A remote in a bucket of an object store, through obstore (the Rust object_store).

Owns what is the same for all clouds: requests, and their failures told apart. Which options a
cloud has, and where its credentials come from, is for the cloud's own module.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from dvlite.errors import DvliteError, RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError
from dvlite.storage.listing import OutOfOrderError, list_all

if TYPE_CHECKING:
    from obstore.store import ClientConfig

T = TypeVar("T")

# One to read with and one to write with, which has more patience.
Stores = tuple[Any, Any]
# A pack of 64 MiB may take so many times as long as a connection may be silent: with 60 s, a
# link of 110 KB/s is fast enough.
WRITE_FACTOR = 10
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_SYSTEM_SAID = re.compile(r'message: "([^"]{1,200})"')
# Answers of the 400s that are about the moment and not about the request.
_PASSING = {408, 409, 425, 429}
_DIGEST_CODES = {
    "BadDigest",
    "InvalidDigest",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
PASSING_CODES = {"RequestTimeout", "IncompleteBody", "SlowDown"} | _DIGEST_CODES
# What obstore says itself when a server answers such a range with nothing (Azurite does).
_PAST_THE_END = "Wanted range starting at"
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a remote is, for requests and messages. `noun`: what the cloud calls a bucket;
    `has_suffixes`: whether ranges count from the end; `page`: names listed in one answer."""

    bucket: str
    noun: str
    advice: str
    has_suffixes: bool = True
    page: int = 1000


@dataclass(frozen=True, slots=True)
class Network:
    """How a store is reached. `timeout_s`: seconds without a byte."""

    endpoint: str
    timeout_s: float
    proxy: str = ""
    ca_bundle: str = ""

    def client(self, factor: int) -> ClientConfig:
        """The same for obstore; silence may last `factor` times as long."""
        client: ClientConfig = {
            "allow_http": self.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=min(self.timeout_s, 20)),
            "read_timeout": timedelta(seconds=self.timeout_s * factor),
            # no bound on a whole answer: 64 MiB may take an hour as long as bytes keep coming
            "timeout": timedelta(days=1),
        }
        if self.proxy:
            client["proxy_url"] = self.proxy
        if self.ca_bundle:
            with open(self.ca_bundle, "rb") as stream:
                client["root_certificate"] = stream.read()
        return client


class NotAsSent(TransientError):
    """The store says that other bytes arrived than were sent, by the checksum beside them."""


def no_bucket(place: Place, url: str) -> RemoteError:
    """The error for a remote in a bucket that nobody made."""
    return RemoteError(
        f"there is no {place.noun} {place.bucket} for the remote {url}",
        "make it first, or correct the remote's URL: dvlite remote list",
    )


class ObjectStore(Backend):
    """A bucket through obstore. See Backend for what the methods do."""

    def __init__(self, url: str, place: Place, stores: Stores) -> None:
        import obstore

        self.url, self._place = url, place
        self._api = obstore
        self._reads, self._writes = stores

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""

        def get() -> bytes:
            if length is None and (not offset or (offset < 0 and self._place.has_suffixes)):
                suffix = {"range": {"suffix": -offset}} if offset else {}
                return bytes(self._api.get(self._reads, name, options=suffix).bytes())
            begin, wanted = offset, length
            if wanted is None:
                size = self._size(name)
                begin = offset if offset >= 0 else max(0, size + offset)
                wanted = size - begin
            if wanted <= 0:
                return b""
            return bytes(self._range(name, begin, wanted))

        try:
            return self._guard(name, get)
        except _PastTheEnd:
            return b""

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """See Backend."""
        try:
            return self._guard(name, lambda: self._range(name, offset, length))
        except _PastTheEnd:
            return memoryview(b"")

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        self._put(self._writes, name, data)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend."""

        def put() -> bool:
            try:
                self._api.put(self._writes, name, data, mode="create", use_multipart=False)
            except self._api.exceptions.AlreadyExistsError:
                return False
            return True

        return self._guard(name, put)

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""

        return self._guard(folder, lambda: _list(self._pages, folder, self._place.page))

    def delete(self, name: str) -> None:
        """See Backend."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._api.delete(self._writes, name)

        self._guard(name, remove)

    def _put(self, store: Any, name: str, data: bytes | memoryview) -> None:
        self._guard(name, lambda: self._api.put(store, name, data, use_multipart=False))

    def _pages(self, folder: str, after: str) -> Iterator[Sequence[Stored]]:
        pages = self._api.list(
            self._reads, prefix=folder or None, offset=after or None, chunk_size=self._place.page
        )
        for page in pages:
            yield [
                Stored(item["path"], item["size"], item["last_modified"].timestamp())
                for item in page
            ]

    def _range(self, name: str, offset: int, length: int) -> memoryview:
        return memoryview(self._api.get_range(self._reads, name, start=offset, length=length))

    def _size(self, name: str) -> int:
        return int(self._api.head(self._reads, name)["size"])

    def _guard(self, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except (FileNotFoundError, self._api.exceptions.BaseError) as error:
            raise self._translated(name, error) from None

    def _translated(self, name: str, error: Exception) -> DvliteError:
        """Our error for one of obstore's, whose text holds the server's answer."""
        text = str(error)
        status, code = _STATUS.search(text), _CODE.search(text)
        number, word = int(status[1]) if status else 0, code[1] if code else ""
        if word in _NO_BUCKET:
            return no_bucket(self._place, self.url)
        if isinstance(error, FileNotFoundError):
            return NotThere(f"{self.url}/{name} does not exist")
        if number == 416 or _PAST_THE_END in text:
            return _PastTheEnd(f"{self.url}/{name} ends before that")
        said = word or _reason(text)
        unsigned = "credential" in text.lower() and not number
        if number in (401, 403) or unsigned:
            return RemoteError(
                f"the remote {self.url} refuses access to {name}: {said}", self._place.advice
            )
        if word in _DIGEST_CODES:
            return NotAsSent(f"the remote {self.url} fails on {name}: {said}")
        passing = number >= 500 or number in _PASSING or word in PASSING_CODES or not number
        kind = TransientError if passing else RemoteError
        return kind(f"the remote {self.url} fails on {name}: {said}")


class _PastTheEnd(RemoteError):
    """A range begins behind the end of what is stored."""


def _list(
    pages: Callable[[str, str], Iterator[Sequence[Stored]]], folder: str, full: int
) -> list[Stored]:
    """All names of a folder, several pages at once if the store can."""

    def behind(name: str) -> tuple[Sequence[Stored], bool]:
        items = next(pages(folder, name), ())
        return items, len(items) < full

    try:
        return list_all(behind)
    except OutOfOrderError:
        return sorted(item for page in pages(folder, "") for item in page)


def first_line(error: Exception) -> str:
    """What a library says, without its debugging output."""
    return str(error).partition("\n")[0]


def _reason(text: str) -> str:
    """The part of obstore's text that says what happened, without its debugging output."""
    first = text.partition("\n")[0]
    said = first.rpartition(" - ")[2] if " - " in first else first
    inner = _SYSTEM_SAID.findall(text)
    return f"{said}: {inner[-1]}" if inner else said
