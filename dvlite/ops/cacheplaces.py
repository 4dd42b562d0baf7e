"""Where a cache may be put, and in words why not.

Owns the checks of a folder that `dvlite cache move` and `dvlite cache link` are given.
"""

from __future__ import annotations

import errno
import os

from dvlite.errors import MissingError, PathError, StorageError
from dvlite.project import Project
from dvlite.storage.transfer import is_cache
from dvlite.workspace.config import check


def refuse_place(project: Project, folder: str) -> None:
    """Refuses a place that a cache cannot be put to.

    Raises:
        UsageError: its name cannot be in the settings. PathError: inside of a work tree, of git's
        own folder, or of the cache as it is; not a folder; holding other things. MissingError: the
        folder above is not there. StorageError: it cannot be written to.
    """
    if folder != project.default_cache():
        check("cache.dir", folder, private=True)
        _refuse_inside_git(project, folder)
    old = os.path.realpath(project.cache_folder)
    real = os.path.realpath(folder)
    for outer, inner in ((old, real), (real, old)):
        if inner != outer and inner.startswith(outer.rstrip(os.sep) + os.sep):
            raise PathError(
                f"one of {folder} and the cache as it is, {project.cache_folder}, is in the other",
                "choose a folder beside it",
            )
    if os.path.lexists(folder):
        _refuse_content(folder)
    elif not os.path.isdir(os.path.dirname(folder)):
        raise MissingError(
            f"there is no folder {os.path.dirname(folder)}",
            f"mount the disk, or make it: mkdir -p {os.path.dirname(folder)}",
        )
    _refuse_unwritable(folder if os.path.lexists(folder) else os.path.dirname(folder))


def refuse_no_cache(folder: str) -> None:
    """Refuses what is not a cache, or cannot be read.

    Raises:
        MissingError: nothing is there. PathError: something else is. StorageError: no right to.
    """
    if not os.path.isdir(folder):
        raise MissingError(f"there is no folder {folder}", "mount the disk, or look at the name")
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}", _RIGHTS) from error
    if not any(name in names for name in ("objects", "packs")):
        raise PathError(
            f"{folder} is no cache: it has neither objects/ nor packs/",
            "what `dvlite cache show` names in the other repository is one",
        )
    for name in ("objects", "packs"):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK):
            raise StorageError(f"{path} cannot be read: permission denied", _RIGHTS)


_RIGHTS = "ask its owner: dvlite cache share gives a group the right to"


def _refuse_inside_git(project: Project, folder: str) -> None:
    above = os.path.realpath(folder)
    while True:
        if os.path.lexists(os.path.join(above, ".git")):
            mine = above == os.path.realpath(project.repo.top)
            whose = "this repository's work tree" if mine else f"the git repository {above}"
            raise PathError(
                f"{folder} is inside {whose}, where git would see the cache",
                "choose a folder outside of all repositories",
            )
        if os.path.isfile(os.path.join(above, "HEAD")) and os.path.isdir(
            os.path.join(above, "refs")
        ):
            raise PathError(
                f"{folder} is inside {above}, which is git's own folder",
                "choose a folder outside of all repositories",
            )
        if os.path.dirname(above) == above:
            return
        above = os.path.dirname(above)


def _refuse_content(folder: str) -> None:
    if not os.path.isdir(folder):
        raise PathError(f"{folder} is not a folder", "choose another name")
    try:
        fits = is_cache(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error.strerror}", _RIGHTS) from error
    if not fits:
        raise PathError(
            f"{folder} holds other things than a cache",
            f"name a folder of its own for it, such as {os.path.join(folder, 'dvlite-cache')}",
        )


def _refuse_unwritable(folder: str) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if read_only else errno.EACCES)
        raise StorageError(
            f"{folder} cannot be written to: {why.lower()}",
            "to read from a cache there: dvlite cache link DIR" if read_only else _RIGHTS,
        )
