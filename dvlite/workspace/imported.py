"""`.dvlite/imported`: which object stands for content that another tool named, in old commits.

Owns that file's format. It is committed, text, sorted, a line a name, so that git merges it line by
line. It maps names of content, not commits: commits that are rebased, or come from another branch,
are covered too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from dvlite.atomic import publish_in_tree
from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.oid import from_text, to_text
from dvlite.workspace.entering import read_small
from dvlite.workspace.pointer import Pointer

if TYPE_CHECKING:
    from dvlite.gitfiles import SmallFile
    from dvlite.workspace.dvcfiles import Out

FILE = os.path.join(".dvlite", "imported")
_HEAD = "dvlite imported 1"
# The specification of git-lfs: a pointer is shorter than 1,024 bytes.
MAX_LFS_BYTES = 1023
# A line has some 150 bytes: a million versions of tracked paths.
MAX_BYTES = 160 << 20
_LINE = re.compile(
    r"((?:md5|md5-dos2unix):[0-9a-f]{32}(?:\.dir)?|sha256:[0-9a-f]{64})"
    r" (file|tree) (blake3:[0-9a-f]{64}) ([0-9]{1,19}) ([0-9]{1,19})\Z"
)

Imported = dict[str, Pointer]


def load(root: str) -> Imported:
    """Name (`md5:…`) -> pointer; nothing where there is no such file.

    Raises:
        CorruptError: it is damaged. FormatVersionError: written by a newer dvlite.
    """
    path = os.path.join(root, FILE)
    try:
        data = read_small(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if len(data) > MAX_BYTES:
        raise CorruptError(f"{FILE} is larger than {MAX_BYTES >> 20} MiB")
    return parse(data)


def parse(data: bytes) -> Imported:
    """Reads the file's bytes.

    A `md5-dos2unix` name stands for every content that differs in its line ends alone: where two
    branches found different ones, any is what the name says, and the smallest oid counts.
    """
    found: Imported = {}
    for name, pointer in pairs(data):
        known = found.setdefault(name, pointer)
        if known == pointer:
            continue
        if not name.startswith("md5-dos2unix:"):
            raise CorruptError(f"{FILE} says two different things of {name}")
        found[name] = min(known, pointer, key=lambda one: one.oid)
    return found


def pairs(data: bytes) -> Iterator[tuple[str, Pointer]]:
    """Every name and what stands for it, as the lines have them."""
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").splitlines()
    if not lines or not lines[0].startswith("dvlite imported "):
        raise CorruptError(f"{FILE} does not begin with {_HEAD!r}", f"git checkout -- {FILE}")
    if lines[0] != _HEAD:
        raise FormatVersionError(f"{FILE} begins with {lines[0][:40]!r}", "upgrade dvlite")
    for line in lines[1:]:
        match = _LINE.match(line)
        if match is None:
            raise CorruptError(f"{FILE} has a line that is none of its: {line[:80]!r}")
        name, kind, oid, size, files = match.groups()
        yield (
            name,
            Pointer("tree" if kind == "tree" else "file", from_text(oid), int(size), int(files)),
        )


def save(root: str, imported: Mapping[str, Pointer]) -> None:
    """Replaces the file."""
    publish_in_tree(os.path.join(root, FILE), render(imported))


def render(imported: Mapping[str, Pointer]) -> bytes:
    """The file's bytes."""
    lines = [
        f"{name} {one.kind} {to_text(one.oid)} {one.size} {one.files}"
        for name, one in sorted(imported.items())
    ]
    return "".join(line + "\n" for line in (_HEAD, *lines)).encode()


def pointers_of_outs(imported: Mapping[str, Pointer], outs: Iterable[Out]) -> dict[str, Pointer]:
    """Data path -> pointer, for what files of DVC name and the mapping knows."""
    found: dict[str, Pointer] = {}
    for out in outs:
        pointer = imported.get(out.name.text) if out.name is not None else None
        if pointer is None or out.problem:
            continue
        executable = out.executable and pointer.kind == "file"
        found.setdefault(out.path, replace(pointer, executable=executable))
    return found


def names_lfs(imported: Mapping[str, Pointer]) -> bool:
    """Whether the mapping has names of git-lfs."""
    return any(name.startswith("sha256:") for name in imported)


def pointers_of_lfs(
    imported: Mapping[str, Pointer], files: Mapping[str, SmallFile]
) -> dict[str, Pointer]:
    """Data path -> pointer, for files that are pointers of git-lfs which the mapping knows."""
    from dvlite.workspace.lfspointer import parse_lfs_pointer

    found: dict[str, Pointer] = {}
    for path, file in files.items():
        known = parse_lfs_pointer(file.data)
        pointer = imported.get(known.name.text) if known is not None else None
        if pointer is not None and pointer.kind == "file":
            found[path] = replace(pointer, executable=file.executable)
    return found
