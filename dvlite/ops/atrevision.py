"""A dependency as it was at a revision: what it held, and that made into files for a stage.

Owns where those files are: a folder for each commit below `<git dir>/dvlite/<project>/at`, in which
the dependency has its usual path. A stage finds it in the variable DVLITE_AT_1 (2, 3 … for further
revisions, in the order of dvlite.yaml).
"""

from __future__ import annotations

import os

from dvlite.atomic import publish
from dvlite.errors import MissingError
from dvlite.ops.get import GetRequest, get
from dvlite.ops.looking import pointer_of
from dvlite.ops.ls import Target
from dvlite.ops.pointers import pointers_of
from dvlite.ops.seeing import Seen
from dvlite.pipeline.stage import Dep, Stage
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes
from dvlite.storage.treewalk import find
from dvlite.workspace.pointer import Pointer, covering

_MOST_BYTES = 64 << 20


def seen_at(project: Project, dep: Dep) -> Seen | None:
    """What a path held at its revision; None where it was not there.

    Raises:
        MissingError: no such revision.
    """
    pointer = _pointer_at(project, dep)
    if pointer is not None:
        return Seen(pointer.kind, pointer.oid, pointer.size, pointer.files, pointer.executable)
    data = _in_git(project, dep)
    return None if data is None else Seen("file", hash_bytes(data), len(data))


def environment_of(project: Project, stage: Stage) -> dict[str, str]:
    """Makes a stage's dependencies at revisions into files; the variables that say where.

    Raises:
        MissingError: content that is not in the cache.
    """
    folders: dict[str, str] = {}
    for dep in stage.deps:
        if dep.revision:
            commit = project.repo.resolve(dep.revision)
            folder = os.path.join(project.private_folder, "at", commit)
            _materialise(project, dep, folder)
            folders.setdefault(dep.revision, folder)
    return {f"DVLITE_AT_{at}": folder for at, folder in enumerate(folders.values(), 1)}


def _pointer_at(project: Project, dep: Dep) -> Pointer | None:
    """What dvlite tracks at a path then, or in a folder above it."""
    found = pointers_of(project, dep.revision).found
    cover = covering(found, dep.path)
    if cover is None:
        return None
    pointer, inside = found[cover[0]], cover[1]
    if not inside:
        return pointer
    entry = find(project.cache().read_tree, pointer.oid, os.fsencode(inside))
    return None if entry is None else pointer_of(entry)


def _in_git(project: Project, dep: Dep) -> bytes | None:
    commit = project.repo.resolve(dep.revision)
    data = project.repo.read_file(commit, project.to_git(dep.path))
    return data if data is None or len(data) <= _MOST_BYTES else None


def _materialise(project: Project, dep: Dep, folder: str) -> None:
    """Writes a dependency below `folder`, unless it is there: a commit does not change."""
    target = os.path.join(folder, dep.path)
    if os.path.lexists(target):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    pointer = _pointer_at(project, dep)
    if pointer is None:
        data = _in_git(project, dep)
        if data is None:
            raise MissingError(f"{dep.revision} has no file {dep.path}", "correct dvlite.yaml")
        publish(target, data, durable=False)
        return
    found = get(project, GetRequest(Target(dep.path, dep.revision), target, private=True))
    if not found.complete:
        raise MissingError(
            f"{dep.path} at {dep.revision} is neither in the cache nor on a remote",
            "dvlite fetch --rev " + dep.revision,
        )
