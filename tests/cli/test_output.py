"""What is printed: names that a terminal shows as they are, and nothing that could move it."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.cli import output
from dvlite.cli.output import count, emit_json, json_path, name, note, say, showing, size, warn

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


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(output, "time", clock)
    return clock


def drawn(line: output._Line, capfd: pytest.CaptureFixture[str]) -> str:
    """What a line says now, without a terminal."""
    assert line._state is not None
    line._draw(line._state)
    return capfd.readouterr().err


def test_progress_has_phase_files_bytes_what_is_new_the_rate_and_the_time_left(
    clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    line = output._Line(terminal=False)
    line.tell("pushing", 0, 0, 1200, 100 << 20, 0)
    assert drawn(line, capfd) == "pushing: 0 of 1,200 files, 0 B of 100.0 MiB, 0 B new\n"
    clock.now += 10
    line.tell("pushing", 300, 50 << 20, 1200, 100 << 20, 20 << 20)
    assert drawn(line, capfd) == (
        "pushing: 300 of 1,200 files, 50.0 MiB of 100.0 MiB, 20.0 MiB new, 5.00 MiB/s, 10 s left\n"
    )
    clock.now += 90  # the rate is that of the last while, and nothing has come
    assert "500.0" not in drawn(line, capfd)
    line.tell("sending packs", 1, 25 << 20, 2, 50 << 20)
    assert drawn(line, capfd) == (
        "sending packs: 1 of 2 files, 25.0 MiB of 50.0 MiB, 256.0 KiB/s, 1 min 40 s left\n"
    )


def test_progress_is_drawn_while_nothing_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request may take minutes."""
    monkeypatch.setattr(output, "PLAIN_EVERY_S", 0.001)
    with showing(quiet=False) as progress:
        progress("pushing", 1, 10)
        said = ""
        while said.count("pushing: 1 files, 10 B") < 2:
            said += capfd.readouterr().err


def test_of_delays_the_long_ones_are_told_and_not_too_often(clock: Clock) -> None:
    said: list[str] = []
    delays = output._Delays(said.append, verbose=False)
    delays.hear("short", 0.5)
    delays.hear("long", 4)
    clock.now += 5
    delays.hear("again", 9)
    clock.now += 6
    delays.hear("later", 15)
    assert said == [f"the remote is slow, trying again: {text}" for text in ("long", "later")]
    delays = output._Delays(said.append, verbose=True)
    delays.hear("short", 0.5)
    assert said[-1].endswith("short")
