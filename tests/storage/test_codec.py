"""Frames: golden bytes, bounded decompression, and no damage that goes unnoticed."""

from __future__ import annotations

import random
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.codec import (
    HEAD,
    best_width,
    check_frame,
    pack_frame,
    unpack_frame,
    unpack_into,
)

from .damage import assert_refused, mutations, truncations

GOLDEN = bytes.fromhex(
    "000000000000000006000000000000000600000000000000d032e8f33943908173746f726564"
)
COMPRESSIBLE = b"the same again and again " * 40


def frame_of(codec: int, stored: bytes, raw_length: int) -> bytes:
    """A frame with a right checksum and anything else."""
    checksum = xxh3_64_intdigest(stored)
    return struct.pack("<BBHIQQQ", codec, 0, 0, 0, len(stored), raw_length, checksum) + stored


def in_place(frame: bytes) -> bytes:
    """The raw bytes of a frame, written where somebody wants them."""
    raw_length = min(HEAD.unpack_from(frame)[5], 1 << 20) if len(frame) >= HEAD.size else 0
    around = bytearray(b"-" * (raw_length + 2))
    try:
        if not unpack_into(frame, memoryview(around)[1:-1]):
            raise CorruptError("another length")
    except (CorruptError, FormatVersionError):
        assert around == b"-" * len(around)
        raise
    assert around[:1] == around[-1:] == b"-"
    return bytes(around[1:-1])


def floats(code: str, count: int = 16_384) -> bytes:
    """Normally distributed weights, as half (e), single (f) or bfloat16 (b) floats."""
    source = random.Random(code)
    values = [source.gauss(0, 0.02) for _ in range(count)]
    if code != "b":
        return struct.pack(f"<{count}{code}", *values)
    return b"".join(struct.pack("<f", value)[2:] for value in values)


# width 2, planes of 2 and 1 bytes, both as they are
GOLDEN_PLANES = bytes.fromhex("020000000200000001000000616362")


def test_golden_planes() -> None:
    assert unpack_frame(frame_of(2, GOLDEN_PLANES, 3)) == b"abc"


@pytest.mark.parametrize(
    ("code", "width", "most"), [("e", 2, 0.86), ("b", 2, 0.72), ("f", 4, 0.87)]
)
def test_tensors_shrink_in_planes(code: str, width: int, most: float) -> None:
    raw = floats(code)
    assert best_width(raw) == width
    frame = pack_frame(raw, width)
    assert frame[0] == 2
    assert len(frame) < len(raw) * most < len(pack_frame(raw))
    assert unpack_frame(frame) == raw


@pytest.mark.parametrize(
    "raw",
    [
        random.Random(1).randbytes(65_536),
        COMPRESSIBLE * 50,
        b"",
        b"x",
        b"1.25,3.5,2021-03-04\n" * 900,
    ],
    ids=["random", "repeated", "empty", "one", "table"],
)
def test_other_bytes_are_not_cut_into_planes(raw: bytes) -> None:
    assert best_width(raw) == 1


@given(st.binary(max_size=300), st.integers(1, 40), st.sampled_from([1, 2, 4]))
def test_any_width_gives_the_bytes_back(piece: bytes, times: int, width: int) -> None:
    raw = piece * times
    frame = pack_frame(raw, width)
    assert unpack_frame(frame) == raw
    assert len(frame) <= len(raw) + HEAD.size


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"\x02",
        b"\x03" + GOLDEN_PLANES[1:],
        b"\x00" + GOLDEN_PLANES[1:],
        b"\x04" + GOLDEN_PLANES[1:],
        b"\x02\x01" + GOLDEN_PLANES[2:],
        GOLDEN_PLANES[:-1],
        GOLDEN_PLANES + b"x",
        bytes.fromhex("020000000100000002000000616362"),
        bytes.fromhex("02000000ffffffff01000000616362"),
    ],
)
def test_planes_that_do_not_fit_are_refused(stored: bytes) -> None:
    with pytest.raises(CorruptError):
        unpack_frame(frame_of(2, stored, 3))


def test_a_plane_that_would_grow_past_its_size_is_refused() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(10_000_000))
    stored = struct.pack("<B3xII", 2, len(bomb), 1) + bomb + b"x"
    with pytest.raises(CorruptError):
        unpack_frame(frame_of(2, stored, 3))


def test_golden_bytes() -> None:
    assert pack_frame(b"stored") == GOLDEN
    assert unpack_frame(GOLDEN) == b"stored"


def test_an_empty_frame_is_its_head() -> None:
    assert (
        pack_frame(b"").hex() == "000000000000000000000000000000000000000000000000c294d3380580062d"
    )
    assert unpack_frame(pack_frame(b"")) == b""


def test_what_compresses_is_one_zstd_frame_that_declares_its_size() -> None:
    frame = pack_frame(COMPRESSIBLE)
    codec, _, _, _, stored_length, raw_length, _ = HEAD.unpack_from(frame)
    assert (codec, stored_length, raw_length) == (1, len(frame) - 32, len(COMPRESSIBLE))
    assert zstandard.frame_content_size(frame[32:]) == len(COMPRESSIBLE)
    assert unpack_frame(frame) == COMPRESSIBLE


@given(st.binary(max_size=5000), st.integers(1, 50))
def test_round_trip(piece: bytes, times: int) -> None:
    raw = piece * times
    frame = pack_frame(raw)
    assert unpack_frame(frame) == raw
    assert check_frame(frame) == len(raw)
    assert len(frame) <= len(raw) + HEAD.size


FRAMES = [GOLDEN, pack_frame(COMPRESSIBLE), pack_frame(floats("e", 400), 2)]


@pytest.mark.parametrize("frame", FRAMES, ids=["stored", "zstd", "planes"])
def test_every_damage_is_noticed(frame: bytes) -> None:
    assert in_place(frame) == unpack_frame(frame)
    for data in (*mutations(frame), *truncations(frame)):
        assert_refused(unpack_frame, data)
        assert_refused(in_place, data)


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert_refused(unpack_frame, data)


@given(st.binary(max_size=100), st.integers(0, 200))
def test_random_bytes_with_a_right_checksum_never_crash(stored: bytes, raw_length: int) -> None:
    for codec in (1, 2):
        assert_refused(unpack_frame, frame_of(codec, stored, raw_length))
        assert_refused(in_place, frame_of(codec, stored, raw_length))


@pytest.mark.parametrize("frame", FRAMES, ids=["stored", "zstd", "planes"])
def test_a_frame_of_another_length_leaves_the_place_alone(frame: bytes) -> None:
    for length in (0, 1, len(unpack_frame(frame)) - 1, len(unpack_frame(frame)) + 1):
        place = bytearray(b"-" * length)
        assert not unpack_into(frame, memoryview(place))
        assert place == b"-" * length


def test_an_unknown_codec_or_key_is_a_newer_version() -> None:
    for place in (0, 1):
        data = bytearray(GOLDEN)
        data[place] = 3
        with pytest.raises(FormatVersionError):
            unpack_frame(bytes(data))


def test_a_bomb_is_refused_before_it_is_decompressed() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(10_000_000))
    for claimed in (10_000_000, 100):
        with pytest.raises(CorruptError):
            unpack_frame(frame_of(1, bomb, claimed), max_raw_bytes=1000)


def test_a_zstd_frame_that_does_not_declare_its_size_is_refused() -> None:
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 1000)
    with pytest.raises(CorruptError):
        unpack_frame(frame_of(1, silent, 1000))
