"""A short run of what `scripts/fuzz` does for hours: fixed seeds, and inputs that once failed."""

from __future__ import annotations

from random import Random

import pytest

from dvlite.errors import DvliteError
from tests.fuzzing.mutator import mutated
from tests.fuzzing.targets import TARGETS

EXECUTIONS = 400
# (target, input) that raised something else once.
FOUND: tuple[tuple[str, bytes], ...] = (
    ("ignore", b"[b-a]\n"),
    ("dvc-manifest", b'[{"md5": "d8e8fca2dc0f896fd7cb4cb0031ba249", "relpath": "\\ud800"}]'),
    ("ignore", b"a/[a-z]?*********\\0\n"),
)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_read_is_an_error_of_ours_or_none(name: str) -> None:
    target, random = TARGETS[name], Random(name)
    refused = 0
    for _ in range(EXECUTIONS):
        data = mutated(random, target.seeds)
        try:
            target.run(data)
        except DvliteError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name}: {data!r}") from error
    assert name in _NEVER_REFUSE or refused > EXECUTIONS // 20


# Of these, whatever is not understood counts as absent.
_NEVER_REFUSE = ("conflicted", "lfs", "stat-index", "stat-index-sealed", "ignore", "dvc-manifest")


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_taken(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_stays_mended(name: str, data: bytes) -> None:
    try:
        TARGETS[name].run(data)
    except DvliteError:
        return
