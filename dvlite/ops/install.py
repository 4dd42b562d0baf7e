"""`dvlite install`: git is told to work with dvlite, part by part.

Owns the list of parts. Each part can be installed again without harm, taken away so that what was
there before is back, and says in what state it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from dvlite.errors import ConflictError, ProjectError
from dvlite.gitchanges import project_folders
from dvlite.gitrepo import GitRepo
from dvlite.ops.drivers import drivers_state, install_drivers, program_of, uninstall_drivers
from dvlite.ops.hookfiles import (
    HOOKS,
    PROGRAM,
    HooksState,
    hooks_state,
    install_hooks,
    uninstall_hooks,
)
from dvlite.ops.precommitconfig import FILE, add_to_config, calls_dvlite
from dvlite.project import Project


@dataclass(frozen=True, slots=True)
class PartState:
    """Whether a part is as this dvlite would install it, in words; `is_wrong`: it is there, but
    does not work as it should; `hint`: what to do."""

    part: str
    installed: bool
    text: str
    is_wrong: bool = False
    hint: str | None = "dvlite install"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is installed. The functions that change say what they changed."""

    name: str
    install: Callable[[Project, str], tuple[str, ...]]
    uninstall: Callable[[Project], tuple[str, ...]]
    state: Callable[[Project, str], PartState]


def project_of(folder: str) -> Project:
    """The project that `folder` is in, or else one of the repository's: what is installed serves
    all of them.

    Raises:
        ProjectError: there is none.
    """
    try:
        return Project.open(folder)
    except ProjectError:
        repo = GitRepo.discover(folder)
        folders = project_folders(repo)
        if not folders:
            raise
        root = os.path.join(os.path.realpath(repo.top), folders[0])
        return Project.at(repo, root)


def install(project: Project, program: str | None = None) -> dict[str, tuple[str, ...]]:
    """Installs all parts; part -> what changed.

    `program`: how a shell starts dvlite; by default as this process was.

    Raises:
        ConflictError: git's hooks are not this repository's own, or are committed.
    """
    words = program or program_of()
    return {part.name: part.install(project, words) for part in PARTS}


def install_for_framework(
    project: Project, program: str | None = None
) -> dict[str, tuple[str, ...]]:
    """The same, but the pre-commit framework calls the hooks: its file gets them, git's own hooks
    folder is left to it.

    Raises:
        ProjectError: its file cannot be extended safely.
    """
    words, repo = program or program_of(), project.repo
    path = add_to_config(repo.top)
    removed = uninstall_hooks(repo)
    repo.set_setting(PROGRAM, words)
    if path is not None:
        repo.stage([FILE])
    changed = ([FILE] if path is not None else []) + [name for name in removed if name in HOOKS]
    return {"hooks": tuple(changed), "drivers": install_drivers(project, words)}


def uninstall(project: Project) -> dict[str, tuple[str, ...]]:
    """Takes all parts away; part -> what changed."""
    return {part.name: part.uninstall(project) for part in PARTS}


def states(project: Project, program: str | None = None) -> list[PartState]:
    """In what state each part is."""
    return [part.state(project, program or program_of()) for part in PARTS]


def _hooks_state(project: Project, program: str) -> PartState:
    try:
        found = hooks_state(project.repo, program)
    except ConflictError as error:
        return PartState("hooks", False, str(error), hint=error.hint)
    return PartState("hooks", *_in_words(project, found))


def _in_words(project: Project, found: HooksState) -> tuple[bool, str, bool]:
    by_framework = calls_dvlite(project.repo.top)
    old = [name for name, state in found.states.items() if state == "outdated"]
    lacking = [name for name, state in found.states.items() if state == "absent"]
    if found.absent:
        text = "called by the pre-commit framework" if by_framework else "not installed"
        return by_framework, text, False
    if old:
        return False, f"outdated: {', '.join(old)}", True
    if lacking and not by_framework:
        return False, f"not installed: {', '.join(lacking)}", True
    if not found.program_is_right:
        return False, "they call another dvlite than this one", True
    return True, f"installed in {found.folder}", False


def _drivers_state(project: Project, program: str) -> PartState:
    found = drivers_state(project, program)
    if found.installed:
        return PartState("drivers", True, "installed")
    lacking = [*found.settings, *([] if found.attributes else [".gitattributes"])]
    return PartState("drivers", False, f"not installed: {', '.join(lacking)}")


PARTS = (
    # first, as the others cannot be installed everywhere
    Part("drivers", install_drivers, uninstall_drivers, _drivers_state),
    Part(
        "hooks",
        lambda project, program: install_hooks(project.repo, program),
        lambda project: uninstall_hooks(project.repo),
        _hooks_state,
    ),
)
