"""A repository whose git calls dvlite by its hooks, as `dvlite install` sets it up."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dvlite.ops.install import install
from dvlite.project import Project
from tests.repositories import Repository

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def program(tmp_path: Path) -> str:
    """How a shell starts the dvlite under test, whatever its environment."""
    script = tmp_path / "bin with space" / "dvlite"
    script.parent.mkdir()
    script.write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} "
        f'exec {shlex.quote(sys.executable)} -m dvlite "$@"\n'
    )
    script.chmod(0o755)
    return shlex.quote(str(script))


@pytest.fixture
def hooked(repository: Repository, program: str) -> Repository:
    """With hooks, and a folder `data` and a file `model` in its second commit, all pushed."""
    install(Project.open(str(repository.path)), program)
    repository.add_and_commit({"data/a": b"a", "data/b": b"b", "model": b"one"}, "data", "model")
    repository.git("push", "--quiet", "--set-upstream", "origin", "main")
    return repository


@pytest.fixture
def cloned(hooked: Repository, program: str) -> Callable[[str], Repository]:
    """Further clones with their data and hooks."""

    def clone(name: str) -> Repository:
        other = hooked.clone(name)
        other.dvlite("pull")
        install(Project.open(str(other.path)), program)
        return other

    return clone


def bare_environment() -> dict[str, str]:
    """What a program gets that no shell has started: no virtual environment is active."""
    return {name: os.environ[name] for name in ("HOME", "GIT_CONFIG_GLOBAL")} | {
        "PATH": "/usr/bin:/bin"
    }
