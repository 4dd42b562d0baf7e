"""Records of roots: what each clone said last that it needs, for a gc that sees neither its refs
nor it.

Owns their names and bytes. A record is never changed; the newest one of a clone counts. The name
ends with the beginning of the hash of the bytes, which shows damage and repeats.

    roots/<clone id, 32 digits>-<time, 20 digits>-<16 digits of BLAKE3 of the bytes>
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress

from dvlite.errors import CorruptError
from dvlite.storage.backend import NotThere
from dvlite.storage.oid import from_text, hash_bytes, to_text
from dvlite.storage.remote import Remote

_FOLDER = "roots"
_FIRST_LINE = "dvlite: 1"
# Of the hash, in the name: enough to tell two records apart.
_WORD_DIGITS = 16
_NAME = re.compile(r"roots/([0-9a-f]{32})-([0-9]{20})-([0-9a-f]{16})\Z")


def record_roots(remote: Remote, clone: bytes, oids: Iterable[bytes], more: bool = False) -> None:
    """Leaves word of what a clone needs; the same word twice in a row is left out.

    `more`: besides what it said before. A damaged record before is as good as none.
    """
    start = f"{_FOLDER}/{clone.hex()}-"
    stored = remote.backend.list(_FOLDER)
    before = sorted(one.name for one in stored if one.name.startswith(start))
    wanted = set(oids)
    if more and before:
        with suppress(CorruptError):
            wanted |= read_record(before[-1], remote.backend.read(before[-1]))
    name, data = render_record(clone.hex(), wanted, time.time_ns())
    if not before or before[-1].rpartition("-")[2] != name.rpartition("-")[2]:
        remote.backend.write(name, data)


def record_parts(name: str) -> tuple[str, int] | None:
    """The clone and the time (ns) in the name of a record; None for anything else."""
    match = _NAME.match(name)
    return None if match is None else (match[1], int(match[2]))


def _time(name: str) -> int:
    parts = record_parts(name)
    assert parts is not None
    return parts[1]


def newest_records(names: Iterable[str]) -> dict[str, str]:
    """The record that counts, of each clone: names sort by clone, then time."""
    return {parts[0]: name for name in sorted(names) if (parts := record_parts(name))}


def copy_records(
    source: Remote, target: Remote, without: AbstractSet[bytes] = frozenset()
) -> tuple[int, list[str]]:
    """Brings what clones said on another remote; how many records, and which are damaged there.

    What a clone said on the target still counts: a record of both is written where they differ.
    `without`: oids that could not be brought.
    """
    there, here = (
        newest_records(one.name for one in remote.backend.list(_FOLDER))
        for remote in (source, target)
    )
    written, damaged = 0, []
    for clone, name in there.items():
        try:
            wanted = read_record(name, source.backend.read(name)) - without
        except (CorruptError, NotThere):
            damaged.append(name)
            continue
        written += _say_too(target, clone, name, wanted, here.get(clone))
    return written, damaged


def _say_too(target: Remote, clone: str, name: str, wanted: set[bytes], before: str | None) -> bool:
    """Whether a record was needed for what another one names."""
    said: set[bytes] = set()
    if before is not None:
        with suppress(CorruptError, NotThere):
            said = read_record(before, target.backend.read(before))
            if wanted <= said:
                return False
    later = max(_time(name), _time(before) + 1 if before is not None else 0)
    target.backend.write(*render_record(clone, wanted | said, later))
    return True


def render_record(clone: str, oids: Iterable[bytes], time_ns: int) -> tuple[str, bytes]:
    """Name and bytes of a record."""
    data = "".join(f"{line}\n" for line in [_FIRST_LINE, *map(to_text, sorted(oids))]).encode()
    return f"{_FOLDER}/{clone}-{time_ns:020d}-{_digest(data)}", data


def read_record(name: str, data: bytes) -> set[bytes]:
    """What a record names.

    Raises:
        CorruptError: damaged.
    """
    lines = data.decode("ascii", "replace").splitlines()
    if not name.endswith("-" + _digest(data)) or lines[:1] != [_FIRST_LINE]:
        raise CorruptError(f"{name} is not a record of roots, or damaged")
    return {from_text(line) for line in lines[1:]}


def _digest(data: bytes) -> str:
    return hash_bytes(data).hex()[:_WORD_DIGITS]
