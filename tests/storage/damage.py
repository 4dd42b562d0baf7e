"""Damaged copies of encoded bytes, for the tests that no format reads what it would not write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hypothesis import strategies as st

from dvlite.errors import CorruptError

# All 255 wrong values at each place of a format's smallest example would take minutes; these
# turn on the lowest and the highest bit, clear and fill.
_FLIPS = (0x01, 0x80, 0xFF, 0x20)


def mutations(data: bytes) -> Iterator[bytes]:
    """Every byte of `data` changed, one at a time, in a few ways."""
    for place in range(len(data)):
        for flip in _FLIPS:
            yield data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]


def truncations(data: bytes) -> Iterator[bytes]:
    """Every shorter beginning of `data`, and a longer one."""
    yield from (data[:length] for length in range(len(data)))
    yield data + b"\0"


def after_magic(magic: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes, most of them behind a right magic and version."""
    return st.one_of(
        st.binary(max_size=200), st.binary(max_size=300).map(lambda rest: magic + b"\x01" + rest)
    )


def assert_refused(decode: Callable[[bytes], object], data: bytes) -> None:
    """`decode` raises CorruptError (a newer version is one) and nothing else."""
    try:
        found = decode(data)
    except CorruptError:
        return
    raise AssertionError(f"{data.hex()} was read as {found!r}")


def assert_canonical_or_refused(recode: Callable[[bytes], bytes], data: bytes) -> None:
    """`recode` (decode and encode again) gives the same bytes or raises CorruptError."""
    try:
        again = recode(data)
    except CorruptError:
        return
    assert again == data
