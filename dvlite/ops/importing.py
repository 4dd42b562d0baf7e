"""What importing from another tool means, whichever it is: reports, pointers, the mapping of old
names.

Owns that a path becomes tracked only when all its content is in the cache, and that what dvlite or
git track already stays as it is.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from dvlite.atomic import publish_in_tree
from dvlite.errors import PathError
from dvlite.gitfiles import changed
from dvlite.ops.add import check_git, check_pointers
from dvlite.ops.looking import Looker
from dvlite.ops.stepping import missing_files, refuse_behind_link
from dvlite.project import Project
from dvlite.workspace import imported as mapping_file
from dvlite.workspace.gitignore import attribute, take_over
from dvlite.workspace.imported import Imported
from dvlite.workspace.pointer import Pointer, check_trackable, covering, pointer_path, render

State = Literal["taken", "tracked", "in git", "not taken"]
_UNION = b".dvlite/imported merge=union"


@dataclass(frozen=True, slots=True)
class Item:
    """One path that the other tool tracks. `source`: its file that says so; `come_from`: the
    places that the content was in; `reason`: why it was not taken."""

    path: str
    source: str
    state: State
    pointer: Pointer | None = None
    come_from: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TakenRemote:
    """A remote that was taken over: what of its options is now in which settings."""

    name: str
    url: str
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """Old versions: how many names were found in commits, how many are mapped, which are not."""

    names: int = 0
    mapped: int = 0
    missing: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class ImportResult:
    """What came of an import. `left`: (what, why) that was not taken over besides paths;
    `removed`: files of the old tool that are gone."""

    items: list[Item] = field(default_factory=list)
    remotes: list[TakenRemote] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)
    history: History | None = None
    removed: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every path is tracked now, and every old version mapped."""
        return all(item.state != "not taken" for item in self.items) and not (
            self.history and self.history.missing
        )


def refusal(
    project: Project, pointers: Mapping[str, Pointer], path: str, in_git: bool = False
) -> Item | None:
    """What is in the way of tracking a path; None: nothing. (`source` is the caller's to add.)
    `in_git`: git has it now, and will not."""
    try:
        check_trackable(path)
        refuse_behind_link(project, path)
        if path in pointers:
            return None
        cover = covering(pointers, path)
        if cover is not None:
            raise PathError(f"it is inside {cover[0]}, which dvlite tracks")
        check_pointers(pointers, path)
        _refuse_in_the_way(project, path)
    except PathError as error:
        return Item(path, "", "not taken", reason=str(error))
    try:
        if not in_git:
            check_git(project, path)
    except PathError:
        return Item(path, "", "in git", notes=("git itself has it",))
    return None


def _refuse_in_the_way(project: Project, path: str) -> None:
    folder = os.path.dirname(path)
    while folder:
        if os.path.isfile(project.absolute(folder)):
            raise PathError(f"{folder} is a file")
        folder = os.path.dirname(folder)
    if os.path.isdir(project.absolute(pointer_path(path))):
        raise PathError(f"{pointer_path(path)} is a folder, where its pointer should be")


def track(
    project: Project, items: Iterable[Item], pointers: Mapping[str, Pointer]
) -> dict[str, Pointer]:
    """Writes pointers for content that is in the cache, and tells git; what is tracked now.

    Those that are written already are staged again: an import before may have ended there. The
    base says that the data here is what the old tool recorded: what differs is an edit.
    """
    taken = {item.path: item.pointer for item in items if item.pointer is not None}
    staged: list[str] = []
    folders: dict[str, list[str]] = {}
    for path, pointer in taken.items():
        folder, _, name = path.rpartition("/")
        folders.setdefault(folder, []).append(name)
        os.makedirs(project.absolute(folder), exist_ok=True)
        if path not in pointers:
            publish_in_tree(project.absolute(pointer_path(path)), render(pointer))
        staged.append(pointer_path(path))
    for folder, names in folders.items():
        take_over(project.absolute(folder), names)
        staged.append(f"{folder}/.gitignore" if folder else ".gitignore")
    base = project.base()
    new: dict[str, Pointer | None] = {
        path: pointer
        for path, pointer in taken.items()
        if base.get(path) is None and os.path.lexists(project.absolute(path))
    }
    if new:
        project.save_base(base.updated(new))
    project.repo.stage([project.to_git(path) for path in staged])
    return taken


def known_names(project: Project, imported: Imported) -> Imported:
    """The mapped names whose content the cache has wholly: they need not be taken again."""
    looker = Looker(project)
    return {name: one for name, one in imported.items() if not missing_files(looker, one)}


def save_mapping(project: Project, found: Imported) -> None:
    """Adds names to the committed mapping, and stages it."""
    merged = {**mapping_file.load(project.root), **found}
    mapping_file.save(project.root, merged)
    attribute(project.root, _UNION)
    names = [mapping_file.FILE, ".gitattributes"]
    project.repo.stage([project.to_git(name) for name in names])


def remove_files(project: Project, paths: Collection[str], result: ImportResult) -> None:
    """Removes files of the old tool; those that git could not bring back stay, and are named."""
    edited = changed(project.repo, [project.to_git(path) for path in paths])
    for path in paths:
        git_path = project.to_git(path)
        if git_path in edited or not project.repo.tracked([git_path]):
            result.left.append((path, "git has not committed it as it is: remove it yourself"))
            continue
        os.unlink(project.absolute(path))
        result.removed.append(path)
    project.repo.stage([project.to_git(path) for path in result.removed])
