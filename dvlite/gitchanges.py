"""What git is about to commit or to push, and what it has just checked out.

Owns the questions that hooks ask, each with as few calls of git as possible: a hook runs at every
commit. Starting git is `gitrepo`'s; paths are as there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dvlite.errors import ProjectError
from dvlite.githistory import PointerChange
from dvlite.gitrepo import GitRepo

# pointers, and lockfiles, which name the outputs of stages
_LOCK = "dvlite.lock"
_POINTERS = (":(top,glob)**/*.dvl", f":(top,glob)**/{_LOCK}")
_CONFIG = ".dvlite/config.toml"
# what names data that a push has to bring
_NAMING = (*_POINTERS, ":(top,glob)**/.dvlite/imported")
_CONFIGS = f":(top,glob)**/{_CONFIG}"


class Staged(NamedTuple):
    """A file that the next commit brings, or changes. `mode` is git's, in octal."""

    path: str
    blob: str
    mode: str


class Range(NamedTuple):
    """The commits that a push brings: reachable from `tips` and neither from `known` (commits
    that may be missing here) nor from what git last saw of its remote `remote`."""

    tips: tuple[str, ...]
    known: tuple[str, ...] = ()
    remote: str | None = None


def is_zero(commit: str) -> bool:
    """Whether git means "none" by it."""
    return not commit.strip("0")


def project_folders(repo: GitRepo) -> list[str]:
    """The folders of the work tree that are dvlite projects, as git's index has them ("" for the
    top)."""
    listed = _split(repo.ask("ls-files", "-z", "--cached", "--", _CONFIGS))
    top = os.path.realpath(repo.top)
    folders = {path[: -len(_CONFIG)].rstrip("/") for path in listed}
    return sorted(folder for folder in folders if _is_there(top, folder))


def _is_there(top: str, folder: str) -> bool:
    """Not where a symbolic link has replaced a folder on the way."""
    root = os.path.join(top, folder) if folder else top
    return os.path.realpath(root) == root and os.path.isfile(os.path.join(root, _CONFIG))


def folder_of(path: str, folders: Iterable[str]) -> str | None:
    """The innermost of `folders` that a path is in."""
    above = [one for one in folders if not one or path.startswith(one + "/")]
    return max(above, key=len, default=None)


# -- committing ------------------------------------------------------------------------------------


def staged(repo: GitRepo) -> list[Staged]:
    """The files that the next commit would bring or change."""
    words = ["--cached", "--raw", "-r", "-z", "--no-renames", "--no-abbrev", "--diff-filter=AMT"]
    try:
        fields = _split(repo.ask("diff-index", *words, "HEAD", "--"))
    except ProjectError:  # before the first commit
        return _whole_index(repo)
    return [
        Staged(path, head.split(" ")[3], head.split(" ")[1])
        for head, path in zip(fields[::2], fields[1::2], strict=True)
    ]


def _whole_index(repo: GitRepo) -> list[Staged]:
    found = []
    for line in _split(repo.ask("ls-files", "-z", "--stage", "--full-name")):
        head, _, path = line.partition("\t")
        mode, blob, _ = head.split(" ")
        found.append(Staged(path, blob, mode))
    return found


def sizes(repo: GitRepo, blobs: Iterable[str]) -> dict[str, int]:
    """The size in bytes of each blob that is here."""
    text = "".join(blob + "\n" for blob in blobs).encode("ascii")
    if not text:
        return {}
    lines = repo.ask("cat-file", "--batch-check", "--buffer", stdin=text).decode("ascii")
    fields = (line.split(" ") for line in lines.splitlines())
    return {one[0]: int(one[2]) for one in fields if len(one) == 3 and one[1] == "blob"}


def merged_in(repo: GitRepo) -> set[tuple[str, str]]:
    """Path and blob of the files that a merge under way takes from the other side as they are."""
    if not os.path.exists(os.path.join(repo.git_dir, "MERGE_HEAD")):
        return set()
    words = ["ls-tree", "-r", "-z", "--full-tree", "MERGE_HEAD"]
    found = set()
    for line in _split(repo.ask(*words)):
        head, _, path = line.partition("\t")
        found.add((path, head.split(" ")[2]))
    return found


# -- checking out ----------------------------------------------------------------------------------


def is_rebasing(repo: GitRepo) -> bool:
    """Whether a rebase is under way in this work tree."""
    return _is_merging(repo) or _is_patching(repo)


def has_more_to_rebase(repo: GitRepo) -> bool:
    """Whether a rebase is under way that has commits left to apply. One by patches has not begun
    when git checks out what it goes onto, so that it cannot be told from a mere checkout then."""
    if not _is_merging(repo):
        return _is_patching(repo)
    try:
        path = os.path.join(repo.git_dir, "rebase-merge", "git-rebase-todo")
        with open(path, encoding="utf-8", errors="replace") as stream:
            words = {line.split(" ")[0].strip() for line in stream if not line.startswith("#")}
    except OSError:
        return False
    return bool(words - {"", "noop"})


