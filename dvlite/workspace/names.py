"""Names: which ones can be tracked, how any bytes are written in text, and which would collide.

Owns the checks of names that users give. Names inside hostile trees are `storage.tree`'s.
"""

from __future__ import annotations

import os
import re
import unicodedata

from dvlite.errors import CorruptError, PathError

# File systems allow 255 bytes; `.dvl` has to fit behind the name.
MAX_TRACKED_BYTES = 251
_RESERVED = frozenset((".git", "git~1", ".dvlite"))
_UNQUOTED = re.compile(rb"[^A-Za-z0-9_.,=@/+ -]")


def check_trackable(path: str) -> None:
    """Refuses a path that cannot have a pointer of its own.

    Raises:
        PathError: with the reason and what to do instead.
    """
    name = path.rpartition("/")[2]
    if name in ("", ".", ".."):  # of a pointer named `.dvl`, `..dvl` or `...dvl`
        raise PathError(f"{path + '.dvl'} names no file or folder as data", "remove it")
    if name.endswith(".dvl"):
        raise PathError(
            f"{path} is a pointer (its name ends with .dvl)", "pointers belong to git: git add"
        )
    if len(os.fsencode(name)) > MAX_TRACKED_BYTES:
        raise PathError(
            f"the name {name[:40]}… has {len(os.fsencode(name))} bytes; on its own a tracked name "
            f"has at most {MAX_TRACKED_BYTES}, so that .dvl fits behind it",
            "put it into a folder and add the folder",
        )
    for part in path.split("/"):
        if part.lower() in _RESERVED:
            raise PathError(f"{path} is inside {part}, which belongs to git or dvlite")


def fold(name: str) -> str:
    """What a case-folding, Unicode-normalising file system makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def quote(path: str) -> str:
    """Any path as one line of ASCII; what is not plain becomes `%` and two hex digits."""
    return _UNQUOTED.sub(lambda match: b"%%%02X" % match[0][0], os.fsencode(path)).decode("ascii")


def unquote(text: str) -> str:
    """The inverse of `quote`.

    Raises:
        CorruptError: not what `quote` writes.
    """
    data = text.encode("ascii", "replace")
    plain = re.sub(rb"%([0-9A-F]{2})", lambda match: bytes([int(match[1], 16)]), data)
    path = os.fsdecode(plain)
    if quote(path) != text:
        raise CorruptError(f"not a quoted path: {text[:80]!r}")
    return path
