"""What all repositories that use a cache name: the objects that gc keeps in it.

Owns asking each of them, and walking through their trees as far as the cache has them. A
repository that is written down as a user and cannot be read stops gc: its data may be named
nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dvlite.errors import ConflictError, DvliteError, MissingError
from dvlite.gitreachable import linked_tops, work_trees
from dvlite.gitrepo import GitRepo
from dvlite.ops.reachable import Kept, Reachable, reachable
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.tree import Kind
from dvlite.workspace import cacheusers, statindex
from dvlite.workspace.cacheusers import User
from dvlite.workspace.pointer import Pointer


@dataclass(slots=True)
class Live:
    """Oids of everything that is in use. `damaged`: trees whose content nobody can tell."""

    oids: set[bytes] = field(default_factory=set)
    damaged: set[bytes] = field(default_factory=set)


def repositories(project: Project, forgotten: Sequence[str] = ()) -> list[GitRepo]:
    """This repository, and every other one that uses the project's cache, without those that would
    be `forgotten`.

    Raises:
        ConflictError: one cannot be read.
    """
    known = {os.path.realpath(project.repo.common_dir): project.repo}
    users, broken = cacheusers.users(project.cache_folder)
    users = [one for one in users if not any(_is_at(one, place) for place in forgotten)]
    if broken:
        raise ConflictError(
            f"{broken[0]} does not say which repository uses the cache",
            f"if that is known to be none, remove the file: rm {broken[0]}",
        )
    absent = []
    for user in users:
        repo = _open(user)
        if repo is None:
            absent.append(user)
        else:
            known.setdefault(os.path.realpath(repo.common_dir), repo)
    ids = {_clone_of(repo) for repo in known.values()}
    for user in absent:
        if user.clone not in ids:  # else it was moved
            raise ConflictError(
                f"{user.top} uses this cache and cannot be read, so nobody knows what it needs",
                f"mount it; or if it is gone for good: dvlite gc --forget {user.top}",
            )
    return list(known.values())


def forget(project: Project, place: str, dry_run: bool = False) -> None:
    """Takes a repository out of those that use the cache; `place`: absolute.

    Raises:
        MissingError: there is none at that place.
    """
    users, _ = cacheusers.users(project.cache_folder)
    chosen = [one for one in users if _is_at(one, place)]
    if not chosen:
        raise MissingError(
            f"no repository at {place} uses this cache",
            "known: " + (", ".join(one.top for one in users) or "none"),
        )
    for user in chosen if not dry_run else ():
        os.unlink(user.path)


def _is_at(user: User, place: str) -> bool:
    return place in (user.top, user.common_dir, user.path)


def _open(user: User) -> GitRepo | None:
    # the work tree that used it first may be gone; a bare repository has no other way in
    for folder in (user.top, os.path.dirname(user.common_dir), *linked_tops(user.common_dir)):
        try:
            repo = GitRepo.discover(folder)
        except DvliteError:
            continue
        if os.path.realpath(repo.common_dir) == os.path.realpath(user.common_dir):
            return repo
    return None


def _clone_of(repo: GitRepo) -> str:
    try:
        return cacheusers.clone_id(repo.common_dir).hex()
    except OSError:
        return ""


def reach(repos: Iterable[GitRepo], kept: Kept) -> Iterator[Reachable]:
    """What each repository names.

    Raises:
        CorruptError: something cannot be read that may name more.
    """
    for repo in repos:
        found = reachable(repo, kept)
        found.refuse_uncertain()
        yield found


def walk(cache: Cache, roots: Iterable[Pointer], live: Live) -> None:
    """Adds everything that these name and the cache can tell of."""
    waiting = [(one.oid, one.kind == "tree") for one in roots]
    while waiting:
        oid, is_tree = waiting.pop()
        if oid in live.oids:
            continue
        live.oids.add(oid)
        if not is_tree or not cache.has(oid):
            continue
        try:
            tree = cache.read_tree(oid)
        except (DvliteError, OSError):
            live.damaged.add(oid)
            continue
        below = tree.oid_list()
        if max(tree.kinds, default=0) < Kind.TREE:
            live.oids.update(below)
            continue
        for at, kind in enumerate(tree.kinds):
            if kind >= Kind.TREE:
                waiting.append((below[at], True))
            else:
                live.oids.add(below[at])


def add_known_files(repos: Iterable[GitRepo], live: Live) -> None:
    """Adds what the stat indexes say that the files of work trees hold: `add` takes their word that
    it is in the cache."""
    for repo in repos:
        for tree in work_trees(repo):
            for folder, _, names in os.walk(os.path.join(tree.git_dir, "dvlite")):
                if os.path.basename(folder) != "stat":
                    continue
                for name in names:
                    for block in statindex.load(os.path.join(folder, name)).blocks.values():
                        oids = bytes(block.oids)
                        live.oids.add(block.oid)
                        live.oids.update(oids[at : at + 32] for at in range(0, len(oids), 32))
