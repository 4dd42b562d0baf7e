"""Planes: with numpy and without, the same bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from dvlite.storage import planes
from dvlite.storage.planes import expect, join, join_into, size_of, split

RAW = random.Random(7).randbytes(40_003)


@pytest.fixture(params=["numpy", "python"], autouse=True)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways; numpy from the first byte on."""
    monkeypatch.setattr(planes, "_PAYS_BYTES", 0 if request.param == "numpy" else sys.maxsize)
    monkeypatch.setattr(planes, "_LEAST_BYTES", 0)
    return str(request.param)


@pytest.mark.parametrize("width", [2, 4])
@pytest.mark.parametrize("length", [2, 3, 4, 5, 6, 7, 8, 4096, 39_999, 40_000, 40_001, 40_003])
def test_apart_and_together(width: int, length: int) -> None:
    raw = RAW[:length]
    apart = split(raw, width)
    assert [bytes(plane) for plane in apart] == [raw[first::width] for first in range(width)]
    assert [len(plane) for plane in apart] == [size_of(length, width, i) for i in range(width)]
    assert bytes(join(apart, length)) == raw
    around = bytearray(b"-" * (length + 2))
    join_into(apart, memoryview(around)[1:-1])
    assert around == b"-" + raw + b"-"


def test_parts_of_other_bytes_do_as_well() -> None:
    inside = memoryview(b"x" + RAW)[1:]
    apart = split(inside, 2)
    assert join([memoryview(b"y" + bytes(plane))[1:] for plane in apart], len(RAW)) == RAW


def test_each_way_is_the_one_that_was_asked_for(means: str) -> None:
    assert (planes._numpy(10) is not None) == (means == "numpy")


def test_without_numpy_it_is_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.setattr(planes, "_is_loaded", False)
    monkeypatch.setattr(planes, "_numpy_module", None)
    assert planes._numpy(1 << 30) is None
    assert bytes(join(split(RAW, 4), len(RAW))) == RAW


def test_numpy_comes_at_once_where_much_is_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "_PAYS_BYTES", 1 << 40)
    monkeypatch.setattr(planes, "_seen_bytes", 0)
    expect(1 << 20)
    assert planes._numpy(10) is None
    expect(1 << 40)
    expect(5)
    assert planes._numpy(10) is not None


def test_numpy_starts_no_threads_and_leaves_the_environment_alone() -> None:
    """However many threads want it first."""
    code = """
import os, time
from concurrent.futures import ThreadPoolExecutor
from dvlite.storage import planes
planes.expect(1 << 40)
with ThreadPoolExecutor(8) as pool:
    for numpy in list(pool.map(planes._numpy, [1 << 20] * 8)):
        assert numpy.zeros(1).shape
deadline = time.monotonic() + 10
while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < deadline:
    time.sleep(0.01)  # threads that were joined are still about to end
print(len(os.listdir("/proc/self/task")), "OPENBLAS_NUM_THREADS" in os.environ)
"""
    environ = {key: value for key, value in os.environ.items() if "THREADS" not in key}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["1", "False"], "")
