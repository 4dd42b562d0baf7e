"""`dvlite cache share`: a cache that the users of a group share.

Owns giving the group its rights in everything that is there. The rights of what comes later follow
from the cache's own folder (`atomic.is_shared`): its mode is the setting, so it counts for
everybody who uses the cache, whatever their umask. Objects stay read-only.
"""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from dvlite.atomic import SHARED
from dvlite.errors import ConflictError, PathError, StorageError, UsageError
from dvlite.project import Project
from dvlite.storage.transfer import is_cache

_NAMED = 5


@dataclass(slots=True)
class ShareResult:
    """What was (or would be) changed. `others`: files that belong to other users and lack rights,
    which only their owners can give; `closed`: folders above the cache that the group cannot
    enter."""

    folder: str
    group: str
    changed: int = 0
    looked: int = 0
    others: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)


def share(project: Project, group: str | None = None, dry_run: bool = False) -> ShareResult:
    """Gives a group (default: that of the cache's folder) the rights to read and add. Safe to
    repeat; interrupted, it has to be.

    Raises:
        ConflictError: the cache is inside of the repository. PathError: in a folder that holds
        other things too. UsageError: there is no such group.
        StorageError: the folder is another user's, or this user is not in the group.
    """
    folder = project.cache_folder
    if folder.startswith(project.repo.common_dir + os.sep):
        raise ConflictError(
            f"the cache is inside of this repository: {folder}",
            "put it where others can reach it first: dvlite cache move DIR",
        )
    os.makedirs(folder, exist_ok=True)
    _refuse_other_things(folder)
    gid = os.stat(folder).st_gid if group is None else _gid_of(group)
    result = ShareResult(folder, _name_of(gid), closed=list(_closed(folder, gid)))
    # The folder itself before the last look: what others add from then on has the rights already.
    for place in (*_inside(folder), folder, *_inside(folder)):
        _give(place, gid, result, dry_run)
        if place == folder and dry_run:
            break
    return result


def _refuse_other_things(folder: str) -> None:
    with suppress(PermissionError):  # another user's, which is told below
        if not is_cache(folder):
            raise PathError(
                f"{folder} holds other things than a cache, which the group would get too",
                "put the cache into a folder of its own first: dvlite cache move DIR",
            )


def _give(path: str, gid: int, result: ShareResult, dry_run: bool) -> None:
    with suppress(FileNotFoundError):
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return
        result.looked += 1
        mode = stat.S_IMODE(found.st_mode)
        wanted = _wanted(found.st_mode)
        if mode == wanted and found.st_gid == gid:
            return
        if found.st_uid != os.geteuid() and os.geteuid() != 0:
            if path == result.folder:
                raise StorageError(
                    f"{path} belongs to another user, who alone can share it",
                    "ask its owner to: dvlite cache share",
                )
            result.others.append(path)
            return
        if not dry_run:
            _change(path, gid if found.st_gid != gid else -1, wanted, result.group)
        result.changed += 1


def _change(path: str, gid: int, mode: int, group: str) -> None:
    try:
        if gid >= 0:
            os.chown(path, -1, gid, follow_symlinks=False)
        os.chmod(path, mode)  # after chown, which clears the bit for the group
    except PermissionError as error:
        raise StorageError(
            f"{path} cannot be given to the group {group}: {error.strerror}",
            f"you have to be in it (`id`): usermod -aG {group} USER, then log in again",
        ) from error


def _wanted(found: int) -> int:
    mode = stat.S_IMODE(found)
    if stat.S_ISDIR(found):
        return mode | SHARED
    return mode | (mode & stat.S_IRWXU) >> 3


def _inside(folder: str) -> Iterator[str]:
    for top, folders, names in os.walk(folder, topdown=False):
        for name in (*names, *folders):
            yield os.path.join(top, name)


def _closed(folder: str, gid: int) -> Iterator[str]:
    """Folders above that somebody in the group, and not their owner, could not go through."""
    above = os.path.dirname(os.path.realpath(folder))
    while True:
        found = os.stat(above)
        needed = stat.S_IXGRP if found.st_gid == gid else stat.S_IXOTH
        if not found.st_mode & needed:
            yield above
        if os.path.dirname(above) == above:
            return
        above = os.path.dirname(above)


def _gid_of(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as error:
        raise UsageError(
            f"there is no group {group}", f"an administrator makes one: groupadd {group}"
        ) from error


def _name_of(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def lacking_rights(folder: str) -> list[str]:
    """Some of what is in a shared cache and the group cannot use as it should."""
    found = []
    gid = os.stat(folder).st_gid
    for path in _inside(folder):
        with suppress(FileNotFoundError):
            here = os.lstat(path)
            if stat.S_ISLNK(here.st_mode) or "tmp" in path[len(folder) :].split(os.sep):
                continue
            if stat.S_IMODE(here.st_mode) != _wanted(here.st_mode) or here.st_gid != gid:
                found.append(path)
                if len(found) >= _NAMED:
                    break
    return found
