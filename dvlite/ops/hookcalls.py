"""What git tells its hooks: which pointers it may have changed, which commits it is about to push.

Owns that alone, so that a hook which has nothing to do ends before it imports what would do it: 45
of 120 ms.
"""

from __future__ import annotations

from dvlite.errors import DvliteError
from dvlite.gitchanges import (
    Range,
    has_more_to_rebase,
    is_rebasing,
    is_zero,
    pointers_between,
    pointers_of_commit,
    pointers_staged,
)
from dvlite.gitrepo import GitRepo


def after_checkout(repo: GitRepo, old: str, new: str, of_branch: bool) -> dict[str, bool]:
    """The pointers that a checkout of git may have changed, and whether they are new."""
    if has_more_to_rebase(repo):
        return {}  # its end tells; an aborted one leaves the data as it was
    if of_branch:
        return {} if old == new else pointers_between(repo, old, new)
    return {"": False, **pointers_staged(repo)}


def after_merge(repo: GitRepo, is_squash: bool) -> dict[str, bool]:
    """The same for a merge."""
    before = None if is_squash else _commit(repo, "ORIG_HEAD")
    if before is None:
        return {"": False, **pointers_staged(repo)}
    return pointers_between(repo, before, "HEAD")


def after_commit(repo: GitRepo) -> dict[str, bool]:
    """The same for a commit, which a cherry-pick or a merge with conflicts may have ended in."""
    return {} if is_rebasing(repo) else pointers_of_commit(repo)


def after_rewrite(repo: GitRepo, command: str, lines: str) -> dict[str, bool]:
    """The same for a rebase (an amended commit has changed no file). `lines`: the old and the new
    commits, in order, as far as they are known."""
    if command == "amend":
        return {}
    rewritten = [line.split(" ")[:2] for line in lines.splitlines() if " " in line]
    starts = ["ORIG_HEAD", *(old for old, _ in rewritten[-1:])]
    starts += [new + "^" for _, new in rewritten[:1]]  # a rebase by patches took away what is new
    changed = {"": False}
    for start in starts:
        before = _commit(repo, start)
        for path, is_new in (pointers_between(repo, before, "HEAD") if before else {}).items():
            changed[path] = is_new or changed.get(path, False)
    return changed


def _commit(repo: GitRepo, revision: str) -> str | None:
    try:
        return repo.resolve(revision)
    except DvliteError:
        return None


def commits_of(lines: str, remote: str, url: str) -> Range:
    """The commits of a push, from what git tells its hook.

    `lines`: "LOCAL-REF COMMIT REMOTE-REF COMMIT" each; a ref that is deleted brings nothing.
    """
    fields = [line.split(" ") for line in lines.splitlines() if line.count(" ") == 3]
    tips = {local: None for _, local, _, _ in fields if not is_zero(local)}
    known = {theirs: None for _, _, _, theirs in fields if not is_zero(theirs)}
    return Range(tuple(tips), tuple(known), remote if remote and remote != url else None)
