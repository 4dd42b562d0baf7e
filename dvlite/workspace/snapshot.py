"""What a tracked folder holds now, as a tree: scanned, new files looked into, trees built.

Owns putting scan, stat index and takers together. `add` keeps what is new in the cache;
`status` and `diff` only hash, and may leave new files unread.
"""

from __future__ import annotations

import os
import stat
import threading
from array import array
from dataclasses import dataclass, field
from itertools import count

from dvlite.errors import DvliteError
from dvlite.progress import Progress, silent
from dvlite.storage.cache import Cache
from dvlite.storage.oid import OID_BYTES
from dvlite.storage.tree import Entry, Kind, Tree, decode, store_folder
from dvlite.storage.treewalk import ReadTree, find, read_folder
from dvlite.workspace.entering import top_of
from dvlite.workspace.ignorefile import Ignore
from dvlite.workspace.scan import Folder, Scanner
from dvlite.workspace.statindex import (
    STAT_WIDTH,
    UNTRUSTED,
    Block,
    StatIndex,
    is_settled,
    signature,
)
from dvlite.workspace.take import Batch, Stat, Untaken
from dvlite.workspace.takers import Answer, Result, TakeOptions, Takers

# A batch is a unit of work for one process; one folder's files end up in neighbouring frames.
_BATCH_FILES = 256
_BATCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A tracked folder: where it is, its project path, its index and the rules that hold there."""

    root: str
    path: str
    index: StatIndex
    rules: Ignore = field(default_factory=Ignore)


@dataclass(frozen=True, slots=True)
class Look:
    """How to look. `keep`: put new content into the cache. `sizes_only`: do not read files
    whose size shows that they are new or changed (`expected`: the tree that they should be, for
    what the index does not know). `now_ns`: when looking began."""

    cache: Cache
    now_ns: int
    keep: bool = False
    sizes_only: bool = False
    expected: bytes | None = None
    progress: Progress = silent
    phase: str = "looking"


@dataclass(slots=True)
class Snapshot:
    """What was found. `root` is its entry (with an empty name).

    `blocks` are the new index; `trees` the encoded trees of folders that differ from the old one.
    `failed` could not be read, `noted` was left out; `unread` are made-up oids of files that were
    not read; `taken` are the oids of those that were.
    """

    root: Entry
    blocks: dict[bytes, Block]
    trees: dict[bytes, bytes]
    failed: list[tuple[bytes, str]]
    noted: list[tuple[bytes, str]]
    unread: set[bytes]
    taken: set[bytes]
    taken_bytes: int

    def reader(self, read: ReadTree) -> ReadTree:
        """Reads trees of this snapshot from memory, all others with `read`."""

        def lookup(oid: bytes) -> Tree:
            data = self.trees.get(oid)
            return read(oid) if data is None else decode(data)

        return lookup


def look_into(place: Place, look: Look) -> Snapshot:
    """Looks at a whole folder.

    Raises:
        PathError: something in it cannot be tracked. OSError: a folder cannot be read.
    """
    return _Looking(place, look).run()


@dataclass(slots=True)
class _Looking:
    place: Place
    look: Look
    failed: list[tuple[bytes, str]] = field(default_factory=list)
    unread: set[bytes] = field(default_factory=set)
    taken: set[bytes] = field(default_factory=set)
    blocks: dict[bytes, Block] = field(default_factory=dict)
    trees: dict[bytes, bytes] = field(default_factory=dict)
    files: int = 0
    size: int = 0
    _numbers: count[int] = field(default_factory=count)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _takers: Takers | None = None
    _scanner: Scanner | None = None

    def run(self) -> Snapshot:
        """Looks through the place."""
        place, look = self.place, self.look
        options = TakeOptions(look.cache, top_of(place.root, place.path), look.keep, self._told)
        with Takers(options) as self._takers:
            scanner = Scanner(place.root, place.path, place.index, place.rules, self._found)
            self._scanner = scanner
            top = scanner.run()
        root = self._build(top)
        return Snapshot(
            root,
            self.blocks,
            self.trees,
            sorted(self.failed),
            sorted(scanner.noted),
            self.unread,
            self.taken,
            self.size,
        )

    # -- files -------------------------------------------------------------------------------------

    def _told(self, files: int, size: int) -> None:
        with self._lock:
            self.files += files
            self.size += size
        self.look.progress(self.look.phase, self.files, self.size)

    def _found(self, folder: Folder) -> None:
        """Hands the files to look into to the takers, in batches."""
        assert self._takers is not None
        where = os.path.join(os.fsencode(self.place.root), folder.path)
        depth = folder.path.count(b"/") + 1 if folder.path else 0
        positions: list[int] = []
        size = 0
        for at in self._to_read(folder):
            if len(positions) >= _BATCH_FILES or (positions and size >= _BATCH_BYTES):
                self._put(folder, where, depth, positions)
                positions, size = [], 0
            positions.append(at)
            size += folder.stats[at * STAT_WIDTH + 1]
        if positions:
            self._put(folder, where, depth, positions)

    def _put(self, folder: Folder, where: bytes, depth: int, positions: list[int]) -> None:
        assert self._takers is not None
        names = [folder.names[at] for at in positions]
        stats = [_stat_at(folder, at) for at in positions]
        self._takers.put(Batch(where, depth, names, stats), self._answer(folder, positions))

    def _answer(self, folder: Folder, positions: list[int]) -> Answer:
        def take_over(results: list[Result]) -> None:
            for at, result in zip(positions, results, strict=True):
                if isinstance(result, Untaken):
                    self.failed.append((_join(folder.path, folder.names[at]), result.reason))
                elif result is not None:
                    self.taken.add(result.oid)
                    folder.kinds[at] = result.kind
                    folder.oids[at] = result.oid
                    folder.stats[at * STAT_WIDTH : (at + 1) * STAT_WIDTH] = array("q", result.stat)

        return take_over

    def _to_read(self, folder: Folder) -> list[int]:
        """What of `todo` is to be read; the rest gets a made-up oid."""
        if not self.look.sizes_only:
            return folder.todo
        before = _sizes_before(folder.old)
        expected = self._sizes_expected(folder.path) if folder.todo else {}
        read = []
        for at in folder.todo:
            mode, size = folder.stats[at * STAT_WIDTH], folder.stats[at * STAT_WIDTH + 1]
            name = folder.names[at]
            if stat.S_ISLNK(mode) or size in (before.get(name), expected.get(name)):
                read.append(at)
                continue
            oid = next(self._numbers).to_bytes(OID_BYTES, "big")
            self.unread.add(oid)
            folder.oids[at] = oid
            folder.kinds[at] = Kind.EXEC if mode & stat.S_IXUSR else Kind.FILE
        return read

    def _sizes_expected(self, path: bytes) -> dict[bytes, int]:
        """The sizes of the files that a folder should hold, as far as the cache can tell."""
        root, read = self.look.expected, self.look.cache.read_tree
        if root is None:
            return {}
        try:
            folder = find(read, root, path) if path else Entry(b"", Kind.TREE, root, 0)
            if folder is None or folder.kind != Kind.TREE:
                return {}
            return {entry.name: entry.size for entry in read_folder(read, folder.oid)}
        except DvliteError:
            return {}

    # -- trees -------------------------------------------------------------------------------------

    def _build(self, folder: Folder) -> Entry:
        """The folder's entry, after those of its subfolders; fills blocks and trees."""
        inside = {name: self._build(child) for name, child in folder.folders}
        old = folder.old
        if folder.clean and old is not None and _same_folders(old, inside):
            self.blocks[folder.path] = old
            return Entry(b"", Kind.TREE, old.oid, old.size, old.files)
        if folder.clean and old is not None:
            _reopen(folder, old)
        entries = self._entries(folder, inside)
        root = store_folder(entries, self.trees.__setitem__)
        self.blocks[folder.path] = self._block(folder, root, entries)
        return root

    def _entries(self, folder: Folder, inside: dict[bytes, Entry]) -> list[Entry]:
        sizes = folder.stats[1::STAT_WIDTH]
        modes = folder.stats[0::STAT_WIDTH]
        entries = []
        for at, name in enumerate(folder.names):
            kind, oid = folder.kinds[at], folder.oids[at]
            if kind == Kind.TREE:
                below = inside.get(name)
                if below is not None:
                    folder.oids[at] = below.oid
                    entries.append(below._replace(name=name))
            elif oid:
                size = sizes[at]
                if kind != Kind.LINK and stat.S_ISLNK(modes[at]):
                    size = self._linked_size(oid)
                entries.append(Entry(name, Kind(kind), oid, size))
        return entries

    def _linked_size(self, oid: bytes) -> int:
        """The size of an object that a workspace file is a symbolic link to."""
        try:
            return self.look.cache.size_of_single(oid)
        except OSError:
            return 0

    def _block(self, folder: Folder, root: Entry, entries: list[Entry]) -> Block:
        """What the index keeps: only what is in step with the cache, and settled."""
        trusted = len(entries) == len(folder.names)
        if not trusted:
            present = {entry.name for entry in entries}
            _keep_only(folder, present)
        unkept = self._unkept(folder)
        for at, oid in enumerate(folder.oids):
            if folder.kinds[at] == Kind.TREE:
                continue
            settled = is_settled(folder.stats[at * STAT_WIDTH + 3], self.look.now_ns)
            if not settled or oid in unkept:
                trusted = False
                folder.stats[at * STAT_WIDTH + 2] = 0
        oid = root.oid
        if not self._will_be_cached(folder, oid):
            # a later add would take the folder for unchanged and never store its tree
            trusted, oid = False, bytes(OID_BYTES)
        names = b"\0".join(folder.names)
        sign = signature(names, folder.stats) if trusted else UNTRUSTED
        return Block(
            sign,
            oid,
            root.size,
            root.files,
            names,
            bytes(folder.kinds),
            folder.stats.tobytes(),
            b"".join(folder.oids),
        )

    def _unkept(self, folder: Folder) -> set[bytes]:
        """The oids of files that were only hashed, and that the cache does not have."""
        if self.look.keep:
            return set()
        known = _trusted_oids(folder.old)
        return self.look.cache.missing(
            {oid for at, oid in enumerate(folder.oids) if folder.kinds[at] != Kind.TREE} - known
        )

    def _will_be_cached(self, folder: Folder, oid: bytes) -> bool:
        """Whether a folder's tree is in the cache, or is about to be."""
        if self.look.keep or (folder.old is not None and folder.old.oid == oid):
            return True
        return self.look.cache.has(oid)


