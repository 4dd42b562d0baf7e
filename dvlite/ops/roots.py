"""Which objects a command is about: the pointers of the workspace, of revisions, of history.

Owns turning paths and revisions into roots. A pointer in some old commit may be damaged or of a
newer version; it is set aside with its reason and does not stop the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from dvlite.errors import DvliteError, PathError
from dvlite.githistory import PointerChange, pointer_changes
from dvlite.pipeline.naming import NAMING, is_lock, join, most_bytes, named_by
from dvlite.project import Project
from dvlite.storage.fetched import Wanted
from dvlite.storage.push import Root
from dvlite.workspace import imported
from dvlite.workspace.base import Base
from dvlite.workspace.pointer import Pointer, covering, data_path


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user chose. Nothing chosen means the workspace's pointers."""

    paths: tuple[str, ...] = ()
    revisions: tuple[str, ...] = ()
    all_branches: bool = False
    all_tags: bool = False
    all_commits: bool = False

    @property
    def of_history(self) -> bool:
        """Whether revisions were chosen, so that the workspace does not count."""
        return bool(self.revisions or self.all_branches or self.all_tags or self.all_commits)


@dataclass(frozen=True, slots=True)
class Named:
    """A pointer that something names: its data path, and the revision if it is an old one."""

    path: str
    pointer: Pointer
    inside: str = ""
    revision: str = ""

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.revision}:{self.path}" if self.revision else self.path


@dataclass(slots=True)
class Roots:
    """What was found. `current`: named by the workspace or by a chosen tip; `older`: by commits
    that are about to be pushed."""

    current: list[Named] = field(default_factory=list)
    older: list[Named] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def everything(self) -> list[Named]:
        """Both, the current ones first."""
        return [*self.current, *self.older]


def select(project: Project, selection: Selection) -> Roots:
    """The pointers that a selection names.

    Raises:
        PathError: a path that no pointer tracks. MissingError: no such revision.
    """
    roots = Roots()
    if not selection.of_history:
        roots.current = _at_paths(project.pointers(), selection.paths)
        return roots
    for revision in _tips(project, selection):
        commit = project.repo.resolve(revision)
        pointers = _parse_all(project.pointers_at(commit), revision, roots)
        chosen = _at_paths(pointers, selection.paths, strict=False)
        roots.current += [_of_revision(named, project.repo.short(commit)) for named in chosen]
    if selection.all_commits:
        roots.older = list(_of_commits(project, all_tips(project), [], selection.paths, roots))
        add_imported(project, roots, selection.paths)
    return roots


def add_imported(project: Project, roots: Roots, paths: Sequence[str]) -> None:
    """Adds what stands for another tool's content in old commits (by no path, so with none)."""
    if paths and "" not in paths:
        return
    for name, pointer in imported.load(project.root).items():
        roots.older.append(Named(name, pointer, revision="imported"))


def add_unpublished(project: Project, roots: Roots, paths: Sequence[str]) -> None:
    """Adds what commits of HEAD name that no remote-tracking branch of git has yet."""
    if project.repo.head() is None:
        return
    known = list(project.repo.remote_branches().values())
    roots.older += _of_commits(project, ["HEAD"], known, paths, roots)


def to_roots(named: Iterable[Named]) -> list[Root]:
    """In the words of the storage layer."""
    return [
        Root(item.pointer.kind, item.pointer.oid, item.pointer.size, item.pointer.files, item.label)
        for item in named
    ]


def to_wanted(project: Project, named: Iterable[Named]) -> list[Wanted]:
    """The same for fetching; what the workspace had before helps to fetch less."""
    base = project.base()
    return [
        Wanted(
            item.pointer.kind,
            item.pointer.oid,
            item.pointer.size,
            item.pointer.files,
            item.label,
            item.inside.encode("utf-8", "surrogateescape"),
            _known_oid(base, item.path),
        )
        for item in named
    ]


def _known_oid(base: Base, path: str) -> bytes | None:
    known = base.get(path)
    return known.oid if known is not None else None


