"""Where the tools' remotes are: folders on the same disk, or buckets of one S3 server.

Each tool has a place of its own. Owns what differs between the kinds: how a place is named, made
and looked into.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.measure import files_below
from bench.server import Server


class Remotes(Protocol):
    """The places of one round."""

    @property
    def endpoint(self) -> str | None:
        """The server's URL, None where there is no server."""

    def url(self, tool: str) -> str:
        """Return the place of a tool, as its commands take it."""

    def make(self, tool: str) -> None:
        """Make a tool's place, empty."""

    def files(self, tool: str) -> dict[str, int]:
        """Return name and size in bytes of every file in a tool's place."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Remotes in folders below the round's."""

    folder: Path
    endpoint: None = None

    def url(self, tool: str) -> str:
        """See Remotes."""
        return str(self.folder / tool / "store")

    def make(self, tool: str) -> None:
        """See Remotes."""
        Path(self.url(tool)).mkdir(parents=True)

    def files(self, tool: str) -> dict[str, int]:
        """See Remotes."""
        return files_below(Path(self.url(tool)))


@dataclass(frozen=True, slots=True)
class Buckets:
    """Remotes on a server, a bucket for each tool."""

    server: Server

    @property
    def endpoint(self) -> str:
        """See Remotes."""
        return self.server.endpoint

    def url(self, tool: str) -> str:
        """See Remotes."""
        return f"s3://{tool.lower()}/remote"

    def make(self, tool: str) -> None:
        """See Remotes."""
        self.server.make_bucket(tool.lower())

    def files(self, tool: str) -> dict[str, int]:
        """See Remotes."""
        return self.server.files(self.url(tool))
