"""`dvlite config` and what changes settings: committed ones are staged in git."""

from __future__ import annotations

from collections.abc import Mapping

from dvlite.errors import UsageError
from dvlite.project import Project
from dvlite.workspace.config import FILE, KEYS, Config, check, is_secret, redact, split_remote_key
from dvlite.workspace.configedit import edit


def shown(key: str, text: str) -> str:
    """A setting's value as it may be shown: no secrets."""
    return "***" if is_secret(key) else redact(text)


def value_of(config: Config, key: str) -> str | None:
    """A setting's value in force, as text; None when it is not set and has no default.

    Raises:
        UsageError: there is no such setting.
    """
    name, _ = split_remote_key(key)
    if not name and key not in KEYS:
        check(key, "", private=True)
    text = config.text(key)
    if text is not None or name:
        return text
    default = KEYS[key].default
    if default is None:
        return None
    return str(default).lower() if isinstance(default, bool) else str(default)


def change(project: Project, changes: Mapping[str, str | None], local: bool = False) -> None:
    """Sets settings, or with None removes them; in this clone only when `local`.

    Raises:
        UsageError: a key or value that cannot be, or that must not be committed.
    """
    for key, text in changes.items():
        if text is not None:
            check(key, text, private=local)
        elif key not in (project.config.private if local else project.config.committed):
            where = "in this clone's settings" if local else f"in {FILE}"
            raise UsageError(f"{key} is not set {where}", _other_place(project.config, key, local))
    with project.lock():
        path = project.config.private_path if local else project.config.committed_path
        edit(path, changes, committed=not local)
        if not local:
            project.repo.stage([project.to_git(FILE)])


def _other_place(config: Config, key: str, local: bool) -> str | None:
    if local and key in config.committed:
        return "it is committed: without --local"
    if not local and key in config.private:
        return "it is set for this clone only: add --local"
    return None
