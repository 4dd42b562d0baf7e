"""The objects on this machine: whole files for large ones, immutable packs for small ones.

Owns the cache's layout and finding things in it. Adding is `cachewriter`'s. There is no lock and
nothing is ever changed in place, so any number of processes may read and add at once, on
network file systems too. Everything here can be fetched again or is named by a pointer; age
(mtime) protects from gc what is not named yet.

    objects/ab/<62 hex>    one object, whole, read-only
    packs/<id>.pack .idx   many small objects, and the segment that finds them (written last)
    tmp/                   unfinished files
    remotes/               what is known of remotes
    damaged/               what was set aside, until gc removes it
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.errors import CorruptError, MissingError
from dvlite.storage.codec import unpack_frame
from dvlite.storage.oid import hash_bytes, hash_tree, to_text
from dvlite.storage.row import Row
from dvlite.storage.segment import Segment, open_bytes
from dvlite.storage.tree import Tree, decode

# gc spares everything younger than its grace period (days), so an age that is right to a day
# protects as well as an exact one, and an unchanged file is touched once a day at most.
_FRESH_S = 24 * 3600


class Place(NamedTuple):
    """Where an object is: a file of its own (`row` is None), or a row of a pack."""

    path: str
    row: Row | None


@dataclass(slots=True)
class LocalPack:
    """One pack of the cache and its mapped index. The pack's file is opened when first read."""

    path: str
    segment: Segment
    descriptor: int = -1

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the pack file."""
        if self.descriptor < 0:
            self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        data = os.pread(self.descriptor, length, offset)
        if len(data) != length:
            raise CorruptError(f"the cache's pack {self.path} is cut short")
        return data


class Cache:
    """Finds and reads objects below `folder`. `durable`: fsync what is added; `without`: paths of
    packs to pass over."""

    def __init__(
        self, folder: str, durable: bool = True, without: frozenset[str] = frozenset()
    ) -> None:
        self.folder = folder
        self.durable = durable
        self._without = without
        self._packs: dict[str, LocalPack] = {}
        # of which places may still be held, though something else has replaced them
        self._retired: dict[str, LocalPack] = {}
        self._listed_ns = -1

    def __del__(self) -> None:
        for pack in (*self._packs.values(), *self._retired.values()):
            if pack.descriptor >= 0:
                with suppress(OSError):
                    os.close(pack.descriptor)

    @property
    def objects_folder(self) -> str:
        """Where whole objects are."""
        return os.path.join(self.folder, "objects")

    @property
    def packs_folder(self) -> str:
        """Where packs are."""
        return os.path.join(self.folder, "packs")

    @property
    def damaged_folder(self) -> str:
        """Where `fsck --repair` puts what is damaged."""
        return os.path.join(self.folder, "damaged")

    @property
    def temporary_folder(self) -> str:
        """Where unfinished files are; made when missing."""
        folder = os.path.join(self.folder, "tmp")
        os.makedirs(folder, exist_ok=True)
        return folder

    def object_path(self, oid: bytes) -> str:
        """Where an object that is a file of its own lies, or would."""
        text = oid.hex()
        return os.path.join(self.folder, "objects", text[:2], text[2:])

    def find(self, oid: bytes) -> Place | None:
        """Where an object is; None when it is not here. A miss looks for new packs once."""
        place = self._find_packed(oid)
        if place is not None:
            return place
        path = self.object_path(oid)
        if os.path.exists(path):
            return Place(path, None)
        return self._find_packed(oid) if self._list_packs() else None

    def has(self, oid: bytes) -> bool:
        """Whether the object is here."""
        return self.find(oid) is not None

    def find_many(self, oids: Iterable[bytes]) -> dict[bytes, Place]:
        """Where those objects are that are here. Much faster than one by one."""
        wanted = set(oids)
        self._list_packs()
        places: dict[bytes, Place] = {}
        for pack in list(self._packs.values()):
            if not wanted:
                break
            for row in pack.segment.objects.find_many(wanted):
                places[row.id] = Place(pack.path, row)
            wanted -= places.keys()
        if wanted:
            # one listing spares most of the questions whether a single file exists
            prefixes = set(_names(self.objects_folder))
            for oid in wanted:
                if oid[:1].hex() in prefixes and os.path.exists(path := self.object_path(oid)):
                    places[oid] = Place(path, None)
        return places

    def missing(self, oids: Iterable[bytes]) -> set[bytes]:
        """Those objects that are not here."""
        wanted = set(oids)
        return wanted - self.find_many(wanted).keys()

    def read(self, oid: bytes) -> bytes:
        """All bytes of an object, for things that fit in memory.

        Raises:
            MissingError: not in the cache. CorruptError: damaged there.
        """
        place = self.find(oid)
        if place is None:
            raise MissingError(
                f"{to_text(oid)} is not in the cache", "fetch it from a remote: dvlite fetch"
            )
        if place.row is not None:
            return self.read_row(place.path, place.row)
        with open(place.path, "rb") as stream:
            data = stream.read()
        if oid not in (hash_bytes(data), hash_tree(data)):
            raise CorruptError(f"the cache's file {place.path} is damaged")
        return data

    def read_row(self, pack_path: str, row: Row) -> bytes:
        """The bytes a row names, guarded by its frame's checksum."""
        try:
            frame = self.read_frame(pack_path, row.frame_offset, row.frame_length)
        except FileNotFoundError:  # gc has rewritten the pack since it was listed
            self._retire({pack_path})
            place = self.find(row.id)
            if place is None:
                raise
            return self.read(row.id) if place.row is None else self.read_row(place.path, place.row)
        raw = unpack_frame(frame)
        return raw[row.inner_offset : row.inner_offset + row.raw_length]

    def read_frame(self, pack_path: str, offset: int, length: int) -> bytes:
        """A frame of a pack, as stored."""
        pack = self._packs.get(pack_path) or self._retired.get(pack_path)
        if pack is None:
            raise CorruptError(f"{pack_path} is no pack of this cache")
        return pack.read(offset, length)

    def read_tree(self, oid: bytes) -> Tree:
        """A tree, verified against its name and decoded."""
        data = self.read(oid)
        if hash_tree(data) != oid:
            raise CorruptError(f"the tree {to_text(oid)} is damaged in the cache")
        return decode(data)

    def keep(self, oids: Iterable[bytes]) -> set[bytes]:
        """Those objects that are not here. The others are made young, so that gc spares them until
        something names them: who is about to name an object asks so, and no lock is needed."""
        left = set(oids)
        for _ in range(2):  # what gc took from a pack may be in another one
            places = self.find_many(left)
            gone = self.refresh(places.values())
            left -= {oid for oid, place in places.items() if place.path not in gone}
            if not left or not gone:
                break
            self._retire(gone)
        return left

    def refresh(self, places: Iterable[Place]) -> set[str]:
        """Makes old objects young again; the paths of which that failed.

        gc takes a name away first and looks at the age then, this is the other way round: so one
        of both sees what the other does.
        """
        limit = time.time() - _FRESH_S
        gone = set()
        for path in {place.path for place in places}:
            try:
                if os.stat(path).st_mtime < limit:
                    os.utime(path)
                    if path.endswith(".pack"):
                        os.stat(path[:-5] + ".idx")
            except OSError:  # gone, or somebody else's, who alone may refresh it
                gone.add(path)
        return gone

    def _retire(self, paths: Iterable[str]) -> None:
        self._listed_ns = -1
        for path in paths:
            pack = self._packs.pop(path, None)
            if pack is not None:
                self._retired[path] = pack

    def packs(self) -> list[LocalPack]:
        """All packs there are now."""
        self._list_packs()
        return list(self._packs.values())

    def loose_objects(self) -> Iterator[tuple[bytes, str]]:
        """Every object that is a file of its own, with its path."""
        for prefix in _names(self.objects_folder):
            folder = os.path.join(self.objects_folder, prefix)
            for name in _names(folder):
                with suppress(ValueError):
                    oid = bytes.fromhex(prefix + name)
                    if len(oid) == 32:
                        yield oid, os.path.join(folder, name)

    def _find_packed(self, oid: bytes) -> Place | None:
        for pack in self._packs.values():
            row = pack.segment.objects.find(oid)
            if row is not None:
                return Place(pack.path, row)
        return None

    def _list_packs(self) -> bool:
        """Looks for packs not seen yet; whether there were any."""
        try:
            changed_ns = os.stat(self.packs_folder).st_mtime_ns
        except FileNotFoundError:
            return False
        # A listing as old as the folder's last change could have missed a name added in the
        # same clock tick, so only a clearly older folder is trusted.
        if changed_ns == self._listed_ns and time.time_ns() - changed_ns > 2_000_000_000:
            return False
        self._listed_ns = changed_ns
        found = False
        for name in _names(self.packs_folder):
            path = os.path.join(self.packs_folder, name[:-4] + ".pack")
            if name.endswith(".idx") and path not in self._packs and path not in self._without:
                with suppress(FileNotFoundError):
                    self._packs[path] = LocalPack(path, _map(os.path.join(self.packs_folder, name)))
                    found = True
        return found


def _map(path: str) -> Segment:
    try:
        with open(path, "rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return open_bytes(memoryview(mapped))
    except (CorruptError, ValueError) as error:  # an empty file cannot be mapped
        raise CorruptError(
            f"the cache's index {path} is damaged: {error}",
            "rebuild it: dvlite fsck --repair",
        ) from error


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
