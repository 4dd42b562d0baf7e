"""A year of a team of two on real git, with hooks on: the data is always what the commit says.

Beside each data file, git itself keeps a text file with its hash (`mirror/PATH`). So git's own
merges, rebases and checkouts say what the data has to be after each step, and which files
may conflict: exactly those whose mirrors do. In the end every commit is restored from a fresh
clone of the bare repository and the remote.

    scripts/teamyear --commits 300 [--seed N]
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Listing = dict[str, str]
FOLDERS = ("images", "labels")
SINGLE = ("model.bin", "scaler.bin", "vocab.bin")
MIRROR = "mirror"
_TIMEOUT_S = 300
_MISSING = 6


class Failure(Exception):
    """A promise that was not kept."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Person:
    """One of the team: a clone with hooks, drivers and a cache of its own."""

    def __init__(self, folder: Path, environment: dict[str, str], rng: random.Random) -> None:
        self.folder, self.environment, self.random = folder, environment, rng
        self.last: list[str] = []

    # -- commands ------------------------------------------------------------------------------

    def run(self, *command: str, code: int | None = 0) -> Ran:
        """Runs a command here; it has to end with `code` (None: with any)."""
        self.last.append(" ".join(command))
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        said = f"{done.stdout}{done.stderr}"
        if "Traceback" in said:
            raise Failure(f"a traceback from {command}:\n{said}")
        if code is not None and done.returncode != code:
            raise Failure(f"{command} ended with {done.returncode} and not {code}:\n{said}")
        return Ran(done.returncode, done.stdout, done.stderr)

    def git(self, *words: str, code: int | None = 0) -> Ran:
        """Runs git."""
        return self.run("git", *words, code=code)

    def dvlite(self, *words: str, code: int | None = 0) -> Ran:
        """Runs dvlite."""
        return self.run(sys.executable, "-m", "dvlite", *words, code=code)

    def ask(self, *words: str) -> str:
        """What git says, without the end of the line."""
        return self.git(*words).out.strip()

    # -- what is and what ought to be ----------------------------------------------------------

    def expected(self) -> Listing:
        """What git's own files say that the data is."""
        root = self.folder / MIRROR
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): path.read_text().split()[0] for path in files}

    def found(self) -> Listing:
        """The hash of every data file of the workspace."""
        folders = [path for name in FOLDERS for path in (self.folder / name).rglob("*")]
        paths = [*folders, *(self.folder / name for name in SINGLE)]
        return {
            str(path.relative_to(self.folder)): hash_file(path) for path in paths if path.is_file()
        }

    def check(self, what: str) -> None:
        """The workspace has to equal what the commit says, and dvlite has to know it."""
        expected, found = self.expected(), self.found()
        if expected != found:
            raise Failure(f"after {what}: {differences(expected, found)}")
        self.dvlite("status", "--exit-code", "-q")

    def mend(self, what: str) -> bool:
        """Where git runs no hook: status says what is out of step, and one checkout mends it."""
        out_of_step = self.expected() != self.found()
        if out_of_step:
            self.dvlite("status", "--exit-code", "-q", code=1)
            ran = self.dvlite("checkout", code=None)
            if ran.code == _MISSING:  # of a commit whose data this clone never had
                self.dvlite("pull")
            elif ran.code:
                raise Failure(f"dvlite checkout: {ran.out}{ran.err}")
        self.check(what)
        return out_of_step

    # -- editing -------------------------------------------------------------------------------

    def write(self, name: str, body: bytes | None) -> None:
        """A data file and its mirror; None: neither."""
        path, mirror = self.folder / name, self.folder / MIRROR / name
        path.unlink(missing_ok=True)
        if body is None:
            mirror.unlink(missing_ok=True)
            return
        for one in (path, mirror):
            one.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        # the other lines keep git from taking a mirror for another one that was renamed
        lines = [hashlib.sha256(f"{name} {line}".encode()).hexdigest() for line in range(5)]
        mirror.write_text("\n".join([hashlib.sha256(body).hexdigest(), *lines, ""]))

    def body(self, name: str) -> bytes:
        """New bytes for a file; a model is a large file of which a part changes."""
        path = self.folder / name
        if name in SINGLE and path.exists():
            data = bytearray(path.read_bytes())
            at = self.random.randrange(len(data) - 1000)
            data[at : at + 1000] = self.random.randbytes(1000)
            return bytes(data)
        return self.random.randbytes(200_000 if name in SINGLE else self.random.randrange(5000))

    def edit(self) -> None:
        """A few changes, which are added; nothing is committed."""
        for _ in range(self.random.randrange(1, 5)):
            files = [name for name in self.found() if name not in SINGLE]
            name = self.random.choice(files)
            action = self.random.choice(("change", "change", "new", "new", "delete", "rename"))
            folder = self.random.choice(("images/a", "images/b", "images", "labels"))
            if action == "new" or len(files) < 10:
                self.write(f"{folder}/{self.random.randrange(10**9):09d}", self.body(""))
            elif action == "change":
                self.write(name, self.body(name))
            elif action == "delete":
                self.write(name, None)
            else:
                body = (self.folder / name).read_bytes()
                self.write(name, None)
                self.write(f"{folder}/{self.random.randrange(10**9):09d}", body)
        self.edit_single()
        self.dvlite("add", *(one for one in FOLDERS if (self.folder / one).exists()))
        self.git("add", "-A", MIRROR)

    def edit_single(self) -> None:
        """Sometimes a model changes, comes, goes or gets another name."""
        name = self.random.choice(SINGLE)
        there = [one for one in SINGLE if (self.folder / one).exists()]
        action = self.random.choice(("keep", "keep", "keep", "write", "write", "remove", "move"))
        if action == "write" or (action != "keep" and name not in there):
            self.write(name, self.body(name))
            self.dvlite("add", name)
        elif action == "remove":
            self.dvlite("rm", "--delete", name)
            self.write(name, None)
        elif action == "move" and len(there) < len(SINGLE):
            target = next(one for one in SINGLE if one not in there)
            self.dvlite("mv", name, target)
            # git would follow a mere renaming of the pointer in a merge, and not of the mirror
            self.write(target, self.body(target))
            self.dvlite("add", target)
            self.write(name, None)

    def commit(self, message: str) -> None:
        """What was added, if it is anything."""
        if self.git("diff", "--cached", "--quiet", code=None).code:
            self.git("commit", "-q", "-m", message)

    # -- conflicts -----------------------------------------------------------------------------

    def settle(self, what: str) -> int:
        """Decides the conflicts of a merge: exactly those that git has in the mirrors."""
        sides: dict[str, set[str]] = collections.defaultdict(set)
        for line in self.git("ls-files", "-u").out.splitlines():
            head, _, path = line.partition("\t")
            if path.startswith(MIRROR + "/"):
                sides[path[len(MIRROR) + 1 :]].add(head.split(" ")[2])
        listed = json.loads(self.dvlite("resolve", "--json", code=None).out)
        left = {path["path"] for item in listed["items"] for path in item["left"]}
        if left != set(sides):
            raise Failure(f"{what}: conflicts in {sorted(left)}, and git's: {sorted(sides)}")
        for path in sorted(sides):
            side, stage = self.random.choice((("--ours", "2"), ("--theirs", "3")))
            self.dvlite("resolve", side, path, code=None)
            if stage in sides[path]:
                self.git("checkout", "-q", side, "--", f"{MIRROR}/{path}")
                self.git("add", f"{MIRROR}/{path}")
            else:
                self.git("rm", "-q", f"{MIRROR}/{path}")
        unmerged = self.ask("ls-files", "-u")
        if unmerged:
            raise Failure(f"{what}: not decided after resolve:\n{unmerged}")
        return len(sides)

    def until_done(self, what: str, done: Ran, *again: str) -> int:
        """Goes on with a merge, rebase or pick until it is through; how often it conflicted."""
        conflicts = 0
        while done.code:
            if not self.ask("ls-files", "-u"):
                nothing = self.git("diff", "--cached", "--quiet", "HEAD", code=None).code == 0
                if not nothing:
                    raise Failure(f"{what} failed without a conflict:\n{done.out}{done.err}")
                done = self.git(again[0], "--skip", code=None)
                continue
            conflicts += self.settle(what)
            done = self.git(*again, code=None)
        return conflicts


