"""What was measured, as values, and their file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

# What is measured, and the name of who does it.
Step = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One step by one tool in one round. The tools are dvlite, DVC and the yardsticks."""

    workload: str
    step: str
    tool: str
    round: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes that one tool caused, or (tool `data`) that the workload has.

    The size named `files` is the number of files of the workload.
    """

    workload: str
    name: str
    tool: str
    round: int
    size_bytes: int


@dataclass(slots=True)
class Results:
    """All samples and sizes of a work folder, and the facts they hold under."""

    facts: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)

    def forget(self, workload: str) -> None:
        """Drop what an earlier run measured on a workload."""
        self.samples = [sample for sample in self.samples if sample.workload != workload]
        self.sizes = [size for size in self.sizes if size.workload != workload]

    def seconds(self, workload: str, step: str, tool: str) -> float | None:
        """Median seconds of a step, None if it was not measured."""
        return _median(s.seconds for s in self._samples(workload, step, tool))

    def peak_bytes(self, workload: str, step: str, tool: str) -> float | None:
        """Highest memory of a step in any round, None if it was not measured."""
        return max((s.peak_bytes for s in self._samples(workload, step, tool)), default=None)

    def size_bytes(self, workload: str, name: str, tool: str) -> float | None:
        """Median of a size, None if it was not measured."""
        key = (workload, name, tool)
        return _median(s.size_bytes for s in self.sizes if (s.workload, s.name, s.tool) == key)

    def steps(self, workload: str) -> list[str]:
        """The steps of a workload in the order they ran."""
        return list(dict.fromkeys(s.step for s in self.samples if s.workload == workload))

    def size_names(self, workload: str) -> list[str]:
        """The names of a workload's sizes in the order they were taken."""
        return list(dict.fromkeys(s.name for s in self.sizes if s.workload == workload))

    def paired(self, workload: str, ours: Sequence[Step], theirs: Sequence[Step]) -> float | None:
        """Median over the rounds of what one sum of steps takes beside another in the same round.

        None when no round has all of them.
        """
        ratios = []
        for number in range(self.rounds(workload)):
            sums = [self._sum_in_round(workload, steps, number) for steps in (ours, theirs)]
            if sums[0] is not None and sums[1]:
                ratios.append(sums[0] / sums[1])
        return _median(ratios)

    def _sum_in_round(self, workload: str, steps: Sequence[Step], number: int) -> float | None:
        medians = [
            _median(s.seconds for s in self._samples(workload, *step) if s.round == number)
            for step in steps
        ]
        found = [seconds for seconds in medians if seconds is not None]
        return sum(found) if len(found) == len(medians) else None

    def rounds(self, workload: str) -> int:
        """How many rounds a workload was measured."""
        return 1 + max((s.round for s in self.samples if s.workload == workload), default=-1)

    def _samples(self, workload: str, step: str, tool: str) -> list[Sample]:
        key = (workload, step, tool)
        return [s for s in self.samples if (s.workload, s.step, s.tool) == key]


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def load(path: Path) -> Results:
    """Read results; none where there is no file."""
    if not path.exists():
        return Results()
    raw = json.loads(path.read_text())
    return Results(
        raw["facts"],
        [Sample(**sample) for sample in raw["samples"]],
        [Size(**size) for size in raw["sizes"]],
    )


def save(path: Path, results: Results) -> None:
    """Write results as JSON."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
