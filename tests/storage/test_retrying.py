"""What is tried again, how often, and what is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend, NotThere, Stored, TransientError
from dvlite.storage.retrying import Patience, RetryingBackend, patience_of

QUICK = Patience(retries=3, first_s=0.0001, longest_s=0.001)


class Failing:
    """A storage whose first calls fail."""

    url = "test://"

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def _answer(self) -> None:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        self._answer()
        return f"{name} {offset} {length}".encode()

    def write(self, name: str, data: bytes | memoryview) -> None:
        self._answer()

    def write_if_absent(self, name: str, data: bytes) -> bool:
        self._answer()
        return True

    def list(self, folder: str) -> list[Stored]:
        self._answer()
        return [Stored(folder, 1, 2.0)]

    def delete(self, name: str) -> None:
        self._answer()


ACTIONS: dict[str, Callable[[Backend], object]] = {
    "read": lambda backend: backend.read("a", 1, 2),
    "write": lambda backend: backend.write("a", b"1"),
    "write_if_absent": lambda backend: backend.write_if_absent("a", b"1"),
    "list": lambda backend: backend.list("a"),
    "delete": lambda backend: backend.delete("a"),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_passing_trouble_is_tried_again(action: str) -> None:
    inner = Failing(TransientError("slow down"), TransientError("reset"))
    expected = ACTIONS[action](Failing())
    assert ACTIONS[action](RetryingBackend(inner, QUICK)) == expected
    assert inner.calls == 3


def test_trouble_that_stays_ends_after_the_last_try_with_its_reason() -> None:
    inner = Failing(*[TransientError("slow down")] * 9)
    with pytest.raises(RemoteError, match=r"slow down \(tried 4 times\)") as caught:
        RetryingBackend(inner, QUICK).read("a")
    assert not isinstance(caught.value, TransientError)
    assert caught.value.hint
    assert inner.calls == 4


def test_trouble_that_lasts_too_long_ends_before_the_last_try() -> None:
    inner = Failing(*[TransientError("slow down")] * 9)
    with pytest.raises(RemoteError, match="tried 1 times"):
        RetryingBackend(inner, Patience(retries=9, first_s=1e9, longest_s=1e9, limit_s=1)).read("a")


@pytest.mark.parametrize("error", [RemoteError("forbidden"), NotThere("gone")])
def test_lasting_trouble_fails_at_once(error: Exception) -> None:
    inner = Failing(error)
    with pytest.raises(type(error), match=str(error)):
        RetryingBackend(inner, QUICK).read("a")
    assert inner.calls == 1


def test_the_option_retries_is_taken_out() -> None:
    others, patience = patience_of({"retries": "2", "region": "eu-central-1"})
    assert others == {"region": "eu-central-1"}
    assert patience.retries == 2


@pytest.mark.parametrize("text", ["-1", "many", "", "101", "1.5", "²"])
def test_a_wrong_number_of_retries_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="retries"):
        patience_of({"retries": text})
