"""The only publisher of files: temporary name, fsync, rename; and the locks of writers.

Owns: how a file appears whole or not at all, and how writers exclude each other. A published
file is durable before its name exists when `durable` is set. Locks are kernel locks: they die
with the process that holds them, so there are no stale locks.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, TypeVar

from dvlite.errors import LockError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no fcntl
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

# What makes a folder one that a group shares: new things get its group, which has all rights.
SHARED = stat.S_ISGID | stat.S_IRWXG
# Below a project's folder: unfinished files of the workspace. Ignored by git.
SCRATCH = os.path.join(".dvlite", "tmp")
# How often a file of git's is changed anew because git was at it meanwhile: for about a second.
_EXCHANGES = 20
# What file systems say that give a file one name only.
_NO_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS))
_AT_FDCWD = -100  # <fcntl.h>
_RENAME_NOREPLACE = 1  # <linux/fs.h>
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


def is_shared(folder: str) -> bool:
    """Whether the users of a group share a folder: its own mode says so."""
    try:
        return os.stat(folder).st_mode & SHARED == SHARED
    except OSError:
        return False


def give_group(made: str | int, top: str) -> None:
    """Gives the group of `top`, where that is shared, the rights in something new (a path or a
    descriptor) that its owner has: the umask of whoever writes would keep the others out."""
    if not is_shared(top):
        return
    found = os.stat(made)
    mode = stat.S_IMODE(found.st_mode)
    wanted = mode | (mode & stat.S_IRWXU) >> 3
    if stat.S_ISDIR(found.st_mode):
        wanted |= stat.S_ISGID
    if wanted != mode and found.st_uid == os.geteuid():  # nobody else may
        os.chmod(made, wanted)


def make_folders(folder: str, top: str) -> None:
    """Makes a folder at or below `top`, and those above it. Where `top` is shared, each appears
    with the group's rights, also if this process is killed amid that."""
    if os.path.isdir(folder):
        return
    if not is_shared(top):
        os.makedirs(folder, exist_ok=True)
        return
    parent = os.path.dirname(folder)
    make_folders(parent, top)
    made = temporary_name(parent, ".tmp-")
    os.mkdir(made)
    try:
        give_group(made, top)
        os.rename(made, folder)
    except OSError as error:
        with suppress(OSError):
            os.rmdir(made)
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another one made it
            raise


@contextmanager
def open_to_publish(
    final: str,
    *,
    mode: int = 0o644,
    durable: bool = True,
    temporary_folder: str | None = None,
    top: str | None = None,
) -> Iterator[IO[bytes]]:
    """A binary file that gets the name `final` when the block ends, and vanishes if it fails.

    `temporary_folder` must be on the same file system; default: beside `final`. `top`: a folder
    above, which a group may share.
    """
    folder = os.path.dirname(final)
    temporary = temporary_name(temporary_folder or folder, ".tmp-")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "w+b") as stream:
            if top is not None:
                give_group(descriptor, top)
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        rename_into_place(temporary, final, durable)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def publish(
    final: str, data: bytes, *, mode: int = 0o644, durable: bool = True, top: str | None = None
) -> None:
    """Writes a small file whole: readers see the old bytes or the new ones, never a mixture.
    `top`: see `open_to_publish`."""
    with open_to_publish(final, mode=mode, durable=durable, top=top) as stream:
        stream.write(data)


def publish_in_tree(final: str, data: bytes, *, durable: bool = True) -> None:
    """As `publish`, for a file that users see. While it is unfinished it lies in the project's
    `.dvlite/tmp`, where git does not see it and the next command removes what a killed one left."""
    folder = os.path.dirname(final)
    scratch = _scratch_above(folder)
    try:
        with open_to_publish(final, durable=durable, temporary_folder=scratch) as stream:
            stream.write(data)
    except OSError as error:
        if scratch is None or error.errno != errno.EXDEV:
            raise
        publish(final, data, durable=durable)  # something else is mounted in between


