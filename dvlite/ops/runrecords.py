"""Records of runs that travel: brought to a remote with what the runs made, and fetched from there.

Owns the text in the remote's files (a lockfile whose stages are named by the keys of runs) and who
gets which records. Only `runcache` decides whether to believe one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dvlite.errors import DvliteError
from dvlite.ops.remotes import changed_url, chosen_names, open_some, place_of
from dvlite.ops.runkey import ANY_STAGE, key_of
from dvlite.pipeline import lockfile
from dvlite.pipeline.lockfile import LockedStage
from dvlite.project import Project
from dvlite.storage.push import PushOptions, PushReport, Root, lacking
from dvlite.storage.push import push as push_objects
from dvlite.storage.remote import Remote
from dvlite.storage.runfiles import MAX_TEXT_BYTES, Copies, Synced, render_run_file, write_run_file

if TYPE_CHECKING:
    from dvlite.ops.runcache import RunCache

# How every text of records begins.
NO_RECORDS = lockfile.render({})
_RECORD = re.compile(rb'^  "?([0-9a-f]{64})"?:\n((?:    [^\n]*\n)+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunsPushed:
    """What became of the records: `records` that the remote got, those `left_out` because what the
    runs made is neither here nor there, and the push of that."""

    records: int
    left_out: int
    stored_bytes: int
    report: PushReport


# -- the text --------------------------------------------------------------------------------------


def split_records(text: bytes) -> dict[str, bytes]:
    """Key -> lines of each record, not looked at yet; nothing of what is no such text."""
    if not text.startswith(NO_RECORDS):
        return {}
    return {found[1].decode(): found[2] for found in _RECORD.finditer(text)}


def read_record(key: str, lines: bytes) -> LockedStage | None:
    """What a record says; None where that is not valid, or of another run than its key."""
    try:
        text = NO_RECORDS + f"  {ANY_STAGE}:\n".encode() + lines
        locked = lockfile.parse(text, f"the record of the run {key[:8]}")[ANY_STAGE]
        return locked if key_of(locked) == key else None
    except (DvliteError, RecursionError, UnicodeError):
        return None


def join_records(records: Mapping[str, LockedStage]) -> Iterator[tuple[bytes, int]]:
    """The texts that hold these records, and how many each; a huge record is left out."""
    texts: dict[str, str] = {}
    size = len(NO_RECORDS)
    for key, locked in sorted(records.items()):
        one = lockfile.render_stage(key, locked)
        length = len(one.encode())
        if len(NO_RECORDS) + length > MAX_TEXT_BYTES:
            continue
        if size + length > MAX_TEXT_BYTES:
            yield lockfile.join_stages(texts), len(texts)
            texts, size = {}, len(NO_RECORDS)
        texts[key] = one
        size += length
    if texts:
        yield lockfile.join_stages(texts), len(texts)


# -- fetching --------------------------------------------------------------------------------------


def fetch_runs(project: Project, names: Sequence[str] = (), jobs: int = 4) -> Synced:
    """Brings the records of these remotes (none: the default one) here, for `dvlite run` to ask.
    What the runs made stays there until a stage needs it.

    Raises:
        RemoteError: no remote can be asked.
    """
    remotes, _ = open_some(project, chosen_names(project, names))
    both = Synced()
    for remote in remotes:
        one = copies_of(project, remote.name).sync(remote, jobs)
        both.listed, both.read = both.listed + one.listed, both.read + one.read
        both.read_bytes += one.read_bytes
        both.passed_over += one.passed_over
        both.damaged += one.damaged
    return both


def fetched_records(project: Project) -> dict[str, bytes]:
    """Key -> lines of the records that were fetched from this project's remotes. A remote that has
    moved since this clone used it does not count until a push has confirmed it."""
    found: dict[str, bytes] = {}
    for name in project.config.remotes():
        if changed_url(project, name) is None:
            for text in copies_of(project, name).texts():
                for key, lines in split_records(text).items():
                    found.setdefault(key, lines)
    return found


def copies_of(project: Project, name: str) -> Copies:
    """What the cache keeps of a remote's records."""
    return Copies(project.cache_folder, place_of(project, name))


# -- pushing ---------------------------------------------------------------------------------------


def push_runs(runs: RunCache, remote: Remote, options: PushOptions) -> RunsPushed:
    """Brings the records of this project's runs, and what those made, onto a remote: the bytes
    first, then one file of records.

    Raises:
        RemoteError: the remote fails; what arrived counts for the next push.
    """
    project = runs.project
    copies = copies_of(project, remote.name)
    new = _new_records(runs, remote, copies, options)
    roots = [root for locked in new.values() for root in _roots_of(locked)]
    cache = project.cache()
    # no word of these for gc: a run that no commit names is kept for the grace period
    report = push_objects(remote, cache, roots, replace(options, record=False))
    if options.dry_run:
        gone = {bytes.fromhex(one.label) for one in (*report.absent, *report.damaged)}
    else:
        gone = {root.oid for root in lacking(remote, project.cache_folder, roots)}
    whole = {key: one for key, one in new.items() if gone.isdisjoint(out.oid for out in one.outs)}
    records = size = 0
    for text, count in join_records(whole):
        name, data = render_run_file(text)
        records, size = records + count, size + len(data)
        if not options.dry_run:
            write_run_file(remote, name, data)
            copies.keep(name, data)
    return RunsPushed(records, len(new) - records, size, report)


def _new_records(
    runs: RunCache, remote: Remote, copies: Copies, options: PushOptions
) -> dict[str, LockedStage]:
    """What the remote has no record of, and could be restored elsewhere."""
    known: set[str] = set()
    if not options.unmade:
        copies.sync(remote, options.jobs)
        for text in copies.texts():
            known.update(split_records(text))
    found = {key: runs.read(key) for key in sorted(runs.own_keys() - known)}
    return {
        key: locked
        for key, locked in found.items()
        if locked is not None and key_of(locked) == key and _can_travel(locked)
    }


def _can_travel(locked: LockedStage) -> bool:
    """A folder that git keeps is not in the cache, so it could not be brought back."""
    return all(one.cached or one.kind == "file" for one in locked.outs)


def _roots_of(locked: LockedStage) -> Iterator[Root]:
    for one in locked.outs:
        yield Root(one.kind, one.oid, one.size, one.files, one.oid.hex())
