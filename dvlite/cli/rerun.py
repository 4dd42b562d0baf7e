"""What `dvlite reproduce` says of `--rerun` and `--env`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from dvlite.cli.options import Common
from dvlite.cli.output import count, json_path, name, note, plain, say, size, table, warn

if TYPE_CHECKING:
    from dvlite.cli.runline import RunLine
    from dvlite.cli.stageoutput import StageOutput
    from dvlite.ops.reproduce import ReproduceResult
    from dvlite.ops.rerun import Compared, RerunResult
    from dvlite.ops.runwords import Listener, StageResult
    from dvlite.ops.stagestate import Reason
    from dvlite.pipeline.stage import Stage
    from dvlite.project import Project


def compare_environment(
    common: Common, project: Project, result: ReproduceResult, as_json: bool
) -> dict[str, Any]:
    """Says what is not as it was."""
    from dvlite.ops.environment import compare, look, recorded_at

    then = recorded_at(project, result.commit.hash)
    if then is None:
        note("that commit does not say what it ran in: dvlite run --env records it")
        return {"environment": None}
    found = compare(then, look(project))
    if not as_json and not common.quiet:
        if not found:
            say("the environment is as it was")
        else:
            say(f"{count(len(found), 'difference')} of the environment, then and now:")
            rows = [
                [name(one.what), plain(one.then) or "-", plain(one.now) or "-"] for one in found
            ]
            table(rows, indent="  ")
    return {"environment": [one._asdict() for one in found]}


def run_again(
    common: Common,
    project: Project,
    result: ReproduceResult,
    words: tuple[tuple[str, ...], int, bool],
) -> dict[str, Any]:
    """Runs the pipeline, and says what came of it."""
    from dvlite.cli.runline import RunLine, be_stoppable, drawing, is_able
    from dvlite.cli.stageoutput import StageOutput
    from dvlite.ops.rerun import RerunRequest, rerun

    stages, jobs, as_json = words
    quiet = common.quiet or as_json
    line = RunLine(sys.stderr, is_able(sys.stderr))
    stream = sys.stderr if as_json else sys.stdout
    output = StageOutput(stream, jobs > 1, common.quiet, None if common.quiet else line)
    be_stoppable()
    request = RerunRequest(stages, jobs, dict(os.environ))
    with drawing(output):
        found = rerun(project, result, request, _listener(output, line, quiet), line.tell)
    if not quiet:
        _show(found)
    return _to_json(found)


def _listener(output: StageOutput, line: RunLine, quiet: bool) -> Listener:
    from dvlite.ops.runwords import Listener

    def began(stage: Stage, reasons: tuple[Reason, ...]) -> None:
        """Every stage has the same reason, and the user gave it."""
        line.began(stage.name)
        if not quiet:
            output.line(f"run        {name(stage.name)}")

    def over(stage: StageResult) -> None:
        """Failures are told at the end, beside what differs."""
        line.over(stage.name)
        output.end(stage.name)

    def warns(stage: str, text: str) -> None:
        """As in `dvlite run`."""
        with output.apart():
            warn(f"{name(stage)}: {plain(text)}")

    return Listener(expects=line.expect, heard=output.hear, began=began, over=over, warns=warns)


def _show(found: RerunResult) -> None:
    bad = [stage for stage in found.stages if stage.what in ("failed", "blocked")]
    for stage in bad:
        ended = f"{plain(stage.command)} ended with {stage.code}"
        why = "what it needs failed" if stage.what == "blocked" else str(stage.error or ended)
        say(f"{stage.what:<10} {name(stage.name)}: {why}")
    for one in found.outputs:
        say(f"{one.what:<10} {name(one.path)}{_how(one)}")
    differ = sum(one.what != "identical" for one in found.outputs)
    same = "all outputs are identical to what the commit recorded"
    if bad:
        say(f"{count(len(bad), 'stage')} did not run, {count(differ, 'output')} not as recorded")
    else:
        say(f"{count(differ, 'output')} not as recorded" if differ else same)


def _how(one: Compared) -> str:
    if one.what != "different" or one.old_size is None or one.size is None:
        return ""
    sizes = (
        size(one.size) if one.size == one.old_size else f"{size(one.old_size)} -> {size(one.size)}"
    )
    apart, words = one.difference, []
    if apart.total:
        words.append(f"{apart.changed:,} of {count(apart.total, 'value')} differ")
    if apart.largest is not None:
        where = f" at {name(apart.where)}" if apart.where else ""
        words.append(f"by at most {apart.largest:.6g}{where}")
    if apart.text:
        words.append(plain(apart.text))
    return f"  {sizes}" + (f": {', '.join(words)}" if words else "")


def _to_json(found: RerunResult) -> dict[str, Any]:
    return {
        "same": found.is_same,
        "stages": [
            {"stage": one.name, "what": one.what, "seconds": round(one.seconds, 3)}
            for one in found.stages
        ],
        "outputs": [
            {
                **json_path(one.path),
                "stage": one.stage,
                "what": one.what,
                "old_size": one.old_size,
                "size": one.size,
                "changed_values": one.difference.changed,
                "values": one.difference.total,
                "largest_difference": one.difference.largest,
                "at": one.difference.where,
                "note": one.difference.text,
            }
            for one in found.outputs
        ],
    }
