"""Segments: golden bytes, look-ups through the fan-out, and damage is noticed."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.oid import hash_bytes
from dvlite.storage.row import Row, RowKind, read_rows, sort_rows
from dvlite.storage.segment import (
    HEAD_BYTES,
    Counts,
    Stamp,
    encode,
    fan_bits,
    open_bytes,
    open_segment,
    read_head,
)

from .damage import after_magic, mutations, truncations

U32 = st.integers(0, 2**32 - 1)
OIDS = st.binary(min_size=32, max_size=32)
ROWS = st.lists(st.builds(Row, OIDS, st.just(RowKind.FILE), U32, U32, U32, U32, U32), max_size=8)

STAMP = Stamp(5, b"p" * 16, b"c" * 16, "1.2.3")
PACKS = [b"\xaa" * 32, b"\xbb" * 32]
CHUNKS = [Row(b"\x80" + bytes(31), RowKind.CHUNK, 1, 32, 100, 0, 200)]
OBJECTS = [
    Row(b"\x01" * 32, RowKind.FILE, 0, 32, 64, 3, 9),
    Row(b"\xf0" * 32, RowKind.TREE_RECIPE, 1, 132, 70, 0, 99),
]
ROOTS = [b"\xf0" * 32]
GOLDEN = bytes.fromhex(
    "64766c7365676d0105000000000000000100000000000000020000000000000002000000000000000100"
    "0000000000007070707070707070707070707070707063636363636363636363636363636363312e322e"
    "330000000000000000000000000000000000000000000000000000000000000000000000000000000000"
    "000080000000000000000000000000000000000000000000000000000000000000000000000001000000"
    "200000006400000000000000c80000000100000076c5aa3ab851019f0101010101010101010101010101"
    "010101010101010101010101010101010101010000000000000020000000400000000300000009000000"
    "f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f003000000010000008400"
    "0000460000000000000063000000aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaabbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb0200000099d3"
    "68c50bc9f7aaf0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f080000000"
    "0000000038000000000000000000000000000000b8000000000000000c00000000000000e9f5cfa760e5"
    "3ddcc4000000000000007000000000000000000000000000000034010000000000004000000000000000"
    "e0381828c4ec6a8774010000000000000c00000000000000c0c06ec08a8e66d280010000000000002000"
    "0000000000004f33f1b4d3748aa064766c7365676d45"
)


def pack_rows(rows: Sequence[Row]) -> bytes:
    return sort_rows(b"".join(row.pack_bytes() for row in rows))


def many_rows(count: int, kind: int) -> list[Row]:
    return [Row(hash_bytes(b"%d" % n), kind, 0, n, 40, 0, 8) for n in range(count)]


def everything(data: bytes) -> tuple[list[Row], list[Row], list[bytes], list[bytes]]:
    """All that a segment tells a reader, each section checked as a reader checks it."""
    segment = open_bytes(data)
    chunks = read_rows(segment.chunks.all_rows())
    return chunks, read_rows(segment.objects.all_rows()), segment.pack_ids(), segment.roots()


def test_golden_bytes() -> None:
    assert encode(pack_rows(CHUNKS), pack_rows(OBJECTS), PACKS, ROOTS, STAMP) == GOLDEN
    assert everything(GOLDEN) == (CHUNKS, OBJECTS, PACKS, ROOTS)
    assert read_head(GOLDEN[:HEAD_BYTES]) == (Counts(2, 1, 2, 1), STAMP)


def test_golden_hash_of_a_larger_one() -> None:
    chunks, objects = many_rows(1000, RowKind.CHUNK), many_rows(500, RowKind.FILE)
    data = encode(pack_rows(chunks), pack_rows(objects), PACKS)
    assert (
        hash_bytes(data).hex() == "466768079aa84fa85fe04bbbff84f4e2fe1762c28fcba9a44ec7f70535e9203c"
    )


def test_golden_fan_out() -> None:
    # an empty table has a fan-out of two buckets: part of the format
    bits = {0: 1, 1: 0, 219: 0, 220: 1, 438: 1, 439: 2, 10_000_000: 16, 2**40: 24}
    assert {rows: fan_bits(rows) for rows in bits} == bits


def test_an_empty_segment_holds_nothing() -> None:
    data = encode(b"", b"", [])
    assert len(data) == HEAD_BYTES + 4 * 12 + 6 * 24 + 8
    assert everything(data) == ([], [], [], [])
    assert open_bytes(data).objects.find(bytes(32)) is None


def test_the_counts_give_every_sections_place() -> None:
    counts = read_head(GOLDEN)[0]
    assert counts.size_bytes() == len(GOLDEN)
    trailer = GOLDEN[-8 - 6 * 24 : -8]
    stored = [place[:2] for place in struct.iter_unpack("<QQQ", trailer)]
    assert stored == counts.sections()


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatVersionError):
        open_bytes(b"dvlsegm\x02" + GOLDEN[8:])


@given(ROWS, ROWS, st.lists(OIDS, max_size=3), st.sets(OIDS, max_size=3))
def test_round_trip(
    chunks: list[Row], objects: list[Row], packs: list[bytes], roots: set[bytes]
) -> None:
    chunk_rows, object_rows = pack_rows(chunks), pack_rows(objects)
    data = encode(chunk_rows, object_rows, packs, roots, STAMP)
    expected = (read_rows(chunk_rows), read_rows(object_rows), packs, sorted(roots))
    assert everything(data) == expected
    again = open_bytes(data)
    assert (
        encode(
            again.chunks.all_rows(),
            again.objects.all_rows(),
            again.pack_ids(),
            again.roots(),
            again.stamp(),
        )
        == data
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2000), st.sets(st.integers(0, 3000), max_size=60))
def test_look_ups_find_what_is_there_and_nothing_else(count: int, asked: set[int]) -> None:
    rows = many_rows(count, RowKind.FILE)
    table = open_bytes(encode(b"", pack_rows(rows), PACKS)).objects
    wanted = {hash_bytes(b"%d" % number): number for number in asked}
    for oid, number in wanted.items():
        assert table.find(oid) == (rows[number] if number < count else None)
    found = {row.id: row for row in table.find_many(wanted)}
    assert found == {oid: rows[number] for oid, number in wanted.items() if number < count}


def test_an_id_that_occurs_inside_other_rows_is_not_found_there() -> None:
    row = Row(bytes(16) + b"\x07" * 16, RowKind.FILE, *[0x07070707] * 5)
    table = open_bytes(encode(b"", pack_rows([row]), PACKS)).objects
    data = row.pack_bytes()
    assert all(table.find(data[at : at + 32]) is None for at in range(1, 25))
    assert table.find(row.id) == row


def test_one_look_up_reads_a_fan_out_and_one_bucket() -> None:
    data = encode(b"", pack_rows(many_rows(5000, RowKind.FILE)), PACKS)
    reads = []

    def read(offset: int, length: int) -> bytes:
        reads.append(length)
        return data[offset : offset + length]

    segment = open_segment(read_head(data)[0], read)
    assert segment.objects.find(hash_bytes(b"77")) is not None
    assert len(reads) == 2
    assert max(reads) < 20_000


def test_damage_never_gives_other_contents() -> None:
    right = everything(GOLDEN)
    for data in mutations(GOLDEN):
        # the stamp and reserved bytes are guarded by the segment's name alone
        assert hash_bytes(data) != hash_bytes(GOLDEN)
        try:
            assert everything(data) == right
        except CorruptError:
            continue


def test_cut_or_longer_bytes_are_refused() -> None:
    for data in truncations(GOLDEN):
        with pytest.raises(CorruptError):
            open_bytes(data)


@given(after_magic(b"dvlsegm"))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        everything(data)
