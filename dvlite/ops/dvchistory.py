"""What DVC tracked in old commits: the names of content that `import-dvc --history` maps."""

from __future__ import annotations

from dataclasses import dataclass

from dvlite.errors import CorruptError
from dvlite.githistory import pointer_changes
from dvlite.ops.importing import ImportResult
from dvlite.ops.roots import all_tips
from dvlite.project import Project
from dvlite.workspace.dvcfiles import LOCKFILE, PIPELINE, SUFFIX, ForeignName, read_any
from dvlite.workspace.yamltext import MAX_BYTES


@dataclass(frozen=True, slots=True)
class Version:
    """Content that a commit named; the first that was found. `locked`: a `dvc.lock` did."""

    name: ForeignName
    path: str
    source: str
    commit: str

    @property
    def locked(self) -> bool:
        """Whether a `dvc.lock` names it, which also names what DVC does not keep."""
        return self.source.endswith(LOCKFILE)


def old_versions(project: Project, result: ImportResult) -> list[Version]:
    """Every content that a commit of any branch or tag names, each once. Files that cannot be
    read are reported."""
    blobs: dict[str, tuple[str, str]] = {}
    tips, prefix = all_tips(project), project.to_git("")
    for suffix in (SUFFIX, LOCKFILE):
        for change in pointer_changes(project.repo, tips, [], suffix, prefix):
            if change.new is not None:
                blobs.setdefault(change.new, (change.path, change.commit))
    found: dict[str, Version] = {}
    for blob, data in project.repo.read_blobs(blobs, MAX_BYTES):
        git_path, commit = blobs[blob]
        path = project.from_git(git_path)
        try:
            outs = read_any(data, path)
        except CorruptError as error:
            result.left.append((f"{commit[:10]}:{path}", str(error)))
            continue
        for out in outs:
            if out.name is not None and out.cached and not out.problem:
                found.setdefault(out.name.text, Version(out.name, out.path, path, commit))
    return list(found.values())


def is_kept_elsewhere(project: Project, version: Version) -> bool:
    """Whether DVC did not keep a lockfile's output: git did (a metric), or nobody."""
    if not version.locked:
        return False
    repo, commit = project.repo, version.commit
    if repo.read_file(commit, project.to_git(version.path)) is not None:
        return True
    folder = version.source.rpartition("/")[0]
    pipeline = repo.read_file(commit, project.to_git(f"{folder}/{PIPELINE}".lstrip("/")))
    lock = repo.read_file(commit, project.to_git(version.source))
    outs = read_any(lock or b"", version.source, pipeline)
    return any(out.path == version.path and not out.cached for out in outs)
