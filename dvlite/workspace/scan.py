"""Scanning: what the file system shows of a tracked folder, compared with the stat index.

Owns walking (by folder descriptors, never through a symbolic link), what counts as data, and
which files have to be looked into because their stat is new. It reads no file's content.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from dvlite.errors import PathError
from dvlite.storage.names import any_reserved
from dvlite.storage.tree import Kind
from dvlite.storage.treewalk import MAX_DEPTH
from dvlite.workspace.entering import OPEN_FOLDER, leads_nowhere, open_inside, top_of
from dvlite.workspace.ignorefile import NAME as IGNORE_FILE
from dvlite.workspace.ignorefile import Ignore
from dvlite.workspace.pointer import fold
from dvlite.workspace.statindex import STAT_WIDTH, Block, StatIndex, signature

_OWN = (b".git", b".dvlite")
_IGNORE_NAME = os.fsencode(IGNORE_FILE)
_FOLDER_STAT = (stat.S_IFDIR, 0, 0, 0, 0)
# In the place of the time of a link whose object left the cache: the link has not changed by that.
_GONE = -1
_ODD = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(slots=True)
class Folder:
    """One folder as found. `names` and the columns are empty where it is `clean`.

    `kinds` and `oids` are filled from the index where an entry's stat is the same; `todo` are the
    positions of the others. `folders` are the subfolders by position.
    """

    path: bytes
    old: Block | None
    clean: bool
    signature: bytes
    names: list[bytes] = field(default_factory=list)
    stats: array[int] = field(default_factory=lambda: array("q"))
    kinds: bytearray = field(default_factory=bytearray)
    oids: list[bytes] = field(default_factory=list)
    todo: list[int] = field(default_factory=list)
    folders: list[tuple[bytes, Folder]] = field(default_factory=list)


@dataclass(slots=True)
class Scanner:
    """Walks one tracked folder. `found` is called for every folder that has something to do;
    `noted` gets (path, why) of what was left out."""

    root: str
    prefix: str
    index: StatIndex
    rules: Ignore
    found: Callable[[Folder], None]
    noted: list[tuple[bytes, str]] = field(default_factory=list)
    files: int = 0

    def run(self) -> Folder:
        """The whole folder.

        Raises:
            PathError: something inside cannot be tracked. OSError: something cannot be read.
        """
        top = os.fsencode(top_of(self.root, self.prefix))
        descriptor = open_inside(top, os.fsencode(self.root))
        return self._folder(descriptor, b"", self.rules, 0)

    def _folder(self, descriptor: int, path: bytes, rules: Ignore, depth: int) -> Folder:
        if depth > MAX_DEPTH:
            raise PathError(
                f"{self._show(path)} is nested more than {MAX_DEPTH} folders deep", "flatten it"
            )
        try:
            found = self._names(descriptor)
            if _IGNORE_NAME in found:
                rules = rules.entering(os.path.join(self.root, os.fsdecode(path)), self._show(path))
            names, stats = self._look(descriptor, path, found, rules)
            joined = b"\0".join(names)
            old = self.index.get(path)
            sign = signature(joined, stats)
            clean = old is not None and old.signature == sign
            folder = Folder(path, old, clean, sign)
            if not clean:
                folder.names, folder.stats = names, stats
                self._compare(folder, old)
                self.found(folder)
            self.files += len(names)
            inside = [
                name
                for name, mode in zip(names, stats[::STAT_WIDTH], strict=True)
                if mode == stat.S_IFDIR
            ]
            for name in inside:
                child = self._enter(descriptor, path, name, rules, depth)
                if child is not None:
                    folder.folders.append((name, child))
            return folder
        finally:
            os.close(descriptor)

    def _enter(
        self, descriptor: int, path: bytes, name: bytes, rules: Ignore, depth: int
    ) -> Folder | None:
        below = path + b"/" + name if path else name
        try:
            inner = os.open(name, OPEN_FOLDER, dir_fd=descriptor)
        except FileNotFoundError:
            return None
        return self._folder(inner, below, rules, depth + 1)

    @staticmethod
    def _names(descriptor: int) -> list[bytes]:
        text = "\0".join(os.listdir(descriptor))
        return sorted(os.fsencode(text).split(b"\0")) if text else []

    def _look(
        self, descriptor: int, path: bytes, names: list[bytes], rules: Ignore
    ) -> tuple[list[bytes], array[int]]:
        rows: list[tuple[int, ...]] = []
        kept: list[bytes] = []
        look = os.stat
        for name in names:
            try:
                found = look(name, dir_fd=descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = found.st_mode
            if mode & 0o170000 == 0o100000:
                row = (mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            elif self._is_odd(path, name, mode):
                continue
            elif stat.S_ISDIR(mode):
                row = _FOLDER_STAT
            else:
                row = (mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
                if stat.S_ISLNK(mode) and leads_nowhere(descriptor, name):
                    row = (mode, found.st_size, _GONE, found.st_ctime_ns, found.st_ino)
            rows.append(row)
            kept.append(name)
        if rules.levels:
            kept, rows = self._without_ignored(path, kept, rows, rules)
        self._refuse_nested(path, kept)
        return kept, array("q", [number for row in rows for number in row])

    def _without_ignored(
        self, path: bytes, names: list[bytes], rows: list[tuple[int, ...]], rules: Ignore
    ) -> tuple[list[bytes], list[tuple[int, ...]]]:
        before = self._show(path) + "/"
        pairs = [
            (name, row)
            for name, row in zip(names, rows, strict=True)
            if not rules.matches(before + os.fsdecode(name), row is _FOLDER_STAT)
        ]
        return [name for name, _ in pairs], [row for _, row in pairs]

    def _refuse_nested(self, path: bytes, names: list[bytes]) -> None:
        own = any_reserved(b"\0".join(names))
        if own is not None:
            odd = "" if own.lower() in _OWN else f": file systems take {os.fsdecode(own)!r} for one"
            raise PathError(
                f"{self._show(path)} is a git repository or dvlite project of its own{odd}",
                "keep it out with a line in .dvliteignore, or move it elsewhere",
            )

    def _is_odd(self, path: bytes, name: bytes, mode: int) -> bool:
        what = _ODD.get(stat.S_IFMT(mode))
        if what is not None:
            below = path + b"/" + name if path else name
            self.noted.append((below, f"{what}, which holds no data to version"))
        return what is not None

    def _compare(self, folder: Folder, old: Block | None) -> None:
        """Takes over from the index what has the same stat; the rest is to do."""
        names, stats = folder.names, folder.stats
        count = len(names)
        folder.kinds = bytearray(count)
        folder.oids = [b""] * count
        known = {} if old is None else {name: at for at, name in enumerate(old.name_list())}
        before = old.stat_columns() if old is not None else array("q")
        for at, name in enumerate(names):
            here = stats[at * STAT_WIDTH : at * STAT_WIDTH + STAT_WIDTH]
            if here[0] == stat.S_IFDIR:
                folder.kinds[at] = Kind.TREE
                continue
            was = known.get(name)
            if (
                old is not None
                and was is not None
                and before[was * STAT_WIDTH : was * STAT_WIDTH + STAT_WIDTH] == here
            ):
                folder.kinds[at] = old.kinds[was]
                folder.oids[at] = bytes(old.oids[was * 32 : was * 32 + 32])
            else:
                folder.todo.append(at)
        if folder.todo:
            self._note_collisions(folder)

    def _note_collisions(self, folder: Folder) -> None:
        seen: dict[object, bytes] = {}
        for name in folder.names:
            key = name.lower() if name.isascii() else os.fsencode(fold(os.fsdecode(name)))
            other = seen.setdefault(key, name)
            if other is not name:
                below = folder.path + b"/" + name if folder.path else name
                self.noted.append(
                    (
                        below,
                        f"its name and {os.fsdecode(other)!r} are the same on macOS and Windows",
                    )
                )

    def _show(self, path: bytes) -> str:
        inside = os.fsdecode(path)
        return f"{self.prefix}/{inside}" if inside else self.prefix
