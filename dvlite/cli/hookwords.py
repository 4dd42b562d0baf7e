"""What the hooks of git say: which commit has to wait and why, what followed git, what was pushed.

Owns how paths are named there: as seen from where the user is, since one hook works on all projects
of a repository. git runs its hooks at the top, and says in GIT_PREFIX where it was started.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dvlite.cli.output import complain, count, name, note, size, warn
from dvlite.cli.push import show
from dvlite.pipeline.lockfile import FILE as LOCK
from dvlite.pipeline.lockfile import TO_DECIDE

if TYPE_CHECKING:
    from dvlite.ops.checkout import CheckoutResult
    from dvlite.ops.hookcommit import Finding
    from dvlite.ops.hookfollow import Followed
    from dvlite.ops.hookpush import Pushed

_NAMED = 10


class _Place:
    """Where the user is, and a project from there."""

    def __init__(self, top: str, root: str) -> None:
        self.root = root
        self.here = os.path.realpath(os.path.join(top, os.environ.get("GIT_PREFIX", "")))

    def path(self, path: str) -> str:
        """A project path."""
        return os.path.relpath(os.path.join(self.root, path), self.here)

    def command(self, words: str, paths: Sequence[str] = ()) -> str:
        """A command of dvlite for this project, as to be typed where the user is."""
        if (self.here + os.sep).startswith(self.root + os.sep):
            program, names = "dvlite", [self.path(path) for path in paths]
        else:
            program = f"dvlite -C {shlex.quote(os.path.relpath(self.root, self.here))}"
            names = list(paths)
        return f"{program} {words} {_quoted(names)}" if names else f"{program} {words}"


def _quoted(paths: Sequence[str]) -> str:
    return shlex.join(paths) if len(paths) <= _NAMED else "PATH..."


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


# -- pre-commit ------------------------------------------------------------------------------------


def say_fault(top: str, found: Sequence[Finding]) -> None:
    """Findings of one project and one kind."""
    fault, place = found[0].fault, _Place(top, found[0].root)
    text = {
        "not added": "tracked data has changed and is not added:",
        "not recorded": "outputs of stages have changed and are not what dvlite.lock says:",
        "large": f"larger than {size(found[0].limit)}, and about to be committed to git itself:",
        "not ignored": "tracked by dvlite, but git does not ignore it:",
        "in git": "tracked by dvlite, and about to be committed to git as well:",
        "undecided": "a merge of these is not decided:",
    }[fault]
    lines = [
        f"  {name(place.path(one.path))}{f'  {size(one.size_bytes)}' if one.size_bytes else ''}"
        for one in found[:_NAMED]
    ]
    if len(found) > _NAMED:
        lines.append(f"  and {len(found) - _NAMED:,} more")
    complain("\n".join([text, *lines]), _way_out(fault, place, [one.path for one in found]))


def _way_out(fault: str, place: _Place, paths: Sequence[str]) -> str:
    add = place.command("add", paths)
    cached = f"--cached {_quoted([place.path(path) for path in paths])}"
    return {
        "not added": add,
        "not recorded": f"{place.command('run')} makes them anew; "
        f"{place.command('run --accept')} records them as they are",
        "large": f"git rm {cached} && {add}\n"
        f"or allow larger ones: {place.command('config core.max_git_file_size 50M')}",
        "not ignored": add,
        "in git": f"git rm -r {cached}",
        "undecided": TO_DECIDE
        if paths == [LOCK]
        else place.command("resolve --ours PATH, or --theirs"),
    }[fault]


# -- pre-push --------------------------------------------------------------------------------------


def say_pushed(top: str, pushed: Pushed) -> None:
    """What became of one project's data; a project below the top is named."""
    where = os.path.relpath(pushed.root, os.path.realpath(top))
    prefix = "" if where == "." else f"{name(where)}: "
    for label, why in pushed.unreadable:
        warn(f"{prefix}{name(label)}: {why}")
    if pushed.result is not None:
        show(pushed.result, lambda text: note(prefix + text))


# -- post-* ----------------------------------------------------------------------------------------


def say_followed(top: str, followed: Followed) -> None:
    """What happened in one project, and what is left to do."""
    result, place = followed.result, _Place(top, followed.root)
    _say_done(place, result)
    for step in result.steps:
        if step.kept:
            note(f"dvlite: your edits in {name(place.path(step.path))} are kept")
    for path, why in (*result.left, *result.damaged):
        warn(f"{name(place.path(path))} was left as it is: {why}")
    if result.left:
        keep, discard = place.command("add PATH"), place.command("checkout --force PATH")
        note(f"hint: {keep} keeps it; {discard} discards it")
    if followed.unignored:
        paths = [name(place.path(path)) for path in followed.unignored]
        warn(f"git does not ignore {_listed(paths)}")
        note(f"hint: {place.command('add', followed.unignored)}")
    if result.missing:
        _say_missing(place, followed)


def _say_done(place: _Place, result: CheckoutResult) -> None:
    steps = [step for step in result.steps if step.files or step.gone or step.action == "remove"]
    if not steps:
        return
    paths = [name(place.path(step.path)) for step in steps]
    gone = sum(step.gone for step in steps)
    did = [f"{count(result.files, 'file')} written, {size(result.size)}"] if result.files else []
    did += [f"{count(gone, 'file')} removed"] if gone else []
    note(f"dvlite: {_listed(paths)} followed git: {', '.join(did) or 'removed'}")


def _say_missing(place: _Place, followed: Followed) -> None:
    lines = [
        f"{name(place.path(path))} ({count(files, 'file')})"
        for path, files in followed.result.missing
    ]
    warn(f"not in the cache: {_listed(lines)}")
    if followed.unfetched is not None:
        warn(f"could not be fetched: {followed.unfetched}")
    note(f"hint: {place.command('pull')}")
