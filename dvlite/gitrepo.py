"""The git repository: what dvlite asks git of one, and changes there.

Owns the commands: literal path specifications, revisions that can never be taken for options, and
git's locks, of which a kill leaves none. Paths are `str` from `os.fsdecode`, relative to the top of
the work tree, with `/`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from dvlite.atomic import end_exchange, exchange
from dvlite.errors import LockError, MissingError, ProjectError
from dvlite.gitcall import discovery_error, error_of, scrubbed, start

# Arguments of one process are limited to 2 MB on Linux and 1 MB on macOS.
_PATHS_A_CALL = 200
# Why git does not even ask its rules.
_BEYOND = (b"is beyond a symbolic link", b"is in submodule")
# A pointer is some 150 bytes; whatever is larger than this is not one, and is not read.
MAX_BLOB_BYTES = 64 << 10
_SHA256_DIGITS = 64  # of a commit's name, in a repository of `git init --object-format=sha256`


class Commit(NamedTuple):
    """What people want to know of a commit. `date` is ISO 8601 with its zone."""

    hash: str
    short: str
    author: str
    date: str
    subject: str


@dataclass(frozen=True, slots=True)
class GitRepo:
    """One work tree of a git repository; all three paths are absolute."""

    top: str
    git_dir: str
    common_dir: str

    @staticmethod
    def discover(folder: str) -> GitRepo:
        """The repository that `folder` is in.

        Raises:
            ProjectError: none, a bare one, or git is missing or refuses it.
        """
        words = ("--is-bare-repository", "--absolute-git-dir", "--git-common-dir")
        done = start(["git", "-C", folder, "rev-parse", *words, "--show-toplevel"], None)
        lines = os.fsdecode(done.stdout).split("\n")
        if lines[0] == "true":
            raise ProjectError(
                f"{folder} is a bare git repository: it has no files to work with",
                "clone it, and work in the clone",
            )
        if done.returncode:
            raise discovery_error(folder, os.fsdecode(done.stderr))
        if len(lines) != 5:  # a folder's name holds a newline: ask one by one
            git_dir, common, top = (
                _ask_path(folder, word) for word in (*words[1:], "--show-toplevel")
            )
        else:
            git_dir, common, top = lines[1:4]
        return GitRepo(
            top, git_dir, os.path.normpath(os.path.join(os.path.abspath(folder), common))
        )

    # -- the index and the work tree ---------------------------------------------------------------

    def find_files(self, suffix: str, folder: str = "") -> list[str]:
        """Files whose name ends with `suffix` below `folder`, that git tracks or would track."""
        listed = self._run(
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            below(folder, suffix),
        )
        return sorted({path for path in _split(listed) if path.endswith(suffix)})

    def tracked(self, paths: Sequence[str]) -> list[str]:
        """The files git's index holds that are one of `paths` or below one."""
        found: list[str] = []
        for batch in _batches(paths):
            found += _split(self._run("--literal-pathspecs", "ls-files", "-z", "--", *batch))
        return found

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that git ignores (a folder's path ends with `/`), or could never take
        up: what lies behind a symbolic link, or in another repository."""
        folders: dict[str, list[str]] = {}
        for path in paths:
            folders.setdefault(os.path.dirname(path), []).append(path)
        return self._ignored(list(folders.values()))

    def _ignored(self, folders: list[list[str]]) -> set[str]:
        """The same of paths by folder. Git ends at the first that it could never take up, and does
        not say which: each half is asked for then, down to the folder."""
        names = list(chain.from_iterable(folders))
        # in front of a name that begins with a colon, as `:(top)` does, it keeps it a name
        text = b"".join(b"./" + os.fsencode(path) + b"\0" for path in names)
        if not text:
            return set()
        done = self._start(["check-ignore", "-z", "--stdin", "--no-index"], text)
        if done.returncode <= 1:
            return {path[2:] for path in _split(done.stdout)}
        if not any(words in done.stderr for words in _BEYOND):
            raise error_of(done)
        if len(folders) == 1:
            return set(names)
        half = len(folders) // 2
        return self._ignored(folders[:half]) | self._ignored(folders[half:])

    def stage(self, paths: Sequence[str]) -> None:
        """Puts the files' content (or that they are gone) into git's index."""
        words = ["--literal-pathspecs", "add", "--all", "--"]
        self._change_index([[*words, *batch] for batch in _batches(paths)])

    def unstage(self, paths: Sequence[str]) -> None:
        """Takes files out of git's index; the files stay."""
        words = ["--literal-pathspecs", "rm", "--quiet", "--cached", "--ignore-unmatch", "--"]
        self._change_index([[*words, *batch] for batch in _batches(paths)])

    def forget(self, paths: Sequence[str]) -> None:
        """As `unstage`, whatever filters would say of the files."""
        names = b"".join(os.fsencode(path) + b"\0" for path in paths)
        self._change_index([["update-index", "-z", "--force-remove", "--stdin"]], names)

    def _change_index(self, commands: list[list[str]], stdin: bytes | None = None) -> None:
        """Runs commands that change git's index; a kill leaves none of git's locks."""
        environment = self._environment()
        if "GIT_INDEX_FILE" in environment:  # a temporary one of a hook: git holds the lock
            self._run_all(commands, stdin, environment)
            return

        def change(draft: str) -> None:
            self._run_all(commands, stdin, {**environment, "GIT_INDEX_FILE": draft})

        if commands:
            self._exchange(os.path.join(self.git_dir, "index"), change)

    def unlock(self) -> None:
        """Removes git's locks, if it was we who were killed while we held them."""
        for path in (os.path.join(self.git_dir, "index"), os.path.join(self.common_dir, "config")):
            end_exchange(path, _draft(path))

    def _run_all(
        self, commands: list[list[str]], stdin: bytes | None, environment: dict[str, str]
    ) -> None:
        for words in commands:
            done = start(self._command(words), stdin, environment)
            if done.returncode:
                raise error_of(done)

    def _exchange(self, path: str, change: Callable[[str], None]) -> None:
        try:
            exchange(path, _draft(path), change)
        except LockError as error:
            name = os.path.basename(path)
            raise ProjectError(
                f"another git process holds git's {name} ({name}.lock)", error.hint
            ) from error

    def unmerged(self, suffix: str, folder: str = "") -> dict[str, dict[int, str]]:
        """The conflicts of a merge: path -> {1: base, 2: ours, 3: theirs}, as blobs."""
        found: dict[str, dict[int, str]] = {}
        words = ["ls-files", "-z", "--unmerged", "--full-name", "--", below(folder, suffix)]
        for line in _split(self._run(*words)):
            entry, _, path = line.partition("\t")
            _, blob, stage = entry.split(" ")
            found.setdefault(path, {})[int(stage)] = blob
        return found

    # -- revisions ---------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str:
        """The full hash of the commit that a revision names.

        Raises:
            MissingError: there is no such commit.
        """
        done = self._start(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", revision + "^{commit}"], None
        )
        lines = done.stdout.decode("ascii", "replace").split()
        if done.returncode or not lines:
            raise MissingError(
                f"git knows no commit {revision}", "`git log --oneline --all` lists commits"
            )
        return lines[-1]

    def short(self, commit: str) -> str:
        """A commit's abbreviated hash."""
        return self._run("rev-parse", "--short", "--end-of-options", commit).decode().split()[-1]

    def head(self) -> str | None:
        """The current commit; None before the first one."""
        done = self._start(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], None)
        return None if done.returncode else done.stdout.decode("ascii").strip()

    def branches(self) -> dict[str, str]:
        """Local branches: name -> commit."""
        return self._refs("refs/heads/")

    def remote_branches(self) -> dict[str, str]:
        """Remote-tracking branches: name -> commit."""
        return self._refs("refs/remotes/")

    def tags(self) -> dict[str, str]:
        """Tags of commits: name -> commit."""
        return self._refs("refs/tags/")

    def describe(self, commit: str) -> Commit:
        """Author, date and subject of a commit."""
        if len(commit) == _SHA256_DIGITS:
            return self._describe_sha256(commit)
        from git import Repo  # costs 100 ms, and only people who read history pay

        with Repo(self.top, search_parent_directories=False) as repo:
            found = repo.commit(commit)
            subject = str(found.summary)
            date = found.authored_datetime.isoformat()
            return Commit(found.hexsha, found.hexsha[:8], str(found.author.name), date, subject)

    def _describe_sha256(self, commit: str) -> Commit:
        """GitPython knows only SHA-1."""
        form = "--format=%H%x00%an%x00%aI%x00%s"
        words = ["show", "--no-patch", "--no-show-signature", "--encoding=UTF-8", form]
        text = self._run(*words, "--end-of-options", commit).decode("utf-8", "replace")
        found, author, date, subject = text.rstrip("\n").split("\0")
        date = date[:-1] + "+00:00" if date.endswith("Z") else date
        return Commit(found, found[:8], author, date, subject)

    def parents(self, commit: str) -> int:
        """How many parents a commit has."""
        words = ["rev-list", "--parents", "--no-walk", "--end-of-options", commit]
        return len(self._run(*words).split()) - 1

    # -- content of commits ------------------------------------------------------------------------

    def files_at(
        self,
        commit: str,
        suffix: str | tuple[str, ...],
        folder: str = "",
        most_bytes: int = MAX_BLOB_BYTES,
    ) -> dict[str, bytes]:
        """Path -> content of the files at a commit, below `folder`, that end with `suffix`."""
        words = ["--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit]
        listed = self._run(*words, *(["--", folder + "/"] if folder else []))
        blobs: dict[str, list[str]] = {}
        for line in _split(listed):
            mode, _, rest = line.partition(" ")
            blob, _, path = rest.partition(" ")[2].partition("\t")
            if path.endswith(suffix) and mode.startswith("100"):
                blobs.setdefault(blob, []).append(path)
        found = self.read_blobs(blobs, most_bytes)
        return {path: data for blob, data in found for path in blobs[blob]}

    def read_file(self, commit: str, path: str, most_bytes: int = MAX_BLOB_BYTES) -> bytes | None:
        """One small file at a commit; None when it is not there."""
        done = self._start(["rev-parse", "--verify", "--quiet", f"{commit}:{path}"], None)
        if done.returncode:
            return None
        blob = done.stdout.decode("ascii").strip()
        return next((data for _, data in self.read_blobs([blob], most_bytes)), None)

    def read_blobs(
        self, blobs: Iterable[str], most_bytes: int = MAX_BLOB_BYTES
    ) -> Iterator[tuple[str, bytes]]:
        """The content of these blobs, each cut off after `most_bytes` + 1 bytes; those that git
        does not have are left out.

        Raises:
            ProjectError: git gave up, as where a partial clone cannot fetch one.
        """
        try:
            with subprocess.Popen(
                self._command(["cat-file", "--batch"]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self._environment(),
            ) as process:
                assert process.stdin is not None and process.stdout is not None
                for blob in blobs:
                    process.stdin.write(blob.encode("ascii") + b"\n")
                    process.stdin.flush()
                    line = process.stdout.readline()
                    head = line.split()
                    if not line.endswith(b"\n"):
                        raise BrokenPipeError
                    if len(head) == 3 and head[1] == b"blob":
                        yield blob, _read_capped(process.stdout, int(head[2]), most_bytes)
                    elif len(head) == 3:
                        _read_capped(process.stdout, int(head[2]), 0)
        except BrokenPipeError as error:  # also from the end of `with`, which closes stdin
            raise ProjectError(
                "git ended before it had read all that was asked for (git cat-file)",
                "a partial clone needs its remote; `git fsck` says what is missing or damaged",
            ) from error

    # -- work trees --------------------------------------------------------------------------------

    def add_worktree(self, folder: str, commit: str) -> None:
        """A new work tree at `folder` with `commit` checked out; no hook is run."""
        words = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach"]
        # git-lfs would ask its server for content, which is ours to bring
        environment = {**self._environment(), "GIT_LFS_SKIP_SMUDGE": "1"}
        done = start(self._command([*words, "--", folder, commit]), None, environment)
        if done.returncode and self._is_unfinished(folder):
            again = [*words, "--force", "--force", "--", folder, commit]
            done = start(self._command(again), None, environment)
        if done.returncode:
            raise error_of(done)

    def _is_unfinished(self, folder: str) -> bool:
        """Whether git was killed as it made this work tree: until it has, the lock says so."""
        listed = os.fsdecode(self._run("worktree", "list", "--porcelain"))
        ours = f"worktree {os.path.realpath(folder)}\n"
        return any(
            one.startswith(ours) and "\nlocked initializing" in one for one in listed.split("\n\n")
        )

    def remove_worktree(self, folder: str) -> None:
        """Removes a work tree with everything in it."""
        self._run("worktree", "remove", "--force", "--", folder)

    # -- calling git -------------------------------------------------------------------------------

    def setting(self, key: str, local: bool = False) -> str | None:
        """One of git's own settings; `local`: only as this repository sets it."""
        where = ["--local"] if local else []
        done = self._start(["config", *where, "--get", key], None)
        return None if done.returncode else os.fsdecode(done.stdout).rstrip("\n")

    def set_setting(self, key: str, value: str | None) -> None:
        """Sets one of git's settings for this repository; None: takes it away."""
        words = ["--replace-all", key, value] if value is not None else ["--unset-all", key]

        def change(draft: str) -> None:
            self._run("config", "--file", draft, *words)

        self._exchange(os.path.join(self.common_dir, "config"), change)

    def hooks_path(self) -> str | None:
        """The folder of hooks that git is told to use, a relative one as seen from `top`; None:
        its own."""
        done = self._start(["config", "--type=path", "--get", "core.hooksPath"], None)
        return None if done.returncode else os.fsdecode(done.stdout).rstrip("\n") or None

    def ask(self, *words: str, stdin: bytes | None = None) -> bytes:
        """What a git command prints; for `gitfiles`, which is of the same layer."""
        return self._run(*words, stdin=stdin)

    def _refs(self, prefix: str) -> dict[str, str]:
        form = "%(refname)%00%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)"
        found = {}
        listed = os.fsdecode(self._run("for-each-ref", f"--format={form}", prefix))
        # `splitlines` would split names too, at characters such as U+2028
        for line in listed.split("\n")[:-1]:
            name, target, kind, peeled, peeled_kind = line.split("\0")
            if kind == "commit" or peeled_kind == "commit":
                found[name[len(prefix) :]] = target if kind == "commit" else peeled
        return found

    def _run(self, *words: str, stdin: bytes | None = None) -> bytes:
        done = self._start(list(words), stdin)
        if done.returncode:
            raise error_of(done)
        return done.stdout

    def _start(self, words: list[str], stdin: bytes | None) -> subprocess.CompletedProcess[bytes]:
        return start(self._command(words), stdin, self._environment())

    def _command(self, words: list[str]) -> list[str]:
        return ["git", "-C", self.top, *words]

    def _environment(self) -> dict[str, str]:
        """In a pre-commit hook git names a temporary index, which counts only in its own tree."""
        environment = scrubbed()
        index = os.environ.get("GIT_INDEX_FILE")
        if index and self._is_own_index(os.path.join(self.top, index)):
            environment["GIT_INDEX_FILE"] = index
        return environment

    def _is_own_index(self, path: str) -> bool:
        """Not where the hook is of another work tree, or of a submodule: the main one's folder
        holds theirs."""
        front = self.git_dir + os.sep
        if not path.startswith(front):
            return False
        return path[len(front) :].split(os.sep)[0] not in ("worktrees", "modules")


def _draft(path: str) -> str:
    return os.path.join(os.path.dirname(path), "dvlite", "git-" + os.path.basename(path))


def _ask_path(folder: str, word: str) -> str:
    return os.fsdecode(start(["git", "-C", folder, "rev-parse", word], None).stdout)[:-1]


def below(folder: str, suffix: str) -> str:
    """The path specification of files with `suffix` at any depth below `folder`."""
    escaped = "".join("\\" + char if char in "\\*?[" else char for char in folder)
    return f":(top,glob){escaped + '/' if escaped else ''}**/*{suffix}"


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for at in range(0, len(paths), _PATHS_A_CALL):
        yield paths[at : at + _PATHS_A_CALL]


def _read_capped(stream: object, size: int, most: int) -> bytes:
    """Reads a blob and its newline; keeps only the beginning of a large one.

    Raises:
        BrokenPipeError: the stream ends before.
    """
    read = stream.read  # type: ignore[attr-defined]
    data: bytes = read(min(size, most + 1))
    left = size - len(data)
    while left > 0:
        more = len(read(min(left, 1 << 20)))
        if not more:
            raise BrokenPipeError
        left -= more
    if read(1) != b"\n":
        raise BrokenPipeError
    return data