def _stat_at(folder: Folder, at: int) -> Stat:
    mode, size, mtime, ctime, inode = folder.stats[at * STAT_WIDTH : (at + 1) * STAT_WIDTH]
    return mode, size, mtime, ctime, inode


def _same_folders(old: Block, inside: dict[bytes, Entry]) -> bool:
    """Whether a clean folder's subfolders are what the index says."""
    if not inside:
        return Kind.TREE not in old.kinds
    before = _oids_before(old)
    return len(inside) == old.kinds.count(Kind.TREE) and all(
        before.get(name) == entry.oid for name, entry in inside.items()
    )


def _reopen(folder: Folder, old: Block) -> None:
    """Fills the columns of a clean folder from the index, because a subfolder changed."""
    folder.names = old.name_list()
    folder.stats = old.stat_columns()
    folder.kinds = bytearray(old.kinds)
    folder.oids = [bytes(old.oids[at * 32 : at * 32 + 32]) for at in range(len(old.kinds))]


def _keep_only(folder: Folder, present: set[bytes]) -> None:
    """Drops the entries that are gone or could not be read."""
    keep = [at for at, name in enumerate(folder.names) if name in present]
    folder.stats = array(
        "q", [n for at in keep for n in folder.stats[at * STAT_WIDTH : (at + 1) * STAT_WIDTH]]
    )
    folder.todo = []
    folder.kinds = bytearray(folder.kinds[at] for at in keep)
    folder.oids = [folder.oids[at] for at in keep]
    folder.names = [folder.names[at] for at in keep]


def _sizes_before(old: Block | None) -> dict[bytes, int]:
    if old is None:
        return {}
    return dict(zip(old.name_list(), old.stat_columns()[1::STAT_WIDTH], strict=True))


def _oids_before(old: Block | None) -> dict[bytes, bytes]:
    if old is None:
        return {}
    oids = bytes(old.oids)
    return {name: oids[at * 32 : at * 32 + 32] for at, name in enumerate(old.name_list())}


def _trusted_oids(old: Block | None) -> set[bytes]:
    """The oids of files that the index trusts: those the cache had when they were looked at."""
    if old is None:
        return set()
    stats, oids = old.stat_columns(), bytes(old.oids)
    return {
        oids[at * OID_BYTES : (at + 1) * OID_BYTES]
        for at in range(len(old.kinds))
        if stats[at * STAT_WIDTH + 2]
    }


def _join(folder: bytes, name: bytes) -> bytes:
    return folder + b"/" + name if folder else name
