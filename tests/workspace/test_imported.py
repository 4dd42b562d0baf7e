"""`.dvlite/imported`: its bytes never change by accident, and other bytes are refused."""

from __future__ import annotations

import pytest

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.oid import hash_bytes
from dvlite.workspace.imported import pairs, parse, render
from dvlite.workspace.pointer import Pointer

OID = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"
HELLO = "md5-dos2unix:5d41402abc4b2a76b9719d911017c592"
GOLDEN = (
    "dvlite imported 1\n"
    f"{HELLO} file blake3:{OID} 5 1\n"
    f"md5:d751713988987e9331980363e24189ce.dir tree blake3:{OID} 15 3\n"
    f"sha256:{'ab' * 32} file blake3:{OID} 5 1\n"
).encode()
FOUND = {
    f"sha256:{'ab' * 32}": Pointer("file", hash_bytes(b"hello"), 5),
    "md5:d751713988987e9331980363e24189ce.dir": Pointer("tree", hash_bytes(b"hello"), 15, 3),
    HELLO: Pointer("file", hash_bytes(b"hello"), 5),
}


def test_the_bytes_are_these() -> None:
    assert render(FOUND) == GOLDEN
    assert parse(GOLDEN) == FOUND


def test_what_git_merges_line_by_line_is_read() -> None:
    head, *lines = GOLDEN.splitlines(keepends=True)
    assert parse(head + b"".join([*lines, lines[0], *reversed(lines)])) == FOUND
    assert parse(GOLDEN.replace(b"\n", b"\r\n")) == FOUND


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        GOLDEN[18:],
        GOLDEN + b"\n",
        GOLDEN + b"<<<<<<< ours\n",
        GOLDEN.replace(b" 5 1", b" -5 1"),
        GOLDEN.replace(b"sha256:ab", b"sha256:/b"),
        GOLDEN.replace(b"file", b"link"),
        GOLDEN + f"sha256:{'ab' * 32} file blake3:{'0' * 64} 5 1\n".encode(),
    ],
)
def test_other_bytes_are_refused(wrong: bytes) -> None:
    with pytest.raises(CorruptError):
        parse(wrong)


def test_a_name_that_two_branches_found_with_other_line_ends_is_one_of_both() -> None:
    other = f"{HELLO} file blake3:{'0' * 64} 6 1\n".encode()
    head, *lines = GOLDEN.splitlines(keepends=True)
    for text in (GOLDEN + other, head + other + b"".join(lines)):
        assert parse(text) == {**FOUND, HELLO: Pointer("file", bytes(32), 6)}
        assert {one.oid for _, one in pairs(text)} == {bytes(32), hash_bytes(b"hello")}


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(FormatVersionError):
        parse(GOLDEN.replace(b"imported 1", b"imported 2"))
