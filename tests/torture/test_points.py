"""A sample of the points at which a command can be broken; scripts/torture tries all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.campaign import Campaign, Found, Order, choose
from tests.torture.scenes import SCENES, UNSYNCED
from tests.torture.shim import compiler

SEED = 1
KILLS, FAULTS, CRASHES = 120, 60, 2
# What changes owners and rights alone needs no room on a disk.
RIGHTS_ONLY = {"cache-share"}
# This many processes try points at once.
WORKERS = 2


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    if compiler() is None or not sys.platform.startswith("linux"):
        pytest.skip("NOT TESTED: commands broken at every point (needs Linux and a C compiler)")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="dvlite-torture-", dir=memory))
    try:
        with Campaign(folder, WORKERS) as workers:
            yield workers
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        shutil.rmtree(folder)


def attempt(campaign: Campaign, mode: str, sample: int, always: bool = False) -> Found:
    points = campaign.points([scene.name for scene in SCENES], mode)
    without = {name for name, count in points.items() if not count}
    assert without <= (set() if mode == "kill" else RIGHTS_ONLY), points
    return campaign.run(choose(points, mode, sample, SEED, always), lambda text: None)


@pytest.mark.parametrize(
    ("mode", "sample", "always"),
    [
        ("kill", KILLS, False),
        ("enospc", FAULTS // 2, True),
        ("enospc", FAULTS // 4, False),
        ("eio", FAULTS // 4, False),
    ],
)
def test_broken_anywhere_nothing_is_lost_and_the_next_command_works(
    campaign: Campaign, mode: str, sample: int, always: bool
) -> None:
    found = attempt(campaign, mode, sample, always)
    assert sum(found.tried.values()) == sample
    assert not found.failures, "\n".join(found.failures)


def test_what_was_done_survives_a_power_failure(campaign: Campaign) -> None:
    orders = [Order(scene.name, "power", CRASHES, seed=SEED) for scene in SCENES]
    found = campaign.run(orders, lambda text: None)
    assert not found.failures, "\n".join(found.failures)


def test_without_syncing_a_power_failure_loses_what_was_done(campaign: Campaign) -> None:
    """Else the test before would see nothing."""
    found = campaign.run([Order(UNSYNCED.name, "power", 12, seed=SEED)], lambda text: None)
    assert "a wrong object" in found.failures[0] or "is not in the cache" in found.failures[0]
