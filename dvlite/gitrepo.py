"""The git repository: the only place that starts git or uses GitPython.

Owns how git is called: with the caller's repository-local environment scrubbed (a hook of one
worktree must not redirect commands for another), messages in English, literal path
specifications, and revisions that can never be taken for options. Paths are `str` from
`os.fsdecode`, relative to the top of the work tree, with `/`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dvlite.atomic import end_exchange, exchange
from dvlite.errors import (
    DvliteError,
    LockError,
    MissingError,
    PathError,
    ProjectError,
    StorageError,
)

# `git rev-parse --local-env-vars` without the ones that carry the user's own `-c` options.
_LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
)
# What git says when the disk refuses, and what to do.
_STORAGE = {
    "No space left on device": "free some space and run the command again",
    "Disk quota exceeded": "your quota is used up; free some space and run the command again",
    "Input/output error": "the disk reports an error; check it before going on",
    "Read-only file system": "the file system is read-only",
    # git does not say why
    "ailed to write new configuration file": "is the disk full? free some space",
    "index.lock": "is the disk full? free some space and run the command again",
    "nable to write new index file": "is the disk full? free some space and run the command again",
    "nable to write new_index file": "is the disk full? free some space and run the command again",
}
# Arguments of one process are limited to 2 MB on Linux and 1 MB on macOS.
_PATHS_A_CALL = 200
# A pointer is some 150 bytes; whatever is larger than this is not one, and is not read.
MAX_BLOB_BYTES = 64 << 10


class PointerChange(NamedTuple):
    """A commit gave a pointer file another content; None: it was not there, or is gone."""

    commit: str
    path: str
    old: str | None
    new: str | None


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
        done = _start(["git", "-C", folder, "rev-parse", *words, "--show-toplevel"], None)
        lines = os.fsdecode(done.stdout).split("\n")
        if lines[0] == "true":
            raise ProjectError(
                f"{folder} is a bare git repository: it has no files to work with",
                "clone it, and work in the clone",
            )
        if done.returncode:
            raise _discovery_error(folder, os.fsdecode(done.stderr))
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
            _below(folder, suffix),
        )
        return sorted({path for path in _split(listed) if path.endswith(suffix)})

    def tracked(self, paths: Sequence[str]) -> list[str]:
        """The files git's index holds that are one of `paths` or below one."""
        found: list[str] = []
        for batch in _batches(paths):
            found += _split(self._run("--literal-pathspecs", "ls-files", "-z", "--", *batch))
        return found

    def ignored(self, paths: Iterable[str]) -> set[str]:
        """Those of `paths` that git ignores (a folder's path ends with `/`)."""
        # in front of a name that begins with a colon, as `:(top)` does, it keeps it a name
        text = b"".join(b"./" + os.fsencode(path) + b"\0" for path in paths)
        if not text:
            return set()
        done = self._start(["check-ignore", "-z", "--stdin", "--no-index"], text)
        if done.returncode > 1:
            raise _error(done)
        return {path[2:] for path in _split(done.stdout)}

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
            done = _start(self._command(words), stdin, environment)
            if done.returncode:
                raise _error(done)

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
        words = ["ls-files", "-z", "--unmerged", "--full-name", "--", _below(folder, suffix)]
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
        from git import Repo  # costs 100 ms, and only people who read history pay

        with Repo(self.top, search_parent_directories=False) as repo:
            found = repo.commit(commit)
            subject = str(found.summary)
            date = found.authored_datetime.isoformat()
            return Commit(found.hexsha, found.hexsha[:8], str(found.author.name), date, subject)

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
        """The content of these blobs, each cut off after `most_bytes` + 1 bytes."""
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
                head = process.stdout.readline().split()
                if len(head) == 3 and head[1] == b"blob":
                    yield blob, _read_capped(process.stdout, int(head[2]), most_bytes)
                elif len(head) == 3:
                    _read_capped(process.stdout, int(head[2]), 0)

    def pointer_changes(
        self,
        tips: Sequence[str],
        known: Sequence[str],
        suffix: str | tuple[str, ...],
        folder: str = "",
    ) -> Iterator[PointerChange]:
        """What each commit reachable from `tips` and not from `known` did to files with `suffix`.

        Newest commits first; a merge is compared with each of its parents.
        """
        if not tips:
            return
        revisions = "".join(f"{tip}\n" for tip in tips) + "".join(f"^{one}\n" for one in known)
        commits = self._run("rev-list", "--stdin", stdin=revisions.encode())
        words = ["diff-tree", "--stdin", "-r", "-m", "--root", "--no-renames", "--raw", "-z"]
        suffixes = (suffix,) if isinstance(suffix, str) else suffix
        below = (_below(folder, one) for one in suffixes)
        out = self._run(*words, "--", *below, stdin=commits)
        commit = ""
        fields = iter(out.split(b"\0"))
        for field in fields:
            if field.startswith(b":"):
                _, _, old, new, _ = field.decode("ascii").split(" ")
                path = os.fsdecode(next(fields))
                yield PointerChange(commit, path, _blob(old), _blob(new))
            elif field:
                commit = field.decode("ascii").split()[0]

    # -- work trees --------------------------------------------------------------------------------

    def add_worktree(self, folder: str, commit: str) -> None:
        """A new work tree at `folder` with `commit` checked out; no hook is run."""
        words = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach"]
        # git-lfs would ask its server for content, which is ours to bring
        environment = {**self._environment(), "GIT_LFS_SKIP_SMUDGE": "1"}
        done = _start(self._command([*words, "--", folder, commit]), None, environment)
        if done.returncode and self._is_unfinished(folder):
            again = [*words, "--force", "--force", "--", folder, commit]
            done = _start(self._command(again), None, environment)
        if done.returncode:
            raise _error(done)

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
        for line in os.fsdecode(self._run("for-each-ref", f"--format={form}", prefix)).splitlines():
            name, target, kind, peeled, peeled_kind = line.split("\0")
            if kind == "commit" or peeled_kind == "commit":
                found[name[len(prefix) :]] = target if kind == "commit" else peeled
        return found

    def _run(self, *words: str, stdin: bytes | None = None) -> bytes:
        done = self._start(list(words), stdin)
        if done.returncode:
            raise _error(done)
        return done.stdout

    def _start(self, words: list[str], stdin: bytes | None) -> subprocess.CompletedProcess[bytes]:
        return _start(self._command(words), stdin, self._environment())

    def _command(self, words: list[str]) -> list[str]:
        return ["git", "-C", self.top, *words]

    def _environment(self) -> dict[str, str]:
        """In a pre-commit hook git names a temporary index, which counts only in its own tree."""
        environment = _scrubbed()
        index = os.environ.get("GIT_INDEX_FILE")
        if index and os.path.join(self.top, index).startswith(self.git_dir + os.sep):
            environment["GIT_INDEX_FILE"] = index
        return environment


