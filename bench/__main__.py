"""Run the benchmarks: scripts/bench [options].

Makes the workloads, runs dvlite and DVC side by side, writes every figure to `results.json` in
the work folder and a page of tables. Workloads not run this time keep their earlier figures.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import report
from bench.contests import CONTESTS, DVLITE_ONLY, Round
from bench.results import Results, load, save
from bench.tools import Tool, dvc, dvlite, environment
from bench.workloads import WORKLOADS, make

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
DEFAULT = [name for name in CONTESTS if name not in DVLITE_ONLY]


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--work", type=Path, metavar="DIR", help="work folder, kept; about 25 GB")
    parser.add_argument("--only", default=",".join(DEFAULT), metavar="A,B", help=f"{[*CONTESTS]}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    parser.add_argument("--scale", type=float, default=1, help="part of the full size (default: 1)")
    parser.add_argument("--dvc-venv", type=Path, metavar="DIR", help="environment with DVC")
    parser.add_argument("--report", type=Path, metavar="FILE", help="page to write")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",")
    if unknown := set(chosen.only) - set(CONTESTS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {[*CONTESTS]}")
    return chosen


def play(name: str, chosen: argparse.Namespace, tools: list[Tool], results: Results) -> None:
    """Run all rounds of one workload; a round's files are gone when the next begins."""
    work: Path = chosen.work
    data = make(name, work, chosen.scale) if name in WORKLOADS else work
    playing = tools[:1] if name in DVLITE_ONLY else tools
    rounds = 1 if name in DVLITE_ONLY else chosen.rounds
    results.forget(name)
    for number in range(rounds):
        folder = work / "round"
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{name}: round {number + 1} of {rounds}", flush=True)
        here = Round(name, number, data, folder, playing, environment(folder), results)
        CONTESTS[name](here)
        shutil.rmtree(folder)


def main() -> int:
    """Run what was asked for and write the page."""
    chosen = arguments()
    temporary = chosen.work is None
    chosen.work = (chosen.work or Path(tempfile.mkdtemp(prefix="dvlite-bench-"))).resolve()
    chosen.work.mkdir(parents=True, exist_ok=True)
    tools = [dvlite(), dvc(chosen.dvc_venv or chosen.work / "dvc-venv")]
    figures = chosen.work / "results.json"
    facts = report.facts(chosen.work, tools, chosen.scale)
    results = load(figures)
    if results.facts.get("scale") != facts["scale"]:
        results = Results()
    results.facts = facts
    for name in chosen.only:
        play(name, chosen, tools, results)
        save(figures, results)
    page = chosen.report or (PAGE if chosen.scale == 1 else chosen.work / "benchmarks.md")
    page.write_text(report.page(results))
    if temporary:
        subprocess.run(["rm", "-rf", chosen.work / "data", chosen.work / "dvc-venv"], check=True)
    print(f"wrote {page}; every figure is in {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
