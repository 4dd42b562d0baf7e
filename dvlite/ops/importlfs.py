"""`dvlite import-lfs`: files that git-lfs keeps become files that dvlite tracks.

Owns the order: content is verified into the cache; then pointers are written, and git's index has
these instead of git-lfs's. Files of the workspace stay; one that is still git-lfs's pointer,
because its content never came, becomes the file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from dvlite.atomic import publish_in_tree
from dvlite.errors import ConflictError
from dvlite.gitfiles import small_blobs_of_history, small_files, with_attribute
from dvlite.ops.dvccontent import Taken, take_names
from dvlite.ops.importing import (
    History,
    ImportResult,
    Item,
    State,
    known_names,
    refusal,
    save_mapping,
    track,
)
from dvlite.ops.looking import Looker
from dvlite.ops.stepping import Rule, Stepper, clear_scratch, plan_step
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace import imported as mapping_file
from dvlite.workspace.adopting import Adopter, FolderSource, PathSource, Source
from dvlite.workspace.gitignore import attribute
from dvlite.workspace.imported import MAX_LFS_BYTES
from dvlite.workspace.lfspointer import LfsPointer, parse_lfs_pointer
from dvlite.workspace.pointer import Pointer, pointer_path

_EXEMPT = (b"*.dvl -filter", b".gitignore -filter", b".gitattributes -filter")
_MOST_ATTRIBUTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImportLfsRequest:
    """What to take over. `history`: old versions too; `remove_old`: the lines of `.gitattributes`
    that give files to git-lfs go."""

    history: bool = False
    remove_old: bool = False
    dry_run: bool = False
    jobs: int = 4


@dataclass(frozen=True, slots=True)
class _Tracked:
    """A path that git-lfs keeps, as git's index has it."""

    path: str
    pointer: LfsPointer
    text: bytes
    executable: bool


def import_lfs(
    project: Project, request: ImportLfsRequest, progress: Progress = silent
) -> ImportResult:
    """Takes over what git-lfs keeps here. One file that cannot be taken does not stop the others.

    Raises:
        ConflictError: git is in the middle of a merge.
    """
    with project.lock():
        clear_scratch(project)
        return _Importing(project, request, progress).run()


