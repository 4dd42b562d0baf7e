"""`dvlite doctor`: looks at everything dvlite stands on, and says what is wrong with it.

Each check is a function that yields findings; one that fails is itself a finding. Nothing is
changed, except that `remove_leftovers` removes what interrupted commands left.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from dvlite.atomic import temporary_name
from dvlite.errors import DvliteError
from dvlite.gitcall import git_version
from dvlite.ops.cacheshare import lacking_rights
from dvlite.ops.cacheshow import group_of, source_problem
from dvlite.ops.cachesize import counted_size
from dvlite.ops.install import states
from dvlite.ops.remotes import open_named
from dvlite.ops.stepping import scratch_folder
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.remote import NotMade, Remote
from dvlite.workspace import cachemoves
from dvlite.workspace.config import LINK_TYPES
from dvlite.workspace.links import working_types
from dvlite.workspace.pointer import data_path

Grade = Literal["ok", "note", "problem"]

_OLDEST_GIT = (2, 25)
_LITTLE_SPACE = 2 << 30
# Between this clock and the file system's; more than this and timestamps mislead.
_SKEW_S = 5.0
_OLD_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `hint`: what to do about it."""

    check: str
    grade: Grade
    text: str
    hint: str | None = None


def doctor(project: Project) -> list[Finding]:
    """Runs all checks."""
    checks: tuple[tuple[str, Callable[[Project], Iterator[Finding]]], ...] = (
        ("git", _git),
        ("cache", _cache),
        ("cache use", _cache_use),
        ("links", _links),
        ("files", _files),
        ("space", _space),
        ("clock", _clock),
        ("base", _base),
        ("pointers", _pointers),
        ("leftovers", _leftovers),
        ("install", _installed),
        ("remotes", _remotes),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check(project)
        except DvliteError as error:
            findings.append(Finding(name, "problem", str(error), error.hint))
        except OSError as error:
            where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
            findings.append(Finding(name, "problem", f"{where}{error.strerror}"))
    return findings


def _git(project: Project) -> Iterator[Finding]:
    version = git_version()
    shown = ".".join(map(str, version))
    if version < _OLDEST_GIT:
        yield Finding("git", "problem", f"git {shown} is too old", "install 2.25 or newer")
    else:
        yield Finding("git", "ok", f"git {shown}, Python {sys.version.split()[0]}")


def _cache(project: Project) -> Iterator[Finding]:
    folder = project.cache_folder
    parts = [folder, *(os.path.join(folder, name) for name in ("objects", "packs", "tmp"))]
    os.makedirs(folder, exist_ok=True)
    for part in filter(os.path.isdir, parts):
        if not os.access(part, os.R_OK | os.W_OK | os.X_OK):
            text = f"{part} cannot be written"
            yield Finding("cache", "problem", text, "check who owns it and its mode")
            return
    if os.stat(folder).st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
        yield Finding(
            "cache", "note", f"anybody on this machine can change {folder}", f"chmod o-w {folder}"
        )
    packs = project.cache().packs()  # opens every index, which checks it
    lost = [pack.path for pack in packs if not os.path.exists(pack.path)]
    for path in lost:
        yield Finding(
            "cache",
            "problem",
            f"{path} is missing, its index is there",
            "remove the .idx beside it; then dvlite fetch",
        )
    if not lost:
        yield Finding("cache", "ok", f"{folder}: {len(packs):,} packs")


def _cache_use(project: Project) -> Iterator[Finding]:
    """What `dvlite cache` set up: a move, a group, second sources, a limit."""
    begun = cachemoves.read(project.repo.common_dir)
    if begun is not None:
        yield Finding(
            "cache use",
            "problem",
            f"a move of the cache to {begun.target} was interrupted",
            f"go on: dvlite cache move {begun.target}",
        )
    group = group_of(project.cache_folder)
    if group is not None:
        lacking = lacking_rights(project.cache_folder)
        for path in lacking:
            text = f"the group {group} lacks rights in {path}"
            yield Finding("cache use", "problem", text, "its owner: dvlite cache share")
        if not lacking:
            yield Finding("cache use", "ok", f"shared by the group {group}")
    for folder in project.cache_sources():
        yield _second_source(folder)
    limit = project.config.get("cache.max_size")
    over = counted_size(project.cache_folder) - int(limit) if limit else 0
    if over > 0:
        text = f"the cache is {over / 1e9:.1f} GB larger than cache.max_size"
        yield Finding("cache use", "note", text, "make it smaller: dvlite cache trim")


def _second_source(folder: str) -> Finding:
    problem = source_problem(folder)
    hint = f"mount it, or read from it no more: dvlite cache link --remove {folder}"
    if problem is not None:
        return Finding("cache use", "problem", f"the second source {folder}: {problem}", hint)
    try:
        packs = len(Cache(folder).packs())
    except (DvliteError, OSError) as error:
        return Finding("cache use", "problem", f"the second source {folder}: {error}", hint)
    return Finding("cache use", "ok", f"the second source {folder}: {packs:,} packs")


def _links(project: Project) -> Iterator[Finding]:
    works = working_types(project.cache_folder, project.root, LINK_TYPES)
    chosen = [kind for kind in str(project.config.get("cache.link")).split(",") if kind in works]
    yield Finding("links", "ok", f"work here: {', '.join(works)}")
    used = chosen[0] if chosen else "copy"
    if not chosen:
        yield Finding("links", "note", "none of cache.link works here; files are copied")
    elif used == "copy" and "hardlink" in works:
        yield Finding(
            "links",
            "note",
            "large files are copied from the cache, so they take space twice",
            "read-only links take it once: dvlite config --local cache.link hardlink,copy",
        )
    if used == "symlink" and project.cache_folder.startswith(project.repo.common_dir + os.sep):
        yield Finding(
            "links",
            "note",
            "symbolic links lead into .git and break when the repository moves",
            "put the cache elsewhere: dvlite cache move DIR",
        )


def _files(project: Project) -> Iterator[Finding]:
    """What the file systems can do: direct writing (speed), and telling names apart by case."""
    direct = _takes_direct(project.cache_folder) and _takes_direct(project.root)
    with tempfile.NamedTemporaryFile(dir=project.root, prefix=".dvlite-case-") as stream:
        folder, name = os.path.split(stream.name)
        folds = os.path.lexists(os.path.join(folder, name.upper()))
    if not direct:
        yield Finding("files", "note", "no direct writing here: large files are written slower")
    if folds:
        yield Finding("files", "note", "this file system does not tell A from a in names")
    if direct and not folds:
        yield Finding("files", "ok", "direct writing works; names that differ in case differ")


def _takes_direct(folder: str) -> bool:
    path = temporary_name(folder, ".dvlite-direct-")
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_DIRECT", 0)))
    except OSError:
        return False
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
    return hasattr(os, "O_DIRECT")


def _space(project: Project) -> Iterator[Finding]:
    for what, folder in (("workspace", project.root), ("cache", project.cache_folder)):
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        grade: Grade = "ok" if free > _LITTLE_SPACE else "note"
        yield Finding("space", grade, f"{free / (1 << 30):.1f} GiB free for the {what}")


def _clock(project: Project) -> Iterator[Finding]:
    os.makedirs(project.private_folder, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=project.private_folder) as stream:
        skew = os.fstat(stream.fileno()).st_mtime - time.time()
    if abs(skew) > _SKEW_S:
        yield Finding(
            "clock",
            "problem",
            f"the file system's clock is {skew:+.0f} s off this machine's",
            "set both by NTP; until then more files than needed are read again",
        )
    else:
        yield Finding("clock", "ok", "the file system's clock agrees with this machine's")


def _base(project: Project) -> Iterator[Finding]:
    base = project.base()
    yield Finding("base", "ok", f"{len(base.entries):,} paths")


def _pointers(project: Project) -> Iterator[Finding]:
    readable: list[str] = []
    for path in project.pointer_paths():
        try:
            project.read_pointer(path)
            readable.append(data_path(path))
        except (DvliteError, OSError) as error:
            known = project.repo.tracked([project.to_git(path)])
            hint = getattr(error, "hint", None) if known else "another name, if it is no pointer"
            yield Finding("pointers", "problem" if known else "note", str(error), hint)
    try:
        readable += project.outputs()
    except (DvliteError, OSError) as error:
        yield Finding("pointers", "problem", str(error), getattr(error, "hint", None))
    named = {project.to_git(path): path for path in readable}
    ignored = project.repo.ignored(named)
    for git_path, path in named.items():
        if git_path not in ignored and os.path.lexists(project.absolute(path)):
            yield Finding(
                "pointers", "problem", f"git does not ignore {path}", f"dvlite add {path}"
            )
    yield Finding("pointers", "ok", f"{len(readable):,} can be read")


def leftovers(project: Project) -> list[str]:
    """Files that interrupted commands left more than a day ago. They only take room."""
    found: list[str] = []
    for folder in (scratch_folder(project), os.path.join(project.cache_folder, "tmp")):
        with suppress(FileNotFoundError, NotADirectoryError):
            found += [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    return [path for path in found if _is_old(path)]


def remove_leftovers(project: Project) -> list[str]:
    """Removes them; what was removed."""
    with project.lock():
        old = leftovers(project)
        for path in old:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(path)
    return [path for path in old if not os.path.lexists(path)]


def _is_old(path: str) -> bool:
    """Newer ones may belong to a command that runs."""
    with suppress(FileNotFoundError):
        return time.time() - os.lstat(path).st_mtime > _OLD_S
    return False


def _leftovers(project: Project) -> Iterator[Finding]:
    old = leftovers(project)
    if old:
        text = f"{len(old):,} unfinished files of interrupted commands, such as {old[0]}"
        yield Finding("leftovers", "note", text, "remove them: dvlite doctor --fix")
    else:
        yield Finding("leftovers", "ok", "none")


def _installed(project: Project) -> Iterator[Finding]:
    """Whether git is told of hooks and drivers: work goes on without, less comfortably."""
    for state in states(project):
        grade: Grade = "ok" if state.installed else "problem" if state.is_wrong else "note"
        yield Finding(state.part, grade, state.text, None if state.installed else state.hint)


def _remotes(project: Project) -> Iterator[Finding]:
    known = project.config.remotes()
    if not known:
        yield Finding(
            "remotes", "note", "none: data is on this machine only", "dvlite remote add NAME URL"
        )
    for name in known:
        try:
            yield from _remote(open_named(project, name))
        except NotMade:
            yield Finding("remotes", "note", f"{name}: nothing was pushed to it yet")
        except DvliteError as error:
            yield Finding("remotes", "problem", f"{name}: {error}", error.hint)


def _remote(remote: Remote) -> Iterator[Finding]:
    """Its own clock is seen only where it is ahead: nothing is written to ask for the time."""
    count = len(remote.listing().readable)
    yield Finding("remotes", "ok", f"{remote.name}: {count:,} index segments")
    newest = max((stored.modified_s for stored in remote.backend.list("index")), default=0.0)
    ahead = newest - time.time()
    if ahead > _SKEW_S:
        text = f"{remote.name}: its newest file is {ahead:,.0f} s in the future of this machine"
        yield Finding("remotes", "problem", text, "set both clocks by NTP")
