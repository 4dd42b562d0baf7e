"""Folders merge path by path; nothing that only one side did is lost."""

from __future__ import annotations

from dvlite.storage.oid import hash_bytes
from dvlite.storage.tree import Entry, Kind, decode, store_folder
from dvlite.storage.treewalk import walk
from dvlite.workspace.merge import Versions, apply, differing, merge, merge_sides

Trees = dict[bytes, bytes]


def folder(trees: Trees, *paths: str) -> bytes:
    """A folder of files; a path that ends with `/` is an empty folder; `=` gives the content."""
    empty = store_folder([], trees.__setitem__)
    changes: dict[bytes, Entry | None] = {}
    for path in paths:
        name, _, content = path.partition("=")
        data = (content or name).encode()
        entry = Entry(b"", Kind.FILE, hash_bytes(data), len(data))
        changes[name.rstrip("/").encode()] = empty if name.endswith("/") else entry
    return apply(lambda oid: decode(trees[oid]), empty.oid, changes, trees.__setitem__).oid


def merged(base: list[str], ours: list[str], theirs: list[str]) -> list[str]:
    """The paths of the merged folder, the same from both sides."""
    trees: Trees = {}
    one, two, three = (folder(trees, *paths) for paths in (base, ours, theirs))

    def read(oid: bytes):  # type: ignore[no-untyped-def]
        return decode(trees[oid])

    found = merge(read, one, two, three, trees.__setitem__)
    again = merge(read, one, three, two, trees.__setitem__)
    assert found.root is not None and again.root is not None
    assert found.root.oid == again.root.oid
    return [path.decode() for path, entry in walk(read, found.root.oid) if entry.kind != Kind.TREE]


def test_an_empty_folder_of_one_side_does_not_hide_the_others_files() -> None:
    assert merged(["x"], ["x", "d/y"], ["x", "d/"]) == ["d/y", "x"]


def test_an_empty_folder_that_one_side_removed_keeps_the_others_files() -> None:
    assert merged(["x", "d/"], ["x", "d/y"], ["x"]) == ["d/y", "x"]


def test_what_merges_is_in_both_sides_of_a_conflict() -> None:
    trees: Trees = {}
    base = folder(trees, "a", "b", "c/d", "c/e")
    ours = folder(trees, "a=1", "b", "c=file", "new")
    theirs = folder(trees, "a=2", "c/d", "c/e=2", "c/f")

    def read(oid: bytes):  # type: ignore[no-untyped-def]
        return decode(trees[oid])

    found = merge_sides(read, Versions(base, ours, theirs), trees.__setitem__)
    assert found.conflicts == (b"a", b"c")
    assert differing(read, found.ours.oid, found.theirs.oid) == found.conflicts
    assert [path for path, _ in walk(read, found.ours.oid)] == [b"a", b"c", b"new"]
    paths = [path for path, _ in walk(read, found.theirs.oid)]
    assert paths == [b"a", b"c", b"c/d", b"c/e", b"c/f", b"new"]
