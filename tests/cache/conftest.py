"""Repositories whose cache has something of everything in it."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repositories import Repository

LARGE = random.Random("large").randbytes(256_000)
FILES = {f"data/f{n}": b"%d" % n for n in range(100)}


@pytest.fixture
def full(repository: Repository) -> Repository:
    """Two large files and a folder of small ones, committed and pushed."""
    files = {**FILES, "data/large": b"in a folder" + LARGE, "model": b"model" + LARGE}
    repository.add_and_commit(files, "data", "model")
    repository.share()
    return repository


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the test's repositories."""
    here = tmp_path.stat().st_dev
    for place in ("/dev/shm", "/tmp", "/var/tmp"):
        if os.access(place, os.W_OK) and os.stat(place).st_dev != here:
            with tempfile.TemporaryDirectory(prefix="dvlite-other-", dir=place) as folder:
                yield Path(folder)
            return
    pytest.skip("NOT TESTED: caches on another file system (there is none to write to)")


def cache_of(repository: Repository) -> Path:
    """Where a repository's cache is by default."""
    return repository.path / ".git" / "dvlite" / "cache"


def names(folder: Path) -> set[str]:
    """Objects and packs of a cache."""
    found = (*folder.glob("objects/*/*"), *folder.glob("packs/*"))
    return {str(path.relative_to(folder)) for path in found}


def age(folder: Path, hours: float) -> None:
    """Everything in a cache was last used so many hours ago."""
    then = time.time() - hours * 3600
    for path in (*folder.glob("objects/*/*"), *folder.glob("packs/*")):
        os.utime(path, (then, then))


def whole(repository: Repository) -> None:
    """Everything that is named is in the cache, undamaged, and checked out."""
    repository.dvlite("fsck")
    assert "clean" in repository.dvlite("status").out
