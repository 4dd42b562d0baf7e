"""The stat index: golden bytes, and anything odd makes it empty, never wrong."""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import pytest
from xxhash import xxh3_128_digest

from dvlite.workspace.statindex import Block, StatIndex, is_settled, load, save, signature

STATS = array("q", [0o100644, 5, 1_000_000_007, 2_000_000_009, 11])
NAMES = b"a.txt"
BLOCK = Block(
    signature(NAMES, STATS), b"\x03" * 32, 5, 1, NAMES, b"\0", STATS.tobytes(), b"\x04" * 32
)
BODY = (
    struct.pack(
        "<16s32sQQQIII",
        xxh3_128_digest(NAMES + b"\0\0" + STATS.tobytes()),
        b"\x03" * 32,
        5,
        1,
        0,
        3,
        5,
        1,
    )
    + b"sub"
    + NAMES
    + b"\0"
    + STATS.tobytes()
    + b"\x04" * 32
)
GOLDEN = struct.pack("<7sBQ16s", b"dvlstat", 1, 1, xxh3_128_digest(BODY)) + BODY


def test_the_bytes_of_an_index_never_change(tmp_path: Path) -> None:
    assert save(str(tmp_path / "index"), [(b"sub", BLOCK)])
    assert (tmp_path / "index").read_bytes() == GOLDEN


def test_an_index_reads_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "index").write_bytes(GOLDEN)
    block = load(str(tmp_path / "index")).get(b"sub")
    assert block is not None
    assert (block.oid, block.size, block.name_list()) == (BLOCK.oid, 5, [NAMES])
    assert block.stat_columns() == STATS


@pytest.mark.parametrize("at", range(len(GOLDEN)))
def test_damage_anywhere_makes_it_empty(tmp_path: Path, at: int) -> None:
    data = bytearray(GOLDEN)
    data[at] ^= 0x41
    (tmp_path / "index").write_bytes(data)
    index = load(str(tmp_path / "index"))
    assert index.blocks == StatIndex().blocks


def test_an_index_of_a_newer_version_is_empty(tmp_path: Path) -> None:
    newer = GOLDEN[:7] + b"\x02" + GOLDEN[8:]  # the checksum covers what follows the head
    (tmp_path / "index").write_bytes(newer)
    assert not load(str(tmp_path / "index")).blocks


def test_an_index_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert not load(str(tmp_path / "index")).blocks


@pytest.mark.parametrize("length", [0, 1, 31, 32, 40, len(GOLDEN) - 1])
def test_a_cut_index_is_empty(tmp_path: Path, length: int) -> None:
    (tmp_path / "index").write_bytes(GOLDEN[:length])
    assert not load(str(tmp_path / "index")).blocks


def test_a_file_that_changed_just_now_is_not_trusted() -> None:
    now = 1_700_000_000_123_456_789
    assert is_settled(now - 60_000_000, now)
    assert not is_settled(now - 40_000_000, now)
    assert not is_settled(now + 1, now)
    whole_second = 1_700_000_000_000_000_000
    assert not is_settled(whole_second, whole_second + 1_500_000_000)
