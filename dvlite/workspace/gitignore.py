"""Keeps tracked data out of git: one sorted, marked block in the `.gitignore` beside the data.

Owns that block, and the one in `.gitattributes` that lets git merge two branches' blocks
without a conflict. Lines outside the blocks are the user's and are never touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable

from dvlite.atomic import publish_in_tree
from dvlite.errors import PathError
from dvlite.workspace.entering import read_small

_BEGIN = b"# dvlite begin: kept by dvlite, edit outside this block"
_END = b"# dvlite end"
_RULE = b".gitignore merge=union"
_ATTRIBUTE = re.compile(rb"[^\s#]+( (-[a-z]+|[a-z]+=[a-z]+))+\Z")
# A `.gitignore` of more than this is no text that somebody wrote.
_MAX_BYTES = 16 << 20


def ignore(folder: str, names: Iterable[str]) -> str | None:
    """Makes git ignore these names in `folder` (absolute); the file's path if it changed."""
    wanted = {_pattern(name) for name in names}
    return _edit(os.path.join(folder, ".gitignore"), lambda lines: lines | wanted)


def unignore(folder: str, names: Iterable[str]) -> str | None:
    """The inverse of `ignore`; an empty block goes, and an empty file with it."""
    dropped = {_pattern(name) for name in names}
    return _edit(os.path.join(folder, ".gitignore"), lambda lines: lines - dropped)


def take_over(folder: str, names: Collection[str]) -> str | None:
    """As `ignore`; lines outside the block that ignore exactly these names go, as they are in it
    now."""
    wanted = {_pattern(name) for name in names}
    plain = wanted | {b"/" + os.fsencode(name) for name in names}
    return _edit(
        os.path.join(folder, ".gitignore"),
        lambda lines: lines | wanted,
        lambda line: line.rstrip(b"\r\n") not in plain,
    )


def merge_by_union(folder: str) -> str | None:
    """Makes git merge `.gitignore` files below `folder` line by line."""
    return _edit(os.path.join(folder, ".gitattributes"), lambda lines: lines | {_RULE})


def attribute(folder: str, rule: bytes) -> str | None:
    """Puts a line into the block of `.gitattributes` in `folder`; the file's path if it changed."""
    return _edit(os.path.join(folder, ".gitattributes"), lambda lines: lines | {rule})


def drop_attribute(folder: str, rule: bytes) -> str | None:
    """The inverse of `attribute`."""
    return _edit(os.path.join(folder, ".gitattributes"), lambda lines: lines - {rule})


def has_attribute(folder: str, rule: bytes) -> bool:
    """Whether the block of `.gitattributes` in `folder` has a line."""
    return rule in _split(_read(os.path.join(folder, ".gitattributes")))[1]


def _pattern(name: str) -> bytes:
    """The line that ignores exactly this name; a newline, which no line can hold, becomes `?`."""
    escaped = bytearray(b"/")
    for byte in os.fsencode(name):
        char = bytes([byte])
        if char in b"\\*?[":
            escaped += b"\\" + char
        else:
            escaped += b"?" if char in b"\n\r" else char
    if escaped.endswith(b" "):
        escaped[-1:] = b"\\ "
    return bytes(escaped)


def _edit(
    path: str,
    change: Callable[[set[bytes]], set[bytes]],
    stays: Callable[[bytes], bool] = bool,
) -> str | None:
    """`stays`: which of the user's own lines do."""
    before = _read(path)
    outside, inside = _split(before)
    outside = b"".join(line for line in outside.splitlines(keepends=True) if stays(line))
    lines = change(set(inside))
    after = outside
    if lines:
        if after and not after.endswith(b"\n"):
            after += b"\n"
        after += b"\n".join([_BEGIN, *sorted(lines), _END]) + b"\n"
    if after == before:
        return None
    if after:
        publish_in_tree(path, after)
    else:
        os.unlink(path)
    return path


def _read(path: str) -> bytes:
    if os.path.islink(path):
        raise PathError(f"{path} is a symbolic link, which git does not follow", "make it a file")
    try:
        data = read_small(path, _MAX_BYTES)
    except FileNotFoundError:
        return b""
    if len(data) > _MAX_BYTES:
        raise PathError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    return data


def _split(data: bytes) -> tuple[bytes, list[bytes]]:
    """The user's text, and the lines of our block (of all, if a merge left several)."""
    outside: list[bytes] = []
    inside: list[bytes] = []
    within = False
    for line in data.splitlines(keepends=True):
        bare = line.rstrip(b"\r\n")
        if bare in (_BEGIN, _END):
            within = bare == _BEGIN
        elif within and (bare[:1] == b"/" or bare == b"" or _ATTRIBUTE.match(bare)):
            inside += [bare] if bare else []
        else:  # also what stands in a block whose end is lost
            outside.append(line)
    return b"".join(outside), inside
