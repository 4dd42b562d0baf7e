"""Numbers of one width, byte by byte: plane i holds every w-th raw byte from the i-th on.

Owns how they are taken apart and put together: in plain Python, or with numpy where that is
installed. Python does 3.5 GB/s and keeps all other threads waiting meanwhile, numpy 10 (together)
to 17 (apart) and lets them run.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Sequence
from typing import Any

# Importing numpy takes as long as Python needs for this many bytes.
_PAYS_BYTES = 256 << 20
# Below, the calls cost more than the bytes.
_LEAST_BYTES = 4096

_THREADS = "OPENBLAS_NUM_THREADS"
_loading = threading.Lock()
_is_loaded = False
_numpy_module: Any = None

_seen_bytes = 0


def split(raw: bytes | memoryview, width: int) -> list[bytes | memoryview]:
    """The planes of raw bytes; where `width` does not divide, the first are a byte longer."""
    numpy = _numpy(len(raw))
    if numpy is None:
        raw = bytes(raw)
        return [raw[first::width] for first in range(width)]
    whole = len(raw) // width
    numbers = numpy.frombuffer(raw, f"<u{width}", whole)
    planes: list[bytes | memoryview] = []
    for first in range(width):
        plane = numpy.empty(size_of(len(raw), width, first), "u1")
        plane[:whole] = numbers >> (8 * first) if first else numbers
        if len(plane) > whole:
            plane[whole] = raw[whole * width + first]
        planes.append(plane.data)
    return planes


def join(planes: Sequence[bytes | memoryview], raw_length: int) -> memoryview:
    """The raw bytes that `split` made these planes of; their sizes must be `size_of`."""
    raw = memoryview(bytearray(raw_length))
    join_into(planes, raw)
    return raw


def join_into(planes: Sequence[bytes | memoryview], target: memoryview) -> None:
    """As `join`, into memory that is there and as long as the raw bytes are."""
    width, numpy = len(planes), _numpy(len(target))
    if numpy is None:
        raw = bytearray(len(target))
        for first, plane in enumerate(planes):
            raw[first::width] = memoryview(plane)
        target[:] = raw
        return
    whole = len(target) // width
    numbers = [numpy.frombuffer(plane, "u1", whole) for plane in planes]
    while len(numbers) > 2:
        wider = f"<u{2 * numbers[0].itemsize}"
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        numbers = [_paired(numpy, low, high, numpy.empty(whole, wider)) for low, high in pairs]
    low, high = numbers
    _paired(numpy, low, high, numpy.frombuffer(target, f"<u{width}", whole))
    for first in range(len(target) % width):
        target[whole * width + first] = memoryview(planes[first])[whole]


def _paired(numpy: Any, low: Any, high: Any, out: Any) -> Any:
    """Writes the numbers that two halves make to `out`: three times as fast as each half to every
    second place."""
    numpy.multiply(high, 1 << (8 * low.itemsize), out=out, dtype=out.dtype)
    return numpy.add(out, low, out=out)


def expect(raw_bytes: int) -> None:
    """Says that so many bytes may come: they count as if they had been seen."""
    global _seen_bytes
    _seen_bytes = max(_seen_bytes, raw_bytes)


def size_of(raw_length: int, width: int, first: int) -> int:
    """How many bytes a plane of so many raw bytes has."""
    return len(range(first, raw_length, width))


def _numpy(raw_length: int) -> Any:
    """numpy, if it is there and pays; else None."""
    global _seen_bytes
    _seen_bytes += raw_length
    if raw_length < _LEAST_BYTES or _seen_bytes < _PAYS_BYTES:
        return None
    return _numpy_module if _is_loaded else _load()


def _load() -> Any:
    """Imports numpy without the threads of its linear algebra: each would wait for work in a busy
    loop for a tenth of a second. What this process starts later may want them."""
    global _numpy_module, _is_loaded
    with _loading:
        given = os.environ.get(_THREADS)
        os.environ[_THREADS] = given or "1"
        try:
            _numpy_module = importlib.import_module("numpy")
        except ImportError:
            _numpy_module = None
        finally:
            if given is None:
                del os.environ[_THREADS]
        _is_loaded = True
        return _numpy_module
