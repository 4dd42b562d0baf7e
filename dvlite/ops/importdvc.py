"""`dvlite import-dvc`: a repository of DVC becomes one of dvlite.

Owns the order: everything is read and verified into the cache first; then pointers, settings and
the mapping of old names are written and staged. Nothing of DVC is changed, but for the lines of
`.gitignore`, which move into dvlite's block, and links into DVC's cache, which become files.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from dvlite.errors import CorruptError, ProjectError
from dvlite.ops.dvccontent import Taken, take_names
from dvlite.ops.dvchistory import Version, is_kept_elsewhere, old_versions
from dvlite.ops.dvcremotes import DvcSettings, read_dvc_settings, sources_of, take_remotes
from dvlite.ops.importing import (
    History,
    ImportResult,
    Item,
    State,
    known_names,
    refusal,
    remove_files,
    save_mapping,
    track,
)
from dvlite.ops.looking import Looker
from dvlite.ops.stepping import Rule, Stepper, clear_scratch, plan_step
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.workspace import imported as mapping_file
from dvlite.workspace.adopting import Adopter, FolderSource, PathSource, Source
from dvlite.workspace.adopting import places as places_of
from dvlite.workspace.configedit import edit
from dvlite.workspace.dvcfiles import (
    LOCKFILE,
    PIPELINE,
    SUFFIX,
    ForeignName,
    Out,
    read_any,
)
from dvlite.workspace.pointer import Pointer
from dvlite.workspace.yamltext import MAX_BYTES

_NAMED = 5


@dataclass(frozen=True, slots=True)
class ImportDvcRequest:
    """What to take over. `history`: old versions too; `remove_old`: DVC's files go, where dvlite
    has what they name."""

    history: bool = False
    remove_old: bool = False
    dry_run: bool = False
    jobs: int = 4


def import_dvc(
    project: Project, request: ImportDvcRequest, progress: Progress = silent
) -> ImportResult:
    """Takes over what DVC tracks here. One output that cannot be taken does not stop the others.

    Raises:
        ProjectError: there is no repository of DVC.
    """
    if not os.path.isdir(os.path.join(project.root, ".dvc")):
        raise ProjectError(
            f"{project.root} is no repository of DVC (it has no folder .dvc)",
            "dvlite init makes a project where DVC's repository is: in the same folder",
        )
    with project.lock():
        clear_scratch(project)
        return _Importing(project, request, progress).run()


class _Importing:
    """The state of one import."""

    def __init__(self, project: Project, request: ImportDvcRequest, progress: Progress) -> None:
        self.project, self.request, self.progress = project, request, progress
        self.result = ImportResult()
        self.pointers = project.pointers()
        self.settings: DvcSettings = read_dvc_settings(project.root, self.result)
        self.workspace = PathSource("the workspace")
        self.sources = sources_of(self.settings, self.result)

    def run(self) -> ImportResult:
        """Takes up everything, or says what it would."""
        outs = self._outs()
        versions: list[Version] = []
        if self.request.history:
            versions = old_versions(self.project, self.result)
        if self.request.dry_run:
            return self._dry_run(outs, versions)
        names = [out.name for out in outs if out.name is not None]
        names += [one.name for one in versions]
        taken = self._take(names, {out.name.text: out for out in outs if out.name})
        self._report(outs, taken)
        self._write(outs, taken)
        if self.request.history:
            self._keep_history(versions, taken)
        self._name_hooks()
        if self.request.remove_old:
            self._remove_old()
        return self.result

    # -- what DVC tracks ---------------------------------------------------------------------------

    def _outs(self) -> list[Out]:
        """The outputs that are to be taken; what cannot be is reported at once."""
        wanted: dict[str, Out] = {}
        for out in self._all_outs():
            if out.path in wanted or any(one.path == out.path for one in self.result.items):
                continue
            if out.problem:
                self._refuse(out, out.problem)
                continue
            refused = refusal(self.project, self.pointers, out.path)
            if refused is not None:
                self.result.items.append(
                    replace(refused, source=out.source, notes=(*refused.notes, *out.notes))
                )
                continue
            wanted[out.path] = out
            if out.name is not None and not out.name.folder:
                self.workspace.paths[out.name.text] = self.project.absolute(out.path)
        return list(wanted.values())

    def _all_outs(self) -> Iterable[Out]:
        project, prefix = self.project, self.project.to_git("")
        for suffix in (SUFFIX, LOCKFILE):
            for git_path in project.repo.find_files(suffix, prefix):
                path = project.from_git(git_path)
                if not os.path.isfile(project.absolute(path)):
                    continue
                try:
                    yield from self._read(path)
                except (CorruptError, OSError) as error:
                    self.result.items.append(Item(path, path, "not taken", reason=str(error)))

    def _read(self, path: str) -> list[Out]:
        data = _read_file(self.project.absolute(path))
        try:
            beside = os.path.join(os.path.dirname(self.project.absolute(path)), PIPELINE)
            pipeline = _read_file(beside)
        except (CorruptError, OSError):
            pipeline = b""
        return read_any(data, path, pipeline)

    def _refuse(self, out: Out, reason: str) -> None:
        item = Item(out.path, out.source, "not taken", notes=out.notes, reason=reason)
        self.result.items.append(item)

    # -- its content -------------------------------------------------------------------------------

    def _adopter(self) -> Adopter:
        ordered: list[Source] = [FolderSource("DVC's cache", self.settings.cache), self.workspace]
        ordered += [source for _, source in self.sources]
        return Adopter(self.project.cache(), ordered, self.request.jobs, self.progress)

    def _take(self, names: list[ForeignName], outs: Mapping[str, Out]) -> Taken:
        tops = {text: self.project.absolute(out.path) for text, out in outs.items()}
        imported = mapping_file.load(self.project.root)
        return take_names(self._adopter(), names, known_names(self.project, imported), tops)

    # -- writing -----------------------------------------------------------------------------------

    def _report(self, outs: list[Out], taken: Taken) -> None:
        for out in outs:
            text = out.name.text if out.name is not None else ""
            pointer = taken.pointers.get(text)
            if pointer is None:
                reason = taken.reasons.get(text, "its content is nowhere")
                if not out.cached:
                    reason = "DVC does not keep it (cache: false): add it to git, or dvlite add"
                self._refuse(out, reason)
                continue
            if out.executable and pointer.kind == "file":
                pointer = replace(pointer, executable=True)
            before = self.pointers.get(out.path)
            if before is not None and not before.same_content(pointer):
                self._refuse(out, "dvlite tracks it already, with other content")
                continue
            state: State = "tracked" if before is not None else "taken"
            come_from = taken.come_from.get(text, ())
            item = Item(out.path, out.source, state, pointer, come_from, out.notes)
            self.result.items.append(item)
        self.result.items.sort(key=lambda item: item.path)

    def _write(self, outs: list[Out], taken: Taken) -> None:
        new = track(self.project, self.result.items, self.pointers)
        by_path = {out.path: out for out in outs}
        for path, pointer in new.items():
            self._replace_links(by_path[path], pointer, taken)
        for changes, private in take_remotes(self.project, self.settings, self.result):
            if changes:
                config = self.project.config
                path = config.private_path if private else config.committed_path
                edit(path, changes, committed=not private)
        self.project.repo.stage([self.project.to_git(os.path.join(".dvlite", "config.toml"))])

    def _replace_links(self, out: Out, pointer: Pointer, taken: Taken) -> None:
        """Links into DVC's cache become files: dvlite takes no link for a file's content."""
        assert out.name is not None
        inside = {b"": out.name}
        if out.name.folder:
            files = taken.folders.get(out.name.text, {})
            inside = {path: name for path, (name, _) in files.items()}
        top = os.fsencode(self.project.absolute(out.path))
        gone = False
        for path, name in inside.items():
            where = os.path.join(top, path) if path else top
            folder = os.path.dirname(where)
            if _is_link_to(where, name) and os.path.realpath(folder) == os.path.normpath(folder):
                os.unlink(where)
                gone = True
        if gone:
            looker = Looker(self.project, self.progress)
            step = plan_step(looker, looker.look(out.path), pointer, [], Rule())
            if step.lost:
                step = plan_step(looker, looker.look(out.path), pointer, [pointer], Rule(True))
            Stepper(self.project, looker, self.progress).run(step)
            looker.done()

    def _keep_history(self, versions: list[Version], taken: Taken) -> None:
        names = {one.name.text: one for one in versions}
        mapped = {text: taken.pointers[text] for text in names if text in taken.pointers}
        missing = [
            (f"{one.commit[:10]}:{one.path}", taken.reasons.get(text, "its content is nowhere"))
            for text, one in names.items()
            if text not in mapped and not is_kept_elsewhere(self.project, one)
        ]
        save_mapping(self.project, mapped)
        self.result.history = History(len(mapped) + len(missing), len(mapped), tuple(missing))

    # -- the rest ----------------------------------------------------------------------------------

    def _dry_run(self, outs: list[Out], versions: list[Version]) -> ImportResult:
        """What would be taken, as far as this machine can tell."""
        cache = FolderSource("DVC's cache", self.settings.cache)
        for out in outs:
            assert out.name is not None
            known = out.path in self.pointers
            come_from: tuple[str, ...] = ()
            for source in (cache, self.workspace):
                descriptor = source.open(out.name)
                if descriptor is not None:
                    os.close(descriptor)
                    come_from = come_from or (source.label,)
            if not come_from and not self.sources:
                self._refuse(out, "its content is not on this machine, and DVC has no remote")
                continue
            state: State = "tracked" if known else "taken"
            item = Item(out.path, out.source, state, None, come_from, out.notes)
            self.result.items.append(item)
        self.result.items.sort(key=lambda item: item.path)
        take_remotes(self.project, self.settings, self.result)
        if self.request.history:
            self.result.history = History(len({one.name.text for one in versions}))
        return self.result

    def _name_hooks(self) -> None:
        folder = os.path.join(self.project.repo.common_dir, "hooks")
        for name in ("pre-commit", "post-checkout", "pre-push"):
            try:
                data = _read_file(os.path.join(folder, name))
            except (CorruptError, OSError):
                continue
            if b"dvc git-hook" in data or b"dvc " in data:
                self.result.left.append((f"git hook {name}", "it still calls DVC"))

    def _remove_old(self) -> None:
        """DVC's files whose outputs are all tracked; its settings, when nothing needs them."""
        kept = {item.source for item in self.result.items if item.state == "not taken"}
        done = {item.source for item in self.result.items} - kept
        remove_files(self.project, sorted(one for one in done if one.endswith(SUFFIX)), self.result)
        prefix = self.project.to_git("")
        pipelines = self.project.repo.find_files(PIPELINE, prefix)
        if pipelines or not self.result.complete:
            why = "dvc.yaml needs them" if pipelines else "not everything was taken over"
            self.result.left.append((".dvc", f"DVC's settings stay: {why}"))
            return
        names = (".dvc/config", ".dvc/.gitignore", ".dvcignore")
        there = [name for name in names if os.path.lexists(self.project.absolute(name))]
        remove_files(self.project, there, self.result)
        self.result.left.append((".dvc/cache", "it stays: rm -r .dvc, when you need it no more"))


def _is_link_to(path: bytes, name: ForeignName) -> bool:
    """Whether a path is a link to where a cache of DVC has this very content."""
    try:
        target = os.fsdecode(os.readlink(path))
    except OSError:
        return False
    return any(target.endswith("/" + place) for place in places_of(name))


def _read_file(path: str) -> bytes:
    """A file of DVC's, up to what is read of such.

    Raises:
        CorruptError: it is larger, or no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as stream:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise CorruptError("it is no file, or larger than 16 MiB")
        return stream.read(MAX_BYTES + 1)
