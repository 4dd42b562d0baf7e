"""Records of runs on a remote: many in one immutable file, named by its hash, below `runs/`.

Owns the names, the bytes around the records, their limits, and the copies that a cache keeps. What
records say, and whether to believe it, is not known here; who reads them is told in `runcache`.

    runs/<64 digits: BLAKE3 of the file>    one frame, whose raw bytes are a lockfile

They are worth a run of a stage each, never data: one that is damaged, or gone between a listing and
a look, is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from blake3 import blake3

from dvlite.atomic import make_folders, publish
from dvlite.errors import CorruptError, DvliteError
from dvlite.storage.backend import NotThere, Stored
from dvlite.storage.codec import HEAD, pack_frame, unpack_frame
from dvlite.storage.remote import Remote
from dvlite.storage.several import several

_FOLDER = "runs"
_NAME = re.compile(r"runs/([0-9a-f]{64})\Z")
_BASE = re.compile(r"[0-9a-f]{64}\Z")
# A record has about a kilobyte, so this is a push of 16,000 of them; more go into several files.
MAX_TEXT_BYTES = 16 << 20
# A frame is stored as it is where compression does not pay.
MAX_FILE_BYTES = MAX_TEXT_BYTES + HEAD.size
# Of one remote: some 250,000 records, as stored and as read. More is an attack, and the newest are
# looked at.
MAX_FILES = 10_000
MAX_ALL_BYTES = 64 << 20
MAX_ALL_TEXT_BYTES = 256 << 20


@dataclass(slots=True)
class Synced:
    """What `sync` found: files `listed` on the remote and `read` now (`read_bytes` as stored),
    `damaged` ones, and those `passed_over` because there are too many or they are too large."""

    listed: int = 0
    read: int = 0
    read_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    passed_over: int = 0


def is_run_file(name: str) -> bool:
    """Whether a name on a remote is that of a file of records."""
    return _NAME.match(name) is not None


def render_run_file(text: bytes) -> tuple[str, bytes]:
    """Name and bytes of the file that holds these records."""
    data = pack_frame(text)
    return f"{_FOLDER}/{blake3(data).hexdigest()}", data


def read_run_file(name: str, data: bytes) -> bytes:
    """The inverse: the text of the records.

    Raises:
        CorruptError: damaged, or too large. FormatVersionError: of a newer version.
    """
    if not _is_whole(name, data):
        raise CorruptError(f"{name} is damaged")
    return unpack_frame(data, MAX_TEXT_BYTES)


def _is_whole(name: str, data: bytes) -> bool:
    return len(data) <= MAX_FILE_BYTES and blake3(data).hexdigest() == name[-64:]


def list_run_files(remote: Remote) -> list[Stored]:
    """Those of a remote, the newest first. One LIST."""
    found = [one for one in remote.backend.list(_FOLDER) if is_run_file(one.name)]
    return sorted(found, key=lambda one: (-one.modified_s, one.name))


def fetch_run_file(remote: Remote, name: str) -> bytes | None:
    """The bytes of a file on a remote; None if they are not what its name says, or it is gone.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    with suppress(NotThere):
        data = bytes(remote.backend.read(name, 0, MAX_FILE_BYTES + 1))
        return data if _is_whole(name, data) else None
    return None


def write_run_file(remote: Remote, name: str, data: bytes) -> None:
    """Stores what `render_run_file` gave. Who stores the same bytes stores them under one name, so
    nothing is overwritten by anything else."""
    remote.backend.write(name, data)


# -- copies in the cache ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Copies:
    """What a cache keeps of the files of a remote; `place`: the text that tells it from others."""

    cache_folder: str
    place: str

    @property
    def folder(self) -> str:
        """Where they lie."""
        key = blake3(self.place.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return os.path.join(self.cache_folder, "runs", f"from-{key}")

    def texts(self) -> Iterator[bytes]:
        """The records of each; what is damaged here is passed over."""
        left = MAX_ALL_TEXT_BYTES
        for base in sorted(self._bases()):
            text = self._text(base)
            left -= len(text)
            if left < 0:
                return
            yield text

    def keep(self, name: str, data: bytes) -> None:
        """Keeps a copy. One that cannot be kept is no reason to fail."""
        with suppress(OSError):
            make_folders(self.folder, self.cache_folder)
            path = os.path.join(self.folder, name.rpartition("/")[2])
            publish(path, data, durable=False, top=self.cache_folder)

    def sync(self, remote: Remote, jobs: int) -> Synced:
        """Makes the copies what the remote has: a LIST, and a GET for each file that came.

        Raises:
            RemoteError: the remote cannot be asked.
        """
        stored = list_run_files(remote)
        wanted = _within_limits(stored)
        here, synced = self._bases(), Synced(len(stored), passed_over=len(stored) - len(wanted))
        new = [name for name in wanted if name[-64:] not in here]
        for name, data in several(partial(fetch_run_file, remote), new, jobs):
            if data is None:
                synced.damaged.append(name)
                continue
            synced.read, synced.read_bytes = synced.read + 1, synced.read_bytes + len(data)
            self.keep(name, data)
        for base in here - {name[-64:] for name in wanted}:
            with suppress(OSError):
                os.unlink(os.path.join(self.folder, base))
        return synced

    def _text(self, base: str) -> bytes:
        try:
            with open(os.path.join(self.folder, base), "rb") as stream:
                return read_run_file(base, stream.read(MAX_FILE_BYTES + 1))
        except (OSError, DvliteError):
            return b""

    def _bases(self) -> set[str]:
        try:
            return {base for base in os.listdir(self.folder) if _BASE.match(base)}
        except OSError:
            return set()


def _within_limits(stored: list[Stored]) -> list[str]:
    """The newest files whose sizes are possible, as many as are not too much."""
    wanted, left = [], MAX_ALL_BYTES
    for one in stored[:MAX_FILES]:
        if HEAD.size <= one.size <= min(left, MAX_FILE_BYTES):
            wanted.append(one.name)
            left -= one.size
    return wanted


# -- from remote to remote -------------------------------------------------------------------------


def copy_run_files(source: Remote, target: Remote) -> int:
    """Brings what a remote lacks of another one's; how many files. Damaged ones stay behind."""
    there = {one.name for one in list_run_files(target)}
    copied = 0
    for one in list_run_files(source):
        if one.name not in there and (data := fetch_run_file(source, one.name)) is not None:
            target.backend.write(one.name, data)
            copied += 1
    return copied
