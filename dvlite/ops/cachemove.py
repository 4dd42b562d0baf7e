"""`dvlite cache move`: the cache of this repository goes to another folder or disk.

Owns the order, which can be interrupted anywhere: a note that it begins; everything at the new
place, durable; the setting; the links of work trees; and only then the old place is emptied. Until
the setting is changed the old cache is the cache, and whole; from then on the new one is. A cache
that is there already (another project's) takes it in.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from dvlite.atomic import fsync_folder, make_folders, try_lock
from dvlite.errors import ConflictError, DvliteError, LockError, StorageError, UsageError
from dvlite.gitreachable import work_trees
from dvlite.gitrepo import GitRepo
from dvlite.ops.cacheplaces import refuse_place
from dvlite.ops.cacheroots import repositories
from dvlite.ops.hookprojects import projects_here
from dvlite.ops.stepping import scratch_folder
from dvlite.progress import Progress, silent
from dvlite.project import Project
from dvlite.storage.cache import Cache
from dvlite.storage.transfer import (
    Brought,
    Transfer,
    amount,
    can_link,
    check_space,
    lacking,
    take_away,
)
from dvlite.workspace import cachemoves, cacheusers
from dvlite.workspace.cachemoves import Move
from dvlite.workspace.configedit import edit
from dvlite.workspace.repointing import repoint

# Objects that come while it is at work are brought in the next round.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """Where to. `everyone`: the other repositories that use the cache move with it; `keep_old`: it
    stays as it is for them."""

    folder: str
    everyone: bool = False
    keep_old: bool = False
    dry_run: bool = False


@dataclass(slots=True)
class MoveResult:
    """What was (or would be) done; nothing, where `source` is `target`. `links`: workspace files
    that led to the old place; `left`: whether something is left there; `abandoned`: where an
    earlier move was to go, which had not got far; `absent_trees`: work trees that are not there,
    whose links nobody could change."""

    source: str
    target: str
    files: int = 0
    size: int = 0
    linked: bool = False
    merged: bool = False
    brought: Brought = field(default_factory=Brought)
    repositories: list[str] = field(default_factory=list)
    links: int = 0
    left: bool = False
    abandoned: str = ""
    absent_trees: list[str] = field(default_factory=list)


def move(project: Project, request: MoveRequest, progress: Progress = silent) -> MoveResult:
    """Moves the cache, or goes on with a move that was interrupted.

    Raises:
        ConflictError: other repositories use it, or work trees have several. PathError,
        MissingError, StorageError: it cannot be put there. LockError: another command is at work.
        UsageError: the environment says where the cache is.
    """
    if project.cache_folder != project.configured_cache():
        raise UsageError(
            f"the environment says that the cache is {project.cache_folder}",
            "move that folder yourself, or: unset DVLITE_CACHE_DIR",
        )
    begun = cachemoves.read(project.repo.common_dir)
    if begun is not None and begun.target == project.cache_folder != request.folder:
        _finish(project, begun, request, progress)  # then from there on
        begun = None
    step = begun
    if step is None or step.target != request.folder:
        step = Move(project.cache_folder, request.folder)
    if os.path.realpath(step.source) == os.path.realpath(step.target):
        return MoveResult(step.source, step.source)
    if request.folder != project.cache_folder:
        refuse_place(project, request.folder)
    work = _plan if request.dry_run else _carry_out
    result = work(project, step, request, progress)
    if begun is not None and begun.target != step.target:
        result.abandoned = begun.target
    return result


def _refuse_several(repos: Sequence[GitRepo], step: Move) -> None:
    """A relative `cache.dir` counts from each project's folder, and there is one setting for all:
    where it leads to several caches, the others would be found by nobody any more. So would that
    of a repository which used this one once, and has another one now."""
    used = {one.cache_folder for repo in repos for one in projects_of(repo)}
    others = [one for one in used - {step.source, step.target} if os.path.isdir(one)]
    if others:
        other = min(others)
        raise ConflictError(
            f"a work tree or project that would move with it uses another cache: {other}",
            "cache.dir there is relative or was changed; take over what that one has first:\n"
            f"dvlite config --local cache.dir {step.source}\ndvlite fsck --repair --from {other}",
        )


def _plan(
    project: Project, step: Move, request: MoveRequest, progress: Progress = silent
) -> MoveResult:
    repos = _users(project, step, request)
    _refuse_several(repos, step)
    result = _result(step, repos)
    result.files, result.size = amount(Cache(step.source))
    result.linked = _is_near(step)
    return result


def _is_near(step: Move) -> bool:
    """Whether both places seem to be on one file system."""
    first, second = _nearest(step.source), _nearest(step.target)
    return os.stat(first).st_dev == os.stat(second).st_dev


def _nearest(folder: str) -> str:
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _result(step: Move, repos: Sequence[GitRepo]) -> MoveResult:
    merged = any(os.path.isdir(os.path.join(step.target, one)) for one in ("objects", "packs"))
    return MoveResult(
        step.source, step.target, merged=merged, repositories=[repo.top for repo in repos]
    )


def _finish(project: Project, step: Move, request: MoveRequest, progress: Progress) -> None:
    """Ends an earlier move whose setting has been changed."""
    if not request.dry_run:
        _carry_out(project, step, request, progress)


def _carry_out(
    project: Project, step: Move, request: MoveRequest, progress: Progress
) -> MoveResult:
    repos = _users(project, step, request)
    _refuse_several(repos, step)
    result = _result(step, repos)
    if not _is_near(step):
        check_space(Cache(step.source), step.target, _nearest(step.target))
    os.makedirs(step.source, exist_ok=True)
    make_folders(step.target, os.path.dirname(step.target))
    source, target = Cache(step.source), Cache(step.target)
    with ExitStack() as locks:
        trees = [locks.enter_context(_locked(one)) for repo in repos for one in projects_of(repo)]
        project.refuse_moved_cache()
        for folder in (step.source, step.target):
            locks.enter_context(_alone(folder))
        for repo in repos:
            cachemoves.write(repo.common_dir, step)
            _register(repo, step.target)
        transfer = _transfer(source, target, result, progress)
        _bring(transfer)
        for repo in repos:
            _switch(repo, step)
        _repoint(trees, step, result)
        _bring(transfer)
        if request.keep_old:
            _unregister(project, step.source)
        else:
            _empty(source, target, result)
    for repo in repos if not result.left else ():
        cachemoves.end(repo.common_dir)
    result.absent_trees = [
        tree.top for repo in repos for tree in work_trees(repo) if not tree.is_there and tree.top
    ]
    return result


# -- who uses it -----------------------------------------------------------------------------------


def _users(project: Project, step: Move, request: MoveRequest) -> list[GitRepo]:
    """The repositories that move: this one, and with `everyone` all that use the cache."""
    if request.keep_old:
        return [project.repo]
    at = Project.at(project.repo, project.root, step.source)
    if not request.everyone:
        mine = cacheusers.clone_id(project.repo.common_dir).hex()
        users, broken = cacheusers.users(step.source)
        others = [one.top for one in users if one.clone != mine] + broken
        if others:
            raise ConflictError(
                f"other repositories use the cache {step.source}: {', '.join(others[:5])}",
                "move it for all of them: --everyone; or leave it to them: --keep-old\n"
                "one that is gone for good: dvlite gc --forget DIR",
            )
        return [project.repo]
    return repositories(at)


def projects_of(repo: GitRepo) -> Iterator[Project]:
    """Every project of every work tree that is there."""
    for tree in work_trees(repo):
        if tree.is_there:
            yield from projects_here(GitRepo.discover(tree.top), None).values()


@contextmanager
def _locked(project: Project) -> Iterator[Project]:
    with project.lock():
        yield project


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Keeps gc, and whoever joins packs, out of a cache."""
    with (
        try_lock(os.path.join(folder, "gc.lock"), folder) as first,
        try_lock(os.path.join(folder, "consolidate.lock"), folder) as second,
    ):
        if not (first and second):
            raise LockError(f"another dvlite is at work on {folder}", "wait for it to finish")
        yield


