"""Symbolic links of a work tree that lead into a cache, when the cache has moved.

Owns replacing each by one to the new place, in one step: at no moment is there no file. Folders are
entered by descriptor, never through a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dvlite.atomic import temporary_name
from dvlite.errors import PathError
from dvlite.workspace.entering import inside


def repoint(
    top: str, scratch: str, paths: Iterable[str], moved: tuple[bytes, bytes]
) -> tuple[int, int]:
    """Makes links to objects below the first folder of `moved` lead below the second one; how many
    it made, and how many were left because only the old place has their object. `paths`: absolute,
    tracked data below the trusted folder `top`; `scratch`: for unfinished things, below it too."""
    done = left = 0
    with inside(top, scratch, make=True) as making:
        for path in paths:
            for folder, name, target in _links(top, path, moved[0]):
                new = moved[1] + target[len(moved[0]) :]
                if not os.path.exists(new) and os.path.exists(target):
                    left += 1
                    continue
                made = os.path.basename(temporary_name(scratch, "link-"))
                os.symlink(new, made, dir_fd=making)
                os.replace(made, name, src_dir_fd=making, dst_dir_fd=folder)
                done += 1
    return done, left


def leading_into(top: str, paths: Iterable[str], folder: bytes) -> list[bytes]:
    """Where the links of tracked data lead that lead below a folder."""
    return [target for path in paths for _, _, target in _links(top, path, folder)]


def _links(top: str, path: str, old: bytes) -> Iterator[tuple[int, str, bytes]]:
    """The links at or below a path that lead below `old`: open folder, name, where to."""
    parent, last = os.path.split(path)
    with suppress(FileNotFoundError, PathError), inside(top, parent) as above:
        found = os.stat(last, dir_fd=above, follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            yield from _leading(above, [last], old)
        elif stat.S_ISDIR(found.st_mode):
            for _, folders, files, here in os.fwalk(last, dir_fd=above):
                yield from _leading(here, [*files, *folders], old)


def _leading(folder: int, names: list[str], old: bytes) -> Iterator[tuple[int, str, bytes]]:
    for name in names:
        with suppress(OSError):
            target = os.fsencode(os.readlink(name, dir_fd=folder))
            if target.startswith(old + b"/"):
                yield folder, name, target
