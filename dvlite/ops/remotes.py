"""Opening the remotes of a project, and what is remembered of them between commands.

Owns: which remote a command means, whether its URL is the one this clone knows, and the record
of the last contact (what `status` can say without asking again).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import publish
from dvlite.errors import ConflictError, CorruptError, MissingError, RemoteError, UsageError
from dvlite.project import Project
from dvlite.storage.backend import Backend, is_read_only, open_backend, refuse_writing
from dvlite.storage.oid import hash_bytes
from dvlite.storage.pacing import PacedBackend
from dvlite.storage.publishedlist import mend_list, publish_list
from dvlite.storage.remote import Listing, Remote, open_remote, open_to_read
from dvlite.workspace import cacheusers
from dvlite.workspace.config import redact

# `s3://bucket` is another place when a commit brings another endpoint_url with it.
_LEADS = re.compile("endpoint|host|port|proxy|account_name|url|^user$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Contact:
    """What the last contact with a remote showed: which oids were there, and when (UTC)."""

    remote: str
    time_s: float
    present: frozenset[bytes]


def chosen_names(project: Project, names: Sequence[str] = ()) -> list[str]:
    """The remotes a command means: those named, else the default, else the only one.

    Raises:
        MissingError: there is none. UsageError: several and no default.
    """
    known = project.config.remotes()
    for name in names:
        if name not in known:
            raise MissingError(
                f"there is no remote named {name}",
                "known: " + (", ".join(sorted(known)) or "none; dvlite remote add NAME URL"),
            )
    if names:
        return list(names)
    default = project.config.get("core.remote")
    if default is not None:
        return chosen_names(project, [str(default)])
    if not known:
        raise MissingError(
            "this project has no remote", "add one: dvlite remote add NAME URL --default"
        )
    if len(known) > 1:
        raise UsageError(
            f"several remotes and no default: {', '.join(sorted(known))}",
            "choose with -r NAME, or set one: dvlite remote default NAME",
        )
    return list(known)


def open_named(project: Project, name: str, create: bool = False) -> Remote:
    """Opens a remote of the project's configuration."""
    return open_remote(name, _backend(project, name), create)


def _backend(project: Project, name: str) -> Backend:
    settings = project.config.remotes()[name]
    backend = open_backend(project.remote_url(name), dict(settings.options))
    rate = project.config.get("core.max_rate")
    return backend if rate is None else PacedBackend(backend, int(rate))


def open_unchecked(project: Project, name: str) -> Remote:
    """A remote as it is, whatever its `dvlite.json` says: for looking what is wrong with it."""
    settings = project.config.remotes()[name]
    return Remote(name, open_backend(project.remote_url(name), dict(settings.options)))


def place_of(project: Project, name: str) -> str:
    """Where a remote's data goes: its URL, and the options that could lead elsewhere."""
    options = project.config.remotes()[name].options
    leading = [f"{option}={redact(text)}" for option, text in options if _LEADS.search(option)]
    return " ".join([redact(project.remote_url(name)), *leading])


def changed_url(project: Project, name: str) -> str | None:
    """The URL this clone used before, if it is another than the configured one now.

    A committed URL arrives with a pull: data must not be sent to a new place unasked.
    """
    before = _known_urls(project).get(name)
    return before if before is not None and before != place_of(project, name) else None


def is_known(project: Project, name: str) -> bool:
    """Whether this clone has used a remote at the place where it is configured to be now."""
    return _known_urls(project).get(name) == place_of(project, name)


def refuse_changed_url(project: Project, name: str, accepted: bool, command: str) -> None:
    """Stops `command` from writing to a place that this clone has not used before under that name,
    unless the user `accepted` it.

    Raises:
        ConflictError: it is another place than before.
    """
    before = changed_url(project, name)
    if before is not None and not accepted:
        raise ConflictError(
            f"the remote {name} now points to {place_of(project, name)}, before to {before}",
            f"if that is right, confirm it once: {command} --yes",
        )


