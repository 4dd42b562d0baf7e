"""The page that tells the figures: medians, ratios, goals, memory and bytes."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.goals import (
    GOALS,
    MB,
    S3_GOALS,
    S3_SIZE_GOALS,
    SIZE_GOALS,
    Goal,
    PairedGoal,
    SizeGoal,
    peak_bound,
)
from bench.results import Results

Rows = Sequence[Sequence[str]]
AnyGoal = Goal | PairedGoal | SizeGoal

TITLES = {
    "start": "Start-up",
    "small": "small: 100,000 files around 8 KB in 100 folders, half of them random bytes",
    "big": "big: one file of 2 GB, float16 weights",
    "table": "table: 870 MB of CSV; version 2 has 100 rows inserted and 50 cells changed",
    "labels": "labels: 20,000 files of JSON and label text",
    "tensors": "tensors: 256 MB of float16 weights; in version 2 every value moved a little",
    "stages": "stages: a pipeline of 1,000 stages that read 100 small files each, all up to date",
    "million": "million: 1,000,000 tiny files in 1,000 folders, dvlite alone",
    "versions": "versions: 50 versions of a CSV table that grows from 500 MB, in each 0.2 % of rows"
    " appended and 100 cells corrected; DVC's bytes are computed",
    "checkpoints": "checkpoints: 20 of a model of 200 MB in 200 tensors, in each 5 % of the tensors"
    " new; DVC's bytes are computed",
    "drift": "drift: 20 checkpoints of the same model, in each every value moved a little; DVC's"
    " bytes are computed",
}
S3_TITLES = {
    "small on S3": "small on S3: 100,000 files around 8 KB in 100 folders",
    "big on S3": "big on S3: one file of 2 GB, float16 weights",
    "link on S3": "link on S3: the same file over a link of 1 Gbit/s",
    "table on S3": "table on S3: 870 MB of CSV; version 2 has 100 rows inserted and 50 cells"
    " changed",
}
YARDSTICKS = ("tar", "find", "s5cmd", "cp")
INTRODUCTION = """# Benchmarks

`scripts/bench` makes these figures: medians of several rounds on one machine. In each round both
tools run each step in turn, on data made from fixed seeds. What an earlier step wrote is on disk
before a step's clock starts. Both tools copy between cache and workspace, and stage their pointers
in git. Some goals are about two figures of the same round: there the median is of their ratios.
"""
FOLDER_HEAD = "## Goals, with the remote in a folder on the same disk\n"
S3_HEAD = """## Goals, with the remote on an S3 server

`scripts/bench --remote s3` makes these: SeaweedFS on the same machine, reached over loopback, so
that the server has its share of the machine's cores; a bucket for each tool, and one for `s5cmd`,
which copies the same files in and out.
"""


def facts(work: Path, versions: Mapping[str, str], scale: float) -> dict[str, str]:
    """Return the programs' versions and what else counts, without naming the machine."""
    df = ["df", "--output=fstype", str(work)]
    kind = subprocess.run(df, capture_output=True, text=True, check=True).stdout.split()[-1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    git = subprocess.run(["git", "version"], capture_output=True, text=True, check=True).stdout
    return {
        **versions,
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
    parts = [INTRODUCTION]
    parts.append(_table(("what", "value"), list(results.facts.items())))
    if results.facts.get("scale") != "1":
        parts.append("The data is not of full size: the goals do not apply.\n")
    parts += _section(results, FOLDER_HEAD, TITLES, (*GOALS, *SIZE_GOALS))
    parts += _section(results, S3_HEAD, S3_TITLES, (*S3_GOALS, *S3_SIZE_GOALS))
    return "\n".join(parts)


def _section(
    results: Results, start: str, titles: Mapping[str, str], goals: Sequence[AnyGoal]
) -> list[str]:
    """The page's part on one kind of remote; nothing where nothing of it was measured."""
    measured = [name for name in titles if results.steps(name)]
    if not measured:
        return []
    parts = [start, _table(("step", "goal", "reached", "met"), _goals(results, goals))]
    for name in measured:
        rounds = results.rounds(name)
        parts.append(f"### {titles[name]}\n\nRounds: {rounds}.\n")
        parts += [part for part in (_steps(results, name), _sizes(results, name)) if part]
    head = ("workload", "dvlite", "DVC", "goal", "met")
    parts.append("### Peak memory of one process\n\n" + _table(head, _peaks(results, measured)))
    return parts


def _goals(results: Results, goals: Sequence[AnyGoal]) -> Rows:
    rows = []
    for goal in goals:
        if (reached := goal.result(results)) is not None:
            rows.append((goal.subject, goal.text, reached[0], _met(reached[1])))
    return rows


def _steps(results: Results, workload: str) -> str:
    rows = []
    for step in results.steps(workload):
        ours, theirs = (results.seconds(workload, step, tool) for tool in ("dvlite", "DVC"))
        others = {who: results.seconds(workload, step, who) for who in YARDSTICKS}
        faster = f"{theirs / ours:.1f}" if ours and theirs else ""
        beside = ", ".join(f"`{who}` {_seconds(s)}" for who, s in others.items() if s is not None)
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
