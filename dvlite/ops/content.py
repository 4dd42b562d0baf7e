"""What files held at revisions, whoever keeps them: the workspace, git, or the cache.

Owns where the content of a path is at a revision: git's own file, or what a pointer or
`dvlite.lock` names. What is missing is told with its reason and never stops the rest; with `fetch`
it is brought from a remote first, all of it in one go. Used by what shows and compares the content
of small files: metrics, parameters, plots.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dvlite.errors import CorruptError, DvliteError, MissingError, PathError
from dvlite.gitfiles import FoundFile, files_below
from dvlite.ops.fetch import FetchRequest, fetch_named
from dvlite.ops.looking import entry_of
from dvlite.ops.pointers import Pointers, pointers_of
from dvlite.ops.roots import Named, Selection, all_tips
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.oid import hash_bytes
from dvlite.storage.tree import Entry, Kind
from dvlite.storage.treewalk import find, walk
from dvlite.workspace.pointer import SUFFIX, covering

WORKSPACE = "workspace"
# A folder of plots; more pictures than that nobody looks at.
MAX_FILES = 1000
Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class View:
    """A revision to look at: what people call it, and its commit ("" for the workspace)."""

    name: str
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where missing content may come from; `fetch`: whether it may be brought at all."""

    fetch: bool = False
    remotes: tuple[str, ...] = ()
    jobs: int = 4


@dataclass(slots=True)
class Contents:
    """Path and number of the view -> the bytes there, or why there are none. A path that simply
    is not there is in neither."""

    found: dict[Key, bytes] = field(default_factory=dict)
    lost: dict[Key, str] = field(default_factory=dict)


