"""What stages wrote when they ran: a file a run, the last few of each stage.

Owns their names and how many are kept: `<git dir>/dvlite/<project>/logs/STAGE-TIME.log`.
"""

from __future__ import annotations

import os
import re
import time
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


def new_log(project: Project, stage: str) -> str:
    """A name for the log of a run that begins now; the oldest of that stage go."""
    folder = logs_folder(project)
    os.makedirs(folder, exist_ok=True)
    plain = quote(stage).replace("%", "%25").replace("/", "%2F")[:200]
    found = sorted(
        (match[2], match[1], name)
        for name in os.listdir(folder)
        if (match := _NAME.match(name)) is not None
    )
    mine = [name for _, of, name in found if of == plain]
    others = [name for _, of, name in found if of != plain]
    for name in (*mine[: 1 - _OF_A_STAGE or len(mine)], *others[: max(0, len(others) - _OF_ALL)]):
        with suppress(OSError):
            os.unlink(os.path.join(folder, name))
    return os.path.join(folder, f"{plain}-{time.time_ns():020d}.log")
