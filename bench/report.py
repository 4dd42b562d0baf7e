"""The page that tells the figures: medians, ratios, goals, memory and bytes."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.goals import GOALS, MB, SIZE_GOALS, peak_bound
from bench.results import Results
from bench.tools import Tool

Rows = Sequence[Sequence[str]]

TITLES = {
    "start": "Start-up",
    "small": "small: 100,000 files around 8 KB in 100 folders, half of them random bytes",
    "big": "big: one file of 2 GB, float16 weights",
    "table": "table: 870 MB of CSV; version 2 has 100 rows inserted and 50 cells changed",
    "labels": "labels: 20,000 files of JSON and label text",
    "tensors": "tensors: 256 MB of float16 weights; in version 2 every value moved a little",
    "million": "million: 1,000,000 tiny files in 1,000 folders, dvlite alone",
}
INTRODUCTION = """# Benchmarks

`scripts/bench` makes these figures: medians of {rounds} rounds on one machine. In each round both
tools run each step in turn, on data made from fixed seeds, with the remote in a folder on the same
disk. What an earlier step wrote is on disk before a step's clock starts. Both tools copy between
cache and workspace, and stage their pointers in git.
"""


def facts(work: Path, tools: Iterable[Tool], scale: float) -> dict[str, str]:
    """Return what the figures depend on, without naming the machine."""
    df = ["df", "--output=fstype", str(work)]
    kind = subprocess.run(df, capture_output=True, text=True, check=True).stdout.split()[-1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return {
        **{tool.name: tool.version for tool in tools},
        "Python": platform.python_version(),
        "git": git.split()[2],
        "system": f"{platform.system()}, {platform.machine()}",
        "cores": str(os.cpu_count()),
        "memory": f"{memory / 1e9:.0f} GB",
        "file system": kind,
        "scale": f"{scale:g}",
    }


def page(results: Results) -> str:
    """Return the whole page in Markdown."""
    measured = [name for name in TITLES if results.steps(name)]
    rounds = max((results.rounds(name) for name in measured), default=0)
    parts = [INTRODUCTION.format(rounds=rounds)]
    parts.append(_table(("what", "value"), list(results.facts.items())))
    if results.facts.get("scale") != "1":
        parts.append("The data is not of full size: the goals do not apply.\n")
    parts.append("## Goals\n\n" + _table(("step", "goal", "reached", "met"), _goals(results)))
    for name in measured:
        parts.append(f"## {TITLES[name]}\n")
        parts.append(_steps(results, name))
        if results.size_names(name):
            parts.append(_sizes(results, name))
    head = ("workload", "dvlite", "DVC", "goal", "met")
    parts.append("## Peak memory of one process\n\n" + _table(head, _peaks(results, measured)))
    return "\n".join(parts)


def _goals(results: Results) -> Rows:
    rows = []
    for goal in GOALS:
        if (reached := goal.result(results)) is not None:
            value, met = reached
            unit = "s" if goal.against == "seconds" else "×"
            name = f"{goal.workload}: {goal.step}"
            rows.append((name, goal.text, f"{value:.2f} {unit}", _met(met)))
    for size in SIZE_GOALS:
        stored = results.size_bytes(size.workload, size.name, "dvlite")
        whole = results.size_bytes(size.workload, size.name, "data")
        if stored is not None and whole:
            part = stored / whole
            text, name = f"≤ {size.bound:.1%} of the file", f"{size.workload}: {size.name}"
            rows.append((name, text, f"{part:.3%}", _met(part <= size.bound)))
    return rows


def _steps(results: Results, workload: str) -> str:
    rows = []
    for step in results.steps(workload):
        seconds = {
            tool: results.seconds(workload, step, tool) for tool in ("dvlite", "DVC", "tar", "find")
        }
        ours, theirs = seconds["dvlite"], seconds["DVC"]
        others = [f"`{tool}` {_seconds(seconds[tool])}" for tool in ("tar", "find")]
        faster = f"{theirs / ours:.1f}" if ours and theirs else ""
        beside = ", ".join(other for other in others if not other.endswith("` "))
        rows.append((step, _seconds(ours), _seconds(theirs), faster, beside))
    return _table(("step", "dvlite", "DVC", "times faster", "beside"), rows)


def _sizes(results: Results, workload: str) -> str:
    rows = []
    for name in results.size_names(workload):
        tools = ("data", "dvlite", "DVC")
        data, ours, theirs = (results.size_bytes(workload, name, tool) for tool in tools)
        if name != "files":
            rows.append((name, _megabytes(data), _megabytes(ours), _megabytes(theirs)))
    return _table(("bytes", "data", "dvlite", "DVC"), rows) if rows else ""


def _peaks(results: Results, workloads: Sequence[str]) -> Rows:
    rows = []
    for workload in workloads:
        ours, theirs = (_highest(results, workload, tool) for tool in ("dvlite", "DVC"))
        bound = peak_bound(results, workload)
        met = _met(ours[0] <= bound)
        rows.append((workload, _peak(ours), _peak(theirs), f"≤ {bound / MB:.0f} MB", met))
    return rows


def _highest(results: Results, workload: str, tool: str) -> tuple[float, str]:
    steps = results.steps(workload)
    return max((results.peak_bytes(workload, step, tool) or 0, step) for step in steps)


def _peak(peak: tuple[float, str]) -> str:
    return f"{peak[0] / MB:.0f} MB ({peak[1]})" if peak[0] else ""


def _met(met: bool) -> str:
    return "yes" if met else "**no**"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3g} s" if seconds < 100 else f"{seconds:.0f} s"


def _megabytes(size_bytes: float | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / MB:,.2f} MB"


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
