"""Comparing listings: every sort of difference, renames, folders that moved, missing trees."""

from __future__ import annotations

import pytest

from dvlite.errors import MissingError
from dvlite.storage.oid import hash_bytes
from dvlite.storage.tree import Entry, Kind, Tree, decode, store_folder
from dvlite.storage.treediff import Comparison, Readers, compare

Files = dict[str, object]


class Store:
    """Trees in memory, counting how often each is read."""

    def __init__(self) -> None:
        self.trees: dict[bytes, bytes] = {}
        self.reads: list[bytes] = []

    def read(self, oid: bytes) -> Tree:
        self.reads.append(oid)
        if oid not in self.trees:
            raise MissingError("not here")
        return decode(self.trees[oid])

    def put(self, content: object, name: str = "") -> Entry:
        """An entry for text (a file) or a dict (a folder)."""
        if isinstance(content, str):
            data = content.encode()
            return Entry(name.encode(), Kind.FILE, hash_bytes(data), len(data))
        assert isinstance(content, dict)
        entries = [self.put(inside, key) for key, inside in content.items()]
        folder = store_folder(entries, self.trees.__setitem__)
        return folder._replace(name=name.encode())

    def listing(self, content: Files) -> dict[bytes, Entry]:
        return {path.encode(): self.put(inside) for path, inside in content.items()}

    def compare(self, before: Files, after: Files) -> Comparison:
        old, new = self.listing(before), self.listing(after)
        self.reads.clear()
        return compare(Readers(self.read, self.read), old, new)


@pytest.fixture
def store() -> Store:
    return Store()


def lines(result: Comparison) -> list[str]:
    """`what path` or `what old -> new`."""
    return [
        f"{item.what} {item.old_path.decode()} -> {item.path.decode()}"
        if item.old_path is not None
        else f"{item.what} {item.path.decode()}"
        for item in result.differences
    ]


def test_equal_listings_read_nothing(store: Store) -> None:
    data: Files = {"d": {"a": "1", "e": {"b": "2"}}}
    assert lines(store.compare(data, data)) == []
    assert store.reads == []


def test_equal_subtrees_are_not_read(store: Store) -> None:
    same = {"x": "1", "y": "2"}
    store.compare({"d": {"same": same, "f": "old"}}, {"d": {"same": same, "f": "new"}})
    assert store.put(same).oid not in store.reads


def test_each_sort_of_difference(store: Store) -> None:
    result = store.compare(
        {"d": {"gone": "g", "edit": "1", "moved": "content"}, "model": "v1"},
        {"d": {"new": "n", "edit": "22", "sub": {"moved2": "content"}}, "model": "v2"},
    )
    assert lines(result) == [
        "changed d/edit",
        "removed d/gone",
        "added d/new",
        "renamed d/moved -> d/sub/moved2",
        "changed model",
    ]
    assert [result.count(what) for what in ("added", "removed", "changed", "renamed")] == [
        1,
        1,
        2,
        1,
    ]


def test_a_folder_that_moved_is_one_difference_and_is_not_opened(store: Store) -> None:
    inside = {str(number): str(number) for number in range(9)}
    result = store.compare({"d": {"train": inside}}, {"d": {"deep": {"er": {"fit": inside}}}})
    assert lines(result) == ["renamed d/train -> d/deep/er/fit"]
    assert result.count("renamed") == 9
    assert result.differences[0].new == store.put(inside, "fit")


def test_a_folder_that_moved_beside_others_is_not_opened(store: Store) -> None:
    inside = {str(number): str(number) for number in range(9)}
    result = store.compare({"d": {"a": inside, "k": "k"}}, {"d": {"b": inside, "k": "k"}})
    assert lines(result) == ["renamed d/a -> d/b"]
    assert store.put(inside).oid not in store.reads


def test_a_folder_moved_out_of_a_chain_leaves_the_empty_siblings(store: Store) -> None:
    inside = {"x": "1"}
    before: Files = {"d": {"a": {"b": inside, "empty": {}}}}
    assert lines(store.compare(before, {"d": {"c": inside}})) == [
        "removed d/a/empty",
        "renamed d/a/b -> d/c",
    ]


def test_a_pointer_that_moved_is_a_rename(store: Store) -> None:
    before: Files = {"a": {"x": "1", "y": "2"}, "m": "weights"}
    after: Files = {"b": {"x": "1", "y": "2"}, "n": "weights"}
    assert lines(store.compare(before, after)) == ["renamed a -> b", "renamed m -> n"]


def test_a_rename_prefers_the_same_file_name(store: Store) -> None:
    before: Files = {"d": {"1": {"b": "s"}, "2": {"a": "s", "keep": "k"}}}
    after: Files = {"d": {"3": {"a": "s"}, "2": {"keep": "k"}}}
    assert lines(store.compare(before, after)) == ["removed d/1/b", "renamed d/2/a -> d/3/a"]


def test_empty_files_are_never_renames(store: Store) -> None:
    result = store.compare({"d": {"a": "", "k": "k"}}, {"d": {"b": "", "k": "k"}})
    assert lines(result) == ["removed d/a", "added d/b"]


def test_a_file_that_became_a_folder_is_removed_and_added(store: Store) -> None:
    result = store.compare({"d": {"x": "file"}}, {"d": {"x": {"y": "inside"}}})
    assert lines(result) == ["removed d/x", "added d/x/y"]


def test_an_empty_folder_is_reported_as_itself(store: Store) -> None:
    result = store.compare({"d": {"k": "k"}}, {"d": {"k": "k", "empty": {}}})
    assert lines(result) == ["added d/empty"]
    assert result.count("added") == 0


def test_a_missing_tree_is_named_and_the_rest_is_compared(store: Store) -> None:
    old = store.listing({"d": {"a": "1"}, "e": {"x": "1"}})
    new = store.listing({"d": {"a": "2"}, "e": {"x": "2"}})
    del store.trees[old[b"d"].oid]
    result = compare(Readers(store.read, store.read), old, new)
    assert lines(result) == ["changed e/x"]
    assert [(item.path, item.side) for item in result.unread] == [(b"d", "old")]


def test_an_added_folder_whose_tree_is_missing_counts_as_a_whole(store: Store) -> None:
    new = store.listing({"d": {"a": "1", "b": "22"}})
    store.trees.clear()
    result = compare(Readers(store.read, store.read), {}, new)
    assert lines(result) == ["added d"]
    assert result.count("added") == 2 and not result.unread


def test_split_folders_are_compared_as_folders(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dvlite.storage.tree.MAX_ENTRIES", 256)
    before = {f"f{number}": str(number) for number in range(400)}
    result = store.compare({"d": before}, {"d": before | {"f7": "other", "new": "n"}})
    assert lines(result) == ["changed d/f7", "added d/new"]
