"""What the files and folders that stages read and make hold now, each looked at once.

Owns the choice of where that is known from: tracked data from its own stat index, other files from
the file index, what is not in the workspace from its pointer. Nothing that has not changed is read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dvlite.errors import DvliteError, PathError
from dvlite.ops.looking import Here, Looker
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes
from dvlite.storage.tree import Entry, Kind, store_folder
from dvlite.storage.treewalk import MAX_DEPTH, find
from dvlite.workspace.fileindex import NAME as INDEX
from dvlite.workspace.fileindex import FileIndex, FileStat, file_stat, load
from dvlite.workspace.ignorefile import NAME as IGNORE_FILE
from dvlite.workspace.ignorefile import Ignore, rules_above
from dvlite.workspace.pointer import SUFFIX, Pointer, PointerKind, covering
from dvlite.workspace.statindex import is_settled, now_ns
from dvlite.workspace.take import hash_large

# What lies in folders of code and says nothing of it: caches that running it makes, and files that
# dvlite writes itself.
_PASSED_OVER = frozenset(
    (".git", ".dvlite", ".gitignore", IGNORE_FILE, "__pycache__", ".ipynb_checkpoints")
)

_SMALL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Seen:
    """What is at a path. `here`: in the workspace, else only its pointer tells."""

    kind: PointerKind
    oid: bytes
    size: int
    files: int = 1
    executable: bool = False
    here: bool = True

    def is_like(self, pointer: Pointer) -> bool:
        """Whether it is what a pointer names."""
        return (self.kind, self.oid, self.executable) == pointer.identity


class Seer:
    """Looks at paths, each once; `pointers`: what is tracked."""

    def __init__(
        self, project: Project, pointers: Mapping[str, Pointer], progress: Progress = silent
    ) -> None:
        self.project, self.pointers = project, dict(pointers)
        self.looker = Looker(project, progress, phase="reading files")
        self._index_path = os.path.join(project.private_folder, "stat", INDEX)
        self._index: FileIndex = load(self._index_path)
        self._seen: dict[str, Seen | None] = {}
        self._folders: set[str] = set()
        self._inside: dict[str, Here] = {}
        self._now = 0

    def see(self, path: str) -> Seen | None:
        """What is at a path; None where there is nothing, and nothing that a pointer names.

        Raises:
            PathError: it cannot be read.
        """
        if path not in self._seen:
            self._note_folders(path)
            try:
                self._seen[path] = self._look(path)
            except OSError as error:
                raise PathError(f"{path} cannot be read: {error.strerror}") from error
        return self._seen[path]

    def forget(self, paths: Iterable[str]) -> None:
        """Looks again at these paths, and at what is in them or around them."""
        for path in paths:
            parts, below = path.split("/"), path + "/"
            for count in range(1, len(parts) + 1):
                around = "/".join(parts[:count])
                self._seen.pop(around, None)
                self._inside.pop(around, None)
            for one in [one for one in self._inside if one.startswith(below)]:
                del self._inside[one]
            if path in self._folders:  # of 100,000 paths that were seen, few are in an output
                for one in [one for one in self._seen if one.startswith(below)]:
                    del self._seen[one]

    def track(self, pointers: Mapping[str, Pointer]) -> None:
        """Takes over what these paths are said to be now."""
        self.pointers.update(pointers)
        self.forget(pointers)

    def _note_folders(self, path: str) -> None:
        end = path.rfind("/")
        while end > 0 and path[:end] not in self._folders:
            self._folders.add(path[:end])
            end = path.rfind("/", 0, end)

    def done(self) -> None:
        """Saves what was learnt."""
        self.looker.done()
        if self._index.changed:
            self._index.save(self._index_path)

    # -- looking -----------------------------------------------------------------------------------

    def _look(self, path: str) -> Seen | None:
        try:
            found = os.stat(self.project.absolute(path))
        except (FileNotFoundError, NotADirectoryError):
            return self._named(path)
        if stat.S_ISREG(found.st_mode):
            return self._file(path, found)
        if not stat.S_ISDIR(found.st_mode):
            raise PathError(f"{path} is neither a file nor a folder")
        cover = covering(self.pointers, path)
        if cover is not None:
            return self._tracked(*cover)
        return self._folder(path, rules_above(self.project.root, path), 0)

    def _named(self, path: str) -> Seen | None:
        """What is not in the workspace, as its pointer says."""
        cover = covering(self.pointers, path)
        if cover is None:
            return None
        pointer, inside = self.pointers[cover[0]], cover[1]
        if not inside:
            return _of_pointer(pointer, False)
        if os.path.lexists(self.project.absolute(cover[0])):
            return None  # the folder is here, without that
        try:
            entry = find(self.looker.cache.read_tree, pointer.oid, os.fsencode(inside))
        except DvliteError:
            return None
        return None if entry is None else _of_entry(entry, False)

    def _file(self, path: str, found: os.stat_result) -> Seen | None:
        numbers = file_stat(found)
        executable = bool(found.st_mode & stat.S_IXUSR)
        oid = self._index.get(path, numbers)
        if oid is None and path in self.pointers and not os.path.islink(self._absolute(path)):
            here = self.looker.look(path).pointer
            oid = here.oid if here is not None and here.kind == "file" else None
            self._note(path, numbers, oid)
        if oid is None:
            descriptor = os.open(self._absolute(path), os.O_RDONLY | os.O_CLOEXEC)
            try:
                numbers = file_stat(os.fstat(descriptor))
                oid = _hash(descriptor, numbers[1])
            finally:
                os.close(descriptor)
            self._note(path, numbers, oid)
        return Seen("file", oid, numbers[1], 1, executable)

    def _note(self, path: str, numbers: FileStat, oid: bytes | None) -> None:
        self._now = self._now or now_ns(self.project.private_folder)
        if oid is not None and is_settled(numbers[3], self._now):
            self._index.note(path, numbers, oid)

    def _tracked(self, tracked: str, inside: str) -> Seen | None:
        """A tracked folder, or one in it."""
        here = self._inside.get(tracked)
        if here is None:
            here = self._inside[tracked] = self.looker.look(tracked)
        if here.failed:
            name, why = here.failed[0]
            raise PathError(f"{tracked}/{os.fsdecode(name)}: {why}")
        if here.pointer is None or not inside:
            return None if here.pointer is None else _of_pointer(here.pointer, True)
        read = here.reader(self.looker.cache.read_tree)
        entry = find(read, here.pointer.oid, os.fsencode(inside))
        return None if entry is None else _of_entry(entry, True)

    def _folder(self, path: str, rules: Ignore, depth: int) -> Seen:
        """A folder that is not tracked as a whole: a tree of what is in it. Of a link to a folder
        it counts where it leads; what is there counts where it lies."""
        if depth > MAX_DEPTH:
            raise PathError(f"{path} is nested too deeply")
        rules = rules.entering(self._absolute(path), path)
        entries = []
        for name in sorted(os.listdir(self._absolute(path)), key=os.fsencode):
            below = f"{path}/{name}"
            if name in _PASSED_OVER or name.endswith(SUFFIX):
                continue
            is_folder = os.path.isdir(self._absolute(below))
            if rules.matches(below, is_folder):
                continue
            if is_folder and os.path.islink(self._absolute(below)):
                text = os.fsencode(os.readlink(self._absolute(below)))
                entries.append(Entry(os.fsencode(name), Kind.LINK, hash_bytes(text), len(text)))
                continue
            seen = (
                self._folder(below, rules, depth + 1)
                if is_folder and covering(self.pointers, below) is None
                else self.see(below)
            )
            if seen is not None:
                entries.append(_entry(os.fsencode(name), seen))
        root = store_folder(entries, _drop)
        return Seen("tree", root.oid, root.size, root.files)

    def _absolute(self, path: str) -> str:
        return self.project.absolute(path)


def _hash(descriptor: int, size: int) -> bytes:
    """Threads that read ahead cost more than reading a small file: 0.3 ms each."""
    if size > _SMALL_BYTES:
        return hash_large(descriptor)[0]
    parts = []
    while part := os.read(descriptor, _SMALL_BYTES):
        parts.append(part)
    return hash_bytes(b"".join(parts))


def _of_pointer(pointer: Pointer, here: bool) -> Seen:
    return Seen(pointer.kind, pointer.oid, pointer.size, pointer.files, pointer.executable, here)


def _of_entry(entry: Entry, here: bool) -> Seen:
    kind: PointerKind = "tree" if entry.kind >= Kind.TREE else "file"
    return Seen(kind, entry.oid, entry.size, entry.files, entry.kind == Kind.EXEC, here)


def _entry(name: bytes, seen: Seen) -> Entry:
    if seen.kind == "tree":
        return Entry(name, Kind.TREE, seen.oid, seen.size, seen.files)
    return Entry(name, Kind.EXEC if seen.executable else Kind.FILE, seen.oid, seen.size)


def _drop(oid: bytes, data: bytes) -> None:
    """Nobody reads the listing of such a folder again: its name is enough to tell a change."""
