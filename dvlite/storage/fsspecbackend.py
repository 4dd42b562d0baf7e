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
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "az": "pip install adlfs",
    "abfs": "pip install adlfs",
    "abfss": "pip install adlfs",
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
# What trying again does not mend.
_LASTING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINVAL, errno.EISDIR, errno.ENOTDIR}


class FsspecBackend(Backend):
    """A remote on anything that fsspec reaches."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        import fsspec

        self.url = url
        protocol, _, root = url.partition("://")
        try:
            self._fs = fsspec.filesystem(
                protocol, use_listings_cache=False, skip_instance_cache=True, **options
            )
        except ImportError as error:
            raise missing_package(protocol) from error
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"the options of the remote {url} are not accepted: {error}"
            ) from error
        self._root = root.rstrip("/")

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        end = None if length is None else offset + length
        if length == 0:
            return b""

        def get() -> bytes:
            try:
                return bytes(self._fs.cat_file(self._path(name), start=offset or None, end=end))
            except OSError as error:
                if error.errno == errno.EINVAL and "range" in str(error):  # all of it past the end
                    return b""
                raise

        return self._guard(name, get)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""
        self._guard(name, lambda: self._fs.pipe_file(self._path(name), bytes(data)))

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend."""

        def put() -> bool:
            try:
                self._fs.pipe_file(self._path(name), data, mode="create")
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
                return {}
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

    def _translated(self, name: str, error: Exception) -> RemoteError | None:
        """Our error for one of fsspec's, or of a library below it; None for a bug."""
        text = str(error) or type(error).__name__
        if isinstance(error, FileNotFoundError):
            if "specified bucket does not exist" in text:
                return RemoteError(
                    f"there is no such bucket for the remote {self.url}",
                    "make it first, or correct the remote's URL: dvlite remote list",
                )
            return NotThere(f"{self.url}/{name} does not exist")
        library = type(error).__module__.partition(".")[0]
        refused = isinstance(error, PermissionError) or "Credentials" in type(error).__name__
        if refused or getattr(error, "status", 0) in (401, 403):
            return RemoteError(
                f"the remote {self.url} refuses access to {name}: {text}",
                "check its credentials and their rights",
            )
        if isinstance(error, OSError | TimeoutError) or library in _LIBRARIES:
            kind = RemoteError if getattr(error, "errno", 0) in _LASTING else TransientError
            return kind(f"the remote {self.url} fails on {name}: {text}")
        return None


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
