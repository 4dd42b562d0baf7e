"""What commands ran in: Python, packages, system; recorded in git, and compared later.

Owns `.dvlite/environment.json`. The Python is the one that commands find on `PATH`, which need not
be dvlite's own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dvlite.atomic import publish
from dvlite.errors import CorruptError
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes

FILE = ".dvlite/environment.json"
_MAX_BYTES = 4 << 20
_MAX_LOCK = 64 << 20
_ASK_S = 60
_TEXTS = ("system", "machine", "python", "implementation")
# Files that say which packages there are to be, of the usual tools.
LOCKFILES = (
    *("requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pdm.lock", "pixi.lock"),
    *("environment.yml", "environment.yaml", "conda-lock.yml", "pylock.toml", "renv.lock"),
)
_QUESTION = """
import importlib.metadata, json, platform
found = {}
for one in importlib.metadata.distributions():
    name = one.metadata["Name"]
    if name:
        found[name.lower().replace("_", "-")] = one.version
print(json.dumps({"python": platform.python_version(),
                  "implementation": platform.python_implementation(), "packages": found}))
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """What commands run in. `locks`: BLAKE3 of each file that says which packages are needed."""

    system: str = ""
    machine: str = ""
    python: str = ""
    implementation: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    locks: Mapping[str, str] = field(default_factory=dict)


class Differs(NamedTuple):
    """Something that is not as it was; "" where it is not there."""

    what: str
    then: str
    now: str


def look(project: Project) -> Environment:
    """The environment as it is now."""
    found: Mapping[str, Any] = {}
    program = shutil.which("python") or shutil.which("python3")
    if program is not None:
        words = [program, "-c", _QUESTION]
        try:
            done = subprocess.run(words, capture_output=True, timeout=_ASK_S, cwd=project.root)
            found = json.loads(done.stdout) if done.returncode == 0 else {}
        except (OSError, ValueError, subprocess.SubprocessError):
            found = {}
    locks = {name: text for name in LOCKFILES if (text := _hash(project.absolute(name)))}
    return Environment(
        f"{platform.system()} {platform.release()}".strip(),
        platform.machine(),
        str(found.get("python", "")),
        str(found.get("implementation", "")),
        dict(found.get("packages", {})),
        locks,
    )


def record(project: Project) -> Environment:
    """Writes down the environment as it is now, and stages that in git."""
    now = look(project)
    publish(project.absolute(FILE), render(now))
    project.repo.stage([project.to_git(FILE)])
    return now


def recorded_at(project: Project, commit: str) -> Environment | None:
    """What a commit says that its commands ran in; None: nothing.

    Raises:
        CorruptError: it cannot be read.
    """
    data = project.repo.read_file(commit, project.to_git(FILE))
    return None if data is None else parse(data)


def render(environment: Environment) -> bytes:
    """The bytes of the file: a line for each package, so that git shows what changed."""
    content = {
        "dvlite": 1,
        "system": environment.system,
        "machine": environment.machine,
        "python": environment.python,
        "implementation": environment.implementation,
        "locks": dict(environment.locks),
        "packages": dict(environment.packages),
    }
    return (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def parse(data: bytes) -> Environment:
    """The inverse.

    Raises:
        CorruptError: it is none.
    """
    try:
        content = json.loads(data) if len(data) <= _MAX_BYTES else None
        if not isinstance(content, dict) or content["dvlite"] != 1:
            raise ValueError("of another version, or no record")
        texts = [content[key] for key in _TEXTS]
        packages, locks = content["packages"], content["locks"]
        plain = [*texts, *packages, *packages.values(), *locks, *locks.values()]
        if not all(isinstance(one, str) for one in plain):
            raise ValueError("a value is no text")
        return Environment(**dict(zip(_TEXTS, texts, strict=True)), packages=packages, locks=locks)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        hint = "dvlite run --env writes it"
        raise CorruptError(f"{FILE} cannot be read: {error}", hint) from error


def compare(then: Environment, now: Environment) -> list[Differs]:
    """What is not as it was."""
    return list(_compare(then, now))


def _compare(then: Environment, now: Environment) -> Iterator[Differs]:
    for what in ("python", "implementation", "system", "machine"):
        if getattr(then, what) != getattr(now, what):
            yield Differs(what, getattr(then, what), getattr(now, what))
    for kind, old, new in (
        ("lock file", then.locks, now.locks),
        ("package", then.packages, now.packages),
    ):
        for name in sorted(old.keys() | new.keys()):
            if old.get(name) != new.get(name):
                before, after = old.get(name, ""), new.get(name, "")
                if kind == "lock file":
                    before, after = before[:12], after[:12]
                yield Differs(f"{kind} {name}", before, after)


def _hash(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_LOCK + 1)
    except OSError:
        return ""
    return hash_bytes(data).hex() if os.path.isfile(path) and len(data) <= _MAX_LOCK else ""
