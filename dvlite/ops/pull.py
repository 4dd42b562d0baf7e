"""`dvlite pull`: what the pointers name is fetched, then checked out.

What the user edited and the pointers say nothing new about stays as it is; where both changed,
nothing is overwritten and the paths are named. Large files are written to the cache and for the
workspace at the same time, where it would get copies anyway.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace

from dvlite.ops.checkout import CheckoutRequest, CheckoutResult, checkout
from dvlite.ops.fetch import FetchRequest, FetchResult, fetch_named, to_fetch
from dvlite.ops.remotes import chosen_names
from dvlite.ops.roots import Named, Selection, select
from dvlite.ops.stepping import scratch_folder
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace.entering import inside
from dvlite.workspace.links import working_types
from dvlite.workspace.ready import Ready

# Less is copied from the cache in no time: what was just fetched is in memory then.
_WORTH_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class PullRequest:
    """What to pull: paths (nothing: everything), and what becomes of edits."""

    paths: tuple[str, ...] = ()
    remotes: tuple[str, ...] = ()
    jobs: int = 4
    force: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class PullResult:
    """What came, and what it changed. `fetched` is None when the cache had everything."""

    fetched: FetchResult | None
    checked_out: CheckoutResult = field(default_factory=CheckoutResult)
    to_fetch: list[Named] = field(default_factory=list)


def pull(project: Project, request: PullRequest, progress: Progress = silent) -> PullResult:
    """Fetches and checks out. What could not be fetched does not stop the rest.

    Raises:
        ConflictError: edits would be lost; everything is fetched then, nothing checked out.
        MissingError, RemoteError: no remote, or none that can be asked.
    """
    roots = select(project, Selection(request.paths))
    # a tracked folder is checked out as a whole, so it is fetched as a whole
    lacking = [replace(one, inside="") for one in to_fetch(project, Selection(request.paths))]
    fetched = None
    with Ready(project.root, scratch_folder(project)) as ready:
        if lacking and not request.dry_run:
            copies = ready if _gets_copies(project, lacking) else None
            what = FetchRequest(Selection(request.paths), request.remotes, request.jobs, copies)
            fetched = fetch_named(project, lacking, what, progress)
        elif request.remotes:
            chosen_names(project, request.remotes)  # a name that does not exist is an error anyway
        result = PullResult(fetched, to_fetch=lacking)
        chosen = tuple(named.path for named in roots.current) if request.paths else ()
        options = CheckoutRequest(
            chosen, request.force, not request.force, request.dry_run, ready=ready
        )
        result.checked_out = checkout(project, options, progress)
    return result


def _gets_copies(project: Project, lacking: list[Named]) -> bool:
    """Whether the workspace gets copies of the cache's large files, and it is worth knowing."""
    if sum(named.pointer.size for named in lacking) < _WORTH_BYTES:
        return False
    types, scratch = str(project.config.get("cache.link")).split(","), scratch_folder(project)
    with suppress(OSError):
        with inside(project.root, scratch, make=True):
            pass
        return working_types(project.cache().folder, scratch, types)[:1] == ["copy"]
    return False
