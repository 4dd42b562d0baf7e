"""What a root needs and is nowhere to be had: how it is called, and told to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dvlite.storage.oid import to_text

# More than these are a number in a message; --json has all.
_NAMED = 20


class Absent(NamedTuple):
    """Something that a root needs. `label`: the pointer's path; `path`: inside its data."""

    label: str
    path: bytes
    oid: bytes


def describe_absent(items: Sequence[Absent]) -> str:
    """A few of the absent things, for a message."""
    lines = [
        f"{item.label}: {item.path.decode('utf-8', 'replace') or to_text(item.oid)}"
        for item in sorted(items)[:_NAMED]
    ]
    if len(items) > _NAMED:
        lines.append(f"and {len(items) - _NAMED:,} more")
    return "\n".join(lines)
