"""What commits did to the files that name data."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dvlite.gitrepo import GitRepo, below


class PointerChange(NamedTuple):
    """A commit gave a pointer file another content; None: it was not there, or is gone."""

    commit: str
    path: str
    old: str | None
    new: str | None


def pointer_changes(
    repo: GitRepo,
    tips: Sequence[str],
    known: Sequence[str],
    suffix: str | tuple[str, ...],
    folder: str = "",
) -> Iterator[PointerChange]:
    """What each commit reachable from `tips` and not from `known` did to files with `suffix`.

    Newest commits first; a merge is compared with each of its parents.
    """
    if not tips:
        return
    revisions = "".join(f"{tip}\n" for tip in tips) + "".join(f"^{one}\n" for one in known)
    commits = repo.ask("rev-list", "--stdin", stdin=revisions.encode())
    words = ["diff-tree", "--stdin", "-r", "-m", "--root", "--no-renames", "--raw", "-z"]
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    within = (below(folder, one) for one in suffixes)
    out = repo.ask(*words, "--", *within, stdin=commits)
    commit = ""
    fields = iter(out.split(b"\0"))
    for field in fields:
        if field.startswith(b":"):
            _, _, old, new, _ = field.decode("ascii").split(" ")
            path = os.fsdecode(next(fields))
            yield PointerChange(commit, path, _blob(old), _blob(new))
        elif field:
            commit = field.decode("ascii").split()[0]


def _blob(text: str) -> str | None:
    return None if not text.strip("0") else text
