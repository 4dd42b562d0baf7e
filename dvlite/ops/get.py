"""`dvlite get`: one file, or part of a tracked folder, at any revision, without a checkout.

Owns where it may be put (never over tracked data, into git's folder, or over what is there unless
that is asked for) and how it appears there: whole, or not at all. Only what is asked for is
fetched, and every byte is compared with its name on the way.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from dvlite.atomic import lock_once, temporary_name
from dvlite.errors import ConflictError, CorruptError, MissingError, PathError
from dvlite.gitrepo import GitRepo
from dvlite.ops.discarded import Discarded, discard
from dvlite.ops.fetch import FetchRequest, FetchResult, fetch_named
from dvlite.ops.looking import Looker, entry_of, pointer_of
from dvlite.ops.ls import Target
from dvlite.ops.pointers import label, pointers_of
from dvlite.ops.roots import Named
from dvlite.ops.stepping import missing_files
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.oid import file_hasher, hash_bytes, to_text
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import find
from dvlite.workspace.materialise import Target as Place
from dvlite.workspace.materialise import check_space, make_folder
from dvlite.workspace.pointer import SUFFIX, Pointer, covering, data_path
from dvlite.workspace.take import Stat
from dvlite.workspace.write import NewFile
from dvlite.workspace.writers import WriteOptions, Writers

_FEW = 5
# Folders of unfinished things begin so.
_SCRATCH = ".dvlite-get-"
# Read from the cache for a pipe: large enough that system calls do not count.
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class GetRequest:
    """What to get, and where it goes: `output` is absolute. `force`: also where something is;
    `private`: dvlite's own folder inside git's is meant."""

    target: Target
    output: str
    force: bool = False
    remotes: tuple[str, ...] = ()
    jobs: int = 4
    private: bool = False


@dataclass(slots=True)
class GetResult:
    """What was got. With `fetched` incomplete nothing was written. What was in the way is `kept`
    in the cache (a file), or now beside it under the name `moved` (a folder)."""

    target: Target
    output: str
    entry: Entry
    fetched: FetchResult | None = None
    kept: Discarded | None = None
    moved: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything could be had."""
        return self.fetched is None or (self.fetched.report.complete and not self.fetched.without)


@dataclass(frozen=True, slots=True)
class _Found:
    """The tracked path that holds the target, its pointer, and the way from there."""

    path: str
    pointer: Pointer
    inside: str


def get(project: Project, request: GetRequest, progress: Progress = silent) -> GetResult:
    """Puts what a path held at a revision into a new file or folder.

    Raises:
        PathError: no pointer tracks it there, or it must not go to `output`.
        ConflictError: something is at `output`. MissingError: no such revision.
    """
    _check_output(project, request)
    result = _bring(project, request, progress)
    if result.complete:
        _write(project, request, result, progress)
    return result


def get_bytes(
    project: Project, request: GetRequest, stream: IO[bytes], progress: Progress = silent
) -> GetResult:
    """Writes one file's bytes to an open stream. They are verified before the first is written.

    Raises:
        PathError: it is a folder. And what `get` raises.
    """
    result = _bring(project, request, progress)
    if result.entry.kind == Kind.TREE:
        raise PathError(
            f"{_label(request.target)} is a folder, which is no single stream of bytes",
            "choose a new folder for it: -o DIR",
        )
    if result.complete:
        for block in _read_verified(project.cache(), result.entry):
            stream.write(block)
        stream.flush()
    return result


# -- what it is, and having it ---------------------------------------------------------------------


def _bring(project: Project, request: GetRequest, progress: Progress) -> GetResult:
    """Finds the entry, and fetches what the cache lacks of it."""
    found = _find(project, request.target)
    entry = _entry(project.cache(), found)
    looker = Looker(project)
    fetched = None
    if entry is None or missing_files(looker, pointer_of(entry)):
        named = Named(found.path, found.pointer, found.inside, request.target.revision)
        what = FetchRequest(remotes=request.remotes, jobs=request.jobs)
        fetched = fetch_named(project, [named], what, progress)
        entry = _entry(project.cache(), found) or entry
    if entry is None:  # the fetch says why
        entry = entry_of(found.pointer)
    return GetResult(request.target, request.output, entry, fetched)


