"""Rows keep their packs where segments are joined, whatever number the packs get."""

from __future__ import annotations

import pytest

from dvlite.errors import CorruptError
from dvlite.storage.merging import _renumber
from dvlite.storage.row import Row, RowKind, read_rows

PACKS = [number.to_bytes(32, "little") for number in range(300)]


def rows_in(*numbers: int) -> bytes:
    return b"".join(
        Row(bytes([at]) * 32, RowKind.FILE, number, 7 * at, 2**32 - 1, at, 9).pack_bytes()
        for at, number in enumerate(numbers)
    )


@pytest.mark.parametrize(
    "numbers", [(), (0,), (0, 0, 1, 2), (2, 1, 0, 2), (299, 256, 0), (1, 1), (0, 2, 2, 5)]
)
@pytest.mark.parametrize("before", [[], PACKS[:1], PACKS[2:0:-1]])
def test_each_row_is_in_the_pack_that_it_was_in(
    numbers: tuple[int, ...], before: list[bytes]
) -> None:
    packs = list(before)
    old, new = rows_in(*numbers), _renumber(rows_in(*numbers), PACKS, packs)
    assert packs[: len(before)] == before and len(set(packs)) == len(packs)
    assert set(packs) == {*before, *(PACKS[number] for number in numbers)}
    for was, now in zip(read_rows(old), read_rows(new), strict=True):
        assert packs[now.pack] == PACKS[was.pack]
        assert now._replace(pack=0) == was._replace(pack=0)


def test_a_row_of_no_pack_is_damage() -> None:
    with pytest.raises(CorruptError, match="has a pack that the segment does not"):
        _renumber(rows_in(0, 300), PACKS, [])