def _is_merging(repo: GitRepo) -> bool:
    return os.path.isdir(os.path.join(repo.git_dir, "rebase-merge"))


def _is_patching(repo: GitRepo) -> bool:
    return os.path.isdir(os.path.join(repo.git_dir, "rebase-apply"))


def pointers_between(repo: GitRepo, old: str, new: str) -> dict[str, bool]:
    """The pointer files and lockfiles in which two commits differ, and whether the second brings
    them anew; where the first is none, all that are checked out."""
    if is_zero(old):
        return dict.fromkeys(_split(repo.ask("ls-files", "-z", "--", *_POINTERS)), True)
    words = ["diff-tree", "-r", "-z", "--no-renames", "--name-status", old, new]
    return _by_status(repo.ask(*words, "--", *_POINTERS))


def pointers_at(repo: GitRepo, commit: str) -> list[str]:
    """The pointer files of a commit."""
    words = ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit]
    return [path for path in _split(repo.ask(*words)) if _is_pointer(path)]


def _is_pointer(path: str) -> bool:
    return path.endswith(".dvl") or os.path.basename(path) == _LOCK


def pointers_of_commit(repo: GitRepo) -> dict[str, bool]:
    """The same for the current commit and each of its parents."""
    words = ["diff-tree", "-r", "-z", "-m", "--root", "--no-commit-id", "--no-renames"]
    return _by_status(repo.ask(*words, "--name-status", "HEAD", "--", *_POINTERS))


def pointers_staged(repo: GitRepo) -> dict[str, bool]:
    """The same for the current commit and what is staged."""
    words = ["diff-index", "--cached", "-r", "-z", "--no-renames", "--name-status", "HEAD"]
    try:
        return _by_status(repo.ask(*words, "--", *_POINTERS))
    except ProjectError:  # before the first commit
        return {}


def _by_status(listed: bytes) -> dict[str, bool]:
    fields = _split(listed)
    return {path: what == "A" for what, path in zip(fields[::2], fields[1::2], strict=True)}


# -- pushing ---------------------------------------------------------------------------------------


def pushed_pointers(repo: GitRepo, commits: Range) -> list[PointerChange]:
    """What the commits of a push do to pointers, and to the mapping of old names: one for each
    content that is new."""
    words = ["diff-tree", "--stdin", "-r", "-m", "--root", "--no-renames", "--raw", "-z"]
    listed = _commits(repo, commits, "--full-history", "--", *_NAMING)
    if not listed:
        return []
    found: dict[tuple[str, str], PointerChange] = {}
    for change in _changes(repo.ask(*_AS_IT_IS, *words, "--", *_NAMING, stdin=listed)):
        if change.new is not None:
            found.setdefault((change.path, change.new), change)
    return list(found.values())


def unpublished(repo: GitRepo, tips: Sequence[str]) -> set[str]:
    """The commits that git has seen on none of its remotes."""
    text = "".join(f"{tip}\n" for tip in tips).encode("ascii")
    words = ["rev-list", "--stdin", "--not", "--remotes"]
    return set(repo.ask(*_AS_IT_IS, *words, stdin=text).decode("ascii").split())


def folder_at(repo: GitRepo, commit: str, path: str) -> tuple[str, bytes] | None:
    """The innermost project that a path is in at a commit, and its settings' bytes."""
    folder = os.path.dirname(path)
    while True:
        found = repo.read_file(commit, f"{folder}/{_CONFIG}" if folder else _CONFIG)
        if found is not None:
            return folder, found
        if not folder:
            return None
        folder = os.path.dirname(folder)


# a push sends the objects themselves, not what `git replace` shows instead
_AS_IT_IS = ("--no-replace-objects",)


def _commits(repo: GitRepo, commits: Range, *words: str) -> bytes:
    """Newest first. A merge that equals one of its parents in what `words` limit to is left out:
    what it has, that parent's side brought."""
    if not commits.tips:
        return b""
    lines = [*commits.tips, *("^" + one for one in commits.known)]
    seen = ["--not", f"--remotes={commits.remote}"] if commits.remote else []
    text = "".join(line + "\n" for line in lines).encode("ascii")
    return repo.ask(
        *_AS_IT_IS, "rev-list", "--ignore-missing", "--stdin", *seen, *words, stdin=text
    )


def _changes(raw: bytes) -> Iterator[PointerChange]:
    commit = ""
    fields = iter(raw.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            _, mode, old, new, _ = field.decode("ascii").split(" ")
            path = os.fsdecode(next(fields))
            is_file = mode.startswith("100")
            yield PointerChange(commit, path, _blob(old), _blob(new) if is_file else None)
        elif field:
            commit = field.decode("ascii").split()[0]


def _blob(text: str) -> str | None:
    return None if is_zero(text) else text


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]
