"""Long listings of an object store, several pages at once.

Owns the cutting of the names that are still to come into ranges. A store gives a thousand names a
page, each page begins where the one before ended, and 10,000 pushes leave 12 pages: 12 round trips
for every later fetch, here 2 or 3.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import NamedTuple

from dvlite.storage.backend import Stored

# What names are made of that grow many: numbers, and ids in hexadecimal.
_DIGITS = "0123456789abcdef"
_IN_IDS = tuple(_DIGITS)
# So many of them tell where a name is.
_PLACES = 6
_AT_ONCE = 16
_MOST_RANGES = 64
# A range is to be a little shorter than a page, as ids are spread by chance: by three times that.
_ROOM = 1.08

# The names after one, in order: at most a page of them, and whether that is all there are.
Page = Callable[[str], tuple[Sequence[Stored], bool]]


class OutOfOrderError(Exception):
    """The store does not list in order of names, or not from where it was asked to."""


class _Range(NamedTuple):
    """Names behind `after` and up to `end`; None: up to the last."""

    after: str
    end: str | None


def list_all(page: Page) -> list[Stored]:
    """Everything that `page` gives, sorted.

    The first page is there before any other is asked for: what stands before all else, like the
    markers of gc, is as old as the rest or older.

    Raises:
        OutOfOrderError: listing so does not work with this store.
    """
    found, ranges = _read(page, _Range("", None))
    if ranges:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dvlite-list") as pool:
            while ranges:
                following: list[_Range] = []
                for items, more in pool.map(lambda part: _read(page, part), ranges):
                    found += items
                    following += more
                ranges = following
    return sorted(found)


def _read(page: Page, part: _Range) -> tuple[list[Stored], list[_Range]]:
    """The first of a range, and the ranges that are left of it."""
    items, whole = page(part.after)
    names = [item.name for item in items]
    if names and (names[0] <= part.after or any(a >= b for a, b in pairwise(names))):
        raise OutOfOrderError
    wanted = [item for item in items if part.end is None or item.name <= part.end]
    if whole or not names or len(wanted) < len(items):
        return wanted, []
    return wanted, _split(names, part.end)


def _split(names: Sequence[str], end: str | None) -> list[_Range]:
    """The names between the last of a page and `end`, cut into about a page each.

    Ids are evenly spread, so those of a page tell how many follow; other names are cut too often or
    too seldom, which costs requests.
    """
    last = names[-1]
    same = os.path.commonprefix([names[0], last])  # noqa: RUF071 - characters are what counts
    first_at, last_at = (_position(name[len(same) :]) for name in (names[0], last))
    pages = _ROOM / (last_at - first_at) if last_at > first_at else _AT_ONCE
    bounds = [same + _digits(at) for at in _cuts(last_at, pages)] + [same + "~"]
    while (same := same.rstrip("/"))[-1:] in _IN_IDS and len(bounds) * pages < _MOST_RANGES:
        at, same = _position(same[-1]) + 1 / 16, same[:-1]  # the ids that begin otherwise
        pages *= 16
        bounds += [same + _digits(one) for one in (at, *_cuts(at, pages))] + [same + "~"]
    inside = [one for one in sorted(set(bounds)) if last < one and (end is None or one < end)]
    return [_Range(*both) for both in pairwise([last, *inside, end])]  # type: ignore[arg-type]


def _cuts(begin: float, pages: float) -> list[float]:
    """Cuts what follows a place, where all of it would be so many pages."""
    count = min(_MOST_RANGES, math.ceil((1 - begin) * pages))
    return [begin + number * (1 - begin) / count for number in range(1, count)]


def _position(text: str) -> float:
    """Where a name is among all that there could be, if it were hexadecimal: 0 to 1."""
    found = 0.0
    for place, char in enumerate(text[:_PLACES], 1):
        found += (_DIGITS.find(char) if char in _DIGITS else 16 * (char > "9")) / 16**place
    return found


def _digits(position: float) -> str:
    return f"{min(int(position * 16**_PLACES), 16**_PLACES - 1):0{_PLACES}x}"
