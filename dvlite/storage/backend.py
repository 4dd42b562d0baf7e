"""Bytes on shared storage: get (with ranges), put, list, delete, create-if-absent. Nothing more.

Owns what every storage must do for us, and which module does it for a URL. Listing caches are
off everywhere: stale listings were seen with them on, and a pusher that trusts a stale listing
loses data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, NoReturn, Protocol

from dvlite.errors import RemoteError, UsageError


class NotThere(RemoteError):
    """The name does not exist on the storage (which itself answers)."""


class TransientError(RemoteError):
    """The storage did not do it this time (throttled, broken off, too slow): it may the next."""


class ReadOnlyError(RemoteError):
    """The storage can only be read."""


class Stored(NamedTuple):
    """One name in a listing, relative to the root. `modified_s` is the storage's own clock; -1
    where it tells none."""

    name: str
    size: int
    modified_s: float


class Backend(Protocol):
    """What dvlite needs of a storage. All names are relative to the remote's root."""

    url: str

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a stored file; fewer than asked for where it ends before.

        A negative offset counts from the end and comes without a length. Raises NotThere,
        RemoteError.
        """

    def read_view(self, name: str, offset: int, length: int) -> memoryview:
        """Like `read` for many bytes: not copied where the storage's library has them already."""
        return memoryview(self.read(name, offset, length))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Stores a file whole: it appears complete or not at all."""

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """Stores unless the name exists; False when it did."""

    def list(self, folder: str) -> list[Stored]:
        """All files below a folder; an empty list when there is none."""

    def delete(self, name: str) -> None:
        """Removes a file; no error when it is gone already."""


def is_read_only(url: str) -> bool:
    """Whether a remote at this URL can only be read: web servers serve, and take nothing."""
    return url.partition("://")[0].lower() in ("http", "https")


def refuse_writing(url: str) -> NoReturn:
    """Says that this remote can only be read.

    Raises:
        ReadOnlyError: always.
    """
    raise ReadOnlyError(
        f"the remote {url} is on a web server, which can only be read",
        "use the storage behind it: dvlite remote add NAME with its folder, s3://, sftp:// ...",
    )


def open_backend(url: str, options: Mapping[str, str] | None = None) -> Backend:
    """The storage at a URL (or at a folder's absolute path).

    Raises:
        RemoteError: a package is not installed. UsageError: an option is not accepted, or the URL
            has a password that its storage does not use.
    """
    # Imported here: a cloud's libraries take longer to load than most commands take to run.
    protocol, separator, rest = url.partition("://")
    if not separator or protocol == "file":
        from dvlite.storage.folderbackend import FolderBackend

        return FolderBackend(url[len("file://") :] if separator else url)
    from dvlite.storage.retrying import RetryingBackend, patience_of

    others, patience = patience_of(dict(options or {}))
    if protocol in ("sftp", "ssh"):
        from dvlite.storage.sftpbackend import SftpBackend

        return RetryingBackend(SftpBackend(url, others), patience)
    if is_read_only(url):
        from dvlite.storage.webbackend import WebBackend

        return RetryingBackend(WebBackend(url, others), patience)
    if ":" in rest.partition("/")[0].rpartition("@")[0]:
        raise UsageError(  # every message would show it
            f"a password in the URL of a {protocol}:// remote is not used",
            "credentials come from the environment, the storage's own programs, or the remote's "
            "options in the settings of this clone (--local)",
        )
    if protocol in ("s3", "s3a"):
        from dvlite.storage.s3backend import open_s3

        return RetryingBackend(open_s3(url, others), patience)
    if protocol in ("gs", "gcs"):
        from dvlite.storage.gsbackend import open_gs

        return RetryingBackend(open_gs(url, others), patience)
    if protocol in ("az", "abfs", "abfss"):
        from dvlite.storage.azbackend import open_az

        return RetryingBackend(open_az(url, others), patience)
    from dvlite.storage.fsspecbackend import open_fsspec

    return RetryingBackend(open_fsspec(url, others), patience)
