"""`dvlite hook`: what the hooks of git call.

A hook before something ends with an error when that should not happen; one after it never does, as
git would hand the error on although its own work is done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from dvlite.cli.options import Common, common
from dvlite.cli.output import complain, note, transferring
from dvlite.errors import DvliteError, ProjectError

if TYPE_CHECKING:
    from dvlite.gitchanges import Range
    from dvlite.gitrepo import GitRepo
    from dvlite.ops.hookcalls import Changed

_HOOKS = ("pre-commit", "pre-push", "post-checkout", "post-commit", "post-merge", "post-rewrite")
_NOTHING = "0" * 40


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("hook", type=click.Choice(_HOOKS))
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
@common
def command(common: Common, hook: str, words: tuple[str, ...]) -> None:
    """Do what a hook of git is for; the hooks that dvlite install writes call it.

    ARGS and the standard input are what git gives the hook. Without them the variables count
    that the pre-commit framework sets. Where there is no dvlite project, nothing is done.
    DVLITE_SKIP_HOOKS=1 does nothing anywhere.

    \b
    Examples:
      dvlite hook pre-commit
      dvlite hook post-checkout -- "$@"
    """
    if os.environ.get("DVLITE_SKIP_HOOKS", "0").lower() not in ("", "0", "no", "false"):
        return
    from dvlite.gitrepo import GitRepo

    try:
        repo = GitRepo.discover(common.directory)
    except ProjectError:
        return  # bare, or somebody's home under git without a folder .git
    if hook == "pre-commit":
        _before_commit(repo)
    elif hook == "pre-push":
        _before_push(common, repo, words)
    else:
        _after(common, repo, hook, words)


def _cache_folder() -> str | None:
    return os.environ.get("DVLITE_CACHE_DIR") or None


# -- pre-commit ------------------------------------------------------------------------------------


def _before_commit(repo: GitRepo) -> None:
    from dvlite.cli.hookwords import say_fault
    from dvlite.ops.hookcommit import examine

    found = examine(repo, _cache_folder())
    for root in dict.fromkeys(one.root for one in found):
        mine = [one for one in found if one.root == root]
        for fault in dict.fromkeys(one.fault for one in mine):
            say_fault(repo.top, [one for one in mine if one.fault == fault])
    if found:
        note("hint: git commit --no-verify commits as it is")
        raise SystemExit(1)


# -- pre-push --------------------------------------------------------------------------------------


def _before_push(common: Common, repo: GitRepo, words: Sequence[str]) -> None:
    from dvlite.gitchanges import pushed_pointers

    commits = _pushed(repo, words)
    changes = pushed_pointers(repo, commits)
    if not changes:
        return
    from dvlite.cli.hookwords import say_pushed
    from dvlite.cli.push import fail_if_incomplete
    from dvlite.ops.hookpush import push_data

    try:
        with transferring(common.quiet, common.verbose) as progress:
            for pushed in push_data(repo, commits, changes, _cache_folder(), progress):
                say_pushed(repo.top, pushed)
                if pushed.result is not None:
                    fail_if_incomplete(pushed.result)
    except DvliteError as error:
        ways = "git push --no-verify pushes the commits without their data"
        error.hint = f"{error.hint}\n{ways}" if error.hint else ways
        raise


def _pushed(repo: GitRepo, words: Sequence[str]) -> Range:
    from dvlite.gitchanges import Range
    from dvlite.ops.hookcalls import commits_of

    # where the first commit of all is pushed as well, the framework names no commits
    tip = os.environ.get("PRE_COMMIT_TO_REF") or os.environ.get("PRE_COMMIT_LOCAL_BRANCH")
    if words or not tip:
        remote, url = (*words, "", "")[:2]
        return commits_of(_standard_input(), remote, url)
    known = os.environ.get("PRE_COMMIT_FROM_REF")
    remote = os.environ.get("PRE_COMMIT_REMOTE_NAME", "")
    is_url = remote == os.environ.get("PRE_COMMIT_REMOTE_URL")
    tips, seen = ([repo.resolve(one)] if one else [] for one in (tip, known))
    return Range(tuple(tips), tuple(seen), None if is_url else remote or None)


def _standard_input() -> str:
    return "" if sys.stdin.isatty() else os.fsdecode(sys.stdin.buffer.read())


# -- post-* ----------------------------------------------------------------------------------------


def _after(common: Common, repo: GitRepo, hook: str, words: Sequence[str]) -> None:
    try:
        changed = _changed(repo, hook, words)
        if changed.nothing:
            return
        from dvlite.cli.hookwords import say_followed
        from dvlite.ops.hookfollow import follow

        with transferring(common.quiet, common.verbose) as progress:
            for followed in follow(repo, changed, _cache_folder(), progress):
                say_followed(repo.top, followed)
    except DvliteError as error:
        complain(str(error), error.hint)
        note("hint: dvlite checkout brings the data in step with git's work tree")


def _changed(repo: GitRepo, hook: str, words: Sequence[str]) -> Changed:
    from dvlite.ops import hookcalls

    if hook == "post-checkout":
        if os.environ.get("_PRE_COMMIT_SKIP_POST_CHECKOUT"):
            # the framework puts aside what is not staged, and brings it back
            return hookcalls.Changed()
        first = (os.environ.get("PRE_COMMIT_FROM_REF", ""), os.environ.get("PRE_COMMIT_TO_REF", ""))
        old, new, flag = (*words, *(*first, os.environ.get("PRE_COMMIT_CHECKOUT_TYPE", "1")))[:3]
        return hookcalls.after_checkout(repo, old or _NOTHING, new or "HEAD", flag != "0")
    if hook == "post-merge":
        squash = (*words, os.environ.get("PRE_COMMIT_IS_SQUASH_MERGE", "0"))[0]
        return hookcalls.after_merge(repo, squash == "1")
    if hook == "post-rewrite":
        lines = _standard_input() if words else ""
        how = (*words, os.environ.get("PRE_COMMIT_REWRITE_COMMAND", "rebase"))[0]
        return hookcalls.after_rewrite(repo, how, lines)
    return hookcalls.after_commit(repo)
