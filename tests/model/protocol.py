"""What a remote holds and how pushers and gcs change it, as an explicit-state model.

Owns the steps of `storage.push`, `storage.merging` and `storage.remotegc`, each as one change of a
tiny remote: two files, a tree of both and a tree of one. Names are what they are in the code, the
hash of the bytes: here, the bytes. Every safety rule can be left out by name (`RULES`).

A process's next steps depend on nothing but the remote and what it remembers, so they are worked
out once for each pair of these; `explore` then only counts pairs together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any, NamedTuple

# Objects are bits: two files, a tree of both, a tree of the second.
FILE_1, FILE_2, BOTH, SECOND = 1, 2, 4, 8
OBJECTS = (FILE_1, FILE_2, BOTH, SECOND)
FILES, TREES = FILE_1 | FILE_2, BOTH | SECOND
NEEDS = {0: 0, FILE_1: 0, FILE_2: 0, BOTH: FILES, SECOND: FILE_2}
NAMES = {FILE_1: "f1", FILE_2: "f2", BOTH: "both", SECOND: "second"}

# How old a thing on the remote is. FRESH things become OLDER together when the clock is looked at,
# and then, the grace period after, OLD.
OLD, OLDER, FRESH = 0, 1, 2

RULES = {
    "view": "a pusher counts on its epoch's view only",
    "recheck": "a pusher looks at the epoch again before its pointer is published",
    "window": "from that look to the publishing is less than the grace period",
    "order": "a segment comes after the packs that it names",
    "promise": "a checkpoint names no tree: an object's row promises all that it needs",
    "header": "a pack's head has the epoch, so that names of two epochs differ",
    "index first": "gc lists the index before it asks what is needed",
    "young": "gc counts what young segments promise as needed",
    "closure": "and so does it with all that this needs in turn, also below no root",
    "copy": "what lives in a condemned pack is copied out",
    "for ever": "what is condemned stays condemned, also if it came alive again",
    "name first": "gc names what lives in new segments before it begins an epoch",
    "own copies": "gc does not condemn what it has just copied to",
    "absent": "a marker is created only if nobody else did",
    "lonely": "what only segments outside of the view name is named anew",
    "grace": "packs are deleted a grace period after they were condemned",
    "segments late": "and segments a grace period after a marker left them out",
    "merge epoch": "a merge counts in the epoch of what it merged only",
    "hiding": "a merge that pushers no longer count on hides nothing",
    "own name": "a merge is not written where a name mentions its id already",
}


class Segment(NamedTuple):
    """What has the id of a segment: for each of OBJECTS, the pack or 0; and its roots."""

    epoch: int
    rows: tuple[int, ...]
    roots: int


class Name(NamedTuple):
    """A stored segment, and which ids it supersedes."""

    segment: Segment
    supersedes: tuple[Segment, ...] = ()


class Marker(NamedTuple):
    """What began an epoch."""

    new: frozenset[Segment]
    condemned: frozenset[int]


class Shared(NamedTuple):
    """The remote, each thing with its age; the published roots; how often gc may still start."""

    packs: tuple[tuple[int, int], ...]
    names: tuple[tuple[Name, int], ...]
    markers: tuple[tuple[Marker, int], ...]
    roots: int
    runs: int

    @property
    def epoch(self) -> int:
        """The newest."""
        return len(self.markers)


class Step(NamedTuple):
    """What a process can do next: the remote and its memory after it, and words for that."""

    shared: Shared
    local: tuple[Any, ...]
    label: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who does what. `jobs`: for each pusher, the trees it pushes one after the other; negative:
    something else in the folder above is missing, so the tree is sent, and no root named; 0: other
    data, which may be reason to merge. `start`: trees that are there from the beginning, and old.
    `runs`: how often a gc may start. `deaths`: processes die. `choices`: what in the code depends
    on sizes may be either way. `without`: the rule that is left out."""

    jobs: tuple[tuple[int, ...], ...]
    start: tuple[int, ...] = (BOTH,)
    gcs: int = 2
    runs: int = 3
    merges: bool = True
    checkpoints: bool = True
    deaths: bool = True
    choices: bool = True
    without: str = ""


def pack_of(epoch: int, content: int) -> int:
    """A pack's name: its head and what it holds."""
    return epoch * 16 + content