def _scratch_above(folder: str) -> str | None:
    """The folder for unfinished files of the project that `folder` is in; made when missing."""
    while not os.path.isdir(os.path.join(folder, ".dvlite")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
    scratch = os.path.join(folder, SCRATCH)
    if os.path.islink(os.path.dirname(scratch)) or os.path.islink(scratch):
        return None
    os.makedirs(scratch, exist_ok=True)
    return scratch


def exchange(final: str, draft: str, change: Callable[[str], T]) -> T:
    """Changes a file of git's (its index, its settings) without leaving git's lock behind.

    git holds `FILE.lock` for as long as it works, and nobody may ever remove that of a git that was
    killed. So `change` gets the path of a copy (`draft`, on the same file system), and the lock is
    there only while the copy takes the file's place. A lock that a kill left even then is a link to
    the draft, by which the next call knows it.

    Raises:
        LockError: another git holds the lock, or changes the file all the time.
    """
    final = os.path.realpath(final)
    lock = final + ".lock"
    os.makedirs(os.path.dirname(draft), exist_ok=True)
    with write_lock(draft + ".own"):
        if _same_file(lock, draft):
            os.unlink(lock)
        for _ in range(_EXCHANGES):
            if os.path.lexists(lock):
                time.sleep(_LOCK_POLL_S)
                continue
            before = _copy_with_times(final, draft)
            result = change(draft)
            _sync(draft)  # which git does not do, and an empty index is nobody's wish
            if _take_place(draft, final, lock, before):
                return result
    raise LockError(
        f"another git process holds {lock}",
        "wait for it; if none runs, git says which file to remove: run `git status`",
    )


def end_exchange(final: str, draft: str) -> None:
    """Removes the lock of an `exchange` that was killed as it held it."""
    lock = os.path.realpath(final) + ".lock"
    if _same_file(lock, draft):
        with try_lock(draft + ".own") as mine:
            if mine and _same_file(lock, draft):
                os.unlink(lock)


def _sync(path: str) -> None:
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _copy_with_times(source: str, target: str) -> tuple[int, ...] | None:
    """A fresh copy; what the source was like, None if there is none. git compares the times of its
    index with those of files, so they stay."""
    for leftover in (target, target + ".lock"):
        with suppress(FileNotFoundError):
            os.unlink(leftover)
    before = _identity(source)
    if before is not None:
        shutil.copy2(source, target)
    return before


def _take_place(draft: str, final: str, lock: str, before: tuple[int, ...] | None) -> bool:
    """Whether the draft is the file now: nobody held the lock, and nobody changed it meanwhile."""
    if not os.path.exists(draft):
        return True
    try:
        name_if_free(draft, lock)
    except FileExistsError:
        return False
    try:
        if _identity(final) != before:
            os.unlink(lock)
            return False
        os.replace(lock, final)
    except OSError:
        os.unlink(lock)
        raise
    with suppress(FileNotFoundError):
        os.unlink(draft)
    return True


def _identity(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except FileNotFoundError:
        return False


def publish_if_absent(final: str, data: bytes, *, mode: int = 0o644) -> bool:
    """Creates `final` with `data` unless it exists; False when it did. Atomic and durable."""
    temporary = temporary_name(os.path.dirname(final), ".tmp-")
    publish(temporary, data, mode=mode)
    try:
        name_if_free(temporary, final)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    fsync_folder(os.path.dirname(final))
    return True


def name_if_free(path: str, name: str) -> None:
    """Gives a file a name that no file has, in one step. Its old name may be there afterwards, or
    not: where a file cannot have two (FAT, exFAT, some shares), Linux can rename it like that.

    Raises:
        FileExistsError: something has that name.
    """
    try:
        os.link(path, name)
    except OSError as error:
        if error.errno not in _NO_LINKS or not _rename_if_free(path, name):
            raise


def _rename_if_free(path: str, name: str) -> bool:
    """False where this system or file system cannot; see rename(2)."""
    import ctypes  # 10 ms that only those pay whose disk has no links

    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # not with this C library
        return False
    old, new = os.fsencode(path), os.fsencode(name)
    if rename(_AT_FDCWD, old, _AT_FDCWD, new, _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise FileExistsError(number, os.strerror(number), name)
    return False


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
def try_lock(path: str, top: str | None = None) -> Iterator[bool]:
    """Takes the lock if it is free, never waits; yields whether it was taken. `top`: a folder
    above, which a group may share."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if top is not None:
            give_group(descriptor, top)
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


def unlock(descriptor: int) -> None:
    """Releases a lock that processes which inherited the open file would keep."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
