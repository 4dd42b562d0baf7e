"""What `--force` discards: kept in the cache first, and brought back on demand."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dvlite.atomic import publish
from dvlite.errors import ConflictError, MissingError
from dvlite.ops.looking import Here, Looker
from dvlite.ops.stepping import Rule, Stepper, missing_files, plan_step
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.row import RowKind
from dvlite.workspace.base import quote, unquote
from dvlite.workspace.pointer import Pointer

_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Discarded:
    """Data as it was before it was discarded. `id` brings it back."""

    id: str
    path: str
    pointer: Pointer
    time_s: int


def discard(project: Project, paths: Sequence[str]) -> list[Discarded]:
    """Puts what is at these paths into the cache and writes down how to find it."""
    looker = Looker(project, keep=True)
    kept: list[Discarded] = []
    for path in paths:
        here = _keep(looker, path)
        if here.pointer is None:
            continue
        name = here.pointer.oid.hex()[:_ID_DIGITS]
        kept.append(Discarded(name, path, here.pointer, int(time.time())))
    _write_down(project, kept)
    return kept


def _keep(looker: Looker, path: str) -> Here:
    """Puts what is at a path into the cache, all of it: it may be the only copy there is.

    Raises:
        ConflictError: that cannot be done.
    """
    for looker.forget in (False, True):  # what the stat index knows may have left the cache
        here = looker.look(path)
        if here.failed and here.link is None:  # being written, say
            continue
        if here.snapshot is not None:
            with CacheWriter(looker.cache) as writer:
                for oid, data in here.snapshot.trees.items():
                    writer.add(oid, data, RowKind.TREE)
        if here.pointer is None or not missing_files(looker, here.pointer):
            looker.forget = False
            return here
    raise ConflictError(
        f"the edits of {path} cannot be kept in the cache, and would be lost",
        "is another program writing there? move them away, or add them: dvlite add",
    )


def remember(project: Project, pointers: Mapping[str, Pointer]) -> list[Discarded]:
    """Writes down pointers that nothing may name any more, but whose data the cache has."""
    now = int(time.time())
    kept = [
        Discarded(pointer.oid.hex()[:_ID_DIGITS], path, pointer, now)
        for path, pointer in pointers.items()
    ]
    _write_down(project, kept)
    return kept


def _write_down(project: Project, kept: Sequence[Discarded]) -> None:
    if kept:
        with open(_file(project), "a+b") as stream:
            if not _ends_a_line(stream):  # as when the disk was full: what follows is a line anew
                stream.write(b"\n")
            stream.writelines(_render(one).encode("ascii") for one in kept)
            stream.flush()
            os.fsync(stream.fileno())


def _ends_a_line(stream: BinaryIO) -> bool:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - 1))
    return stream.read(1) in (b"", b"\n")


def listed(project: Project) -> list[Discarded]:
    """What was discarded, newest last; lines that cannot be read are passed over."""
    return read(_file(project))


def read(path: str) -> list[Discarded]:
    """The same, of the file at a path."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return []
    return [one for line in lines if (one := _parse(line)) is not None]


def expire(project: Project, before_s: float) -> None:
    """Forgets what was discarded before a moment."""
    if all(one.time_s >= before_s for one in listed(project)):
        return
    with project.lock():
        kept = [one for one in listed(project) if one.time_s >= before_s]
        publish(_file(project), "".join(_render(one) for one in kept).encode("ascii"))


def recover(project: Project, wanted: str, progress: Progress = silent) -> str:
    """Brings discarded data back beside its path; where it is now.

    Raises:
        MissingError: nothing of that id, or its content has left the cache.
        ConflictError: the name for it is taken.
    """
    found = next((one for one in reversed(listed(project)) if one.id == wanted), None)
    if found is None:
        raise MissingError(f"nothing was discarded under {wanted}")
    path = f"{found.path}.recovered-{found.id}"
    with project.lock():
        if os.path.lexists(project.absolute(path)):
            raise ConflictError(f"{path} is there already", "move it away")
        looker = Looker(project, progress)
        step = plan_step(looker, looker.look(path), found.pointer, [], Rule())
        Stepper(project, looker, progress).run(step)
    return path


def _file(project: Project) -> str:
    return os.path.join(project.private_folder, "discarded")


def _render(one: Discarded) -> str:
    kind = "exec" if one.pointer.executable else one.pointer.kind
    numbers = f"{one.pointer.size} {one.pointer.files}"
    return f"{one.time_s} {kind} {one.pointer.oid.hex()} {numbers} {quote(one.path)}\n"


def _parse(line: str) -> Discarded | None:
    try:
        moment, kind, oid, size, files, path = line.split(" ", 5)
        pointer = Pointer(
            "tree" if kind == "tree" else "file",
            bytes.fromhex(oid),
            int(size),
            int(files),
            kind == "exec",
        )
        return Discarded(oid[:_ID_DIGITS], unquote(path), pointer, int(moment))
    except ValueError:
        return None
