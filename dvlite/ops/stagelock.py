"""The kernel lock of one stage: who runs it, and what an interrupted run of it left.

Owns the two lock files of a stage. `run` is also held by everything that the stage's commands
start, so it tells whether any of them lives; `owner` is held by the dvlite that started them. If
only the first is held, dvlite was killed and the commands were not: they are stopped, because
nobody would record what they make. What was noted as unfinished was made by nobody else.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import lock_once, unlock
from dvlite.errors import StorageError
from dvlite.project import Project
from dvlite.workspace.base import quote

_POLL_S = 0.05


@dataclass(slots=True)
class StageLock:
    """A stage that is ours to run. `descriptor`: what its commands inherit. `unfinished`: an
    earlier run began and did not end."""

    descriptor: int
    owner: int
    unfinished: bool

    def begin(self) -> None:
        """Notes that what is at the outputs from now on is of an unfinished run."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, b"unfinished\n", 0)

    def note_process(self, group: int) -> None:
        """Notes which group of processes runs it."""
        os.pwrite(self.descriptor, b"unfinished\n%20d\n" % group, 0)

    def finish(self) -> None:
        """Notes that nothing unfinished is left."""
        os.ftruncate(self.descriptor, 0)

    def release(self) -> None:
        """Lets others have it, also where a command left something running."""
        unlock(self.descriptor)
        for descriptor in (self.descriptor, self.owner):
            with suppress(OSError):
                os.close(descriptor)


def try_stage(project: Project, name: str) -> StageLock | None:
    """The lock of a stage; None while another dvlite runs it.

    Raises:
        StorageError: the private folder cannot be written.
    """
    folder = os.path.join(project.private_folder, "stages")
    path = os.path.join(folder, _file_name(name))
    opened: list[int] = []
    try:
        os.makedirs(folder, exist_ok=True)
        for suffix in (".owner", ".run"):
            opened.append(os.open(path + suffix, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
    except OSError as error:
        _close(opened)
        raise StorageError(
            f"cannot write to {folder}: {error.strerror}",
            "running stages needs a writable repository",
        ) from error
    owner, run = opened
    if not lock_once(owner):
        _close(opened)
        return None
    if not lock_once(run):
        _stop_orphans(run, path + ".run")
        if not lock_once(run):
            _close(opened)
            return None
    return StageLock(run, owner, os.pread(run, 10, 0) == b"unfinished")


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _file_name(name: str) -> str:
    plain = quote(name).replace("%", "%25").replace("/", "%2F")
    if len(plain) <= 200:
        return plain
    from dvlite.storage.oid import hash_bytes

    return hash_bytes(os.fsencode(name)).hex()


def _stop_orphans(descriptor: int, path: str) -> None:
    """Ends what a killed dvlite left running, if it is sure that it is that."""
    words = os.pread(descriptor, 64, 0).split()
    if len(words) != 2 or not words[1].isdigit():
        return
    group = int(words[1])
    for number in (signal.SIGTERM, signal.SIGKILL):
        if not _holds(group, path):
            return
        with suppress(OSError):
            os.killpg(group, number)
        until = time.monotonic() + 5
        while time.monotonic() < until and _holds(group, path):
            time.sleep(_POLL_S)


def _holds(group: int, path: str) -> bool:
    """Whether a process of this group has the lock file open: the number alone may be another's
    by now. Where the system does not tell, nothing is stopped."""
    with suppress(OSError):
        for process in os.listdir("/proc"):
            if process.isdigit() and _is_of(int(process), group) and _has_open(process, path):
                return True
    return False


def _is_of(process: int, group: int) -> bool:
    try:
        return os.getpgid(process) == group
    except OSError:
        return False


def _has_open(process: str, path: str) -> bool:
    folder = f"/proc/{process}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.readlink(f"{folder}/{name}") == path:
                    return True
    return False
