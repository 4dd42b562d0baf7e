"""The two tools that are compared: how each is installed, set up and told to begin a project.

From there on both take the same words: `add PATH`, `status`, `checkout`, `push`, `pull`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.remotes import Remotes
from bench.server import CREDENTIALS


@dataclass(frozen=True, slots=True)
class Tool:
    """A program under test, and the commands that make a git repository a project of its own.

    In the commands, `{url}` and `{endpoint}` are the remote's; `for_server` is what a remote on a
    server needs more than one in a folder.
    """

    name: str
    program: Path
    set_up: tuple[tuple[str, ...], ...]
    for_server: tuple[tuple[str, ...], ...]

    @property
    def version(self) -> str:
        """What the program says its version is."""
        said = subprocess.run(
            [self.program, "--version"], capture_output=True, text=True, check=True
        )
        return said.stdout.split()[-1].strip()


def dvlite() -> Tool:
    """Return dvlite as installed beside this Python."""
    set_up = (
        ("init",),
        ("config", "cache.link", "copy"),
        ("remote", "add", "store", "{url}", "--default"),
    )
    for_server = (("config", "remote.store.endpoint_url", "{endpoint}"),)
    return Tool("dvlite", Path(sys.executable).with_name("dvlite"), set_up, for_server)


def dvc(folder: Path) -> Tool:
    """Return DVC from a virtual environment, made with the newest version if there is none.

    Set up like dvlite: files are copied, pointers staged in git; nothing is sent home.
    """
    program = folder / "bin" / "dvc"
    if not program.exists():
        venv.create(folder, with_pip=True)
    if not list(folder.glob("lib/*/site-packages/dvc_s3")):
        print(f"installing DVC into {folder}", flush=True)
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "dvc[s3]"]
        subprocess.run(install, check=True)
    set_up = (
        ("init", "--quiet"),
        ("config", "core.analytics", "false"),
        ("config", "core.check_update", "false"),
        ("config", "core.autostage", "true"),
        ("config", "cache.type", "copy"),
        ("remote", "add", "--quiet", "--default", "store", "{url}"),
    )
    for_server = (("remote", "modify", "store", "endpointurl", "{endpoint}"),)
    return Tool("DVC", program, set_up, for_server)


def environment(folder: Path) -> dict[str, str]:
    """Return environment variables under which no setting or cache of the user counts."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    kept = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    return (
        kept
        | CREDENTIALS
        | {
            "HOME": str(home),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "dvc-site-cache"),
            "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc-config"),
            "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-config"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Benchmark",
            "GIT_AUTHOR_EMAIL": "benchmark@example.org",
            "GIT_COMMITTER_NAME": "Benchmark",
            "GIT_COMMITTER_EMAIL": "benchmark@example.org",
        }
    )


def quietly(command: Sequence[str | Path], folder: Path, environment: dict[str, str]) -> None:
    """Run a command that is not measured; its output shows only when it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


def begin(tool: Tool, repository: Path, remotes: Remotes, environment: dict[str, str]) -> None:
    """Make a repository with a project of this tool that knows its remote, and commit that."""
    repository.mkdir(parents=True)
    quietly(["git", "init", "--quiet"], repository, environment)
    url, endpoint = remotes.url(tool.name), remotes.endpoint
    for words in tool.set_up + (tool.for_server if endpoint else ()):
        filled = [word.format(url=url, endpoint=endpoint) for word in words]
        quietly([tool.program, *filled], repository, environment)
    commit(repository, "begin", environment)


def commit(repository: Path, message: str, environment: dict[str, str]) -> None:
    """Commit everything git sees."""
    quietly(["git", "add", "--all"], repository, environment)
    quietly(["git", "commit", "--quiet", "--message", message], repository, environment)
