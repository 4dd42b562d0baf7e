"""The real push and gc keep the model's invariant, in whatever order their steps come; and break it
where a rule is taken from them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from dvlite.storage import merging, remotecensus, remotegc
from dvlite.storage.remote import Listing, SegmentName
from tests.model.machine import Lost, World

RUNS, STEPS = 15, 100


def run(folder: Path, seed: int, patch: pytest.MonkeyPatch) -> World:
    """One history. What depends on sizes is as it is, or as if everything were large or small."""
    source = random.Random(seed)
    patch.setattr(merging, "MERGE_COUNT", 2)
    patch.setattr(remotecensus, "MANY_SMALL", source.choice([1, 64]))
    patch.setattr(remotegc, "_STAY_BYTES", source.choice([0, 8 << 20]))
    folder.mkdir()
    world = World(folder, source)
    world.run(STEPS)
    return world


@pytest.mark.parametrize("part", range(4))
def test_nothing_is_lost_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    worlds = [run(tmp_path / str(n), part * RUNS + n, monkeypatch) for n in range(RUNS)]
    assert sum(world.deleted for world in worlds) > 0


def test_a_pusher_that_counts_on_everything_loses_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def everything(listing: Listing) -> tuple[SegmentName, ...]:
        return listing.readable

    monkeypatch.setattr(Listing, "view", everything)
    with pytest.raises(Lost):
        for seed in range(20, 200):  # soon, though threads may take turns otherwise
            run(tmp_path / str(seed), seed, monkeypatch)
