"""`dvlite run`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from dvlite.cli.options import Common, common, dry_run_option, json_option
from dvlite.cli.output import (
    count,
    emit_json,
    json_path,
    name,
    note,
    plain,
    say,
    warn,
)
from dvlite.cli.runline import RunLine, be_stoppable, drawing, is_able
from dvlite.cli.stageoutput import StageOutput

if TYPE_CHECKING:
    from dvlite.ops.runwords import RunRequest, StageResult
    from dvlite.ops.stagestate import Reason
    from dvlite.pipeline.stage import Stage

_WORDS = {
    "new": "it never ran here",
    "always": "it is to run every time",
    "forced": "forced",
}


@click.command()
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1024),
    default=1,
    metavar="N",
    help="So many stages at once.",
)
@click.option("-f", "--force", is_flag=True, help="Run them although nothing changed.")
@click.option("-s", "--single", is_flag=True, help="Only these stages, not what they need.")
@click.option("--downstream", is_flag=True, help="These stages, and what needs them.")
@click.option(
    "-k", "--keep-going", is_flag=True, help="After a failure, run what does not need it."
)
@click.option("-i", "--interactive", is_flag=True, help="Ask before each stage.")
@click.option("--keep-outputs", is_flag=True, help="Keep what a failed stage left.")
@click.option(
    "--no-run-cache", is_flag=True, help="Run, although it is known what would come of it."
)
@click.option(
    "--trust-remote-runs",
    is_flag=True,
    help="Believe records of runs that were fetched from remotes (fetch --run-cache).",
)
@click.option("--accept", is_flag=True, help="Record the outputs that are there; run nothing.")
@click.option("--env", is_flag=True, help="Also record Python, its packages and the system.")
@dry_run_option
@json_option
@common
def command(common: Common, stages: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run the stages of the pipeline whose inputs changed.

    STAGE: a stage, a matrix or an output, with all that it needs (default: all stages). What did
    not change is skipped without being read; what ran before with the same inputs, here or in a
    commit, is brought back without running. dvlite.lock records what came of it, and is staged.

    \b
    Examples:
      dvlite run
      dvlite run train --dry-run
      dvlite run -j 4 --keep-going
      dvlite run --force --single evaluate
    """
    from dvlite.ops.run import run
    from dvlite.ops.runwords import RunRequest

    env, interactive = options.pop("env"), options.pop("interactive")
    run_cache = not options.pop("no_run_cache")
    project = common.project()
    request = RunRequest(
        stages,
        run_cache=run_cache,
        trust_remote=options.pop("trust_remote_runs"),
        environment=dict(os.environ),
        **options,
    )
    be_stoppable()
    talk = _Talk(common, request, interactive, as_json)
    with drawing(talk.output):
        results = run(project, request, talk.listener(), talk.line.tell)
    if env and not request.dry_run:
        from dvlite.ops.environment import record

        record(project)
    if as_json:
        emit_json([_to_json(result) for result in results])
    else:
        _sum_up(results, common.quiet)
    _fail_if_failed(results)


class _Talk:
    """Says what goes on."""

    def __init__(
        self, common: Common, request: RunRequest, interactive: bool, as_json: bool
    ) -> None:
        self.common, self.request, self.interactive = common, request, interactive
        self.quiet = common.quiet or as_json
        stream = sys.stderr if as_json else sys.stdout
        self.line = RunLine(sys.stderr, is_able(sys.stderr))
        below = None if common.quiet or request.dry_run else self.line
        self.output = StageOutput(stream, request.jobs > 1, common.quiet, below)

    def listener(self) -> Any:
        """What `run` calls."""
        from dvlite.ops.runwords import Listener

        return Listener(
            expects=self.line.expect,
            heard=self.output.hear,
            began=self._began,
            over=self._over,
            waits=self._waits,
            warns=self._warns,
            asks=self._ask,
        )

    def _waits(self, stage: str) -> None:
        with self.output.apart():
            note(f"{name(stage)}: another dvlite runs it; waiting", quiet=self.quiet)

    def _warns(self, stage: str, text: str) -> None:
        with self.output.apart():
            warn(f"{name(stage)}: {plain(text)}")

    def _began(self, stage: Stage, reasons: tuple[Reason, ...]) -> None:
        self.line.began(stage.name)
        if not self.quiet:
            self.output.line(f"run        {name(stage.name)}: {_why(reasons)}")

    def _over(self, result: StageResult) -> None:
        self.line.over(result.name)
        self.output.end(result.name)
        if self.quiet:
            return
        for one in result.discarded:
            self._note(
                f"an edit of {name(one.path)} was replaced: dvlite checkout --recover {one.id}"
            )
        if result.what == "would run":
            self.output.line(f"would run  {name(result.name)}: {_why(result.reasons)}")
            for at, reason in enumerate(result.reasons):
                if at:
                    self.output.line(f"           {_reason(reason)}")
                for line in _commands(reason):
                    self.output.line(f"             {line}")
        elif result.what in ("restored", "accepted"):
            self.output.line(f"{result.what:<10} {name(result.name)}: {_why(result.reasons)}")
        elif result.what == "ran":
            self.output.line(f"done       {name(result.name)}: {_duration(result.seconds)}")
        elif result.what == "frozen" and self.common.verbose:
            self.output.line(f"frozen     {name(result.name)}")

    def _note(self, text: str) -> None:
        with self.output.apart():
            note(text)

    def _ask(self, stage: Stage, reasons: tuple[Reason, ...]) -> bool:
        if not self.interactive:
            return True
        with self.output.apart():
            return click.confirm(f"run {name(stage.name)} ({_why(reasons)})?", err=True)


