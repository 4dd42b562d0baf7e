"""The only publisher of files: temporary name, fsync, rename; and the locks of writers.

Owns: how a file appears whole or not at all, and how writers exclude each other. A published
file is durable before its name exists when `durable` is set. Locks are kernel locks: they die
with the process that holds them, so there are no stale locks.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO

from dvlite.errors import LockError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no fcntl
    fcntl = None  # type: ignore[assignment]

# How often a waiting writer looks again. 50 ms is below what a person notices and costs nothing.
_LOCK_POLL_S = 0.05


def temporary_name(folder: str, prefix: str = "tmp-") -> str:
    """A fresh name in `folder` that no other process will choose (64 random bits)."""
    return os.path.join(folder, f"{prefix}{os.getpid()}-{secrets.token_hex(8)}")


def fsync_folder(folder: str) -> None:
    """Makes the names in `folder` durable; file systems that cannot are let pass."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES):
            raise
    finally:
        os.close(descriptor)


def rename_into_place(temporary: str, final: str, durable: bool = True) -> None:
    """Gives a finished temporary file its name, replacing what had it."""
    os.replace(temporary, final)
    if durable:
        fsync_folder(os.path.dirname(final))


@contextmanager
def open_to_publish(
    final: str, *, mode: int = 0o644, durable: bool = True, temporary_folder: str | None = None
) -> Iterator[IO[bytes]]:
    """A binary file that gets the name `final` when the block ends, and vanishes if it fails.

    `temporary_folder` must be on the same file system; default: beside `final`.
    """
    folder = os.path.dirname(final)
    temporary = temporary_name(temporary_folder or folder, ".tmp-")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        rename_into_place(temporary, final, durable)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def publish(final: str, data: bytes, *, mode: int = 0o644, durable: bool = True) -> None:
    """Writes a small file whole: readers see the old bytes or the new ones, never a mixture."""
    with open_to_publish(final, mode=mode, durable=durable) as stream:
        stream.write(data)


def publish_if_absent(final: str, data: bytes, *, mode: int = 0o644) -> bool:
    """Creates `final` with `data` unless it exists; False when it did. Atomic and durable."""
    temporary = temporary_name(os.path.dirname(final), ".tmp-")
    publish(temporary, data, mode=mode)
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    fsync_folder(os.path.dirname(final))
    return True


@contextmanager
def write_lock(
    path: str, *, wait_s: float = 60.0, on_wait: Callable[[], None] | None = None
) -> Iterator[None]:
    """Holds the exclusive lock file `path`; waits up to `wait_s` seconds for another writer.

    Raises:
        LockError: the other writer did not finish in time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, path, wait_s, on_wait)
        yield
    finally:
        os.close(descriptor)  # closing the last descriptor releases the lock


@contextmanager
def try_lock(path: str) -> Iterator[bool]:
    """Takes the lock if it is free, never waits; yields whether it was taken."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield lock_once(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: str, wait_s: float, on_wait: Callable[[], None] | None) -> None:
    deadline = time.monotonic() + wait_s
    waited = False
    while not lock_once(descriptor):
        if not waited and on_wait is not None:
            on_wait()
        waited = True
        if time.monotonic() >= deadline:
            raise LockError(
                f"another dvlite process is writing (it holds {path})",
                "wait for it to finish, or look for it with `ps`; the lock goes when it ends",
            )
        time.sleep(_LOCK_POLL_S)


def lock_once(descriptor: int) -> bool:
    """Locks an open file, if nobody has; whether it did. Closing it releases the lock."""
    if fcntl is None:  # pragma: no cover
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    return True
