"""Records of roots: what each clone said last that it needs, for a gc that sees neither its refs
nor it.

Owns their names and bytes. A record is never changed; the newest one of a clone counts. The name
ends with the beginning of the hash of the bytes, which shows damage and repeats.

    roots/<clone id, 32 digits>-<time, 20 digits>-<16 digits of BLAKE3 of the bytes>

A record says what the last push named, and what earlier ones did. Whoever collects garbage for the
same project sees in git what of the earlier ones is still needed; for another project all counts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass

from dvlite.errors import CorruptError
from dvlite.storage.backend import NotThere
from dvlite.storage.oid import from_text, hash_bytes, to_text
from dvlite.storage.remote import Remote

_FOLDER = "roots"
_FIRST_LINE = "dvlite: 1"
_PROJECT, _BEFORE = "project: ", "before: "
# Of the hash, in the name: enough to tell two records apart.
_WORD_DIGITS = 16
_NAME = re.compile(r"roots/([0-9a-f]{32})-([0-9]{20})-([0-9a-f]{16})\Z")


@dataclass(frozen=True, slots=True)
class Said:
    """What a clone said: oids that its last push named, and those of earlier ones. `project`: 16
    bytes, zeros if it has no id."""

    project: bytes = bytes(16)
    now: AbstractSet[bytes] = frozenset()
    before: AbstractSet[bytes] = frozenset()

    @property
    def all(self) -> set[bytes]:
        """Both."""
        return {*self.now, *self.before}


def record_roots(
    remote: Remote,
    clone: bytes,
    oids: Iterable[bytes],
    more: bool = False,
    project: bytes = bytes(16),
) -> None:
    """Leaves word of what a push named; the same word twice in a row is left out.

    `more`: besides what the last one named. A record before that is damaged, or that a gc has
    forgotten since it was listed, is as good as none.
    """
    start = f"{_FOLDER}/{clone.hex()}-"
    stored = remote.backend.list(_FOLDER)
    names = sorted(one.name for one in stored if one.name.startswith(start))
    now, last = set(oids), Said()
    if names:
        with suppress(CorruptError, NotThere):
            last = read_said(names[-1], remote.backend.read(names[-1]))
    if more:
        now |= last.now
    said = Said(project, now, last.all - now)
    # whatever this machine's clock says: what is said last has to count
    later = max(time.time_ns(), _time(names[-1]) + 1) if names else time.time_ns()
    name, data = render_record(clone.hex(), said, later)
    if not names or names[-1].rpartition("-")[2] != name.rpartition("-")[2]:
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
            theirs = read_said(name, source.backend.read(name))
            wanted = Said(theirs.project, theirs.now - without, theirs.before - without)
        except (CorruptError, NotThere):
            damaged.append(name)
            continue
        written += _say_too(target, clone, name, wanted, here.get(clone))
    return written, damaged


def _say_too(target: Remote, clone: str, name: str, wanted: Said, before: str | None) -> bool:
    """Whether a record was needed for what another one names."""
    said = Said()
    if before is not None:
        with suppress(CorruptError, NotThere):
            said = read_said(before, target.backend.read(before))
            if wanted.all <= said.all and wanted.now <= said.now:
                return False
    later = max(_time(name), _time(before) + 1 if before is not None else 0)
    now = {*wanted.now, *said.now}
    both = Said(wanted.project, now, (wanted.all | said.all) - now)
    target.backend.write(*render_record(clone, both, later))
    return True


def render_record(clone: str, said: Said, time_ns: int) -> tuple[str, bytes]:
    """Name and bytes of a record."""
    lines = [_FIRST_LINE, f"{_PROJECT}{said.project.hex()}", *map(to_text, sorted(said.now))]
    lines += [_BEFORE + to_text(oid) for oid in sorted(said.before)]
    data = "".join(f"{line}\n" for line in lines).encode()
    return f"{_FOLDER}/{clone}-{time_ns:020d}-{_digest(data)}", data


def read_record(name: str, data: bytes) -> set[bytes]:
    """All that a record names.

    Raises:
        CorruptError: damaged.
    """
    return read_said(name, data).all


def read_said(name: str, data: bytes) -> Said:
    """What a record says.

    Raises:
        CorruptError: damaged.
    """
    lines = data.decode("ascii", "replace").splitlines()
    if not name.endswith("-" + _digest(data)) or lines[:1] != [_FIRST_LINE]:
        raise CorruptError(f"{name} is not a record of roots, or damaged")
    project, now, before = bytes(16), set(), set()
    for line in lines[1:]:
        if line.startswith(_PROJECT):
            project = _project(line[len(_PROJECT) :])
        elif line.startswith(_BEFORE):
            before.add(from_text(line[len(_BEFORE) :]))
        else:
            now.add(from_text(line))
    return Said(project, now, before)


def _project(text: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise CorruptError(f"{text[:40]!r} is not the id of a project")
    return bytes.fromhex(text)


def _digest(data: bytes) -> str:
    return hash_bytes(data).hex()[:_WORD_DIGITS]
