"""`dvlite git-driver`: what git runs, as .gitattributes and git's settings tell it to.

Nothing here may fail in a way that stops git: a merge ends merged or in conflict.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from dvlite.cli.options import Common, common
from dvlite.cli.output import name, note, plain

_MERGE_WORDS = 5


@click.command()
@click.argument("what", type=click.Choice(["merge"]))
@click.argument("words", nargs=-1, metavar="[ARGS]...")
@common
def command(common: Common, what: str, words: tuple[str, ...]) -> None:
    """Merge and show pointers, for git itself.

    git runs this, if its settings tell it to (docs/git.md). merge takes what git's %O %A %B %L
    %P %X %Y stand for, writes the result over the second file, and exits with 1 where it
    conflicts.

    \b
    Examples:
      dvlite git-driver merge base.dvl ours.dvl theirs.dvl 7 images.dvl
    """
    from dvlite.errors import UsageError

    if len(words) < _MERGE_WORDS or not words[3].isdigit():
        raise UsageError("git-driver merge takes BASE OURS THEIRS MARKER-SIZE PATH")
    _merge(common, words)


def _merge(common: Common, words: Sequence[str]) -> None:
    from dvlite.ops.mergedriver import USUAL_MARKER, MergeCall, merge_driver

    base, ours, theirs = (common.resolve(word) for word in words[:3])
    marker = min(int(words[3]), 200)
    call = MergeCall(base, ours, theirs, marker, words[4], _labels(words[5:7]))
    report = merge_driver(call, common.directory, os.environ.get("DVLITE_CACHE_DIR") or None)
    if marker <= USUAL_MARKER:
        for message in report.messages:
            note(f"conflict: {name(message)}")
        if report.hint and not report.merged:
            note(f"hint: {name(report.hint)}")
    if not report.merged:
        raise SystemExit(1)


def _labels(words: Sequence[str]) -> tuple[str, str]:
    """What git calls the two sides; an older git does not, and leaves its marks as they are."""
    ours, theirs = (*words, "", "")[:2]
    return (
        "ours" if not ours or ours.startswith("%") else plain(ours),
        "theirs" if not theirs or theirs.startswith("%") else plain(theirs),
    )
