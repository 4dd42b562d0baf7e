"""How a workspace file comes from the cache: sharing blocks, linked, or copied.

Owns the four ways and finding out which of them work between two folders. A linked file is
read-only: an edit in place would change the cache.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows
    fcntl = None  # type: ignore[assignment]

# <linux/fs.h>: _IOW(0x94, 9, int), _IOR('f', 1, long), _IOW('f', 2, long), FS_TOPDIR_FL
_FICLONE = 0x40049409
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_TOPDIR = 0x00020000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


def reflink(source: int, final: str, mode: int = 0o600) -> bool:
    """Makes the new file `final` share the blocks of an open file; False where that cannot be."""
    folder = os.open(os.path.dirname(final), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return reflink_at(source, folder, os.fsencode(os.path.basename(final)), mode)
    finally:
        os.close(folder)


def reflink_at(source: int, folder: int, name: bytes, mode: int) -> bool:
    """The same for a new name in an open folder."""
    if fcntl is None:
        return False
    target = os.open(name, _CREATE, mode, dir_fd=folder)
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return True
    except OSError:
        os.unlink(name, dir_fd=folder)
        return False
    finally:
        os.close(target)


def spread_folders(folder: str) -> None:
    """Asks the file system to place what is made in `folder` away from what is around it.

    ext4 makes a folder near its parent, and for a minute passes over each inode that was deleted
    there: 100,000 files made where as many were just removed took 32 s, elsewhere 3.3 s. File
    systems that do not know the flag refuse it, which does no harm.
    """
    if fcntl is None:
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            flags = bytearray(8)
            fcntl.ioctl(descriptor, _GETFLAGS, flags)
            wanted = int.from_bytes(flags, sys.byteorder) | _TOPDIR
            fcntl.ioctl(descriptor, _SETFLAGS, wanted.to_bytes(8, sys.byteorder))
        finally:
            os.close(descriptor)


def working_types(cache_folder: str, workspace: str, types: Sequence[str]) -> list[str]:
    """Those of the link types that work from the cache to the workspace, in the given order."""
    os.makedirs(cache_folder, exist_ok=True)
    with (
        tempfile.NamedTemporaryFile(dir=cache_folder, prefix="link-") as source,
        tempfile.TemporaryDirectory(dir=workspace, prefix=".dvlite-link-") as folder,
    ):
        source.write(b"link")
        source.flush()
        works = {kind: _try(kind, source.name, os.path.join(folder, kind)) for kind in types}
    return [kind for kind in types if works[kind]]


def _try(kind: str, source: str, final: str) -> bool:
    if kind == "copy":
        return True
    with suppress(OSError):
        if kind == "hardlink":
            os.link(source, final)
            return True
        if kind == "symlink":
            os.symlink(source, final)
            return True
        descriptor = os.open(source, os.O_RDONLY)
        try:
            return reflink(descriptor, final)
        finally:
            os.close(descriptor)
    return False
