"""The kernel lock of one stage: who runs it, and what a killed dvlite left running of it.

Owns the two lock files of a stage. `run` is also held by everything that the stage's commands
start, so it tells whether any of them lives; `owner` is held by the dvlite that started them. If
only the first is held, dvlite was killed and the commands were not: they are stopped, because
nobody would record what they make, and what they write would be taken for what somebody wrote.

Only whoever holds `owner` opens `run`: so what has it open besides is of the stage's commands.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import lock_once, unlock
from dvlite.errors import StorageError
from dvlite.project import Project
from dvlite.workspace.base import quote

_POLL_S = 0.05
_STOP_S = 5.0
_BEGUN = b"begun\n"


@dataclass(slots=True)
class StageLock:
    """A stage that is ours to change. `descriptor`: what its commands inherit. `stopped`: commands
    of it that a killed dvlite had left were stopped just now."""

    descriptor: int
    owner: int
    stopped: bool

    def begin(self) -> None:
        """Notes that commands may be running from now on."""
        os.pwrite(self.descriptor, _BEGUN, 0)

    def finish(self) -> None:
        """Notes that none are."""
        os.ftruncate(self.descriptor, 0)

    def release(self) -> None:
        """Lets others have it, also where a command left something running."""
        unlock(self.descriptor)
        _close((self.descriptor, self.owner))


def try_stage(project: Project, name: str) -> StageLock | None:
    """The lock of a stage; None while another dvlite has it.

    Raises:
        StorageError: the private folder cannot be written.
    """
    folder = _folder(project)
    path = os.path.join(folder, _file_name(name))
    try:
        os.makedirs(folder, exist_ok=True)
        return _try(path)
    except OSError as error:
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}",
            "running stages needs a writable repository",
        ) from error


def stop_leftovers(project: Project, names: Iterable[str]) -> Iterator[str]:
    """Stops what killed dvlites left running of any stage, also of those that are not to be run
    now or are no more: others may read what they write. The stages of `names` that had some."""
    known = {_file_name(name): name for name in names}
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(_folder(project))):
            plain, suffix = os.path.splitext(entry.name)
            if suffix != ".run" or not entry.stat().st_size:
                continue
            lock = _try(os.path.join(_folder(project), plain))
            if lock is not None:
                if lock.stopped:
                    yield known.get(plain, plain)
                lock.finish()
                lock.release()


def is_held(project: Project, name: str) -> bool:
    """Whether another dvlite is at a stage."""
    try:
        owner = os.open(
            os.path.join(_folder(project), _file_name(name) + ".owner"), os.O_RDWR | os.O_CLOEXEC
        )
    except OSError:
        return False
    try:
        return not lock_once(owner)
    finally:
        os.close(owner)


def _folder(project: Project) -> str:
    return os.path.join(project.private_folder, "stages")


def _try(path: str) -> StageLock | None:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    opened = [os.open(path + ".owner", flags, 0o666)]
    try:
        if not lock_once(opened[0]):
            _close(opened)
            return None
        opened.append(os.open(path + ".run", flags, 0o666))
        free = lock_once(opened[1])
        if not free:
            _stop_holders(path + ".run")
            if not lock_once(opened[1]):
                _close(opened)
                return None
    except BaseException:
        _close(opened)
        raise
    return StageLock(opened[1], opened[0], not free)


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def _file_name(name: str) -> str:
    plain = quote(name).replace("%", "%25").replace("/", "%2F")
    if len(plain) <= 200:
        return plain
    from dvlite.storage.oid import hash_bytes

    return hash_bytes(os.fsencode(name)).hex()


def _stop_holders(path: str) -> None:
    """Ends the processes that have a lock file open: asked first, then killed. Where the system
    does not tell which they are, nothing is stopped."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        groups = _holders(path)
        for group in groups:
            with suppress(OSError):
                os.killpg(group, number)
        until = time.monotonic() + _STOP_S
        while groups and time.monotonic() < until:
            time.sleep(_POLL_S)
            groups = _holders(path)


def _holders(path: str) -> set[int]:
    """The groups of the processes that have a file open for writing, as commands inherit it."""
    found: set[int] = set()
    with suppress(OSError):
        for process in os.listdir("/proc"):
            if process.isdigit() and int(process) != os.getpid() and _has_open(process, path):
                with suppress(OSError):
                    found.add(os.getpgid(int(process)))
    return found - {os.getpgrp()}


def _has_open(process: str, path: str) -> bool:
    folder = f"/proc/{process}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.readlink(f"{folder}/{name}") == path:
                    return bool(os.lstat(f"{folder}/{name}").st_mode & stat.S_IWUSR)
    return False
