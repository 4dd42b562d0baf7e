"""Git's way with texts that need be in no repository: merging them, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence

from dvlite.gitcall import start


def merge_text(ours: str, base: str, theirs: str, labels: Sequence[str], marker: int) -> int:
    """Merges files line by line into `ours`, as git itself does; the number of conflicts, or
    something negative or above 127 where they are no text."""
    names = [word for label in (labels[0], "base", labels[1]) for word in ("-L", label)]
    words = ["git", "merge-file", "-q", f"--marker-size={marker}", *names, "--", ours, base, theirs]
    return start(words, None).returncode


def diff_text(old: str, new: str) -> list[str]:
    """How two files differ line by line, as git shows it, without the names."""
    words = ["git", "diff", "--no-index", "--no-ext-diff", "--no-textconv", "--no-color"]
    done = start([*words, "--", old, new], None)
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    first = next((at for at, line in enumerate(lines) if line[:2] in ("@@", "Bi")), len(lines))
    return lines[first:-1]
