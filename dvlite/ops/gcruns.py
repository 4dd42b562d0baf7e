"""What gc keeps on a remote of the records of runs: those of which everything is still there.

Owns that they never keep data: a run that no commit names lasts as long as the grace period does,
and what it made may go before the record. Then the record goes too, and the run is run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dvlite.errors import DvliteError
from dvlite.ops.runrecords import NO_RECORDS, join_records, read_record, split_records
from dvlite.pipeline.lockfile import LockedStage
from dvlite.storage.backend import Stored
from dvlite.storage.remotegc import Looked, RemotePlan
from dvlite.storage.remotelive import BUCKETS, IdSet
from dvlite.storage.runfiles import (
    MAX_ALL_TEXT_BYTES,
    fetch_run_file,
    is_run_file,
    read_run_file,
    render_run_file,
    write_run_file,
)

# Every push of records leaves a file: so many are joined though nothing in them is dead.
_MANY_FILES = 8


@dataclass(slots=True)
class RunsPlan:
    """What becomes of the files of records that are older than the grace period: those in `old` are
    deleted, after the files in `new` (name -> bytes) are written. `dropped`: records that go."""

    new: dict[str, bytes] = field(default_factory=dict)
    old: dict[str, int] = field(default_factory=dict)
    dropped: int = 0


def plan_runs(looked: Looked, plan: RemotePlan, grace_s: float) -> RunsPlan:
    """What is to be done, given what gc has found to be alive."""
    assert plan.census is not None
    names = [
        one
        for one in looked.stored
        if is_run_file(one.name) and looked.now_s - one.modified_s >= grace_s
    ]
    found, dead = _sort(looked, names, plan.census.alive.objects)
    todo = RunsPlan(dropped=dead)
    if dead or len(found) >= _MANY_FILES or any(not records for records in found.values()):
        kept = {key: one for records in found.values() for key, one in records.items()}
        todo.new = dict(render_run_file(text) for text, _ in join_records(kept))
        todo.old = {one.name: one.size for one in names if one.name in found}
        for name in todo.new.keys() & todo.old.keys():  # as it has to be already
            del todo.new[name], todo.old[name]
    return todo


def write_new(looked: Looked, todo: RunsPlan) -> None:
    """Before the old files go. Whoever reads meanwhile finds a record twice."""
    for name, data in todo.new.items():
        write_run_file(looked.index.remote, name, data)


def _sort(
    looked: Looked, files: Iterable[Stored], alive: IdSet
) -> tuple[dict[str, dict[str, LockedStage]], int]:
    """The living records of each file that can be looked at, and how many are dead."""
    words = [alive.bucket(number) for number in range(BUCKETS)]
    found: dict[str, dict[str, LockedStage]] = {}
    dead, left = 0, MAX_ALL_TEXT_BYTES
    for one in files:
        data = fetch_run_file(looked.index.remote, one.name)
        text = _text(one.name, data) if data is not None else NO_RECORDS
        if not text.startswith(NO_RECORDS):  # of a later version, who knows
            continue
        left -= len(text)
        if left < 0:  # more than anybody reads: the next gc has the rest
            break
        here = found[one.name] = {}
        for key, lines in split_records(text).items():
            locked = read_record(key, lines)
            if locked is not None and all(out.oid[:8] in words[out.oid[0]] for out in locked.outs):
                here[key] = locked
            else:
                dead += 1
    return found, dead


def _text(name: str, data: bytes) -> bytes:
    try:
        return read_run_file(name, data)
    except DvliteError:
        return b""
