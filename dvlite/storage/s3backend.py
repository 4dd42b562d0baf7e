"""A remote on S3 or a store that speaks its protocol.

Owns the fast driver (obstore, the Rust object_store) and the choice between it and s3fs. On the
same server and machine s3fs moved a 2 GB file at a third of the speed, with a core busy in Python.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from dvlite.errors import DvliteError, RemoteError, UsageError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError
from dvlite.storage.listing import OutOfOrderError, list_all
from dvlite.storage.s3options import S3Options, s3_options, to_s3fs

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config, S3Store

T = TypeVar("T")

# A pack of 64 MiB may take so many times as long as a connection may be silent: with 60 s, a
# link of 110 KB/s is fast enough.
_WRITE_FACTOR = 10
# Names that S3 lists in one answer.
_PAGE = 1000
# Credentials from a role are asked for again well before AWS's shortest life time, 15 minutes.
_CREDENTIALS_LIVE = timedelta(minutes=5)
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]+)</Code>")
_SYSTEM_SAID = re.compile(r'message: "([^"]{1,200})"')
# Answers of the 400s that are about the moment and not about the request.
_PASSING = {408, 409, 425, 429}
_PASSING_CODES = {"RequestTimeout", "BadDigest", "IncompleteBody", "InvalidDigest", "SlowDown"}
_BAD_CREDENTIALS = "check the credentials (environment, ~/.aws, profile) and their rights"


def open_s3(url: str, given: dict[str, str]) -> Backend:
    """The storage at `s3://bucket/prefix`: through obstore if it is there, else through s3fs.

    Raises:
        RemoteError: neither is installed, or there are no credentials.
    """
    from dvlite.storage.fsspecbackend import FsspecBackend, missing_package

    options = s3_options(given)
    if options.driver != "s3fs":
        try:
            return S3Backend(url, options)
        except ImportError as error:
            if options.driver == "obstore":
                raise missing_package("s3") from error
    return FsspecBackend(url, to_s3fs(options))


class S3Backend(Backend):
    """S3 through obstore. See Backend for what the methods do."""

    def __init__(self, url: str, options: S3Options) -> None:
        import obstore

        self.url = url
        bucket, _, prefix = url.partition("://")[2].partition("/")
        if not bucket:
            raise UsageError(f"{url} names no bucket", "s3://BUCKET or s3://BUCKET/PREFIX")
        self._bucket = bucket
        self._api = obstore
        try:
            self._reads = _store(bucket, prefix.strip("/"), options, 1)
            self._writes = _store(bucket, prefix.strip("/"), options, _WRITE_FACTOR)
        except (ValueError, obstore.exceptions.BaseError) as error:
            raise UsageError(
                f"the options of the remote {url} are not accepted: {_first_line(error)}"
            ) from error

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""

        def get() -> bytes:
            if length is None and offset <= 0:
                suffix = {"range": {"suffix": -offset}} if offset else {}
                return bytes(self._api.get(self._reads, name, options=suffix).bytes())
            wanted = self._size(name) - offset if length is None else length
            if wanted <= 0:
                return b""
            return bytes(self._range(name, offset, wanted))

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
        self._guard(name, lambda: self._api.put(self._writes, name, data, use_multipart=False))

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

        return self._guard(folder, lambda: _list(self._pages, folder))

    def delete(self, name: str) -> None:
        """See Backend."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._api.delete(self._writes, name)

        self._guard(name, remove)

    def _pages(self, folder: str, after: str) -> Iterator[Sequence[Stored]]:
        pages = self._api.list(
            self._reads, prefix=folder or None, offset=after or None, chunk_size=_PAGE
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
        if word == "NoSuchBucket":
            return RemoteError(
                f"there is no bucket {self._bucket} for the remote {self.url}",
                "make it first, or correct the remote's URL: dvlite remote list",
            )
        if isinstance(error, FileNotFoundError):
            return NotThere(f"{self.url}/{name} does not exist")
        if number == 416:
            return _PastTheEnd(f"{self.url}/{name} ends before that")
        said = word or _reason(text)
        unsigned = "credential" in text.lower() and not number
        if number in (401, 403) or unsigned:
            return RemoteError(
                f"the remote {self.url} refuses access to {name}: {said}", _BAD_CREDENTIALS
            )
        passing = number >= 500 or number in _PASSING or word in _PASSING_CODES or not number
        kind = TransientError if passing else RemoteError
        return kind(f"the remote {self.url} fails on {name}: {said}")


class _PastTheEnd(RemoteError):
    """A range begins behind the end of what is stored."""


def _list(pages: Callable[[str, str], Iterator[Sequence[Stored]]], folder: str) -> list[Stored]:
    """All names of a folder, several pages at once if the store can."""

    def behind(name: str) -> tuple[Sequence[Stored], bool]:
        items = next(pages(folder, name), ())
        return items, len(items) < _PAGE

    try:
        return list_all(behind)
    except OutOfOrderError:
        return sorted(item for page in pages(folder, "") for item in page)


def _store(bucket: str, prefix: str, options: S3Options, factor: int) -> S3Store:
    from obstore.store import S3Store

    config: dict[str, Any] = {
        "endpoint": options.endpoint_url,
        "region": options.region,
        "access_key_id": options.access_key_id,
        "secret_access_key": options.secret_access_key,
        "session_token": options.session_token,
        "skip_signature": options.anon,
        "server_side_encryption": options.sse,
        "sse_kms_key_id": options.sse_kms_key_id,
        "request_payer": options.requester_pays,
        # the server compares what arrived with this: a flipped bit is refused, not stored
        "checksum_algorithm": "SHA256" if options.checksum == "sha256" else "",
    }
    given: S3Config = {key: value for key, value in config.items() if value}  # type: ignore[assignment]
    given["virtual_hosted_style_request"] = not options.path_style
    provider = None
    if not options.anon and not options.access_key_id:
        provider = _Credentials.of_chain(options, given)
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=given,
        client_options=_client(options, factor),
        retry_config={"max_retries": 0},  # RetryingBackend's business, the same for all storages
        credential_provider=provider,
    )