class _Importing:
    """The state of one import."""

    def __init__(self, project: Project, request: ImportLfsRequest, progress: Progress) -> None:
        self.project, self.request, self.progress = project, request, progress
        self.result = ImportResult()
        self.pointers = project.pointers()
        self.store = FolderSource("git-lfs's store", _store(project))

    def run(self) -> ImportResult:
        """Takes up everything, or says what it would."""
        _refuse_unmerged(self.project)
        tracked = self._tracked()
        old = self._old_versions() if self.request.history else {}
        if self.request.dry_run:
            return self._dry_run(tracked, old)
        taken = self._take(tracked, old)
        self._report(tracked, taken)
        self._write(tracked)
        if self.request.history:
            self._keep_history(old, taken)
        if self.request.remove_old:
            self._remove_old()
        return self.result

    def _tracked(self) -> list[_Tracked]:
        """What is to be taken; what cannot be is reported at once."""
        prefix, found = self.project.to_git(""), []
        for git_path, file in small_files(self.project.repo, prefix, MAX_LFS_BYTES).items():
            pointer = parse_lfs_pointer(file.data)
            if pointer is None:
                continue
            path = self.project.from_git(git_path)
            refused = refusal(self.project, self.pointers, path, in_git=True)
            if pointer.extended:
                refused = Item(path, path, "not taken", reason="it uses an extension of git-lfs")
            if refused is not None:
                self.result.items.append(replace(refused, source=path))
            else:
                found.append(_Tracked(path, pointer, file.data, file.executable))
        return found

    def _old_versions(self) -> dict[str, tuple[str, LfsPointer]]:
        """Name -> (path, pointer), of every commit of all branches and tags."""
        found: dict[str, tuple[str, LfsPointer]] = {}
        for path, data in small_blobs_of_history(self.project.repo, MAX_LFS_BYTES):
            pointer = parse_lfs_pointer(data)
            if pointer is not None and not pointer.extended:
                found.setdefault(pointer.name.text, (path, pointer))
        return found

    def _take(self, tracked: list[_Tracked], old: Mapping[str, tuple[str, LfsPointer]]) -> Taken:
        workspace = PathSource("the workspace")
        for one in tracked:
            where = self.project.absolute(one.path)
            if os.path.realpath(os.path.dirname(where)) == os.path.dirname(where):
                workspace.paths.setdefault(one.pointer.name.text, where)
        sources: list[Source] = [self.store, workspace]
        adopter = Adopter(self.project.cache(), sources, self.request.jobs, self.progress)
        names = [one.pointer.name for one in tracked] + [one.name for _, one in old.values()]
        imported = mapping_file.load(self.project.root)
        return take_names(adopter, names, known_names(self.project, imported), {})

    def _report(self, tracked: list[_Tracked], taken: Taken) -> None:
        for one in tracked:
            text = one.pointer.name.text
            pointer = taken.pointers.get(text)
            if pointer is None:
                reason = f"{taken.reasons.get(text)}: bring it with git lfs pull"
                self.result.items.append(Item(one.path, one.path, "not taken", reason=reason))
                continue
            if one.executable:
                pointer = replace(pointer, executable=True)
            before = self.pointers.get(one.path)
            if before is not None and not before.same_content(pointer):
                reason = "dvlite tracks it already, with other content"
                self.result.items.append(Item(one.path, one.path, "not taken", reason=reason))
                continue
            state: State = "taken" if before is None else "tracked"
            come_from = taken.come_from.get(text, ())
            self.result.items.append(Item(one.path, one.path, state, pointer, come_from))
        self.result.items.sort(key=lambda item: item.path)

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, tracked: list[_Tracked]) -> None:
        new = {item.path: item for item in self.result.items if item.pointer is not None}
        if not new:
            return
        self._exempt(list(new))
        done = track(self.project, new.values(), self.pointers)
        for one in tracked:
            if one.path in new:
                self._fill_in(one, done[one.path])
        # last: what git knows is what an import after an interruption goes on with
        self.project.repo.forget([self.project.to_git(path) for path in new])

    def _exempt(self, new: list[str]) -> None:
        """Keeps our own files out of git-lfs, where its lines are about whole folders."""
        repo, project = self.project.repo, self.project
        ours = {path: project.to_git(pointer_path(path)) for path in new}
        given = with_attribute(repo, "filter", "lfs", list(ours.values()))
        for folder in {os.path.dirname(path) for path, ours_ in ours.items() if ours_ in given}:
            for rule in _EXEMPT:
                attribute(project.absolute(folder), rule)
            repo.stage([project.to_git(os.path.join(folder, ".gitattributes"))])

    def _fill_in(self, one: _Tracked, pointer: Pointer) -> None:
        """The file in the place of git-lfs's pointer to it."""
        where = self.project.absolute(one.path)
        if _read_small(where) != one.text:
            return
        looker = Looker(self.project, self.progress)
        here = looker.look(one.path)
        step = plan_step(looker, here, pointer, [here.pointer] if here.pointer else [], Rule())
        Stepper(self.project, looker, self.progress).run(step)
        looker.done()

    def _keep_history(self, old: Mapping[str, tuple[str, LfsPointer]], taken: Taken) -> None:
        mapped = {text: taken.pointers[text] for text in old if text in taken.pointers}
        missing = tuple(
            (path, f"an old version: {taken.reasons.get(text)}: git lfs fetch --all")
            for text, (path, _) in old.items()
            if text not in mapped
        )
        save_mapping(self.project, mapped)
        self.result.history = History(len(old), len(mapped), missing)

    def _dry_run(
        self, tracked: list[_Tracked], old: Mapping[str, tuple[str, LfsPointer]]
    ) -> ImportResult:
        for one in tracked:
            descriptor = self.store.open(one.pointer.name)
            come_from = () if descriptor is None else (self.store.label,)
            if descriptor is not None:
                os.close(descriptor)
            self.result.items.append(Item(one.path, one.path, "taken", None, come_from))
        self.result.items.sort(key=lambda item: item.path)
        if self.request.history:
            self.result.history = History(len(old))
        return self.result

    def _remove_old(self) -> None:
        """The lines that give files to git-lfs, when no file is left to it."""
        if not self.result.complete:
            self.result.left.append((".gitattributes", "its lines stay: files are left to git-lfs"))
            return
        for git_path in self.project.repo.find_files(".gitattributes", self.project.to_git("")):
            path = self.project.from_git(git_path)
            absolute = self.project.absolute(path)
            if os.path.basename(path) != ".gitattributes" or os.path.islink(absolute):
                continue
            with open(absolute, "rb") as stream:
                data = stream.read(_MOST_ATTRIBUTES + 1)
            if len(data) > _MOST_ATTRIBUTES:
                self.result.left.append((path, "it is large: take out its lines by hand"))
                continue
            kept = [line for line in data.splitlines(True) if not _is_of_lfs(line)]
            if len(kept) != len(data.splitlines()):
                publish_in_tree(absolute, b"".join(kept))
                self.project.repo.stage([git_path])
                self.result.removed.append(f"{path} (lines with filter=lfs)")


def _refuse_unmerged(project: Project) -> None:
    """Of several versions of a file one would be taken, and git told that it is decided."""
    paths = sorted(project.repo.unmerged("", project.to_git("")))
    if paths:
        more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
        raise ConflictError(
            f"a merge of {project.from_git(paths[0])}{more} is not decided",
            "end the merge first: git status says how; then import",
        )


def _is_of_lfs(line: bytes) -> bool:
    return b"filter=lfs" in line.split() and not line.lstrip().startswith(b"#")


def _store(project: Project) -> str:
    """Where git-lfs keeps objects: its setting counts from git's folder."""
    chosen = project.repo.setting("lfs.storage") or "lfs"
    return os.path.join(project.repo.common_dir, os.path.expanduser(chosen), "objects")


def _read_small(path: str) -> bytes:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as stream:
            return stream.read(MAX_LFS_BYTES + 1)
    return b""
