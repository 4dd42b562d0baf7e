"""Second copies of large files, made while they are fetched, for the checkout that follows.

Owns a folder among the workspace's unfinished things, which is locked as long as its command runs:
who clears up passes it over. Copied from the cache afterwards, 2 GB that had just been written past
the page cache were read again from the disk, which took two thirds of the time of fetching them.
"""

from __future__ import annotations

import os
from contextlib import suppress

from dvlite.atomic import lock_once, temporary_name
from dvlite.errors import PathError
from dvlite.workspace.entering import OPEN_FOLDER, inside, open_inside, remove_all

PREFIX = "ready-"
_UNFINISHED = ".part"
_CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECT = getattr(os, "O_DIRECT", 0)
# Left free beside the object itself and its copy: a copy that could wait must not fill a disk.
_SPARE_BYTES = 256 << 20


class Ready:
    """The copies of one command; a context manager. `top`: the folder that is trusted to be where
    it is; `scratch`: the one below it for unfinished things. Made when the first copy begins."""

    def __init__(self, top: str, scratch: str) -> None:
        self.folder = ""
        self._top, self._scratch = top, scratch
        self._descriptor = -1
        self._whole: dict[bytes, int] = {}

    def __enter__(self) -> Ready:
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor < 0:
            return
        with suppress(OSError), inside(self._top, self._scratch) as scratch:
            remove_all(scratch, os.path.basename(self.folder))
        os.close(self._descriptor)

    def open(self, oid: bytes, size_bytes: int) -> tuple[int, int]:
        """Two descriptors of a new file for a copy, the second for direct writing (-1: not there);
        twice -1 where there is no room for one. The caller closes them."""
        try:
            folder = self._made()
            space = os.fstatvfs(folder)
            if space.f_bavail * space.f_frsize < 2 * size_bytes + _SPARE_BYTES:
                return -1, -1
            name = oid.hex() + _UNFINISHED
            ordinary = os.open(name, _CREATE, 0o666, dir_fd=folder)
        except OSError:
            return -1, -1
        try:
            return ordinary, os.open(name, os.O_WRONLY | _DIRECT | os.O_CLOEXEC, dir_fd=folder)
        except OSError:  # tmpfs and some network file systems refuse O_DIRECT
            return ordinary, -1

    def done(self, oid: bytes, size_bytes: int) -> None:
        """The copy of an object is whole."""
        name = oid.hex()
        with suppress(OSError):
            os.rename(
                name + _UNFINISHED, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor
            )
            self._whole[oid] = size_bytes

    @property
    def size_bytes(self) -> int:
        """What the copies hold that nobody has taken yet."""
        return sum(size for oid, size in self._whole.items() if self._is_there(oid))

    def _is_there(self, oid: bytes) -> bool:
        try:
            os.stat(oid.hex(), dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return True

    def _made(self) -> int:
        if self._descriptor < 0:
            self.folder = temporary_name(self._scratch, PREFIX)
            name = os.path.basename(self.folder)
            with inside(self._top, self._scratch, make=True) as scratch:
                os.mkdir(name, 0o700, dir_fd=scratch)
                self._descriptor = os.open(name, OPEN_FOLDER, dir_fd=scratch)
            lock_once(self._descriptor)
        return self._descriptor


def take(top: bytes, ready: bytes, oid: bytes, folder: int, name: bytes) -> bool:
    """Gives the copy of an object, if there is a whole one, a new name in an open folder.

    Raises:
        FileExistsError: something of that name is there.
    """
    try:
        source = open_inside(top, ready)
    except (OSError, PathError):
        return False
    try:
        return _take(source, oid.hex(), folder, name)
    finally:
        os.close(source)


def _take(source: int, copy: str, folder: int, name: bytes) -> bool:
    mine = f"{copy}-{os.getpid()}"
    try:
        # of several processes that make a file of this content, one gets the copy
        os.rename(copy, mine, src_dir_fd=source, dst_dir_fd=source)
    except OSError:  # no copy
        return False
    try:
        # a rename would replace what is there
        os.link(mine, name, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        with suppress(OSError):
            os.rename(mine, copy, src_dir_fd=source, dst_dir_fd=source)
        if isinstance(error, FileExistsError):
            raise
        return False  # a file system without links
    with suppress(OSError):
        os.unlink(mine, dir_fd=source)
    return True


def is_in_use(scratch: int, name: str) -> bool:
    """Whether this is the folder of a command that runs."""
    if not name.startswith(PREFIX):
        return False
    try:
        folder = os.open(name, OPEN_FOLDER, dir_fd=scratch)
    except OSError:
        return False
    try:
        return not lock_once(folder)
    finally:
        os.close(folder)
