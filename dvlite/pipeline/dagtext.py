"""The graph of a pipeline in a terminal: a line a stage, in the manner of `git log --graph`.

Owns the drawing. Each stage has a lane that leads down to the stages that need it; those hang on
the lanes of what they need:

    ● prepare
    ├─● featurise
    │ ├─● train
    └─┴─┴─● evaluate
"""

from __future__ import annotations

from collections.abc import Iterator

from dvlite.pipeline.dag import Dag

_BOX = {
    "dot": "●",
    "file": "○",
    "pass": "│",
    "line": "─",
    "tee": "├",
    "end": "└",
    "join": "┼",
    "last": "┴",
}
_ASCII = {
    "dot": "*",
    "file": "o",
    "pass": "|",
    "line": "-",
    "tee": "|",
    "end": "`",
    "join": "+",
    "last": "'",
}


def draw_text(dag: Dag, *, ascii_only: bool = False) -> list[str]:
    """The lines of the drawing; names are as they are, for the caller to escape."""
    signs = _ASCII if ascii_only else _BOX
    last = _last_uses(dag)
    lanes: list[int | None] = []
    lines = []
    for number, box in enumerate(dag.boxes):
        needed = {lane for lane, holder in enumerate(lanes) if holder in dag.needs[number]}
        own = _free(lanes, max(needed, default=-1))
        ending = {lane for lane in needed if last[lanes[lane] or 0] == number}
        drawn = "".join(_cells(lanes, needed, ending, own, signs))
        dot = signs["file" if box.is_file else "dot"]
        behind = "".join(" " if lane is None else signs["pass"] for lane in lanes[own + 1 :])
        lines.append(" ".join([f"{drawn}{dot}", *behind, box.label]))
        for lane in ending:
            lanes[lane] = None
        if last[number] > number:
            lanes += [None] * (own + 1 - len(lanes))
            lanes[own] = number
        while lanes and lanes[-1] is None:
            lanes.pop()
    return lines


def _last_uses(dag: Dag) -> list[int]:
    last = list(range(len(dag.boxes)))
    for number, needed in enumerate(dag.needs):
        for other in needed:
            last[other] = max(last[other], number)
    return last


def _free(lanes: list[int | None], behind: int) -> int:
    """The first lane with nothing in it behind one."""
    for lane in range(behind + 1, len(lanes)):
        if lanes[lane] is None:
            return lane
    return max(len(lanes), behind + 1)


def _cells(
    lanes: list[int | None],
    needed: set[int],
    ending: set[int],
    own: int,
    signs: dict[str, str],
) -> Iterator[str]:
    """What stands left of the dot: two characters a lane."""
    first = min(needed, default=own)
    for lane in range(own):
        holder = lanes[lane] if lane < len(lanes) else None
        across = signs["line"] if lane >= first else " "
        if lane in needed:
            if lane == first:
                sign = signs["end" if lane in ending else "tee"]
            else:
                sign = signs["last" if lane in ending else "join"]
        elif holder is not None:
            sign = signs["pass"]
        else:
            sign = across
        yield sign + across
