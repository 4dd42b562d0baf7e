"""One of the processes of scripts/soak: works in its clone until the file `stop` appears.

It edits, adds, commits and pushes, on its own branch and on branches that it drops again, pulls
what others pushed, and collects garbage in the shared cache and on the remote. It may be killed at
any moment, and is then started again. What it committed and did not drop is in its journal.

The grace periods are seconds here, which `dvlite` itself refuses, so the verbs are called as the
command does, with a request of our own. What protects a push with a grace period of days has to
hold with one of seconds too: from the last look at the epoch to git's push it takes less. So the
data is pushed once more, which is quick, right before git's push, and a hook of the origin refuses
what comes later than GRACE_S after that began. Storages tell times in whole seconds.

    soakworker.py FOLDER NUMBER SEED
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from dvlite.errors import DvliteError, LockError, RemoteError
from dvlite.ops.add import AddRequest, add
from dvlite.ops.gc import GcRequest
from dvlite.ops.gc import execute as execute_here
from dvlite.ops.gc import plan as plan_here
from dvlite.ops.gcremote import GcRemoteRequest, plan_remote, run_remote
from dvlite.ops.pull import PullRequest, pull
from dvlite.ops.push import PushRequest, push
from dvlite.project import Project
from dvlite.storage import cache, consolidate, sweep

Version = dict[str, str]
GRACE_S = 3.0
# A time in whole seconds makes a thing up to one second older than it is.
PUBLISH_S = GRACE_S - 1.2
# Of the cache: longer than an add takes on a busy machine.
CACHE_GRACE_S = 12.0
WORKERS = 4
# Contents are chosen from so many, so that what was dropped comes again.
_CONTENTS = 30
_FILES = 8
_TRIES = 40
_DAY_S = 86400.0


class Failure(Exception):
    """A promise that was not kept."""


class Worker:
    """A clone and its journal."""

    def __init__(self, folder: Path, number: int, seed: int) -> None:
        self.folder, self.number, self.random = folder, number, random.Random(seed)
        self.path, self.branch = folder / f"clone{number}", f"work{number}"
        self.data = f"data{number}"
        self.counts: Counter[str] = Counter()

    # -- beginning and end ---------------------------------------------------------------------

    def run(self) -> None:
        """Mends what a kill left of git's, works until it is told to stop, and publishes all."""
        self.mend()
        while not (self.folder / "stop").exists():
            self.step()
        self.publish(self.branch)
        self.note("done", {})

    def mend(self) -> None:
        """As one does after a crash: git's locks go, and the branch is checked out again."""
        for lock in (self.path / ".git").rglob("*.lock"):
            lock.unlink(missing_ok=True)
        with suppress(subprocess.CalledProcessError):
            self.git("merge", "--abort")
        self.git("checkout", "-q", "-f", self.branch)
        self.git("reset", "-q", "--hard")
        self.pull(force=True)
        for branch in self.git("branch", "--format=%(refname:short)").split():
            if branch.startswith("trial"):
                self.drop(branch)

    def step(self) -> None:
        """Something, at random."""
        ways = (self.commit, self.commit, self.try_out, self.meet, self.collect, self.collect_here)
        self.random.choice(ways)()

    # -- what it does --------------------------------------------------------------------------

    def commit(self) -> None:
        """A version that stays."""
        self.make_version()
        if self.random.random() < 0.7:
            self.publish(self.branch)

    def try_out(self) -> None:
        """A version on a branch that is published, and dropped soon after."""
        branch = f"trial{self.number}-{self.random.getrandbits(32):08x}"
        self.git("checkout", "-q", "-b", branch)
        self.make_version()
        self.publish(branch)
        if self.random.random() < 0.3:
            self.collect()
        self.git("checkout", "-q", "-f", self.branch)
        self.pull(force=True)
        self.drop(branch)

    def meet(self) -> None:
        """Merges what another one published, and gets its data."""
        other = self.random.choice([one for one in range(WORKERS) if one != self.number])
        self.git("fetch", "-q", "--prune", "origin")
        self.git("merge", "-q", "-m", "meet", f"origin/work{other}")
        self.pull()
        commit = self.git("rev-parse", "HEAD").strip()
        self.note("commit", {"commit": commit, "version": snapshot(self.path)})
        self.counts["pulls"] += 1

    def collect(self) -> None:
        """gc on the remote, beside everything else."""
        project = self.project()
        try:
            gc = plan_remote(project, GcRemoteRequest(grace_days=GRACE_S / _DAY_S))
            run_remote(project, gc)
        except RemoteError:  # another gc was quicker
            self.counts["gcs given up"] += 1
            return
        except DvliteError as error:
            # what another gc deletes while this one reads is missing; not when it reads again
            self.counts["gcs disturbed"] += 1
            self.note("disturbed", {"error": str(error)})
            return
        self.counts["gcs"] += 1
        self.note("gc", {"deleted": len(gc.plan.deleted), "condemned": len(gc.plan.condemned)})

    def collect_here(self) -> None:
        """gc in the cache that all share."""
        project, request = self.project(), GcRequest(grace_days=CACHE_GRACE_S / _DAY_S)
        try:
            todo = plan_here(project, request)
            execute_here(project, todo, request)
        except LockError:  # another one collects there
            self.counts["gcs of the cache given up"] += 1
            return
        self.counts["gcs of the cache"] += 1
        self.note("cache", {"removed": todo.removed.objects})

    # -- parts ---------------------------------------------------------------------------------

    def make_version(self) -> None:
        """Edits, adds and commits; the journal knows it before the commit is made known."""
        folder = self.path / self.data
        for name in self.random.sample(range(_FILES), 3):
            file = folder / f"f{name}"
            file.unlink(missing_ok=True)
            file.write_bytes(content(self.random.randrange(_CONTENTS)))
        begin = time.monotonic()
        add(self.project(), AddRequest((self.data,)))
        while time.monotonic() - begin > CACHE_GRACE_S / 2:  # the cache's gc may have been quicker
            begin = time.monotonic()
            for file in folder.iterdir():
                body = file.read_bytes()
                file.unlink()
                file.write_bytes(body)
            add(self.project(), AddRequest((self.data,)))
        self.git("commit", "-q", "--allow-empty", "-a", "-m", "a version")
        branch = self.git("rev-parse", "--abbrev-ref", "HEAD").strip()
        if branch == self.branch:
            commit = self.git("rev-parse", "HEAD").strip()
            self.note("commit", {"commit": commit, "version": snapshot(self.path)})
        self.counts["commits"] += 1

    def publish(self, branch: str) -> None:
        """The data, then git, within the time that is allowed between; else once more."""
        for _ in range(_TRIES):
            try:
                project = self.project()
                push(project, PushRequest())
                until = time.time() + PUBLISH_S
                result = push(project, PushRequest())
            except RemoteError:  # gc after gc
                self.counts["pushes again"] += 1
                continue
            if not result.complete:
                raise Failure(f"neither here nor there: {result.absent} {result.damaged}")
            done = self.start_git("push", "-q", "origin", branch, until=until)
            if done.returncode == 0:
                self.counts["pushes"] += 1
                return
            if "too late" not in done.stderr:
                raise Failure(f"git push: {done.stderr}")
            self.counts["pushes too late"] += 1
        raise Failure("the machine is too slow for this grace period")

    def drop(self, branch: str) -> None:
        """Nobody needs it any more."""
        if f"refs/heads/{branch}" in self.git("ls-remote", "origin"):
            self.git("push", "-q", "origin", "--delete", branch)
        self.git("branch", "-q", "-D", branch)

    def pull(self, force: bool = False) -> None:
        """What is checked out needs; what is read meanwhile may go once, and is found again."""
        for number in range(5):
            try:
                pull(self.project(), PullRequest(force=force))
                return
            except DvliteError as error:
                self.counts["pulls again"] += 1
                self.note("pull again", {"error": str(error)})
                if number == 4:
                    raise

    def project(self) -> Project:
        """As a new command sees it."""
        return Project.open(str(self.path))

    def start_git(self, *words: str, until: float = 0.0) -> subprocess.CompletedProcess[str]:
        """Runs git; `until` is for the origin's hook."""
        return subprocess.run(
            ["git", *words],
            cwd=self.path,
            env={**os.environ, "SOAK_UNTIL": f"{until or time.time() + 600:.3f}"},
            capture_output=True,
            text=True,
        )

    def git(self, *words: str) -> str:
        """Runs git, which has to succeed."""
        done = self.start_git(*words)
        if done.returncode:
            raise subprocess.CalledProcessError(
                done.returncode, ["git", *words], done.stdout, done.stderr
            )
        return done.stdout

    def note(self, what: str, more: dict[str, object]) -> None:
        """A line of the journal, whole or not at all."""
        line = json.dumps({"what": what, **more, "counts": self.counts}) + "\n"
        self.counts.clear()
        with open(self.folder / f"journal{self.number}", "ab", buffering=0) as journal:
            journal.write(line.encode())


def content(number: int) -> bytes:
    """The same bytes for the same number; a few are large."""
    source = random.Random(number)
    return source.randbytes(300_000 if number % 10 == 0 else source.randrange(200, 20_000))


def snapshot(root: Path) -> Version:
    """The hash of every data file."""
    files = [file for number in range(WORKERS) for file in (root / f"data{number}").iterdir()]
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }


def main() -> int:
    """Works; 1 with the reason in the journal when a promise was not kept."""
    folder, number, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # What is a day beside a grace period of two days is seconds beside one of seconds.
    cache._FRESH_S = 0
    consolidate.READERS_S = sweep.READERS_S = int(CACHE_GRACE_S)
    worker = Worker(folder, number, seed)
    try:
        worker.run()
    except subprocess.CalledProcessError as error:
        worker.note("failure", {"error": f"{error}: {error.stderr}"})
        return 1
    except Exception as error:
        worker.note("failure", {"error": f"{type(error).__name__}: {error}"})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
