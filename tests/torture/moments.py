"""Kills dvlite at random moments and checks that nothing is lost and nothing needs repair.

Each round picks a command (add, push, pull, checkout), kills its whole process group with
SIGKILL at a random moment, and then checks: `dvlite status` works, the same command run again
succeeds, the workspace is what the pointers say, and every committed version restores byte for
byte into a fresh clone.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Version = dict[str, str]
COMMANDS = ("add", "push", "pull", "checkout")


class Failure(Exception):
    """A promise that was not kept."""


class Torture:
    """One repository, one remote, and the versions that must never be lost."""

    def __init__(self, folder: Path, seed: int, files: int) -> None:
        self.folder, self.random, self.files = folder, random.Random(seed), files
        self.repository, self.remote = folder / "repository", folder / "remote"
        self.versions: dict[str, Version] = {}
        self.durations: dict[str, float] = {}
        self.killed: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        (folder / "gitconfig").write_text(
            "[user]\n name = T\n email = t@example.org\n[init]\n defaultBranch = main\n"
            '[protocol "file"]\n allow = always\n[advice]\n detachedHead = false\n'
        )

    # -- commands ------------------------------------------------------------------------------

    def git(self, *words: str, cwd: Path | None = None) -> str:
        return self._run(["git", *words], cwd or self.repository)

    def dvlite(self, *words: str, cwd: Path | None = None) -> str:
        return self._run([sys.executable, "-m", "dvlite", *words], cwd or self.repository)

    def _run(self, command: list[str], cwd: Path) -> str:
        done = subprocess.run(
            command, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise Failure(
                f"{' '.join(command[-4:])} in {cwd.name} ended with {done.returncode}:\n"
                f"{done.stdout}{done.stderr}"
            )
        return done.stdout

    def kill_during(self, name: str, *words: str, cwd: Path | None = None) -> None:
        """Runs a command and kills it at a random moment (or lets it finish, if it was faster)."""
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "dvlite", *words],
            cwd=cwd or self.repository,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        span = self.durations.get(name, 1.0)
        try:
            process.wait(self.random.uniform(0.1 * span, 1.05 * span))
            self.finished[name] += 1
            self.durations[name] = time.monotonic() - begin
        except subprocess.TimeoutExpired:
            group = self.random.random() < 0.5
            (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            self.killed[name] += 1

    # -- the data ------------------------------------------------------------------------------

    def set_up(self) -> None:
        self.repository.mkdir()
        self.git("init", "-q")
        self.dvlite("init")
        self.dvlite("remote", "add", "store", str(self.remote), "--default")
        self.edit(everything=True)
        self.timed("add", "add", "data", "model.bin")
        self.commit()
        self.timed("push", "push")
        self.git("clone", "-q", "--bare", str(self.repository), str(self.folder / "bare"))
        self.git("remote", "add", "origin", str(self.folder / "bare"))
        self.git("fetch", "-q", "origin")

    def timed(self, name: str, *words: str) -> None:
        begin = time.monotonic()
        self.dvlite(*words)
        self.durations[name] = time.monotonic() - begin

    def edit(self, everything: bool = False) -> None:
        """Changes, adds and deletes some files, or makes them all."""
        data = self.repository / "data"
        for number in range(self.files):
            path = data / f"d{number % 20:02d}" / f"f{number:04d}"
            if not everything and self.random.random() > 0.2:
                continue
            if path.exists() and self.random.random() < 0.2:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(self.random.randbytes(self.random.randrange(20_000)))
        model = self.repository / "model.bin"
        body = bytearray(model.read_bytes() if model.exists() else self.random.randbytes(6_000_000))
        at = self.random.randrange(len(body) - 1000)
        body[at : at + 1000] = self.random.randbytes(1000)
        model.unlink(missing_ok=True)
        model.write_bytes(body)

    def snapshot(self, root: Path) -> Version:
        paths = [root / "model.bin", *sorted((root / "data").rglob("*"))]
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in paths
            if path.is_file()
        }

    def commit(self) -> None:
        self.git("add", "-A", ".")
        self.git("commit", "-q", "--allow-empty", "-m", f"version {len(self.versions)}")
        commit = self.git("rev-parse", "HEAD").strip()
        self.versions[commit] = self.snapshot(self.repository)

    # -- rounds --------------------------------------------------------------------------------

    def round(self, name: str) -> None:
        rounds: dict[str, Callable[[], None]] = {
            "add": self.round_add,
            "push": self.round_push,
            "pull": self.round_pull,
            "checkout": self.round_checkout,
        }
        rounds[name]()

    def round_add(self) -> None:
        self.edit()
        before = self.snapshot(self.repository)
        self.kill_during("add", "add", "data", "model.bin")
        self.dvlite("status")
        self.expect(self.snapshot(self.repository) == before, "a killed add changed the workspace")
        self.dvlite("add", "data", "model.bin")
        self.expect_clean(self.repository)
        self.commit()

    def round_push(self) -> None:
        self.edit()
        self.dvlite("add", "data", "model.bin")
        self.commit()
        self.kill_during("push", "push")
        self.dvlite("status")
        self.dvlite("push")
        self.restore_elsewhere(self.head())

    def round_pull(self) -> None:
        self.dvlite("push")
        clone = self.clone()
        self.kill_during("pull", "pull", cwd=clone)
        self.dvlite("status", cwd=clone)
        self.dvlite("pull", cwd=clone)
        self.expect_clean(clone)
        self.expect(self.snapshot(clone) == self.versions[self.head()], "pull restored other bytes")
        self.remove(clone)

    def round_checkout(self) -> None:
        target = self.random.choice(list(self.versions))
        for commit in (target, "main"):
            self.git("checkout", "-q", commit)
            self.kill_during("checkout", "checkout")
            self.dvlite("status")
            self.dvlite("checkout")
            self.expect_clean(self.repository)
            self.expect(
                self.snapshot(self.repository) == self.versions[self.head()],
                f"checkout of {commit} made other bytes",
            )

    # -- checks --------------------------------------------------------------------------------

    def restore_elsewhere(self, commit: str) -> None:
        clone = self.clone()
        self.git("checkout", "-q", commit, cwd=clone)
        self.dvlite("pull", cwd=clone)
        self.expect(self.snapshot(clone) == self.versions[commit], f"{commit} restored otherwise")
        self.remove(clone)

    def restore_all(self) -> None:
        """Every committed version, from a fresh clone and the remote."""
        self.dvlite("push", "--all-commits")
        clone = self.clone()
        for commit, version in self.versions.items():
            self.git("checkout", "-q", commit, cwd=clone)
            self.dvlite("pull", cwd=clone)
            self.expect(self.snapshot(clone) == version, f"{commit} restored otherwise")
        self.remove(clone)

    def expect_clean(self, root: Path) -> None:
        out = subprocess.run(
            [sys.executable, "-m", "dvlite", "status", "--exit-code"],
            cwd=root,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        self.expect(out.returncode == 0, f"status is not clean:\n{out.stdout}{out.stderr}")

    def expect(self, true: bool, message: str) -> None:
        if not true:
            raise Failure(message)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD").strip()

    def clone(self) -> Path:
        clone = self.folder / f"clone{self.random.randrange(10**9)}"
        self.git("clone", "-q", str(self.repository), str(clone))
        return clone

    def remove(self, folder: Path) -> None:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder)


def run(kills: int, seed: int, files: int, keep: bool) -> int:
    """Runs rounds until so many commands were killed; 0 when every promise held."""
    folder = Path(tempfile.mkdtemp(prefix="dvlite-torture-"))
    torture = Torture(folder, seed, files)
    print(f"seed {seed}, folder {folder}", flush=True)
    try:
        torture.set_up()
        number = 0
        while sum(torture.killed.values()) < kills:
            torture.round(COMMANDS[number % len(COMMANDS)])
            number += 1
            if number % 20 == 0:
                print(f"{number} rounds, killed {dict(torture.killed)}", flush=True)
        torture.restore_all()
    except Failure as failure:
        print(f"FAILED after {sum(torture.killed.values())} kills: {failure}", flush=True)
        return 1
    finally:
        if not keep:
            torture.remove(folder)
    print(
        f"{sum(torture.killed.values())} kills {dict(torture.killed)}, ran to their end "
        f"{dict(torture.finished)}; {len(torture.versions)} versions restored"
    )
    return 0
