"""The conflicted pointer: its bytes, and that nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import ConflictError
from dvlite.workspace.conflicted import Conflicted, parse_conflicted, render_conflicted
from dvlite.workspace.pointer import MAX_POINTER_BYTES, Pointer, parse

OURS = Pointer("tree", bytes([1]) * 32, 10, 2)
THEIRS = Pointer("tree", bytes([2]) * 32, 20, 3, extra=(("later", "x"),))
FILE = Pointer("file", bytes([3]) * 32, 5, 1, True)
GOLDEN = f"""\
<<<<<<< main
dvlite: 1
kind: tree
oid: blake3:{"01" * 32}
size: 10
files: 2
||||||| merged, but for what both sides changed (dvlite resolve --ours/--theirs PATH):
  a/b
=======
dvlite: 1
kind: tree
oid: blake3:{"02" * 32}
size: 20
files: 3
later: x
>>>>>>> branch
""".encode()


def test_the_bytes_of_a_merged_conflict() -> None:
    conflict = Conflicted(OURS, THEIRS, paths=("a/b",), labels=("main", "branch"))
    assert render_conflicted(conflict) == GOLDEN
    read = parse_conflicted(GOLDEN, "x.dvl")
    assert read is not None and read.is_merged
    assert (read.ours, read.theirs, read.labels) == (OURS, THEIRS, ("main", "branch"))


@pytest.mark.parametrize("marker", [7, 9, 30])
@pytest.mark.parametrize(("ours", "theirs"), [(FILE, OURS), (None, FILE), (THEIRS, None)])
def test_what_is_not_merged_comes_back(
    ours: Pointer | None, theirs: Pointer | None, marker: int
) -> None:
    conflict = Conflicted(ours, theirs, "for a reason", marker=marker)
    assert parse_conflicted(render_conflicted(conflict), "x.dvl") == conflict


def test_line_ends_of_windows_are_read() -> None:
    assert parse_conflicted(GOLDEN.replace(b"\n", b"\r\n"), "x.dvl") is not None


@given(st.text(), st.text(), st.text(), st.lists(st.text(max_size=5000), max_size=99))
def test_words_of_others_cannot_change_what_it_says(
    label: str, other: str, why: str, paths: list[str]
) -> None:
    for reason in ("", f"x{why}"):
        made = render_conflicted(Conflicted(OURS, THEIRS, reason, tuple(paths), (label, other)))
        assert len(made) <= MAX_POINTER_BYTES
        read = parse_conflicted(made, "x.dvl")
        assert read is not None and (read.ours, read.theirs) == (OURS, THEIRS)
        assert read.is_merged == (not reason)
        with pytest.raises(ConflictError, match="conflict markers"):
            parse(made, "x.dvl")


@given(st.integers(0, len(GOLDEN) - 1), st.binary(max_size=20))
def test_damage_is_no_conflicted_pointer_or_still_names_pointers(at: int, junk: bytes) -> None:
    read = parse_conflicted(GOLDEN[:at] + junk + GOLDEN[at:], "x.dvl")
    assert read is None or isinstance(read.ours, Pointer) or isinstance(read.theirs, Pointer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<<<<<<< a\n=======\n>>>>>>> b\n",
        GOLDEN + b"more\n",
        b"before\n" + GOLDEN,
        GOLDEN + GOLDEN,
        GOLDEN.replace(b"kind: tree", b"kind: file", 1).replace(b"files: 2", b"files: 1"),
    ],
    ids=range(6),
)
def test_what_is_none(data: bytes) -> None:
    assert parse_conflicted(data, "x.dvl") is None
