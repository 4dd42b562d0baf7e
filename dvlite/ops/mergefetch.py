"""Merging pointers whose listings may have to be fetched first.

Owns when a remote is asked: only where a listing that the merge needs is not in the cache.
"""

from __future__ import annotations

from dvlite.errors import ConflictError, CorruptError
from dvlite.ops.fetch import fetch_listings
from dvlite.ops.pointermerge import PointerMerge, Three, merge_pointers
from dvlite.ops.remotes import chosen_names, is_known
from dvlite.ops.roots import Named
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.pointer import data_path, parse


def merge_fetching(
    project: Project, three: Three, progress: Progress = silent, unasked: bool = False
) -> PointerMerge:
    """Merges three versions of a pointer, and fetches the listings that are missing. `unasked`:
    nobody said so, and only a remote that this clone has used before is contacted.

    Raises:
        CorruptError, ConflictError: one of the versions is no pointer. RemoteError: no remote
        can be asked.
    """
    found = merge_pointers(project.cache(), three)
    if not found.lacking:
        return found
    names = chosen_names(project)
    if unasked:
        names = [name for name in names if is_known(project, name)]
        if not names:
            return found
    fetch_listings(project, _named(three), progress, names)
    return merge_pointers(project.cache(), three)


def _named(three: Three) -> list[Named]:
    path = data_path(three.path)
    named = []
    for version, text in (("base", three.base), ("ours", three.ours), ("theirs", three.theirs)):
        try:
            named += [Named(path, parse(text, three.path), revision=version)] if text else []
        except (CorruptError, ConflictError):  # a base that conflicts itself names nothing
            if version != "base":
                raise
    return named
