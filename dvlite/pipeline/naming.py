"""What names data: pointer files, and `dvlite.lock`, which names the outputs of stages.

Owns reading either into the same words, so that whoever asks what a workspace or a commit tracks
need not tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping

from dvlite.pipeline import lockfile
from dvlite.workspace.pointer import (
    MAX_POINTER_BYTES,
    SUFFIX,
    Pointer,
    check_trackable,
    covering,
    data_path,
    parse,
)

LOCK = lockfile.FILE
PIPELINE = "dvlite.yaml"  # as in stagefile, which costs YAML to import
# what the names of files that name data end with
NAMING = (SUFFIX, LOCK)


def is_lock(path: str) -> bool:
    """Whether a path, also one of git, is that of a lockfile."""
    return path == LOCK or path.endswith("/" + LOCK)


def most_bytes(path: str) -> int:
    """How large a file that names data may be."""
    return lockfile.MAX_BYTES if is_lock(path) else MAX_POINTER_BYTES


def named_by(path: str, data: bytes, name: str) -> dict[str, Pointer]:
    """Data path -> pointer, of a pointer file or of the lockfile at a project path; `name` is what
    messages call it. A lockfile that is not the project's names nothing.

    Raises:
        CorruptError, ConflictError, FormatVersionError: it cannot be read. PathError: data could
        not be where it says.
    """
    if not is_lock(path):
        check_trackable(data_path(path))
        return {data_path(path): parse(data, name)}
    if path != LOCK:
        return {}
    found = lockfile.outs_as_pointers(lockfile.parse(data, name))
    for out in found:
        check_trackable(out)
    return found


def join(pointers: Mapping[str, Pointer], outs: Mapping[str, Pointer]) -> dict[str, Pointer]:
    """Both, without the outputs that a pointer file tracks too, or something inside or around."""
    if not outs:
        return dict(pointers)
    around = {
        "/".join(parts[:count])
        for parts in (path.split("/") for path in pointers)
        for count in range(1, len(parts))
    }
    free = {
        path: one
        for path, one in outs.items()
        if path not in around and covering(pointers, path) is None
    }
    return {**pointers, **free}
