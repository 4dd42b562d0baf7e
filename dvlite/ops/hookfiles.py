"""The files in git's hooks folder: what stands in them, and how they live beside the user's own.

Owns which folder that is, and the rule that a hook which was there is kept under another name,
called with the same arguments and input, and given back by `uninstall`. The text of a hook names
no place of this machine, git's setting `dvlite.program` does: a hooks folder may be committed.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from dvlite.atomic import publish
from dvlite.errors import ConflictError
from dvlite.gitrepo import GitRepo

HOOKS = ("pre-commit", "pre-push", "post-checkout", "post-commit", "post-merge", "post-rewrite")
PROGRAM = "dvlite.program"
KEPT = ".before-dvlite"
# pre-commit, the framework, keeps the hook that it finds under this name, and calls it.
_LEGACY = ".legacy"
_HEAD = b"#!/bin/sh\n# dvlite hook "
_VERSION = b"1:"
_MAX_BYTES = 1 << 20
State = Literal["installed", "outdated", "edited", "by hand", "absent"]

# Lines are kept whole by `$(…)`, as git ends each with a line feed.
_READ = """\
input=$(cat)
lines() { [ -z "$input" ] || printf '%s\\n' "$input"; }
"""
_TEXT = """\
#!/bin/sh
# dvlite hook 1: `dvlite install` wrote this file, and `dvlite install --uninstall` takes it away.
# Skip it once: git commit --no-verify, git push --no-verify, or DVLITE_SKIP_HOOKS=1 git ...
kept="${{0%/*}}/{name}{kept}"
status=0
{read}if [ -x "$kept" ]; then
    {feed}"$kept" "$@" || {failed}
fi
case "${{DVLITE_SKIP_HOOKS:-0}}" in 0 | no | false) ;; *) exit $status ;; esac
program=$(git config --get {program}) || program=dvlite
command -v "$(eval "set -- $program" && printf %s "$1")" >/dev/null 2>&1 || program=dvlite
if command -v "$(eval "set -- $program" && printf %s "$1")" >/dev/null 2>&1; then
    {feed}eval "$program hook {name} -- \\"\\$@\\"" || {failed}
    exit $status
fi
echo "dvlite, which git's hook {name} calls, was not found: {without}" >&2
echo "hint: pip install dvlite && dvlite install; or remove the hook: $0" >&2
{end}"""
_BLOCK = """\
if [ -n "$(git ls-files -- ':(top,glob)**/*.dvl' ':(top,glob)**/dvlite.lock' | head -n 1)" ]; then
    echo "hint: git push --no-verify pushes the commits without their data" >&2
    exit 1
fi
"""
_WITHOUT = {
    "pre-commit": "the commit is not checked",
    "pre-push": "the data of these commits would be missing for everybody else",
}


@dataclass(frozen=True, slots=True)
class HooksState:
    """Each hook's state; the folder they are in; whether git's setting names this dvlite."""

    folder: str
    states: dict[str, State]
    program_is_right: bool

    @property
    def installed(self) -> bool:
        """Whether all are there and current."""
        works = {"installed", "edited", "by hand"}
        return self.program_is_right and {*self.states.values()} <= works

    @property
    def absent(self) -> bool:
        """Whether none is there."""
        return {*self.states.values()} == {"absent"}


def text_of(name: str) -> bytes:
    """What stands in a hook's file."""
    takes_input = name in ("pre-push", "post-rewrite")
    text = _TEXT.format(
        name=name,
        kept=KEPT,
        program=PROGRAM,
        read=_READ if takes_input else "",
        feed="lines | " if takes_input else "",
        failed="exit" if name.startswith("pre-") else "status=$?",
        without=_WITHOUT.get(name, "the data does not follow the pointers"),
        end=_BLOCK if name == "pre-push" else "exit $status\n",
    )
    return text.encode("ascii")


def hooks_folder(repo: GitRepo) -> str:
    """Where git looks for this repository's hooks.

    Raises:
        ConflictError: other repositories use it too.
    """
    chosen = repo.hooks_path()
    if chosen is None:
        chosen = os.path.join(repo.common_dir, "hooks")
    folder = os.path.normpath(os.path.join(repo.top, chosen))
    real = os.path.realpath(folder)
    inside = (os.path.realpath(repo.top), os.path.realpath(repo.common_dir))
    if not any(real.startswith(place + os.sep) for place in inside):
        raise ConflictError(
            f"git's hooks are in {folder}, outside this repository: others may use them too",
            "call dvlite from each of them, which does nothing in other repositories "
            '(dvlite hook NAME -- "$@"),\n'
            f"or give this one hooks of its own: git config core.hooksPath {_own(repo)}",
        )
    return folder


def _own(repo: GitRepo) -> str:
    return os.path.join(repo.common_dir, "hooks")


def hooks_state(repo: GitRepo, program: str) -> HooksState:
    """What is there."""
    folder = hooks_folder(repo)
    states = {name: _state(folder, name) for name in HOOKS}
    return HooksState(folder, states, repo.setting(PROGRAM, local=True) == program)


