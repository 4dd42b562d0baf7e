"""What `gc --force` names: objects that may go though no remote has them.

Owns finding them by oid or by the path that something names them for. What is in use is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from dvlite.errors import ConflictError, DvliteError, MissingError
from dvlite.ops.cacheroots import Live, walk
from dvlite.ops.reachable import Reachable
from dvlite.storage.cache import Cache
from dvlite.storage.tree import MAX_TREE_BYTES
from dvlite.workspace.pointer import Pointer

_DIGITS = frozenset("0123456789abcdef")


def forced(
    cache: Cache, words: Sequence[str], everything: Sequence[Reachable], live: Live
) -> set[bytes]:
    """The objects that these words name, and what is below them, without what is in use.

    Raises:
        MissingError: a word names nothing. ConflictError: all that it names is in use.
    """
    chosen = Live()
    for word in words:
        roots = list(_named_by(word, cache, everything))
        if not roots:
            raise MissingError(
                f"{word} is no object of the cache and no path that anything names",
                "name an object by its 64 digits, or a path as seen from the repository's top",
            )
        free = [one for one in roots if one.oid not in live.oids]
        if not free:
            uses = (use for one in everything for use in one.uses_of([roots[0].oid]))
            use = next(uses, None)
            raise ConflictError(
                f"{word} is in use" + (f": {use.label}" if use is not None else ""),
                "take away what names it, or keep less history: --keep-days N",
            )
        walk(cache, free, chosen)
    return chosen.oids - live.oids


def _named_by(word: str, cache: Cache, everything: Iterable[Reachable]) -> Iterator[Pointer]:
    digits = word.removeprefix("blake3:")
    if len(digits) == 64 and set(digits) <= _DIGITS:
        oid = bytes.fromhex(digits)
        if cache.has(oid):
            yield Pointer("tree" if _is_tree(cache, oid) else "file", oid, 0)
        return
    path = word.rstrip("/")
    for found in everything:
        for use in found.uses:
            if use.path == path or use.path.startswith(path + "/"):
                yield use.pointer


def _is_tree(cache: Cache, oid: bytes) -> bool:
    place = cache.find(oid)
    try:
        if place is None or (place.row is None and os.path.getsize(place.path) > MAX_TREE_BYTES):
            return False
        cache.read_tree(oid)
    except (DvliteError, OSError):
        return False
    return True
