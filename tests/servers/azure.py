"""Azure's own server for tests (Azurite) on loopback, with its well-known account and key.

npm installs it; `.ci/setup` puts it where it is looked for here.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers import shared

# Published by Microsoft for this server, and good for no other.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_S = 90.0
_CONTAINER = "shared"


@dataclass(frozen=True, slots=True)
class AzureServer:
    """A running server."""

    endpoint: str

    @property
    def account_url(self) -> str:
        return f"{self.endpoint}/{ACCOUNT}"

    @property
    def options(self) -> dict[str, str]:
        """What a remote needs besides the URL."""
        return {"endpoint": self.account_url, "account_name": ACCOUNT, "account_key": KEY}

    @property
    def connection_string(self) -> str:
        return f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.account_url};"

    @property
    def port(self) -> int:
        return int(self.endpoint.rpartition(":")[2])

    def new_url(self) -> str:
        """An empty place for a remote, in a container that all share."""
        return f"az://{_CONTAINER}/{secrets.token_hex(6)}"

    def sas(self, rights: str) -> str:
        """A signature that gives some rights (`rwdl`) to the shared container, for an hour."""
        from datetime import datetime, timedelta, timezone

        from azure.storage.blob import generate_container_sas

        ends = datetime.now(timezone.utc) + timedelta(hours=1)
        return str(generate_container_sas(ACCOUNT, _CONTAINER, KEY, permission=rights, expiry=ends))

    def service(self) -> Any:
        """A client that dvlite has nothing to do with."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(self.account_url, credential=KEY)


def installed() -> bool:
    """Whether the server is."""
    return _program() is not None


@contextmanager
def shared_server(folder: Path) -> Iterator[AzureServer]:
    """The server that everybody who names this folder shares; started by the first of them."""
    with shared.endpoint(folder, "tests.servers.azure") as endpoint:
        yield AzureServer(endpoint)


def _started(data: Path) -> shared.Started:
    def command(port: int) -> list[str]:
        words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(data)]
        # clients may be newer than it is, and say so in a header that it would refuse
        return [str(_program()), *words, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]

    endpoint, stop = shared.plain_started(data, command, "/", START_S)
    AzureServer(endpoint).service().create_container(_CONTAINER)
    return endpoint, stop


def _program() -> str | None:
    """`azurite-blob` on PATH, or where `.ci/setup` installs it."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)  # tests set HOME to a folder of their own
    own = home / ".cache/dvlite-tests/azurite/node_modules/.bin/azurite-blob"
    if shutil.which("node") is None:
        return None
    return str(own) if own.exists() else shutil.which("azurite-blob")


if __name__ == "__main__":
    shared.keep(Path(sys.argv[1]), _started)
