"""The project: a folder in a git repository with `.dvlite/config.toml`, and its parts opened.

Owns where everything of a project is: the private folder of this work tree, the cache that all
work trees share, the pointers, and the mapping between the paths that users give, project paths
(relative to the project's folder, with `/`) and git's paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dvlite.atomic import write_lock
from dvlite.errors import ConflictError, CorruptError, PathError, ProjectError, StorageError
from dvlite.gitchanges import project_folders
from dvlite.gitfiles import SmallFile, paths_at, small_files
from dvlite.gitrepo import GitRepo
from dvlite.pipeline.naming import LOCK, PIPELINE, join, most_bytes, named_by
from dvlite.storage.cache import Cache
from dvlite.storage.oid import hash_bytes
from dvlite.workspace import base as base_file
from dvlite.workspace import cachemoves, cacheusers, imported
from dvlite.workspace.base import Base, quote
from dvlite.workspace.config import FILE, Config, is_local, private_text
from dvlite.workspace.config import load as load_config
from dvlite.workspace.entering import read_small
from dvlite.workspace.pointer import (
    MAX_POINTER_BYTES,
    SUFFIX,
    Pointer,
    check_trackable,
    data_path,
    parse,
    pointer_path,
    render,
)

# Of other projects, in a hint.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Project:
    """One dvlite project. `root`, `private_folder` and `cache_folder` are absolute."""

    root: str
    repo: GitRepo
    config: Config
    private_folder: str
    cache_folder: str

    @staticmethod
    def open(folder: str, cache_folder: str | None = None) -> Project:
        """The project that `folder` is in; `cache_folder` overrides where its cache is.

        Raises:
            ProjectError: no git repository, no project, or invalid settings.
        """
        repo = GitRepo.discover(folder)
        root = _find_root(os.path.realpath(folder), os.path.realpath(repo.top))
        if root is None:
            raise ProjectError(f"{folder} is in no dvlite project", _how_to_have_one(repo, folder))
        return Project.at(repo, root, cache_folder)

    @staticmethod
    def at(
        repo: GitRepo, root: str, cache_folder: str | None = None, config: Config | None = None
    ) -> Project:
        """The project at `root`, a folder of the repository's work tree; `config`: instead of
        its own settings, where it has none."""
        refuse_link(root)
        inside = os.path.relpath(root, os.path.realpath(repo.top))
        name = "top" if inside == "." else "p-" + _short_name(inside)
        shared = os.path.join(repo.common_dir, "dvlite")
        config = config or load_config(root, os.path.join(shared, "config.toml"))
        chosen = cache_folder or config.text("cache.dir") or os.path.join(shared, "cache")
        return Project(
            root,
            repo,
            config,
            os.path.join(repo.git_dir, "dvlite", name),
            os.path.abspath(os.path.join(root, os.path.expanduser(chosen))),
        )

    # -- paths -------------------------------------------------------------------------------------

    def relative(self, path: str) -> str:
        """The project path of a path the user gave ("" for the project's folder).

        Symbolic links above the last name are followed, the last one is not: it is what is meant.

        Raises:
            PathError: outside the project, or inside git's folder.
        """
        if "\0" in path or not path:
            raise PathError(f"not a path: {path!r}")
        parent, name = os.path.split(os.path.abspath(path))
        absolute = os.path.join(os.path.realpath(parent), name)
        inside = os.path.relpath(absolute, self.root)
        if inside == ".":
            return ""
        if inside == ".." or inside.startswith("../"):
            raise PathError(
                f"{path} is outside the project {self.root}", "use a path inside it, or -C DIR"
            )
        if inside == ".git" or inside.startswith(".git/"):
            raise PathError(f"{path} is inside git's own folder")
        return inside

    def absolute(self, path: str) -> str:
        """Where a project path is."""
        return os.path.join(self.root, path) if path else self.root

    def to_git(self, path: str) -> str:
        """A project path as git names it, from the top of the work tree."""
        inside = os.path.relpath(self.root, os.path.realpath(self.repo.top))
        return path if inside == "." else f"{inside}/{path}" if path else inside

    def from_git(self, path: str) -> str:
        """The inverse of `to_git`."""
        prefix = self.to_git("")
        return path[len(prefix) + 1 :] if prefix else path

    # -- pointers ----------------------------------------------------------------------------------

    def pointer_paths(self) -> list[str]:
        """The paths of all pointer files of the work tree, sorted."""
        prefix = self.to_git("")
        found = (self.from_git(path) for path in self.repo.find_files(SUFFIX, prefix))
        return [path for path in found if os.path.lexists(self.absolute(path))]

    def pointers(self, outputs: bool = True) -> dict[str, Pointer]:
        """Data path -> pointer, for all of the work tree; `outputs`: with what stages made.

        Raises:
            CorruptError, ConflictError, FormatVersionError: one cannot be read.
        """
        found: dict[str, Pointer] = {}
        for path in self.pointer_paths():
            try:
                found[data_path(path)] = self.read_pointer(path)
            except CorruptError:
                # what git does not track either may be anybody's file that happens to end so
                if self.repo.tracked([self.to_git(path)]):
                    raise
        return join(found, self.outputs()) if outputs else found

    def has_pipeline(self) -> bool:
        """Whether there are stages, or records of some."""
        return any(os.path.lexists(self.absolute(name)) for name in (PIPELINE, LOCK))

    def outputs(self) -> dict[str, Pointer]:
        """Data path -> pointer, of what stages made, as `dvlite.lock` says.

        Raises:
            CorruptError, ConflictError, FormatVersionError, PathError: it cannot be read.
        """
        data = self.read_lock()
        return {} if data is None else named_by(LOCK, data, LOCK)

    def read_lock(self) -> bytes | None:
        """The bytes of `dvlite.lock`; None where there is none."""
        absolute = self.absolute(LOCK)
        if not os.path.lexists(absolute):
            return None
        if os.path.islink(absolute):
            raise PathError(f"{LOCK} is a symbolic link; it has to be a file", "remove the link")
        with open(absolute, "rb") as stream:
            return stream.read(most_bytes(LOCK) + 1)

    def read_pointer(self, path: str) -> Pointer:
        """Reads the pointer file at a project path.

        Raises:
            PathError: its data could not be where its name says (`.git.dvl`, say).
        """
        check_trackable(data_path(path))
        absolute = self.absolute(path)
        if os.path.islink(absolute):
            raise PathError(f"{path} is a symbolic link; a pointer is a file", "remove the link")
        return parse(read_small(absolute, MAX_POINTER_BYTES), path)

    def pointers_at(self, commit: str) -> dict[str, bytes]:
        """Pointer path -> unparsed content, at a commit, and the lockfile's, for `named_by`; of
        commits from before an import, what the mapping of old names makes of the other tool's
        files."""
        prefix = self.to_git("")
        found = self.repo.files_at(commit, SUFFIX, prefix)
        pointers = {self.from_git(path): data for path, data in found.items()}
        lock = self.lock_at(commit)
        if lock is not None:
            pointers[LOCK] = lock
        if self.is_before_import(commit):
            for path, pointer in self._imported_at(commit).items():
                pointers.setdefault(pointer_path(path), render(pointer))
        return pointers

    def lock_at(self, commit: str) -> bytes | None:
        """The bytes of `dvlite.lock` at a commit; None where there is none."""
        return self.repo.read_file(commit, self.to_git(LOCK), most_bytes(LOCK))

    def is_before_import(self, commit: str) -> bool:
        """Whether there is a mapping of old names, which a commit does not have yet."""
        if not os.path.lexists(os.path.join(self.root, imported.FILE)):
            return False
        return self.repo.read_file(commit, self.to_git(imported.FILE)) is None

    def _imported_at(self, commit: str) -> dict[str, Pointer]:
        """What files of other tools name at a commit, as far as the mapping knows it."""
        from dvlite.workspace import dvcfiles, yamltext  # only who looks so far back pays for YAML

        mapping = imported.load(self.root)
        suffixes = (dvcfiles.SUFFIX, dvcfiles.LOCKFILE)
        files = self.repo.files_at(commit, suffixes, self.to_git(""), yamltext.MAX_BYTES)
        outs = []
        for path, data in files.items():
            with suppress(CorruptError):  # the import has said so
                outs += dvcfiles.read_any(data, self.from_git(path))
        found = imported.pointers_of_outs(mapping, outs)
        in_git = paths_at(self.repo, commit, self.to_git("")) if found else set()
        of_dvc = {path: one for path, one in found.items() if self.to_git(path) not in in_git}
        of_lfs = self.lfs_files_at(commit) if imported.names_lfs(mapping) else {}
        return {**of_dvc, **imported.pointers_of_lfs(mapping, of_lfs)}

    def lfs_files_at(self, commit: str) -> dict[str, SmallFile]:
        """The files of a commit that are so small that they may be pointers of git-lfs."""
        files = small_files(self.repo, self.to_git(""), imported.MAX_LFS_BYTES, commit)
        return {self.from_git(path): file for path, file in files.items()}

    # -- the parts ---------------------------------------------------------------------------------

    def cache(self) -> Cache:
        """The cache, opened, with its second sources. One outside of the repository knows who uses
        it."""
        if not self.cache_folder.startswith(self.repo.common_dir + os.sep):
            cacheusers.register(self.cache_folder, self.repo.common_dir, self.repo.top)
        path = os.path.join(self.repo.common_dir, "dvlite", cachemoves.FILE)
        note = cachemoves.read(self.repo.common_dir) if os.path.exists(path) else None
        return Cache(
            self.cache_folder,
            durable=bool(self.config.get("core.fsync")),
            sources=self.cache_sources(),
            moved=() if note is None else (note.source, note.target),
        )

    def cache_sources(self) -> list[str]:
        """The folders of the second sources, absolute, whether they are there or not."""
        text = self.config.text("cache.sources")
        folders = text.split(os.pathsep) if text else ()
        found = (os.path.join(self.root, os.path.expanduser(folder)) for folder in folders)
        return [one for one in map(os.path.abspath, found) if one != self.cache_folder]

    def configured_cache(self) -> str:
        """Where the settings say that the cache is, whatever the environment says."""
        chosen = self.config.text("cache.dir") or self.default_cache()
        return os.path.abspath(os.path.join(self.root, os.path.expanduser(chosen)))

    def default_cache(self) -> str:
        """Where the cache is when nothing says otherwise."""
        return os.path.join(self.repo.common_dir, "dvlite", "cache")

    def base(self) -> Base:
        """What each pointer's data was last in step with."""
        return base_file.load(self._base_path)

    def save_base(self, base: Base) -> None:
        """Replaces the base, durably."""
        base_file.save(self._base_path, base)

    def stat_index_path(self, path: str) -> str:
        """Where the stat index of a tracked path is ("" for that of all single files)."""
        name = "t-" + _short_name(path) if path else "files"
        return os.path.join(self.private_folder, "stat", name)

    def remote_url(self, name: str) -> str:
        """A remote's URL; a relative folder counts from the project's folder."""
        url = self.config.remotes()[name].url
        if is_local(url) and "://" not in url:
            return os.path.normpath(os.path.join(self.root, os.path.expanduser(url)))
        return url

    @contextmanager
    def lock(self, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
        """Excludes other writers to this work tree's data, pointers and base.

        Raises:
            LockError: another one did not finish within a minute.
            StorageError: the private folder cannot be written.
            ConflictError: the cache has been moved since the settings were read.
        """
        try:
            os.makedirs(self.private_folder, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.private_folder}: {error.strerror}",
                "this command needs a writable repository",
            ) from error
        with write_lock(os.path.join(self.private_folder, "lock"), on_wait=on_wait):
            self.refuse_moved_cache()
            self.repo.unlock()
            yield

    def refuse_moved_cache(self) -> None:
        """Who waited for `cache move` would add to the old place, where nobody looks any more.

        Raises:
            ConflictError: the setting is another one by now.
        """
        now = private_text(self.config.private_path, "cache.dir")
        is_as_configured = self.cache_folder == self.configured_cache()
        if is_as_configured and now != self.config.private.get("cache.dir"):
            raise ConflictError(
                "the cache has been moved since this command began",
                "run it again: it will find the cache where that is now",
            )

    @property
    def _base_path(self) -> str:
        return os.path.join(self.private_folder, "base")


def _find_root(folder: str, top: str) -> str | None:
    """The nearest folder upwards, not above `top`, that is a project."""
    while True:
        if os.path.isfile(os.path.join(folder, FILE)):
            return folder
        if folder == top or os.path.dirname(folder) == folder:
            return None
        folder = os.path.dirname(folder)


def _how_to_have_one(repo: GitRepo, folder: str) -> str:
    """A sparse checkout may have left the settings out; or the projects are folders further down,
    or beside."""
    if repo.tracked([FILE]) and not os.path.lexists(os.path.join(repo.top, FILE)):
        return "git has its settings, but they are not checked out: git sparse-checkout add .dvlite"
    here, top = os.path.realpath(folder), os.path.realpath(repo.top)
    others = [os.path.relpath(os.path.join(top, one), here) for one in project_folders(repo)]
    if not others:
        return "make one: dvlite init"
    shown = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    return f"the projects of this repository: {shown}\ngo into one, or: dvlite -C {others[0]} ..."


def refuse_link(folder: str) -> None:
    """What git brings as a link could lead anywhere, and dvlite writes and removes files there.

    Raises:
        ProjectError: the project's settings, or their folder, are a link.
    """
    for name in (os.path.dirname(FILE), FILE):
        if os.path.islink(os.path.join(folder, name)):
            raise ProjectError(
                f"{os.path.join(folder, name)} is a symbolic link", "put what it is to be there"
            )


def _short_name(path: str) -> str:
    """A path as one file name: readable where short, else its hash."""
    name = quote(path).replace("%", "%25").replace("/", "%2F")
    return name if len(name) <= 200 else hash_bytes(os.fsencode(path)).hex()
