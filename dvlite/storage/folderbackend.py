"""A remote in a folder, by the operating system's own calls.

Owns that what is put there appears whole and durable.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from dvlite.atomic import open_to_publish, publish_if_absent, rename_into_place, temporary_name
from dvlite.errors import RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored
from dvlite.storage.directio import DirectWriter

T = TypeVar("T")

# Below this the page cache is as fast.
_DIRECT_FROM = 1 << 20


class FolderBackend(Backend):
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
        # a FIFO would be waited for, for ever
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "it is no file", path)
            if length is None:
                size = found.st_size
                offset = offset if offset >= 0 else max(0, size + offset)
                length = size - offset
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
            # those in tmp/ are gc's to remove, once they are old
            elif prefix == "tmp" or not entry.name.startswith(".tmp-"):
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
