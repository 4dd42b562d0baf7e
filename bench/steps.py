"""Names of steps and sizes that contests note and goals are about."""

from __future__ import annotations

STORED = "on the remote"
EVERYTHING, LAST = "all versions on the remote", "the last version alone on a remote"
UNCHANGED = "run with nothing changed"
PULL_CHANGED = "pull version 2, version 1 is here"
