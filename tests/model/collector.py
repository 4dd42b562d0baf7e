"""What gc does, as steps of the model: see `protocol`.

Owns the look, the plan (`storage.remotegc.plan_gc` with its walk and census) and its execution.
What depends on sizes in the code is free here: whether what lives in sound packs is moved too,
and whether sound segments stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.model.protocol import (
    FILES,
    FRESH,
    NEEDS,
    OBJECTS,
    OLD,
    TREES,
    Marker,
    Name,
    Names,
    Scenario,
    Segment,
    Shared,
    Step,
    bits,
    drop,
    pack_of,
    places_of,
    put,
    rows_of,
    said,
)


class Plan(NamedTuple):
    """What a gc is going to do. `sources`: packs that it reads; `copies`: those that it writes."""

    epoch: int
    sources: tuple[int, ...] = ()
    copies: tuple[int, ...] = ()
    segment: Segment | None = None
    marker: Marker | None = None
    packs: tuple[int, ...] = ()
    names: tuple[Name, ...] = ()


@dataclass(slots=True)
class Census:
    """What of a remote is alive and where, as gc counts it."""

    look: Shared
    readable: list[tuple[Name, int]]
    trusted: frozenset[Name]
    condemned: set[int]
    alive: int = 0
    roots: int = 0
    chosen: dict[int, int] = field(default_factory=dict)
    live_in: dict[int, int] = field(default_factory=dict)
    lonely: bool = False

    def rank(self, pack: int) -> tuple[int, int]:
        """As `remotecensus._choose`: packs that stay first, those that are gone last."""
        present = any(pack == one for one, _ in self.look.packs)
        return (int(pack in self.condemned) if present else 2), pack


class Collector:
    """`dvlite gc --remote`, a step at a time."""

    def __init__(self, scenario: Scenario, names: Names) -> None:
        self.scenario, self.names, self.without = scenario, names, scenario.without

    def steps(self, shared: Shared, local: tuple[Any, ...]) -> Iterator[Step]:
        """All that can happen next. `local`: the step, and what belongs to that."""
        step, *rest = local
        if step != "idle" and self.scenario.deaths:
            yield Step(shared, ("idle",), "dies")
        yield from getattr(self, f"_{step}")(shared, *rest)

    def _idle(self, shared: Shared) -> Iterator[Step]:
        if shared.runs:
            after = shared._replace(runs=shared.runs - 1)
            if self.without == "index first":
                yield Step(after, ("asked", shared.roots), "asks what is needed")
            else:
                look = shared._replace(roots=0, runs=0)
                yield Step(after, ("looked", look), f"lists, in epoch {shared.epoch}")

    def _asked(self, shared: Shared, roots: int) -> Iterator[Step]:
        look = shared._replace(roots=0, runs=0)
        yield from self._plans(shared, look, roots, "lists, and plans")

    def _looked(self, shared: Shared, look: Shared) -> Iterator[Step]:
        yield from self._plans(shared, look, shared.roots, "asks what is needed, and plans")

    def _plans(self, shared: Shared, look: Shared, roots: int, label: str) -> Iterator[Step]:
        census = self._count(shared, look, roots)
        if census is None:
            yield Step(shared, ("idle",), "finds something missing, and stops")
            return
        ways = ((0, 0), (1, 0), (0, 1)) if self.scenario.choices else ((0, 0),)
        for plan in dict.fromkeys(self._plan(census, *way) for way in ways):
            yield Step(shared, self._first(plan), f"{label}: {_words(plan)}")

    def _first(self, plan: Plan) -> tuple[Any, ...]:
        if plan.marker is None:
            return self._deleting(plan)
        if self.without == "name first":
            return ("mark", plan)
        return ("copy" if plan.copies else "name", plan)

    @staticmethod
    def _deleting(plan: Plan) -> tuple[Any, ...]:
        rest = plan._replace(sources=(), copies=(), segment=None, marker=None)
        return ("delete", rest) if plan.packs or plan.names else ("idle",)

    # -- counting ------------------------------------------------------------------------------

    def _count(self, shared: Shared, look: Shared, roots: int) -> Census | None:
        """What `Walk` and `Census.count` find; None where they stop."""
        marker = look.markers[-1][0] if look.markers else None
        readable, trusted = self.names.read(look.names, look.epoch, marker)
        condemned = {pack for one, _ in look.markers for pack in one.condemned}
        census = Census(
            look, [one for one in look.names if one[0] in readable], trusted, condemned, roots=roots
        )
        young = 0
        for name, age in census.readable:
            if age != OLD and name in trusted and self.without != "young":
                census.roots |= name.segment.roots
                young |= sum(one for one, _ in places_of(name.segment))
        starts = census.roots | (young & TREES if self.without != "closure" else 0)
        if not self._walk(shared, census, starts):
            return None
        census.alive |= young
        return census if self._choose(census) else None

    def _walk(self, shared: Shared, census: Census, starts: int) -> bool:
        there = sum(
            one
            for number, one in enumerate(OBJECTS)
            if any(name.segment.rows[number] for name, _ in census.readable)
        )
        census.roots &= there
        present = {pack for pack, _ in shared.packs}
        for tree in bits(starts & there):
            places = {dict(places_of(name.segment)).get(tree) for name, _ in census.readable}
            if not places & present or NEEDS[tree] & ~there:
                return False
            census.alive |= tree | NEEDS[tree]
        return True

    def _choose(self, census: Census) -> bool:
        trusted = 0
        for name, _ in census.readable:
            for one, pack in places_of(name.segment):
                if one & census.alive:
                    best = census.chosen.get(one, pack)
                    census.chosen[one] = min(best, pack, key=census.rank)
                    trusted |= one if name in census.trusted else 0
        for one, pack in census.chosen.items():
            if census.rank(pack)[0] == 2:
                return False
            census.live_in[pack] = census.live_in.get(pack, 0) | one
        census.lonely = bool(census.alive & ~trusted)
        if self.without == "lonely":
            census.lonely = False
            census.chosen = {one: pack for one, pack in census.chosen.items() if one & trusted}
        return True

    # -- deciding ------------------------------------------------------------------------------

    def _plan(self, census: Census, join: int, stay: int) -> Plan:
        look, epoch = census.look, census.look.epoch
        moved, dead = set(), set()
        for pack, age in look.packs:
            lives = census.live_in.get(pack, 0)
            if pack in census.condemned:
                if lives and self.without not in ("copy", "for ever"):
                    moved.add(pack)
            elif age == OLD:
                if not lives:
                    dead.add(pack)
                elif join:
                    moved.add(pack)
        going = moved | dead
        staying = {name for name in census.trusted if stay and self._stays(census, going, name)}
        plan = Plan(epoch, packs=self._due(census), names=self._old(census))
        if not (going or census.lonely or join):
            return plan
        return self._begin(census, moved, dead, staying)._replace(
            packs=plan.packs, names=plan.names
        )

    def _begin(self, census: Census, moved: set[int], dead: set[int], staying: set[Name]) -> Plan:
        epoch = census.look.epoch
        covered = sum({one for name in staying for one, _ in places_of(name.segment)})
        places = {one: pack for one, pack in census.chosen.items() if not one & covered}
        content = sum(one for one, pack in places.items() if pack in moved)
        header = 0 if self.without == "header" else epoch
        copies = tuple(pack_of(header, content & part) for part in (FILES, TREES) if content & part)
        for one in bits(content):
            places[one] = pack_of(header, content & (FILES if one & FILES else TREES))
        segment = Segment(epoch, rows_of(places), census.roots)
        new = {name.segment for name in staying} | ({segment} if places or census.roots else set())
        condemned = dead | (moved - census.condemned)
        if self.without != "own copies":
            condemned -= set(copies)
        sources = tuple(sorted(set(census.chosen.values()) & moved))
        marker = Marker(frozenset(new), frozenset(condemned))
        return Plan(epoch, sources, copies, segment if segment in new else None, marker)

    @staticmethod
    def _stays(census: Census, going: set[int], name: Name) -> bool:
        packs = {pack for _, pack in places_of(name.segment)}
        dead = any(not one & census.alive for one, _ in places_of(name.segment))
        present = {pack for pack, _ in census.look.packs}
        return not dead and packs.isdisjoint(going | census.condemned) and packs <= present

    def _due(self, census: Census) -> tuple[int, ...]:
        """Packs that old markers condemned."""
        markers = census.look.markers
        late = [marker for marker, age in markers if age == OLD or self.without == "grace"]
        due = {pack for marker in late for pack in marker.condemned}
        if self.without == "for ever":
            due -= census.live_in.keys()
        return tuple(sorted(due & {pack for pack, _ in census.look.packs}))

    def _old(self, census: Census) -> tuple[Name, ...]:
        """Segments that old markers left out."""
        hasty = self.without == "segments late"
        late = {
            number: marker
            for number, (marker, age) in enumerate(census.look.markers, 1)
            if age == OLD or hasty
        }
        valid = {name.segment for name in census.trusted}
        return tuple(
            name
            for name, age in census.look.names
            if (age == OLD or hasty)
            and name.segment not in valid
            and any(
                epoch > name.segment.epoch and name.segment not in marker.new
                for epoch, marker in late.items()
            )
        )

    # -- doing ---------------------------------------------------------------------------------

    def _copy(self, shared: Shared, plan: Plan) -> Iterator[Step]:
        if not set(plan.sources) <= {pack for pack, _ in shared.packs}:
            yield Step(shared, ("idle",), "finds a pack gone, and stops")
            return
        after = shared._replace(packs=put(shared.packs, *plan.copies))
        yield Step(after, ("name", plan), "copies out of packs that go")

    def _name(self, shared: Shared, plan: Plan) -> Iterator[Step]:
        after = shared
        if plan.segment is not None:
            after = shared._replace(names=put(shared.names, Name(plan.segment)))
        last = self.without == "name first"
        yield Step(after, self._deleting(plan) if last else ("mark", plan), "names what lives")

    def _mark(self, shared: Shared, plan: Plan) -> Iterator[Step]:
        if shared.epoch != plan.epoch and self.without != "absent":
            yield Step(shared, ("idle",), "finds the next epoch begun, and stops")
            return
        assert plan.marker is not None
        markers = list(shared.markers)
        markers[plan.epoch : plan.epoch + 1] = [(plan.marker, FRESH)]
        after = shared._replace(markers=tuple(markers))
        following = self._deleting(plan)
        if self.without == "name first":
            following = ("copy" if plan.copies else "name", plan)
        yield Step(after, following, f"begins epoch {plan.epoch + 1}")

    def _delete(self, shared: Shared, plan: Plan) -> Iterator[Step]:
        """Packs first."""
        if plan.packs:
            pack = plan.packs[0]
            after = shared._replace(packs=drop(shared.packs, pack))
            rest = plan._replace(packs=plan.packs[1:])
            yield Step(after, self._deleting(rest), f"deletes a pack of {said(pack % 16)}")
        else:
            name, *others = plan.names
            after = shared._replace(names=drop(shared.names, name))
            rest = plan._replace(names=tuple(others))
            rows = said(sum(one for one, _ in places_of(name.segment)))
            yield Step(after, self._deleting(rest), f"deletes a segment of {rows}")


def _words(plan: Plan) -> str:
    words = []
    if plan.marker is not None:
        words = [f"{said(pack % 16)} of epoch {pack // 16}" for pack in plan.marker.condemned]
        words = ["a new epoch, condemned: " + (", ".join(words) or "nothing")]
    if plan.packs or plan.names:
        words.append(f"{len(plan.packs)} packs and {len(plan.names)} segments to delete")
    return "; ".join(words) or "nothing to do"
