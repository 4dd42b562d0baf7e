"""Four clones add, commit, push, pull and collect garbage at once, and nothing is lost.

They share one cache and one S3 remote, whose grace period is 3 seconds, and are killed at random
moments. In the end every version that was committed and not dropped must restore byte for byte
into a fresh clone with a cache of its own, a full `dvlite remote check` must find nothing wrong,
and gc must have deleted packs; else this fails. See scripts/soakworker.py for what they do.

    scripts/soak --minutes 10 [--seed N] [--remote URL --endpoint URL]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from soakworker import WORKERS, Failure, Version, content, snapshot

from dvlite.ops.pull import PullRequest, pull
from dvlite.project import Project

ROOT = Path(__file__).parents[1]
WORKER = Path(__file__).with_name("soakworker.py")
_TIMEOUT_S = 300
_HOOK = """#!/bin/sh
exec "{python}" -c 'import os, sys, time
sys.exit(time.time() > float(os.environ["SOAK_UNTIL"]) and "too late")'
"""


class Soak:
    """The clones, what they share, and who works in them."""

    def __init__(self, folder: Path, seed: int, remote: str, endpoint: str) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.remote, self.endpoint = remote, endpoint
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.kills = 0
        (folder / "gitconfig").write_text(
            "[user]\n name = T\n email = t@example.org\n[init]\n defaultBranch = main\n"
            '[protocol "file"]\n allow = always\n[advice]\n detachedHead = false\n'
            "[core]\n logAllRefUpdates = false\n[fetch]\n prune = true\n[gc]\n auto = 0\n"
        )
        settings = {
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "SOAK_UNTIL": "inf",
        }
        os.environ.update(settings)

    def run(self, where: str, *command: str) -> str:
        """Runs a command that has to succeed."""
        done = subprocess.run(
            command,
            cwd=self.folder / where,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        if done.returncode:
            raise Failure(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def dvlite(self, where: str, *words: str) -> str:
        """Runs dvlite."""
        return self.run(where, sys.executable, "-m", "dvlite", *words)

    # -- phases --------------------------------------------------------------------------------

    def set_up(self) -> None:
        """A project with a folder for each; the clones, which share a cache; the origin's hook."""
        (self.folder / "first").mkdir()
        self.run("first", "git", "init", "-q")
        self.dvlite("first", "init")
        self.dvlite("first", "remote", "add", "store", self.remote, "--default")
        if self.endpoint:
            self.dvlite("first", "config", "remote.store.endpoint_url", self.endpoint)
        for number in range(WORKERS):
            data = self.folder / "first" / f"data{number}"
            data.mkdir()
            (data / "f0").write_bytes(content(number))
        self.dvlite("first", "add", *[f"data{number}" for number in range(WORKERS)])
        self.run("first", "git", "commit", "-q", "-a", "-m", "project")
        self.dvlite("first", "push")
        self.run("first", "git", "clone", "-q", "--bare", ".", "../origin")
        hook = self.folder / "origin" / "hooks" / "pre-receive"
        hook.write_text(_HOOK.format(python=sys.executable))
        hook.chmod(0o755)
        for number in range(WORKERS):
            clone = f"clone{number}"
            self.run(".", "git", "clone", "-q", "origin", clone)
            self.dvlite(clone, "config", "--local", "cache.dir", str(self.folder / "cache"))
            self.run(clone, "git", "checkout", "-q", "-b", f"work{number}")
            self.run(clone, "git", "push", "-q", "origin", f"work{number}")
            self.dvlite(clone, "pull")
        shutil.rmtree(self.folder / "first")

    def work(self, seconds: float) -> None:
        """Lets them work; kills one now and then."""
        end = time.monotonic() + seconds
        for number in range(WORKERS):
            self.start(number)
        while time.monotonic() < end:
            self.watch(min(self.random.uniform(2, 8), max(0.1, end - time.monotonic())))
            if time.monotonic() < end - 5:
                self.kill(self.random.randrange(WORKERS))
        (self.folder / "stop").touch()
        for number, process in self.running.items():
            if process.wait(_TIMEOUT_S):
                raise Failure(f"worker {number} failed: {self.journal(number)[-1]}")

    def watch(self, seconds: float) -> None:
        """Waits, unless one of them fails."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            number, process = self.random.choice(list(self.running.items()))
            try:
                process.wait(min(left, 0.2))
            except subprocess.TimeoutExpired:
                continue
            raise Failure(f"worker {number} ended: {self.journal(number)[-1]}")

    def start(self, number: int) -> None:
        """Starts a worker."""
        words = [str(WORKER), str(self.folder), str(number), str(self.random.getrandbits(30))]
        with open(self.folder / f"log{number}", "ab") as log:
            self.running[number] = subprocess.Popen(
                [sys.executable, *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, number: int) -> None:
        """Kills a worker with everything that it started, and starts it again."""
        process = self.running[number]
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.kills += 1
            self.start(number)

    def stop(self) -> None:
        """Ends whoever still works."""
        for process in self.running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    # -- checks --------------------------------------------------------------------------------

    def journal(self, number: int) -> list[dict[str, object]]:
        """What a worker wrote down; a kill may have cut the last line."""
        path = self.folder / f"journal{number}"
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith(b"\n") and line[:1] == b"{"]

    def restore_all(self) -> int:
        """Every version from a fresh clone."""
        self.run(".", "git", "clone", "-q", "origin", "fresh")
        restored = 0
        for number in range(WORKERS):
            for line in self.journal(number):
                if line["what"] == "commit":
                    self.restore(str(line["commit"]), line["version"])  # type: ignore[arg-type]
                    restored += 1
        return restored

    def restore(self, commit: str, version: Version) -> None:
        """One version."""
        self.run("fresh", "git", "checkout", "-q", commit)
        pull(Project.open(str(self.folder / "fresh")), PullRequest())
        if snapshot(self.folder / "fresh") != version:
            raise Failure(f"{commit} restored otherwise")

    def summary(self) -> Counter[str]:
        """What was done, of all workers together."""
        found: Counter[str] = Counter(kills=self.kills)
        for number in range(WORKERS):
            for line in self.journal(number):
                found.update(line["counts"])  # type: ignore[call-overload]
                found["deleted packs"] += line.get("deleted", 0)  # type: ignore[operator]
                found["removed from the cache"] += line.get("removed", 0)  # type: ignore[operator]
        return found


def run(soak: Soak, minutes: float) -> None:
    """All of it.

    Raises:
        Failure: a promise was not kept, or nothing was deleted, which proves nothing.
    """
    soak.set_up()
    soak.work(60 * minutes)
    found = soak.summary()
    print(json.dumps(found, indent=1, sort_keys=True), flush=True)
    print(f"{soak.restore_all()} versions restored", flush=True)
    checked = json.loads(soak.dvlite("fresh", "remote", "check", "--full", "--json"))
    if not checked["clean"]:
        raise Failure(json.dumps(checked)[:4000])
    for what in ("deleted packs", "gcs of the cache"):
        if not found[what]:
            raise Failure(f"{what}: none, so this shows nothing")


def main() -> int:
    """0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--remote", default="", help="URL (default: a server is started)")
    parser.add_argument("--endpoint", default="", help="of an S3 remote")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dvlite-soak-"))
    print(f"seed {options.seed}, folder {folder}", flush=True)
    with ExitStack() as stack:
        remote, endpoint = options.remote, options.endpoint
        if not remote:
            sys.path.insert(0, str(ROOT))
            from tests.servers.s3 import shared_server

            server = stack.enter_context(shared_server(folder / "server"))
            remote, endpoint = server.new_url(), server.endpoint
            os.environ.update(server.environment)
        soak = Soak(folder, options.seed, remote, endpoint)
        try:
            run(soak, options.minutes)
        except (Failure, subprocess.TimeoutExpired) as failure:
            print(json.dumps(soak.summary(), indent=1, sort_keys=True))
            print(f"FAILED: {failure}\nleft as it is: {folder}", flush=True)
            return 1
        finally:
            soak.stop()
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
