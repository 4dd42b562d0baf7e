"""What a power failure leaves: the notes of a run, played again without what was not durable.

Owns the model of a disk. Of a file, everything up to its last fsync (or a sync of all) is there;
what was written later is there, or lost, or there in part, or its length is there and its bytes are
zeros. Names are of two sorts of file system. `ordered`, as journals do it: of the changes of names,
the first so many survive, at least all up to the last fsync of anything. `strict`, what POSIX
promises: each change survives if its folder was synced later, and else may be lost alone (a folder
that was synced is there itself, with those above it, as every Linux file system has it). What git
writes for itself counts as durable: whether it is, is a setting of git's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.torture.scenes import BY_NAME
from tests.torture.shim import TRACE, Control, Point, Record
from tests.torture.trial import Reference, Trials

KINDS = ("ordered", "strict")
_NAMES = "crlyum"
_CAPACITY = 64 << 20


@dataclass(slots=True)
class Disk:
    """Names, and the bytes of what they name. A folder is None, a symbolic link a text."""

    names: dict[str, int | str | None] = field(default_factory=dict)
    data: dict[int, bytearray] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """One change of names."""
        path, other = record.path, record.other
        if record.op == "c":
            self.names[path] = record.inode
        elif record.op == "m":
            self.names[path] = None
        elif record.op == "u":
            self.names.pop(path, 0)
        elif record.op == "l" and path in self.names:
            self.names[other] = self.names[path]
        elif record.op == "y":
            self.names[other] = path
        elif record.op == "r":
            moved = {name: what for name, what in self.names.items() if _is_below(name, path)}
            for name in moved:
                del self.names[name]
            if moved:
                for name in [name for name in self.names if _is_below(name, other)]:
                    del self.names[name]
            self.names.update({other + name[len(path) :]: what for name, what in moved.items()})

    def write(self, record: Record) -> None:
        """One change of bytes."""
        data = self.data.setdefault(record.inode, bytearray())
        if record.op == "t":
            del data[record.offset :]
            data.extend(bytes(record.offset - len(data)))
            return
        if len(data) < record.offset:
            data.extend(bytes(record.offset - len(data)))
        data[record.offset : record.offset + len(record.data)] = record.data


def _is_below(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


def read_disk(top: Path) -> Disk:
    """What is below a folder."""
    disk = Disk()
    for path, folders, files in os.walk(top):
        disk.names[path] = None
        for name in [*folders, *files]:
            full = os.path.join(path, name)
            if os.path.islink(full):
                disk.names[full] = os.readlink(full)
            elif name in files:
                inode = os.stat(full).st_ino
                disk.names[full] = inode
                disk.data[inode] = bytearray(Path(full).read_bytes())
    return disk


def write_disk(disk: Disk, top: Path, modes: dict[str, int]) -> None:
    """Makes a folder what a disk says; what has no folder is not reachable."""
    for path in sorted(disk.names, key=lambda name: name.count("/")):
        what = disk.names[path]
        if not os.path.isdir(os.path.dirname(path)) or not _is_below(path, str(top)):
            continue
        if what is None:
            os.makedirs(path, exist_ok=True)
        elif isinstance(what, str):
            os.symlink(what, path)
        else:
            Path(path).write_bytes(disk.data.get(what, b""))
            os.chmod(path, modes.get(path, 0o644))


def crash(before: Disk, records: Sequence[Record], kind: str, source: random.Random) -> Disk:
    """One disk that there can be when the power fails after these records."""
    disk = Disk(dict(before.names), {inode: bytearray(d) for inode, d in before.data.items()})
    for record in _surviving(records, kind, source):
        disk.apply(record)
    for record in _written(records, source):
        disk.write(record)
    return disk


def _is_gits(path: str) -> bool:
    return "/.git/" in path and "/.git/dvlite/" not in path


def _surviving(records: Sequence[Record], kind: str, source: random.Random) -> list[Record]:
    """The changes of names that survive."""
    kept = []
    synced = max((at for at, one in enumerate(records) if one.op in "fs"), default=-1)
    everything = max((at for at, one in enumerate(records) if one.op == "s"), default=-1)
    last = source.randint(synced, len(records))
    durable: set[str] = set()
    for at in reversed(range(len(records))):
        record = records[at]
        if record.op == "f":
            path = record.path
            while len(path) > 1 and path not in durable:
                durable.add(path)
                path = os.path.dirname(path)
        if record.op not in _NAMES:
            continue
        place = record.other if record.op in "rly" else record.path
        if _is_gits(place) or at <= everything:
            kept.append(record)
        elif kind == "ordered":
            if at <= last:
                kept.append(record)
        elif os.path.dirname(place) in durable or place in durable or source.random() < 0.5:
            kept.append(record)
    return kept[::-1]


def _written(records: Sequence[Record], source: random.Random) -> list[Record]:
    """The changes of bytes that survive."""
    durable: set[int] = set()
    everything, kept = False, []
    fates: dict[int, str] = {}
    for record in reversed(records):
        if record.op == "s":
            everything = True
        elif record.op == "f":
            durable.add(record.inode)
        elif record.op in "wt":
            safe = everything or record.inode in durable or _is_gits(record.path)
            fate = fates.setdefault(
                record.inode, source.choice(("kept", "lost", "partly", "zeros"))
            )
            if safe or fate == "kept" or (fate == "partly" and source.random() < 0.5):
                kept.append(record)
            elif fate == "zeros":
                kept.append(record._replace(data=bytes(len(record.data))))
    return kept[::-1]


# -- trying ----------------------------------------------------------------------------------------


def try_crashes(trials: Trials, name: str, seed: int, sample: int) -> dict[str, Any]:
    """Lets the power fail at random moments of one run, and once after its end."""
    reference = trials.reference(name)
    before, records, after = _trace(trials, name, reference)
    source = random.Random(f"{seed} {name}")
    wrong: list[str] = []
    what = ""
    for number in range(sample):
        ended = number % 4 == 3
        at = len(records) if ended else source.randrange(len(records) + 1)
        kind = KINDS[number % 2]
        disk = crash(before, records[:at], kind, source)
        trials.stage.clear()
        write_disk(disk, trials.stage.here, after)
        found = list(trials.after_power(BY_NAME[name], reference, ended))
        if found:
            what = what or f"{kind} crash {number}, after {at} of {len(records)} changes"
            wrong += [f"crash {number} ({kind}, {at} of {len(records)}): {one}" for one in found]
    return {"wrong": wrong, "what": what, "fired": True, "tried": sample}


def _trace(
    trials: Trials, name: str, reference: Reference
) -> tuple[Disk, list[Record], dict[str, int]]:
    """The disk before, what the command did to it, and the modes of files."""
    stage = trials.stage
    stage.restore(name)
    before = read_disk(stage.here)
    control = Control(stage.folder / "control", stage.here, Point(TRACE), _CAPACITY)
    try:
        ran = stage.run(reference.command, control)
        assert ran.code == 0, ran.err
        records = list(control.records())
    finally:
        control.close()
    modes = {
        os.path.join(path, file): os.lstat(os.path.join(path, file)).st_mode & 0o777
        for path, _, files in os.walk(stage.here)
        for file in files
    }
    return before, records, modes
