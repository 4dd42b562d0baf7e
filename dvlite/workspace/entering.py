"""Opening folders and small files of the workspace, which may not be what they were, or seem.

Owns the way from a project's folder, which is trusted, to one below it. A path that was looked at
and is used a moment later may lead elsewhere by then, if another process makes one of its folders
a symbolic link; an open folder stays what it is (openat(2), CWE-367). What is looked up in it by
name alone cannot leave it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dvlite.errors import PathError

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a FIFO would wait for ever.
_OPEN_FILE = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_OPEN_TOP = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def top_of(absolute: str, path: str) -> str:
    """The project's folder, of the absolute path and the project path of something in it."""
    return (absolute.removesuffix("/" + path) or "/") if path else absolute


def open_inside(top: bytes, folder: bytes, make: bool = False) -> int:
    """The open folder at an absolute path at or below `top`, entered name by name; the caller
    closes it. `make`: folders that are not there are made.

    Raises:
        PathError: one of the names is a symbolic link, or no folder.
        FileNotFoundError: one is not there.
    """
    below = folder[len(top) :]
    if not folder.startswith(top) or (below and top[-1:] != b"/" and below[:1] != b"/"):
        raise PathError(f"{os.fsdecode(folder)} is outside {os.fsdecode(top)}")
    current = os.open(top, _OPEN_TOP)
    try:
        for name in below.split(b"/"):
            if name:
                following = _enter(current, name, make)
                os.close(current)
                current = following
        return current
    except OSError as error:
        os.close(current)
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            raise PathError(
                f"{os.fsdecode(folder)} lies behind a symbolic link or a file",
                "put a folder in its place",
            ) from error
        raise


@contextmanager
def inside(top: str, folder: str, make: bool = False) -> Iterator[int]:
    """The same as a context manager that closes it."""
    descriptor = open_inside(os.fsencode(top), os.fsencode(folder), make)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def parent_of(top: int, path: bytes, create: bool) -> Iterator[tuple[int | None, bytes]]:
    """The open folder that a path's last name is in, from an open one on; None if not there."""
    *parents, name = path.split(b"/")
    current: int | None = os.dup(top)
    try:
        for parent in parents:
            assert current is not None
            try:
                following: int | None = _enter(current, parent, create)
            except (FileNotFoundError, NotADirectoryError):
                following = None
            os.close(current)
            current = following
            if current is None:
                break
        yield current, name
    finally:
        if current is not None:
            os.close(current)


def leads_nowhere(folder: int, name: bytes) -> bool:
    """Whether a link in an open folder is as checkouts make them into the cache (no user's own in
    tracked data leads to an absolute path), and its object is gone."""
    try:
        os.stat(name, dir_fd=folder)
    except FileNotFoundError:
        with suppress(OSError):  # it is no link any more
            return os.readlink(name, dir_fd=folder).startswith(b"/")
    except OSError:  # a link in a circle, say, which no checkout makes
        pass
    return False


def read_small(path: str, most_bytes: int) -> bytes:
    """A file's bytes, but at most one more than `most_bytes`.

    Raises:
        PathError: it is no file. OSError: it is not there, or cannot be read.
    """
    descriptor = os.open(path, _OPEN_FILE)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PathError(f"{path} is not a file", "put the file there: git checkout")
    with open(descriptor, "rb") as stream:
        return stream.read(most_bytes + 1)


def remove_all(folder: int, name: str) -> None:
    """Removes a file, or a folder with all that is in it; errors are passed over."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return
    with suppress(OSError):
        for _, folders, files, here in os.fwalk(name, topdown=False, dir_fd=folder):
            for one in (*files, *folders):
                _remove(here, one)
    _remove(folder, name)


def _remove(folder: int, name: str) -> None:
    """A file, a link, or an empty folder."""
    with suppress(OSError):
        os.unlink(name, dir_fd=folder)
        return
    with suppress(OSError):
        os.rmdir(name, dir_fd=folder)


def _enter(folder: int, name: bytes, make: bool) -> int:
    try:
        return os.open(name, OPEN_FOLDER, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=folder)
    return os.open(name, OPEN_FOLDER, dir_fd=folder)
