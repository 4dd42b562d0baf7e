"""`.pre-commit-config.yaml`: dvlite's hooks among those that the pre-commit framework runs.

Owns the entry that calls dvlite, and putting it into a file that somebody else wrote: as text, so
that comments and order stay, and only where YAML then says the same as before plus that entry.
"""

from __future__ import annotations

import os
import re
from typing import Any

from dvlite.atomic import publish_in_tree
from dvlite.errors import PathError, ProjectError
from dvlite.ops.hookfiles import HOOKS, PROGRAM

FILE = ".pre-commit-config.yaml"
_MAX_BYTES = 1 << 20
# `language: system`, as dvlite is installed already; where, this clone's settings know.
_HOOK = """\
      - id: dvlite-{name}
        name: dvlite {name}
        entry: sh -c 'eval "$(git config {program} || echo dvlite) hook {name}"'
        language: system
        always_run: true
        pass_filenames: false
        verbose: {verbose}
        stages: [{name}]
"""
_ENTRY = "  - repo: local\n    hooks:\n" + "".join(
    # what they have to say is no failure, which the framework shows only if asked to
    _HOOK.format(name=name, program=PROGRAM, verbose=str(name != "pre-commit").lower())
    for name in HOOKS
)
_TYPES = f"default_install_hook_types: [{', '.join(HOOKS)}]\n"


def add_to_config(top: str) -> str | None:
    """Puts the entry into the file at the top of the work tree; its path if it changed.

    Raises:
        ProjectError: it cannot be extended safely; the hint has what to add.
    """
    path = os.path.join(top, FILE)
    before = _read(path)
    if _has_entry(before):
        return None
    after = _TYPES + "repos:\n" + _ENTRY if before is None else _extended(before)
    if after is None or not _adds_one(before, after):
        raise ProjectError(
            f"{FILE} is written in a way that cannot be extended by a command",
            f"add to its repos:\n{_ENTRY.rstrip()}",
        )
    publish_in_tree(path, after.encode(), durable=False)
    return path


def calls_dvlite(top: str) -> bool:
    """Whether the framework is told to call dvlite."""
    try:
        return _has_entry(_read(os.path.join(top, FILE)))
    except (PathError, OSError):
        return False


def install_command() -> str:
    """What makes git run the framework at each of dvlite's hooks."""
    return "pre-commit install " + " ".join(f"-t {name}" for name in HOOKS)


def _has_entry(text: str | None) -> bool:
    return text is not None and re.search(r"^[\s-]*id: *dvlite-pre-", text, re.M) is not None


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise PathError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise PathError(f"{path} is not text", "correct it by hand") from error


def _extended(text: str) -> str | None:
    """The entry behind the last one of `repos`, as far indented as the others."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    start = next((at for at, line in enumerate(lines) if re.match(r"repos:\s*(#.*)?$", line)), None)
    if start is None:
        return None
    first = next((line for line in lines[start + 1 :] if line.lstrip().startswith("- ")), "  - ")
    indent = first[: len(first) - len(first.lstrip())]
    end = next((at for at in range(start + 1, len(lines)) if re.match(r"[A-Za-z_]", lines[at])), 0)
    entry = [indent + line[2:] for line in _ENTRY.splitlines(keepends=True)]
    end = end or len(lines)
    return "".join([*lines[:end], *entry, *lines[end:]])


def _adds_one(before: str | None, after: str) -> bool:
    """Whether YAML says the same as before, and one entry more at the end."""
    import yaml  # 15 ms that only this command pays

    try:
        old: Any = {"repos": []} if before is None else yaml.safe_load(before)
        new: Any = yaml.safe_load(after)
    except yaml.YAMLError:
        return False
    added = yaml.safe_load(_ENTRY)
    if before is None:
        return bool(new["repos"] == added)
    return isinstance(old, dict) and bool(
        {**new, "repos": None} == {**old, "repos": None}
        and new["repos"] == [*(old["repos"] or []), *added]
    )
