"""Options that several commands share, and what a command gets from them.

Owns their names, so that they are the same everywhere, and opening the project that a command
works on (the one place that reads DVLITE_CACHE_DIR).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from dvlite.ops.content import Source
    from dvlite.ops.roots import Selection
    from dvlite.project import Project

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Common:
    """What every command knows: the folder to work in, and how much to say."""

    directory: str
    quiet: bool
    verbose: bool

    def project(self) -> Project:
        """The project of the folder to work in."""
        from dvlite.cli.output import name, warn
        from dvlite.project import Project

        project = Project.open(self.directory, os.environ.get("DVLITE_CACHE_DIR") or None)
        for folder in project.cache_sources():
            if not os.path.isdir(folder):
                warn(f"the second source {name(folder)} is not there; going on without it")
        return project

    def resolve(self, path: str) -> str:
        """A path the user gave, seen from the folder to work in."""
        return os.path.join(self.directory, path) if path else path

    def paths(self, project: Project, given: Sequence[str]) -> tuple[str, ...]:
        """Project paths of the paths the user gave."""
        return tuple(project.relative(self.resolve(path)) for path in given)


def common(command: F) -> F:
    """Adds -C, -q and -v; the command's first argument is then a `Common`."""

    def run(directory: str | None, quiet: bool, verbose: bool, *args: Any, **options: Any) -> Any:
        above = click.get_current_context().find_object(dict) or {}
        outer = above.get("directory") or "."
        chosen = os.path.join(outer, directory) if directory else outer
        return command(Common(os.path.abspath(chosen), quiet, verbose), *args, **options)

    run.__doc__ = command.__doc__
    run.__name__ = command.__name__
    for parameter in reversed(getattr(command, "__click_params__", [])):
        run = _with_parameter(run, parameter)
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Say more."),
        click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong."),
        click.option("-C", "directory", metavar="DIR", help="Work as if started in DIR."),
    ):
        run = option(run)
    return run  # type: ignore[return-value]


def _with_parameter(run: Any, parameter: click.Parameter) -> Any:
    run.__dict__.setdefault("__click_params__", []).append(parameter)
    return run


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document (docs/commands.md)."
)
dry_run_option = click.option(
    "-n", "--dry-run", is_flag=True, help="Say what would be done, and do nothing."
)
jobs_option = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Transfers at the same time (default: the setting core.jobs, 4).",
)
# What it does is main's: it also counts where an error comes before any command runs.
bisect_option = click.option(
    "--bisect",
    is_flag=True,
    expose_value=False,
    help="Errors end with codes for git bisect run: 125 where data is missing, else 128.",
)
run_cache_option = click.option(
    "--run-cache",
    is_flag=True,
    help="Also the records of what colleagues' runs made, for dvlite run --trust-remote-runs.",
)
paths_argument = click.argument("paths", nargs=-1, type=click.Path(), metavar="[PATH]...")
yes_option = click.option("-y", "--yes", is_flag=True, help="Answer questions with yes.")


def revisions_options(command: F) -> F:
    """Adds --rev, --all-branches, --all-tags and --all-commits."""
    for option in (
        click.option("--all-commits", is_flag=True, help="All commits of all branches and tags."),
        click.option("--all-tags", is_flag=True, help="The commits that tags name."),
        click.option("--all-branches", is_flag=True, help="The newest commits of all branches."),
        click.option(
            "--rev",
            "revisions",
            multiple=True,
            metavar="REV",
            help="A commit, branch or tag instead of the workspace's pointers; repeatable.",
        ),
    ):
        command = option(command)
    return command


def fetch_options(command: F) -> F:
    """Adds --fetch, -r and -j, for commands that read content at revisions."""
    remote = click.option(
        "-r",
        "--remote",
        "remotes",
        multiple=True,
        metavar="NAME",
        help="Where from; repeatable, asked in this order (default: the default remote).",
    )
    fetch = click.option("--fetch", is_flag=True, help="Fetch what the cache lacks.")
    return fetch(remote(jobs_option(command)))


def source_of(project: Project, options: dict[str, Any]) -> Source:
    """What --fetch, -r and -j say; a remote that is named is meant to be asked."""
    from dvlite.ops.content import Source

    fetch = options["fetch"] or bool(options["remotes"])
    return Source(fetch, options["remotes"], jobs_of(project, options["jobs"]))


def selection(
    common: Common, project: Project, paths: Sequence[str], options: dict[str, Any]
) -> Selection:
    """What --rev and its relatives, and the paths, choose."""
    from dvlite.ops.roots import Selection

    return Selection(
        common.paths(project, paths),
        tuple(options["revisions"]),
        options["all_branches"],
        options["all_tags"],
        options["all_commits"],
    )


def jobs_of(project: Project, jobs: int | None) -> int:
    """The number of transfers: as given, else as set."""
    return jobs if jobs is not None else int(project.config.get("core.jobs") or 4)


def say_places(project: Project, names: Sequence[str]) -> None:
    """For -v: which remotes are meant, and where they are."""
    from dvlite.cli.output import note
    from dvlite.ops.remotes import chosen_names, place_of

    for name in chosen_names(project, names):
        note(f"remote {name}: {place_of(project, name)}")
