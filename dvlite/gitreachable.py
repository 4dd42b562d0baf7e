"""Everything that git keeps: which versions of some files it has, anywhere.

Owns listing the refs, stashes, reflogs, work trees and operations under way of a repository, and
the files with given names in all that they reach. One call of git reads all history: 50,000
commits take about 1.5 s. Starting git is `gitrepo`'s; paths are as there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from dvlite.errors import ProjectError
from dvlite.gitrepo import GitRepo

# Where git notes commits that no ref names, in the folder of a work tree: FETCH_HEAD and the
# like, and what a rebase, a merge or a bisection under way goes back to.
_NOTED = (
    *("FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "REBASE_HEAD"),
    *("BISECT_HEAD", "BISECT_START", "MERGE_AUTOSTASH", "AUTO_MERGE"),
    *("rebase-merge/orig-head", "rebase-merge/onto", "rebase-merge/autostash"),
    *("rebase-merge/stopped-sha", "rebase-merge/git-rebase-todo"),
    *("rebase-apply/orig-head", "rebase-apply/onto", "rebase-apply/autostash"),
    *("rebase-apply/abort-safety", "sequencer/head", "sequencer/todo", "sequencer/abort-safety"),
)
_NOTE_BYTES = 1 << 20
_HASH = re.compile(rb"\b(?:[0-9a-f]{64}|[0-9a-f]{40})\b")
# What objects themselves say counts, not what `git replace` shows instead; the replacements are
# refs, so both are found. And what merges brought, whatever somebody wants `-m` of `log` to mean.
_AS_IT_IS = (
    *("--no-replace-objects", "-c", "log.showSignature=false"),
    *("-c", "log.diffMerges=separate"),
)
_EMPTY_BLOBS = frozenset(
    (
        "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
        "473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
    )
)


class WorkTree(NamedTuple):
    """A work tree: git's folder of it, and its files' folder, which may be gone or not mounted."""

    git_dir: str
    top: str
    is_there: bool


@dataclass(slots=True)
class Version:
    """A content that a file had: its path, git's blob, the commits that brought it (the newest
    first), and when the newest of them was made."""

    path: str
    blob: str
    commits: list[str] = field(default_factory=list)
    time_s: int = 0


def work_trees(repo: GitRepo) -> list[WorkTree]:
    """All work trees of the repository, the main one first."""
    trees = [_main_tree(repo)]
    folder = os.path.join(repo.common_dir, "worktrees")
    with suppress(FileNotFoundError):
        for name in sorted(os.listdir(folder)):
            git_dir = os.path.join(folder, name)
            if os.path.isfile(os.path.join(git_dir, "HEAD")):
                top = _top_of(git_dir)
                trees.append(WorkTree(git_dir, top, os.path.lexists(os.path.join(top, ".git"))))
    return trees


def linked_tops(common_dir: str) -> list[str]:
    """The files' folders of the linked work trees of a repository, there or not."""
    folder = os.path.join(common_dir, "worktrees")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    tops = (_top_of(os.path.join(folder, name)) for name in names)
    return [top for top in tops if top]


def _main_tree(repo: GitRepo) -> WorkTree:
    if repo.git_dir == repo.common_dir:
        return WorkTree(repo.git_dir, repo.top, True)
    top = os.path.dirname(repo.common_dir)
    is_there = os.path.basename(repo.common_dir) == ".git"
    return WorkTree(repo.common_dir, top if is_there else "", is_there)


def _top_of(git_dir: str) -> str:
    try:
        with open(os.path.join(git_dir, "gitdir"), "rb") as stream:
            link = os.fsdecode(stream.read(1 << 16)).rstrip("\n")
    except OSError:
        return ""
    return os.path.dirname(os.path.normpath(os.path.join(git_dir, link)))


