"""`dvlite remote`: adding, renaming, removing the places that data is pushed to."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dvlite.errors import ConflictError, DvliteError
from dvlite.ops.config import change
from dvlite.ops.remotes import last_contact, open_named
from dvlite.project import Project
from dvlite.storage.remote import NotMade
from dvlite.workspace.config import (
    Config,
    check,
    check_remote_name,
    check_url,
    is_local,
    need_remote,
    redact,
)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What a remote is like. `problem`: why it cannot be used now; `made`: whether anything was
    pushed to it; counts as its listing shows them."""

    name: str
    url: str
    is_default: bool
    options: tuple[tuple[str, str], ...]
    made: bool = False
    segments: int = 0
    packs: int = 0
    stored_bytes: int = 0
    last_contact_s: float | None = None
    problem: str | None = None


def add_remote(
    project: Project, name: str, url: str, *, default: bool, local: bool, force: bool
) -> bool:
    """Adds a remote; whether it is the default now (the first one always becomes it).

    Raises:
        UsageError: a name or URL that cannot be. ConflictError: the name is taken.
    """
    check_remote_name(name)
    check_url(url)
    known = project.config.remotes()
    if name in known and not force and known[name].url != url:
        raise ConflictError(
            f"there is a remote {name} already: {redact(known[name].url)}",
            "choose another name, or replace it: --force",
        )
    changes: dict[str, str | None] = {f"remote.{name}.url": url}
    becomes_default = default or (not known and project.config.text("core.remote") is None)
    if becomes_default:
        changes["core.remote"] = name
    change(project, changes, local)
    if not local and f"remote.{name}.url" in project.config.private:  # or it would still win
        change(project, {f"remote.{name}.url": None}, local=True)
    return becomes_default


def stored_url(project: Project, url: str, started_in: str) -> str:
    """A folder as it is best written down: absolute as given, or relative to the project."""
    if "://" in url or "::" in url or not is_local(url) or os.path.isabs(os.path.expanduser(url)):
        return url
    absolute = os.path.normpath(os.path.join(os.path.realpath(started_in), url))
    return os.path.relpath(absolute, project.root)


def rename_remote(project: Project, old: str, new: str) -> bool:
    """Renames a remote with all its options, in both files, and the default with it; whether
    the committed settings changed."""
    need_remote(project.config, old)
    check_remote_name(new)
    if new in project.config.remotes():
        raise ConflictError(f"there is a remote {new} already", "choose another name")

    def renamed(settings: Mapping[str, str]) -> dict[str, str | None]:
        changes: dict[str, str | None] = {}
        for key, option in _options_of(settings, old):
            changes |= {key: None, f"remote.{new}.{option}": settings[key]}
        if settings.get("core.remote") == old:
            changes["core.remote"] = new
        return changes

    return _change_both(project, renamed)


def remove_remote(project: Project, name: str) -> bool:
    """Forgets a remote; what is stored there stays. Whether the committed settings changed."""
    need_remote(project.config, name)

    def without(settings: Mapping[str, str]) -> dict[str, str | None]:
        gone: dict[str, str | None] = {key: None for key, _ in _options_of(settings, name)}
        return gone | ({"core.remote": None} if settings.get("core.remote") == name else {})

    return _change_both(project, without)


def _options_of(settings: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    """The keys of a remote's options, and the options. (Another's name may go on after a dot.)"""
    keys = [(key, *key.rpartition(".")[::2]) for key in settings]
    return [(key, option) for key, head, option in keys if head == f"remote.{name}"]


def _change_both(
    project: Project, changes: Callable[[Mapping[str, str]], dict[str, str | None]]
) -> bool:
    """Changes what is committed first: that may be refused, and nothing has happened then."""
    committed, private = changes(project.config.committed), changes(project.config.private)
    if committed:
        change(project, committed)
    if private:
        change(project, private, local=True)
    return bool(committed)


def set_default(project: Project, name: str, local: bool) -> None:
    """Makes a remote the one that commands mean when none is named."""
    need_remote(project.config, name)
    check("core.remote", name, private=local)
    change(project, {"core.remote": name}, local)


def default_name(config: Config) -> str | None:
    """The default remote: as set, else the only one."""
    chosen = config.text("core.remote")
    known = list(config.remotes())
    return chosen or (known[0] if len(known) == 1 else None)


def describe_remote(project: Project, name: str, ask: bool) -> RemoteState:
    """A remote's settings and, when `ask`, what it holds."""
    settings = need_remote(project.config, name)
    contact = last_contact(project)
    state = RemoteState(
        name,
        project.remote_url(name),
        default_name(project.config) == name,
        settings.options,
        last_contact_s=contact.time_s if contact is not None and contact.remote == name else None,
    )
    return _ask(project, state) if ask else state


def _ask(project: Project, state: RemoteState) -> RemoteState:
    from dataclasses import replace

    try:
        remote = open_named(project, state.name)
        packs = remote.packs()
        segments = remote.listing().readable
    except NotMade:
        return state
    except DvliteError as error:
        return replace(state, problem=str(error))
    return replace(
        state,
        made=True,
        segments=len(segments),
        packs=len(packs),
        stored_bytes=sum(packs.values()),
    )
