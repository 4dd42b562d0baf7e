"""`dvlite checkout --relink`: large files made anew, as the setting cache.link says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dvlite.errors import ConflictError
from dvlite.ops.looking import Here, Looker, entry_of
from dvlite.ops.stepping import Step, Stepper, clear_scratch
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.chunker import SMALL_BYTES
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import walk
from dvlite.workspace.links import working_types
from dvlite.workspace.plan import Plan
from dvlite.workspace.pointer import Pointer, covering


@dataclass(frozen=True, slots=True)
class RelinkReport:
    """How many files were made anew, their bytes, and as what."""

    files: int
    size: int
    link: str


def relink(
    project: Project, paths: Sequence[str], dry_run: bool = False, progress: Progress = silent
) -> RelinkReport:
    """Makes the large files of tracked paths anew; small ones lie in packs and are never linked.

    Raises:
        ConflictError: a path has edits.
    """
    with project.lock():
        clear_scratch(project)
        pointers = project.pointers()
        chosen = {cover[0] for path in paths if (cover := covering(pointers, path))}
        looker = Looker(project, progress)
        steps = [
            step
            for path in sorted(chosen or pointers)
            if (step := _step(looker, path, pointers[path])) is not None
        ]
        stepper = Stepper(project, looker, progress)
        for step in steps if not dry_run else ():
            stepper.run(step)
        looker.done()
        types = str(project.config.get("cache.link")).split(",")
        works = working_types(project.cache_folder, project.root, types) or ["copy"]
        files, size = sum(step.files for step in steps), sum(step.size for step in steps)
        return RelinkReport(files, size, works[0])


def _step(looker: Looker, path: str, pointer: Pointer) -> Step | None:
    here = looker.look(path)
    if here.pointer is None:
        return None
    if not here.pointer.same_content(pointer):
        raise ConflictError(f"{path} has edits", "dvlite add them, or check out, first")
    if pointer.kind == "file":
        large = pointer.size >= SMALL_BYTES
        return Step(path, "replace", here, pointer) if large else None
    files = [(inside, entry) for inside, entry in _walk(looker, here) if _is_large(entry)]
    plan = Plan(write=files, remove=[inside for inside, _ in files])
    return Step(path, "change", here, pointer, plan) if files else None


def _walk(looker: Looker, here: Here) -> list[tuple[bytes, Entry]]:
    assert here.pointer is not None
    read = here.reader(looker.cache.read_tree)
    return list(walk(read, entry_of(here.pointer).oid))


def _is_large(entry: Entry) -> bool:
    return entry.kind in (Kind.FILE, Kind.EXEC) and entry.size >= SMALL_BYTES
