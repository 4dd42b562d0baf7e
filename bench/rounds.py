"""One round of one workload: what every contest is made of.

Owns the folders of a round and how its steps are measured and noted; knows no contest.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import files_below, run
from bench.remotes import Remotes
from bench.results import Results, Sample, Size
from bench.steps import STORED
from bench.tools import Tool, begin, commit, quietly


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one workload: every tool has a folder with `repo` and later `clone`."""

    workload: str
    number: int
    data: Path
    folder: Path
    tools: Sequence[Tool]
    remotes: Remotes
    environment: dict[str, str]
    results: Results

    def place(self, tool: Tool, name: str = "repo") -> Path:
        """Return a tool's own folder of this name."""
        return self.folder / tool.name / name


@dataclass(frozen=True, slots=True)
class Contest:
    """What is played on the data of a workload, and how often.

    DVC plays in every `dvc_every`-th round; 0 is never. What is not `usual` runs when named.
    """

    play: Callable[[Round], None]
    data: str | None = None
    rounds: int = 3
    dvc_every: int = 1
    usual: bool = True

    def players(self, number: int, tools: Sequence[Tool]) -> Sequence[Tool]:
        """Return those of the tools, dvlite the first of them, that play in a round."""
        return tools if self.dvc_every and number % self.dvc_every == 0 else tools[:1]


@dataclass(frozen=True, slots=True)
class Runner:
    """Somebody in a race: a command, and the folder it runs in."""

    name: str
    command: Sequence[str]
    folder: Path


def measure(here: Round, step: str, runner: Runner) -> None:
    """Measure one command and note it under a name."""
    log = here.folder / "logs" / f"{runner.name} {step}.log".replace(" ", "-")
    done = run(runner.command, runner.folder, here.environment, log)
    sample = Sample(here.workload, step, runner.name, here.number, done.seconds, done.peak_bytes)
    here.results.samples.append(sample)
    print(f"  {here.workload}: {step:<32} {runner.name:<7} {done.seconds:9.3f} s", flush=True)


def race(
    here: Round, step: str, *words: str, place: str = "repo", beside: Sequence[Runner] = ()
) -> None:
    """Measure the same words on every tool, and what runs beside them.

    Who begins changes from round to round.
    """
    runners = [
        Runner(tool.name, [str(tool.program), *words], here.place(tool, place))
        for tool in here.tools
    ]
    runners += beside
    turn = here.number % len(runners)
    for runner in [*runners[turn:], *runners[:turn]]:
        measure(here, step, runner)


def begin_all(here: Round) -> None:
    """Make a repository and a remote for every tool; note how many files the workload has."""
    note_size(here, "files", "data", len(files_below(here.data)))
    for tool in here.tools:
        here.remotes.make(tool.name)
        begin(tool, here.place(tool), here.remotes, here.environment)


def commit_all(here: Round, message: str) -> None:
    """Commit what git sees in every tool's repository."""
    for tool in here.tools:
        commit(here.place(tool), message, here.environment)


def copy_all(here: Round, source: str, target: str) -> None:
    """Put a copy of the workload's file or folder into every repository, as a program would."""
    for tool in here.tools:
        where = here.place(tool) / target
        where.unlink(missing_ok=True)  # may be read-only, or a link into a cache
        subprocess.run(["cp", "-r", here.data / source, where], check=True)


def change_one_file(here: Round) -> None:
    """Append to one file of the folder `data` in every repository."""
    changed = sorted(files_below(here.data / "data"))[0]
    for tool in here.tools:
        with (here.place(tool) / "data" / changed).open("ab") as file:
            file.write(b"changed\n")


def each_quietly(here: Round, *words: str, place: str = "repo") -> None:
    """Run the same words on every tool without measuring them."""
    for tool in here.tools:
        quietly([tool.program, *words], here.place(tool, place), here.environment)


def clone_all(here: Round, name: str = "clone") -> None:
    """Clone every repository with git; the clones share no cache with their origin."""
    for tool in here.tools:
        places = here.place(tool), here.place(tool, name)
        quietly(["git", "clone", "--quiet", *places], here.folder, here.environment)


def pull_commits(here: Round) -> None:
    """Bring the newest commits into every clone with git."""
    for tool in here.tools:
        quietly(["git", "pull", "--quiet"], here.place(tool, "clone"), here.environment)


def drop_all(here: Round, name: str) -> None:
    """Remove a folder of every tool, for the room on the disk."""
    for tool in here.tools:
        shutil.rmtree(here.place(tool, name))


def note_size(here: Round, name: str, who: str, size_bytes: int) -> None:
    """Note a number of bytes."""
    here.results.sizes.append(Size(here.workload, name, who, here.number, size_bytes))


def note_remotes(here: Round) -> None:
    """Note what each remote holds, and the size of the data for comparison."""
    for tool in here.tools:
        note_size(here, STORED, tool.name, sum(here.remotes.files(tool.name).values()))
    note_size(here, STORED, "data", sum(files_below(here.data).values()))


def expect_same(expected: Path, found: Path) -> None:
    """Stop the benchmark when a tool did not bring back what it was given.

    Names and sizes only: reading everything would change what is in memory for the next step.
    """
    sizes = [
        files_below(path) if path.is_dir() else {".": path.stat().st_size}
        for path in (expected, found)
    ]
    if sizes[0] != sizes[1]:
        raise RuntimeError(f"{found} does not hold what {expected} holds")
