"""Frames: golden bytes, bounded decompression, and no damage that goes unnoticed."""

from __future__ import annotations

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.codec import HEAD, check_frame, pack_frame, unpack_frame

from .damage import assert_refused, mutations, truncations

GOLDEN = bytes.fromhex(
    "000000000000000006000000000000000600000000000000d032e8f33943908173746f726564"
)
COMPRESSIBLE = b"the same again and again " * 40


def frame_of(codec: int, stored: bytes, raw_length: int) -> bytes:
    """A frame with a right checksum and anything else."""
    checksum = xxh3_64_intdigest(stored)
    return struct.pack("<BBHIQQQ", codec, 0, 0, 0, len(stored), raw_length, checksum) + stored


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


@pytest.mark.parametrize("frame", [GOLDEN, pack_frame(COMPRESSIBLE)], ids=["stored", "zstd"])
def test_every_damage_is_noticed(frame: bytes) -> None:
    for data in (*mutations(frame), *truncations(frame)):
        assert_refused(unpack_frame, data)


@given(st.binary(max_size=100))
def test_random_bytes_are_refused(data: bytes) -> None:
    assert_refused(unpack_frame, data)


@given(st.binary(max_size=100), st.integers(0, 200))
def test_random_bytes_with_a_right_checksum_never_crash(stored: bytes, raw_length: int) -> None:
    assert_refused(unpack_frame, frame_of(1, stored, raw_length))


def test_an_unknown_codec_or_key_is_a_newer_version() -> None:
    for place in (0, 1):
        data = bytearray(GOLDEN)
        data[place] = 2
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
