"""Fetch: what the cache lacks of some objects, read in large ranges, verified, then kept.

Owns the walk from roots to what is missing, and the rule that every byte is verified against
its name before it enters the cache. One missing or damaged object does not stop the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from dvlite.errors import CorruptError, DvliteError, MissingError, RemoteError
from dvlite.progress import Progress, silent
from dvlite.storage.absent import Absent
from dvlite.storage.backend import NotThere
from dvlite.storage.cache import Cache
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.codec import unpack_frame
from dvlite.storage.fetched import FetchReport, Wanted
from dvlite.storage.fetchlarge import LargeNeed, fetch_large
from dvlite.storage.index import Index, open_index
from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.pack import Member
from dvlite.storage.ranges import FrameWant, is_outage, read_somewhere
from dvlite.storage.recipe import TREE, Hint, Recipe
from dvlite.storage.recipe import decode as decode_recipe
from dvlite.storage.remote import Remote
from dvlite.storage.row import PIECES, RowKind
from dvlite.storage.tree import Kind, Tree, decode, part_name
from dvlite.storage.treewalk import MAX_DEPTH, find

T = TypeVar("T")

# So many missing files are collected before they are fetched: 20 MB of memory, and enough to
# coalesce well.
_BATCH_FILES = 50_000


class _Folder(NamedTuple):
    """A tree to look through."""

    oid: bytes
    hint: Hint | None
    wanted: Wanted
    path: bytes
    inside: tuple[bytes, ...]
    depth: int
    part_depth: int = 0


class _Leaf(NamedTuple):
    """A missing file."""

    oid: bytes
    hint: Hint | None
    size: int
    wanted: Wanted
    path: bytes


def fetch(
    remotes: Sequence[Remote],
    cache: Cache,
    wanted: Iterable[Wanted],
    jobs: int = 4,
    progress: Progress = silent,
) -> FetchReport:
    """Brings what is wanted into the cache, from the first remote that has it.

    What no remote has is listed as absent, what is damaged there as damaged; everything else is
    fetched. A remote that fails on the way is given up for the next; what came is kept.

    Raises:
        RemoteError: a remote fails, and the others do not have all the rest.
    """
    report = FetchReport()
    items = list(wanted)
    problem: RemoteError | None = None
    for remote in remotes:
        report.absent, report.damaged = [], []
        try:
            index = open_index(remote, cache.folder)
            _Fetch(index, cache, jobs, progress, report).run(items)
            report.present = frozenset(index.objects(item.oid for item in items))
        except RemoteError as error:
            problem = problem or error
            report.failed.append((remote.name, str(error)))
            continue
        if not report.absent:
            return report
        named = index.objects(item.oid for item in report.absent)
        report.damaged = [item for item in report.absent if item.oid in named]
        report.absent = [item for item in report.absent if item.oid not in named]
    if problem is not None:
        raise problem
    return report


class _Fetch:
    """One pass against one remote."""

    def __init__(
        self, index: Index, cache: Cache, jobs: int, progress: Progress, report: FetchReport
    ) -> None:
        self.index, self.cache, self.jobs, self.report = index, cache, jobs, report
        self.progress = progress
        self.lock = threading.Lock()
        self.seen: set[tuple[bytes, tuple[bytes, ...]]] = set()
        self.asked: set[bytes] = set()
        self.leaves: list[_Leaf] = []
        self.large: list[LargeNeed] = []
        self.total_files = self.total_bytes = 0
        self.problem: BaseException | None = None

    def run(self, items: Sequence[Wanted]) -> None:
        """Trees level by level, the files they name in batches, large files last.

        Raises:
            RemoteError: the remote stopped answering, or refused something. What came is kept,
            also where a user stops it.
        """
        with CacheWriter(self.cache) as writer:
            self.writer = writer
            try:
                self._fetch_small(items)
            except (RemoteError, KeyboardInterrupt) as error:
                if not writer.whole:
                    raise
                self.problem, self.large = error, []
        for need in self.large:
            self._fetch_large(need)
        if self.problem is not None:
            raise self.problem

    def _fetch_small(self, items: Sequence[Wanted]) -> None:
        level = []
        for item in items:
            inside = tuple(item.inside.split(b"/")) if item.inside else ()
            if item.kind == "tree":
                level.append(_Folder(item.oid, None, item, b"", inside, 0))
            elif not self.cache.has(item.oid):
                self._add_leaf(_Leaf(item.oid, None, item.size, item, b""))
        while level:
            level = list(self._next_level(level))
        self._fetch_leaves()

    def _next_level(self, level: list[_Folder]) -> Iterator[_Folder]:
        for start in range(0, len(level), 256):
            some = level[start : start + 256]
            for folder, tree, hints in self._trees(some):
                yield from self._look_through(folder, tree, hints)

    def _trees(
        self, folders: list[_Folder]
    ) -> Iterator[tuple[_Folder, Tree, dict[bytes, Hint] | None]]:
        """Decoded trees: from the cache, or fetched (then with their hints)."""
        missing = self.cache.missing({folder.oid for folder in folders})
        fetched = self._fetch_trees([f for f in folders if f.oid in missing]) if missing else {}
        for folder in folders:
            if folder.oid in fetched:
                yield folder, *fetched[folder.oid]
            elif folder.oid not in missing:
                try:
                    yield folder, self.cache.read_tree(folder.oid), None
                except CorruptError:
                    self._absent(folder.wanted, folder.path, folder.oid)
            else:
                self._absent(folder.wanted, folder.path, folder.oid)

    def _fetch_trees(
        self, folders: list[_Folder]
    ) -> dict[bytes, tuple[Tree, dict[bytes, Hint] | None]]:
        found: dict[bytes, tuple[Tree, dict[bytes, Hint] | None]] = {}

        def use(want: FrameWant, frame: memoryview) -> list[tuple[bytes, bytes, Recipe]]:
            raw = unpack_frame(frame)
            self._count(0, 0, len(frame))
            return [_read_tree_recipe(raw, member, want.pack) for member in want.members]

        hints = {folder.oid: folder.hint for folder in folders}
        for values in self._read(hints, RowKind.TREE_RECIPE, use):
            for oid, body, recipe in values:
                tree = decode(body)
                self.writer.add(oid, body, RowKind.TREE)
                pairs = zip(tree.oid_list(), recipe.hints, strict=False)
                found[oid] = (tree, {child: hint for child, hint in pairs if hint is not None})
        return found

    def _look_through(
        self, folder: _Folder, tree: Tree, hints: dict[bytes, Hint] | None
    ) -> Iterator[_Folder]:
        """Queues the missing files of a folder and gives the folders below."""
        if folder.depth > MAX_DEPTH:
            raise CorruptError(f"the tree of {folder.wanted.label} is nested too deeply")
        hints = hints or {}
        only = self._only(folder, tree)
        entries = [entry for entry in tree if only is None or entry.name == only]
        below_file = len(folder.inside) > 1 and any(e.kind < Kind.TREE for e in entries)
        if only is not None and (not entries or below_file):
            self.report.without_path.add((folder.wanted.oid, folder.wanted.inside))
            return
        if folder.wanted.listings:
            entries = [entry for entry in entries if entry.kind >= Kind.TREE]
        missing = self.cache.missing(
            {e.oid for e in entries if e.kind < Kind.TREE and e.oid not in self.asked}
        )
        for entry in entries:
            hint = hints.get(entry.oid)
            if entry.kind < Kind.TREE:
                if entry.oid in missing and entry.oid not in self.asked:
                    path = folder.path + entry.name
                    self._add_leaf(_Leaf(entry.oid, hint, entry.size, folder.wanted, path))
                continue
            below = self._below(folder, entry.oid, entry.name, hint, entry.kind == Kind.PART)
            if (below.oid, below.inside) not in self.seen:
                self.seen.add((below.oid, below.inside))
                yield below

    @staticmethod
    def _only(folder: _Folder, tree: Tree) -> bytes | None:
        """The one name that is wanted in this folder, where a path inside was given."""
        if not folder.inside:
            return None
        return part_name(folder.inside[0], folder.part_depth) if tree.is_split else folder.inside[0]

    @staticmethod
    def _below(folder: _Folder, oid: bytes, name: bytes, hint: Hint | None, part: bool) -> _Folder:
        if part:
            return folder._replace(
                oid=oid, hint=hint, depth=folder.depth + 1, part_depth=folder.part_depth + 1
            )
        return _Folder(
            oid, hint, folder.wanted, folder.path + name + b"/", folder.inside[1:], folder.depth + 1
        )

    def _add_leaf(self, leaf: _Leaf) -> None:
        if leaf.oid in self.asked:
            return
        self.asked.add(leaf.oid)
        self.leaves.append(leaf)
        self.total_files += 1
        self.total_bytes += leaf.size
        if len(self.leaves) >= _BATCH_FILES:
            self._fetch_leaves()

    def _fetch_leaves(self) -> None:
        leaves = {leaf.oid: leaf for leaf in self.leaves}
        self.leaves = []
        hints = self._resolve(
            {
                # a file of one chunk has its id, and some recipes have the chunk's place
                oid: None if leaf.hint is not None and leaf.hint.kind in PIECES else leaf.hint
                for oid, leaf in leaves.items()
            }
        )
        small: dict[bytes, Hint | None] = {}
        for oid, leaf in leaves.items():
            hint = hints.get(oid)
            if hint is None:
                self._absent(leaf.wanted, leaf.path, oid)
            elif hint.kind == RowKind.FILE_RECIPE:
                self.large.append(self._large_need(leaf, hint))
            else:
                small[oid] = hint
        got: set[bytes] = set()
        for frame, members in self._read(small, RowKind.FILE, self._use_small):
            got.update(member.id for member in members)
            self._keep(frame, members)
        for oid in small.keys() - got:
            self._absent(leaves[oid].wanted, leaves[oid].path, oid)

    def _large_need(self, leaf: _Leaf, hint: Hint) -> LargeNeed:
        wanted, previous = leaf.wanted, self._previous(leaf)
        return LargeNeed(
            leaf.oid, leaf.size, hint, wanted.label, leaf.path, previous, wanted.copies
        )

    def _use_small(
        self, want: FrameWant, frame: memoryview
    ) -> tuple[bytes | memoryview, list[Member]]:
        raw = unpack_frame(frame)
        for member in want.members:
            piece = raw[member.inner_offset : member.inner_offset + member.raw_length]
            if hash_bytes(piece) != member.id:
                raise CorruptError("bytes on the remote do not match their name")
        wanted = sum(member.raw_length for member in want.members)
        self._count(len(want.members), wanted, len(frame))
        return (bytes(frame) if wanted * 2 >= len(raw) else memoryview(raw)), list(want.members)

    def _keep(self, frame: bytes | memoryview, members: list[Member]) -> None:
        """A frame that is mostly wanted is kept as it came; of others, the wanted pieces."""
        if isinstance(frame, bytes):
            self.writer.add_frame(frame, members)
            return
        for member in members:
            piece = frame[member.inner_offset : member.inner_offset + member.raw_length]
            self.writer.add(member.id, bytes(piece))

    def _read(
        self,
        hints: dict[bytes, Hint | None],
        kind: RowKind,
        use: Callable[[FrameWant, memoryview], T],
    ) -> Iterator[T]:
        """Reads things by their hints; those whose place fails, by every other place they have."""
        resolved = self._resolve(hints)

        wanted = {oid: hint for oid, hint in resolved.items() if hint.kind == kind}
        backend = self.index.remote.backend
        for outcome in read_somewhere(backend, [wanted], self._other_places, use, self.jobs):
            if outcome.error is None:
                assert outcome.value is not None
                yield outcome.value
            else:
                self._note_refusal(outcome.error)

    def _other_places(self, oid: bytes, bad: Hint, error: DvliteError) -> Iterator[Hint]:
        """The bad place alone first (its neighbours in the frame may be at fault), then others."""
        if not isinstance(error, NotThere):
            yield bad
        try:
            places = self.index.every_place(oid, chunk=False)
            yield from (hint for hint in places if hint != bad and hint.kind == bad.kind)
        except DvliteError:
            return

    def _note_refusal(self, error: DvliteError) -> None:
        """What is refused is not called damaged; it is the run's error once the rest is here."""
        refused = isinstance(error, RemoteError) and not isinstance(error, NotThere)
        self.problem = self.problem or (error if refused else None)

    def _resolve(self, hints: dict[bytes, Hint | None]) -> dict[bytes, Hint]:
        known = {oid: hint for oid, hint in hints.items() if hint is not None}
        unknown = hints.keys() - known.keys()
        return known | (self.index.objects(unknown) if unknown else {})

    def _previous(self, leaf: _Leaf) -> bytes | None:
        """The oid that this file had in the version before, when that is in the cache."""
        old = leaf.wanted.previous
        try:
            if old is not None and leaf.wanted.kind == "tree":
                entry = find(self.cache.read_tree, old, leaf.path)
                old = entry.oid if entry is not None else None
            return old if old is not None and self.cache.has(old) else None
        except DvliteError:
            return None

    def _fetch_large(self, need: LargeNeed) -> None:
        def tell(read: int, done: int) -> None:
            self._count(0, done, read)

        try:
            reused = fetch_large(self.index, self.cache, need, self.jobs, tell)
        except (MissingError, CorruptError, RemoteError) as error:
            if is_outage(error):
                raise
            self._note_refusal(error)
            self._absent(need, need.path, need.oid)
            return
        self.report.reused_bytes += reused
        self._count(1, 0, 0)

    def _count(self, files: int, size: int, read: int) -> None:
        report = self.report
        with self.lock:  # reading threads count too
            report.files += files
            report.size_bytes += size
            report.read_bytes += read
        total = self.total_files, self.total_bytes
        self.progress("fetching", report.files, report.size_bytes, *total, report.read_bytes)

    def _absent(self, wanted: Wanted | LargeNeed, path: bytes, oid: bytes) -> None:
        self.report.absent.append(Absent(wanted.label, path, oid))


def _read_tree_recipe(raw: bytes, member: Member, pack: bytes) -> tuple[bytes, bytes, Recipe]:
    recipe = decode_recipe(raw[member.inner_offset : member.inner_offset + member.raw_length], pack)
    if recipe.what != TREE or hash_tree(recipe.body) != member.id:
        raise CorruptError("a tree on the remote does not match its name")
    return member.id, recipe.body, recipe
