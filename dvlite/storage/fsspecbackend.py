"""A remote on anything that fsspec reaches.

Owns the translation of what fsspec's many implementations raise into our errors.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, TypeVar

from dvlite.errors import DvliteError, RemoteError, UsageError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError

T = TypeVar("T")

# What gives fsspec a protocol.
_PACKAGES = {
    "s3": "pip install 'dvlite[s3]'",
    "s3a": "pip install 'dvlite[s3]'",
    "gs": "pip install 'dvlite[gs]'",
    "gcs": "pip install 'dvlite[gs]'",
    "az": "pip install 'dvlite[az]'",
    "abfs": "pip install 'dvlite[az]'",
    "abfss": "pip install 'dvlite[az]'",
    "http": "pip install aiohttp",
    "https": "pip install aiohttp",
}

# Whose exceptions are the storage's, though they are no OSError.
_LIBRARIES = {
    "aiohttp",
    "aiobotocore",
    "asyncio",
    "azure",
    "botocore",
    "gcsfs",
    "google",
}
# Answers of the 400s that are about the moment and not about the request.
_PASSING = {408, 409, 425, 429}
# Listings as old as the last look lose data.
NO_CACHES = {"use_listings_cache": False, "skip_instance_cache": True}
# What trying again does not mend.
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.EISDIR, errno.ENOTDIR}


def open_fsspec(
    url: str, options: Mapping[str, Any], kind: type[FsspecBackend] | None = None
) -> FsspecBackend:
    """The storage at a URL, through the package that gives fsspec its protocol; as a `kind` of
    FsspecBackend.

    Raises:
        RemoteError: the package is not installed. UsageError: an option is not accepted.
    """
    import fsspec

    protocol, _, root = url.partition("://")
    try:
        filesystem = fsspec.filesystem(protocol, **NO_CACHES, **options)
    except ImportError as error:
        raise missing_package(protocol) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"the options of the remote {url} are not accepted: {error}") from error
    return (kind or FsspecBackend)(url, filesystem, root)


class FsspecBackend(Backend):
    """A remote on anything that fsspec reaches, below `root` in its own way to write paths.

    `is_there` tells whether the bucket exists, for file systems that list nothing and find nothing
    in one that does not: what is missing must not pass for an empty remote. `has_suffixes`: whether
    ranges may count from the end.
    """

    def __init__(
        self,
        url: str,
        filesystem: Any,
        root: str,
        is_there: Callable[[], bool] | None = None,
        has_suffixes: bool = True,
    ) -> None:
        self.url = url
        self._fs = filesystem
        self._root = root.rstrip("/")
        self._is_there = is_there
        self._has_suffixes = has_suffixes

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        end = None if length is None else offset + length
        if length == 0:
            return b""

        def get() -> bytes:
            try:
                start = offset
                if offset < 0 and not self._has_suffixes:
                    start = max(0, self._fs.size(self._path(name)) + offset)
                return bytes(self._fs.cat_file(self._path(name), start=start or None, end=end))
            except Exception as error:
                if _is_past_the_end(error):
                    return b""
                raise

        return self._guard(name, get)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        self._guard(name, lambda: self._pipe(self._path(name), bytes(data)))

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend."""

        def put() -> bool:
            try:
                self._pipe(self._path(name), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if "pre-condition" in str(error):  # s3fs's word for it
                    return False
                raise
            return True

        return self._guard(name, put)

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""

        def find() -> dict[str, dict[str, Any]]:
            try:
                found: dict[str, dict[str, Any]] = self._fs.find(
                    self._path(folder), detail=True, refresh=True
                )
            except FileNotFoundError:
                found = {}
            if not found:
                self._need_bucket()
            return found

        start = len(self._fs._strip_protocol(self._path(""))) + 1
        return [
            Stored(path[start:], int(info["size"]), _modified(info))
            for path, info in sorted(self._guard(folder, find).items())
            # some stores go on listing a folder that was emptied, as a file of its name
            if info.get("type", "file") == "file" and path[start:].rstrip("/") != folder
        ]

    def delete(self, name: str) -> None:
        """See Backend."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                self._fs.rm_file(self._path(name))

        self._guard(name, remove)

    def _path(self, name: str) -> str:
        return str(PurePosixPath(self._root) / name) if self._root else "/" + name

    def _guard(self, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except DvliteError:
            raise
        except Exception as error:
            found = self._translated(name, error)
            if found is None:
                raise
            raise found from error

    def _pipe(self, path: str, data: bytes, **how: Any) -> None:
        self._fs.pipe_file(path, data, **how)

    def _need_bucket(self) -> None:
        if self._is_there is None:
            return
        if not self._is_there():
            raise self._no_bucket()
        self._is_there = None  # asked once

    def _no_bucket(self) -> RemoteError:
        return RemoteError(
            f"there is no such bucket for the remote {self.url}",
            "make it first, or correct the remote's URL: dvlite remote list",
        )

    def _translated(self, name: str, error: Exception) -> RemoteError | None:
        """Our error for one of fsspec's, or of a library below it; None for a bug."""
        text, status = _said(error), _status(error)
        missing = isinstance(error, FileNotFoundError) or status == 404
        if missing:
            return self._missing(name, text)
        if _is_refused(error, status):
            return RemoteError(
                f"the remote {self.url} refuses access to {name}: {text}",
                "check its credentials and their rights",
            )
        library = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError | TimeoutError) or library in _LIBRARIES:
            lasting = 400 <= status < 500 and status not in _PASSING
            lasting = lasting or getattr(error, "errno", 0) in _LASTING
            kind = RemoteError if lasting else TransientError
            return kind(f"the remote {self.url} fails on {name}: {text}")
        if isinstance(error, ValueError) and text.startswith("Bad Request"):
            return RemoteError(f"the remote {self.url} fails on {name}: {text}")
        return None

    def _missing(self, name: str, text: str) -> RemoteError:
        if "specified bucket does not exist" in text:
            return self._no_bucket()
        try:
            self._need_bucket()
        except RemoteError as error:
            return error
        except Exception:  # it does not say; the name is missing all the same
            pass
        return NotThere(f"{self.url}/{name} does not exist")