def _draft(path: str) -> str:
    return os.path.join(os.path.dirname(path), "dvlite", "git-" + os.path.basename(path))


def merge_text(ours: str, base: str, theirs: str, labels: Sequence[str], marker: int) -> int:
    """Merges files line by line into `ours`, as git itself does; the number of conflicts, or
    something negative or above 127 where they are no text."""
    names = [word for label in (labels[0], "base", labels[1]) for word in ("-L", label)]
    words = ["git", "merge-file", "-q", f"--marker-size={marker}", *names, "--", ours, base, theirs]
    return _start(words, None).returncode


def diff_text(old: str, new: str) -> list[str]:
    """How two files differ line by line, as git shows it, without the names."""
    words = ["git", "diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-color"]
    done = _start([*words, "--", old, new], None)
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    first = next((at for at, line in enumerate(lines) if line[:2] in ("@@", "Bi")), len(lines))
    return lines[first:-1]


def colours_diff(folder: str) -> bool:
    """Whether git would colour differences in a terminal."""
    words = ["git", "-C", folder, "config", "--get-colorbool", "color.diff", "true"]
    return _start(words, None).stdout.strip() == b"true"


def git_version() -> tuple[int, ...]:
    """The version of the installed git.

    Raises:
        ProjectError: git is missing.
    """
    text = _start(["git", "version"], None).stdout.decode("ascii", "replace").split()
    numbers = text[2].split(".") if len(text) > 2 else []
    return tuple(int(number) for number in numbers if number.isdigit())


