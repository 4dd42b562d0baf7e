"""What git calls to merge a file of dvlite's: reads the three versions, leaves the result.

Owns the dispatch by the kind of file, and the rule for everything that goes wrong: git gets an
ordinary conflict, with the reason; never a wrong result, and never a failed merge.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dvlite.errors import ConflictError, CorruptError, DvliteError, ProjectError
from dvlite.gitrepo import GitRepo
from dvlite.gittext import merge_text
from dvlite.ops.pointermerge import Three, merge_pointers
from dvlite.pipeline import lockfile
from dvlite.pipeline.naming import most_bytes
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.workspace.conflicted import Conflicted, render_conflicted
from dvlite.workspace.pointer import SUFFIX, data_path, parse, render

_NAMED = 10
_Merge = Callable[["Three", str, "str | None"], "tuple[bytes, MergeReport]"]
# git's own marker size; ancestors that are merged with each other first get a larger one, and
# nobody needs to read of their conflicts.
USUAL_MARKER = 7


@dataclass(frozen=True, slots=True)
class MergeCall:
    """What git says: three files (`ours` is to be overwritten), and the path from the top."""

    base: str
    ours: str
    theirs: str
    marker: int
    path: str
    labels: tuple[str, str] = ("ours", "theirs")


@dataclass(frozen=True, slots=True)
class MergeReport:
    """Whether it merged, and what to tell the user if not."""

    merged: bool
    messages: tuple[str, ...] = ()
    hint: str = ""


def merge_driver(call: MergeCall, folder: str, cache_folder: str | None) -> MergeReport:
    """Merges one file for git, which started us in `folder`."""
    three = Three(
        call.path,
        _read(call.base, call.path),
        _read(call.ours, call.path),
        _read(call.theirs, call.path),
        call.labels,
        call.marker,
    )
    if any(len(data) > most_bytes(call.path) for data in (three.ours, three.theirs)):
        return _by_lines(call, "it is too large")
    if three.base in (three.ours, three.theirs):  # git asks so when it replays what it remembers
        _write(call.ours, three.theirs if three.base == three.ours else three.ours)
        return MergeReport(True)
    merge = next((merge for end, merge in _MERGERS if call.path.endswith(end)), None)
    if merge is None:
        return _by_lines(call, "dvlite has no files of this kind")
    try:
        data, report = merge(three, folder, cache_folder)
    except (DvliteError, OSError) as error:
        why = str(error) if isinstance(error, DvliteError) else f"{error.strerror}"
        return _failed(call, three, why)
    _write(call.ours, data)
    return report


def open_cache(folder: str, path: str = "", cache_folder: str | None = None) -> Cache:
    """The cache that `path`, seen from the top of the repository around `folder`, belongs to."""
    repo = GitRepo.discover(folder)
    return _cache(repo, _project(repo, path, cache_folder), cache_folder)


def _cache(repo: GitRepo, project: Project | None, cache_folder: str | None) -> Cache:
    if project is not None:
        return project.cache()
    return Cache(cache_folder or os.path.join(repo.common_dir, "dvlite", "cache"))


def _project(repo: GitRepo, path: str, cache_folder: str | None) -> Project | None:
    """A path may be of another branch: it need not be here, nor need its project."""
    inside = os.path.dirname(path)
    while inside and not os.path.isdir(os.path.join(repo.top, inside)):
        inside = os.path.dirname(inside)
    try:
        return Project.open(os.path.join(repo.top, inside), cache_folder)
    except ProjectError:
        return None


def _merge_pointer(
    three: Three, folder: str, cache_folder: str | None
) -> tuple[bytes, MergeReport]:
    repo = GitRepo.discover(folder)
    project = _project(repo, three.path, cache_folder)
    found = merge_pointers(_cache(repo, project, cache_folder), three)
    messages: tuple[str, ...] = ()
    if found.lacking and project is not None and project.config.get("core.merge_fetch"):
        from dvlite.ops.mergefetch import merge_fetching  # remotes cost 50 ms to import

        try:
            found = merge_fetching(project, three, unasked=True)
        except DvliteError as error:
            messages = (f"{three.path}: listings cannot be fetched: {error}",)
    if found.pointer is not None:
        return render(found.pointer), MergeReport(True)
    assert found.conflict is not None
    name = data_path(three.path)
    hint = "dvlite resolve --ours PATH, or --theirs"
    if found.lacking:
        hint = f"dvlite resolve --fetch {name}"
    messages += _say(name, found.conflict)
    return render_conflicted(found.conflict), MergeReport(False, messages, hint)


def _merge_lock(three: Three, folder: str, cache_folder: str | None) -> tuple[bytes, MergeReport]:
    """Stage by stage; a stage that both sides ran with other results has both between markers."""
    base, ours, theirs = (
        lockfile.parse(data, three.path) if data else {}
        for data in (three.base, three.ours, three.theirs)
    )
    merged, conflicts = lockfile.merge(base, ours, theirs)
    if not conflicts:
        return lockfile.render(merged), MergeReport(True)
    sides = {name: (ours.get(name), theirs.get(name)) for name in conflicts}
    messages = [f"{three.path}: both sides ran the stage {name}" for name in conflicts[:_NAMED]]
    if len(conflicts) > _NAMED:
        messages.append(f"and {len(conflicts) - _NAMED:,} more stages")
    data = lockfile.render_conflicted(merged, sides, three.labels, three.marker)
    return data, MergeReport(False, tuple(messages), lockfile.TO_DECIDE)


# What ends so is merged by that.
_MERGERS: tuple[tuple[str, _Merge], ...] = (
    (SUFFIX, _merge_pointer),
    (lockfile.FILE, _merge_lock),
)


def _say(name: str, conflict: Conflicted) -> tuple[str, ...]:
    if not conflict.is_merged:
        return (f"{name}: {conflict.why}",)
    lines = [f"{name}/{path}: both sides changed it" for path in conflict.paths[:_NAMED]]
    if len(conflict.paths) > _NAMED:
        lines.append(f"and {len(conflict.paths) - _NAMED:,} more in {name}")
    return tuple(lines)


def _failed(call: MergeCall, three: Three, why: str) -> MergeReport:
    """A conflict, although nobody may have changed the same."""
    try:
        ours, theirs = parse(three.ours, call.path), parse(three.theirs, call.path)
    except (CorruptError, ConflictError):
        return _by_lines(call, why)
    conflict = Conflicted(ours, theirs, why, (), call.labels, call.marker)
    _write(call.ours, render_conflicted(conflict))
    return MergeReport(False, _say(data_path(call.path), conflict), "dvlite resolve PATH")


def _by_lines(call: MergeCall, why: str) -> MergeReport:
    """As git merges any text. What merges so is still a conflict if it should be a pointer: two
    sides' lines make one that nobody has seen."""
    conflicts = merge_text(call.ours, call.base, call.theirs, call.labels, call.marker)
    sides = [_read(path, call.path)[:8] for path in (call.base, call.theirs, call.ours)]
    merged = not conflicts and b"dvlite: " not in sides
    hint = f"edit {call.path}, then git add {call.path}"
    return MergeReport(merged, () if merged else (f"{call.path} is not merged: {why}",), hint)


def _read(path: str, name: str) -> bytes:
    """Little more than a file of that name can have."""
    with open(path, "rb") as stream:
        return stream.read(4 * most_bytes(name))


def _write(path: str, data: bytes) -> None:
    """git reads its own temporary file again: nothing else may know of it."""
    with open(path, "wb") as stream:
        stream.write(data)
