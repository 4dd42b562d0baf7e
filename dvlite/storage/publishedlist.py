"""`index/list`: what is on a remote, written down for those who read it from a web server.

A static web server cannot list a folder. So this file names everything that a reader needs, with
sizes. It is the only name on a remote whose bytes change, and nobody who can list looks at it: a
stale one means that readers behind the web server see the remote as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from blake3 import blake3

from dvlite.errors import CorruptError, FormatVersionError
from dvlite.storage.backend import Backend, NotThere, Stored
from dvlite.storage.remote import (
    DESCRIPTION_NAME,
    LIST_NAME,
    Listing,
    Remote,
    SegmentName,
    marker_epoch,
    marker_name,
    parse_name,
    parse_pack_name,
    render_name,
)
from dvlite.storage.rootrecord import newest_records, record_parts

_VERSION = 1
_FIRST = "dvlite list "
# One request brings the index part of any remote that was ever measured: the 90 live segments
# that 10,000 pushes leave take 11 KB.
_HEAD_BYTES = 256 << 10
# 130,000 live segments and 3 million packs (100 TB): more is an attack.
_MAX_INDEX = 16 << 20
_MAX_OTHERS = 256 << 20
# The two parts are read in one piece when both are wanted, and again if they grew meanwhile.
_TRIES = 3
_PART = re.compile(
    rb"(index|others) (0|[1-9][0-9]{0,8}) (0|[1-9][0-9]{0,8}) ([0-9a-f]{32})\n", re.ASCII
)
_LINE = re.compile(r"(0|[1-9][0-9]{0,15}) ([!-~]{1,300})\Z")
_HINT = "whoever can write to that remote: dvlite remote publish"


class _Part(NamedTuple):
    """What the head says of a part: how many names, how many bytes, the start of their BLAKE3."""

    names: int
    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of the list: whether it was written (or would be), and what it names."""

    written: bool
    names: int
    size_bytes: int


def render_list(listing: Listing, stored: Iterable[Stored]) -> bytes:
    """The list of what a listing of everything shows; `listing`: what that says of the index.

    Left out is what no reader needs: segments that others of the view supersede, records of roots
    that newer ones replace, records of runs, files that are not finished, names that dvlite does
    not use, the list itself.
    """
    index, others = needed(listing, stored)
    parts = [(b"index", _lines(index), len(index)), (b"others", _lines(others), len(others))]
    head = f"{_FIRST}{_VERSION}\n".encode()
    for name, body, count in parts:
        head += b"%s %d %d %s\n" % (name, count, len(body), _digest(body).encode())
    return head + parts[0][1] + parts[1][1]


def needed(listing: Listing, stored: Iterable[Stored]) -> tuple[list[Stored], list[Stored]]:
    """What a reader needs of a listing of everything, sorted by name: of the index, the rest."""
    segments = {render_name(name) for name in _present(listing)}
    stored = list(stored)
    records = set(newest_records(one.name for one in stored).values())
    index = [one for one in stored if one.name in segments or marker_epoch(one.name) is not None]
    others = [
        one
        for one in stored
        if one.name == DESCRIPTION_NAME
        or one.name in records
        or parse_pack_name(one.name) is not None
    ]
    return sorted(index), sorted(others)


def read_index(backend: Backend) -> list[Stored]:
    """What the list names in `index/`.

    Raises:
        NotThere: there is none. CorruptError: damaged. FormatVersionError: of a newer version.
    """
    data = bytes(backend.read(LIST_NAME, 0, _HEAD_BYTES))
    for _ in range(_TRIES):
        index, _, begin = _read_head(data)
        if begin + index.size_bytes <= len(data) or len(data) < _HEAD_BYTES:
            return _read_part(data[begin : begin + index.size_bytes], index, of_index=True)
        data = bytes(backend.read(LIST_NAME, 0, begin + index.size_bytes))
    raise CorruptError(f"{backend.url}/{LIST_NAME} keeps changing", _HINT)


def read_names(backend: Backend) -> list[Stored]:
    """Everything that the list names.

    Raises:
        NotThere: there is none. CorruptError: damaged. FormatVersionError: of a newer version.
    """
    return parse_list(bytes(backend.read(LIST_NAME, 0, _HEAD_BYTES + _MAX_INDEX + _MAX_OTHERS)))


def parse_list(data: bytes) -> list[Stored]:
    """The inverse of `render_list`.

    Raises:
        CorruptError: damaged. FormatVersionError: of a newer version.
    """
    index, others, begin = _read_head(data)
    middle = begin + index.size_bytes
    if middle + others.size_bytes != len(data):
        raise _damaged("has another length than it says")
    names = _read_part(data[begin:middle], index, of_index=True)
    return sorted(names + _read_part(data[middle:], others, of_index=False))


