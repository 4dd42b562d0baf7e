"""The tree format: one folder has one encoding, and nothing else is read as a tree."""

from __future__ import annotations

import random
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage import tree
from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.tree import Entry, Kind, Tree, decode, encode, make_tree, store_folder
from dvlite.storage.treewalk import find, read_folder

from .damage import after_magic, assert_canonical_or_refused, mutations, truncations

U64 = st.integers(0, 2**64 - 1)
OIDS = st.binary(min_size=32, max_size=32)
NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: (
        b"/" not in name
        and b"\0" not in name
        and name not in (b".", b"..")
        and name.lower() not in (b".git", b"git~1", b".dvlite", b"dvlite~1")
    )
)
LEAVES = st.builds(
    Entry, NAMES, st.sampled_from([Kind.FILE, Kind.EXEC, Kind.LINK]), OIDS, U64, st.just(1)
)
FOLDERS = st.builds(Entry, NAMES, st.just(Kind.TREE), OIDS, U64, U64)
LISTS = st.lists(st.one_of(LEAVES, FOLDERS), max_size=12, unique_by=lambda entry: entry.name)

SAMPLE = make_tree(
    [
        Entry(b"sub", Kind.TREE, b"\x44" * 32, 1000, 7),
        Entry(b"a.txt", Kind.FILE, b"\x11" * 32, 5),
        Entry(b"run", Kind.EXEC, b"\x22" * 32, 258),
        Entry(b"to", Kind.LINK, b"\x33" * 32, 5),
    ]
)
GOLDEN = bytes.fromhex(
    "64766c747265650104000000010000000001030205000000000000000201000000000000e80300000000"
    "000005000000000000000700000000000000111111111111111111111111111111111111111111111111"
    "111111111111111122222222222222222222222222222222222222222222222222222222222222224444"
    "444444444444444444444444444444444444444444444444444444444444333333333333333333333333"
    "3333333333333333333333333333333333333333612e7478740072756e0073756200746f"
)


def recode(data: bytes) -> bytes:
    return encode(decode(data))


def raw_tree(names: list[bytes], kinds: list[int]) -> bytes:
    """A tree's bytes with any names and kinds, unchecked and unsorted."""
    count = len(names)
    files = array("Q", [1] * count)
    return encode(Tree(names, bytes(kinds), array("Q", [0] * count), files, bytes(32 * count)))


def test_golden_bytes() -> None:
    assert encode(SAMPLE) == GOLDEN
    assert list(decode(GOLDEN)) == list(SAMPLE)
    assert (
        hash_tree(GOLDEN).hex()
        == "3e2033c88e685df92e9e2cc23608b9e9abe6ed96627850591d59e82839c2f7cc"
    )


def test_an_empty_folder_is_sixteen_bytes() -> None:
    data = encode(make_tree([]))
    assert data == b"dvltree\x01" + bytes(8)
    assert (
        hash_tree(data).hex() == "a93eab74bffe871c03f82bcef11a5e4a350cda05fb1110aa1f54a5c33af23b27"
    )


def test_a_trees_oid_is_not_the_hash_of_a_file_with_its_bytes() -> None:
    assert hash_tree(GOLDEN) != hash_bytes(GOLDEN)


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatVersionError):
        decode(b"dvltree\x02" + GOLDEN[8:])


@given(LISTS)
def test_round_trip(entries: list[Entry]) -> None:
    data = encode(make_tree(entries))
    assert list(decode(data)) == sorted(entries)
    assert recode(data) == data


