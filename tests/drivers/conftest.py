"""A repository whose git merges and shows pointers with dvlite."""

from __future__ import annotations

import os
import subprocess

import pytest

from dvlite.ops.drivers import install_drivers
from dvlite.project import Project
from tests.repositories import TIMEOUT_S, Ran, Repository


@pytest.fixture
def driven(repository: Repository) -> Repository:
    """A repository with the drivers, and a folder `data` of five files on `main`."""
    return with_drivers(repository)


def with_drivers(repository: Repository) -> Repository:
    install_drivers(Project.open(str(repository.path)))
    repository.commit("drivers")
    return repository


def git(repository: Repository, *words: str, env: dict[str, str] | None = None) -> Ran:
    """git, which may end as it likes."""
    command = ["git", "-C", str(repository.path), *words]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, env=environment)
    return Ran(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))
