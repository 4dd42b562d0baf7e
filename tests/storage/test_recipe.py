"""Recipes: golden bytes; what is damaged is refused or read as what it then says."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.oid import hash_bytes, hash_recipe_part, hash_tree
from dvlite.storage.recipe import (
    CHUNKS,
    MAX_ITEMS,
    PARTS,
    SAME_PACK,
    TREE,
    Hint,
    Need,
    decode,
    encode,
    encode_chunks,
)
from dvlite.storage.row import RowKind

from .damage import after_magic, assert_canonical_or_refused, mutations, truncations

U32 = st.integers(0, 2**32 - 1)
OIDS = st.binary(min_size=32, max_size=32)
HINTS = st.one_of(st.none(), st.builds(Hint, st.integers(0, 255), OIDS, U32, U32, U32, U32))
ITEMS = st.lists(st.tuples(OIDS, HINTS), max_size=10)
OWN = b"\x99" * 32

GOLDEN = bytes.fromhex(
    "64766c72656369010000000002000000040000008000000000000000aaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa000000000000000000000000000000000000000000000000"
    "00000000000000000001000000000000ffffffff01000000000000002000000000000000080400002000"
    "0000e803000000000000f4010000e803000000000000000000000700000000000000d007000000000000"
    "58020000d007000011111111111111111111111111111111111111111111111111111111111111112222"
    "222222222222222222222222222222222222222222222222222222222222333333333333333333333333"
    "333333333333333333333333333333333333333311111111111111111111111111111111111111111111"
    "11111111111111111111"
)
GOLDEN_NEEDS = [
    Need(b"\x11" * 32, Hint(RowKind.CHUNK, b"\xaa" * 32, 32, 1000, 0, 2000)),
    Need(b"\x22" * 32, None),
    Need(b"\x33" * 32, Hint(RowKind.CHUNK, SAME_PACK, 1032, 500, 7, 600)),
    Need(b"\x11" * 32, Hint(RowKind.CHUNK, b"\xaa" * 32, 32, 1000, 0, 2000)),
]


def encode_needs(needs: list[Need], what: int = CHUNKS) -> bytes:
    return encode_chunks([need.id for need in needs], [need.hint for need in needs], what)


def recode(data: bytes) -> bytes:
    # read as if from a pack named by zeros, so that "this pack" stays what it is
    recipe = decode(data, SAME_PACK)
    return encode(recipe.what, recipe.body, recipe.hints)


def test_golden_bytes() -> None:
    assert encode_needs(GOLDEN_NEEDS) == GOLDEN
    assert list(decode(GOLDEN, SAME_PACK).needs()) == GOLDEN_NEEDS


def test_a_recipe_of_nothing_is_its_head() -> None:
    assert encode_chunks([], []) == b"dvlreci\x01" + bytes(20)
    assert list(decode(encode_chunks([], []), OWN).needs()) == []


def test_golden_id_of_a_part() -> None:
    part = hash_recipe_part(GOLDEN)
    assert part.hex() == "a952503f55c69698f2bac68bfcb0811186db552cfabc9c6bc804c5f3a7e42428"
    assert part not in (hash_bytes(GOLDEN), hash_tree(GOLDEN))


def test_this_pack_is_the_pack_in_which_the_recipe_was_found() -> None:
    hints = decode(GOLDEN, OWN).hints
    assert hints[2] is not None
    assert hints[2].pack == OWN


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatVersionError):
        decode(b"dvlreci\x02" + GOLDEN[8:], OWN)


@given(ITEMS, st.sampled_from([CHUNKS, PARTS]))
def test_chunks_and_parts_round_trip(items: list[tuple[bytes, Hint | None]], what: int) -> None:
    data = encode_chunks([oid for oid, _ in items], [hint for _, hint in items], what)
    recipe = decode(data, SAME_PACK)
    assert recipe.what == what
    assert list(recipe.needs()) == [Need(*item) for item in items]
    assert recode(data) == data


@given(st.binary(max_size=100), st.lists(HINTS, max_size=6))
def test_trees_round_trip(body: bytes, hints: list[Hint | None]) -> None:
    recipe = decode(encode(TREE, body, hints), SAME_PACK)
    assert (recipe.what, recipe.body, recipe.hints) == (TREE, body, hints)


def test_damage_is_refused_or_read_as_what_it_says() -> None:
    # Hints are advice and reserved bytes are ignored, so not every recipe that is read is one
    # that is written; but what was read, written again, is read as the same.
    for data in mutations(GOLDEN):
        try:
            recipe = decode(data, SAME_PACK)
        except CorruptError:
            continue
        assert decode(recode(data), SAME_PACK) == recipe
        assert len(list(recipe.needs())) == len(GOLDEN_NEEDS)


def test_damage_to_ids_is_never_mistaken_for_the_right_ids() -> None:
    body = len(GOLDEN) - 32 * len(GOLDEN_NEEDS)
    for data in mutations(GOLDEN[body:]):
        assert_canonical_or_refused(recode, GOLDEN[:body] + data)


def test_cut_or_longer_bytes_are_refused() -> None:
    for data in truncations(GOLDEN):
        with pytest.raises(CorruptError):
            decode(data, OWN)


@given(after_magic(b"dvlreci"))
def test_random_bytes_never_crash(data: bytes) -> None:
    try:
        recipe = decode(data, SAME_PACK)
    except CorruptError:
        return
    assert decode(encode(recipe.what, recipe.body, recipe.hints), SAME_PACK) == recipe


def test_claims_that_do_not_fit_are_refused_before_memory_is_taken() -> None:
    for packs, hints, length in (
        (2**32 - 1, 0, 0),
        (0, 2**32 - 1, 0),
        (0, MAX_ITEMS + 1, 0),
        (0, 0, 2**64 - 1),
        (0, 1, 0),
    ):
        head = struct.pack("<7sBB3xIIQ", b"dvlreci", 1, CHUNKS, packs, hints, length)
        with pytest.raises(CorruptError):
            decode(head, OWN)


def test_an_unknown_sort_or_pack_number_is_refused() -> None:
    sort = GOLDEN[:8] + b"\x03" + GOLDEN[9:]
    pack_number = 28 + 2 * 32 + len(GOLDEN_NEEDS)
    pack = GOLDEN[:pack_number] + b"\x02" + GOLDEN[pack_number + 1 :]
    for data in (sort, pack):
        with pytest.raises(CorruptError):
            decode(data, OWN)
