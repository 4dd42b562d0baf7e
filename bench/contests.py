"""What runs on each workload with remotes in folders: the steps, in order, all tools in turn."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import histories, pipelines
from bench.measure import evict, newly_stored
from bench.rounds import (
    Contest,
    Round,
    Runner,
    begin_all,
    change_one_file,
    clone_all,
    commit_all,
    copy_all,
    each_quietly,
    expect_same,
    measure,
    note_remotes,
    note_size,
    race,
)
from bench.steps import EVERYTHING, LAST
from bench.tools import begin

STATUS_ROUNDS = 5
FIND = ("find", "data", "-type", "f", "-printf", "%s %T@\\n")


def small(here: Round) -> None:
    """Many small files: the daily commands, with `tar` and `find` as yardsticks."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    change_one_file(here)
    race(here, "add after 1 file changed", "add", "data")
    commit_all(here, "change")
    race(here, "status", "status")
    measure(here, "status", Runner("find", FIND, here.place(here.tools[0])))
    empty_workspaces(here)
    race(here, "checkout", "checkout")
    untar(here, "checkout")
    race(here, "push", "push")
    race(here, "push with nothing to do", "push")
    note_remotes(here)
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
    words = ["tar", "-xf", str(here.folder / "data.tar")]
    measure(here, step, Runner("tar", words, target))


def labels(here: Round) -> None:
    """Compressible small files: time, and bytes on the remote."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    race(here, "push", "push")
    note_remotes(here)


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
    note_remotes(here)
    clone_all(here)
    race(here, "pull", "pull", place="clone")
    for tool in here.tools:
        expect_same(here.data / "weights.bin", here.place(tool, "clone") / "weights.bin")


def table(here: Round) -> None:
    """A table and its slightly edited second version."""
    begin_all(here)
    add_and_push(here, 1, "v1.csv", "table.csv")
    add_and_push(here, 2, "v2.csv", "table.csv")


def tensors(here: Round) -> None:
    """Weights of which every single value changed a little."""
    begin_all(here)
    add_and_push(here, 1, "v1.bin", "weights.bin")
    add_and_push(here, 2, "v2.bin", "weights.bin")


def add_and_push(here: Round, number: int, source: str, name: str) -> None:
    """Add and push a version of a file; note what it costs on the remote."""
    copy_all(here, source, name)
    race(here, f"add version {number}", "add", name)
    commit_all(here, f"version {number}")
    before = {tool.name: here.remotes.files(tool.name) for tool in here.tools}
    race(here, f"push version {number}", "push")
    label = f"newly stored for version {number}"
    for tool in here.tools:
        stored = newly_stored(before[tool.name], here.remotes.files(tool.name))
        note_size(here, label, tool.name, stored)
    note_size(here, label, "data", (here.data / source).stat().st_size)


def million(here: Round) -> None:
    """Status of a very large folder beside `find`; dvlite only."""
    begin_all(here)
    copy_all(here, "data", "data")
    race(here, "add", "add", "data")
    commit_all(here, "data")
    for _ in range(STATUS_ROUNDS):
        race(here, "status", "status")
        measure(here, "status", Runner("find", FIND, here.place(here.tools[0])))


def start(here: Round) -> None:
    """How long each tool takes to say its version."""
    for tool in here.tools:
        here.place(tool).mkdir(parents=True)
    for _ in range(STATUS_ROUNDS):
        race(here, "--version", "--version")


def versions(here: Round) -> None:
    """Many versions of a table: what they cost on the remote."""
    history(here, histories.TABLE_NAME, 50, histories.next_table)


def checkpoints(here: Round) -> None:
    """A model of which a few tensors are new in each checkpoint."""
    history(here, histories.MODEL_NAME, 20, histories.next_checkpoint)


def drift(here: Round) -> None:
    """A model of which every value moves a little in each checkpoint."""
    history(here, histories.MODEL_NAME, 20, histories.next_drift)


def history(here: Round, name: str, count: int, change: Callable[[Path, int], None]) -> None:
    """Push all versions of a file; note what the remote holds, and holds of the last one alone.

    DVC keeps every version whole: its figure is the sum of their sizes, computed and not run.
    The cache is a folder that goes after each push, for the room on the disk.
    """
    cache = here.folder / "cache"
    here = replace(here, environment=here.environment | {"DVLITE_CACHE_DIR": str(cache)})
    begin_all(here)
    copy_all(here, name, name)
    path = here.place(here.tools[0]) / name
    total = 0
    for number in range(1, count + 1):
        if number > 1:
            change(path, number)
        total += path.stat().st_size
        race(here, "add", "add", name)
        commit_all(here, f"version {number}")
        race(here, "push", "push")
        shutil.rmtree(cache)
    for who, size_bytes in (("data", total), ("DVC", total), ("dvlite", on_the_remote(here))):
        note_size(here, EVERYTHING, who, size_bytes)
    last_alone(here, path)


def last_alone(here: Round, path: Path) -> None:
    """Push one file to a remote of its own and note what that holds."""
    tool = replace(here.tools[0], name="alone")
    alone = replace(here, data=path.parent, tools=[tool])
    here.remotes.make(tool.name)
    begin(tool, alone.place(tool), alone.remotes, alone.environment)
    copy_all(alone, path.name, path.name)
    each_quietly(alone, "add", path.name)
    commit_all(alone, "alone")
    each_quietly(alone, "push")
    note_size(here, LAST, "data", path.stat().st_size)
    note_size(here, LAST, "dvlite", on_the_remote(alone))


def on_the_remote(here: Round) -> int:
    """Return the bytes that dvlite's remote holds."""
    return sum(here.remotes.files(here.tools[0].name).values())


CONTESTS: dict[str, Contest] = {
    "start": Contest(start),
    "small": Contest(small, "small"),
    "big": Contest(big, "big"),
    "table": Contest(table, "table"),
    "labels": Contest(labels, "labels"),
    "tensors": Contest(tensors, "tensors"),
    "stages": Contest(pipelines.run_unchanged, "stages", rounds=2),
    "million": Contest(million, "million", rounds=1, dvc_every=0, usual=False),
    "versions": Contest(versions, "versions", rounds=1, dvc_every=0, usual=False),
    "checkpoints": Contest(checkpoints, "checkpoints", rounds=1, dvc_every=0, usual=False),
    "drift": Contest(drift, "checkpoints", rounds=1, dvc_every=0, usual=False),
}
