"""A remote: its fixed description, the names of what is on it, and its index.

Owns `dvlite.json`, the layout of names, and what a listing means: which segments readers use and
which a pusher may count on (its view). Bytes go through a backend.

    dvlite.json                    fixed bytes per format version
    packs/ab/<id>                  packs
    index/s-...                    segments (see `render_name`)
    index/gc-<epoch, 16 digits>    gc markers
    index/list                     what is there, for readers behind a web server (`publishedlist`)
    roots/<clone>-<time>           what a clone last pushed
    runs/<id>                      records of runs (`runfiles`)
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from dvlite.errors import CorruptError, FormatVersionError, RemoteError
from dvlite.storage.backend import Backend, NotThere, Stored, is_read_only
from dvlite.storage.chunker import PARAMETERS, SMALL_BYTES
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.segment import Counts

FORMAT_VERSION = 1
DESCRIPTION_NAME = "dvlite.json"
LIST_NAME = "index/list"
# A listing that was asked for ahead is not used later: what it names may be gone.
_AHEAD_S = 5.0
_KNOWN_FEATURES: frozenset[str] = frozenset()
# dvlite.json is a few hundred bytes and a marker a few megabytes; more is an attack.
_MAX_DESCRIPTION = 64 << 10
_MAX_MARKER = 64 << 20
_ID_CHARS = 32
_SHORT_CHARS = 12
# Only as it is written: a name that reads back as another one could not be opened.
_NUMBER = "(0|[1-9][0-9]{0,15})"
_SEGMENT = re.compile(
    rf"s-{_NUMBER}-{_NUMBER}-{_NUMBER}-{_NUMBER}-{_NUMBER}-([0-9a-f]{{32}})"
    r"(?:-([0-9a-f]{12}(?:\.[0-9a-f]{12}){0,15}))?\Z"
)
_MARKER = re.compile(r"index/gc-([0-9]{16})\Z")
_PACK = re.compile(r"packs/([0-9a-f]{2})/(\1[0-9a-f]{62})\Z")


class NotMade(RemoteError):
    """Nothing was pushed to this place yet."""


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What a segment's name alone tells."""

    epoch: int
    counts: Counts
    id: str
    supersedes: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The part of the id by which a merge names what it supersedes."""
        return self.id[:_SHORT_CHARS]


@dataclass(frozen=True, slots=True)
class Listing:
    """What one listing of `index/` says.

    `readable`: segments a reader uses, newest epoch first. `trusted`: those a pusher of this
    epoch may count on. `hidden`: what only merges replace that no pusher counts on any more; it is
    for when what these say turns out to be gone. `problem`: why nobody can tell which pushers
    count on; readers need not care. `published`: whether there is a list for readers behind a web
    server.
    """

    epoch: int
    readable: tuple[SegmentName, ...]
    trusted: tuple[SegmentName, ...]
    problem: CorruptError | None = None
    published: bool = False
    hidden: tuple[SegmentName, ...] = ()

    def view(self) -> tuple[SegmentName, ...]:
        """What a pusher may count on.

        Raises:
            CorruptError: the marker of this epoch is damaged.
        """
        if self.problem is not None:
            raise self.problem
        return self.trusted


@dataclass(frozen=True, slots=True)
class Marker:
    """What gc decided when it began an epoch: ids of the segments of before that stay valid, and
    the packs (hexadecimal) that it will delete."""

    new: frozenset[str] = frozenset()
    condemned: frozenset[str] = frozenset()


class _Ahead:
    """A listing of the index that is asked for while something else is."""

    def __init__(self, backend: Backend) -> None:
        self._until = time.monotonic() + _AHEAD_S
        self._found: list[Stored] = []
        self._error: Exception | None = None
        # a daemon: after Ctrl-C nobody waits for it
        self._thread = threading.Thread(target=self._list, args=(backend,), daemon=True)
        self._thread.start()

    def _list(self, backend: Backend) -> None:
        try:
            self._found = backend.list("index")
        except Exception as error:
            self._error = error

    def result(self) -> list[Stored] | None:
        """What was found, or the error; None where that was too long ago."""
        if time.monotonic() > self._until:
            return None
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._found


@dataclass(frozen=True, slots=True)
class Remote:
    """An opened remote. `ahead`: the first listing, where it was asked for already."""

    name: str
    backend: Backend
    ahead: list[_Ahead] = field(default_factory=list, repr=False, compare=False)

    def listing(self, stored: Iterable[Stored] | None = None) -> Listing:
        """The index as it is now. One LIST (`stored`: one that was just made), and one GET where
        gc has run."""
        segments, epoch, published = [], 0, False
        if stored is None and self.ahead:
            stored = self.ahead.pop().result()
        for one in self.backend.list("index") if stored is None else stored:
            folder, _, base = one.name.rpartition("/")
            segment = parse_name(base) if folder == "index" else None
            if segment is not None and segment.counts.size_bytes() == one.size:
                segments.append(segment)
            epoch = max(epoch, marker_epoch(one.name) or 0)
            published |= one.name == LIST_NAME
        valid: frozenset[str] = frozenset()
        problem = None
        try:
            valid = self.marker(epoch).new if epoch else valid
        except CorruptError as error:
            problem = error
        trusted = [name for name in segments if name.epoch == epoch or name.id in valid]
        used = readable(segments, trusted)
        hidden = _hidden(segments, trusted, used)
        return Listing(epoch, used, live(trusted), problem, published, hidden)

    def packs(self) -> dict[bytes, int]:
        """Every pack that is stored, with its size in bytes. One LIST."""
        found = {}
        for one in self.backend.list("packs"):
            pack = parse_pack_name(one.name)
            if pack is not None:
                found[pack] = one.size
        return found

    def epoch(self) -> int:
        """The newest gc epoch, asked anew."""
        return self.listing().epoch

    def marker(self, epoch: int) -> Marker:
        """What the marker of an epoch says.

        Raises:
            CorruptError: damaged. FormatVersionError: of a newer version.
        """
        return read_marker(self.backend.read(marker_name(epoch), 0, _MAX_MARKER + 1), epoch)


def marker_name(epoch: int) -> str:
    """Where the marker of an epoch lies."""
    return f"index/gc-{epoch:016d}"


def marker_epoch(name: str) -> int | None:
    """The epoch that a name is the marker of; None for anything else."""
    match = _MARKER.match(name)
    return None if match is None else int(match[1])


def render_marker(marker: Marker) -> bytes:
    """The bytes of a marker."""
    content = {
        "dvlite": FORMAT_VERSION,
        "new": sorted(marker.new),
        "condemned": sorted(marker.condemned),
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def read_marker(data: bytes, epoch: int) -> Marker:
    """The inverse."""
    try:
        marker = json.loads(data)
        version = marker["dvlite"]
        if type(version) is not int or version < 1:
            raise ValueError("its version is no number")
        if version > FORMAT_VERSION:
            raise FormatVersionError(
                "the remote's gc marker is of a newer version", "upgrade dvlite"
            )
        new, condemned = marker["new"], marker.get("condemned", [])
        if len(data) > _MAX_MARKER or not isinstance(new, list) or not isinstance(condemned, list):
            raise ValueError("too large, or not a list")
        return Marker(frozenset(map(str, new)), frozenset(map(str, condemned)))
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise CorruptError(
            f"the gc marker of epoch {epoch} is damaged", "dvlite remote check --repair"
        ) from error


def description() -> bytes:
    """The bytes of `dvlite.json`: the same from everyone, so that creating it twice is once."""
    content = {
        "dvlite": FORMAT_VERSION,
        "chunker": PARAMETERS,
        "requires": [],
        "small_bytes": SMALL_BYTES,
    }
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def open_to_read(name: str, backend: Backend) -> Remote:
    """As `open_remote`, for readers: the index is listed meanwhile, which saves a round trip. Who
    writes or deletes counts on a listing that is not older than the look at it."""
    ahead = [] if isinstance(backend, FolderBackend) else [_Ahead(backend)]
    return replace(open_remote(name, backend), ahead=ahead)


def open_remote(name: str, backend: Backend, create: bool = False) -> Remote:
    """Opens a remote and checks that this dvlite can read it; makes it when `create` is set.

    Raises:
        RemoteError: nothing there, or something that is no dvlite remote.
        FormatVersionError: made by a newer dvlite, or with features this one lacks.
    """
    try:
        data = backend.read(DESCRIPTION_NAME, 0, _MAX_DESCRIPTION)
    except NotThere:
        if not create:
            raise NotMade(
                f"there is no dvlite remote at {backend.url} yet",
                "check the URL; its files come from where they are pushed to"
                if is_read_only(backend.url)
                else "the first `dvlite push` makes it",
            ) from None
        made = backend.write_if_absent(DESCRIPTION_NAME, description())
        data = backend.read(DESCRIPTION_NAME, 0, _MAX_DESCRIPTION)
        if made and data != description():  # damaged on its way, it would refuse everybody
            backend.delete(DESCRIPTION_NAME)
            raise RemoteError(
                f"{backend.url} gives back other bytes than were written",
                "push again; if it stays so, the storage or the line to it damages data",
            ) from None
    _check_description(data, backend.url)
    return Remote(name, backend)


def pack_name(pack: bytes) -> str:
    """Where a pack lies."""
    text = pack.hex()
    return f"packs/{text[:2]}/{text}"


def parse_pack_name(name: str) -> bytes | None:
    """The inverse; None for anything else."""
    match = _PACK.match(name)
    return None if match is None else bytes.fromhex(match[2])


def render_name(name: SegmentName) -> str:
    """`s-<epoch>-<objects>-<chunks>-<packs>-<roots>-<id>` and what it supersedes."""
    counts = name.counts
    numbers = f"{counts.objects}-{counts.chunks}-{counts.packs}-{counts.roots}"
    tail = "-" + ".".join(name.supersedes) if name.supersedes else ""
    return f"index/s-{name.epoch}-{numbers}-{name.id}{tail}"


def parse_name(base: str) -> SegmentName | None:
    """The inverse, of the last part of the name; None for anything else."""
    match = _SEGMENT.match(base)
    if match is None:
        return None
    epoch, objects, chunks, packs, roots = (int(match.group(n)) for n in range(1, 6))
    supersedes = tuple(match.group(7).split(".")) if match.group(7) else ()
    return SegmentName(epoch, Counts(objects, chunks, packs, roots), match.group(6), supersedes)


def live(segments: Sequence[SegmentName]) -> tuple[SegmentName, ...]:
    """Without those that a merge among them replaces; newest epoch first."""
    gone = {short for name in segments for short in name.supersedes if short != name.short}
    return _in_order(name for name in segments if name.short not in gone)


def readable(
    segments: Sequence[SegmentName], trusted: Sequence[SegmentName]
) -> tuple[SegmentName, ...]:
    """What readers use: the living, and always those that pushers count on.

    A merge that comes when gc has begun another epoch may replace a segment which that epoch
    counts on. Of an id in two packs a merge keeps one row, maybe that of the pack which goes.
    """
    return _in_order({*live(segments), *live(trusted)})


def _hidden(
    segments: Sequence[SegmentName], trusted: Sequence[SegmentName], used: Sequence[SegmentName]
) -> tuple[SegmentName, ...]:
    """The others, without what segments of the view replace: they name no pack that goes."""
    gone = {short for name in trusted for short in name.supersedes}
    return _in_order(name for name in {*segments} - {*used} if name.short not in gone)


def refuse_loss(
    remote: Remote, counted_on: Iterable[SegmentName], stored: Iterable[Stored]
) -> None:
    """Compares what was written, and what was counted on for that, with a listing of the index at
    the end. Within an epoch nobody deletes such a segment. Where one is gone, this is not the place
    that it was at the beginning: a disk is not mounted any more, or a bucket was emptied.

    Raises:
        RemoteError: something is gone.
    """
    if not {one.name for one in stored}.issuperset(map(render_name, counted_on)):
        raise RemoteError(
            f"the remote {remote.name} has lost its index meanwhile",
            f"is the right disk mounted, is {remote.backend.url} what it was? then run this again",
        )


def _in_order(segments: Iterable[SegmentName]) -> tuple[SegmentName, ...]:
    return tuple(sorted(segments, key=lambda name: (-name.epoch, name.id, name.supersedes)))


def _check_description(data: bytes, url: str) -> None:
    try:
        content = json.loads(data)
        version, features = content["dvlite"], content["requires"]
        parameters, small = content["chunker"], content["small_bytes"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise RemoteError(
            f"{url}/{DESCRIPTION_NAME} is not a dvlite remote's",
            "choose another place; if data was pushed there: dvlite remote check --repair",
        ) from error
    if type(version) is not int or not 0 < version <= FORMAT_VERSION:  # true is an int too
        raise FormatVersionError(
            f"the remote {url} has format version {str(version)[:40]}, "
            f"this dvlite knows {FORMAT_VERSION}",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    unknown = set(map(str, features)) - _KNOWN_FEATURES if isinstance(features, list) else {"?"}
    if unknown or parameters != PARAMETERS or small != SMALL_BYTES:
        raise FormatVersionError(
            f"the remote {url} needs what this dvlite does not know: "
            + (", ".join(sorted(unknown)) or "other chunk parameters"),
            "upgrade dvlite: pip install --upgrade dvlite",
        )