@given(LISTS, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(entries: list[Entry], source: random.Random) -> None:
    shuffled = entries.copy()
    source.shuffle(shuffled)
    assert encode(make_tree(shuffled)) == encode(make_tree(entries))


def test_damage_gives_another_canonical_tree_or_is_refused() -> None:
    for data in mutations(GOLDEN):
        assert_canonical_or_refused(recode, data)


def test_cut_or_longer_bytes_are_refused() -> None:
    # a last name that lost its end is another name: a tree's own hash tells, its format cannot
    shortest = len(GOLDEN) - len(b"to") + 1
    for data in truncations(GOLDEN):
        if len(data) < shortest:
            with pytest.raises(CorruptError):
                decode(data)
        else:
            assert_canonical_or_refused(recode, data)


@given(after_magic(b"dvltree"))
def test_random_bytes_are_canonical_or_refused(data: bytes) -> None:
    assert_canonical_or_refused(recode, data)


@pytest.mark.parametrize(
    "name",
    [b"", b".", b"..", b"a/b", b"/", b".git", b".GIT", b"Git~1", b".DvLite", b"x" * 256],
)
def test_names_that_lead_elsewhere_are_refused(name: bytes) -> None:
    with pytest.raises(CorruptError):
        decode(raw_tree([name], [Kind.FILE]))


def test_names_out_of_order_or_twice_are_refused() -> None:
    for names in ([b"b", b"a"], [b"a", b"a"]):
        with pytest.raises(CorruptError):
            decode(raw_tree(names, [Kind.FILE] * 2))


def test_parts_have_names_of_two_hex_digits_and_no_other_company() -> None:
    assert len(decode(raw_tree([b"0a", b"ff"], [Kind.PART] * 2))) == 2
    for names, kinds in (
        ([b"0A"], [Kind.PART]),
        ([b"0"], [Kind.PART]),
        ([b"0a", b"ff"], [Kind.PART, Kind.TREE]),
        ([b"0a", b"ff"], [Kind.FILE, Kind.PART]),
        ([b"0a"], [5]),
    ):
        with pytest.raises(CorruptError):
            decode(raw_tree(names, kinds))


def small_entries(count: int) -> list[Entry]:
    return [
        Entry(b"n%d" % number, Kind.FILE, hash_bytes(b"%d" % number), number)
        for number in range(count)
    ]


def store(entries: list[Entry]) -> tuple[Entry, dict[bytes, bytes]]:
    stored: dict[bytes, bytes] = {}
    return store_folder(entries, stored.__setitem__), stored


def test_a_large_folder_is_split_alike_for_everyone_and_put_together() -> None:
    entries = small_entries(tree.MAX_ENTRIES + 1)
    folder, stored = store(entries)
    assert len(stored) == 257
    assert decode(stored[folder.oid]).is_split
    assert (folder.files, folder.size) == (len(entries), sum(entry.size for entry in entries))
    assert folder.oid.hex() == "e0f1eca0552c9dc18799cc807b7ab1e6a8ced0b06f07584d4c32de9abb1b0daa"
    shuffled = entries.copy()
    random.Random(1).shuffle(shuffled)
    assert store(shuffled)[0] == folder

    def read(oid: bytes) -> Tree:
        return decode(stored[oid])

    assert read_folder(read, folder.oid) == sorted(entries)
    assert find(read, folder.oid, b"n65536") == entries[65_536]
    assert find(read, folder.oid, b"n65537") is None


def test_a_folder_of_the_largest_size_is_not_split() -> None:
    folder, stored = store(small_entries(tree.MAX_ENTRIES))
    assert list(stored) == [folder.oid]


def test_a_part_that_is_too_large_is_split_by_the_next_byte(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tree, "MAX_ENTRIES", 256)
    names = [b"%d" % number for number in range(80_000)]
    entries = [Entry(n, Kind.FILE, bytes(32), 1) for n in names if hash_bytes(n)[0] == 7]
    assert len(entries) > 256
    folder, stored = store(entries)

    def read(oid: bytes) -> Tree:
        return decode(stored[oid])

    outer = read(folder.oid)
    assert outer.names == [b"07"]
    assert read(outer.oid_list()[0]).is_split
    assert read_folder(read, folder.oid) == sorted(entries)


def test_a_part_with_a_name_of_another_part_is_refused() -> None:
    entries = small_entries(3)
    inside = make_tree(entries)
    wrong = b"%02x" % (hash_bytes(entries[0].name)[0] ^ 1)
    outer = make_tree([Entry(wrong, Kind.PART, b"\1" * 32, 3, 3)])
    with pytest.raises(CorruptError):
        read_folder({bytes(32): outer, b"\1" * 32: inside}.__getitem__, bytes(32))
