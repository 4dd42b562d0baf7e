"""Values of small files at revisions: what metrics and parameters have in common.

Owns which files and keys of them count at a revision (what its own `dvlite.yaml` declares, or what
the user named), and comparing two revisions. A revision, a file or a value that cannot be read is
named and stops nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dvlite.errors import DvliteError
from dvlite.ops.content import Reader, Source, View, read_all, readers
from dvlite.pipeline.params import MAX_BYTES, NoSuchKeyError, flatten, lookup, read_params
from dvlite.pipeline.stage import Pipeline
from dvlite.pipeline.stagefile import FILE, load
from dvlite.progress import Progress, silent
from dvlite.project import Project

# Files at a revision, and which keys of each count; none: all.
Wanted = dict[str, set[str]]
Values = dict[tuple[str, str], Any]


@dataclass(frozen=True, slots=True)
class ValuesRequest:
    """What to read. `targets`: project paths, of which all keys count; none: what is declared."""

    views: tuple[View, ...]
    targets: tuple[str, ...] = ()
    source: Source = field(default_factory=Source)


@dataclass(frozen=True, slots=True)
class Lost:
    """What could not be read at a revision, and why."""

    revision: str
    path: str
    why: str


@dataclass(slots=True)
class Found:
    """For each view, in order: path and key -> value."""

    views: tuple[View, ...]
    values: list[Values]
    lost: list[Lost] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Change:
    """A value on two sides. `change`: how much more it is, where both are numbers."""

    path: str
    key: str
    has_old: bool
    has_new: bool
    old: Any = None
    new: Any = None
    change: float | None = None

    @property
    def is_change(self) -> bool:
        """Whether the sides differ."""
        return self.has_old != self.has_new or not _same(self.old, self.new)


def read_values(
    project: Project,
    request: ValuesRequest,
    declared: Callable[[Pipeline, Reader], Wanted],
    progress: Progress = silent,
) -> Found:
    """Reads the values of each view; `declared` tells which, where no targets are named.

    Raises:
        RemoteError: fetching was asked for, and no remote can be.
    """
    every = readers(project, request.views, MAX_BYTES)
    found = Found(request.views, [{} for _ in every])
    wanted: dict[int, Wanted] = {}
    for at, reader in enumerate(every):
        wanted[at] = {path: set() for path in request.targets}
        if not request.targets:
            pipeline = pipeline_of(reader, found.lost)
            wanted[at] = declared(pipeline, reader) if pipeline is not None else {}
    contents = read_all(every, wanted, request.source, progress)
    for (path, at), why in contents.lost.items():
        found.lost.append(Lost(request.views[at].name, path, why))
    for (path, at), data in contents.found.items():
        _take(found, at, path, (data, wanted[at][path]))
    found.values = [dict(sorted(values.items())) for values in found.values]
    found.lost.sort(key=lambda one: (one.revision, one.path))
    return found


def pipeline_of(reader: Reader, lost: list[Lost]) -> Pipeline | None:
    """What `dvlite.yaml` declares at a view; None (and noted) where it cannot be read."""
    try:
        return load(reader.read_small)
    except DvliteError as error:
        lost.append(Lost(reader.view.name, FILE, str(error)))
        return None


def is_nowhere(found: Found, path: str) -> bool:
    """Whether no view has anything of a file, nor a reason why."""
    return not any(path == one for values in found.values for one, _ in values) and not any(
        lost.path == path for lost in found.lost
    )


def compare(found: Found, everything: bool = False) -> list[Change]:
    """The differences between the first view and the last; `everything`: also what is equal."""
    old, new = found.values[0], found.values[-1]
    changes = (_change(key, old, new) for key in sorted(old.keys() | new.keys()))
    lost = {one.path for one in found.lost}
    # what could not be read on one side must not pass for new or gone
    kept = (one for one in changes if one.path not in lost or (one.has_old and one.has_new))
    return [one for one in kept if everything or one.is_change]


def _take(found: Found, at: int, path: str, content: tuple[bytes, set[str]]) -> None:
    data, keys = content
    try:
        tree = read_params(data, path)
    except DvliteError as error:
        found.lost.append(Lost(found.views[at].name, path, str(error)))
        return
    for key, value in _chosen(tree, keys):
        found.values[at][path, key] = value


def _chosen(tree: Any, keys: set[str]) -> list[tuple[str, Any]]:
    if not keys:
        return [] if tree in (None, {}, []) else list(flatten(tree))
    chosen: list[tuple[str, Any]] = []
    for key in keys:
        try:
            chosen += flatten(lookup(tree, key), key)
        except NoSuchKeyError:
            continue
    return chosen


def _change(key: tuple[str, str], old: Mapping[Any, Any], new: Mapping[Any, Any]) -> Change:
    before, after = old.get(key), new.get(key)
    return Change(*key, key in old, key in new, before, after, _difference(before, after))


def _difference(old: Any, new: Any) -> float | None:
    if not (is_number(old) and is_number(new)):
        return None
    try:
        return float(new - old) if isinstance(new - old, float) else new - old
    except OverflowError:
        return None


def is_number(value: Any) -> bool:
    """Whether it can be counted with."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(old: Any, new: Any) -> bool:
    both = isinstance(old, float) and isinstance(new, float)
    if both and math.isnan(old) and math.isnan(new):
        return True
    return type(old) is type(new) and bool(old == new)


def common_files(views: Sequence[Values]) -> list[str]:
    """All files that any view has, sorted."""
    return sorted({path for values in views for path, _ in values})
