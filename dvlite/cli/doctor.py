"""`dvlite doctor`."""

from __future__ import annotations

from dataclasses import asdict

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import emit_json, say

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@json_option
@common
def command(common: Common, as_json: bool) -> None:
    """Examine the environment and say what is wrong.

    git, the cache, which link types work here, free space, clocks, pointers, leftovers of
    interrupted commands, remotes. Changes nothing; exits with 1 when there is a problem.

    \b
    Examples:
      dvlite doctor
      dvlite doctor --json
    """
    from dvlite.ops.doctor import doctor

    findings = doctor(common.project())
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            if common.quiet and finding.grade == "ok":
                continue
            say(
                f"{finding.grade:<8} {finding.check:<9}  {finding.text}",
                colour=_COLOURS[finding.grade],
            )
            if finding.hint and finding.grade != "ok":
                say(f"{'':<18}  hint: {finding.hint}")
    if any(finding.grade == "problem" for finding in findings):
        raise SystemExit(1)