def _client(options: S3Options, factor: int) -> ClientConfig:
    silence = timedelta(seconds=options.timeout * factor)
    client: ClientConfig = {
        "allow_http": options.endpoint_url.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(options.timeout, 20)),
        "read_timeout": silence,
        # no bound on a whole answer: 64 MiB may take an hour as long as bytes keep coming
        "timeout": timedelta(days=1),
    }
    if options.proxy:
        client["proxy_url"] = options.proxy
    if options.ca_bundle:
        with open(options.ca_bundle, "rb") as stream:
            client["root_certificate"] = stream.read()
    return client


class _Credentials:
    """Credentials of the AWS chain, as botocore finds and renews them."""

    def __init__(self, found: Any) -> None:
        self._found = found

    @classmethod
    def of_chain(cls, options: S3Options, config: S3Config) -> _Credentials | None:
        """The chain's credentials; its region goes into `config` where none is given.

        None where obstore finds all by itself, in the environment: loading botocore takes 0.2 s.
        """
        environ = os.environ  # the AWS chain's own place for them
        region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        placed = options.endpoint_url or region
        if placed and not options.profile and "AWS_ACCESS_KEY_ID" in environ:
            return None
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            session = Session(profile=options.profile or None)
            found = session.get_credentials()
            if not region and session.get_config_variable("region"):
                config["region"] = session.get_config_variable("region")
            if not options.endpoint_url and session.get_config_variable("endpoint_url"):
                config["endpoint"] = session.get_config_variable("endpoint_url")
        except BotoCoreError as error:
            raise RemoteError(f"the AWS configuration cannot be used: {error}") from error
        if found is None:
            raise RemoteError(
                "no AWS credentials are found",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (aws configure); "
                "for public data: dvlite config remote.NAME.anon true",
            )
        return cls(found)

    def __call__(self) -> Any:
        """What obstore asks for, again whenever the last answer has ended."""
        frozen = self._found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _CREDENTIALS_LIVE,
        }


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _reason(text: str) -> str:
    """The part of obstore's text that says what happened, without its debugging output."""
    first = text.partition("\n")[0]
    said = first.rpartition(" - ")[2] if " - " in first else first
    inner = _SYSTEM_SAID.findall(text)
    return f"{said}: {inner[-1]}" if inner else said
