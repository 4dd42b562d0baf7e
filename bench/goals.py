"""What is promised: a bound for a step, against DVC, a yardstick or a plain number."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results import Results, Step
from bench.steps import EVERYTHING, LAST, PULL_CHANGED, STORED, UNCHANGED

MB = 1_000_000
# For any single file, and for the fixed part of a folder; a folder may add the second per file.
PEAK_BYTES, PEAK_BYTES_A_FILE = 300 * MB, 500

# What the page tells, and whether the goal is met.
Reached = tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a step's median: at least `bound` times faster than DVC, or at most `bound` times
    the seconds of tar or find, or at most `bound` seconds (`against` is "seconds").
    """

    workload: str
    step: str
    against: str
    bound: float

    @property
    def text(self) -> str:
        """The goal as the page tells it."""
        if self.against == "DVC":
            return f"≥ {self.bound:g} × as fast as DVC"
        if self.against == "seconds":
            return f"≤ {self.bound:g} s"
        return f"≤ {self.bound:g} × the time of `{self.against}`"

    @property
    def subject(self) -> str:
        """What the goal is about."""
        return f"{self.workload}: {self.step}"

    def result(self, results: Results) -> Reached | None:
        """What was reached and whether that meets the goal; None if it was not measured."""
        ours = results.seconds(self.workload, self.step, "dvlite")
        if ours is None:
            return None
        if self.against == "seconds":
            return f"{ours:.2f} s", ours <= self.bound
        theirs = results.seconds(self.workload, self.step, self.against)
        if theirs is None:
            return None
        if self.against == "DVC":
            return f"{theirs / ours:.2f} ×", theirs / ours >= self.bound
        return f"{ours / theirs:.2f} ×", ours / theirs <= self.bound


@dataclass(frozen=True, slots=True)
class PairedGoal:
    """A step takes at most `bound` times as long as other steps together, in the same round.

    With `compressed`, the others' time counts by the part that the bytes on the remote are of the
    data: what a program gains that sends fewer of them.
    """

    workload: str
    step: str
    beside: tuple[Step, ...]
    bound: float
    compressed: bool = False

    @property
    def text(self) -> str:
        """The goal as the page tells it."""
        others = " + ".join(f"{step} by `{who}`" for step, who in self.beside)
        part = ", by the bytes to send" if self.compressed else ""
        return f"≤ {self.bound:g} × the time of {others}{part}"

    @property
    def subject(self) -> str:
        """What the goal is about."""
        return f"{self.workload}: {self.step}"

    def result(self, results: Results) -> Reached | None:
        """What was reached and whether that meets the goal; None if it was not measured."""
        ratio = results.paired(self.workload, [(self.step, "dvlite")], self.beside)
        if ratio is not None and self.compressed:
            stored = results.size_bytes(self.workload, STORED, "dvlite")
            whole = results.size_bytes(self.workload, STORED, "data")
            ratio = ratio * whole / stored if stored and whole else None
        return None if ratio is None else (f"{ratio:.2f} ×", ratio <= self.bound)


@dataclass(frozen=True, slots=True)
class SizeGoal:
    """A bound on a size as a part of the data's, or of another size `beside` it."""

    workload: str
    name: str
    bound: float
    beside: str | None = None

    @property
    def text(self) -> str:
        """The goal as the page tells it."""
        if self.beside:
            return f"≤ {self.bound:g} × {self.beside}"
        return f"≤ {self.bound:.1%} of the data"

    @property
    def subject(self) -> str:
        """What the goal is about."""
        return f"{self.workload}: {self.name}"

    def result(self, results: Results) -> Reached | None:
        """What was reached and whether that meets the goal; None if it was not measured."""
        stored = results.size_bytes(self.workload, self.name, "dvlite")
        other = (self.beside, "dvlite") if self.beside else (self.name, "data")
        whole = results.size_bytes(self.workload, *other)
        if stored is None or not whole:
            return None
        part = stored / whole
        return f"{part:.2f} ×" if self.beside else f"{part:.3%}", part <= self.bound


GOALS = (
    Goal("start", "--version", "seconds", 0.15),
    Goal("small", "add", "DVC", 8),
    Goal("small", "add after 1 file changed", "DVC", 8),
    Goal("small", "status", "DVC", 8),
    Goal("small", "checkout", "tar", 1.5),
    Goal("small", "push", "DVC", 5),
    Goal("small", "push with nothing to do", "DVC", 10),
    Goal("small", "pull", "DVC", 5),
    Goal("small", "pull", "tar", 2.5),
    Goal("big", "add", "DVC", 4),
    Goal("big", "checkout", "DVC", 1),
    Goal("big", "checkout, nothing in memory", "DVC", 1),
    Goal("table", "add version 2", "DVC", 2),
    Goal("table", "push version 2", "DVC", 1.5),
    Goal("stages", UNCHANGED, "DVC", 10),
    Goal("million", "status", "find", 3),
)
SIZE_GOALS = (
    SizeGoal("table", "newly stored for version 2", 0.003),
    SizeGoal("versions", EVERYTHING, 2, LAST),
    SizeGoal("checkpoints", EVERYTHING, 0.12),
)
S3_GOALS = (
    Goal("small on S3", "push", "DVC", 25),
    Goal("small on S3", "push with nothing to do", "DVC", 15),
    Goal("small on S3", "push after 1 file changed", "DVC", 15),
    Goal("small on S3", "pull", "DVC", 10),
    Goal("big on S3", "push", "DVC", 2),
    Goal("big on S3", "pull", "DVC", 3),
    PairedGoal("big on S3", "push", (("push", "s5cmd"),), 1.2),
    PairedGoal("big on S3", "fetch", (("fetch", "s5cmd"),), 1.3),
    PairedGoal("big on S3", "pull", (("fetch", "dvlite"), ("pull", "cp")), 1),
    PairedGoal("link on S3", "push", (("push", "s5cmd"),), 1.1, compressed=True),
    Goal("table on S3", "push version 1", "DVC", 1.5),
    Goal("table on S3", "push version 2", "DVC", 8),
    Goal("table on S3", PULL_CHANGED, "DVC", 5),
)
S3_SIZE_GOALS = (SizeGoal("table on S3", "newly stored for version 2", 0.003),)


def peak_bound(results: Results, workload: str) -> float:
    """Return the memory promised for a workload, in bytes."""
    # Two files are two versions of one path.
    files = results.size_bytes(workload, "files", "data") or 0
    return PEAK_BYTES + (PEAK_BYTES_A_FILE * files if files > 2 else 0)