class Year:
    """The team, its repository, and what was done so far."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.counts: collections.Counter[str] = collections.Counter()
        config = folder / "gitconfig"
        config.write_text(
            "[user]\n name = T\n email = t@example.org\n[init]\n defaultBranch = main\n"
            "[core]\n editor = true\n[advice]\n detachedHead = false\n"
        )
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(config),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self.team: list[Person] = []
        self.feature: dict[str, int] = {}

    def person(self, name: str) -> Person:
        """Somebody who works in the folder of that name."""
        return Person(self.folder / name, self.environment, self.random)

    def set_up(self) -> None:
        """A project with some data, shared; and two clones with hooks."""
        (self.folder / "ada").mkdir()
        ada = self.person("ada")
        ada.git("init", "-q")
        ada.dvlite("init")
        ada.dvlite("remote", "add", "store", str(self.folder / "remote"), "--default")
        ada.dvlite("install")
        for number in range(30):
            ada.write(f"{('images/a', 'images/b', 'labels')[number % 3]}/{number}", ada.body(""))
        ada.write("model.bin", ada.body("model.bin"))
        ada.dvlite("add", "images", "labels", "model.bin")
        ada.git("add", "-A")
        ada.git("commit", "-q", "-m", "begin")
        ada.git("init", "-q", "--bare", "../origin")
        ada.git("remote", "add", "origin", "../origin")
        ada.git("push", "-q", "-u", "origin", "main")
        ada.git("clone", "-q", "../origin", "../ben")
        ben = self.person("ben")
        ben.dvlite("install")
        ben.dvlite("pull")
        self.team = [ada, ben]
        for one in self.team:
            one.check("setting up")

    def commits(self) -> int:
        """How many there are in all that was pushed."""
        return int(self.team[0].ask("--git-dir", "../origin", "rev-list", "--all", "--count"))

    # -- steps ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Somebody does something; afterwards all is as it ought to be."""
        person = self.random.choice(self.team)
        person.last.clear()
        steps: list[tuple[int, Callable[[Person], None]]] = [
            (12, self.work),
            (6, self.work_on_branch),
            (3, self.forget),
            (3, self.stash),
            (3, self.edit_and_switch),
            (2, self.reset),
            (2, self.pick),
            (2, self.revert),
            (2, self.amend),
            (2, self.bisect),
            (2, self.look_back),
            (2, self.work_tree),
            (1, self.tag),
        ]
        weights = [weight for weight, _ in steps]
        _, step = self.random.choices(steps, weights)[0]
        try:
            step(person)
            self.counts[step.__name__] += 1
            person.check(step.__name__)
        except Failure as failure:
            done = "\n  ".join(person.last[-40:])
            raise Failure(f"{person.folder.name}, {step.__name__}: {failure}\n  {done}") from None

    def work(self, person: Person) -> None:
        """One or two commits on the main branch, shared."""
        self.to_main(person)
        for _ in range(self.random.randrange(1, 3)):
            person.edit()
            person.commit("work")
        self.share(person)

    def work_on_branch(self, person: Person) -> None:
        """Commits on a branch while the other works; then merged, rebased or squashed."""
        self.to_main(person)
        other = self.team[0] if person is self.team[1] else self.team[1]
        self.counts["branches"] += 1
        name = f"{person.folder.name}-{self.counts['branches']}"
        person.git("checkout", "-q", "-b", name)
        for _ in range(self.random.randrange(1, 4)):
            person.edit()
            person.commit(name)
            person.check("a commit on a branch")
        self.work(other)
        person.git("checkout", "-q", "main")
        person.check("going back to main")
        self.pull(person)
        getattr(self, self.random.choice(("merge", "merge", "rebase", "squash")))(person, name)
        self.share(person)

    def merge(self, person: Person, name: str) -> None:
        """A merge commit; the branch is shared as well."""
        done = person.git("merge", "-q", "--no-ff", "--no-edit", name, code=None)
        self.conflicts(person.until_done("merge", done, "commit", "-q", "--no-edit"))
        person.check("a merge")
        person.git("push", "-q", "origin", name)
        self.counts["merges"] += 1

    def rebase(self, person: Person, name: str) -> None:
        """The branch goes onto main, which then goes forward."""
        done = person.git("rebase", "-q", "main", name, code=None)
        self.conflicts(person.until_done("rebase", done, "rebase", "--continue"))
        self.counts["mended after rebase"] += person.mend("a rebase")
        person.git("checkout", "-q", "main")
        person.git("merge", "-q", "--ff-only", name)
        self.counts["rebases"] += 1

    def squash(self, person: Person, name: str) -> None:
        """The branch's changes as one commit."""
        done = person.git("merge", "-q", "--squash", name, code=None)
        if done.code:
            self.conflicts(person.settle("squash"))
        person.commit(f"squashed {name}")
        person.check("a squash")
        self.counts["squashes"] += 1

    def forget(self, person: Person) -> None:
        """A commit without `dvlite add` is refused; then it is not forgotten."""
        self.to_main(person)
        name = self.random.choice([one for one in person.found() if one not in SINGLE])
        person.write(name, person.body(name))
        person.git("add", "-A", MIRROR)
        refused = person.git("commit", "-q", "-m", "forgotten", code=1)
        if "dvlite add" not in refused.err + refused.out:
            raise Failure(f"refused without a hint: {refused}")
        person.dvlite("add", "-u")
        person.commit("not forgotten")
        self.share(person)

    def stash(self, person: Person) -> None:
        """Changes are put aside and come back."""
        person.edit()
        edited = person.expected()
        if person.git("stash", "-q", code=None).code:
            raise Failure("git stash failed")
        self.counts["mended after stash"] += person.mend("a stash")
        person.git("stash", "pop", "-q", "--index")
        self.counts["mended after stash pop"] += person.mend("a stash pop")
        if person.expected() != edited:
            raise Failure("the stash came back otherwise")
        person.commit("stashed")
        self.share(person)

    def edit_and_switch(self, person: Person) -> None:
        """An edit that is not added survives going to another branch and back."""
        branch = person.ask("rev-parse", "--abbrev-ref", "HEAD")
        others = person.ask("for-each-ref", "--format=%(refname:short)", "refs/heads").split()
        name = self.random.choice([one for one in person.found() if one not in SINGLE])
        body = person.body("")
        (person.folder / name).unlink()
        (person.folder / name).write_bytes(body)
        for one in (self.random.choice(others), branch):
            person.git("checkout", "-q", one)
            if (person.folder / name).read_bytes() != body:
                raise Failure(f"an edit of {name} was lost in going to {one}")
        person.dvlite("checkout", "--force")

    def reset(self, person: Person) -> None:
        """The last commits are taken back, and come again."""
        head = person.ask("rev-parse", "HEAD")
        back = self.random.randrange(1, 4)
        if person.git("rev-parse", "-q", "--verify", f"HEAD~{back}", code=None).code:
            return
        person.git("reset", "-q", "--hard", f"HEAD~{back}")
        self.counts["mended after reset"] += person.mend("a reset")
        person.git("reset", "-q", "--hard", head)
        person.mend("a reset forward")

    def pick(self, person: Person) -> None:
        """A commit of another branch; where it is here already, it is skipped."""
        self.to_main(person)
        tips = person.ask("rev-list", "--no-merges", "--branches", "--max-count=40").split()
        done = person.git("cherry-pick", self.random.choice(tips), code=None)
        self.conflicts(person.until_done("cherry-pick", done, "cherry-pick", "--continue"))
        person.mend("a cherry-pick")
        self.share(person)

    def revert(self, person: Person) -> None:
        """An older commit is undone."""
        self.to_main(person)
        recent = person.ask("rev-list", "--no-merges", "--max-count=6", "HEAD").split()
        done = person.git(
            "revert", "--no-edit", self.random.choice(recent[:-1] or recent), code=None
        )
        self.conflicts(person.until_done("revert", done, "revert", "--continue"))
        person.mend("a revert")
        self.share(person)

    def amend(self, person: Person) -> None:
        """A commit that is not shared yet gets more."""
        self.to_main(person)
        person.edit()
        person.commit("to be amended")
        person.edit()
        if person.git("diff", "--cached", "--quiet", code=None).code:
            if not person.ask("log", "-1", "--format=%s").startswith("to be amended"):
                return person.commit("nothing to amend")
            # what was undone leaves nothing to commit
            person.git("commit", "-q", "--amend", "--allow-empty", "-m", "amended")
        self.share(person)
        return None

    def bisect(self, person: Person) -> None:
        """git finds a commit by the data of each that it tries."""
        self.to_main(person)
        commits = person.ask("rev-list", "--first-parent", "--max-count=20", "HEAD").split()
        if len(commits) < 4:
            return
        culprit = self.random.choice(commits[:-1])
        script = person.folder.parent / "is-good"
        script.write_text(IS_GOOD.format(python=sys.executable, culprit=culprit))
        script.chmod(0o755)
        person.git("bisect", "start", commits[0], commits[-1])
        said = person.git("bisect", "run", str(script)).out
        if f"{culprit} is the first bad commit" not in said:
            raise Failure(f"git bisect did not find {culprit}:\n{said}")
        person.git("bisect", "reset")

    def look_back(self, person: Person) -> None:
        """An old commit, detached; then back."""
        branch = person.ask("rev-parse", "--abbrev-ref", "HEAD")
        commits = person.ask("rev-list", "--all").split()
        person.git("checkout", "-q", self.random.choice(commits))
        if person.expected() != person.found():  # what this clone never had
            person.dvlite("pull")
        person.check("looking back")
        person.git("checkout", "-q", branch)

    def work_tree(self, person: Person) -> None:
        """A second work tree with a commit of its own, merged."""
        self.to_main(person)
        self.counts["branches"] += 1
        name = f"tree-{self.counts['branches']}"
        person.git("worktree", "add", "-q", "-b", name, f"../{name}")
        there = self.person(name)
        there.dvlite("checkout")
        there.check("adding a work tree")
        there.edit()
        there.commit(name)
        there.check("a commit in a work tree")
        person.git("worktree", "remove", "--force", f"../{name}")
        person.git("merge", "-q", "--no-edit", name)
        self.share(person)

    def tag(self, person: Person) -> None:
        """A release."""
        name = f"v{self.counts['tag']}"
        person.git("tag", name, code=None)
        person.git("push", "-q", "origin", name)

    # -- together ------------------------------------------------------------------------------

    def to_main(self, person: Person) -> None:
        """On main, with what the other one shared."""
        person.git("checkout", "-q", "main")
        self.pull(person)
        person.check("a pull")

    def pull(self, person: Person) -> None:
        """Commits by git, data by dvlite."""
        how = self.random.choice(("--rebase", "--no-rebase"))
        again = ("rebase", "--continue") if how == "--rebase" else ("commit", "-q", "--no-edit")
        done = person.git("pull", "-q", "--no-edit", how, "origin", "main", code=None)
        self.conflicts(person.until_done("pull", done, *again))
        person.dvlite("pull")

    def share(self, person: Person) -> None:
        """Pushes; whoever is late pulls first."""
        branch = person.ask("rev-parse", "--abbrev-ref", "HEAD")
        while person.git("push", "-q", "origin", branch, code=None).code:
            self.pull(person)
            person.check("a pull before a push")

    def conflicts(self, count: int) -> None:
        """Notes them."""
        self.counts["conflicting files"] += count

    def restore_all(self) -> int:
        """Every commit from a fresh clone of the bare repository and the remote."""
        self.team[0].git("clone", "-q", "../origin", "../fresh")
        fresh = self.person("fresh")
        commits = fresh.ask("rev-list", "--all").split()
        for commit in commits:
            fresh.git("checkout", "-q", commit)
            fresh.dvlite("pull")
            if fresh.expected() != fresh.found():
                missing = differences(fresh.expected(), fresh.found())
                raise Failure(f"{commit} restored otherwise: {missing}")
        return len(commits)


