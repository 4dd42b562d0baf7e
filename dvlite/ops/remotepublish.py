"""`dvlite remote publish`: writes down what is on a remote, for readers behind a web server."""

from __future__ import annotations

from dataclasses import dataclass

from dvlite.ops.remotes import (
    chosen_names,
    open_named,
    refuse_changed_url,
    refuse_read_only,
)
from dvlite.project import Project
from dvlite.storage.publishedlist import Publication, publish_list


@dataclass(frozen=True, slots=True)
class RemotePublishRequest:
    """Which remote. `accept_url`: the user agreed to a URL that has changed."""

    remote: str | None = None
    dry_run: bool = False
    accept_url: bool = False


@dataclass(frozen=True, slots=True)
class RemotePublishResult:
    """The remote, and what became of its list."""

    remote: str
    publication: Publication


def publish(project: Project, request: RemotePublishRequest) -> RemotePublishResult:
    """Writes `index/list`, unless it says what it has to already.

    Raises:
        ConflictError: the remote's URL is not the one this clone knows.
        NotMade: nothing was pushed there yet. RemoteError: it fails, or can only be read.
    """
    name = chosen_names(project, [request.remote] if request.remote else [])[0]
    refuse_read_only(project, name)
    refuse_changed_url(project, name, request.accept_url, "dvlite remote publish")
    remote = open_named(project, name)
    return RemotePublishResult(name, publish_list(remote, request.dry_run))
