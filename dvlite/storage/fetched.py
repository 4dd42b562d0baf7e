"""What to fetch, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from dvlite.storage.absent import Absent


class Copies(Protocol):
    """Where large files are written a second time as they come."""

    def open(self, oid: bytes, size_bytes: int) -> tuple[int, int]:
        """Two descriptors of a new file, the second for direct writing (-1: not there); twice -1
        where no copy is to be made."""

    def done(self, oid: bytes, size_bytes: int) -> None:
        """The copy of an object is whole, and is that object."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object to fetch. `inside` limits a tree to one path; `previous` is the oid that the
    workspace had before, whose bytes are used instead of downloading the same again; `listings`:
    only the trees are wanted, not the files they name; `copies`: large files go there too."""

    kind: str
    oid: bytes
    size: int
    files: int
    label: str
    inside: bytes = b""
    previous: bytes | None = None
    listings: bool = False
    copies: Copies | None = None


@dataclass(slots=True)
class FetchReport:
    """What a fetch did. `read_bytes` is what came over the wire; `size_bytes` what it became;
    `present`: the wanted objects that the last remote asked has, whether they were fetched or not;
    `without_path`: oids of trees that lack the path asked for, with that; `failed`: remotes
    that were given up for the next, and why.
    """

    files: int = 0
    size_bytes: int = 0
    read_bytes: int = 0
    reused_bytes: int = 0
    absent: list[Absent] = field(default_factory=list)
    damaged: list[Absent] = field(default_factory=list)
    present: frozenset[bytes] = frozenset()
    without_path: set[tuple[bytes, bytes]] = field(default_factory=set)
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether everything came."""
        return not self.absent and not self.damaged
