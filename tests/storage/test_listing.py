"""Long listings in several ranges: every name once, few rounds, and stores that cannot do it."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Sequence

import pytest

from dvlite.storage.backend import Stored
from dvlite.storage.listing import OutOfOrderError, list_all

PAGE = 1000
SOURCE = random.Random(5)


def ids(count: int) -> list[str]:
    return [SOURCE.randbytes(32).hex() for _ in range(count)]


NAMES: dict[str, list[str]] = {
    "nothing": [],
    "one": ["index/s-1"],
    "exactly a page": [f"packs/{one[:2]}/{one}" for one in ids(PAGE)],
    "one more than a page": [f"packs/{one[:2]}/{one}" for one in ids(PAGE + 1)],
    "many packs": [f"packs/{one[:2]}/{one}" for one in ids(20_000)],
    "the same counts": [f"index/s-0-1-1-1-1-{one}" for one in ids(10_000)],
    "all kinds of counts": [
        f"index/s-{number % 3}-{SOURCE.randrange(5000)}-{SOURCE.randrange(10**6)}-2-1-{one}"
        for number, one in enumerate(ids(10_000))
    ],
    "numbers that count up": [f"index/gc-{number:016d}" for number in range(5000)],
    "other alphabets": [f"z/{chr(97 + n % 26)}{chr(0x400 + n % 200)}{n}" for n in range(7000)],
    "names that are each other's beginnings": ["a" * n for n in range(1, 900)]
    + ["a" * 500 + "0" * n for n in range(1, 900)],
}


class Store:
    """Gives pages, and counts them in the rounds in which they were asked for."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = sorted(names)
        self.asked: list[str] = []

    def page(self, after: str) -> tuple[list[Stored], bool]:
        self.asked.append(after)
        begin = bisect_right(self.names, after)
        found = self.names[begin : begin + PAGE]
        return [Stored(name, 1, 0.0) for name in found], len(found) < PAGE


@pytest.mark.parametrize("kind", NAMES)
def test_every_name_comes_once_and_in_order(kind: str) -> None:
    store = Store(NAMES[kind])
    assert [item.name for item in list_all(store.page)] == store.names


@pytest.mark.parametrize("kind", ["nothing", "one"])
def test_a_short_listing_is_one_request(kind: str) -> None:
    store = Store(NAMES[kind])
    list_all(store.page)
    assert store.asked == [""]


@pytest.mark.parametrize("kind", ["many packs", "the same counts", "all kinds of counts"])
def test_a_long_one_is_not_many_more_requests_than_pages(kind: str) -> None:
    store = Store(NAMES[kind])
    list_all(store.page)
    assert len(store.asked) < 2 * len(store.names) / PAGE + 20


@pytest.mark.parametrize("kind", ["many packs", "the same counts"])
def test_a_long_one_of_ids_takes_two_rounds(kind: str) -> None:
    store = Store(NAMES[kind])
    list_all(store.page)
    begun = {after for after in store.asked if after in store.names}
    assert begun == {store.names[PAGE - 1]}  # what follows a page that was too short begins so


def endless(after: str) -> tuple[list[Stored], bool]:
    """A store that does not know where to begin: always the first page."""
    return [Stored(f"{number:04d}", 1, 0.0) for number in range(PAGE)], False


def unordered(after: str) -> tuple[list[Stored], bool]:
    """A store that lists in an order of its own."""
    return [Stored(name, 1, 0.0) for name in ("b", "a", "c")], True


@pytest.mark.parametrize("page", [endless, unordered])
def test_a_store_that_lists_otherwise_is_noticed(
    page: Callable[[str], tuple[list[Stored], bool]],
) -> None:
    with pytest.raises(OutOfOrderError):
        list_all(page)
