"""Things outside this process that must end with it, even when it is killed: servers, shaping.

A shell holds the thing. It reads a pipe that nobody writes to; when this process ends, however it
ends, the pipe does too, and the shell takes the thing down.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

READY = "ready"
UNTIL_WE_END = f"echo {READY}; exec >/dev/null; cat >/dev/null"


class CannotHold(Exception):
    """The thing could not be set up; the message holds what the shell said."""


@contextmanager
def held(script: str, *words: str) -> Iterator[None]:
    """Run a shell script that sets something up, then `UNTIL_WE_END`, then takes it down again.

    The script gets the words as "$@". Raises: CannotHold.
    """
    shell = subprocess.Popen(
        ["sh", "-eu", "-c", script, "sh", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # An interrupt from the keyboard is for us; the shell follows when we are done.
        start_new_session=True,
    )
    assert shell.stdin and shell.stdout and shell.stderr
    try:
        if shell.stdout.readline().strip() != READY:
            raise CannotHold(shell.stderr.read().strip())
        yield
    finally:
        shell.stdin.close()
        shell.wait()
        shell.stdout.close()
        shell.stderr.close()
