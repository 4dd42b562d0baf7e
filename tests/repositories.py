"""Real git repositories for tests: running git and dvlite in them, and seeing what is there.

`Repository.dvlite` runs the command line inside the test's process, which saves the start of
Python; `Repository.process` and `Repository.start` run it as users do.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from dvlite.cli.main import main
from dvlite.workspace.configedit import edit

Listing = dict[str, str]
TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree, and the folder that its remote is (there may be nothing yet)."""

    path: Path
    store: Path

    # -- commands ----------------------------------------------------------------------------------

    def git(self, *words: str | bytes) -> str:
        command = ["git", "-C", str(self.path), *words]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
        assert done.returncode == 0, os.fsdecode(done.stdout + done.stderr)
        return os.fsdecode(done.stdout)

    def dvlite(self, *words: str, code: int | None = 0) -> Ran:
        """Runs the command line here and now; it has to end with `code`."""
        return run(self.path, *words, code=code)

    def process(
        self, *words: str, code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> Ran:
        """Runs the command line as a process of its own; `code` as for `finished`."""
        return finished(self.start(*words, env=env), code)

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dvlite", *words],
            cwd=self.path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    # -- content -----------------------------------------------------------------------------------

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def commit(self, message: str = "a commit") -> str:
        """Commits what is staged and what git tracks; the new commit's hash."""
        self.git("commit", "--quiet", "--allow-empty", "-a", "-m", message)
        return self.git("rev-parse", "HEAD").strip()

    def add_and_commit(self, files: Mapping[str, bytes], *paths: str) -> str:
        self.write(files)
        self.dvlite("add", "--", *paths)
        return self.commit()

    def clone(self, name: str) -> Repository:
        """A clone of what was pushed to `origin`, with the same remote for data."""
        target = self.path.parent / name
        self.git("clone", "--quiet", str(self.path.parent / "origin.git"), str(target))
        return Repository(target, self.store)

    def share(self) -> None:
        """Pushes data and commits."""
        self.dvlite("push")
        self.git("push", "--quiet", "origin", "HEAD")

    def set_remote(self, url: str | None = None) -> None:
        """Writes the remote's URL into the committed settings, unchecked."""
        changes = {"core.remote": "store", "remote.store.url": str(url or self.store)}
        edit(str(self.path / ".dvlite" / "config.toml"), changes, committed=True)

    # -- looking -----------------------------------------------------------------------------------

    def work_files(self) -> Listing:
        """Everything outside `.git`, and what git has staged."""
        found = {
            name: what
            for name, what in listing(self.path).items()
            if not _is_git(name) and name != ".dvlite/tmp"
        }
        return {**found, "(index)": self.git("ls-files", "--stage", "-z")}

    def everything(self) -> Listing:
        """Work tree, index, dvlite's private files and cache, and the remote's folder.

        Without the stat indexes: what was looked at may be remembered, whatever is asked.
        """
        private = {
            name: what
            for name, what in listing(self.path / ".git" / "dvlite").items()
            if "/stat" not in name
        }
        return {
            **self.work_files(),
            **{f"(private) {name}": what for name, what in private.items()},
            **{f"(remote) {name}": what for name, what in listing(self.store).items()},
        }

    def data(self, name: str = "data") -> Listing:
        return listing(self.path / name)


def make_repository(folder: Path) -> Repository:
    """A repository with a project, one commit of code, an origin, and a remote's folder set."""
    repository = Repository(folder / "work", folder / "store")
    subprocess.run(["git", "init", "--quiet", "--bare", str(folder / "origin.git")], check=True)
    subprocess.run(["git", "init", "--quiet", str(repository.path)], check=True)
    repository.git("remote", "add", "origin", str(folder / "origin.git"))
    repository.write({"code.py": b"print('hello')\n"})
    repository.dvlite("init")
    repository.set_remote()
    repository.git("add", "code.py", ".dvlite")
    repository.commit("code")
    return repository


def run(folder: Path, *words: str, code: int | None = 0) -> Ran:
    """Runs the command line inside this process, as if started in `folder`."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main(_from(folder, words))
    except SystemExit as ended:
        got = ended.code
    ran = Ran(int(got or 0), _text(out), _text(err))
    assert code is None or ran.code == code, f"{words} ended with {ran.code}:\n{ran.out}{ran.err}"
    return ran


def finished(process: subprocess.Popen[bytes], code: int | None = 0) -> Ran:
    """Waits for a process; it has to end with `code`, or with any where that is None."""
    out, err = process.communicate(timeout=TIMEOUT_S)
    ran = Ran(process.returncode, os.fsdecode(out), os.fsdecode(err))
    assert code is None or ran.code == code, f"ended with {ran.code}:\n{ran.out}{ran.err}"
    return ran


def listing(folder: Path) -> Listing:
    """Every path below a folder, with its kind, mode and content (symbolic links not followed).

    A path that is a file or a link itself has the name "".
    """
    return dict(sorted(_listed(os.fsencode(folder), b"")))


def _listed(path: bytes, name: bytes) -> Iterator[tuple[str, str]]:
    if os.path.islink(path):
        yield os.fsdecode(name), f"link {os.readlink(path)!r}"
    elif os.path.isdir(path):
        yield os.fsdecode(name), "folder"
        for inside in os.listdir(path):
            below = os.path.join(path, inside)
            yield from _listed(below, name + b"/" + inside if name else inside)
    elif os.path.isfile(path):
        with open(path, "rb") as stream:
            content = hashlib.sha256(stream.read()).hexdigest()
        yield os.fsdecode(name), f"file {os.stat(path).st_mode & 0o777:o} {content}"
    elif os.path.lexists(path):
        yield os.fsdecode(name), f"mode {os.lstat(path).st_mode:o}"


def _is_git(name: str) -> bool:
    return name == ".git" or name.startswith(".git/") or not name


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()


def _from(folder: Path, words: tuple[str, ...]) -> list[str]:
    """`-C folder` in front, joined with the one that a command line begins with."""
    inner, rest = ("", words) if words[:1] != ("-C",) else (words[1], words[2:])
    return ["-C", str(folder / inner), *rest]
