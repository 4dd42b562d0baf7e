"""What the attacks share: planting data that no dvlite would write, and what must hold after each.

Around the work tree lies what an attack could want to change (`victim/`, the home folder, git's
hooks and settings), and a program called `executed` that must never have run.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from dvlite.project import Project
from dvlite.storage.cachewriter import CacheWriter
from dvlite.storage.oid import hash_bytes, hash_tree, to_text
from dvlite.storage.row import RowKind
from dvlite.storage.tree import Entry, Kind, Tree, encode, make_tree
from tests.repositories import Listing, Ran, Repository, finished, listing

SECRET = "hunter2-do-not-show"
EVIL = b"#!/bin/sh\ntouch ../executed ../../executed\n"
# Enough for Python, its libraries and threads; an attack that makes memory grow meets it soon.
MEMORY_BYTES = 2 << 30
CPU_S = 60


def file(name: bytes, data: bytes = EVIL, kind: Kind = Kind.FILE) -> Entry:
    return Entry(name, kind, hash_bytes(data), len(data))


def folder(name: bytes, oid: bytes, size: int, files: int) -> Entry:
    return Entry(name, Kind.TREE, oid, size, files)


def plant(
    r: Repository,
    data: bytes,
    size: int,
    files: int,
    path: str = "data",
    extra: Iterable[bytes] = (),
) -> None:
    """A pointer to bytes that are said to be a tree, and what it names, in the cache."""
    oid = put(r, data, extra)
    pointer(r, path, oid, size, files)


def put(r: Repository, data: bytes, extra: Iterable[bytes] = ()) -> bytes:
    oid = hash_tree(data)
    with CacheWriter(Project.open(str(r.path)).cache()) as writer:
        for one in (EVIL, b"", *extra):
            writer.add(hash_bytes(one), one)
        writer.add(oid, data, RowKind.TREE)
    return oid


def put_all(r: Repository, trees: Iterable[bytes]) -> None:
    with CacheWriter(Project.open(str(r.path)).cache()) as writer:
        for one in (EVIL, b""):
            writer.add(hash_bytes(one), one)
        for data in trees:
            writer.add(hash_tree(data), data, RowKind.TREE)


def pointer(
    r: Repository, path: str, oid: bytes, size: int, files: int = 1, kind: str = "tree"
) -> None:
    text = f"dvlite: 1\nkind: {kind}\noid: {to_text(oid)}\nsize: {size}\nfiles: {files}\n"
    r.write({f"{path}.dvl": text.encode()})


def plant_entries(r: Repository, *entries: Entry, extra: Iterable[bytes] = ()) -> None:
    """A tree of these entries, sorted, whose counts are right."""
    size, files = sum(one.size for one in entries), sum(one.files for one in entries)
    plant(r, encode(make_tree(entries)), size, files, extra=extra)


def raw_tree(entries: Iterable[Entry]) -> bytes:
    """The bytes of a tree of these entries in the given order, each as often as given."""
    rows = list(entries)
    made = make_tree(rows)
    return encode(
        Tree(
            [one.name for one in rows],
            bytes([one.kind for one in rows]),
            type(made.sizes)("Q", [one.size for one in rows]),
            type(made.files)("Q", [one.files for one in rows]),
            b"".join(one.oid for one in rows),
        )
    )


def arm(r: Repository) -> None:
    """Puts what must not change around the work tree."""
    victim = r.path.parent / "victim"
    (victim / "tmp").mkdir(parents=True)
    (victim / "tmp" / "thesis").write_bytes(b"the only copy")
    (victim / "config.toml").write_bytes(b"dvlite = 1\n")


def surroundings(r: Repository) -> Listing:
    """Everything but the work tree, and of its `.git` what makes git run or write something."""
    found = {}
    for one in sorted(r.path.parent.iterdir()):
        if one.name not in (r.path.name, "store", "origin.git"):
            found |= {f"{one.name}/{name}": what for name, what in listing(one).items()}
    for name in ("hooks", "config", "info", "HEAD"):
        inside = listing(r.path / ".git" / name)
        found |= {f"(git) {name}/{one}": what for one, what in inside.items()}
    return found


def check_words(ran: Ran) -> None:
    """What holds for whatever is said: no bug, no secret, nothing that moves a cursor."""
    said = ran.out + ran.err
    assert "Traceback" not in said and "a bug in dvlite" not in said, said
    assert ran.code != 20, said
    assert SECRET not in said, said
    odd = {char for char in said if not (char.isprintable() or char in "\n\t")}
    assert not odd, (odd, said)


def bounded(r: Repository, *words: str, code: int | None = None) -> Ran:
    """Runs a command as a process that may not grow, nor compute for long."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))

    process = subprocess.Popen(
        [sys.executable, "-m", "dvlite", *words],
        cwd=r.path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limit,
    )
    ran = finished(process, code)
    check_words(ran)
    return ran


def executed(r: Repository) -> list[Path]:
    """Where the program left its mark, if it ran."""
    places = (r.path.parent, r.path, r.path / ".git", Path(os.getcwd()), r.path.parent / "home")
    return [place / "executed" for place in places if (place / "executed").exists()]
