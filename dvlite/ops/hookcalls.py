"""What git tells its hooks: which pointers it may have changed, which commits it is about to push.

Owns that alone, so that a hook which has nothing to do ends before it imports what would do it: 45
of 120 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.errors import DvliteError
from dvlite.gitchanges import (
    Range,
    has_more_to_rebase,
    is_rebasing,
    is_zero,
    pointers_at,
    pointers_between,
    pointers_of_commit,
    pointers_staged,
)
from dvlite.gitrepo import GitRepo


@dataclass(frozen=True, slots=True)
class Changed:
    """What git may have changed: pointer files, and whether they are new, since the commit
    `before`; `others`: any other pointer too."""

    pointers: Mapping[str, bool] = field(default_factory=dict)
    before: str | None = None
    others: bool = False

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not self.pointers and not self.others


def after_checkout(repo: GitRepo, old: str, new: str, of_branch: bool) -> Changed:
    """What a checkout of git may have changed."""
    if has_more_to_rebase(repo) or (of_branch and old == new):
        return Changed()  # a rebase's end tells; an aborted one leaves the data as it was
    if not of_branch:
        return Changed(pointers_staged(repo), others=True)
    before = None if is_zero(old) else old
    if is_zero(new):  # a branch without commits
        gone = dict.fromkeys(pointers_at(repo, old), False) if before else {}
        return Changed(gone, before, others=True)
    return Changed(pointers_between(repo, old, new), before)


def after_merge(repo: GitRepo, is_squash: bool) -> Changed:
    """What a merge may have changed."""
    before = None if is_squash else _commit(repo, "ORIG_HEAD")
    if before is None:
        return Changed(pointers_staged(repo), others=True)
    return Changed(pointers_between(repo, before, "HEAD"), before)


def after_commit(repo: GitRepo) -> Changed:
    """What a commit has, which a cherry-pick or a merge with conflicts may have ended in."""
    if is_rebasing(repo):
        return Changed()
    changed = pointers_of_commit(repo)
    return Changed(changed, _commit(repo, "HEAD^") if changed else None)


def after_rewrite(repo: GitRepo, command: str, lines: str) -> Changed:
    """What a rebase may have changed (an amended commit has changed no file). `lines`: the old and
    the new commits, in order, as far as they are known."""
    if command == "amend":
        return Changed()
    rewritten = [line.split(" ")[:2] for line in lines.splitlines() if " " in line]
    starts = ["ORIG_HEAD", *(old for old, _ in rewritten[-1:])]
    starts += [new + "^" for _, new in rewritten[:1]]  # a rebase by patches took away what is new
    commits = [commit for start in starts if (commit := _commit(repo, start)) is not None]
    changed: dict[str, bool] = {}
    for commit in commits:
        for path, is_new in pointers_between(repo, commit, "HEAD").items():
            changed[path] = is_new or changed.get(path, False)
    return Changed(changed, commits[0] if commits else None, others=True)


def _commit(repo: GitRepo, revision: str) -> str | None:
    try:
        return repo.resolve(revision)
    except DvliteError:
        return None


def commits_of(lines: str, remote: str, url: str) -> Range:
    """The commits of a push, from what git tells its hook.

    `lines`: "LOCAL-REF COMMIT REMOTE-REF COMMIT" each; a ref that is deleted brings nothing. The
    first is what the user typed where that is no branch (`HEAD@{1 day ago}`), spaces included.
    """
    # a line ends with LF alone: branches may have other characters in their names that end lines
    fields = [line.rsplit(" ", 3) for line in lines.split("\n") if line.count(" ") >= 3]
    tips = {local: None for _, local, _, _ in fields if not is_zero(local)}
    known = {theirs: None for _, _, _, theirs in fields if not is_zero(theirs)}
    return Range(tuple(tips), tuple(known), remote if remote and remote != url else None)
