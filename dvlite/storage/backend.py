"""Bytes on shared storage: get (with ranges), put, list, delete, create-if-absent. Nothing more.

Owns the translation of every storage's errors into ours. A folder is handled by the operating
system's own calls, so that what is put there appears whole and durable; everything else goes
through fsspec. Listing caches are off: stale listings were seen with them on, and a pusher that
trusts a stale listing loses data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, NamedTuple, Protocol, TypeVar

from dvlite.atomic import open_to_publish, publish_if_absent, rename_into_place, temporary_name
from dvlite.errors import RemoteError, UsageError
from dvlite.storage.directio import DirectWriter

T = TypeVar("T")


class NotThere(RemoteError):
    """The name does not exist on the storage (which itself answers)."""


class Stored(NamedTuple):
    """One name in a listing, relative to the root. `modified_s` is the storage's own clock."""

    name: str
    size: int
    modified_s: float


class Backend(Protocol):
    """What dvlite needs of a storage. All names are relative to the remote's root."""

    url: str

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a stored file. Raises NotThere, RemoteError."""

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Stores a file whole: it appears complete or not at all."""

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """Stores unless the name exists; False when it did."""

    def list(self, folder: str) -> list[Stored]:
        """All files below a folder; an empty list when there is none."""

    def delete(self, name: str) -> None:
        """Removes a file; no error when it is gone already."""


# What gives fsspec a protocol.
_PACKAGES = {
    "s3": "pip install 'dvlite[s3]'",
    "s3a": "pip install 'dvlite[s3]'",
    "gs": "pip install gcsfs",
    "gcs": "pip install gcsfs",
    "az": "pip install adlfs",
    "abfs": "pip install adlfs",
    "abfss": "pip install adlfs",
    "sftp": "pip install paramiko",
    "ssh": "pip install paramiko",
    "http": "pip install aiohttp",
    "https": "pip install aiohttp",
}
# Below this the page cache is as fast.
_DIRECT_FROM = 1 << 20


class FolderBackend:
    """A remote in a folder of this machine or of a mounted share."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)
        self.url = self.folder

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """See Backend."""
        return self._guard(name, lambda: self._read(self._path(name), offset, length))

    def write(self, name: str, data: bytes | memoryview) -> None:
        """See Backend."""

        def put() -> None:
            path = self._path(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if len(data) >= _DIRECT_FROM:
                self._write_directly(path, data)
                return
            with open_to_publish(path, temporary_folder=self._temporary_folder()) as stream:
                stream.write(data)

        self._guard(name, put)

    def _write_directly(self, path: str, data: bytes | memoryview) -> None:
        """A pack, past the page cache: nobody on this machine reads it soon."""
        temporary = temporary_name(self._temporary_folder(), ".tmp-")
        writer = DirectWriter(temporary, 0o644)
        try:
            writer.write(data)
            writer.finish()
            rename_into_place(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            writer.close()

    def write_if_absent(self, name: str, data: bytes) -> bool:
        """See Backend."""

        def put() -> bool:
            path = self._path(name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return publish_if_absent(path, data)

        return self._guard(name, put)

    def list(self, folder: str) -> list[Stored]:
        """See Backend."""
        return self._guard(folder, lambda: list(self._walk(self._path(folder), folder)))

    def delete(self, name: str) -> None:
        """See Backend."""

        def remove() -> None:
            with suppress(FileNotFoundError):
                os.unlink(self._path(name))

        self._guard(name, remove)

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def _temporary_folder(self) -> str:
        folder = os.path.join(self.folder, "tmp")
        os.makedirs(folder, exist_ok=True)
        return folder

    @staticmethod
    def _read(path: str, offset: int, length: int | None) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if length is None:
                length = os.fstat(descriptor).st_size - offset
            parts = []
            while length > 0:
                part = os.pread(descriptor, length, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                length -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            os.close(descriptor)

    def _walk(self, path: str, prefix: str) -> Any:
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except FileNotFoundError:
            if not os.path.isdir(self.folder):
                raise RemoteError(
                    f"the remote folder {self.folder} does not exist",
                    "is the share mounted? `dvlite push` makes a new remote's folder",
                ) from None
            return
        for entry in entries:
            name = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(entry.path, name)
            elif not entry.name.startswith(".tmp-"):
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    yield Stored(name, status.st_size, status.st_mtime)

    def _guard(self, name: str, action: Callable[[], T]) -> T:
        try:
            return action()
        except FileNotFoundError as error:
            raise NotThere(f"{self.url}/{name} does not exist") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RemoteError(
                f"the remote {self.url} refuses {name}: {reason}", _folder_hint(error)
            ) from error


class FsspecBackend:
    """A remote on anything that fsspec reaches."""

    def __init__(self, url: str, options: Mapping[str, str]) -> None:
        import fsspec

        self.url = url
        protocol, _, root = url.partition("://")
        try:
            self._fs = fsspec.filesystem(
                protocol, use_listings_cache=False, skip_instance_cache=True, **options
            )
        except ImportError as error:
            raise RemoteError(
                f"remotes of the kind {protocol}:// need a package that is not installed",
                _PACKAGES.get(protocol, f"install the package that gives fsspec {protocol}://"),
            ) from error
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
        return self._guard(
            name, lambda: bytes(self._fs.cat_file(self._path(name), start=offset or None, end=end))
        )

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
        except FileNotFoundError as error:
            raise NotThere(f"{self.url}/{name} does not exist") from error
        except PermissionError as error:
            raise RemoteError(
                f"the remote {self.url} refuses access to {name}: {error}",
                "check its credentials and their rights",
            ) from error
        except OSError as error:
            raise RemoteError(f"the remote {self.url} fails on {name}: {error}") from error


def open_backend(url: str, options: Mapping[str, str] | None = None) -> Backend:
    """The storage at a URL (or at a folder's absolute path)."""
    if url.startswith("file://"):
        url = url[len("file://") :]
    if "://" not in url:
        return FolderBackend(url)
    return FsspecBackend(url, options or {})


def _modified(info: Mapping[str, Any]) -> float:
    """The storage's own time of last change; -1 where it tells none."""
    for key in ("LastModified", "last_modified", "mtime", "modified", "updated", "created"):
        value = info.get(key)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return -1.0


def _folder_hint(error: OSError) -> str | None:
    if isinstance(error, PermissionError):
        return "check the permissions of the remote's folder"
    if isinstance(error, NotADirectoryError):
        return "a remote is a folder; this path leads through a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there and run the command again; what arrived already counts"
    if error.errno == errno.EROFS:
        return "the remote's file system is read-only"
    return None
