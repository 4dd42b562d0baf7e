"""A server on loopback that all workers of a test run share, whatever it serves.

Who uses it holds a shared kernel lock; a keeper process waits for the exclusive one and then stops
the server. So it ends with its last user, also when that is killed, and with the keeper, whose
death the kernel reports to it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

# Where a server answers, and what stops it.
Started = tuple[str, Callable[[], None]]
_TRIES = 3


@contextmanager
def endpoint(folder: Path, module: str) -> Iterator[str]:
    """Where the server answers that everybody who names this folder shares; `module` starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "users", "w") as users, open(folder / "starting", "w") as starting:
        fcntl.flock(users, fcntl.LOCK_SH)
        with _held(starting):
            found = _running(folder)
            if found is None:
                _start_keeper(folder, module)
                found = _running(folder)
        assert found is not None
        yield found


def keep(folder: Path, started: Callable[[Path], Started]) -> None:
    """The keeper: a server for as long as the folder has users."""
    where, stop = started(folder / "data")
    try:
        (folder / "ready.new").write_text(json.dumps({"endpoint": where}))
        os.replace(folder / "ready.new", folder / "ready")
        print("ready", flush=True)
        with open(folder / "users") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            (folder / "ready").unlink()
            stop()
    finally:
        stop()
        shutil.rmtree(folder / "data", ignore_errors=True)


def start(
    command: Sequence[str], data: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Starts a program that ends with this one; what it says goes to `log` in its folder."""
    with open(data / "log", "w") as log:
        return subprocess.Popen(
            command,
            cwd=data,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
        )


def plain_started(
    data: Path, command: Callable[[int], Sequence[str]], path: str, wait_s: float
) -> Started:
    """Starts a server of one port, and waits until it answers a GET of `path`."""
    for _ in range(_TRIES):  # another process may take the port between here and there
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        port = free_ports(1)[0]
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
        process = start(command(port), data, {**kept, "HOME": str(data), "TMPDIR": str(data)})
        where = f"http://127.0.0.1:{port}"
        if _answers(process, where + path, wait_s):
            return where, partial(_end, process)
        _end(process)
    raise RuntimeError((data / "log").read_text()[-4000:])


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different because they are held together."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]


def _answers(process: subprocess.Popen[bytes], url: str, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return True
        except urllib.error.HTTPError:  # it answers, if only that it does not know us
            return True
        except OSError:
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
            return False
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _running(folder: Path) -> str | None:
    try:
        found = str(json.loads((folder / "ready").read_text())["endpoint"])
        socket.create_connection(("127.0.0.1", int(found.rpartition(":")[2])), 5).close()
    except OSError:  # none yet, or its keeper was killed
        return None
    return found


@contextmanager
def _held(lock: Any) -> Iterator[None]:
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


_keepers: list[subprocess.Popen[str]] = []  # held, because they outlive what started them


def _start_keeper(folder: Path, module: str) -> None:
    top = Path(__file__).resolve().parents[2]
    with open(folder / "log", "w") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            cwd=top,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    _keepers.append(keeper)
    assert keeper.stdout is not None
    if keeper.stdout.readline() != "ready\n":
        raise RuntimeError(f"no server: {(folder / 'log').read_text()[-4000:]}")


def _die_with_parent() -> None:
    """Asks the kernel (Linux) to end this process with its parent."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
