"""Looking at tracked paths: what the workspace holds now, in the words of pointers.

Owns the stat indexes on disk (one a tracked folder, one for all single files), so that looking
again reads nothing that has not changed. They are saved when something new was learnt.
"""

from __future__ import annotations

import os
import stat
from array import array
from dataclasses import dataclass

from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import ReadTree
from dvlite.workspace.ignorefile import rules_above
from dvlite.workspace.pointer import Pointer
from dvlite.workspace.snapshot import Look, Place, Snapshot, look_into
from dvlite.workspace.statindex import UNTRUSTED, Block, StatIndex, is_settled, load, now_ns, save
from dvlite.workspace.take import Batch, Stat, Taken, Untaken, taking

_UNREAD_OID = bytes(31) + b"\1"


@dataclass(frozen=True, slots=True)
class Here:
    """What is at a tracked path. `pointer`: as it would be added now; None when nothing is there
    or it could not be read. `failed` tells what could not be read; `noted`, what was left out.

    `unread`: made-up oids of files that were not read because their size showed a change. `link`:
    where a symbolic link leads that is in the place of a file or folder.
    """

    path: str
    pointer: Pointer | None = None
    snapshot: Snapshot | None = None
    failed: tuple[tuple[bytes, str], ...] = ()
    noted: tuple[tuple[bytes, str], ...] = ()
    unread: frozenset[bytes] = frozenset()
    taken: frozenset[bytes] = frozenset()
    link: str | None = None

    @property
    def entry(self) -> Entry | None:
        """The pointer as an entry without a name."""
        return None if self.pointer is None else entry_of(self.pointer)

    def reader(self, read: ReadTree) -> ReadTree:
        """Reads this path's trees from memory, all others with `read`."""
        return read if self.snapshot is None else self.snapshot.reader(read)