def _why(reasons: tuple[Reason, ...]) -> str:
    return _reason(reasons[0]) if reasons else ""


def _reason(reason: Reason) -> str:
    if reason.why in _WORDS:
        return _WORDS[reason.why]
    if reason.why == "parameter":
        return f"{name(reason.name)} {_value(reason.old)} -> {_value(reason.new)}"
    if reason.why == "command" and reason.name:
        return f"its {name(reason.name)} {_value(reason.old)} -> {_value(reason.new)}"
    if reason.why == "command":
        return "its command changed"
    if reason.why == "upstream":
        return f"{name(reason.name)} would run"
    return f"{reason.why} {name(reason.name)} {plain(str(reason.new))}"


def _commands(reason: Reason) -> list[str]:
    """What of the commands is another now."""
    if reason.why != "command" or reason.name:
        return []
    old, new = list(reason.old or ()), list(reason.new or ())
    gone = [f"- {plain(one)}" for one in old if one not in new]
    return gone + [f"+ {plain(one)}" for one in new if one not in old]


def _value(value: Any) -> str:
    import json

    text = plain("nothing" if value is None else json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 40 else text[:39] + "…"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _sum_up(results: list[StageResult], quiet: bool) -> None:
    if quiet:
        return
    counts: dict[str, int] = {}
    for result in results:
        counts[result.what] = counts.get(result.what, 0) + 1
    if set(counts) <= {"unchanged", "frozen"}:
        say(f"nothing to run: {count(len(results), 'stage')} up to date")
        return
    order = ("ran", "restored", "accepted", "would run", "unchanged", "frozen")
    words = [f"{counts[what]} {what}" for what in order if what in counts]
    words += [
        f"{counts[what]} {what}" for what in ("failed", "blocked", "declined") if what in counts
    ]
    say(f"{count(len(results), 'stage')}: {', '.join(words)}")
    if {"ran", "restored", "accepted"} & counts.keys():
        note("dvlite.lock is staged: git commit")


def _fail_if_failed(results: list[StageResult]) -> None:
    """Raises:
    StageError: a stage failed; the error of the first.
    """
    from dvlite.errors import StageError

    failed = [result for result in results if result.what == "failed"]
    declined = [result for result in results if result.what == "declined"]
    if not failed and declined:
        raise StageError(f"{count(len(declined), 'stage')} declined")
    if not failed:
        return
    for result in failed[1:]:
        warn(f"{name(result.name)} failed: {_failure(result)}")
    first = failed[0]
    hint = f"all that it wrote: {first.log}" if first.log else None
    if first.error is not None:
        first.error.hint = first.error.hint or hint
        raise (
            first.error
            if not first.log
            else StageError(f"{name(first.name)}: {first.error}", first.error.hint)
        )
    raise StageError(f"the stage {name(first.name)} failed: {_failure(first)}", hint)


def _failure(result: StageResult) -> str:
    if result.error is not None:
        return str(result.error)
    ended = f"signal {-result.code}" if result.code < 0 else f"exit code {result.code}"
    return f"{plain(result.command)} ended with {ended}"


def _to_json(result: StageResult) -> dict[str, Any]:
    from dvlite.cli.values import plain as json_value  # JSON has no nan

    return {
        "stage": result.name,
        "what": result.what,
        "reasons": [
            {
                "why": one.why,
                "name": one.name,
                "old": json_value(one.old),
                "new": json_value(one.new),
            }
            for one in result.reasons
        ],
        "seconds": round(result.seconds, 3),
        "code": result.code,
        "command": result.command,
        "last_lines": list(result.lines),
        "log": result.log or None,
        "error": str(result.error) if result.error is not None else None,
        "discarded": [{**json_path(one.path), "id": one.id} for one in result.discarded],
    }
