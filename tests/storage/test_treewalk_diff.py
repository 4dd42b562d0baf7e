"""What differs between two folders, however each is split into parts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvlite.errors import CorruptError
from dvlite.storage import tree as tree_format
from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.tree import Entry, Kind, decode, encode, make_tree, store_folder
from dvlite.storage.treewalk import Change, diff

Files = dict[bytes, int]
NAMES = [b"%d" % number for number in range(40)]
FOLDERS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), max_size=40)


def entry(name: bytes, content: int) -> Entry:
    return Entry(name, Kind.FILE, hash_bytes(b"%d" % content), content)


def store(trees: dict[bytes, bytes], files: Files) -> bytes:
    """A folder that is split from five entries on, so that parts are split again."""
    entries = sorted(entry(name, content) for name, content in files.items())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_format, "MAX_ENTRIES", 4)
        return store_folder(entries, trees.__setitem__).oid


@given(FOLDERS, FOLDERS, st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_difference_is_told_once(old: Files, new: Files, no_old: bool, no_new: bool) -> None:
    trees: dict[bytes, bytes] = {}
    oids = [None if no else store(trees, files) for no, files in ((no_old, old), (no_new, new))]
    before, after = ({} if no else files for no, files in ((no_old, old), (no_new, new)))
    expected = [
        Change(
            name,
            entry(name, before[name]) if name in before else None,
            entry(name, after[name]) if name in after else None,
        )
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    assert list(diff(lambda oid: decode(trees[oid]), *oids)) == expected


def test_equal_parts_are_not_read() -> None:
    trees: dict[bytes, bytes] = {}
    files = dict.fromkeys(NAMES, 0)
    old, new = store(trees, files), store(trees, {**files, NAMES[0]: 1})
    read: set[bytes] = set()

    def see(oid: bytes) -> tree_format.Tree:
        read.add(oid)
        return decode(trees[oid])

    assert [change.path for change in diff(see, old, new)] == [NAMES[0]]
    assert len(read) <= 4  # the two folders, and the part of each; there are dozens


def test_a_name_in_the_wrong_part_is_refused() -> None:
    trees: dict[bytes, bytes] = {}
    right = store(trees, dict.fromkeys(NAMES, 0))
    parts = list(decode(trees[right]))
    odd = encode(make_tree([entry(b"nowhere", 1), entry(b"astray", 1)]))
    trees[hash_tree(odd)] = odd
    wrong = encode(make_tree([parts[0]._replace(oid=hash_tree(odd)), *parts[1:]]))
    trees[hash_tree(wrong)] = wrong
    with pytest.raises(CorruptError, match="name of another part"):
        list(diff(lambda oid: decode(trees[oid]), right, hash_tree(wrong)))