def publish_list(remote: Remote, dry_run: bool = False) -> Publication:
    """Writes the list of what is there now, if it does not say that already.

    Two who publish at once leave a list that has what both pushed: whoever writes looks afterwards
    whether a segment has come that it did not name, and then writes again; so the last list that
    is written names every segment of before the look that followed it.
    """
    backend, written = remote.backend, False
    while True:
        # the index first: whatever it names was there before it, and is in the other listing
        listing = remote.listing()
        data = render_list(listing, backend.list(""))
        publication = Publication(written, _count(data), len(data))
        if _written(backend, len(data)) == data:
            return publication
        if dry_run:
            return replace(publication, written=True)
        backend.write(LIST_NAME, data)
        written = True
        if _segments(remote.listing()) == _segments(listing):
            return replace(publication, written=True)


def mend_list(remote: Remote, now: Listing | None = None) -> bool:
    """After something was written to a published remote: brings the list up to date, if it lacks
    anything of the index, or names a segment that a gc has deleted. Whether that was needed. `now`:
    a listing that shows what was written."""
    now = now or remote.listing()
    try:
        listed = {one.name for one in read_index(remote.backend)}
    except (NotThere, CorruptError):
        listed = set()
    segments = {name for name in listed if marker_epoch(name) is None}
    if _segments(now) <= listed and segments <= {render_name(name) for name in _present(now)}:
        return False
    return publish_list(remote).written


def stale_names(
    listing: Listing, stored: Sequence[Stored], listed: Sequence[Stored]
) -> tuple[list[str], list[str]]:
    """What the list lacks of what a listing of everything shows; and what it names in the index
    that is gone."""
    index, others = needed(listing, stored)
    known = {(one.name, one.size) for one in listed}
    there = {(one.name, one.size) for one in stored}
    lacking = {(one.name, one.size) for one in (*index, *others)} - known
    gone = [name for name, _ in known - there if name.startswith("index/")]
    return sorted(name for name, _ in lacking), sorted(gone)


def _present(listing: Listing) -> tuple[SegmentName, ...]:
    return (*listing.readable, *listing.trusted, *listing.hidden)


def _segments(listing: Listing) -> set[str]:
    """The names that a reader cannot do without."""
    names = {render_name(name) for name in (*listing.readable, *listing.trusted)}
    return names | ({marker_name(listing.epoch)} if listing.epoch else set())


def _count(data: bytes) -> int:
    index, others, _ = _read_head(data)
    return index.names + others.names


def _written(backend: Backend, size: int) -> bytes:
    try:
        return bytes(backend.read(LIST_NAME, 0, size + 1))
    except NotThere:
        return b""


def _is_other(name: str) -> bool:
    known = name == DESCRIPTION_NAME or parse_pack_name(name) is not None
    return known or record_parts(name) is not None


def _is_index(name: str) -> bool:
    folder, _, base = name.rpartition("/")
    return folder == "index" and (parse_name(base) is not None or marker_epoch(name) is not None)


def _lines(stored: Iterable[Stored]) -> bytes:
    return "".join(f"{one.size} {one.name}\n" for one in stored).encode()


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()[:32]


def _read_head(data: bytes) -> tuple[_Part, _Part, int]:
    """Both parts, and where the first begins."""
    first, _, _ = data[:64].partition(b"\n")
    begin = len(first) + 1
    version = first[len(_FIRST) :]
    if not first.startswith(_FIRST.encode()) or not version.isdigit():
        raise _damaged("is no list of a remote's names")
    if int(version) > _VERSION:
        raise FormatVersionError(
            f"{LIST_NAME} is of version {int(version)}, this dvlite reads {_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    parts = []
    for name, most in ((b"index", _MAX_INDEX), (b"others", _MAX_OTHERS)):
        match = _PART.match(data, begin)
        if match is None or match[1] != name or int(match[3]) > most:
            raise _damaged("has a damaged head")
        parts.append(_Part(int(match[2]), int(match[3]), match[4].decode()))
        begin = match.end()
    return parts[0], parts[1], begin


def _read_part(body: bytes, part: _Part, of_index: bool) -> list[Stored]:
    if len(body) != part.size_bytes or _digest(body) != part.digest:
        raise _damaged("is damaged, or broken off")
    lines = body.decode("latin-1").split("\n")
    if lines.pop() != "" or len(lines) != part.names:
        raise _damaged("has another number of names than it says")
    found: list[Stored] = []
    for line in lines:
        match = _LINE.match(line)
        name = match[2] if match else ""
        if match is None or not (_is_index(name) if of_index else _is_other(name)):
            raise _damaged(f"has a line that it cannot have: {line[:100]!r}")
        if found and name <= found[-1].name:
            raise _damaged("is not in order")
        found.append(Stored(name, int(match[1]), -1.0))
    return found


def _damaged(why: str) -> CorruptError:
    return CorruptError(f"{LIST_NAME} {why}", _HINT)