def _at_paths(
    pointers: Mapping[str, Pointer], paths: Sequence[str], strict: bool = True
) -> list[Named]:
    if not paths or "" in paths or "." in paths:
        return [Named(path, pointers[path]) for path in sorted(pointers)]
    chosen: dict[tuple[str, str], Named] = {}
    for path in paths:
        path = data_path(path) if path.endswith(".dvl") else path
        found = list(_below(pointers, path))
        if not found and strict:
            raise PathError(
                f"no pointer tracks {path}", "`dvlite status` lists what is tracked; `dvlite add`"
            )
        chosen.update({(item.path, item.inside): item for item in found})
    return [chosen[key] for key in sorted(chosen)]


def _below(pointers: Mapping[str, Pointer], path: str) -> Iterator[Named]:
    cover = covering(pointers, path)
    if cover is not None:
        yield Named(cover[0], pointers[cover[0]], cover[1])
        return
    for tracked in pointers:
        if tracked.startswith(path + "/"):
            yield Named(tracked, pointers[tracked])


def _tips(project: Project, selection: Selection) -> list[str]:
    tips = list(selection.revisions)
    if selection.all_branches:
        tips += project.repo.branches().values()
    if selection.all_tags:
        tips += project.repo.tags().values()
    return tips


def all_tips(project: Project) -> list[str]:
    """Where all history that this clone has begins, a detached HEAD included."""
    repo, head = project.repo, project.repo.head()
    tips = (repo.branches(), repo.remote_branches(), repo.tags())
    return [*(commit for refs in tips for commit in refs.values()), *([head] if head else [])]


def _of_revision(named: Named, short: str) -> Named:
    return Named(named.path, named.pointer, named.inside, short)


def _parse_all(found: Mapping[str, bytes], revision: str, roots: Roots) -> dict[str, Pointer]:
    pointers: dict[str, Pointer] = {}
    for path, data in found.items():
        try:
            named = named_by(path, data, f"{revision}:{path}")
        except DvliteError as error:
            roots.unreadable.append((f"{revision}:{path}", str(error)))
        else:
            pointers.update(join(pointers, named) if is_lock(path) else named)
    return pointers


def _of_commits(
    project: Project, tips: Sequence[str], known: Sequence[str], paths: Sequence[str], roots: Roots
) -> Iterator[Named]:
    """Every pointer that a commit among `tips` and not among `known` brought in."""
    changes = pointer_changes(project.repo, tips, known, NAMING, project.to_git(""))
    return of_changes(project, changes, paths, roots)


def of_changes(
    project: Project, changes: Iterable[PointerChange], paths: Sequence[str], roots: Roots
) -> Iterator[Named]:
    """Every pointer that these changes brought in; what cannot be read is noted in `roots`.

    A lockfile repeats the outputs of the stages that did not change: each content of a path counts
    once, with the newest commit that has it."""
    named: dict[str, tuple[str, str]] = {}
    for change in changes:
        if change.new is not None:
            named.setdefault(change.new, (project.from_git(change.path), change.commit))
    locks = {blob: one for blob, one in named.items() if is_lock(one[0])}
    seen: set[tuple[str, str, bytes]] = set()
    for blobs in (named.keys() - locks.keys(), locks.keys()):
        inside = [blob for blob in named if blob in blobs]
        most = most_bytes(named[inside[0]][0]) if inside else 0
        lacking = set(inside)
        for blob, data in project.repo.read_blobs(inside, most):
            lacking.discard(blob)
            path, commit = named[blob]
            pointers = _parse_all({path: data}, commit[:8], roots)
            for item in _at_paths(pointers, paths, strict=False):
                key = item.path, item.inside, item.pointer.oid
                if key not in seen:
                    seen.add(key)
                    yield _of_revision(item, commit[:8])
        for path, commit in (named[blob] for blob in sorted(lacking)):
            roots.unreadable.append((f"{commit[:8]}:{path}", "git does not have it"))
