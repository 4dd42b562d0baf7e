"""`dvlite remote copy`: what one remote lacks of another, brought there; no workspace needed.

Owns what the user's word for a place means: a remote's name, which needs a project, or a URL or
folder, which does not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.errors import UsageError
from dvlite.ops.remotes import (
    changed_url,
    chosen_names,
    mend_published,
    open_named,
    place_of,
    refuse_changed_url,
    remember_url,
)
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.backend import is_read_only, open_backend, refuse_writing
from dvlite.storage.remote import NotMade, Remote, open_remote
from dvlite.storage.remotecopy import CopyOptions, CopyReport, copy_remote
from dvlite.workspace.config import check_url, has_password, is_local, is_secret, redact


@dataclass(frozen=True, slots=True)
class Place:
    """What the user named: a remote, or (`is_url`) a URL or folder with its options."""

    text: str
    is_url: bool
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteCopyRequest:
    """What to copy where. `accept_url`: the user agreed to a URL that has changed."""

    source: Place
    target: Place
    jobs: int = 4
    dry_run: bool = False
    accept_url: bool = False


@dataclass(frozen=True, slots=True)
class RemoteCopyResult:
    """What was copied, and what the two are called in messages. `list_problem`: why the target's
    list for readers behind a web server does not name it."""

    source: str
    target: str
    report: CopyReport
    list_problem: str | None = None


def is_url(text: str) -> bool:
    """Whether a word is a URL or a folder, and not a remote's name: names have no slash."""
    return "/" in text or os.sep in text or text.startswith("~") or text in (".", "..")


def place(text: str, options: Mapping[str, str], folder: str) -> Place:
    """What a word of the user means; a relative folder counts from `folder`.

    Raises:
        UsageError: a URL or option that cannot be.
    """
    if not is_url(text):
        if options:
            raise UsageError(
                f"{text} is a remote's name, and its options are settings",
                f"dvlite config remote.{text}.OPTION VALUE",
            )
        return Place(text, False)
    check_url(text)
    for option in options:
        if is_secret(f"remote.url.{option}"):
            raise UsageError(
                f"{option} is a secret, and other users can see a command's words",
                "put it where the storage's own programs find it (environment, ~/.aws), or use "
                "a configured remote",
            )
    if has_password(text):
        raise UsageError("a password in a URL can be seen by other users", "configure a remote")
    if is_local(text) and "://" not in text:
        text = os.path.normpath(os.path.join(folder, os.path.expanduser(text)))
    return Place(text, True, dict(options))


def copy(
    project: Project | None, request: RemoteCopyRequest, progress: Progress = silent
) -> RemoteCopyResult:
    """Copies; `project` may be None where both places are URLs.

    Raises:
        ConflictError: the target's URL is not the one this clone knows.
        NotMade: there is no remote at the source. FormatVersionError: one is of another format.
        RemoteError: one of them fails; what arrived counts for the next run.
    """
    _refuse_same(project, request)
    target_name = _name(project, request.target)
    if target_name is not None and project is not None:
        refuse_changed_url(project, target_name, request.accept_url, "dvlite remote copy")
    _refuse_read_only(project, request.target)
    source = _opened(project, request.source, create=False)
    try:
        target: Remote | None = _opened(project, request.target, create=not request.dry_run)
    except NotMade:
        if not request.dry_run:
            raise
        target = None
    report = copy_remote(source, target, CopyOptions(request.jobs, request.dry_run, progress))
    if project is not None and not request.dry_run:
        _remember(project, request)
    problem = None if target is None or request.dry_run else mend_published(target)
    return RemoteCopyResult(
        redact(request.source.text), redact(request.target.text), report, problem
    )


def _refuse_read_only(project: Project | None, target: Place) -> None:
    name = _name(project, target)
    url = project.config.remotes()[name].url if project is not None and name else target.text
    if is_read_only(url):
        refuse_writing(redact(target.text))


def _name(project: Project | None, one: Place) -> str | None:
    """The configured remote that is meant, if one is."""
    if one.is_url or project is None:
        return None
    return chosen_names(project, [one.text])[0]


def _opened(project: Project | None, one: Place, create: bool) -> Remote:
    name = _name(project, one)
    if name is not None and project is not None:
        return open_named(project, name, create)
    return open_remote(redact(one.text), open_backend(one.text, one.options), create)


def _remember(project: Project, request: RemoteCopyRequest) -> None:
    source, target = _name(project, request.source), _name(project, request.target)
    if target is not None:
        remember_url(project, target)
    if source is not None and changed_url(project, source) is None:
        remember_url(project, source)


def _refuse_same(project: Project | None, request: RemoteCopyRequest) -> None:
    """Two words for one place are a slip."""

    def where(one: Place) -> str:
        name = _name(project, one)
        if name is not None and project is not None:
            return place_of(project, name)
        return " ".join([one.text.rstrip("/"), *(f"{k}={v}" for k, v in one.options.items())])

    if where(request.source) == where(request.target):
        raise UsageError(
            f"{redact(request.source.text)} and {redact(request.target.text)} are the same place",
            "dvlite remote copy FROM TO",
        )
