"""What tells git to merge and show pointers with dvlite: settings, and a line for .gitattributes.

Owns both. Settings are git's local ones, which a clone does not have: each clone is told anew.
Without them git treats pointers as any text. They count for the whole repository, so each of its
projects has the lines.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass

from dvlite.gitchanges import project_folders
from dvlite.gitrepo import GitRepo
from dvlite.project import Project
from dvlite.workspace.gitignore import attribute, drop_attribute, has_attribute

# lockfiles are merged stage by stage; as text they read well enough
RULES = (b"*.dvl merge=dvlite diff=dvlite", b"dvlite.lock merge=dvlite")
_MERGE_WORDS = "merge -- %O %A %B %L %P %X %Y"


@dataclass(frozen=True, slots=True)
class DriverState:
    """Whether git is told: by its settings (`settings`: the wrong or missing ones), and by
    .gitattributes in every project of the work tree."""

    attributes: bool
    settings: tuple[str, ...]

    @property
    def installed(self) -> bool:
        """Whether git uses the drivers."""
        return self.attributes and not self.settings


def install_drivers(project: Project, program: str | None = None) -> tuple[str, ...]:
    """Tells git; the settings and files that changed. Doing it again changes nothing.

    `program`: how a shell starts dvlite; by default as this process was.
    """
    changed = []
    for key, value in _settings(program or program_of()).items():
        if project.repo.setting(key, local=True) != value:
            project.repo.set_setting(key, value)
            changed.append(key)
    return (*changed, *_edit_attributes(project, attribute))


def attributes_of_new(repo: GitRepo, root: str) -> str | None:
    """Gives a new project the lines where git uses the drivers already; the file's path if it
    changed."""
    if repo.setting("merge.dvlite.driver", local=True) is None:
        return None
    return _edit_rules(root, attribute)


def uninstall_drivers(project: Project, attributes: bool = False) -> tuple[str, ...]:
    """Takes the settings back; `attributes`: the lines of .gitattributes, which colleagues share,
    too. What changed."""
    changed = []
    for key in _settings(""):
        if project.repo.setting(key, local=True) is not None:
            project.repo.set_setting(key, None)
            changed.append(key)
    return (*changed, *(_edit_attributes(project, drop_attribute) if attributes else ()))


def drivers_state(project: Project, program: str | None = None) -> DriverState:
    """Whether git uses the drivers, started as they would be now."""
    wanted = _settings(program or program_of())
    repo = project.repo
    wrong = [key for key, value in wanted.items() if repo.setting(key, local=True) != value]
    there = all(has_attribute(root, rule) for root in _roots(project) for rule in RULES)
    return DriverState(there, tuple(wrong))


def _roots(project: Project) -> list[str]:
    """The folders of this project and of all others of the work tree."""
    top = os.path.realpath(project.repo.top)
    others = (os.path.join(top, folder).rstrip("/") for folder in project_folders(project.repo))
    return sorted({project.root, *others})


def _edit_attributes(project: Project, edit: Callable[[str, bytes], str | None]) -> tuple[str, ...]:
    """As git names them, the files that changed; they are staged."""
    top = os.path.realpath(project.repo.top)
    paths = [_edit_rules(root, edit) for root in _roots(project)]
    changed = tuple(os.path.relpath(path, top) for path in paths if path is not None)
    if changed:
        project.repo.stage(list(changed))
    return changed


def _edit_rules(root: str, edit: Callable[[str, bytes], str | None]) -> str | None:
    paths = [edit(root, rule) for rule in RULES]
    return next((path for path in paths if path is not None), None)


def program_of() -> str:
    """How a shell starts this dvlite, whether its virtual environment is active or not.

    Without the script that pip makes, Python starts it; the folder git works in is then no place
    to import from: a repository could hold a `dvlite` of its own.
    """
    folder = os.path.dirname(sys.executable)
    script = os.path.join(folder, "dvlite.exe" if os.name == "nt" else "dvlite")
    if os.path.exists(script):
        return shlex.quote(script)
    code = (
        "import sys; sys.path[:] = filter(None, sys.path); from dvlite.cli.main import main; main()"
    )
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def _settings(program: str) -> dict[str, str]:
    """git's settings. Where dvlite is gone, or fails, git shows pointers as they are: it would
    break off otherwise, whatever else there is to show."""
    there = f"command -v {shlex.quote((shlex.split(program) or ['dvlite'])[0])} >/dev/null"
    plain = 'git diff --no-index --no-ext-diff -- "$2" "$5"'
    diff = f'if {there}; then {program} git-driver diff -- "$@"; else {plain}; fi || :'
    textconv = f'{there} && {program} git-driver textconv -- "$1" || cat "$1"'
    return {
        "merge.dvlite.name": "dvlite: merge what pointers name",
        "merge.dvlite.driver": f"{program.replace('%', '%%')} git-driver {_MERGE_WORDS}",
        "diff.dvlite.command": f"f() {{ {diff}; }}; f",
        "diff.dvlite.textconv": f"f() {{ {textconv}; }}; f",
    }
