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
from dvlite.cli.output import complain, count, name, note, size, transferring, warn
from dvlite.errors import DvliteError, ProjectError

if TYPE_CHECKING:
    from dvlite.gitchanges import Range
    from dvlite.gitrepo import GitRepo
    from dvlite.ops.checkout import CheckoutResult
    from dvlite.ops.hookcalls import Changed
    from dvlite.ops.hookcommit import Finding
    from dvlite.ops.hookfollow import Followed

_HOOKS = ("pre-commit", "pre-push", "post-checkout", "post-commit", "post-merge", "post-rewrite")
_NAMED = 10
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
    from dvlite.ops.hookcommit import examine

    found = examine(repo, _cache_folder())
    for root in dict.fromkeys(one.root for one in found):
        mine = [one for one in found if one.root == root]
        for fault in dict.fromkeys(one.fault for one in mine):
            _complain(repo.top, [one for one in mine if one.fault == fault])
    if found:
        note("hint: git commit --no-verify commits as it is")
        raise SystemExit(1)


def _complain(top: str, found: Sequence[Finding]) -> None:
    fault = found[0].fault
    text = {
        "not added": "tracked data has changed and is not added:",
        "not recorded": "outputs of stages have changed and are not what dvlite.lock says:",
        "large": f"larger than {size(found[0].limit)}, and about to be committed to git itself:",
        "not ignored": "tracked by dvlite, but git does not ignore it:",
        "in git": "tracked by dvlite, and about to be committed to git as well:",
        "undecided": "a merge of these is not decided:",
    }[fault]
    lines = [
        f"  {name(one.path)}{f'  {size(one.size_bytes)}' if one.size_bytes else ''}"
        for one in found[:_NAMED]
    ]
    if len(found) > _NAMED:
        lines.append(f"  and {len(found) - _NAMED:,} more")
    complain("\n".join([text, *lines]), _way_out(fault, top, found))


def _way_out(fault: str, top: str, found: Sequence[Finding]) -> str:
    """As to be typed where the user is: git runs hooks at the top, and says from where."""
    import shlex

    here = os.path.realpath(os.path.join(top, os.environ.get("GIT_PREFIX", "")))
    paths = [os.path.relpath(os.path.join(one.root, one.path), here) for one in found[:_NAMED]]
    words = " ".join(map(shlex.quote, paths)) if len(found) <= _NAMED else "PATH..."
    return {
        "not added": f"dvlite add {words}",
        "not recorded": "dvlite run makes them anew; dvlite run --accept records them as they are",
        "large": f"git rm --cached {words} && dvlite add {words}\n"
        "or allow larger ones: dvlite config core.max_git_file_size 50M",
        "not ignored": f"dvlite add {words}",
        "in git": f"git rm -r --cached {words}",
        "undecided": "dvlite resolve --ours PATH, or --theirs",
    }[fault]


# -- pre-push --------------------------------------------------------------------------------------


def _before_push(common: Common, repo: GitRepo, words: Sequence[str]) -> None:
    from dvlite.gitchanges import pushed_pointers

    commits = _pushed(repo, words)
    changes = pushed_pointers(repo, commits)
    if not changes:
        return
    from dvlite.cli.push import fail_if_incomplete, show
    from dvlite.ops.hookpush import push_data

    try:
        with transferring(common.quiet, common.verbose) as progress:
            for pushed in push_data(repo, commits, changes, _cache_folder(), progress):
                for label, why in pushed.unreadable:
                    warn(f"{name(label)}: {why}")
                if pushed.result is not None:
                    show(pushed.result, note)
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
        from dvlite.ops.hookfollow import follow

        with transferring(common.quiet, common.verbose) as progress:
            for followed in follow(repo, changed, _cache_folder(), progress):
                _show_followed(repo, followed)
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


def _show_followed(repo: GitRepo, followed: Followed) -> None:
    result = followed.result
    if result.files or any(step.action == "remove" for step in result.steps):
        paths = [step.path for step in result.steps if step.action not in ("none", "leave")]
        shown = ", ".join(map(name, paths[:_NAMED]))
        more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
        written = f"{count(result.files, 'file')} written, {size(result.size)}"
        note(f"dvlite: {shown}{more} followed git: {written}")
    for step in result.steps:
        if step.kept:
            note(f"dvlite: your edits in {name(step.path)} are kept")
    for path, why in (*result.left, *result.damaged):
        warn(f"{name(path)} was left as it is: {why}")
    if result.left:
        note("hint: dvlite add PATH keeps it; dvlite checkout --force PATH discards it")
    if result.missing:
        _show_missing(repo, followed, result)


def _show_missing(repo: GitRepo, followed: Followed, result: CheckoutResult) -> None:
    lines = [f"{name(path)} ({count(files, 'file')})" for path, files in result.missing]
    more = f" and {len(lines) - _NAMED:,} more" if len(lines) > _NAMED else ""
    warn(f"not in the cache: {', '.join(lines[:_NAMED])}{more}")
    if followed.unfetched is not None:
        warn(f"could not be fetched: {followed.unfetched}")
    note("hint: dvlite pull")