@dataclass(slots=True)
class Looker:
    """Looks at tracked paths. `keep`: new content goes to the cache; `sizes_only`: files whose
    size shows that they are new or changed are not read."""

    project: Project
    progress: Progress = silent
    keep: bool = False
    sizes_only: bool = False
    forget: bool = False
    phase: str = "looking at files"
    _cache: Cache | None = None
    _files: StatIndex | None = None
    _files_changed: bool = False
    _now: int = 0
    _read_bytes: int = 0
    _expected_bytes: int = 0

    @property
    def cache(self) -> Cache:
        """The project's cache, opened once."""
        if self._cache is None:
            self._cache = self.project.cache()
        return self._cache

    def look(self, path: str, expected: Pointer | None = None) -> Here:
        """What is at a path. `expected`: its pointer, so that with `sizes_only` files are read
        that could be what it says.

        Raises:
            PathError: a folder that cannot be tracked. OSError: one that cannot be read.
        """
        absolute = self.project.absolute(path)
        try:
            found = os.lstat(absolute)
        except (FileNotFoundError, NotADirectoryError):
            return Here(path)
        if not self._now:
            self._now = now_ns(self.project.private_folder)
        if stat.S_ISDIR(found.st_mode):
            tree = expected.oid if expected is not None and expected.kind == "tree" else None
            return self._look_into(path, absolute, tree)
        return self._look_at(path, absolute, found, expected)

    def done(self) -> None:
        """Saves what was learnt about single files."""
        if self._files is not None and self._files_changed:
            save(self.project.stat_index_path(""), sorted(self._files.blocks.items()))

    # -- folders -----------------------------------------------------------------------------------

    def _look_into(self, path: str, absolute: str, expected: bytes | None) -> Here:
        index_path = self.project.stat_index_path(path)
        index = StatIndex() if self.forget else load(index_path)
        look = Look(
            self.cache,
            self._now,
            self.keep,
            self.sizes_only,
            expected,
            self.progress,
            self.phase,
        )
        rules = rules_above(self.project.root, path)
        snapshot = look_into(Place(absolute, path, index, rules), look)
        if not self.keep and _is_news(index, snapshot):
            save(index_path, snapshot.blocks.items())
        root = snapshot.root
        return Here(
            path,
            Pointer("tree", root.oid, root.size, root.files),
            snapshot,
            tuple(snapshot.failed),
            tuple(snapshot.noted),
            frozenset(snapshot.unread),
            frozenset(snapshot.taken),
        )

    def save_folder(self, path: str, snapshot: Snapshot) -> None:
        """Saves a folder's index: only once what it says is durably in the cache."""
        save(self.project.stat_index_path(path), snapshot.blocks.items())

    # -- single files ------------------------------------------------------------------------------

    def _look_at(
        self, path: str, absolute: str, found: os.stat_result, expected: Pointer | None
    ) -> Here:
        files = self._single_files()
        here = _stat_of(found)
        if not stat.S_ISREG(here[0]) and not stat.S_ISLNK(here[0]):
            return Here(path, failed=((b"", "neither a file nor a folder"),))
        old = None if self.forget else files.get(os.fsencode(path))
        is_there = not _is_link(here) or os.path.exists(absolute)  # what a link leads to
        if old is not None and is_there and old.stat_columns().tolist() == list(here):
            kind = Kind(old.kinds[0])
            return Here(path, Pointer("file", old.oid, old.size, 1, kind == Kind.EXEC))
        sizes = {one.size for one in (old, expected) if one is not None}
        if self.sizes_only and here[1] not in sizes and not _is_link(here):
            executable = bool(here[0] & stat.S_IXUSR)
            unread = Pointer("file", _UNREAD_OID, here[1], 1, executable)
            return Here(path, unread, unread=frozenset([_UNREAD_OID]))
        return self._take(path, absolute, here, old)

    def _take(self, path: str, absolute: str, here: Stat, old: Block | None) -> Here:
        folder, name = os.path.split(os.fsencode(absolute))
        self._expected_bytes += here[1]
        with taking(self.cache, self.project.root, self.keep, self._told) as taker:
            result = taker.take(Batch(folder, 0, [name], [here]))[0]
        if result is None:
            return Here(path, link=_read_link(absolute))
        if isinstance(result, Untaken):
            link = os.readlink(absolute) if _is_link(here) else None
            return Here(path, failed=((b"", result.reason),), link=link)
        if result.kind == Kind.LINK:
            why = "a symbolic link, which cannot be tracked alone"
            return Here(path, failed=((b"", why),), link=os.readlink(absolute))
        if self.keep or self.cache.has(result.oid):
            self._note(path, result)
        pointer = Pointer("file", result.oid, result.size, 1, result.kind == Kind.EXEC)
        return Here(path, pointer, taken=frozenset([result.oid]))

    def _told(self, size: int) -> None:
        self._read_bytes += size
        self.progress(self.phase, 0, self._read_bytes, None, self._expected_bytes)

    def _note(self, path: str, taken: Taken) -> None:
        numbers = list(taken.stat)
        if not is_settled(numbers[3], self._now):
            numbers[2] = 0
        self.note_file(path, Entry(b"", Kind(taken.kind), taken.oid, taken.size), numbers)

    def note_file(self, path: str, entry: Entry, numbers: list[int]) -> None:
        """Remembers that a single file with this stat is this object."""
        block = Block(
            UNTRUSTED,
            entry.oid,
            entry.size,
            1,
            b"",
            bytes([entry.kind]),
            array("q", numbers).tobytes(),
            entry.oid,
        )
        self._single_files().blocks[os.fsencode(path)] = block
        self._files_changed = True

    def _single_files(self) -> StatIndex:
        if self._files is None:
            self._files = load(self.project.stat_index_path(""))
        return self._files


def entry_of(pointer: Pointer) -> Entry:
    """A pointer as an entry without a name."""
    if pointer.kind == "tree":
        return Entry(b"", Kind.TREE, pointer.oid, pointer.size, pointer.files)
    return Entry(b"", Kind.EXEC if pointer.executable else Kind.FILE, pointer.oid, pointer.size)


def pointer_of(entry: Entry) -> Pointer:
    """The inverse of `entry_of`."""
    if entry.kind == Kind.TREE:
        return Pointer("tree", entry.oid, entry.size, entry.files)
    return Pointer("file", entry.oid, entry.size, 1, entry.kind == Kind.EXEC)


def _is_news(index: StatIndex, snapshot: Snapshot) -> bool:
    return len(index.blocks) != len(snapshot.blocks) or any(
        index.blocks.get(path) is not block for path, block in snapshot.blocks.items()
    )


def _read_link(absolute: str) -> str | None:
    """Where a link leads; None where there is none any more."""
    try:
        return os.readlink(absolute)
    except OSError:
        return None


def _is_link(here: Stat) -> bool:
    return stat.S_ISLNK(here[0])


def _stat_of(found: os.stat_result) -> Stat:
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