def noted_commits(repo: GitRepo) -> list[str]:
    """Commits that are there and that work trees note outside of refs and reflogs."""
    found: set[bytes] = set()
    for tree in work_trees(repo):
        paths = [os.path.join(tree.git_dir, name) for name in _NOTED]
        if tree.git_dir != repo.common_dir:  # refs of one work tree: those of a bisection
            below = os.walk(os.path.join(tree.git_dir, "refs"))
            paths += [os.path.join(at, name) for at, _, names in below for name in names]
        for path in paths:
            with suppress(OSError), open(path, "rb") as stream:
                found.update(_HASH.findall(stream.read(_NOTE_BYTES)))
    return _existing(repo, sorted(one.decode("ascii") for one in found), ("commit", "tag"))


def versions(repo: GitRepo, patterns: Sequence[str]) -> list[Version]:
    """Every version of the files that match git's `patterns`, in all that git keeps. What reflogs
    name and git no longer has is passed over.

    Raises:
        ProjectError: git's own history is damaged: an older commit of one that is there is not.
    """
    noted = "".join(one + "\n" for one in noted_commits(repo)).encode("ascii")
    words = ["log", "--all", "--reflog", "--ignore-missing", "--stdin", "--full-history", "-m"]
    words += ["--root", "--raw", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--no-color"]
    words += ["--no-notes", "--no-show-signature", "--no-decorate", "--no-mailmap"]
    words += ["--ignore-submodules=none", "--format=commit %H %ct", "--", *patterns]
    found = _collect(repo.ask(*_AS_IT_IS, *words, stdin=noted))
    for tree in _named_by_refs(repo, "tree"):  # without a commit
        for path, blob in _listed(repo.ask(*_AS_IT_IS, "ls-tree", "-rz", "--full-tree", tree)):
            found.setdefault((path, blob), Version(path, blob))
    return list(found.values())


def _collect(out: bytes) -> dict[tuple[str, str], Version]:
    found: dict[tuple[str, str], Version] = {}
    commit, time_s = "", 0
    fields = iter(out.split(b"\0"))
    for text in fields:
        text = text.lstrip(b"\n")
        if text.startswith(b":"):
            _, mode, _, new, _ = text.decode("ascii").split(" ")
            path = os.fsdecode(next(fields))
            if not mode.startswith("100") or new in _EMPTY_BLOBS:
                continue
            one = found.setdefault((path, new), Version(path, new, [], time_s))
            if commit not in one.commits[-1:]:
                one.commits.append(commit)
            one.time_s = max(one.time_s, time_s)
        elif text.startswith(b"commit "):
            words = text.decode("ascii").split()
            commit, time_s = words[1], int(words[2])
    return found


def versions_since(repo: GitRepo, patterns: Sequence[str], since_s: int) -> set[str]:
    """The blobs of such files that any commit from `since_s` on has, or that a tip has: the head of
    a work tree, a ref, the newest stashes.

    A commit's state is what it brought, what it did not change and a later commit took away, or
    what is still in a tip.
    """
    tips = _tips(repo)
    blobs = versions_at(repo, patterns, tips)
    words = ["rev-list", "--all", "--reflog", "--ignore-missing", "--timestamp", "--stdin"]
    text = "".join(tip + "\n" for tip in tips).encode("ascii")
    lines = repo.ask(*_AS_IT_IS, *words, stdin=text).decode("ascii").splitlines()
    recent = [line.split(" ")[1] for line in lines if int(line.split(" ")[0]) >= since_s]
    words = ["diff-tree", "--stdin", "-r", "-m", "--root", "--no-renames", "--raw", "-z"]
    text = "".join(one + "\n" for one in recent).encode("ascii")
    raw = repo.ask(*_AS_IT_IS, *words, "--no-abbrev", "--", *patterns, stdin=text)
    for one in raw.split(b"\0"):
        if one.startswith(b":"):
            blobs.update(one.decode("ascii").split(" ")[2:4])
    return blobs


def _matches(path: str, patterns: Sequence[str]) -> bool:
    ends = [pattern.rpartition("**/")[2] for pattern in patterns]
    return any(
        path.endswith(end[1:]) if end[0] == "*" else path == end or path.endswith("/" + end)
        for end in ends
    )


def versions_at(repo: GitRepo, patterns: Sequence[str], commits: Iterable[str]) -> set[str]:
    """The blobs of such files that these commits have."""
    blobs: set[str] = set()
    for commit in commits:
        listed = _listed(repo.ask(*_AS_IT_IS, "ls-tree", "-rz", "--full-tree", commit))
        blobs.update(blob for path, blob in listed if _matches(path, patterns))
    return blobs


def checked_out(repo: GitRepo) -> set[str]:
    """What each work tree has checked out, what operations under way go back to, and every
    stash."""
    found = set(noted_commits(repo))
    for tree in work_trees(repo):
        with suppress(ProjectError):  # before the first commit
            words = ["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
            found.add(repo.ask("--git-dir", tree.git_dir, *words).decode("ascii").strip())
    with suppress(ProjectError):  # nothing was ever stashed
        stashes = repo.ask("log", "-g", "--format=%H %P", "refs/stash", "--").decode("ascii")
        found.update(stashes.split())
    return found


def _tips(repo: GitRepo) -> list[str]:
    """The same, and the commits that refs name."""
    tips = checked_out(repo)
    tips.update(_named_by_refs(repo, "commit"))
    return sorted(tips)


def _named_by_refs(repo: GitRepo, kind: str) -> Iterator[str]:
    """The objects of a kind that refs name, through tags too."""
    form = "%(objectname) %(objecttype) %(*objectname) %(*objecttype)"
    for line in repo.ask(*_AS_IT_IS, "for-each-ref", f"--format={form}").decode().splitlines():
        words = line.split()
        yield from (words[at] for at in range(0, len(words), 2) if words[at + 1] == kind)


def staged_versions(repo: GitRepo, tree: WorkTree, patterns: Sequence[str]) -> Iterator[Version]:
    """The same for the index of a work tree, all sides of a conflict included."""
    words = ["ls-files", "--stage", "-z", "--full-name", "--", *patterns]
    for line in _split(repo.ask("--git-dir", tree.git_dir, *words)):
        head, _, path = line.partition("\t")
        mode, blob, _ = head.split(" ")
        if mode.startswith("100") and blob not in _EMPTY_BLOBS:
            yield Version(path, blob)


def files_of(repo: GitRepo, tree: WorkTree, patterns: Sequence[str]) -> list[str]:
    """The files of a work tree that match, tracked or not, without those that git ignores."""
    words = ["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--full-name"]
    here = ["-C", tree.top, "--git-dir", tree.git_dir, "--work-tree", tree.top]
    return sorted(set(_split(repo.ask(*here, *words, "--", *patterns))))


def is_shallow(repo: GitRepo) -> bool:
    """Whether older commits were left out when this clone was made."""
    return os.path.isfile(os.path.join(repo.common_dir, "shallow"))


def _existing(repo: GitRepo, hashes: Iterable[str], kinds: tuple[str, ...]) -> list[str]:
    text = "".join(one + "\n" for one in hashes).encode("ascii")
    if not text:
        return []
    lines = repo.ask(*_AS_IT_IS, "cat-file", "--batch-check", stdin=text).decode().splitlines()
    rows = (line.split(" ") for line in lines)
    return [row[0] for row in rows if len(row) == 3 and row[1] in kinds]


def _listed(listing: bytes) -> Iterator[tuple[str, str]]:
    """Path and blob of the regular files of an `ls-tree -z`."""
    for line in _split(listing):
        head, _, path = line.partition("\t")
        mode, _, blob = head.split(" ")
        if mode.startswith("100") and blob not in _EMPTY_BLOBS:
            yield path, blob


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]
