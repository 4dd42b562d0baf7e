"""What runs with remotes on an S3 server; s5cmd moves the same bytes as the yardstick."""

from __future__ import annotations

from bench.contests import add_and_push
from bench.link import shaped
from bench.remotes import Buckets
from bench.rounds import (
    Contest,
    Round,
    Runner,
    begin_all,
    change_one_file,
    clone_all,
    commit_all,
    copy_all,
    drop_all,
    each_quietly,
    expect_same,
    note_remotes,
    pull_commits,
    race,
)
from bench.server import Server
from bench.steps import PULL_CHANGED

S5CMD, CP = "s5cmd", "cp"


def small(here: Round) -> None:
    """Many small files to the server and back."""
    prepare(here, "data")
    race(here, "push", "push", beside=[s5cmd(here, f"{here.data}/data/", f"{bucket(here)}/data/")])
    race(here, "push with nothing to do", "push")
    change_one_file(here)
    each_quietly(here, "add", "data")
    commit_all(here, "change")
    race(here, "push after 1 file changed", "push")
    note_remotes(here)
    clone_all(here)
    down = s5cmd(here, f"{bucket(here)}/data/*", f"{here.folder}/{S5CMD}/data/")
    race(here, "pull", "pull", place="clone", beside=[down])
    for tool in here.tools:
        expect_same(here.place(tool) / "data", here.place(tool, "clone") / "data")
    expect_same(here.data / "data", here.folder / S5CMD / "data")


def big(here: Round) -> None:
    """One large file to the server and back; pull has the same bytes' `cp` beside it."""
    transfer(here)
    clone_all(here)
    copied = here.folder / CP
    words = [CP, str(here.data / "weights.bin"), str(copied)]
    race(here, "pull", "pull", place="clone", beside=[Runner(CP, words, here.folder)])
    for found in [copied, *(here.place(tool, "clone") / "weights.bin" for tool in here.tools)]:
        expect_same(here.data / "weights.bin", found)


def link(here: Round) -> None:
    """The same large file over a link of 1 Gbit/s."""
    with shaped(server(here).port):
        transfer(here)


def transfer(here: Round) -> None:
    """Push and fetch the large file beside s5cmd; of what is fetched nothing stays."""
    prepare(here, "weights.bin")
    for tool in here.tools:
        (here.place(tool) / "weights.bin").unlink()  # for the room on the disk
    original, fetched = here.data / "weights.bin", here.folder / S5CMD / "weights.bin"
    up = s5cmd(here, str(original), f"{bucket(here)}/weights.bin")
    race(here, "push", "push", beside=[up])
    note_remotes(here)
    clone_all(here, "fetched")
    down = s5cmd(here, f"{bucket(here)}/weights.bin", str(fetched))
    race(here, "fetch", "fetch", place="fetched", beside=[down])
    expect_same(original, fetched)
    fetched.unlink()
    drop_all(here, "fetched")


def table(here: Round) -> None:
    """A table and its slightly edited second version, pulled where the first one is."""
    begin_all(here)
    add_and_push(here, 1, "v1.csv", "table.csv")
    clone_all(here)
    race(here, "pull version 1", "pull", place="clone")
    add_and_push(here, 2, "v2.csv", "table.csv")
    pull_commits(here)
    race(here, PULL_CHANGED, "pull", place="clone")
    for tool in here.tools:
        expect_same(here.data / "v2.csv", here.place(tool, "clone") / "table.csv")


def prepare(here: Round, name: str) -> None:
    """Have the workload's file or folder added and committed by every tool; a bucket for s5cmd."""
    begin_all(here)
    here.remotes.make(S5CMD)
    (here.folder / S5CMD).mkdir()
    copy_all(here, name, name)
    each_quietly(here, "add", name)
    commit_all(here, name)


def server(here: Round) -> Server:
    """Return the server of a round. Raises: TypeError."""
    if not isinstance(here.remotes, Buckets):
        raise TypeError("this contest needs remotes on a server")
    return here.remotes.server


def bucket(here: Round) -> str:
    """Return where s5cmd puts its own copies."""
    return here.remotes.url(S5CMD)


def s5cmd(here: Round, source: str, target: str) -> Runner:
    """Return a copy by s5cmd as somebody in a race."""
    return Runner(S5CMD, server(here).command("cp", source, target), here.folder)


CONTESTS = {
    "small": Contest(small, "small"),
    "big": Contest(big, "big", rounds=7, dvc_every=3),
    "link": Contest(link, "big", rounds=5, dvc_every=0),
    "table": Contest(table, "table"),
}
