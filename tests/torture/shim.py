"""The C library that counts, kills, fails and notes (shim.c): making it, and what it shares.

Owns the layout of the control file, which shim.c has as `struct control` and `struct record`.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

COUNT, KILL, FAULT, TRACE = range(4)
_HEAD = struct.Struct("<QQQQIIIIII448s1024s")
_RECORD = struct.Struct("<IIQqIIII")
_NEVER = 1 << 62


class Record(NamedTuple):
    """One call that changed something: `op` is one of c(reate) w(rite) t(runcate) f(sync) s(ync)
    r(ename) l(ink) y (symlink) u(nlink) m(kdir)."""

    op: str
    inode: int
    offset: int
    path: str
    other: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Point:
    """What happens, and where. `always`: every later call fails too."""

    mode: int = COUNT
    number: int = _NEVER
    error: int = 0
    always: bool = False


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """The shim as a library; compiled once a version of its source."""
    source = Path(__file__).with_name("shim.c")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    target = folder / f"shim-{digest}.so"
    if not target.exists():
        unfinished = folder / f"{target.name}.{os.getpid()}"
        command = [str(compiler()), "-O1", "-shared", "-fPIC", "-o", str(unfinished), str(source)]
        subprocess.run([*command, "-ldl"], check=True, capture_output=True)
        os.replace(unfinished, target)
    return target


class Control:
    """The file that all processes of one command share."""

    def __init__(self, path: Path, root: Path, point: Point, capacity: int = 0) -> None:
        self.path = path
        head = _HEAD.pack(
            0, point.number, capacity, 0, point.mode, point.error, point.always, 0, 0, 0, b"",
            os.fsencode(root),
        )  # fmt: skip
        path.unlink(missing_ok=True)
        with open(path, "w+b") as stream:
            stream.truncate(_HEAD.size + capacity)
            self._map = mmap.mmap(stream.fileno(), _HEAD.size + capacity)
        self._map[: _HEAD.size] = head

    def close(self) -> None:
        self._map.close()
        self.path.unlink()

    @property
    def counted(self) -> int:
        """How many points were passed."""
        return int(_HEAD.unpack_from(self._map)[0])

    @property
    def fired(self) -> bool:
        return bool(_HEAD.unpack_from(self._map)[7])

    @property
    def what(self) -> str:
        """The call at which it happened, and its path."""
        return os.fsdecode(_HEAD.unpack_from(self._map)[10].split(b"\0")[0])

    def records(self) -> Iterator[Record]:
        """What was noted, in order."""
        used = _HEAD.unpack_from(self._map)[3]
        at, end = _HEAD.size, _HEAD.size + used
        while at < end:
            length, op, inode, offset, *counts, _ = _RECORD.unpack_from(self._map, at)
            begin, pieces = at + _RECORD.size, []
            for count in counts:
                pieces.append(self._map[begin : begin + count])
                begin += count
            path, other = (os.path.normpath(os.fsdecode(piece)) for piece in pieces[:2])
            yield Record(chr(op), inode, offset, path, other if counts[1] else "", pieces[2])
            at += length