def _said(error: Exception) -> str:
    """What a library says, in a line: Azure's goes on with times and ids of requests, and gcsfs's
    has the server's reason behind a first line with the path."""
    first, _, rest = str(error).strip().partition("\n")
    if first.startswith("Forbidden:") and rest:
        first = rest.partition("\n")[0]
    return first or type(error).__name__


def _status(error: BaseException) -> int:
    """The HTTP status behind an error, 0 where there is none to be seen."""
    for each in (error, error.__cause__):
        for key in ("status_code", "status", "code"):  # azure, aiohttp, gcsfs
            text = str(getattr(each, key, ""))
            if text.isdigit() and len(text) == 3:
                return int(text)
    return 0


def _is_past_the_end(error: Exception) -> bool:
    """Whether a range was refused because all of it lies behind the end."""
    if _status(error) == 416:
        return True
    return isinstance(error, OSError) and error.errno == errno.EINVAL and "range" in str(error)


def _is_refused(error: Exception, status: int) -> bool:
    forbidden = isinstance(error, OSError) and str(error).startswith("Forbidden:")  # gcsfs's
    named = isinstance(error, PermissionError) or "Credentials" in type(error).__name__
    return named or forbidden or status in (401, 403)


def missing_package(protocol: str) -> RemoteError:
    """The error for a kind of remote whose package is not installed."""
    return RemoteError(
        f"remotes of the kind {protocol}:// need a package that is not installed",
        _PACKAGES.get(protocol, f"install the package that gives fsspec {protocol}://"),
    )


def _modified(info: Mapping[str, Any]) -> float:
    """The storage's own time of last change; -1 where it tells none."""
    for key in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return -1.0
