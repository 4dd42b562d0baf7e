"""`dvlite doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dvlite.cli.options import Common, common, json_option
from dvlite.cli.output import count, emit_json, note, say

if TYPE_CHECKING:
    from dvlite.ops.doctor import Finding

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.option("--fix", is_flag=True, help="Remove old leftovers of interrupted commands first.")
@json_option
@common
def command(common: Common, fix: bool, as_json: bool) -> None:
    """Examine the environment and say what is wrong.

    git, the cache, which link types work here, free space, clocks, pointers, leftovers of
    interrupted commands, remotes. Changes nothing without --fix; exits with 1 when there is a
    problem.

    \b
    Examples:
      dvlite doctor
      dvlite doctor --fix
    """
    from dvlite.ops.doctor import doctor, remove_leftovers

    project = common.project()
    if fix:
        removed = remove_leftovers(project)
        note(f"removed {count(len(removed), 'leftover')}", quiet=common.quiet)
    findings = doctor(project)
    if as_json:
        emit_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            if finding.grade != "ok" or not common.quiet:
                _show(finding)
    if any(finding.grade == "problem" for finding in findings):
        raise SystemExit(1)


def _show(finding: Finding) -> None:
    head = f"{finding.grade:<8} {finding.check:<9}"
    say(f"{head}  {finding.text}", colour=_COLOURS[finding.grade])
    if finding.hint and finding.grade != "ok":
        say(f"{'':<18}  hint: {finding.hint}")
