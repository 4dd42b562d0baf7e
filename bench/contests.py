"""What runs on each workload: the steps, in order, both tools in turn within the same round."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import evict, files_below, newly_stored, run
from bench.results import Results, Sample, Size
from bench.tools import Tool, begin, commit, quietly

STATUS_ROUNDS = 5
FIND = ("find", "data", "-type", "f", "-printf", "%s %T@\\n")


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one workload: every tool has a folder with `repo`, `store` and later `clone`."""

    workload: str
    number: int
    data: Path
    folder: Path
    tools: Sequence[Tool]
    environment: dict[str, str]
    results: Results

    def place(self, tool: Tool, name: str = "repo") -> Path:
        """Return a tool's own folder of this name."""
        return self.folder / tool.name / name


def measure(here: Round, step: str, who: str, command: Sequence[str], folder: Path) -> None:
    """Measure one command and note it under a name."""
    log = here.folder / "logs" / f"{who} {step}.log".replace(" ", "-")
    done = run(command, folder, here.environment, log)
    sample = Sample(here.workload, step, who, here.number, done.seconds, done.peak_bytes)
    here.results.samples.append(sample)
    print(f"  {here.workload}: {step:<32} {who:<7} {done.seconds:9.3f} s", flush=True)


def race(here: Round, step: str, *words: str, place: str = "repo") -> None:
    """Measure the same words on every tool; who begins changes from round to round."""
    turn = here.number % len(here.tools)
    for tool in [*here.tools[turn:], *here.tools[:turn]]:
        measure(here, step, tool.name, [str(tool.program), *words], here.place(tool, place))


def begin_all(here: Round) -> None:
    """Make a repository and a remote for every tool; note how many files the workload has."""
    note_size(here, "files", "data", len(files_below(here.data)))
    for tool in here.tools:
        begin(tool, here.place(tool), here.place(tool, "store"), here.environment)


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


def clone_all(here: Round) -> None:
    """Clone every repository with git; the clones share no cache with their origin."""
    for tool in here.tools:
        words = [
            "git",
            "clone",
            "--quiet",
            *map(str, (here.place(tool), here.place(tool, "clone"))),
        ]
        quietly(words, here.folder, here.environment)


def note_size(here: Round, name: str, who: str, size_bytes: int) -> None:
    """Note a number of bytes."""
    here.results.sizes.append(Size(here.workload, name, who, here.number, size_bytes))


def note_stores(here: Round, name: str) -> None:
    """Note what each remote holds, and the size of the data for comparison."""
    for tool in here.tools:
        note_size(here, name, tool.name, sum(files_below(here.place(tool, "store")).values()))
    note_size(here, name, "data", sum(files_below(here.data).values()))


def expect_same(expected: Path, found: Path) -> None:
    """Stop the benchmark when a tool did not bring back what it was given.

    Names and sizes only: reading everything would change what is in memory for the next step.
    """
    if files_below(expected) != files_below(found):
        raise RuntimeError(f"{found} does not hold what {expected} holds")


def small(here: Round) -> None:
    """Many small files: the daily commands, with `tar` and `find` as yardsticks."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    changed = sorted(files_below(here.data / "data"))[0]
    for tool in here.tools:
        with (here.place(tool) / "data" / changed).open("ab") as file:
            file.write(b"changed\n")
    race(here, "add after 1 file changed", "add", "data")
    commit_all(here, "change")
    race(here, "status", "status")
    measure(here, "status", "find", FIND, here.place(here.tools[0]))
    empty_workspaces(here)
    race(here, "checkout", "checkout")
    untar(here, "checkout")
    race(here, "push", "push")
    race(here, "push with nothing to do", "push")
    note_stores(here, "on the remote")
    clone_all(here)
    race(here, "pull", "pull", place="clone")
    untar(here, "pull")
    for tool in here.tools:
        expect_same(here.folder / "tar" / "data", here.place(tool, "clone") / "data")


def empty_workspaces(here: Round) -> None:
    """Take the data away, but not the cache; keep one copy's bytes as the archive for `tar -x`.

    Moved and not removed: ext4 without a journal passes over every inode that was freed in the
    last minute, which slows the making of files several times, for every tool.
    """
    source = here.place(here.tools[0])
    subprocess.run(["tar", "-cf", here.folder / "data.tar", "-C", source, "data"], check=True)
    for tool in here.tools:
        (here.place(tool) / "data").rename(here.place(tool, "before"))


def untar(here: Round, step: str) -> None:
    """Measure `tar -x` of the files as they are now, into an empty folder."""
    target = here.folder / "tar"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    measure(here, step, "tar", ["tar", "-xf", str(here.folder / "data.tar")], target)


def labels(here: Round) -> None:
    """Compressible small files: time, and bytes on the remote."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    race(here, "push", "push")
    note_stores(here, "on the remote")


def big(here: Round) -> None:
    """One large file, copied by both tools in and out of the cache."""
    begin_all(here)
    copy_all(here, "weights.bin", "weights.bin")
    race(here, "add", "add", "weights.bin")
    commit_all(here, "weights")
    for step in ("checkout", "checkout, nothing in memory"):
        for tool in here.tools:
            (here.place(tool) / "weights.bin").unlink()
        if step != "checkout":
            evict(here.folder)
        race(here, step, "checkout")
    race(here, "push", "push")
    note_stores(here, "on the remote")
    clone_all(here)
    race(here, "pull", "pull", place="clone")
    for tool in here.tools:
        pulled = here.place(tool, "clone") / "weights.bin"
        if pulled.stat().st_size != (here.data / "weights.bin").stat().st_size:
            raise RuntimeError(f"{pulled} is not what was pushed")


def table(here: Round) -> None:
    """A table and its slightly edited second version."""
    two_versions(here, "v1.csv", "v2.csv", "table.csv")


def tensors(here: Round) -> None:
    """Weights of which every single value changed a little."""
    two_versions(here, "v1.bin", "v2.bin", "weights.bin")


def two_versions(here: Round, first: str, second: str, name: str) -> None:
    """Add and push one version, then the other; note what the second costs on the remote."""
    begin_all(here)
    for number, source in enumerate((first, second), 1):
        copy_all(here, source, name)
        race(here, f"add version {number}", "add", name)
        commit_all(here, f"version {number}")
        before = {tool.name: files_below(here.place(tool, "store")) for tool in here.tools}
        race(here, f"push version {number}", "push")
        label = f"newly stored for version {number}"
        for tool in here.tools:
            after = files_below(here.place(tool, "store"))
            note_size(here, label, tool.name, newly_stored(before[tool.name], after))
        note_size(here, label, "data", (here.data / source).stat().st_size)


def million(here: Round) -> None:
    """Status of a very large folder beside `find`; dvlite only."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    for _ in range(STATUS_ROUNDS):
        race(here, "status", "status")
        measure(here, "status", "find", FIND, here.place(here.tools[0]))


def start(here: Round) -> None:
    """How long each tool takes to say its version."""
    for tool in here.tools:
        here.place(tool).mkdir(parents=True)
    for _ in range(STATUS_ROUNDS):
        race(here, "--version", "--version")


CONTESTS: dict[str, Callable[[Round], None]] = {
    "start": start,
    "small": small,
    "big": big,
    "table": table,
    "labels": labels,
    "tensors": tensors,
    "million": million,
}
DVLITE_ONLY = ("million",)
