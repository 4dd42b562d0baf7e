"""What one remote lacks of another: which rows, and which packs for them.

Owns the comparison of two indexes, row by row. A row counts as there only where a pusher may
count on it: it is in the view, and its pack is stored and not condemned. Of several places of one
thing, one whose pack is there already is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dvlite.storage.heldindex import KEY_BYTES, HeldIndex, stretches
from dvlite.storage.row import Row, read_row

# One thing and the places it has: packs and rows.
Places = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Both remotes as they were when looked at: indexes, sizes of packs, and what gc will delete
    on the target. `names`: what packs that were copied since are called there."""

    source: HeldIndex
    target: HeldIndex
    source_packs: Mapping[bytes, int]
    target_packs: Mapping[bytes, int]
    condemned: frozenset[bytes] = frozenset()
    names: dict[bytes, bytes] = field(default_factory=dict)

    def name_there(self, pack: bytes) -> bytes | None:
        """What a pack of the source is called on the target; None where that lacks it."""
        return self.names.get(pack) or (pack if self.there(pack) else None)

    def there(self, pack: bytes) -> bool:
        """Whether a pack of the target can be named: stored, whole as far as its size tells."""
        size = self.target_packs.get(pack)
        return (
            size is not None
            and pack not in self.condemned
            and self.source_packs.get(pack, size) == size
        )


@dataclass(slots=True)
class CopyPlan:
    """What is to be copied. `packs`: names on the source; `lost`: packs that it names and lacks,
    and that something is only in; `shared`: packs that both have."""

    packs: dict[bytes, int] = field(default_factory=dict)
    lost: set[bytes] = field(default_factory=set)
    shared: int = 0
    objects: int = 0
    chunks: int = 0

    @property
    def size_bytes(self) -> int:
        """How much the packs are."""
        return sum(self.packs.values())


def plan_copy(sides: Sides) -> CopyPlan:
    """Which packs the target has to get."""
    plan = CopyPlan()
    plan.shared = sum(sides.there(pack) for pack in sides.source_packs)
    for chunks, places in lacking(sides):
        if chunks:
            plan.chunks += 1
        else:
            plan.objects += 1
        packs = [pack for pack, _ in places]
        if any(pack in plan.packs or sides.name_there(pack) for pack in packs):
            continue
        stored = [pack for pack in packs if pack in sides.source_packs]
        if stored:
            plan.packs[stored[0]] = sides.source_packs[stored[0]]
        else:
            plan.lost.update(packs)
    return plan


def placed(sides: Sides) -> Iterator[tuple[bytes, Row]]:
    """The rows that the target lacks, with packs that it has now. Rows of the chunk table come
    first."""
    for _, places in lacking(sides):
        for pack, row in places:
            there = sides.name_there(pack)
            if there is not None:
                yield there, read_row(row)
                break


def lacking(sides: Sides) -> Iterator[tuple[bool, Places]]:
    """Each thing that the target lacks, with all places on the source; whether it is in the table
    of chunks."""
    good: dict[bytes, bool] = {}
    for chunks, prefix, bits in stretches(sides.source, sides.target):
        wanted: dict[bytes, Places] = {}
        for pack, row in sides.source.stretch(chunks, prefix, bits):
            wanted.setdefault(row[:KEY_BYTES], []).append((pack, row))
        if not wanted:
            continue
        for pack, row in sides.target.stretch(chunks, prefix, bits):
            if pack not in good:
                good[pack] = sides.there(pack)
            if good[pack]:
                wanted.pop(row[:KEY_BYTES], None)
        for _, places in sorted(wanted.items()):
            yield chunks, places
