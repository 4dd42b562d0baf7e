"""Starting git: the only place that does.

Owns how it is called: with the caller's repository-local environment scrubbed (a hook of one
worktree must not redirect commands for another) and messages in English; and what its failures
mean to people.
"""

from __future__ import annotations

import os
import subprocess

from dvlite.errors import DvliteError, PathError, ProjectError, StorageError

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


def start(
    command: list[str], stdin: bytes | None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Runs a git command; its output and messages as bytes, with any exit code.

    Raises:
        ProjectError: git is missing.
    """
    try:
        return subprocess.run(
            command, input=stdin or b"", capture_output=True, env=environment or scrubbed()
        )
    except FileNotFoundError as error:
        raise ProjectError("git was not found", "install git 2.25 or newer") from error


def scrubbed() -> dict[str, str]:
    """The environment without what another repository's hook has set."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in _LOCAL_VARIABLES and key != "GIT_INDEX_FILE"
    }
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_LITERAL_PATHSPECS": "0"}


def discovery_error(folder: str, message: str) -> DvliteError:
    """Why git finds no repository around a folder."""
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


def error_of(done: subprocess.CompletedProcess[bytes]) -> DvliteError:
    """What a failed command means."""
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


def colours_diff(folder: str) -> bool:
    """Whether git would colour differences in a terminal."""
    words = ["git", "-C", folder, "config", "--get-colorbool", "color.diff", "true"]
    return start(words, None).stdout.strip() == b"true"


def git_version() -> tuple[int, ...]:
    """The version of the installed git.

    Raises:
        ProjectError: git is missing.
    """
    text = start(["git", "version"], None).stdout.decode("ascii", "replace").split()
    numbers = text[2].split(".") if len(text) > 2 else []
    return tuple(int(number) for number in numbers if number.isdigit())
