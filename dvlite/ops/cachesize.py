"""How large a cache is on disk, and whether that is more than the limit.

Owns the look that every command pays where `cache.max_size` is set: one stat a file of the cache,
so small objects in packs cost nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress

from dvlite.storage.consolidate import REPLACED


def size_on_disk(folder: str) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    total = 0
    waiting = [folder]
    while waiting:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(FileNotFoundError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total


def counted_size(folder: str) -> int:
    """The same without packs that have been replaced: they go by themselves after a day."""
    packs = os.path.join(folder, "packs")
    names = os.listdir(packs) if os.path.isdir(packs) else []
    going = 0
    for name in names:
        if name.endswith(REPLACED):
            for path in (name, name[: -len(REPLACED)] + ".pack"):
                with suppress(OSError):
                    going += os.lstat(os.path.join(packs, path)).st_size
    return size_on_disk(folder) - going