def put(things: tuple[tuple[Any, int], ...], *new: Any) -> tuple[tuple[Any, int], ...]:
    """With some things written (again), hence fresh."""
    kept = [one for one in things if one[0] not in new]
    return tuple(sorted([*kept, *((one, FRESH) for one in new)]))


def drop(things: tuple[tuple[Any, int], ...], gone: Any) -> tuple[tuple[Any, int], ...]:
    """Without a thing."""
    return tuple(one for one in things if one[0] != gone)


def closure(roots: int) -> int:
    """Trees and all that they need."""
    found = roots
    for tree in (BOTH, SECOND):
        if roots & tree:
            found |= NEEDS[tree]
    return found


def bits(objects: int) -> Iterator[int]:
    """One after the other."""
    return (one for one in OBJECTS if objects & one)


def said(objects: int) -> str:
    """In words."""
    return "+".join(NAMES[one] for one in bits(objects)) or "nothing"


def rows_of(places: dict[int, int]) -> tuple[int, ...]:
    """A segment's rows."""
    return tuple(places.get(one, 0) for one in OBJECTS)


def places_of(segment: Segment) -> Iterator[tuple[int, int]]:
    """Objects and packs."""
    return ((one, pack) for one, pack in zip(OBJECTS, segment.rows, strict=True) if pack)


class Names:
    """What a listing means (`storage.remote`)."""

    def __init__(self, without: str) -> None:
        self.without = without
        self._known: dict[Any, tuple[frozenset[Name], frozenset[Name]]] = {}

    def read(
        self, names: tuple[tuple[Name, int], ...], epoch: int, marker: Marker | None
    ) -> tuple[frozenset[Name], frozenset[Name]]:
        """The segments that readers use, and those that pushers of this epoch count on."""
        bare = frozenset(name for name, _ in names)
        key = bare, epoch, marker and marker.new
        if key not in self._known:
            self._known[key] = self._split(bare, epoch, marker)
        return self._known[key]

    def _split(
        self, names: frozenset[Name], epoch: int, marker: Marker | None
    ) -> tuple[frozenset[Name], frozenset[Name]]:
        valid = marker.new if marker else frozenset()
        counted = {name for name in names if name.segment.epoch == epoch or name.segment in valid}
        hidden = _superseded(names if self.without == "hiding" else counted)
        trusted = frozenset(name for name in counted if name.segment not in _superseded(counted))
        return frozenset(name for name in names if name.segment not in hidden), trusted


def _superseded(names: Iterable[Name]) -> set[Segment]:
    return {segment for name in names for segment in name.supersedes}