@dataclass
class Reader:
    """Reads files at one view."""

    project: Project
    view: View
    most_bytes: int

    @cached_property
    def pointers(self) -> Pointers:
        """What pointers and `dvlite.lock` name there."""
        return pointers_of(self.project, self.view.commit)

    @cached_property
    def cache(self) -> Cache:
        """The cache."""
        return self.project.cache()

    def read(self, path: str) -> bytes | None:
        """The file's bytes; None where there is no such file.

        Raises:
            MissingError: its content is not in the cache.
            PathError, CorruptError: no file, too large, or damaged.
        """
        if not self.view.commit:
            return self._read_workspace(path)
        data = self._read_git(path)
        if data is not None:
            return data
        entry = self._entry(path)
        return None if entry is None else self._read_cached(path, entry)

    def read_small(self, path: str) -> bytes | None:
        """The same for what defines the pipeline: git's file or none."""
        return self._read_git(path) if self.view.commit else self._read_workspace(path)

    def below(self, path: str) -> list[str]:
        """The files of a folder, sorted; none where it is no folder.

        Raises:
            MissingError: its listing is not in the cache.
        """
        if not self.view.commit:
            return _listed(self.project, path)
        project = self.project
        in_git = files_below(project.repo, self.view.commit, project.to_git(path) + "/")
        names = [project.from_git(one) for one in in_git if not one.endswith(SUFFIX)]
        entry = self._entry(path)
        if entry is not None and entry.kind == Kind.TREE:
            inside = walk(self.cache.read_tree, entry.oid, os.fsencode(path) + b"/")
            names += [os.fsdecode(name) for name, one in inside if one.kind != Kind.TREE]
        return sorted(set(names))

    def named(self, path: str) -> Named | None:
        """What has to be fetched to read the file, if it is dvlite's."""
        cover = covering(self.pointers.found, path)
        if cover is None:
            return None
        name = self.view.name if self.view.commit else ""
        return Named(cover[0], self.pointers.found[cover[0]], cover[1], name)

    def _read_workspace(self, path: str) -> bytes | None:
        _check_path(path)
        absolute = self.project.absolute(path)
        try:
            found = os.stat(absolute)
            _check_inside(self.project, path)
            if not stat.S_ISREG(found.st_mode):
                raise PathError(f"{path} is no file")
            _check_size(path, found.st_size, self.most_bytes)
            with open(absolute, "rb") as stream:
                return stream.read(self.most_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise PathError(f"{path}: {error.strerror}") from error

    def _read_git(self, path: str) -> bytes | None:
        git_path = self.project.to_git(path)
        files = files_below(self.project.repo, self.view.commit, git_path)
        found: FoundFile | None = files.get(git_path)
        if found is None or not found.is_file:
            return None
        _check_size(path, found.size, self.most_bytes)
        blobs = self.project.repo.read_blobs([found.blob], self.most_bytes)
        return next((data for _, data in blobs), None)

    def _entry(self, path: str) -> Entry | None:
        cover = covering(self.pointers.found, path)
        if cover is None:
            return None
        top = entry_of(self.pointers.found[cover[0]])
        if not cover[1]:
            return top
        return find(self.cache.read_tree, top.oid, os.fsencode(cover[1]))

    def _read_cached(self, path: str, entry: Entry) -> bytes:
        if entry.kind in (Kind.TREE, Kind.LINK):
            raise PathError(f"{path} is no file")
        _check_size(path, entry.size, self.most_bytes)
        data = self.cache.read(entry.oid)
        if hash_bytes(data) != entry.oid:
            raise CorruptError(f"{path} is damaged in the cache")
        return data


def readers(project: Project, views: Iterable[View], most_bytes: int) -> list[Reader]:
    """One reader a view, for files of at most so many bytes."""
    return [Reader(project, view, most_bytes) for view in views]


def read_all(
    every: Sequence[Reader],
    wanted: Mapping[int, Iterable[str]],
    source: Source,
    progress: Progress = silent,
) -> Contents:
    """Reads the paths that each reader (by its number) is asked for.

    Raises:
        RemoteError: fetching was asked for, and no remote can be.
    """
    contents = Contents()
    lacking: list[tuple[str, int]] = []
    for at, paths in wanted.items():
        for path in paths:
            if not _read_into(contents, every[at], (path, at)):
                lacking.append((path, at))
    if lacking and source.fetch:
        _fetch(every, lacking, source, progress)
        for path, at in lacking:
            contents.lost.pop((path, at), None)
            _read_into(contents, every[at], (path, at))
    return contents


def _read_into(contents: Contents, reader: Reader, key: Key) -> bool:
    """Whether the content was in the cache, where it should be."""
    try:
        data = reader.read(key[0])
    except MissingError:
        at = f" --rev {reader.view.name}" if reader.view.commit else ""
        contents.lost[key] = f"not in the cache (--fetch, or dvlite fetch{at})"
        return False
    except DvliteError as error:
        contents.lost[key] = str(error)
        return True
    if data is not None:
        contents.found[key] = data
    elif not reader.view.commit and reader.named(key[0]) is not None:
        contents.lost[key] = "not in the workspace (dvlite checkout)"
    return True


def _fetch(
    every: Sequence[Reader], lacking: Iterable[Key], source: Source, progress: Progress
) -> None:
    named = [one for path, at in lacking if (one := every[at].named(path)) is not None]
    request = FetchRequest(remotes=source.remotes, jobs=source.jobs)
    fetch_named(every[0].project, named, request, progress)


def _check_path(path: str) -> None:
    """`dvlite.yaml` is somebody's: what it names lies in the project, and not in git's folder."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise PathError(f"{path!r} is no path of the project")
    if any(part.lower() in (".git", "git~1") for part in parts):
        raise PathError(f"{path} is inside git's own folder")


def _check_inside(project: Project, path: str) -> None:
    """A link of a repository must not show files from elsewhere; those into the cache are ours."""
    real = os.path.realpath(project.absolute(path))
    for folder in (project.root, project.cache_folder):
        if real.startswith(os.path.realpath(folder) + os.sep):
            return
    raise PathError(f"{path} is a symbolic link that leads out of the project")


def _check_size(path: str, size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise CorruptError(f"{path} is larger than {most_bytes >> 20} MiB")


def _listed(project: Project, path: str) -> list[str]:
    top = project.absolute(path)
    if os.path.islink(top) or not os.path.isdir(top):
        return []
    found = []
    for folder, _, names in os.walk(top):
        inside = os.path.relpath(folder, project.root)
        found += [os.path.join(inside, name) for name in names if not name.endswith(SUFFIX)]
        if len(found) > MAX_FILES:
            break
    return sorted(found)


# -- which revisions -------------------------------------------------------------------------------


def chosen_views(project: Project, selection: Selection) -> list[View]:
    """The workspace, or the revisions that were chosen, each commit once.

    Raises:
        MissingError: no such revision.
    """
    if not selection.of_history:
        return [View(WORKSPACE)]
    named = [*selection.revisions]
    views = [view_of(project, name) for name in named]
    if selection.all_branches:
        views += [View(name, commit) for name, commit in project.repo.branches().items()]
    if selection.all_tags:
        views += [View(name, commit) for name, commit in project.repo.tags().items()]
    if selection.all_commits:
        listed = project.repo.ask("rev-list", *dict.fromkeys(all_tips(project)))
        views += [View(commit[:8], commit) for commit in listed.decode("ascii").split()]
    seen: dict[str, View] = {}
    for view in views:
        seen.setdefault(view.commit, view)
    return list(seen.values())


def view_of(project: Project, name: str) -> View:
    """The view of a revision; `workspace` is the workspace, unless a revision is called so."""
    if name == WORKSPACE:
        try:
            return View(name, project.repo.resolve(name))
        except MissingError:
            return View(WORKSPACE)
    return View(name, project.repo.resolve(name))


def compared_views(project: Project, revisions: Sequence[str]) -> list[View]:
    """What `diff` compares: HEAD and the workspace, a revision and the workspace, or several."""
    if len(revisions) < 2:
        first = revisions[0] if revisions else "HEAD"
        return [view_of(project, first), View(WORKSPACE)]
    return [view_of(project, name) for name in revisions]
