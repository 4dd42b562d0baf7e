"""Run the benchmarks: scripts/bench [options].

Makes the workloads, runs dvlite and DVC side by side, writes every figure to `results.json` in
the work folder and a page of tables. What is not run this time keeps its earlier figures from
there, so that the remotes in a folder and on a server may be measured one after the other.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import contests, report, s3contests
from bench.held import CannotHold
from bench.making import make
from bench.remotes import Buckets, Folders, Remotes
from bench.results import Results, load, save
from bench.rounds import Contest, Round
from bench.server import s5cmd_version, server_version, serving
from bench.tools import Tool, dvc, dvlite, environment

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
CONTESTS = {"folder": contests.CONTESTS, "s3": s3contests.CONTESTS}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    names = "; ".join(f"{kind}: {', '.join(found)}" for kind, found in CONTESTS.items())
    parser.add_argument("--work", type=Path, metavar="DIR", help="work folder, kept; about 25 GB")
    parser.add_argument(
        "--remote", choices=CONTESTS, default="folder", help="where the remotes are"
    )
    parser.add_argument("--only", metavar="A,B", help=f"workloads, with remotes of {names}")
    parser.add_argument("--rounds", type=int, help="rounds of each (default: 3, of some 7 or 1)")
    parser.add_argument("--scale", type=float, default=1, help="part of the full size (default: 1)")
    parser.add_argument("--dvc-venv", type=Path, metavar="DIR", help="environment with DVC")
    parser.add_argument("--report", type=Path, metavar="FILE", help="page to write")
    chosen = parser.parse_args()
    known = CONTESTS[chosen.remote]
    usual = [name for name, contest in known.items() if contest.usual]
    chosen.only = chosen.only.split(",") if chosen.only else usual
    if unknown := set(chosen.only) - set(known):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {names}")
    return chosen


def play(name: str, chosen: argparse.Namespace, tools: list[Tool], results: Results) -> None:
    """Run all rounds of one workload; a round's files are gone when the next begins."""
    contest: Contest = CONTESTS[chosen.remote][name]
    data = make(contest.data, chosen.work, chosen.scale) if contest.data else chosen.work
    told = name if chosen.remote == "folder" else f"{name} on S3"
    rounds = chosen.rounds or contest.rounds
    results.forget(told)
    for number in range(rounds):
        folder: Path = chosen.work / "round"
        shutil.rmtree(folder, ignore_errors=True)
        print(f"{told}: round {number + 1} of {rounds}", flush=True)
        with remotes_in(folder, chosen.remote) as remotes:
            playing, around = contest.players(number, tools), environment(folder)
            contest.play(Round(told, number, data, folder, playing, remotes, around, results))
        shutil.rmtree(folder)


@contextmanager
def remotes_in(folder: Path, kind: str) -> Iterator[Remotes]:
    """Have remotes of a kind that keep everything in a folder, on a fresh server if need be."""
    if kind == "folder":
        yield Folders(folder)
        return
    with serving(folder / "server") as server:
        yield Buckets(server)


def versions(kind: str, tools: list[Tool]) -> dict[str, str]:
    """Return the versions of all programs that take part."""
    found = {tool.name: tool.version for tool in tools}
    if kind == "s3":
        found |= {"s5cmd": s5cmd_version(), "SeaweedFS": server_version()}
    return found


def main() -> int:
    """Run what was asked for and write the page."""
    chosen = arguments()
    temporary = chosen.work is None
    chosen.work = (chosen.work or Path(tempfile.mkdtemp(prefix="dvlite-bench-"))).resolve()
    chosen.work.mkdir(parents=True, exist_ok=True)
    tools = [dvlite(), dvc(chosen.dvc_venv or chosen.work / "dvc-venv")]
    figures = chosen.work / "results.json"
    facts = report.facts(chosen.work, versions(chosen.remote, tools), chosen.scale)
    results = load(figures)
    if results.facts.get("scale") != facts["scale"]:
        results = Results()
    results.facts |= facts
    missing = 0
    for name in chosen.only:
        try:
            play(name, chosen, tools, results)
        except CannotHold as error:  # no right to shape the link, say: the others can run
            print(f"{name}: not measured: {error}", file=sys.stderr)
            missing = 1
        save(figures, results)
    page = chosen.report or (PAGE if chosen.scale == 1 else chosen.work / "benchmarks.md")
    page.write_text(report.page(results))
    if temporary:
        subprocess.run(["rm", "-rf", chosen.work / "data", chosen.work / "dvc-venv"], check=True)
    print(f"wrote {page}; every figure is in {figures}")
    return missing


if __name__ == "__main__":
    sys.exit(main())
