"""`dvlite git-driver`: what git runs, as .gitattributes and git's settings tell it to.

Nothing here may fail in a way that stops git: a merge ends merged or in conflict, and what cannot
be shown as data is shown as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from dvlite.cli.options import Common, common
from dvlite.cli.output import count, name, note, plain, size

if TYPE_CHECKING:
    from dvlite.ops.diffdriver import Line, Shown, ShownChange
    from dvlite.ops.tables import Table, TableChange
    from dvlite.workspace.pointer import Pointer

# Of one pointer; beyond it a pager has nothing that anyone would read.
_LISTED = 1000
_COLUMNS = 50
_DIGITS = 10
_MARKS = {1: "*", 2: "@", 3: "/"}
_OURS, _MIDDLE, _THEIRS = "<<<<<<< ours", "=======", ">>>>>>> theirs"
# From one side of a conflict ("" outside) to the other: the lines that git writes in text.
_BETWEEN: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "ours"): (_OURS,),
    ("", "theirs"): (_OURS, _MIDDLE),
    ("ours", "theirs"): (_MIDDLE,),
    ("ours", ""): (_MIDDLE, _THEIRS),
    ("theirs", ""): (_THEIRS,),
    ("theirs", "ours"): (_THEIRS, _OURS),
}
_WORDS = {
    "merge": (5, 7, "BASE OURS THEIRS MARKER-SIZE PATH [LABEL LABEL]"),
    "diff": (7, 9, "PATH OLD-FILE OLD-HEX OLD-MODE NEW-FILE NEW-HEX NEW-MODE [NEW-PATH ABOUT]"),
    "textconv": (1, 1, "FILE"),
}


@click.command()
@click.argument("what", type=click.Choice(list(_WORDS)))
@click.argument("words", nargs=-1, metavar="[ARGS]...")
@common
def command(common: Common, what: str, words: tuple[str, ...]) -> None:
    """Merge and show pointers, for git itself.

    git runs this, if its settings tell it to (docs/git.md). merge takes what git's %O %A %B %L
    %P %X %Y stand for, writes the result over the second file, and exits with 1 where it
    conflicts. diff takes the seven words of GIT_EXTERNAL_DIFF and says what differs. textconv
    takes a pointer file and lists what it names.

    \b
    Examples:
      dvlite git-driver merge base.dvl ours.dvl theirs.dvl 7 images.dvl
      dvlite git-driver textconv images.dvl
    """
    from dvlite.errors import UsageError

    least, most, expected = _WORDS[what]
    if what == "diff" and len(words) == 1:
        click.echo(f"* Unmerged path {name(words[0])}")
        return
    if not least <= len(words) <= most or (what == "merge" and not words[3].isdigit()):
        raise UsageError(f"git-driver {what} takes {expected}")
    {"merge": _merge, "diff": _diff, "textconv": _textconv}[what](common, words)


# -- merging ---------------------------------------------------------------------------------------


def _merge(common: Common, words: Sequence[str]) -> None:
    from dvlite.ops.mergedriver import USUAL_MARKER, MergeCall, merge_driver

    base, ours, theirs = (common.resolve(word) for word in words[:3])
    marker = min(int(words[3]), 200)
    call = MergeCall(base, ours, theirs, marker, words[4], _labels(words[5:7]))
    report = merge_driver(call, common.directory, _cache_folder())
    if marker <= USUAL_MARKER:
        for message in report.messages:
            note(f"conflict: {name(message)}")
        if report.hint and not report.merged:
            note(f"hint: {name(report.hint)}")
    if not report.merged:
        raise SystemExit(1)


def _cache_folder() -> str | None:
    return os.environ.get("DVLITE_CACHE_DIR") or None


def _labels(words: Sequence[str]) -> tuple[str, str]:
    """What git calls the two sides; an older git does not, and leaves its marks as they are."""
    ours, theirs = (*words, "", "")[:2]
    return (
        "ours" if not ours or ours.startswith("%") else plain(ours),
        "theirs" if not theirs or theirs.startswith("%") else plain(theirs),
    )


# -- two versions ----------------------------------------------------------------------------------


def _diff(common: Common, words: Sequence[str]) -> None:
    from dvlite.ops.diffdriver import show_change

    files = common.resolve(words[1]), common.resolve(words[4])
    found = show_change(_new_path(words), files, common.directory, _cache_folder())
    coloured = _is_coloured(common)
    for text, colour in _raw_lines(found) if found.raw is not None else _change_lines(found, words):
        style = {"bold": True} if colour == "bold" else {"fg": colour}
        styled = click.style(text, **style) if coloured else text
        click.echo(styled, color=coloured)


def _is_coloured(common: Common) -> bool:
    """As git colours its own differences."""
    if "NO_COLOR" in os.environ:
        return False
    if not sys.stdout.isatty() and os.environ.get("GIT_PAGER_IN_USE") != "true":
        return False
    from dvlite.gitcall import colours_diff

    return colours_diff(common.directory)


def _change_lines(found: ShownChange, words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    from dvlite.cli.diff import COLOURS, line, summary

    yield f"diff --dvlite {name('a/' + words[0])} {name('b/' + _new_path(words))}", "bold"
    yield f"{_renamed(words)}{name(found.path)}: {_versions(found)}", None
    comparison = found.comparison
    for item in comparison.differences[:_LISTED]:
        yield line(item), COLOURS[item.what]
        if item.path in found.tables:
            for text in _table_change(found.tables[item.path]):
                yield f"     {text}", None
    left = len(comparison.differences) - _LISTED
    if left > 0:
        yield f"… and {left:,} more (dvlite diff A B lists them)", None
    for unread in comparison.unread:
        yield f"?  {name(unread.path)}/ differs; its listing is not in the cache", None
    if len(comparison.differences) > 1 or comparison.unread:
        yield summary(comparison), None


def _new_path(words: Sequence[str]) -> str:
    """git has an eighth word where it found a file under another name."""
    return words[7] if len(words) > 7 else words[0]


def _renamed(words: Sequence[str]) -> str:
    if _new_path(words) == words[0]:
        return ""
    return f"{name(words[0].removesuffix('.dvl'))} -> "


def _versions(found: ShownChange) -> str:
    old, new = _pointer(found.old), _pointer(found.new)
    is_same = found.old is not None and found.new is not None and found.old == found.new
    return f"{new}, unchanged" if is_same else f"{old} -> {new}"


def _pointer(pointer: Pointer | None) -> str:
    if pointer is None:
        return "nothing"
    about = "" if pointer.kind == "file" else f"{count(pointer.files, 'file')}, "
    return f"{about}{size(pointer.size)}" + (", executable" if pointer.executable else "")


def _table_change(change: TableChange | None) -> Iterator[str]:
    if change is None:
        yield "its content is not in the cache: only the size is known"
        return
    columns = [f"+{name(one)}" for one in change.new_columns[:_COLUMNS]]
    columns += [f"-{name(one)}" for one in change.lost_columns[:_COLUMNS]]
    if columns:
        yield f"columns: {' '.join(columns)}"
    rows = f"rows: {change.before:,} -> {change.after:,}"
    if change.added is not None and change.removed is not None:
        rows += f" ({change.added:,} added, {change.removed:,} removed)"
    yield rows


def _raw_lines(found: ShownChange) -> Iterator[tuple[str, str | None]]:
    """What is no pointer, as git would show it."""
    path = name(found.path + ".dvl")
    yield f"--- a/{path}", "bold"
    yield f"+++ b/{path}", "bold"
    for text in found.raw or ():
        yield plain(text), {"+": "green", "-": "red", "@": "cyan"}.get(text[:1])


# -- one version -----------------------------------------------------------------------------------


def _textconv(common: Common, words: Sequence[str]) -> None:
    from dvlite.ops.diffdriver import show

    found = show(common.resolve(words[0]), common.directory, _cache_folder())
    if found.raw is not None:
        click.echo(found.raw, nl=False)
        return
    lines = _shown_lines(found)
    while some := list(islice(lines, 5000)):
        click.echo("\n".join(some))


def _shown_lines(found: Shown) -> Iterator[str]:
    pointer = found.pointers[0]
    digest = f"  {pointer.oid.hex()[:_DIGITS]}" if pointer.kind == "file" else ""
    yield f"{pointer.kind}: {_pointer(pointer)}{digest}{_noted(found.note)}"
    if found.table is not None:
        yield from _table(found.table)
    before = ""
    for line in found.lines:
        if line.side != before:
            yield from _BETWEEN[before, line.side]
            before = line.side
        yield _listed(line)
    yield from _BETWEEN.get((before, ""), ())


def _listed(line: Line) -> str:
    entry = line.entry
    mark = _MARKS.get(entry.kind, "")
    files = f"{count(entry.files, 'file')}, " if entry.kind == 3 and entry.files else ""
    shown = name(line.path) if line.path else "."
    return (
        f"{shown}{mark}  {files}{size(entry.size)}  {entry.oid.hex()[:_DIGITS]}{_noted(line.note)}"
    )


def _noted(note: str) -> str:
    return f"  ({note})" if note else ""


def _table(table: Table) -> Iterator[str]:
    yield f"rows: {table.rows:,}"
    for column in table.columns[:_COLUMNS]:
        yield f"column: {name(column)}"
    if len(table.columns) > _COLUMNS:
        yield f"and {len(table.columns) - _COLUMNS:,} more columns"
