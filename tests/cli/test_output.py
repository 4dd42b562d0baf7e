"""What is printed: names that a terminal shows as they are, and nothing that could move it."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.cli.output import count, emit_json, json_path, name, note, say, size, warn

FILE_NAMES = st.binary(min_size=1).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("a b/é.png", "a b/é.png"),
        ("new\nline", r'"new\nline"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        (b"\xff", r'"\377"'),
        ("\x1b[2J", r'"\033[2J"'),
        ("\u202etxt", r'"\342\200\256txt"'),
        ("", '""'),
    ],
)
def test_odd_names_are_quoted_as_git_quotes_them(path: str | bytes, shown: str) -> None:
    assert name(path) == shown


@given(FILE_NAMES, FILE_NAMES)
def test_names_are_printable_and_told_apart(one: str, other: str) -> None:
    assert name(one).isprintable()
    assert (name(one) == name(other)) == (one == other)


@given(FILE_NAMES)
def test_a_name_in_json_can_be_had_back(path: str) -> None:
    import base64

    described = json.loads(json.dumps(json_path(path)))
    raw = described.get("path_b64")
    found = base64.b64decode(raw) if raw is not None else described["path"].encode()
    assert found == os.fsencode(path)


def test_no_line_lets_a_name_move_the_cursor(capfd: pytest.CaptureFixture[str]) -> None:
    odd = os.fsdecode(b"\x1b[2J\r\xff")
    for line in (say, note, warn):
        line(f"{odd}\nsecond")
    out, err = capfd.readouterr()
    assert out == "\\033[2J\\r\\377\nsecond\n"
    assert "\x1b" not in err and "\r" not in err


def test_json_is_always_utf8(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    emit_json({"reason": os.fsdecode(b"\xff bad"), "name": "é"})
    out, _ = capfdbinary.readouterr()
    assert json.loads(out.decode("utf-8")) == {"reason": "? bad", "name": "é"}


def test_sizes_and_counts_are_short_and_exact_where_small() -> None:
    assert [size(value) for value in (0, 999, 1000, 10 << 20, (1 << 63) - 1)] == [
        "0 B",
        "999 B",
        "0.98 KiB",
        "10.0 MiB",
        "8.00 EiB",
    ]
    assert (count(1, "file"), count(1200, "file")) == ("1 file", "1,200 files")
