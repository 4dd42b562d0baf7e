"""Two machines push at once, with kills, and nothing is lost.

Two clones with a cache each edit data, partly with the same bytes, and push at the same moment;
each push may be killed at a random moment and is then run again. Every committed version must
restore byte for byte into a fresh clone, and a full `dvlite remote check` must find nothing wrong.

    scripts/contend --rounds 50 [--seed N] [--remote URL --endpoint URL]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

Version = dict[str, str]
MACHINES = ("left", "right")
# Files whose bytes both machines choose from: so that they push the same at the same time.
SHARED = 40
_TIMEOUT_S = 300


class Failure(Exception):
    """A promise that was not kept."""


class Contest:
    """The machines, their remote and what they committed."""

    def __init__(self, folder: Path, seed: int, remote: str, endpoint: str) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.remote, self.endpoint = remote or str(folder / "remote"), endpoint
        self.shared = [self.random.randbytes(self.random.randrange(9000)) for _ in range(SHARED)]
        self.large = self.random.randbytes(3_000_000)
        self.versions: dict[str, Version] = {}
        self.kills = self.push_s = 0.0
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

    def start(self, machine: str, *command: str) -> subprocess.Popen[str]:
        """Starts a command on a machine, in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=self.folder / machine,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, machine: str, *command: str) -> str:
        """Runs a command that has to succeed."""
        return self.succeed(self.start(machine, *command))

    def succeed(self, process: subprocess.Popen[str]) -> str:
        """Waits for a command that has to succeed; what it said."""
        out, _ = process.communicate(timeout=_TIMEOUT_S)
        if process.returncode:
            raise Failure(f"{process.args} ended with {process.returncode}:\n{out}")
        return out

    def dvlite(self, machine: str, *words: str) -> str:
        """Runs dvlite on a machine."""
        return self.run(machine, sys.executable, "-m", "dvlite", *words)

    # -- rounds --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """A project, and two clones of it on branches of their own."""
        first, second = MACHINES
        (self.folder / first).mkdir()
        self.run(first, "git", "init", "-q")
        self.dvlite(first, "init")
        self.dvlite(first, "remote", "add", "store", self.remote, "--default")
        if self.endpoint:
            self.dvlite(first, "config", "remote.store.endpoint_url", self.endpoint)
        self.run(first, "git", "add", "-A")
        self.run(first, "git", "commit", "-q", "-m", "project")
        self.run(first, "git", "clone", "-q", "--bare", ".", "../origin")
        self.run(first, "git", "remote", "add", "origin", "../origin")
        self.run(first, "git", "clone", "-q", "../origin", f"../{second}")
        for machine in MACHINES:
            self.run(machine, "git", "checkout", "-q", "-b", machine)

    def round(self) -> None:
        """Both edit and commit; both push at once, perhaps killed; both push again."""
        for machine in MACHINES:
            self.edit(machine)
            self.dvlite(machine, "add", "data", "model.bin")
            self.run(machine, "git", "add", "-A")
            self.run(machine, "git", "commit", "-q", "--allow-empty", "-m", "version")
            commit = self.run(machine, "git", "rev-parse", "HEAD").strip()
            self.versions[commit] = snapshot(self.folder / machine)
        push = (sys.executable, "-m", "dvlite", "push")
        running = [self.start(machine, *push) for machine in MACHINES]
        for process in running:
            self.perhaps_kill(process)
        begin = time.monotonic()
        for process in [self.start(machine, *push) for machine in MACHINES]:
            self.succeed(process)
        self.push_s = time.monotonic() - begin
        for machine in MACHINES:
            self.run(machine, "git", "push", "-q", "-u", "origin", machine)

    def perhaps_kill(self, process: subprocess.Popen[str]) -> None:
        """Kills three of four, at a moment within the time that a push takes."""
        try:
            if self.random.random() < 0.25:
                process.wait(_TIMEOUT_S)
            process.wait(self.random.uniform(0.1, 0.9) * (self.push_s or 1.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            self.kills += 1
        process.communicate()

    def edit(self, machine: str) -> None:
        """Some files of bytes that the other machine also has, some of its own, a large one."""
        data = self.folder / machine / "data"
        data.mkdir(exist_ok=True)
        for number in range(60):
            if self.random.random() < 0.3:
                own = self.random.randbytes(self.random.randrange(9000))
                body = self.random.choice(self.shared) if self.random.random() < 0.5 else own
                (data / f"f{number:02d}").unlink(missing_ok=True)
                (data / f"f{number:02d}").write_bytes(body)
        model = bytearray(self.large)
        at = self.random.randrange(len(model) - 5000)
        model[at : at + 5000] = self.random.randbytes(5000)
        (self.folder / machine / "model.bin").unlink(missing_ok=True)
        (self.folder / machine / "model.bin").write_bytes(model)

    # -- checks --------------------------------------------------------------------------------

    def restore_all(self) -> None:
        """Every version from a fresh clone."""
        self.run(MACHINES[0], "git", "clone", "-q", "../origin", "../fresh")
        for commit, version in self.versions.items():
            self.run("fresh", "git", "checkout", "-q", commit)
            self.dvlite("fresh", "pull")
            if snapshot(self.folder / "fresh") != version:
                raise Failure(f"{commit} restored otherwise")

    def check(self) -> dict[str, object]:
        """What a full check says of the remote; it must be whole."""
        found: dict[str, object] = json.loads(
            self.dvlite("fresh", "remote", "check", "--full", "--json")
        )
        return found


def snapshot(root: Path) -> Version:
    """The hash of every data file."""
    paths = [root / "model.bin", *sorted((root / "data").iterdir())]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def main() -> int:
    """Runs the rounds; 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--remote", default="", help="URL (default: a folder)")
    parser.add_argument("--endpoint", default="", help="of an S3 remote")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dvlite-contend-"))
    contest = Contest(folder, options.seed, options.remote, options.endpoint)
    print(f"seed {options.seed}, folder {folder}", flush=True)
    try:
        contest.set_up()
        for number in range(options.rounds):
            contest.round()
            if number % 10 == 9:
                print(f"{number + 1} rounds, {contest.kills:.0f} kills", flush=True)
        contest.restore_all()
        found = contest.check()
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"FAILED after {contest.kills:.0f} kills: {failure}", flush=True)
        return 1
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder)
    print(json.dumps(found, indent=1)[:2000])
    print(f"{contest.kills:.0f} kills; {len(contest.versions)} versions restored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
