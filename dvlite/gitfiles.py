"""Files as git has them: in its index, in commits, in all of history.

Owns questions that importing from other tools asks. Starting git is `gitrepo`'s; paths are as
there.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from dvlite.gitrepo import GitRepo


class SmallFile(NamedTuple):
    """A file of git's index or of a commit, with its content."""

    data: bytes
    executable: bool


class FoundFile(NamedTuple):
    """A file of a commit. `is_file`: neither a symbolic link nor another repository."""

    blob: str
    size: int
    is_file: bool


def changed(repo: GitRepo, paths: Sequence[str]) -> set[str]:
    """Those of `paths` that differ from the last commit; all before the first one."""
    if repo.head() is None:
        return set(paths)
    words = ["--literal-pathspecs", "diff", "--no-ext-diff", "--name-only", "-z", "HEAD"]
    return set(_split(repo.ask(*words))) & set(paths)


def with_attribute(repo: GitRepo, name: str, value: str, paths: Sequence[str]) -> set[str]:
    """Those of `paths` whose attribute has this value in the work tree."""
    found = _split(repo.ask("check-attr", "-z", "--stdin", name, stdin=_joined(paths)))
    triples = zip(found[::3], found[1::3], found[2::3], strict=True)
    return {path for path, _, has in triples if has == value}


def paths_at(repo: GitRepo, commit: str, folder: str = "") -> set[str]:
    """All files of a commit, below `folder`."""
    words = ["--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", "--name-only", commit]
    return set(_split(repo.ask(*words, *_below(folder))))


def files_below(repo: GitRepo, commit: str, path: str) -> dict[str, FoundFile]:
    """The file at a path of a commit; with a `/` at the end, all files below it."""
    words = ["--literal-pathspecs", "ls-tree", "-r", "-l", "-z", "--full-tree", commit]
    found = {}
    for line in _split(repo.ask(*words, *(["--", path] if path.strip("/") else []))):
        head, _, name = line.partition("\t")
        mode, kind, blob, size = head.split()
        is_file = kind == "blob" and mode.startswith("100")
        found[name] = FoundFile(blob, int(size) if size.isdigit() else 0, is_file)
    return found


def small_files(
    repo: GitRepo, folder: str, most_bytes: int, commit: str = ""
) -> dict[str, SmallFile]:
    """Path -> file, of those of git's index (or of a commit) that have at most so many bytes,
    below `folder`."""
    words = ["ls-files", "-z", "--stage", "--full-name"]
    if commit:
        words = ["ls-tree", "-r", "-z", "--full-tree", commit]
    places: dict[str, list[tuple[str, bool]]] = {}
    for line in _split(repo.ask("--literal-pathspecs", *words, *_below(folder))):
        head, _, path = line.partition("\t")
        fields = head.split(" ")
        if fields[0].startswith("100"):
            blob = fields[2] if commit else fields[1]
            places.setdefault(blob, []).append((path, fields[0] == "100755"))
    return {
        path: SmallFile(data, executable)
        for blob, data in repo.read_blobs(_small(repo, places, most_bytes))
        for path, executable in places[blob]
    }


def small_blobs_of_history(repo: GitRepo, most_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Each content of at most so many bytes that a file of any branch or tag ever had, with a
    path that it had."""
    paths = {}
    words = ["rev-list", "--objects", "--all", *(["HEAD"] if repo.head() else [])]
    for line in os.fsdecode(repo.ask(*words)).split("\n"):
        blob, _, path = line.partition(" ")
        if path:
            paths[blob] = path
    for blob, data in repo.read_blobs(_small(repo, paths, most_bytes)):
        yield paths[blob], data


def _small(repo: GitRepo, objects: Iterable[str], most_bytes: int) -> list[str]:
    """Those objects that are blobs of at most so many bytes."""
    text = "".join(one + "\n" for one in objects).encode("ascii")
    found = repo.ask("cat-file", "--batch-check", "--buffer", stdin=text).decode("ascii")
    lines = (line.split(" ") for line in found.splitlines())
    return [one[0] for one in lines if one[1] == "blob" and int(one[2]) <= most_bytes]


def _below(folder: str) -> list[str]:
    return ["--", folder + "/"] if folder else []


def _joined(paths: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(path) + b"\0" for path in paths)


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]
