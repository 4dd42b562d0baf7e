"""Chunk cuts never change: they are part of every remote's format."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.storage.chunker import MAX_CHUNK, MIN_CHUNK, PARAMETERS, SMALL_BYTES, cut

# Pseudo-random bytes that any BLAKE3 gives.
BUFFER = blake3(b"dvlite chunk cuts").digest(length=10 << 20)
GOLDEN = [
    33132,
    82849,
    170557,
    66603,
    18341,
    83109,
    98205,
    80931,
    67130,
    66155,
    80150,
    77551,
    72286,
    67535,
    71013,
    96362,
    27640,
    90169,
    79629,
    83901,
    67908,
    87169,
    73443,
    69532,
    19832,
    67003,
    69595,
    36744,
    85800,
    6878,
]
GOLDEN_ALL = "84648c3032179649962f53547bc35be837db04198c2dd04123db9a8dcca6dc46"
GEAR = [int.from_bytes(hashlib.md5(bytes([i]) * 64).digest()[:8], "big") for i in range(256)]
STRICT, LOOSE = 0x0000D90707537000, 0x0000D90313530000


class Drip(io.BytesIO):
    """A stream that gives at most so many bytes at once, as pipes and networks do."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def readinto(self, buffer: Any) -> int:
        return super().readinto(memoryview(buffer)[: self._most])


def pieces_of(stream: io.BytesIO) -> list[bytes]:
    return [bytes(chunk) for chunks in cut(stream) for chunk in chunks]


def lengths(data: bytes) -> list[int]:
    return [len(piece) for piece in pieces_of(io.BytesIO(data))]


def reference_cut(data: bytes) -> Iterator[int]:
    """The cuts as docs/formats.md describes them."""
    while data:
        length = _reference_length(data)
        yield length
        data = data[length:]


def _reference_length(data: bytes) -> int:
    if len(data) <= 16_384:
        return len(data)
    end, middle = min(len(data), 262_144), min(65_536, len(data))
    gear_hash = 0
    for position in range(16_384, end // 2 * 2, 2):
        mask = STRICT if position < middle // 2 * 2 else LOOSE
        gear_hash = ((gear_hash << 2) + (GEAR[data[position]] << 1)) % 2**64
        if not gear_hash & (mask << 1):
            return position
        gear_hash = (gear_hash + GEAR[data[position + 1]]) % 2**64
        if not gear_hash & mask:
            return position + 1
    return end


def test_golden_cuts() -> None:
    assert lengths(BUFFER[: 2 << 20]) == GOLDEN


def test_golden_cuts_of_more_than_one_read() -> None:
    text = ",".join(map(str, lengths(BUFFER)))
    assert blake3(text.encode()).hexdigest() == GOLDEN_ALL


def test_golden_parameters() -> None:
    assert SMALL_BYTES == 131_072
    assert PARAMETERS == {
        "algorithm": "fastcdc-2020",
        "average": 65_536,
        "maximum": 262_144,
        "minimum": 16_384,
        "normalization": 2,
        "seed": 0,
    }


@pytest.mark.parametrize("start", [0, 1, 3_333_333])
def test_the_description_of_the_algorithm_gives_the_same_cuts(start: int) -> None:
    data = BUFFER[start : start + 1_000_001]
    assert list(reference_cut(data)) == lengths(data)


@pytest.mark.parametrize("size", [0, 1, MIN_CHUNK, MIN_CHUNK + 1, MAX_CHUNK, MAX_CHUNK + 1])
def test_chunks_of_equal_bytes_join_to_the_whole(size: int) -> None:
    data = bytes(size)
    assert b"".join(pieces_of(io.BytesIO(data))) == data
    assert lengths(data) == list(reference_cut(data))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 4 << 20), st.integers(0, 6 << 20), st.integers(50_000, 5 << 20))
def test_cuts_do_not_depend_on_how_the_stream_is_read(start: int, size: int, most: int) -> None:
    data = BUFFER[start : start + size]
    pieces = pieces_of(Drip(data, most))
    assert [len(piece) for piece in pieces] == lengths(data)
    assert b"".join(pieces) == data


def test_chunks_stay_within_their_bounds() -> None:
    found = lengths(BUFFER)
    assert all(MIN_CHUNK <= length <= MAX_CHUNK for length in found[:-1])


def test_an_insertion_changes_only_the_chunks_around_it() -> None:
    changed = BUFFER[:3_000_000] + b"inserted" + BUFFER[3_000_000:]
    before = {blake3(chunk).digest() for chunk in pieces_of(io.BytesIO(BUFFER))}
    after = {blake3(chunk).digest() for chunk in pieces_of(io.BytesIO(changed))}
    assert len(after - before) <= 3
