"""The pointers of the workspace or of one revision, each read on its own.

Owns setting aside those that cannot be read: a damaged pointer in an old commit must not hide
the others from a command that only reports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, PathError
from dvlite.project import Project
from dvlite.workspace.pointer import Pointer, check_trackable, data_path, parse, pointer_path


@dataclass(frozen=True, slots=True)
class Pointers:
    """Data path -> pointer, and data path -> why its pointer cannot be used. `revision` is empty
    for the workspace."""

    revision: str = ""
    found: dict[str, Pointer] = field(default_factory=dict)
    damaged: dict[str, DvliteError] = field(default_factory=dict)

    def reasons(self) -> list[tuple[str, str]]:
        """The pointers that cannot be used, as messages name them, and why."""
        return [
            (label(pointer_path(path), self.revision), str(error))
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
            _take(pointers, path, project.read_pointer)
        return pointers
    for path, data in project.pointers_at(project.repo.resolve(revision)).items():

        def read(path: str, data: bytes = data) -> Pointer:
            check_trackable(data_path(path))
            return parse(data, label(path, revision))

        _take(pointers, path, read)
    return pointers


def label(path: str, revision: str) -> str:
    """How messages name a path: with the revision, if it is not the workspace's."""
    return f"{revision}:{path}" if revision else path


def _take(pointers: Pointers, path: str, read: Callable[[str], Pointer]) -> None:
    try:
        pointers.found[data_path(path)] = read(path)
    except DvliteError as error:
        pointers.damaged[data_path(path)] = error
    except OSError as error:
        pointers.damaged[data_path(path)] = PathError(f"{path}: {error.strerror}")
