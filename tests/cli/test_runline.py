"""The line about a run: it says what goes on, and never stands in what stages write."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dvlite.cli.runline import RunLine, drawing
from dvlite.cli.stageoutput import StageOutput
from tests.repositories import TIMEOUT_S, Repository

ERASE = "\r\x1b[2K"


def screen(text: str) -> list[str]:
    """The lines that a terminal shows after it got this."""
    lines = [""]
    for part in re.split(r"(\r\x1b\[2K|\r?\n)", text):
        if part == ERASE:
            lines[-1] = ""
        elif part.endswith("\n"):
            lines.append("")
        else:
            lines[-1] += part
    return lines


def line_on(stream: io.StringIO, terminal: bool = True) -> RunLine:
    line = RunLine(stream, terminal)
    line.expect(5)
    return line


def test_it_stands_below_what_stages_write_and_vanishes() -> None:
    tty = io.StringIO()
    line = line_on(tty)
    output = StageOutput(tty, False, False, line)
    output.line("run        train: it never ran here")
    line.began("train")
    output.draw()
    assert screen(tty.getvalue())[-1] == "0 of 5 stages done, running train 0 s"
    output.hear("train", b"epoch 1\n")
    assert screen(tty.getvalue())[1:] == ["epoch 1", ""]
    output.draw()
    with output.apart():
        assert screen(tty.getvalue())[-1] == ""
        output.draw()
        assert screen(tty.getvalue())[-1] == ""
    line.over("train")
    output.draw()
    assert screen(tty.getvalue())[-1] == "1 of 5 stages done"
    output.close()
    assert screen(tty.getvalue())[1:] == ["epoch 1", ""]


def test_it_waits_while_a_stage_is_in_the_middle_of_a_line() -> None:
    tty = io.StringIO()
    output = StageOutput(tty, False, False, line_on(tty))
    output.hear("train", b"\r 50 %")
    output.draw()
    assert tty.getvalue() == "\r 50 %"
    output.hear("train", b"\r100 %\n")
    output.draw()
    assert tty.getvalue().endswith("%\n" + ERASE + "0 of 5 stages done")


def test_it_says_what_runs_and_what_dvlite_does() -> None:
    line = line_on(io.StringIO())
    for one in ("a", "b", "c\x1b", "d", "e"):
        line.began(one)
    assert line.text() == '0 of 5 stages done, running a 0 s, b 0 s, "c\\033" 0 s, 2 more'
    for one in ("a", "b", "c\x1b", "d", "e"):
        line.over(one)
    line.tell("fetching", 1, 1 << 20, 2, 4 << 20)
    assert line.text() == "5 of 5 stages done, fetching 1.00 MiB of 4.00 MiB"


def test_it_never_wraps() -> None:
    tty = io.StringIO()
    line = line_on(tty)
    line.began("長" * 100)
    line.draw()
    shown = screen(tty.getvalue())[-1]
    assert sum(2 if char == "長" else 1 for char in shown) in (78, 79)


class Waited(io.StringIO):
    """Tells when something was written."""

    def __init__(self) -> None:
        super().__init__()
        self.wrote = threading.Event()

    def write(self, text: str) -> int:
        done = super().write(text)
        self.wrote.set()
        return done


def test_without_a_terminal_it_is_a_plain_line_now_and_then() -> None:
    errors = Waited()
    output = StageOutput(io.StringIO(), False, False, line_on(errors, terminal=False))
    with drawing(output, every_s=0.01):
        assert errors.wrote.wait(TIMEOUT_S)
    assert set(errors.getvalue().splitlines()) == {"0 of 5 stages done"}


def play(repository: Repository, go: Path, words: list[str], waits: bool) -> str:
    """What a command wrote on a terminal, whose stage goes on when it is let."""
    os.mkfifo(go)
    terminal, other = pty.openpty()
    command = [sys.executable, "-m", "dvlite", *words]
    ran = subprocess.Popen(command, cwd=repository.path, stdin=other, stdout=other, stderr=other)
    os.close(other)
    seen, until = b"", time.monotonic() + TIMEOUT_S
    while waits and b"running wait 1 s" not in seen and time.monotonic() < until:
        seen += os.read(terminal, 4096)
    with go.open("wb") as stream:
        stream.write(b"in the middle\n")
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other side has closed
            break
        if not part:
            break
        seen += part
    os.close(terminal)
    assert ran.wait(TIMEOUT_S) == 0
    return seen.decode()


def waiting(repository: Repository, go: Path) -> None:
    """A pipeline whose only stage waits for somebody, if they are there."""
    command = f"echo begun; if [ -p {go} ]; then cat {go}; fi; echo ended"
    text = f"stages:\n  wait:\n    cmd: {command}\n    outs: []\n"
    repository.write({"dvlite.yaml": text.encode()})


@pytest.mark.parametrize("words", [[], ["--quiet"]])
def test_a_real_run_on_a_terminal(repository: Repository, tmp_path: Path, words: list[str]) -> None:
    waiting(repository, tmp_path / "go")
    seen = play(repository, tmp_path / "go", ["run", *words], waits=not words)
    shown = screen(seen)
    if words:
        assert "running" not in seen
        return
    assert "0 of 1 stage done, running wait 1 s" in seen
    assert shown[1:4] == ["begun", "in the middle", "ended"]
    assert not any("running" in one for one in shown)


def test_it_stands_there_too_while_a_past_commit_runs_again(
    repository: Repository, tmp_path: Path
) -> None:
    waiting(repository, tmp_path / "go")
    repository.dvlite("run")
    repository.git("add", "-A")
    repository.commit("it ran")
    words = ["reproduce", "HEAD", "--rerun", "-o", str(tmp_path / "old")]
    seen = play(repository, tmp_path / "go", words, waits=True)
    assert "0 of 1 stage done, running wait 1 s" in seen
    assert not any("running" in one for one in screen(seen))
    assert any("all outputs are identical" in one for one in screen(seen))
