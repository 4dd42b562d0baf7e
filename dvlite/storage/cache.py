"""The objects on this machine: whole files for large ones, immutable packs for small ones.

Owns the cache's layout and finding things in it. Adding is `cachewriter`'s. There is no lock and
nothing is ever changed in place, so any number of processes may read and add at once, on
network file systems too. Everything here can be fetched again or is named by a pointer; age
(mtime) protects from gc what is not named yet.

Second sources are other caches that are only read: what is not in this one is looked for there,
in order. Nothing is ever written to them, not even an age.

    objects/ab/<62 hex>    one object, whole, read-only
    packs/<id>.pack .idx   many small objects, and the segment that finds them (written last)
    tmp/                   unfinished files
    remotes/               what is known of remotes
    damaged/               what was set aside, until gc removes it
    runs/                  what stages made of what
    users/                 which repositories use it, where it lies outside of them
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from dvlite.atomic import make_folders
from dvlite.errors import CorruptError, MissingError
from dvlite.storage.codec import unpack_frame
from dvlite.storage.localpack import LocalPack, map_index
from dvlite.storage.oid import hash_bytes, hash_tree, to_text
from dvlite.storage.row import Row
from dvlite.storage.tree import Tree, decode

# gc spares everything younger than its grace period (days), so an age that is right to a day
# protects as well as an exact one, and an unchanged file is touched once a day at most.
_FRESH_S = 24 * 3600
# What the owner of a file can do cheaply, so that the size limit knows what was used last.
_TOUCH_S = 3600

Setup = tuple[str, bool, tuple[str, ...], tuple[str, ...]]


class Place(NamedTuple):
    """Where an object is: a file of its own (`row` is None), or a row of a pack."""

    path: str
    row: Row | None


class Cache:
    """Finds and reads objects below `folder`. `durable`: fsync what is added; `without`: paths of
    packs to pass over; `sources`: folders of caches to read from what is not here; `moved`: where
    the cache was or will be, while it is being moved."""

    def __init__(
        self,
        folder: str,
        durable: bool = True,
        without: frozenset[str] = frozenset(),
        sources: Sequence[str] = (),
        moved: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.durable = durable
        self.sources = tuple(Source(one) for one in sources)
        self._moved = tuple(moved)
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

    @staticmethod
    def of(setup: Setup) -> Cache:
        """The same cache in another process; `setup` is that of the first."""
        folder, durable, sources, moved = setup
        return Cache(folder, durable, sources=sources, moved=moved)

    @property
    def setup(self) -> Setup:
        """What another process needs to open it."""
        return self.folder, self.durable, tuple(one.folder for one in self.sources), self._moved

    def alone(self, without: frozenset[str] = frozenset()) -> Cache:
        """The same without its second sources, and without some packs."""
        return Cache(self.folder, self.durable, without)

    def excluding(self, without: frozenset[str]) -> Cache:
        """The same without some packs."""
        return Cache(self.folder, self.durable, without, [one.folder for one in self.sources])

    @property
    def passes_over(self) -> bool:
        """Whether there are packs that it does not look into."""
        return bool(self._without)

    @property
    def link_folders(self) -> tuple[bytes, ...]:
        """Where the symbolic links of checkouts may lead."""
        folders = (self.folder, *(one.folder for one in self.sources), *self._moved)
        return tuple(os.fsencode(os.path.join(folder, "objects")) for folder in folders)

    def is_own(self, path: str) -> bool:
        """Whether a place's path is in this cache, not in a second source."""
        return path.startswith(self.folder + os.sep)

    def make_folder(self, folder: str) -> None:
        """Makes a folder in the cache, with the group's rights where a group shares it."""
        make_folders(folder, self.folder)

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
        self.make_folder(folder)
        return folder

    def object_path(self, oid: bytes) -> str:
        """Where an object that is a file of its own lies, or would."""
        text = oid.hex()
        return os.path.join(self.folder, "objects", text[:2], text[2:])

    def size_of_single(self, oid: bytes) -> int:
        """The size of an object that is a file of its own, here or in a second source.

        Raises:
            OSError: there is none.
        """
        for one in (self, *self.sources):
            with suppress(OSError):
                return os.stat(one.object_path(oid)).st_size
        raise FileNotFoundError(self.object_path(oid))

    def find(self, oid: bytes) -> Place | None:
        """Where an object is; None when it is not here. A miss looks for new packs once."""
        place = self._find_here(oid)
        for one in self.sources if place is None else ():
            place = place or one.find(oid)
        return place

    def _find_here(self, oid: bytes) -> Place | None:
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
        places = self.find_own(wanted)
        for one in self.sources if len(places) < len(wanted) else ():
            places |= one.find_own(wanted - places.keys())
        return places

    def find_own(self, oids: Iterable[bytes]) -> dict[bytes, Place]:
        """The same without the second sources."""
        wanted = set(oids)
        self._list_packs()
        places: dict[bytes, Place] = {}
        # what is asked for together was added together: where most of the last was, this is
        for pack in sorted(self._packs.values(), key=lambda one: one.found, reverse=True):
            if not wanted:
                break
            before = len(places)
            for row in pack.segment.objects.find_many(wanted):
                places[row.id] = Place(pack.path, row)
            pack.found = len(places) - before
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
            raise self.damaged(place.path)
        return data

    def damaged(self, path: str) -> CorruptError:
        """The error that a file of the cache, or of a second source, is damaged."""
        for one in self.sources:
            if one.is_own(path):
                return CorruptError(
                    f"{path} is damaged, in a second source; to go on without that: "
                    f"dvlite cache link --remove {one.folder}",
                    "bring it from a remote then: dvlite pull",
                )
        return CorruptError(
            f"the cache's file {path} is damaged",
            "set it aside and bring it again: dvlite fsck --repair",
        )

    def read_row(self, pack_path: str, row: Row) -> bytes:
        """The bytes a row names, guarded by its frame's checksum."""
        try:
            frame = self.read_frame(pack_path, row.frame_offset, row.frame_length)
        except FileNotFoundError:  # gc has rewritten the pack since it was listed
            for one in (self, *self.sources):
                one._retire({pack_path})
            place = self.find(row.id)
            if place is None:
                raise
            if place.path == pack_path:
                raise CorruptError(
                    f"the cache's pack {pack_path} is missing, its index is there",
                    "set that aside and bring the objects again: dvlite fsck --repair",
                ) from None
            return self.read(row.id) if place.row is None else self.read_row(place.path, place.row)
        raw = unpack_frame(frame)
        return raw[row.inner_offset : row.inner_offset + row.raw_length]

    def read_frame(self, pack_path: str, offset: int, length: int) -> bytes:
        """A frame of a pack, as stored."""
        for one in (self, *self.sources):
            pack = one._packs.get(pack_path) or one._retired.get(pack_path)
            if pack is not None:
                return pack.read(offset, length)
        raise CorruptError(f"{pack_path} is no pack of this cache")

    def read_tree(self, oid: bytes) -> Tree:
        """A tree, verified against its name and decoded."""
        data = self.read(oid)
        if hash_tree(data) != oid:
            raise CorruptError(f"the tree {to_text(oid)} is damaged in the cache")
        return decode(data)

    def keep(self, oids: Iterable[bytes], elsewhere: bool = False) -> set[bytes]:
        """Those objects that are not here. The others are made young, so that gc spares them until
        something names them: who is about to name an object asks so, and no lock is needed.

        `elsewhere`: what a second source has counts too. For what is new it does not: nobody
        promises that a source keeps it.
        """
        left = set(oids)
        for _ in range(2):  # what gc took from a pack may be in another one
            places = self.find_own(left)
            gone = self.refresh(places.values())
            left -= {oid for oid, place in places.items() if place.path not in gone}
            if not left or not gone:
                break
            self._retire(gone)
        for one in self.sources if elsewhere and left else ():
            left -= one.find_own(left).keys()
        return left

    def refresh(self, places: Iterable[Place]) -> set[str]:
        """Makes old objects young again; the paths of which that failed.

        gc takes a name away first and looks at the age then, this is the other way round: so one
        of both sees what the other does.
        """
        now = time.time()
        gone = set()
        for path in {place.path for place in places}:
            try:
                used = os.stat(path).st_mtime
                if used >= now - _FRESH_S:
                    if used < now - _TOUCH_S:
                        _touch(path)
                    continue
                os.utime(path)
                if path.endswith(".pack"):
                    os.stat(path[:-5] + ".idx")
            except OSError:  # gone, or somebody else's, who alone may refresh it
                gone.add(path)
        return gone

    def note_use(self, places: Iterable[Place]) -> None:
        """Makes young what is read, as far as it is this user's: the size limit then takes it
        last."""
        limit = time.time() - _TOUCH_S
        for path in {place.path for place in places}:
            with suppress(OSError):
                if self.is_own(path) and os.stat(path).st_mtime < limit:
                    os.utime(path)

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
        found = False
        for name in _names(self.packs_folder):
            path = os.path.join(self.packs_folder, name[:-4] + ".pack")
            if name.endswith(".idx") and path not in self._packs and path not in self._without:
                pack = self._open_pack(path)
                if pack is not None:
                    self._packs[path] = pack
                    found = True
        self._listed_ns = changed_ns  # not where an index is damaged: others would seem missing
        return found

    def _open_pack(self, path: str) -> LocalPack | None:
        try:
            return LocalPack(path, map_index(path[:-5] + ".idx"))
        except FileNotFoundError:
            return None


class Source(Cache):
    """Another cache to read from. What cannot be read there is not there: it may be unmounted, or
    somebody else's to mend."""

    def _list_packs(self) -> bool:
        try:
            return super()._list_packs()
        except OSError:
            return False

    def _open_pack(self, path: str) -> LocalPack | None:
        try:
            return super()._open_pack(path)
        except (CorruptError, OSError):
            return None

    def find_own(self, oids: Iterable[bytes]) -> dict[bytes, Place]:
        """See Cache."""
        try:
            return super().find_own(oids)
        except OSError:
            return {}


def _touch(path: str) -> None:
    with suppress(OSError):
        os.utime(path)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
