"""Every state that a scenario can reach, breadth first, and the first one that lost something.

Owns time, git (pointers that are published may go again), the invariant, and the counting. A state
is one number: the remote's and each process's memory, each a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.model.collector import Collector
from tests.model.protocol import (
    FILES,
    FRESH,
    OBJECTS,
    OLD,
    OLDER,
    TREES,
    Name,
    Names,
    Pusher,
    Scenario,
    Segment,
    Shared,
    bits,
    closure,
    pack_of,
    rows_of,
    said,
)

# Room for the number of one memory in a state.
_BITS = 22
_MASK = (1 << _BITS) - 1


@dataclass(slots=True)
class Found:
    """What an exploration saw. `trace`: the steps to the loss; None where there is none."""

    states: int
    complete: bool
    trace: list[str] | None = None


class _Numbers:
    """Values, each with its number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._of: dict[Any, int] = {}

    def of(self, value: Any) -> int:
        number = self._of.get(value)
        if number is None:
            number = self._of[value] = len(self.values)
            self.values.append(value)
            assert number <= _MASK
        return number


@dataclass(slots=True)
class _Tables:
    """What was worked out once. `steps`: for each process, of the remote and its memory, what they
    add to the state. `around`: for each remote, what git and the clock add, and whether the grace
    period would be over then."""

    remotes: _Numbers = field(default_factory=_Numbers)
    memories: _Numbers = field(default_factory=_Numbers)
    steps: list[dict[int, tuple[int, ...]]] = field(default_factory=list)
    around: dict[int, tuple[tuple[int, ...], int, bool]] = field(default_factory=dict)
    sound: dict[int, bool] = field(default_factory=dict)