def _register(repo: GitRepo, folder: str) -> None:
    """Before anything of it is there: a gc of that cache has to ask this repository too."""
    if not folder.startswith(repo.common_dir + os.sep):
        cacheusers.register(folder, repo.common_dir, repo.top)


def _unregister(project: Project, folder: str) -> None:
    mine = cacheusers.clone_id(project.repo.common_dir).hex()
    for user in cacheusers.users(folder)[0]:
        if user.clone == mine:
            with suppress(FileNotFoundError):
                os.unlink(user.path)


# -- the steps -------------------------------------------------------------------------------------


def _transfer(source: Cache, target: Cache, result: MoveResult, progress: Progress) -> Transfer:
    result.linked = can_link(source, target)
    result.files, result.size = files, size = amount(source)

    def told(number: int, done: int) -> None:
        progress("moving the cache", number, done, files, size)

    transfer = Transfer(source, target, result.linked, told)
    result.brought = transfer.brought
    return transfer


def _bring(transfer: Transfer) -> None:
    for _ in range(_ROUNDS):
        if not transfer.bring():
            return


def _switch(repo: GitRepo, step: Move) -> None:
    """The setting of a repository; the default place needs none."""
    default = os.path.join(repo.common_dir, "dvlite", "cache")
    path = os.path.join(repo.common_dir, "dvlite", "config.toml")
    chosen = None if step.target == default else step.target
    try:
        edit(path, {"cache.dir": chosen}, committed=False)
    except OSError as error:
        raise StorageError(
            f"cannot change the settings of {repo.top}: {error.strerror}",
            "let its owner move it: dvlite cache move --keep-old there; nothing was taken away",
        ) from error


def _repoint(trees: Sequence[Project], step: Move, result: MoveResult) -> None:
    moved = tuple(os.fsencode(os.path.join(one, "objects")) for one in (step.source, step.target))
    for project in trees:
        paths = [project.absolute(path) for path in tracked_paths(project)]
        done, left = repoint(project.root, scratch_folder(project), paths, (moved[0], moved[1]))
        result.links, result.left = result.links + done, result.left or bool(left)


def tracked_paths(project: Project) -> list[str]:
    """What pointers name, and what checkouts that were interrupted had begun."""
    found: set[str] = set()
    with suppress(DvliteError):
        found.update(project.pointers())
    with suppress(DvliteError):
        base = project.base()
        found.update((*base.entries, *base.begun))
    return sorted(found)


def _empty(source: Cache, target: Cache, result: MoveResult) -> None:
    """Removes the old cache, if the new one has all of it."""
    if result.left or lacking(Cache(source.folder), Cache(target.folder)):
        result.left = True
        return
    take_away(source, target)
    fsync_folder(os.path.dirname(source.folder))
    result.left = any(
        os.path.isdir(os.path.join(source.folder, name)) for name in ("objects", "packs")
    )