class Pusher:
    """`storage.push`, a step at a time."""

    def __init__(self, scenario: Scenario, names: Names) -> None:
        self.scenario, self.names, self.without = scenario, names, scenario.without

    def steps(self, shared: Shared, local: tuple[Any, ...]) -> Iterator[Step]:
        """All that can happen next. `local`: the jobs, the step, and what belongs to that."""
        jobs, step, *rest = local
        if not jobs:
            return
        if step != "begin" and self.scenario.deaths:
            yield Step(shared, (jobs, "begin"), "dies, and begins again")
        yield from getattr(self, f"_{step}")(shared, jobs, *rest)

    def _begin(self, shared: Shared, jobs: tuple[int, ...]) -> Iterator[Step]:
        yield Step(shared, (jobs, "list", shared.epoch), f"reads the epoch: {shared.epoch}")

    def _list(self, shared: Shared, jobs: tuple[int, ...], epoch: int) -> Iterator[Step]:
        marker = shared.markers[epoch - 1][0] if epoch else None
        readable, trusted = self.names.read(shared.names, epoch, marker)
        known = 0
        for name in readable if self.without == "view" else trusted:
            for one, _ in places_of(name.segment):
                known |= one
        tree = abs(jobs[0])
        lacking = 0 if known & tree else (tree | NEEDS[tree]) & ~known
        step = "data" if lacking else "merge"
        label = f"plans {said(tree)}: the remote lacks {said(lacking)}"
        yield Step(shared, (jobs, step, epoch, lacking), label)

    def _data(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        if self.without == "order":
            yield from self._segment(shared, jobs, epoch, lacking, "late")
            return
        content = lacking & FILES
        if not content:
            yield from self._meta(shared, jobs, epoch, lacking)
            return
        after = shared._replace(packs=put(shared.packs, self.pack(epoch, content)))
        yield Step(after, (jobs, "meta", epoch, lacking), f"puts a pack of {said(content)}")
        if self.without == "promise":  # the tree's row before what it needs has come
            early = shared._replace(packs=put(shared.packs, self.pack(epoch, lacking & TREES)))
            yield Step(early, (jobs, "early", epoch, lacking), "puts the tree's pack first")

    def _early(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        after = self._with_segment(shared, epoch, lacking & TREES, 0)
        yield Step(after, (jobs, "data", epoch, lacking), "puts a checkpoint with the tree's row")

    def _meta(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        content = lacking & TREES
        after = shared._replace(packs=put(shared.packs, self.pack(epoch, content)))
        yield Step(after, (jobs, "segment", epoch, lacking), f"puts a pack of {said(content)}")
        if self.scenario.checkpoints and lacking & FILES:
            point = self._with_segment(shared, epoch, lacking & FILES, 0)
            yield Step(point, (jobs, "meta", epoch, content), "puts a checkpoint of the files")

    def _segment(
        self, shared: Shared, jobs: Any, epoch: int, lacking: int, then: str = "merge"
    ) -> Iterator[Step]:
        root = jobs[0] if jobs[0] > 0 else 0
        after = self._with_segment(shared, epoch, lacking, root)
        yield Step(after, (jobs, then, epoch, lacking), f"puts a segment of {said(lacking)}")

    def _late(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        packs = [self.pack(epoch, part) for part in (lacking & FILES, lacking & TREES) if part]
        after = shared._replace(packs=put(shared.packs, *packs))
        yield Step(after, (jobs, "check", epoch, 0), "puts the packs")

    def _merge(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        yield from self._check(shared, jobs, epoch, lacking)
        marker = shared.markers[-1][0] if shared.markers else None
        if not self.scenario.merges or shared.epoch != epoch:
            return
        _, trusted = self.names.read(shared.names, epoch, marker)
        for pair in permutations(sorted(trusted), 2):
            name = self._merged(shared, epoch, pair)
            if name is not None:
                yield Step(shared, (jobs, "store", epoch, name), "lists, and plans a merge of two")

    def _merged(self, shared: Shared, epoch: int, pair: tuple[Name, ...]) -> Name | None:
        """As `merging._merge`: of an id that both have, the row of one stays."""
        places: dict[int, int] = {}
        for name in reversed(pair):
            places |= dict(places_of(name.segment))
        roots = pair[0].segment.roots | pair[1].segment.roots
        merged = Segment(epoch, rows_of(places), roots)
        mentioned = {one for name, _ in shared.names for one in (name.segment, *name.supersedes)}
        if merged in mentioned and self.without != "own name":
            return None
        return Name(merged, tuple(sorted(name.segment for name in pair)))

    def _store(self, shared: Shared, jobs: Any, epoch: int, name: Name) -> Iterator[Step]:
        if self.without == "merge epoch":  # it counts whenever it comes
            name = name._replace(segment=name.segment._replace(epoch=shared.epoch))
        after = shared._replace(names=put(shared.names, name))
        yield Step(after, (jobs, "check", epoch, 0), "puts the merge")

    def _check(self, shared: Shared, jobs: Any, epoch: int, lacking: int) -> Iterator[Step]:
        if shared.epoch != epoch and self.without != "recheck":
            label = f"sees epoch {shared.epoch}, and begins again"
            yield Step(shared, (jobs, "begin"), label)
        elif jobs[0] <= 0:
            yield Step(shared, (jobs[1:], "begin"), "ends, with no pointer to publish")
        else:
            yield Step(shared, (jobs, "publish", FRESH), "sees that the epoch is still the same")

    def _publish(self, shared: Shared, jobs: Any, since: int) -> Iterator[Step]:
        after = shared._replace(roots=shared.roots | jobs[0])
        yield Step(after, (jobs[1:], "begin"), f"publishes {said(jobs[0])}")

    def pack(self, epoch: int, content: int) -> int:
        """The name of a pack."""
        return pack_of(0 if self.without == "header" else epoch, content)

    def _with_segment(self, shared: Shared, epoch: int, objects: int, root: int) -> Shared:
        places = {
            one: self.pack(epoch, objects & (FILES if one & FILES else TREES))
            for one in bits(objects)
        }
        if places:
            name = Name(Segment(epoch, rows_of(places), root))
            return shared._replace(names=put(shared.names, name))
        return shared
