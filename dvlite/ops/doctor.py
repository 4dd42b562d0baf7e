"""`dvlite doctor`: looks at everything dvlite stands on, and says what is wrong with it.

Each check is a function that yields findings; one that fails is itself a finding. Nothing is
changed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from dvlite.errors import DvliteError
from dvlite.gitrepo import git_version
from dvlite.ops.remotes import open_named
from dvlite.ops.stepping import scratch_folder
from dvlite.project import Project
from dvlite.storage.remote import NotMade
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
        ("links", _links),
        ("space", _space),
        ("clock", _clock),
        ("pointers", _pointers),
        ("leftovers", _leftovers),
        ("remotes", _remotes),
    )
    findings: list[Finding] = []
    for name, check in checks:
        try:
            findings += check(project)
        except DvliteError as error:
            findings.append(Finding(name, "problem", str(error), error.hint))
        except OSError as error:
            findings.append(Finding(name, "problem", f"{error.filename}: {error.strerror}"))
    return findings


def _git(project: Project) -> Iterator[Finding]:
    version = git_version()
    shown = ".".join(map(str, version))
    if version < _OLDEST_GIT:
        yield Finding("git", "problem", f"git {shown} is too old", "install 2.25 or newer")
    else:
        yield Finding("git", "ok", f"git {shown}, Python {sys.version.split()[0]}")
    if project.repo.setting("core.ignorecase") == "true":
        yield Finding("git", "note", "this file system does not tell A from a in names")


def _cache(project: Project) -> Iterator[Finding]:
    folder = project.cache_folder
    os.makedirs(folder, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(
            "cache", "problem", f"{folder}: {error.strerror}", "check who owns it and its mode"
        )
        return
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
            "put the cache elsewhere: dvlite config --local cache.dir DIR",
        )


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


def _pointers(project: Project) -> Iterator[Finding]:
    readable: list[str] = []
    for path in project.pointer_paths():
        try:
            project.read_pointer(path)
            readable.append(data_path(path))
        except DvliteError as error:
            yield Finding("pointers", "problem", str(error), error.hint)
    named = {project.to_git(path): path for path in readable}
    ignored = project.repo.ignored(named)
    for git_path, path in named.items():
        if git_path not in ignored and os.path.lexists(project.absolute(path)):
            yield Finding(
                "pointers", "problem", f"git does not ignore {path}", f"dvlite add {path}"
            )
    yield Finding("pointers", "ok", f"{len(readable):,} can be read")


def _leftovers(project: Project) -> Iterator[Finding]:
    """What killed commands left is removed by the next writer; in the cache it only takes room."""
    old: list[str] = []
    for folder in (scratch_folder(project), os.path.join(project.cache_folder, "tmp")):
        with suppress(FileNotFoundError):
            for name in os.listdir(folder):
                path = os.path.join(folder, name)
                if time.time() - os.lstat(path).st_mtime > _OLD_S:
                    old.append(path)
    if old:
        yield Finding(
            "leftovers",
            "note",
            f"{len(old):,} unfinished files of interrupted commands",
            f"they can be removed when no dvlite runs, such as {old[0]}",
        )
    else:
        yield Finding("leftovers", "ok", "none")


def _remotes(project: Project) -> Iterator[Finding]:
    known = project.config.remotes()
    if not known:
        yield Finding(
            "remotes", "note", "none: data is on this machine only", "dvlite remote add NAME URL"
        )
    for name in known:
        try:
            listing = open_named(project, name).listing()
            yield Finding("remotes", "ok", f"{name}: {len(listing.readable):,} index segments")
        except NotMade:
            yield Finding("remotes", "note", f"{name}: nothing was pushed to it yet")
        except DvliteError as error:
            yield Finding("remotes", "problem", f"{name}: {error}", error.hint)
