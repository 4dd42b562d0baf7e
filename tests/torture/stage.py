"""A folder with repositories and remotes in it, put back to the same state before every run.

Owns running commands there (each in a process forked from this one, which has imported all of
dvlite already: that takes 30 ms instead of 300), and what there is to see afterwards.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import pkgutil
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dvlite.storage.oid import hash_bytes
from tests.torture.shim import Control

Snapshot = dict[str, str]
_TIMEOUT_S = 60
_GITCONFIG = """\
[user]
    name = Test
    email = test@example.org
[init]
    defaultBranch = main
[advice]
    detachedHead = false
[gc]
    auto = 0
[maintenance]
    auto = false
[protocol "file"]
    allow = always
"""
_SHIM = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended (`killed`: it was) and what it said."""

    code: int
    out: str
    err: str
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """Words for dvlite (or for git, where the first one is `git`), and where it is started."""

    words: tuple[str, ...]
    folder: str = "work"
    stdin: str = ""


def import_everything() -> None:
    """All of dvlite, so that what is forked from here has it."""
    import dvlite

    for module in pkgutil.walk_packages(dvlite.__path__, "dvlite."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("git", "rich.console", "rich.progress", "tomlkit", "pathspec", "yaml"):
        importlib.import_module(name)


class Stage:
    """`here` is what counts; states, homes and outputs lie beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.here = folder, folder / "here"
        self.out, self.err = folder / "out", folder / "err"
        self.here.mkdir(parents=True, exist_ok=True)
        home = folder / "home"
        home.mkdir(exist_ok=True)
        (home / "gitconfig").write_text(_GITCONFIG)
        for name in list(os.environ):
            if name.startswith(("GIT_", "DVLITE_", "XDG_")):
                del os.environ[name]
        os.environ.update(
            HOME=str(home), GIT_CONFIG_GLOBAL=str(home / "gitconfig"), GIT_CONFIG_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0", NO_COLOR="1", LC_ALL="C.UTF-8",
        )  # fmt: skip

    # -- states ------------------------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Remembers what is there now."""
        self._copy(self.here, self.folder / "states" / name)

    def knows(self, name: str) -> bool:
        return (self.folder / "states" / name).exists()

    def clear(self) -> None:
        """Leaves nothing."""
        subprocess.run(["chmod", "-R", "u+w", str(self.here)], check=True)
        shutil.rmtree(self.here)
        self.here.mkdir()

    def restore(self, name: str) -> None:
        """Puts it back."""
        self._copy(self.folder / "states" / name, self.here)

    def _copy(self, source: Path, target: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        script = 'chmod -R u+w "$2" 2>/dev/null; rm -rf "$2" && cp -a "$1" "$2"'
        environment = {**os.environ, "LD_PRELOAD": ""}
        command = ["sh", "-c", script, "sh", str(source), str(target)]
        subprocess.run(command, check=True, env=environment)

    # -- commands ----------------------------------------------------------------------------------

    def git(self, *words: str, folder: str = "work") -> str:
        command = ["git", *words]
        done = subprocess.run(command, cwd=self.here / folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def dvlite(self, *words: str, folder: str = "work") -> str:
        ran = self.run(Command(words, folder))
        assert ran.code == 0, f"{words} ended with {ran.code}: {ran.err}"
        return ran.out

    def run(self, command: Command, control: Control | None = None) -> Ran:
        """Runs a command to its end, whatever that is."""
        return self.fork(lambda: _main(self.here, command), control)

    def fork(self, action: Callable[[], None], control: Control | None = None) -> Ran:
        """Does something in a process (group) of its own."""
        sys.stdout.flush()
        process = os.fork()
        if not process:
            self._child(action, control)
        code = _wait(process)
        text = [path.read_text(errors="replace") for path in (self.out, self.err)]
        return Ran(code, text[0], text[1], code == -signal.SIGKILL)

    def _child(self, action: Callable[[], None], control: Control | None) -> None:
        code = 99
        try:
            os.setsid()
            for number, path in ((1, self.out), (2, self.err)):
                target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(target, number)
                os.close(target)
            if control is not None:
                os.environ["TORTURE_CONTROL"] = str(control.path)
                _SHIM.torture_arm(os.fsencode(control.path))
            action()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        except BaseException:
            traceback.print_exc()
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    # -- looking -----------------------------------------------------------------------------------

    def workspace(self, folder: str = "work") -> Snapshot:
        """Every file that the user sees, with a hash of it; a link with where it leads."""
        top = self.here / folder
        found: Snapshot = {}
        if top.is_file():
            return {"": _look(str(top))}
        for path, folders, files in os.walk(top):
            if path == str(top):
                folders[:] = [name for name in folders if name != ".git"]
            if path == str(top / ".dvlite"):
                folders[:] = [name for name in folders if name != "tmp"]
            inside = os.path.relpath(path, top)
            links = [name for name in folders if os.path.islink(os.path.join(path, name))]
            for name in [*files, *links]:
                relative = os.path.normpath(os.path.join(inside, name))
                found[relative] = _look(os.path.join(path, name))
        return found


def _look(path: str) -> str:
    if os.path.islink(path):
        return "link " + os.readlink(path)
    with open(path, "rb") as stream:
        return hash_bytes(stream.read()).hex()


def _main(here: Path, command: Command) -> None:
    os.chdir(here / command.folder)
    if command.stdin or not sys.stdin.isatty():
        reading, writing = os.pipe()
        os.write(writing, command.stdin.encode())
        os.close(writing)
        os.dup2(reading, 0)
        os.close(reading)
    if command.words[0] == "git":
        os.execvp("git", list(command.words))
    from dvlite.cli.main import main

    sys.argv = ["dvlite", *command.words]
    main(list(command.words))


def _wait(process: int) -> int:
    """A process's exit code (a signal's number below 0); its group is gone afterwards."""
    descriptor = os.pidfd_open(process)
    try:
        ready, _, _ = select.select([descriptor], [], [], _TIMEOUT_S)
        if not ready:
            os.killpg(process, signal.SIGABRT)
        _, status = os.waitpid(process, 0)
    finally:
        os.close(descriptor)
    _end_group(process)
    return os.waitstatus_to_exitcode(status)


def _end_group(group: int) -> None:
    """What a killed command started has been killed with it; wait until it is gone."""
    deadline = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        os.sched_yield()