def _find(project: Project, target: Target) -> _Found:
    path = data_path(target.path) if target.path.endswith(SUFFIX) else target.path
    pointers = pointers_of(project, target.revision)
    cover = covering(pointers.found, path)
    if cover is not None:
        return _Found(cover[0], pointers.found[cover[0]], cover[1])
    for tracked, error in pointers.damaged.items():
        if path == tracked or path.startswith(tracked + "/"):
            raise error
    raise _no_such(project, target, [one for one in pointers.found if _is_below(one, path)])


def _is_below(path: str, folder: str) -> bool:
    return not folder or path.startswith(folder + "/")


def _no_such(project: Project, target: Target, below: list[str]) -> PathError:
    if below:
        named = ", ".join(sorted(below)[:_FEW]) + (" …" if len(below) > _FEW else "")
        return PathError(
            f"{_label(target)} holds several tracked paths: {named}",
            f"get one of them; all of the commit: dvlite reproduce {target.revision or 'HEAD'}",
        )
    commit = project.repo.resolve(target.revision or "HEAD")
    if project.repo.read_file(commit, project.to_git(target.path)) is not None:
        return PathError(
            f"{_label(target)} is no data of dvlite: git itself has it",
            f"git show {target.revision or 'HEAD'}:{project.to_git(target.path)}",
        )
    rev = f" --rev {target.revision}" if target.revision else ""
    # what was meant as a revision, and is none, is taken for a part of the path
    commits = "; the commits: git log --oneline --all" if ":" in target.path else ""
    return PathError(f"no pointer tracks {_label(target)}", f"what is: dvlite ls{rev}{commits}")


def _label(target: Target) -> str:
    return label(target.path or ".", target.revision)


def _entry(cache: Cache, found: _Found) -> Entry | None:
    """What is at the path; None where a listing on the way is not in the cache.

    Raises:
        PathError: the folder holds no such path.
    """
    top = entry_of(found.pointer)
    if not found.inside:
        return top
    try:
        entry = find(cache.read_tree, top.oid, os.fsencode(found.inside))
    except MissingError:
        return None
    if entry is None:
        raise PathError(
            f"{found.path} held no {found.inside} then", "what it held: dvlite ls REV:PATH"
        )
    return entry


# -- where it goes ---------------------------------------------------------------------------------


def _check_output(project: Project, request: GetRequest) -> None:
    output = request.output
    folder = os.path.dirname(output)
    if not os.path.isdir(folder):
        raise PathError(f"there is no folder {folder}", "make it first")
    if not request.private:
        _refuse_private(project.repo, output)
        _refuse_tracked(project, output)
    if not os.path.lexists(output):
        return
    above = os.path.realpath(output) + os.sep
    if any((one + os.sep).startswith(above) for one in (project.root, os.getcwd())):
        raise PathError(f"{output} holds the project or the current folder", "choose another: -o")
    if not request.force:
        raise ConflictError(
            f"{output} is there already", "choose another name: -o PATH; or replace it: --force"
        )


def _refuse_private(repo: GitRepo, output: str) -> None:
    real = os.path.join(os.path.realpath(os.path.dirname(output)), os.path.basename(output))
    for private in (repo.git_dir, repo.common_dir):
        if (real + os.sep).startswith(os.path.realpath(private) + os.sep):
            raise PathError(f"{output} is inside git's own folder", "choose another place: -o")
    if ".dvlite" in real.lower().split(os.sep):
        raise PathError(f"{output} is inside dvlite's own folder", "choose another place: -o")


def _refuse_tracked(project: Project, output: str) -> None:
    """The workspace is not touched: that is checkout's."""
    try:
        path = project.relative(output)
    except PathError:
        return  # outside the project
    pointers = project.pointers()
    cover = covering(pointers, path)
    if cover is not None or path in pointers:
        raise PathError(
            f"{path} is tracked, and get leaves the workspace as it is",
            f"choose another name: -o PATH; or make it as it was: dvlite checkout --rev REV {path}",
        )
    tracked = project.repo.tracked([project.to_git(path)])
    inside = [one for one in pointers if one.startswith(path + "/")]
    if tracked or inside:
        raise PathError(f"git tracks {(tracked or inside)[0]}", "choose another name: -o PATH")