def refuse_read_only(project: Project, name: str) -> None:
    """Stops what would write to a web server, before anything is done for it.

    Raises:
        ReadOnlyError: the remote can only be read.
    """
    if is_read_only(project.config.remotes()[name].url):
        refuse_writing(name)


def mend_published(
    remote: Remote, now: Listing | None = None, has_deleted: bool = False
) -> str | None:
    """Brings the list for readers behind a web server up to date, where there is one; else (and
    on success) None, or why that failed: what was pushed is safe, only those readers lack it.
    `has_deleted`: the list may name what is gone."""
    now = now or remote.listing()
    try:
        if now.published and has_deleted:
            publish_list(remote)
        elif now.published:
            mend_list(remote, now)
    except (RemoteError, CorruptError) as error:
        return str(error)
    return None


def remember_url(project: Project, name: str) -> None:
    """Records the URL as the one this clone uses."""
    known = _known_urls(project)
    place = place_of(project, name)
    if known.get(name) != place:
        known[name] = place
        data = json.dumps(known, indent=1, sort_keys=True).encode()
        with suppress(OSError):  # a read-only .git must not stop a fetch
            publish(_private(project, "remote-urls.json"), data)


def clone_id(project: Project) -> bytes:
    """16 random bytes that name this clone to gc; made when first asked for."""
    return cacheusers.clone_id(project.repo.common_dir)


def project_id(project: Project) -> bytes:
    """16 bytes that name the project on remotes that several share."""
    text = str(project.config.get("core.id") or "")
    return hash_bytes(text.encode())[:16] if text else bytes(16)


def record_contact(project: Project, name: str, present: Iterable[bytes]) -> None:
    """Remembers what a remote had; older knowledge of the same remote is kept."""
    last = last_contact(project)
    oids = set(present)
    if last is not None and last.remote == name:
        oids |= last.present
    content = {
        "dvlite": 1,
        "remote": name,
        "place": place_of(project, name),
        "time": time.time(),
        "present": sorted(oid.hex() for oid in oids),
    }
    with suppress(OSError):
        publish(_private(project, "last-contact.json"), json.dumps(content).encode())


def last_contact(project: Project) -> Contact | None:
    """What `record_contact` wrote last; None when there is nothing readable, or when the remote of
    that name is at another place since."""
    try:
        with open(_private(project, "last-contact.json"), "rb") as stream:
            content = json.loads(stream.read())
        present = frozenset(bytes.fromhex(item) for item in content["present"])
        contact = Contact(str(content["remote"]), float(content["time"]), present)
        place = content.get("place")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    known = contact.remote in project.config.remotes()
    return None if known and place not in (None, place_of(project, contact.remote)) else contact


def open_some(
    project: Project, names: Sequence[str], ahead: bool = False
) -> tuple[list[Remote], list[tuple[str, str]]]:
    """Opens several remotes to read from, and says which failed and why; one that fails is an
    error only if all do. `ahead`: the first one's index is wanted next; that of the others only
    where it lacks something."""
    opened: list[Remote] = []
    failed: list[tuple[str, str]] = []
    problem = None
    for name in names:
        try:
            how = open_to_read if ahead and not opened else open_remote
            opened.append(how(name, _backend(project, name)))
            if changed_url(project, name) is None:  # a new place is for push to ask about
                remember_url(project, name)
        except RemoteError as error:
            problem = error
            failed.append((name, str(error)))
    if not opened and problem is not None:
        raise problem
    return opened, failed


def _known_urls(project: Project) -> dict[str, str]:
    try:
        with open(_private(project, "remote-urls.json"), "rb") as stream:
            content = json.loads(stream.read())
        return {str(key): str(value) for key, value in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _private(project: Project, name: str) -> str:
    """A file of this clone, shared by its worktrees; projects have remotes of the same name, so
    each has files of its own."""
    key = os.path.basename(project.private_folder)
    name = name if key == "top" else f"{key}.{name}"
    folder = os.path.join(project.repo.common_dir, "dvlite")
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, name)
