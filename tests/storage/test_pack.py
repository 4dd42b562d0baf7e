"""Rows and packs: golden bytes, and damage is noticed."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.codec import pack_frame, unpack_frame
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pack import META, Member, PackWriter, check_head, read_pack_rows
from dvlite.storage.row import ROW_BYTES, Row, RowKind, read_row, read_rows, sort_rows

from .damage import after_magic, mutations, truncations

U32 = st.integers(0, 2**32 - 1)
OIDS = st.binary(min_size=32, max_size=32)
ROWS = st.builds(Row, OIDS, st.integers(0, 255), U32, U32, U32, U32, U32)

ROW = Row(bytes(range(32)), RowKind.FILE_RECIPE, 1, 0x02030405, 0x06070809, 0x0A0B0C0D, 0x0E0F1011)
GOLDEN_ROW = bytes.fromhex(
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f04000000010000000504"
    "0302090807060d0c0b0a11100f0e"
)
GOLDEN = bytes.fromhex(
    "64766c7061636b0101000000000000000300000000000000000000000000000000000000000000000300"
    "0000000000000300000000000000a0e11f32a7ab1f916f6e650000000000000000080000000000000008"
    "0000000000000084f1a353b7b9eec474776f746872656511111111111111111111111111111111111111"
    "111111111111111111111111110100000000000000200000002300000000000000030000003333333333"
    "333333333333333333333333333333333333333333333333333333010000000000000043000000280000"
    "000000000003000000222222222222222222222222222222222222222222222222222222222222222201"
    "00000000000000430000002800000003000000050000006b000000000000000300000000000000e1f214"
    "85147c627c000000000000000064766c7061636b45"
)


def build_pack(epoch: int = 0) -> tuple[bytes, bytes]:
    """Two frames that do not compress, so that no version of zstd matters; bytes and id."""
    stream = io.BytesIO()
    writer = PackWriter(stream, META, epoch)
    writer.add(b"\x11" * 32, RowKind.FILE, b"one")
    members = [Member(b"\x33" * 32, RowKind.FILE, 0, 3), Member(b"\x22" * 32, RowKind.FILE, 3, 5)]
    writer.add_frame(pack_frame(b"twothree"), members)
    pack_id = writer.finish()
    return stream.getvalue(), pack_id


def contents(data: bytes) -> list[tuple[bytes, int, bytes]]:
    """Id, kind and bytes of everything in a pack, read as a reader would."""
    found = []
    for row in read_pack_rows(data):
        raw = unpack_frame(data[row.frame_offset : row.frame_offset + row.frame_length])
        piece = raw[row.inner_offset : row.inner_offset + row.raw_length]
        found.append((row.id, row.kind, piece))
    return found


def test_golden_row() -> None:
    assert ROW.pack_bytes() == GOLDEN_ROW
    assert read_row(GOLDEN_ROW) == ROW
    assert len(GOLDEN_ROW) == ROW_BYTES


@given(st.lists(ROWS, max_size=20))
def test_rows_round_trip(rows: list[Row]) -> None:
    assert read_rows(b"".join(row.pack_bytes() for row in rows)) == rows


def test_half_a_row_is_refused() -> None:
    with pytest.raises(CorruptError):
        read_rows(GOLDEN_ROW + GOLDEN_ROW[:-1])


@given(st.lists(ROWS, max_size=20))
def test_sorted_rows_are_in_order_and_name_each_id_and_kind_once(rows: list[Row]) -> None:
    again = [ROW, *rows, *[row._replace(pack=0) for row in rows], ROW]
    found = read_rows(sort_rows(b"".join(row.pack_bytes() for row in again)))
    keys = [(row.id, row.kind) for row in found]
    assert keys == sorted(set(keys))
    assert set(keys) == {(row.id, row.kind) for row in again}


def test_golden_pack() -> None:
    data, pack_id = build_pack(epoch=3)
    assert data == GOLDEN
    assert pack_id == hash_bytes(GOLDEN)
    assert pack_id.hex() == "2fe70b744247a7daf5c974374815131d6f63f6d3fb40f5970fd538a2153d986a"
    assert check_head(GOLDEN) == (META, 3)


def test_a_pack_gives_back_what_was_put_in() -> None:
    assert contents(GOLDEN) == [
        (b"\x11" * 32, RowKind.FILE, b"one"),
        (b"\x33" * 32, RowKind.FILE, b"two"),
        (b"\x22" * 32, RowKind.FILE, b"three"),
    ]


def test_the_same_frames_have_another_name_in_another_epoch() -> None:
    assert build_pack(epoch=3)[1] != build_pack(epoch=4)[1]


def test_an_empty_pack_is_head_and_tail() -> None:
    stream = io.BytesIO()
    PackWriter(stream).finish()
    head = b"dvlpack\x01" + bytes(24)
    tail = struct.pack("<QQQ8x8s", 32, 0, xxh3_64_intdigest(b""), b"dvlpackE")
    assert stream.getvalue() == head + tail
    assert read_pack_rows(stream.getvalue()) == []


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatVersionError):
        read_pack_rows(b"dvlpack\x02" + GOLDEN[8:])


@given(st.lists(st.lists(st.tuples(OIDS, st.binary(max_size=50)), min_size=1), max_size=6))
def test_round_trip(frames: list[list[tuple[bytes, bytes]]]) -> None:
    stream = io.BytesIO()
    writer = PackWriter(stream)
    for frame in frames:
        members, raw = [], b""
        for oid, data in frame:
            members.append(Member(oid, RowKind.FILE, len(raw), len(data)))
            raw += data
        writer.add_frame(pack_frame(raw), members)
    pack_id = writer.finish()
    expected = [(oid, RowKind.FILE, data) for frame in frames for oid, data in frame]
    assert contents(stream.getvalue()) == expected
    assert pack_id == hash_bytes(stream.getvalue())


def test_damage_never_gives_other_contents() -> None:
    right = contents(GOLDEN)
    for data in mutations(GOLDEN):
        # reserved bytes and the epoch are guarded by the pack's name alone
        assert hash_bytes(data) != hash_bytes(GOLDEN)
        try:
            assert contents(data) == right
        except CorruptError:
            continue


def test_cut_or_longer_bytes_are_refused() -> None:
    for data in truncations(GOLDEN):
        with pytest.raises(CorruptError):
            read_pack_rows(data)


@given(after_magic(b"dvlpack"))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        read_pack_rows(data)
