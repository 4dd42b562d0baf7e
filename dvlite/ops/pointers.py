"""The pointers of the workspace or of one revision, each read on its own; outputs of stages too.

Owns setting aside those that cannot be read: a damaged pointer in an old commit must not hide
the others from a command that only reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, PathError
from dvlite.pipeline.naming import LOCK, is_lock, join, named_by
from dvlite.project import Project
from dvlite.workspace.pointer import Pointer, data_path, pointer_path


@dataclass(frozen=True, slots=True)
class Pointers:
    """Data path -> pointer, and data path -> why its pointer cannot be used (the lockfile's own
    path, if it is that). `outputs`: which of those found stages made. `revision` is empty for the
    workspace."""

    revision: str = ""
    found: dict[str, Pointer] = field(default_factory=dict)
    damaged: dict[str, DvliteError] = field(default_factory=dict)
    outputs: set[str] = field(default_factory=set)

    def reasons(self) -> list[tuple[str, str]]:
        """The pointers that cannot be used, as messages name them, and why."""
        return [
            (label(_file_of(path), self.revision), str(error))
            for path, error in sorted(self.damaged.items())
        ]


def pointers_of(project: Project, revision: str = "") -> Pointers:
    """Those of the workspace, or of a revision.

    Raises:
        MissingError: no such revision.
    """
    pointers = Pointers(revision)
    if not revision:
        for path in project.pointer_paths():
            _take(pointers, path, lambda path: {data_path(path): project.read_pointer(path)})
        _take(pointers, LOCK, lambda _: project.outputs())
        return pointers
    for path, data in project.pointers_at(project.repo.resolve(revision)).items():

        def read(path: str, data: bytes = data) -> dict[str, Pointer]:
            return named_by(path, data, label(path, revision))

        _take(pointers, path, read)
    return pointers


def label(path: str, revision: str) -> str:
    """How messages name a path: with the revision, if it is not the workspace's."""
    return f"{revision}:{path}" if revision else path


def _file_of(path: str) -> str:
    return path if path == LOCK else pointer_path(path)


def _take(pointers: Pointers, path: str, read: Callable[[str], dict[str, Pointer]]) -> None:
    """Lockfiles come last: what a pointer tracks is not an output."""
    name = path if is_lock(path) else data_path(path)
    try:
        new = read(path)
    except DvliteError as error:
        pointers.damaged[name] = error
        return
    except OSError as error:
        pointers.damaged[name] = PathError(f"{path}: {error.strerror}")
        return
    if path != LOCK:
        pointers.found.update(new)
        return
    joined = join(pointers.found, new)
    pointers.outputs.update(joined.keys() - pointers.found.keys())
    pointers.found.update(joined)