def install_hooks(repo: GitRepo, program: str) -> tuple[str, ...]:
    """Writes the hooks; what changed. Doing it again changes nothing.

    Raises:
        ConflictError: git's folder is not ours to write to, or a committed hook is in the way.
    """
    folder = hooks_folder(repo)
    states = {name: _state(folder, name) for name in HOOKS}
    _refuse_committed(repo, folder, states)
    changed = []
    if repo.setting(PROGRAM, local=True) != program:
        repo.set_setting(PROGRAM, program)
        changed.append(PROGRAM)
    os.makedirs(folder, exist_ok=True)
    for name, state in states.items():
        if state == "absent":
            _keep(folder, name)
        if state in ("absent", "outdated"):
            publish(_ours(folder, name), text_of(name), mode=0o755)
            changed.append(name)
    return tuple(changed)


def uninstall_hooks(repo: GitRepo) -> tuple[str, ...]:
    """Takes them away; what was there before is as it was. What changed.

    Raises:
        ConflictError: somebody has changed one; the others are gone.
    """
    changed, edited = _take_away(repo)
    if edited:
        raise ConflictError(
            "changed since dvlite install wrote them, so they stay: " + ", ".join(edited),
            "take dvlite's part out of them, or remove them",
        )
    if repo.setting(PROGRAM, local=True) is not None:
        repo.set_setting(PROGRAM, None)
        changed.append(PROGRAM)
    return tuple(changed)


def _take_away(repo: GitRepo) -> tuple[list[str], list[str]]:
    """The names of the hooks that are gone, and the paths of those that stay."""
    try:
        folder = hooks_folder(repo)
    except ConflictError:
        return [], []  # where nothing is ever installed
    gone, edited = [], []
    for name in HOOKS:
        path = _ours(folder, name)
        if not _is_ours(path):
            continue
        if _state_of_ours(path, name) == "edited":
            edited.append(path)
            continue
        kept = os.path.join(folder, name + KEPT)
        if os.path.lexists(kept):
            os.replace(kept, path)
        else:
            os.unlink(path)
        gone.append(name)
    return gone, edited


def _state(folder: str, name: str) -> State:
    path = _ours(folder, name)
    if _is_ours(path):
        return _state_of_ours(path, name)
    path = _users(folder, name)
    call = f"dvlite hook {name}".encode()
    return "by hand" if call in _read(path) else "absent"


def _state_of_ours(path: str, name: str) -> State:
    text = _read(path)
    if text == text_of(name) and os.access(path, os.X_OK):
        return "installed"
    is_edited = text.startswith(_HEAD + _VERSION) and text != text_of(name)
    return "edited" if is_edited else "outdated"


def _users(folder: str, name: str) -> str:
    """Where the user writes what a hook does: husky makes the files git calls, and anew each
    time."""
    above, last = os.path.split(folder)
    is_husky = last == "_" and os.path.basename(above) == ".husky"
    return os.path.join(above if is_husky else folder, name)


def _ours(folder: str, name: str) -> str:
    """Where our hook is: under its name, or where the pre-commit framework put it."""
    path = os.path.join(folder, name)
    return path + _LEGACY if not _is_ours(path) and _is_ours(path + _LEGACY) else path


def _is_ours(path: str) -> bool:
    return not os.path.islink(path) and _read(path).startswith(_HEAD)


def _read(path: str) -> bytes:
    with suppress(OSError), open(path, "rb") as stream:
        if stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            return stream.read(_MAX_BYTES)
    return b""


def _keep(folder: str, name: str) -> None:
    """Gives the user's hook its other name."""
    path, kept = os.path.join(folder, name), os.path.join(folder, name + KEPT)
    if not os.path.lexists(path):
        return
    if os.path.lexists(kept):
        raise ConflictError(
            f"both {path} and {kept} are there, and neither is dvlite's",
            f"one of them is your hook: make it {name}, remove the other",
        )
    os.rename(path, kept)


def _refuse_committed(repo: GitRepo, folder: str, states: dict[str, State]) -> None:
    """Hooks that are committed are not renamed for everybody else."""
    top = os.path.realpath(repo.top)
    inside = os.path.relpath(os.path.realpath(folder), top)
    if inside.startswith(".."):
        return
    names = [name for name, state in states.items() if state == "absent"]
    is_husky = _users(folder, "") != os.path.join(folder, "")
    known = repo.tracked([os.path.join(inside, name) for name in names])
    if is_husky:
        known = [os.path.relpath(_users(os.path.join(top, inside), name), top) for name in names]
    if known:
        lines = [
            f'  {one}: dvlite hook {os.path.basename(one)} -- "$@" || exit' for one in sorted(known)
        ]
        whose = "husky's" if is_husky else "committed"
        raise ConflictError(
            f"this repository's hooks are {whose}, so they are not dvlite's to change",
            "add a line to each, and run dvlite install again:\n" + "\n".join(lines),
        )