# A commit is bad when it has the culprit among its ancestors; 128 stops the search: its data is not
# what it says.
IS_GOOD = """#!/bin/sh
{python} -m dvlite pull -q || exit 128
{python} - <<'END' || exit 128
import hashlib, pathlib
root = pathlib.Path("mirror")
for path in root.rglob("*"):
    if path.is_file():
        data = pathlib.Path(path.relative_to(root)).read_bytes()
        assert hashlib.sha256(data).hexdigest() == path.read_text().split()[0]
END
! git merge-base --is-ancestor {culprit} HEAD
"""


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differences(expected: Listing, found: Listing) -> str:
    """What differs, in a few words."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    other = sorted(one for one in expected.keys() & found.keys() if expected[one] != found[one])
    return f"missing {missing[:5]}, extra {extra[:5]}, different {other[:5]}"


def main() -> int:
    """Plays the year; 0 when every promise held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--keep", action="store_true", help="keep the folder where it failed")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="dvlite-year-"))
    print(f"seed {options.seed}, folder {folder}", flush=True)
    year, begin = Year(folder, options.seed), time.monotonic()
    kept = False
    try:
        year.set_up()
        told = 0
        while (count := year.commits()) < options.commits:
            year.step()
            if count // 50 > told:
                told = count // 50
                print(f"{count} commits, {time.monotonic() - begin:.0f} s", flush=True)
        restored = year.restore_all()
    except (Failure, subprocess.TimeoutExpired) as failure:
        print(f"FAILED: {failure}", flush=True)
        kept = options.keep
        return 1
    finally:
        if not kept:
            subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
            shutil.rmtree(folder)
    print(", ".join(f"{name} {count}" for name, count in sorted(year.counts.items())))
    print(f"{restored} commits restored, {time.monotonic() - begin:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
