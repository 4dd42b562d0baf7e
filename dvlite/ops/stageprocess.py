"""One stage's commands as processes: started, listened to, logged, and stopped.

Owns the process group of a stage, so that stopping it stops what its commands started. What is
written goes to a log, and to who listens. Which stage runs when is `run`'s.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

# What a stage writes goes on to the screen in pieces of at most this.
_READ_BYTES = 64 << 10
_LAST_LINES = 20
# Long enough to write a checkpoint, short enough that nobody thinks Ctrl-C did nothing.
STOP_S = 10.0
# The process groups of all commands that this process runs now.
_groups: set[int] = set()

Heard = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be run. `folder` is absolute; `log`: where what is written goes; `inherited`:
    a descriptor that the processes keep open as long as they live."""

    name: str
    commands: tuple[str, ...]
    folder: str
    env: Mapping[str, str]
    log: str
    inherited: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended: the code of the command that failed (negative: the signal), or 0."""

    code: int
    command: str = ""
    last_lines: tuple[str, ...] = ()


@dataclass(slots=True)
class StageProcess:
    """Runs the commands of one stage, one after the other, in a thread."""

    work: Work
    heard: Heard
    ended: Callable[[str, Ended], None]
    _lines: deque[bytes] = field(default_factory=lambda: deque([b""], _LAST_LINES + 1))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _running: subprocess.Popen[bytes] | None = None
    _stopped: bool = False
    _ended_well: bool = False
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begins."""
        self._thread = threading.Thread(target=self._run, name=self.work.name, daemon=True)
        self._thread.start()

    def signal(self, number: int) -> None:
        """Sends a signal to everything that runs; no further command is started."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._running.pid, number)

    def wait(self, seconds: float) -> bool:
        """Whether it ended in this time."""
        if self._thread is not None:
            self._thread.join(seconds)
            return not self._thread.is_alive()
        return True

    @property
    def ended_well(self) -> bool:
        """Whether all commands have ended, and without an error."""
        return self._ended_well

    def _run(self) -> None:
        ended, command = Ended(-1), ""
        try:
            with open(self.work.log, "wb", buffering=0) as file:
                log = _Log(file)
                for command in self.work.commands:
                    code = self._run_one(command, log.write)
                    lines = tuple(line.decode("utf-8", "replace") for line in self._lines if line)
                    ended = Ended(code, command, lines[-_LAST_LINES:])
                    if code:
                        break
        except OSError as error:
            ended = self._unstarted(command, f"{error.strerror}: {error.filename}")
        except ValueError as error:  # text that no system call takes
            ended = self._unstarted(command, str(error))
        finally:
            self._ended_well = ended.code == 0
            self.ended(self.work.name, ended)

    def _unstarted(self, command: str, why: str) -> Ended:
        with suppress(OSError):
            self.heard(self.work.name, os.fsencode(f"dvlite: {why}\n"))
        return Ended(127, command, (why,))

    def _run_one(self, command: str, log: Callable[[bytes], None]) -> int:
        with self._lock:
            if self._stopped:
                return -signal.SIGTERM
            process = self._running = subprocess.Popen(
                [_shell(), "-c", command],
                cwd=self.work.folder,
                env=dict(self.work.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self.work.inherited],
            )
            _groups.add(process.pid)
        assert process.stdout is not None
        log(b"$ " + os.fsencode(command) + b"\n")
        # what a command leaves running in the background keeps the pipe open: its end is not ours
        listener = threading.Thread(target=self._listen, args=(process.stdout, log))
        listener.daemon = True
        listener.start()
        code = process.wait()
        listener.join(0.5 if code == 0 else 2)
        with self._lock:
            self._running = None
            _groups.discard(process.pid)
        return code

    def _listen(self, stream: IO[bytes], log: Callable[[bytes], None]) -> None:
        with suppress(OSError, ValueError), stream:
            while data := os.read(stream.fileno(), _READ_BYTES):
                log(data)
                self._keep(data)
                self.heard(self.work.name, data)

    def _keep(self, data: bytes) -> None:
        first, *more = data.split(b"\n")
        self._lines[-1] = (self._lines[-1] + first)[-4096:].rpartition(b"\r")[2]
        self._lines.extend(line[-4096:] for line in more)


@dataclass(slots=True)
class _Log:
    """The log of a stage, which on a full disk ends early: a command must not fail for that."""

    file: IO[bytes]
    _is_full: bool = False

    def write(self, data: bytes) -> None:
        """Appends bytes; a disk that fails ends the log, not the stage."""
        try:
            if not self._is_full:
                self.file.write(data)
        except OSError:
            self._is_full = True


def stop(processes: list[StageProcess], seconds: float = STOP_S) -> None:
    """Ends processes: asked first, then killed; killed at once when this is interrupted too."""
    try:
        for process in processes:
            process.signal(signal.SIGTERM)
        until = time.monotonic() + seconds
        for process in processes:
            if not process.wait(max(0.0, until - time.monotonic())):
                process.signal(signal.SIGKILL)
                process.wait(seconds)
    except BaseException:
        kill_all()
        raise


def kill_all() -> None:
    """Ends at once whatever this process runs: for one that leaves without waiting."""
    for group in tuple(_groups):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def _shell() -> str:
    """The same on every machine that has it: what people write is bash more often than not."""
    return shutil.which("bash") or "/bin/sh"
