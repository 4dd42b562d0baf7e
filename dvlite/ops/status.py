"""`dvlite status`: what changed against the pointers, what is missing, what is not pushed.

It takes no lock and works on a read-only repository. One path that cannot be read does not hide
the others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.ops.looking import Here, Looker, entry_of
from dvlite.ops.pointers import pointers_of
from dvlite.ops.push import unpushed
from dvlite.ops.remotes import Contact, chosen_names, last_contact
from dvlite.ops.stepping import missing_files
from dvlite.pipeline.naming import LOCK
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.treediff import Comparison, Readers, compare
from dvlite.workspace.base import Base
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path

State = Literal["clean", "changed", "absent", "behind", "gone", "unreadable"]


@dataclass(frozen=True, slots=True)
class PathStatus:
    """One tracked path.

    `changed`: its files differ, as `comparison` tells; `absent`: nothing is there; `behind`: as
    it was last in step, but the pointer has news; `gone`: it is here, its pointer is not;
    `unreadable`: `reason` tells why. `missing_files`: content that is not in the cache.
    """

    path: str
    state: State
    pointer: Pointer | None = None
    comparison: Comparison | None = None
    pointer_moved: bool = False
    missing_files: int = 0
    missing_bytes: int = 0
    ignored: bool = True
    reason: str = ""
    failed: tuple[tuple[bytes, str], ...] = ()
    unread: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """What to look at, and whether to ask the remote."""

    paths: tuple[str, ...] = ()
    ask_remote: bool = False
    remote: str | None = None


@dataclass(slots=True)
class Status:
    """All paths. `unpushed`: labels of pointers that the remote lacked, now (`asked`) or at the
    last contact; None when there never was one."""

    paths: list[PathStatus] = field(default_factory=list)
    remote: str | None = None
    asked: bool = False
    contact: Contact | None = None
    unpushed: list[str] | None = None

    @property
    def is_clean(self) -> bool:
        """Whether workspace and pointers agree and all their content is in the cache."""
        return all(
            one.state == "clean" and not one.missing_files and one.ignored for one in self.paths
        )


def status(project: Project, request: StatusRequest, progress: Progress = silent) -> Status:
    """Looks at the tracked paths.

    Raises:
        RemoteError: the remote was to be asked and cannot be.
    """
    known = pointers_of(project)
    pointers, broken = known.found, {path: _why(error) for path, error in known.damaged.items()}
    base = project.base()
    looker = Looker(project, progress, sizes_only=True)
    result = Status()
    names = set(pointers) | set(broken)
    if LOCK not in broken:  # which paths a lockfile that cannot be read names, nobody knows
        names |= set(base.entries)
    for path in sorted(_limit(names, pointers, request.paths)):
        if path in broken:
            result.paths.append(PathStatus(path, "unreadable", reason=broken[path]))
            continue
        found = _look(looker, path, pointers.get(path), base)
        if found is not None:
            result.paths.append(found)
    looker.done()
    _note_ignored(project, result)
    _note_unpushed(project, request, pointers, result)
    return result


def _why(error: DvliteError) -> str:
    return f"{error}" + (f" ({error.hint})" if error.hint else "")


def _limit(names: set[str], pointers: dict[str, Pointer], paths: Sequence[str]) -> set[str]:
    if not paths or "" in paths:
        return names
    chosen: set[str] = set()
    for given in paths:
        path = data_path(given) if given.endswith(SUFFIX) and data_path(given) in names else given
        cover = covering(pointers, path)
        chosen |= {cover[0]} if cover is not None else set()
        chosen |= {name for name in names if name == path or name.startswith(path + "/")}
    return chosen


def _look(looker: Looker, path: str, pointer: Pointer | None, base: Base) -> PathStatus | None:
    known = base.get(path)
    try:
        here = looker.look(path, pointer)
    except (DvliteError, OSError) as error:
        return PathStatus(path, "unreadable", pointer, reason=str(error))
    if pointer is None:
        return PathStatus(path, "gone", known) if here.pointer is not None else None
    moved = known is not None and not known.same_content(pointer)
    if here.pointer is None and not here.failed:
        lacking, size = _missing(looker, pointer)
        return PathStatus(
            path, "absent", pointer, None, moved, missing_files=lacking, missing_bytes=size
        )
    if here.failed and here.pointer is None:
        return PathStatus(path, "unreadable", pointer, reason=here.failed[0][1])
    return _compare(looker, here, pointer, known, moved)


def _compare(
    looker: Looker, here: Here, pointer: Pointer, known: Pointer | None, moved: bool
) -> PathStatus:
    assert here.pointer is not None
    path = here.path
    if here.pointer.same_content(pointer) and not here.failed:
        counted = here.pointer.size, here.pointer.files
        if counted != (pointer.size, pointer.files):
            reason = (
                f"its pointer says {pointer.size:,} bytes in {pointer.files:,} files, and the data "
                f"that it names has {counted[0]:,} in {counted[1]:,} (correct it: dvlite add)"
            )
            return PathStatus(path, "unreadable", pointer, reason=reason)
        lacking = 0 if looker.cache.has(pointer.oid) else pointer.files
        size = pointer.size if lacking else 0
        return PathStatus(path, "clean", pointer, missing_files=lacking, missing_bytes=size)
    lacking, size = _missing(looker, pointer)
    if known is not None and moved and here.pointer.same_content(known):
        return PathStatus(
            path, "behind", pointer, None, True, missing_files=lacking, missing_bytes=size
        )
    against = known if moved and known is not None else pointer
    read = looker.cache.read_tree
    name = os.fsencode(path)
    comparison = compare(
        Readers(read, here.reader(read)),
        {name: entry_of(against)},
        {name: entry_of(here.pointer)},
    )
    return PathStatus(
        path,
        "changed",
        pointer,
        comparison,
        moved,
        lacking,
        size,
        failed=here.failed,
        unread=here.unread,
    )


def _missing(looker: Looker, pointer: Pointer) -> tuple[int, int]:
    try:
        missing = missing_files(looker, pointer)
    except DvliteError:
        return pointer.files, pointer.size
    return sum(entry.files for entry in missing), sum(entry.size for entry in missing)


def _note_ignored(project: Project, result: Status) -> None:
    """A tracked path that git would not ignore could end up in git."""
    there = [one for one in result.paths if one.state not in ("absent", "gone", "unreadable")]
    if not there:
        return
    names = {one.path: project.to_git(one.path) for one in there}
    ignored = project.repo.ignored(names.values())
    for at, one in enumerate(result.paths):
        if one.path in names and names[one.path] not in ignored:
            from dataclasses import replace

            result.paths[at] = replace(one, ignored=False)


def _note_unpushed(
    project: Project, request: StatusRequest, pointers: dict[str, Pointer], result: Status
) -> None:
    if request.ask_remote:
        name = chosen_names(project, [request.remote] if request.remote else [])[0]
        result.remote, result.asked = name, True
        result.unpushed = [named.label for named in unpushed(project, name)]
        result.contact = last_contact(project)
        return
    if not project.config.remotes():
        return
    contact = last_contact(project)
    if contact is None:
        return
    result.remote, result.contact = contact.remote, contact
    result.unpushed = sorted(
        path for path, pointer in pointers.items() if pointer.oid not in contact.present
    )