# -- writing ---------------------------------------------------------------------------------------


def _write(project: Project, request: GetRequest, result: GetResult, progress: Progress) -> None:
    """Everything is made beside `output` first, and then gets its name."""
    entry, output = result.entry, request.output
    check_space(os.path.dirname(output), entry.size, entry.files)
    with _scratch_beside(output) as scratch:
        made = os.path.join(scratch, "made")
        cache = project.cache()
        # copies: what leaves the project must not be a read-only link into its cache
        options = WriteOptions(cache, scratch, ("copy",), progress, entry.files, entry.size)
        if entry.kind == Kind.TREE:
            make_folder(Place(made, scratch, options), entry, cache.read_tree)
        else:
            _make_file(options, scratch, entry)
        _make_room(project, request, result)
        os.rename(made, output)


@contextmanager
def _scratch_beside(output: str) -> Iterator[str]:
    """A folder for unfinished things beside `output`, locked while it is in use. Those that killed
    commands left there are removed."""
    parent = os.path.dirname(output)
    for name in os.listdir(parent):
        if name.startswith(_SCRATCH):
            with suppress(OSError), _locked_folder(os.path.join(parent, name)) as mine:
                if mine:
                    shutil.rmtree(os.path.join(parent, name), ignore_errors=True)
    while True:
        scratch = temporary_name(parent, _SCRATCH)
        os.mkdir(scratch, 0o700)
        try:
            with _locked_folder(scratch) as mine:
                if mine and os.path.exists(scratch):  # else another get took it for a leftover
                    yield scratch
                    return
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def _locked_folder(folder: str) -> Iterator[bool]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield lock_once(descriptor)
    finally:
        os.close(descriptor)


def _make_file(options: WriteOptions, scratch: str, entry: Entry) -> None:
    item = NewFile(b"made", entry.kind, entry.oid, entry.size)
    with Writers(options) as writers:
        writers.put(os.fsencode(scratch), 0, [item], _ignore)


def _ignore(first: int, stats: list[Stat]) -> None:
    """Nobody looks at the file again."""


def _make_room(project: Project, request: GetRequest, result: GetResult) -> None:
    """Takes away what is at `output`, so that it can be had again."""
    output = request.output
    if not os.path.lexists(output):
        return
    if not request.force:
        raise ConflictError(f"{output} appeared meanwhile", "choose another name: -o PATH")
    if os.path.isdir(output) and not os.path.islink(output):
        if os.listdir(output):
            result.moved = f"{output}.before-{result.entry.oid.hex()[:8]}"
            if os.path.lexists(result.moved):
                raise ConflictError(f"{result.moved} is there already", "remove it first")
            os.rename(output, result.moved)
        else:
            os.rmdir(output)
    elif os.path.isfile(output) and not os.path.islink(output):
        kept = discard(project, [os.path.relpath(output, project.root)])
        result.kept = kept[0] if kept else None
    elif not os.path.islink(output):
        raise PathError(f"{output} is neither a file nor a folder", "choose another name: -o PATH")
    if result.entry.kind == Kind.TREE and os.path.lexists(output):
        os.unlink(output)  # a folder takes the place of no file


def _read_verified(cache: Cache, entry: Entry) -> Iterator[bytes]:
    """A file's bytes, after they were compared with its name."""
    place = cache.find(entry.oid)
    if place is None or place.row is not None:
        data = cache.read(entry.oid)
        _check(hash_bytes(data), entry)
        yield data
        return
    with open(place.path, "rb") as stream:
        hasher = file_hasher()
        while block := stream.read(_BLOCK_BYTES):
            hasher.update(block)
        _check(hasher.digest(), entry)
        stream.seek(0)
        while block := stream.read(_BLOCK_BYTES):
            yield block


def _check(oid: bytes, entry: Entry) -> None:
    if oid != entry.oid:
        raise CorruptError(
            f"{to_text(entry.oid)} is damaged in the cache", "find what else is: dvlite doctor"
        )
