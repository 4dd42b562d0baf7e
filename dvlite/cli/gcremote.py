"""What `dvlite gc --remote` shows and asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvlite.cli.options import Common
from dvlite.cli.output import count, emit_json, note, say, showing, size, warn

if TYPE_CHECKING:
    from collections.abc import Callable

    from dvlite.ops.gcremote import GcRemoteRequest, RemoteGc

_LISTED = 20


def collect(
    common: Common, request: GcRemoteRequest, confirm: Callable[[str], None], as_json: bool
) -> None:
    """Plans, shows, asks and collects. `confirm` raises where the answer is no."""
    from dvlite.ops.gcremote import plan_remote, run_remote

    project = common.project()
    with showing(common.quiet) as progress:
        gc = plan_remote(project, request, progress)
    for text in gc.warnings[:_LISTED]:
        warn(text)
    if not as_json and not common.quiet:
        _show(gc, request)
    freed, done = 0, False
    if not request.dry_run and (not gc.plan.is_empty or gc.forgotten):
        confirm(_question(gc))
        with showing(common.quiet):
            freed, done = run_remote(project, gc), True
    if as_json:
        emit_json(_to_json(gc, request, freed))
    elif done and not common.quiet:
        later = sum(gc.plan.condemned.values())
        rest = f"; {size(later)} more can go after {request.grace_days:g} days" if later else ""
        say(f"freed {size(freed)} on {gc.remote.name}{rest}")


def _question(gc: RemoteGc) -> str:
    packs, going = len(gc.plan.deleted), len(gc.plan.condemned)
    return f"delete {count(packs, 'pack')} from {gc.remote.name}, and condemn {going}?"


def _show(gc: RemoteGc, request: GcRemoteRequest) -> None:
    plan, days = gc.plan, f"{request.grace_days:g} days"
    _line("delete now", plan.deleted, f"condemned more than {days} ago")
    if plan.old_names:
        say(f"delete now: {count(len(plan.old_names), 'old file')} of the index and of pushes")
    if gc.runs.dropped:
        what = count(gc.runs.dropped, "record")
        say(f"drop {what} of runs: what they made is needed by nothing else")
    _line("condemn", plan.condemned, f"for a gc after {days} to delete")
    if plan.moved:
        what = f"copy out of {count(len(plan.moved), 'pack')}"
        say(f"{what}: {size(plan.moved_bytes)} (uncompressed) that is in use")
    if plan.is_empty:
        say(f"nothing to remove on {gc.remote.name}")
    objects = count(plan.objects, "object")
    kept = f"{count(plan.kept_packs, 'pack')}, {size(plan.kept_bytes)}"
    say(f"kept: {objects} in use; {kept}")
    if plan.young_packs:
        young = f"{count(plan.young_packs, 'pack')}, {size(plan.young_bytes)}"
        say(f"of that younger than {days}: {young}")
    if gc.word_of:
        note(f"{count(len(gc.word_of), 'other clone')} left word of what is needed, which counts")


def _line(what: str, packs: dict[bytes, int], why: str) -> None:
    if packs:
        say(f"{what}: {count(len(packs), 'pack')}, {size(sum(packs.values()))}: {why}")


def _to_json(gc: RemoteGc, request: GcRemoteRequest, freed: int) -> dict[str, Any]:
    plan = gc.plan
    return {
        "remote": gc.remote.name,
        "dry_run": request.dry_run,
        "epoch": plan.epoch + (plan.begins_epoch and not request.dry_run),
        "deleted_packs": len(plan.deleted),
        "deleted_bytes": sum(plan.deleted.values()),
        "deleted_files": len(plan.old_names) + len(gc.forgotten),
        "dropped_runs": gc.runs.dropped,
        "condemned_packs": len(plan.condemned),
        "condemned_bytes": sum(plan.condemned.values()),
        "moved_packs": len(plan.moved),
        "moved_bytes": plan.moved_bytes,
        "kept_packs": plan.kept_packs,
        "kept_bytes": plan.kept_bytes,
        "young_packs": plan.young_packs,
        "young_bytes": plan.young_bytes,
        "objects": plan.objects,
        "segments": plan.segments,
        "freed": freed,
        "clones": sorted(gc.word_of),
        "warnings": gc.warnings,
    }
