"""What has to hold at every moment: in caches, on remotes, in workspaces.

Owns the looking, done with the library's own checks in a process that is not disturbed. A thing
that is wrong is a line of text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dvlite.errors import DvliteError
from dvlite.project import Project
from dvlite.storage.backend import open_backend
from dvlite.storage.cache import Cache
from dvlite.storage.check import CheckOptions, CheckReport, check_remote
from dvlite.storage.closure import Places
from dvlite.storage.oid import hash_bytes, hash_tree
from dvlite.storage.remote import NotMade, open_remote
from dvlite.storage.row import RowKind, read_rows
from dvlite.storage.tree import Kind
from dvlite.storage.treewalk import read_folder
from dvlite.workspace.pointer import parse
from tests.torture.stage import Snapshot

# What dvlite and git write for themselves; its text may pass through several states.
_MANAGED = (".gitignore", ".gitattributes", ".dvl", ".dvlite/imported", ".dvlite/config.toml")
_FOLDERS = ("work", "clone", "fresh")


def caches(here: Path) -> Iterator[Cache]:
    """The caches of all repositories there are."""
    for name in _FOLDERS:
        folder = here / name / ".git" / "dvlite" / "cache"
        if folder.is_dir():
            yield Cache(str(folder))
    for name in ("first", "moved"):
        if (here / name).is_dir():
            yield Cache(str(here / name))


def committed(here: Path) -> list[str]:
    """Every object that a commit of the work repository names, in hexadecimal."""
    project = Project.open(str(here / "work"))
    oids: set[bytes] = set()
    for commit in {**project.repo.tags(), **project.repo.branches()}.values():
        for path, text in project.pointers_at(commit).items():
            pointer = parse(text, path)
            oids.add(pointer.oid)
            if pointer.kind == "tree":
                _collect(project.cache(), pointer.oid, oids)
    return sorted(oid.hex() for oid in oids)


def _collect(cache: Cache, tree: bytes, oids: set[bytes]) -> None:
    for entry in read_folder(cache.read_tree, tree):
        oids.add(entry.oid)
        if entry.kind == Kind.TREE:
            _collect(cache, entry.oid, oids)


def wrong_in_caches(here: Path) -> Iterator[str]:
    """Objects that are visible and not what their name says."""
    for cache in caches(here):
        for pack in cache.packs():
            for row in read_rows(pack.segment.objects.all_rows()):
                data = cache.read_row(pack.path, row)
                name = hash_tree(data) if row.kind == RowKind.TREE else hash_bytes(data)
                if name != row.id:
                    yield f"a wrong object {row.id.hex()} in {pack.path}"
        for oid, path in cache.loose_objects():
            data = Path(path).read_bytes()
            if oid not in (hash_bytes(data), hash_tree(data)):
                yield f"a wrong object: {path}"


def stores(here: Path) -> list[Path]:
    return [path for name in ("store", "copied") if (path := here / name).is_dir()]


def check_store(folder: Path, mirror: Path) -> CheckReport | None:
    """A full check; None where there is no remote yet."""
    try:
        remote = open_remote("store", open_backend(str(folder), {}))
        return check_remote(remote, str(mirror), CheckOptions(full=True))
    except NotMade:
        return None


def held(here: Path, oids: Iterable[bytes]) -> dict[str, list[str]]:
    """Which of these objects each cache has."""
    wanted = set(oids)
    return {
        cache.folder: sorted(oid.hex() for oid in cache.find_many(wanted)) for cache in caches(here)
    }


def examine(here: Path, known: list[str], old: Snapshot, damaged: bool) -> None:
    """Prints, as JSON, what is wrong here and what each cache holds of `known`.

    `old`: what the user had in the workspace. `damaged`: caches and remotes were so from the
    beginning.
    """
    wrong: list[str] = []
    oids = {bytes.fromhex(text) for text in known}
    try:
        wrong += wrong_in_caches(here) if not damaged else ()
    except (DvliteError, OSError) as error:
        wrong.append(f"a cache cannot be read: {error}")
    lacking, mirror = set(oids), here.parent / "mirror"
    contents = {bytes.fromhex(what) for what in old.values() if len(what) == 64}
    for cache in caches(here):
        lacking, contents = cache.missing(lacking), cache.missing(contents)
    for store in stores(here):
        report = check_store(store, mirror)
        if report is None:
            continue
        if not damaged and not report.clean:
            wrong += [f"{store.name}: {one.what} {one.name}" for one in report.problems]
        lacking = Places(report.index, report.bad).lacking(lacking, chunk=False)
        contents = Places(report.index, report.bad).lacking(contents, chunk=False)
    wrong += [f"the committed object {oid.hex()} is nowhere" for oid in lacking]
    found = {"wrong": wrong, "held": held(here, oids), "nowhere": [oid.hex() for oid in contents]}
    print(json.dumps(found))


def wrong_in_workspace(old: Snapshot, new: Snapshot, now: Snapshot) -> Iterator[str]:
    """Paths that are neither as they were nor as the command makes them."""
    for path in sorted({*old, *new, *now}):
        if path not in old and path not in new:
            yield f"left in the workspace: {path}"
        elif now.get(path) not in (old.get(path), new.get(path)) and not managed(path):
            yield f"neither old nor new: {path} ({now.get(path, 'gone')})"


def lost(old: Snapshot, now: Iterable[Snapshot], nowhere: Iterable[str]) -> Iterator[str]:
    """Content that the user had and that is neither in a workspace, a cache nor a remote."""
    there = {what for snapshot in now for what in snapshot.values()}
    gone = set(nowhere) - there
    for path, what in old.items():
        if what in gone and not managed(path):
            yield f"lost: {path}"


def managed(path: str) -> bool:
    return path.endswith(_MANAGED)


def settings(here: Path) -> dict[str, str]:
    """Settings and hooks inside git's folders."""
    found = {}
    for name in _FOLDERS:
        git = here / name / ".git"
        paths = [git / "config", git / "dvlite" / "config.toml", *sorted(git.glob("hooks/*"))]
        for path in paths:
            if path.is_file() and not path.name.endswith(".sample") and path.name[0] != ".":
                mode = os.stat(path).st_mode & 0o777
                found[str(path.relative_to(here))] = f"{mode:o} {path.read_text()}"
    return found