class Explorer:
    """One scenario."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.names = scenario, Names(scenario.without)
        pusher, collector = Pusher(scenario, self.names), Collector(scenario, self.names)
        self.processes: list[Pusher | Collector] = [pusher] * len(scenario.jobs)
        self.processes += [collector] * scenario.gcs
        self.tables = _Tables(steps=[{} for _ in self.processes])
        self.shifts = [_BITS * (number + 1) for number in range(len(self.processes))]
        self.twins = _twins(scenario)

    def explore(self, limit: int) -> Found:
        """All states, or about `limit` of them; it stops at the first loss."""
        start = self._start()
        parents, level = {start: -1}, [start]
        while level:
            following = []
            for state in level:
                for after in self._after(state):
                    if after in parents:
                        continue
                    parents[after] = state
                    if not self._is_sound(after & _MASK):
                        return Found(len(parents), False, self._trace(parents, after))
                    following.append(after)
                if len(parents) >= limit:
                    return Found(len(parents), False)
            level = following
        return Found(len(parents), True)

    # -- states --------------------------------------------------------------------------------

    def _start(self) -> int:
        remote, of = _made(self.scenario), self.tables.memories.of
        memories = [of((jobs, "begin")) for jobs in self.scenario.jobs]
        memories += [of(("idle",))] * self.scenario.gcs
        state = self.tables.remotes.of(remote)
        return state + sum(one << at for one, at in zip(memories, self.shifts, strict=True))

    def _same(self, state: int) -> int:
        """Which of two alike did what makes no difference."""
        for first, second in self.twins:
            difference = ((state >> second) & _MASK) - ((state >> first) & _MASK)
            if difference < 0:
                state += (difference << first) - (difference << second)
        return state

    # -- steps ---------------------------------------------------------------------------------

    def _after(self, state: int) -> list[int]:
        remote, found = state & _MASK, []
        for number, shift in enumerate(self.shifts):
            memory = (state >> shift) & _MASK
            key = memory << _BITS | remote
            steps = self.tables.steps[number].get(key)
            if steps is None:
                made = self._work_out(number, remote, memory)
                steps = self.tables.steps[number][key] = tuple(add for add, _ in made)
            found += [state + add for add in steps]
        around = self.tables.around.get(remote)
        if around is None:
            around = self.tables.around[remote] = self._around(remote)
        gone, aged, over = around
        found += [state + add for add in gone]
        if aged:
            found += self._aged(state, aged, over)
        return [self._same(one) for one in found] if self.twins else found

    def _work_out(self, number: int, remote: int, memory: int) -> list[tuple[int, str]]:
        """What each step of a process adds to the state, and words for it."""
        tables, shift = self.tables, self.shifts[number]
        shared, local = tables.remotes.values[remote], tables.memories.values[memory]
        found = []
        for step in self.processes[number].steps(shared, local):
            add = tables.remotes.of(step.shared) - remote
            add += (tables.memories.of(step.local) - memory) << shift
            if add:
                found.append((add, step.label))
        return found

    def _around(self, remote: int) -> tuple[tuple[int, ...], int, bool]:
        """What git and the clock can do."""
        shared: Shared = self.tables.remotes.values[remote]
        of = self.tables.remotes.of
        gone = [of(shared._replace(roots=shared.roots & ~tree)) for tree in bits(shared.roots)]
        ages = {age for part in shared[:3] for _, age in part}
        over = OLDER in ages
        aged = _aged(shared, OLDER, OLD) if over else _aged(shared, FRESH, OLDER)
        return tuple(one - remote for one in gone), of(aged) - remote, over

    def _aged(self, state: int, add: int, over: bool) -> list[int]:
        """Unless a pusher would have waited too long."""
        values = self.tables.memories.values
        after = state + add
        for shift in self.shifts[: len(self.scenario.jobs)]:
            number = (state >> shift) & _MASK
            local = values[number]
            if local[1] == "publish":
                if over and local[2] == OLDER and self.scenario.without != "window":
                    return []
                if not over and local[2] == FRESH:
                    later = self.tables.memories.of((local[0], "publish", OLDER))
                    after += (later - number) << shift
        return [after]

    # -- the invariant -------------------------------------------------------------------------

    def _is_sound(self, remote: int) -> bool:
        sound = self.tables.sound.get(remote)
        if sound is None:
            shared = self.tables.remotes.values[remote]
            sound = self.tables.sound[remote] = not self.lost(shared)
        return sound

    def lost(self, shared: Shared) -> int:
        """What of the published no reader finds in a pack that is there."""
        marker = shared.markers[-1][0] if shared.markers else None
        readable, _ = self.names.read(shared.names, shared.epoch, marker)
        present = {pack for pack, _ in shared.packs}
        there = 0
        for name in readable:
            for one, pack in zip(OBJECTS, name.segment.rows, strict=True):
                there |= one if pack in present else 0
        return closure(shared.roots) & ~there

    # -- telling -------------------------------------------------------------------------------

    def _trace(self, parents: dict[int, int], state: int) -> list[str]:
        states = [state]
        while parents[states[-1]] >= 0:
            states.append(parents[states[-1]])
        states.reverse()
        words = [self._label(*pair) for pair in pairwise(states)]
        return [*words, f"lost: {said(self.lost(self.tables.remotes.values[state & _MASK]))}"]

    def _label(self, before: int, after: int) -> str:
        """How one state became the other. Twins may have changed places meanwhile."""
        remote, jobs = before & _MASK, len(self.scenario.jobs)
        for number, shift in enumerate(self.shifts):
            for add, label in self._work_out(number, remote, (before >> shift) & _MASK):
                if self._same(before + add) == after:
                    is_pusher = number < jobs
                    who = f"pusher {number + 1}" if is_pusher else f"gc {number - jobs + 1}"
                    return f"{who}: {label}"
        if (before ^ after) & _MASK and after in self._gone(before):
            return "git: a pointer is gone"
        return "clock: the grace period " + ("is over" if self._around(remote)[2] else "begins")

    def _gone(self, state: int) -> list[int]:
        return [self._same(state + add) for add in self._around(state & _MASK)[0]]


def _made(scenario: Scenario) -> Shared:
    """The remote at the beginning."""
    packs, names = set(), []
    for tree in scenario.start:
        objects = closure(tree)
        places = {
            one: pack_of(0, objects & (FILES if one & FILES else TREES)) for one in bits(objects)
        }
        packs |= set(places.values())
        names.append((Name(Segment(0, rows_of(places), tree)), OLD))
    return Shared(
        tuple(sorted((pack, OLD) for pack in packs)),
        tuple(sorted(names)),
        (),
        sum(scenario.start),
        scenario.runs,
    )


def _twins(scenario: Scenario) -> list[tuple[int, int]]:
    """Where the memories of neighbours that are alike lie."""
    jobs: list[Any] = [*scenario.jobs, *[None] * scenario.gcs]
    alike = [number for number in range(len(jobs) - 1) if jobs[number] == jobs[number + 1]]
    return [(_BITS * (number + 1), _BITS * (number + 2)) for number in alike]


def _aged(shared: Shared, before: int, after: int) -> Shared:
    parts = [
        tuple((one, after if age == before else age) for one, age in part) for part in shared[:3]
    ]
    return Shared(*parts, shared.roots, shared.runs)
