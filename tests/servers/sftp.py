"""A real SSH server (OpenSSH's sshd) on loopback, with keys of its own.

It serves files with its internal SFTP server and nothing else, as whoever runs the tests. It ends
with the fixture that started it, and by the kernel with the process that did.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 30.0
_TRIES = 3
_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding no
PermitTTY no
MaxStartups 100
Subsystem sftp {subsystem}
ForceCommand {subsystem}
"""


@dataclass(frozen=True, slots=True)
class SftpServer:
    """A running server: its port, the key that it lets in, and a file that knows its host key."""

    port: int
    folder: Path
    log: Path

    @property
    def options(self) -> dict[str, str]:
        """What a remote needs besides the URL."""
        return {"keyfile": str(self.keyfile), "known_hosts": str(self.known_hosts)}

    @property
    def keyfile(self) -> Path:
        return self.folder / "user_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def url(self, path: Path) -> str:
        return f"sftp://{getpass.getuser()}@127.0.0.1:{self.port}{path}"


def lacking() -> str | None:
    """What is missing to run one; None when nothing is."""
    for program in ("ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            return program
    return None if _sshd() is not None else "sshd"


def make_key(path: Path) -> str:
    """Makes a key pair without a passphrase; its public half."""
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True
    )
    return path.with_name(path.name + ".pub").read_text().strip()


@contextmanager
def server(folder: Path, subsystem: str = "internal-sftp") -> Iterator[SftpServer]:
    """A server for as long as the block runs."""
    folder.mkdir(parents=True)
    make_key(folder / "user_key")
    host_key = make_key(folder / "host_key")
    if os.geteuid() == 0:  # where it drops root; packages make it when the service starts
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    process, port = _started(folder, subsystem)
    try:
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}\n")
        yield SftpServer(port, folder, folder / "log")
    finally:
        process.terminate()
        process.wait()


def _started(folder: Path, subsystem: str) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_TRIES):  # another process may take the port between here and there
        port = _free_port()
        config = folder / "sshd_config"
        config.write_text(_CONFIG.format(port=port, folder=folder, subsystem=subsystem))
        with open(folder / "log", "w") as log:
            process = subprocess.Popen(
                [str(_sshd()), "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,
            )
        if _answers(process, port):
            return process, port
        process.kill()
        process.wait()
    raise RuntimeError(f"no SSH server: {(folder / 'log').read_text()[-4000:]}")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
            if one.recv(4) == b"SSH-":
                return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            return False
    return False


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _die_with_parent() -> None:
    """Asks the kernel (Linux) to end this process with its parent."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _sshd() -> str | None:
    # needs its whole path, and is outside the PATH of most users
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
