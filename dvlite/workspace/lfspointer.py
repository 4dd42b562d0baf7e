"""Pointers of git-lfs, version 1 of its specification: what git has in the place of a file.

Owns reading them. Only the form that git-lfs writes is one; everything else is somebody's file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dvlite.workspace.dvcfiles import ForeignName
from dvlite.workspace.imported import MAX_LFS_BYTES

_FORM = re.compile(
    rb"version https://(?:git-lfs|hawser)\.github\.com/spec/v1\n"
    rb"((?:ext-[0-9]-[^\n ]+ sha256:[0-9a-f]{64}\n)*)"
    rb"oid sha256:([0-9a-f]{64})\nsize ([0-9]{1,19})\n\Z"
)


@dataclass(frozen=True, slots=True)
class LfsPointer:
    """What one says. `extended`: the stored bytes are not the file's, but what an extension made
    of them."""

    name: ForeignName
    size: int
    extended: bool = False


def parse_lfs_pointer(data: bytes) -> LfsPointer | None:
    """Reads one; None for anything else."""
    match = _FORM.match(data) if len(data) <= MAX_LFS_BYTES else None
    if match is None:
        return None
    name = ForeignName("sha256", match[2].decode("ascii"))
    return LfsPointer(name, int(match[3]), bool(match[1]))
