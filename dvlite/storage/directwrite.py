"""Writing a new large file past the page cache.

Owns one thing: getting gigabytes onto the disk as fast as it takes them. Buffered writing and
then fsync ran at 0.4 to 0.7 GB/s where direct writing of the same bytes ran at 2 GB/s, and it
leaves the reader's pages in memory. Where the file system cannot do it, writing is ordinary.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Large enough that the disk is busy, small next to the memory limit.
_BUFFER = 4 << 20
# Direct writes must be whole blocks; 4096 suits every disk there is.
_BLOCK = 4096
_DIRECT = getattr(os, "O_DIRECT", 0)


class DirectWriter:
    """A new file to append to; `path` (in the open `folder`, if given) must not exist.

    Nothing is promised before `finish`; `close` without it leaves an unfinished file, which the
    caller removes.
    """

    def __init__(self, path: str | bytes, mode: int = 0o600, folder: int | None = None) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags | _DIRECT, mode, dir_fd=folder)
            self._direct = bool(_DIRECT)
        except FileExistsError:
            raise
        except OSError:  # tmpfs and some network file systems refuse O_DIRECT
            with suppress(FileNotFoundError):
                os.unlink(path, dir_fd=folder)
            self._descriptor = os.open(path, flags, mode, dir_fd=folder)
            self._direct = False
        self._buffer = mmap.mmap(-1, _BUFFER)  # page-aligned, as direct writing asks
        self._view = memoryview(self._buffer)
        self._filled = 0

    def write(self, data: Buffer) -> int:
        """Appends bytes."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            count = min(len(view) - done, _BUFFER - self._filled)
            self._view[self._filled : self._filled + count] = view[done : done + count]
            self._filled += count
            done += count
            if self._filled == _BUFFER:
                self._flush(_BUFFER)
        return done

    def finish(self, durable: bool = True) -> None:
        """Writes what is left and, if asked, makes the file's bytes durable."""
        whole = self._filled - self._filled % _BLOCK
        if whole:
            self._flush(whole)
        if self._filled:
            self._leave_direct()
            self._flush(self._filled)
        if durable:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Gives up descriptor and memory. May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._view.release()
            self._buffer.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def _flush(self, count: int) -> None:
        done = 0
        while done < count:
            try:
                done += os.write(self._descriptor, self._view[done:count])
            except OSError as error:
                if not self._direct or error.errno != 22:  # EINVAL: direct after all not possible
                    raise
                self._leave_direct()
            if done % _BLOCK:
                self._leave_direct()
        left = self._filled - count
        self._view[:left] = self._view[count : self._filled]
        self._filled = left

    def _leave_direct(self) -> None:
        if self._direct:
            flags = fcntl.fcntl(self._descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, flags & ~_DIRECT)
            self._direct = False
