"""`dvlite pull`: what the pointers name is fetched, then checked out.

What the user edited and the pointers say nothing new about stays as it is; where both changed,
nothing is overwritten and the paths are named.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from dvlite.ops.checkout import CheckoutRequest, CheckoutResult, checkout
from dvlite.ops.fetch import FetchRequest, FetchResult, fetch_named, to_fetch
from dvlite.ops.remotes import chosen_names
from dvlite.ops.roots import Named, Selection, select
from dvlite.progress import Progress, silent
from dvlite.project import Project


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
    if lacking and not request.dry_run:
        what = FetchRequest(Selection(request.paths), request.remotes, request.jobs)
        fetched = fetch_named(project, lacking, what, progress)
    elif request.remotes:
        chosen_names(project, request.remotes)  # a name that does not exist is an error anyway
    result = PullResult(fetched, to_fetch=lacking)
    chosen = tuple(named.path for named in roots.current) if request.paths else ()
    options = CheckoutRequest(chosen, request.force, not request.force, request.dry_run)
    result.checked_out = checkout(project, options, progress)
    return result
