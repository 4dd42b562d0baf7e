"""What is promised: a bound for a step, against DVC, a yardstick or a plain number."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results import Results

MB = 1_000_000
# For any single file, and for the fixed part of a folder; a folder may add the second per file.
PEAK_BYTES, PEAK_BYTES_A_FILE = 300 * MB, 500


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

    def result(self, results: Results) -> tuple[float, bool] | None:
        """What was reached and whether that meets the goal; None if it was not measured."""
        ours = results.seconds(self.workload, self.step, "dvlite")
        if ours is None:
            return None
        if self.against == "seconds":
            return ours, ours <= self.bound
        theirs = results.seconds(self.workload, self.step, self.against)
        if theirs is None:
            return None
        if self.against == "DVC":
            return theirs / ours, theirs / ours >= self.bound
        return ours / theirs, ours / theirs <= self.bound


@dataclass(frozen=True, slots=True)
class SizeGoal:
    """A bound on a size, as a part of the data's size."""

    workload: str
    name: str
    bound: float


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
    Goal("million", "status", "find", 3),
)
SIZE_GOALS = (SizeGoal("table", "newly stored for version 2", 0.003),)


def peak_bound(results: Results, workload: str) -> float:
    """Return the memory promised for a workload, in bytes."""
    # Two files are two versions of one path.
    files = results.size_bytes(workload, "files", "data") or 0
    return PEAK_BYTES + (PEAK_BYTES_A_FILE * files if files > 2 else 0)
