"""What stages wrote when they ran: a file a run, the last few of each stage.

Owns their names and how many are kept: `<git dir>/dvlite/<project>/logs/STAGE-TIME.log`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress

from dvlite.project import Project
from dvlite.workspace.base import quote

_OF_A_STAGE = 3
# Files of stages that are no more go, oldest first.
_OF_ALL = 2000
_NAME = re.compile(r"(.+)-(\d{20})\.log\Z")


def logs_folder(project: Project) -> str:
    """Where they are."""
    return os.path.join(project.private_folder, "logs")


class StageLogs:
    """The logs of one project, as one run knows them: the folder is listed once."""

    def __init__(self, project: Project) -> None:
        self._folder = logs_folder(project)
        os.makedirs(self._folder, exist_ok=True)
        found = sorted(
            (match[2], match[1], name)
            for name in os.listdir(self._folder)
            if (match := _NAME.match(name)) is not None
        )
        self._remove([name for _, _, name in found[:-_OF_ALL]])
        self._of: dict[str, list[str]] = {}
        for _, stage, name in found[-_OF_ALL:]:
            self._of.setdefault(stage, []).append(name)

    def new(self, stage: str) -> str:
        """A name for the log of a run that begins now; the oldest of that stage go."""
        plain = quote(stage).replace("%", "%25").replace("/", "%2F")[:200]
        mine = self._of.setdefault(plain, [])
        mine.append(f"{plain}-{time.time_ns():020d}.log")
        self._remove(mine[:-_OF_A_STAGE])
        del mine[:-_OF_A_STAGE]
        return os.path.join(self._folder, mine[-1])

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with suppress(OSError):
                os.unlink(os.path.join(self._folder, name))
