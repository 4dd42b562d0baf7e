"""Time and peak memory of one command, and what it leaves on disk.

Each command runs under a wrapper process of its own, so that the peak memory the system reports
for the wrapper's children is this command's alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# A process starts with its parent's peak memory as its own (Linux keeps it across exec), hence a
# wrapper that imports next to nothing: 10 MB, less than any command measured.
WRAPPER = """
import os, resource, sys, time
start = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
status = os.waitpid(pid, 0)[1]
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
with open(sys.argv[1], "w") as file:
    file.write('{"seconds": %.6f, "peak_bytes": %d, "status": %d}' % (seconds, peak, status))
"""


class CommandFailed(Exception):
    """A command under measurement did not succeed; the message holds its output."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Wall-clock time, and the largest memory of any one process the command started."""

    seconds: float
    peak_bytes: int


def run(command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> Measured:
    """Measure a command in a folder; what was written before it is on disk when it starts.

    Raises: CommandFailed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    figures = log.with_suffix(".json")
    os.sync()
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", WRAPPER, str(figures), *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=True,
        )
    result = json.loads(figures.read_text())
    if result["status"]:
        said = log.read_text(errors="replace")[-2000:]
        raise CommandFailed(f"{' '.join(command)} (in {folder})\n{said}")
    return Measured(result["seconds"], result["peak_bytes"])


def evict(folder: Path) -> None:
    """Have the system forget the bytes of all files below a folder, as after some hours' work."""
    os.sync()
    for path in files_below(folder):
        descriptor = os.open(folder / path, os.O_RDONLY | os.O_NOFOLLOW)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def files_below(folder: Path) -> dict[str, int]:
    """Relative path and size in bytes of every file below a folder."""
    found: dict[str, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = os.lstat(path).st_size
    return found


def newly_stored(before: dict[str, int], after: dict[str, int]) -> int:
    """Bytes of the files that came, and by which the others grew."""
    return sum(max(0, size - before.get(path, 0)) for path, size in after.items())
