"""What is at the outputs of a stage before it runs: taken away, or made fit to be written to.

Owns that nothing is lost: edits are in the cache before they go, and a command that goes on with an
output never writes into the cache, of which checkouts may have linked the file.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dvlite.atomic import SCRATCH, open_to_publish
from dvlite.errors import PathError
from dvlite.ops.discarded import Discarded, discard
from dvlite.ops.looking import Looker
from dvlite.ops.stepping import refuse_behind_link
from dvlite.pipeline.lockfile import LockedFile, LockedStage
from dvlite.pipeline.stage import Out, Stage
from dvlite.project import Project
from dvlite.workspace.pointer import Pointer

_COPY_BYTES = 1 << 20
# Edits of what git keeps: text and tables. Beyond this it is rather what nobody is to keep.
_MOST_KEPT_BYTES = 16 << 20


def remove_outputs(
    project: Project, stage: Stage, known: LockedStage | None, keep: bool = True
) -> list[Discarded]:
    """Takes away what a stage is about to make anew; what is not as it was made, `known` (what the
    lockfile says), is kept in the cache first. Without `keep` it is not: what a stopped command was
    writing a moment ago is nobody's.

    Raises:
        PathError: it cannot be taken away. ConflictError: it cannot be kept.
    """
    discarded: list[Discarded] = []
    with project.lock():
        outs = {out.path: out for out in stage.outs if not out.persist}
        there = [path for path in outs if os.path.lexists(project.absolute(path))]
        for path in there:
            refuse_behind_link(project, path)
        if keep and there:
            made = pointers_of(known.outs if known is not None else ())
            base = project.base()
            made.update({path: one for path in there if (one := base.get(path)) is not None})
            edited = [path for path in there if _is_edited(project, outs[path], made.get(path))]
            discarded = discard(project, edited)
        for path in there:
            remove(project, path)
    return discarded


def free_outputs(project: Project, stage: Stage) -> None:
    """Makes outputs that persist the command's own: files that are linked into the cache, hence
    read-only, become copies.

    Raises:
        PathError: a file cannot be replaced.
    """
    for out in stage.outs:
        if not (out.persist and out.cached):
            continue
        refuse_behind_link(project, out.path)
        for path in _files(project.absolute(out.path)):
            try:
                _free(project, path)
            except OSError as error:
                name = os.path.relpath(path, project.root)
                raise PathError(f"{name} cannot be made writable: {error.strerror}") from error


def _files(path: str) -> Iterator[str]:
    """A file, or all that are in a folder."""
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, names in os.walk(path):
            yield from (os.path.join(folder, name) for name in names)
    elif os.path.lexists(path):
        yield path


def _free(project: Project, path: str) -> None:
    """Replaces a file by a copy of it, if it is the cache's."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        cache = os.path.realpath(project.cache_folder)
        if not os.path.realpath(path).startswith(cache + os.sep):
            return
    elif found.st_nlink == 1 or not stat.S_ISREG(found.st_mode):
        return
    mode = 0o644 | os.stat(path).st_mode & 0o111
    scratch = os.path.join(project.root, SCRATCH)
    os.makedirs(scratch, exist_ok=True)
    with (
        open(path, "rb") as source,
        open_to_publish(path, mode=mode, durable=False, temporary_folder=scratch) as target,
    ):
        shutil.copyfileobj(source, target, _COPY_BYTES)


def remove(project: Project, path: str) -> None:
    """Deletes a file or a folder with all that is in it."""
    absolute = project.absolute(path)
    try:
        if stat.S_ISDIR(os.lstat(absolute).st_mode):
            shutil.rmtree(absolute)
        else:
            os.unlink(absolute)
    except FileNotFoundError:
        return
    except OSError as error:
        raise PathError(f"{path} cannot be deleted: {error.strerror}") from error
    with suppress(FileNotFoundError):
        os.unlink(project.stat_index_path(path))


def make_folders(project: Project, stage: Stage) -> None:
    """Commands expect the folders that they write into."""
    for out in stage.outs:
        refuse_behind_link(project, out.path)
        folder = os.path.dirname(out.path)
        try:
            os.makedirs(project.absolute(folder), exist_ok=True)
        except OSError as error:
            raise PathError(f"the folder {folder} cannot be made: {error.strerror}") from error


def _is_edited(project: Project, out: Out, known: Pointer | None) -> bool:
    if not out.cached:  # git has it, or it is large and nobody is to keep it
        found = os.lstat(project.absolute(out.path))
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_KEPT_BYTES:
            return False
    here = Looker(project).look(out.path)
    return here.pointer is not None and not here.pointer.same_content(known)


def pointers_of(items: Iterable[LockedFile]) -> dict[str, Pointer]:
    """Data path -> pointer."""
    return {one.path: pointer_of(one) for one in items}


def pointer_of(item: LockedFile) -> Pointer:
    """An item of the lockfile as a pointer."""
    return Pointer(item.kind, item.oid, item.size, item.files, item.executable)