def _start(
    command: list[str], stdin: bytes | None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            command, input=stdin or b"", capture_output=True, env=environment or _scrubbed()
        )
    except FileNotFoundError as error:
        raise ProjectError("git was not found", "install git 2.25 or newer") from error


def _scrubbed() -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in _LOCAL_VARIABLES and key != "GIT_INDEX_FILE"
    }
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "0"}


def _discovery_error(folder: str, message: str) -> DvliteError:
    if not os.path.isdir(folder):
        return PathError(f"there is no folder {folder}")
    if "dubious ownership" in message:
        return ProjectError(
            f"git refuses the repository around {folder}: it belongs to somebody else",
            f"if you trust it: git config --global --add safe.directory {folder}",
        )
    if "not a git repository" in message:
        return ProjectError(f"{folder} is not in a git repository", "make it one: git init")
    if "work tree" in message:
        return ProjectError(f"{folder} is inside git's own folder", "go to the work tree")
    return ProjectError(f"git does not accept {folder}: {_first_line(message)}")


def _error(done: subprocess.CompletedProcess[bytes]) -> DvliteError:
    message = os.fsdecode(done.stderr)
    if "index.lock" in message and "File exists" in message:
        return ProjectError(
            "another git process holds git's index (index.lock)",
            "wait for it; if none runs, git says which file to remove: run `git status`",
        )
    verb = next((word for word in done.args[3:] if not word.startswith(("-", "core."))), "")
    for text, hint in _STORAGE.items():
        if text in message:
            return StorageError(f"git {verb} failed: {_first_line(message)}", hint)
    if "ignored by one of your .gitignore" in message:
        names = [line for line in message.splitlines() if line.endswith(".dvl")]
        return PathError(
            f"git ignores the pointer {', '.join(names) or 'file'}",
            "take its pattern out of .gitignore, so that the pointer can be committed",
        )
    return ProjectError(f"git {verb} failed: {_first_line(message)}")


def _first_line(message: str) -> str:
    lines = [line for line in message.strip().splitlines() if line] or ["no reason given"]
    line = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[0])
    return line.removeprefix("fatal: ").removeprefix("error: ")


def _ask_path(folder: str, word: str) -> str:
    return os.fsdecode(_start(["git", "-C", folder, "rev-parse", word], None).stdout)[:-1]


def _below(folder: str, suffix: str) -> str:
    """The path specification of files with `suffix` at any depth below `folder`."""
    escaped = "".join("\\" + char if char in "\\*?[" else char for char in folder)
    return f":(top,glob){escaped + '/' if escaped else ''}**/*{suffix}"


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]


def _batches(paths: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(paths), _PATHS_A_CALL):
        yield paths[start : start + _PATHS_A_CALL]


def _blob(text: str) -> str | None:
    return None if not text.strip("0") else text


def _read_capped(stream: object, size: int, most: int) -> bytes:
    """Reads a blob and its newline; keeps only the beginning of a large one."""
    read = stream.read  # type: ignore[attr-defined]
    data: bytes = read(min(size, most + 1))
    left = size - len(data)
    while left > 0:
        left -= len(read(min(left, 1 << 20))) or left
    read(1)
    return data
