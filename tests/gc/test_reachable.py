"""Whatever keeps a commit or a pointer in git keeps its data: each kind of it, in real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from dvlite.errors import CorruptError
from dvlite.gitrepo import GitRepo
from dvlite.ops.reachable import Kept, Reachable, reachable
from dvlite.pipeline import lockfile
from dvlite.storage.oid import hash_bytes
from dvlite.workspace.pointer import Pointer
from tests.repositories import Repository

DAY_S = 24 * 3600
EXIT_PROJECT = 3


def found(repository: Repository, kept: Kept | None = None) -> Reachable:
    return reachable(GitRepo.discover(str(repository.path)), kept)


def contents(repository: Repository, *candidates: bytes, kept: Kept | None = None) -> set[bytes]:
    """Which of these contents of files something names; what dvlite itself remembers of the work
    tree is taken away first, so that only git counts."""
    for base in repository.path.glob(".git/**/dvlite/*/base"):
        base.unlink()
    roots = found(repository, kept).roots()
    return {one for one in candidates if hash_bytes(one) in roots}


def version(repository: Repository, data: bytes, name: str = "model") -> str:
    return repository.add_and_commit({name: data}, name)


def forget_head(repository: Repository) -> None:
    """The last commit is only where the test has put it: no branch, no reflog, no ORIG_HEAD."""
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    repository.git("reflog", "expire", "--expire=now", "--all")
    (repository.path / ".git" / "ORIG_HEAD").unlink()


def test_nothing_keeps_what_only_a_forgotten_commit_named(repository: Repository) -> None:
    version(repository, b"old")
    version(repository, b"forgotten")
    forget_head(repository)
    assert contents(repository, b"old", b"forgotten") == {b"old"}


@pytest.mark.parametrize(
    "words",
    [
        ("branch", "side"),
        ("tag", "v1"),
        ("tag", "-a", "-m", "annotated", "v2"),
        ("update-ref", "refs/remotes/origin/side", "HEAD"),
        ("update-ref", "refs/anything/at/all", "HEAD"),
        ("update-ref", "refs/anything/tree", "HEAD^{tree}"),
        ("worktree", "add", "--detach", "--quiet", "../elsewhere"),
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_every_ref_and_head_keeps_what_it_reaches(
    repository: Repository, words: tuple[str, ...]
) -> None:
    version(repository, b"old")
    version(repository, b"new")
    repository.git(*words)
    forget_head(repository)
    assert contents(repository, b"old", b"new") == {b"old", b"new"}


def test_reflogs_and_every_stash_keep_what_they_name(repository: Repository) -> None:
    version(repository, b"first")
    for data in (b"stash 1", b"stash 2"):
        repository.write({"model": data})
        repository.dvlite("add", "model")
        repository.git("stash", "--quiet")
        repository.dvlite("checkout")
    version(repository, b"amended away")
    repository.write({"model": b"amended"})
    repository.dvlite("add", "model")
    repository.git("commit", "--quiet", "--amend", "-m", "amended")
    all_of_it = (b"first", b"stash 1", b"stash 2", b"amended away", b"amended")
    assert contents(repository, *all_of_it) == set(all_of_it)
    assert contents(repository, *all_of_it, kept=Kept(workspaces_only=True)) == {
        *(b"first", b"stash 1", b"stash 2", b"amended")  # both stashes were made on the first
    }


def test_what_another_work_trees_reflog_index_or_files_name_is_kept(
    repository: Repository,
) -> None:
    version(repository, b"first")
    repository.git("worktree", "add", "--detach", "--quiet", "../elsewhere")
    there = Repository(repository.path.parent / "elsewhere", repository.store)
    there.dvlite("checkout")
    for data in (b"in its reflog", b"its reflog too"):
        version(there, data)
    there.git("reset", "--quiet", "--hard", "HEAD~2")
    there.dvlite("checkout")
    there.write({"model": b"staged"})
    there.dvlite("add", "model")
    repository.write({"model": b"a file"})
    repository.dvlite("add", "model")
    shutil.copy(repository.path / "model.dvl", there.path / "untracked.dvl")
    repository.git("reset", "--quiet", "--hard")
    names = (b"in its reflog", b"its reflog too", b"staged", b"a file")
    assert contents(repository, *names) == set(names)
    os.rename(there.path, there.path.parent / "gone")  # as an unmounted disk
    assert contents(repository, *names) == set(names[:3])
    assert found(repository).absent_trees == [str(there.path)]


def test_a_merge_under_way_keeps_what_it_brings(repository: Repository) -> None:
    version(repository, b"first")
    repository.git("checkout", "--quiet", "-b", "side")
    version(repository, b"theirs")
    other = repository.path.parent / "other.git"
    repository.git("clone", "--quiet", "--bare", ".", str(other))
    repository.git("checkout", "--quiet", "main")
    repository.git("branch", "-D", "side")
    repository.git("reflog", "expire", "--expire=now", "--all")
    assert contents(repository, b"theirs") == set()
    repository.git("fetch", "--quiet", str(other), "side")
    assert contents(repository, b"theirs") == {b"theirs"}


@pytest.mark.parametrize("shown", ["separate", "off", "dense-combined", "first-parent"])
def test_what_a_merge_alone_made_is_found(repository: Repository, shown: str) -> None:
    """Also where the user's settings let `git log` show merges otherwise, or not at all."""
    repository.git("config", "log.diffMerges", shown)
    version(repository, b"first")
    repository.git("checkout", "--quiet", "-b", "side")
    repository.git("commit", "--quiet", "--allow-empty", "-m", "side")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "--no-commit", "side")
    version(repository, b"evil merge")
    version(repository, b"last")
    assert contents(repository, b"evil merge") == {b"evil merge"}


def test_every_project_of_the_repository_counts(own_home: Path, tmp_path: Path) -> None:
    top = tmp_path / "several"
    git = Repository(top, tmp_path / "store")
    subprocess.run(["git", "init", "--quiet", str(top)], check=True)
    for name in ("one", "deep/two"):
        (top / name).mkdir(parents=True)
        project = Repository(top / name, tmp_path / "store")
        project.dvlite("init")
        version(project, name.encode())
    git.git("rm", "-r", "--quiet", "deep")
    git.git("commit", "--quiet", "-m", "the second is gone")
    assert contents(git, b"one", b"deep/two") == {b"one", b"deep/two"}
    use = next(found(git).uses_of([hash_bytes(b"deep/two")]))
    assert use.path == "deep/two/model" and len(use.commits) == 1


def test_base_and_discarded_count_and_the_latter_for_a_while(repository: Repository) -> None:
    version(repository, b"first")
    repository.write({"model": b"edited, never added"})
    repository.dvlite("checkout", "--force")
    assert hash_bytes(b"edited, never added") in found(repository).roots()
    now = os.stat(repository.path).st_mtime + 15 * DAY_S
    later = reachable(GitRepo.discover(str(repository.path)), None, now)
    assert hash_bytes(b"edited, never added") not in later.roots()


def test_old_history_can_be_left_out_and_a_state_of_then_counts(repository: Repository) -> None:
    def at(days: int, data: bytes, name: str = "model") -> None:
        repository.write({name: data})
        repository.dvlite("add", name)
        moment = str(int(now - days * DAY_S))
        repository.git("-c", "user.useConfigOnly=false", "commit", "-qm", "v")
        words = ["commit", "--amend", "-q", "--no-edit", f"--date=@{moment}"]
        os.environ["GIT_COMMITTER_DATE"] = f"@{moment}"
        repository.git(*words)
        del os.environ["GIT_COMMITTER_DATE"]

    now = 4_000_000_000.0
    at(90, b"long ago")
    at(80, b"until lately")
    at(80, b"still there", "other")
    at(5, b"lately")
    at(1, b"now")
    repository.git("reflog", "expire", "--expire=now", "--all")
    for base in repository.path.glob(".git/dvlite/*/base"):
        base.unlink()
    names = (b"long ago", b"until lately", b"still there", b"lately", b"now")

    def kept(days: float) -> set[bytes]:
        roots = reachable(GitRepo.discover(str(repository.path)), Kept(days), now).roots()
        return {one for one in names if hash_bytes(one) in roots}

    assert kept(100) == set(names)
    # at the commit of 5 days ago the state before it was just replaced
    assert kept(30) == set(names) - {b"long ago"}
    assert kept(2) == {b"still there", b"lately", b"now"}
    assert kept(0) == {b"still there", b"now"}


def test_a_shallow_clone_and_a_reflog_of_lost_commits_are_no_obstacle(
    repository: Repository,
) -> None:
    version(repository, b"first")
    version(repository, b"second")
    repository.share()
    shallow = repository.path.parent / "shallow"
    repository.git("clone", "--quiet", "--depth=1", f"file://{repository.path}", str(shallow))
    cut = Repository(shallow, repository.store)
    assert found(cut).shallow and contents(cut, b"first", b"second") == {b"second"}
    version(repository, b"lost")
    lost = repository.git("rev-parse", "HEAD").strip()
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    (repository.path / ".git" / "objects" / lost[:2] / lost[2:]).unlink()
    assert contents(repository, b"first", b"second") == {b"first", b"second"}


def test_history_that_lacks_a_commit_in_the_middle_stops_it(repository: Repository) -> None:
    version(repository, b"first")
    lost = version(repository, b"second")
    version(repository, b"third")
    Path(repository.path, ".git", "objects", lost[:2], lost[2:]).unlink()
    with pytest.raises(CorruptError, match="its own history"):
        found(repository)


def test_what_cannot_be_read_is_told_and_a_newer_format_stops_who_deletes(
    repository: Repository,
) -> None:
    version(repository, b"first")
    repository.write({"bad.dvl": b"nonsense\n"})
    repository.git("add", "bad.dvl")
    repository.commit("bad")
    result = found(repository)
    assert sum("bad.dvl" in what for what, _ in result.unreadable) == 3  # commit, index, file
    result.refuse_uncertain()
    repository.write({"new.dvl": b"dvlite: 2\nnew: yes\n"})
    repository.git("add", "new.dvl")
    repository.commit("newer")
    with pytest.raises(CorruptError, match="may name data"):
        found(repository).refuse_uncertain()


def test_a_partial_clone_whose_remote_is_away_stops_who_deletes(
    repository: Repository, tmp_path: Path
) -> None:
    """git ends amid its answers then: what it did not say is not what nothing names."""
    for data in (b"first", b"second", b"third"):
        version(repository, data)
    repository.share()
    origin = tmp_path / "origin.git"
    repository.git("-C", str(origin), "config", "uploadpack.allowFilter", "true")
    url, path = f"file://{origin}", tmp_path / "partial"
    repository.git("clone", "--quiet", "--filter=blob:none", url, str(path))
    partial = Repository(path, repository.store)
    origin.rename(tmp_path / "away.git")
    with pytest.raises(CorruptError, match="git ended before"):
        found(partial)
    ran = partial.dvlite("push", "--all-commits", code=EXIT_PROJECT)
    assert "git ended before" in ran.err and "a partial clone needs its remote" in ran.err


def test_a_pointer_that_git_has_lost_is_told_and_stops_who_deletes(repository: Repository) -> None:
    commit = version(repository, b"first")
    version(repository, b"second")
    blob = repository.git("rev-parse", f"{commit}:model.dvl").strip()
    (repository.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(CorruptError, match="it may name data"):
        found(repository).refuse_uncertain()
    assert "model.dvl: git does not have it" in repository.dvlite("push", "--all-commits").err


def test_a_damaged_base_stops_who_deletes(repository: Repository) -> None:
    version(repository, b"first")
    next(repository.path.glob(".git/dvlite/*/base")).write_bytes(b"dvlite base 1\nnonsense\n")
    with pytest.raises(CorruptError, match="base"):
        found(repository).refuse_uncertain()


def test_what_stages_made_counts_in_every_version_of_the_lockfile(repository: Repository) -> None:
    def locked(data: bytes) -> None:
        oid, size = hash_bytes(data).hex(), len(data)
        pointer = Pointer("file", bytes.fromhex(oid), size)
        out = lockfile.LockedFile("model", pointer.kind, pointer.oid, pointer.size, cached=True)
        lock = {"train": lockfile.LockedStage(("python train.py",), outs=(out,))}
        repository.write({"dvlite.lock": lockfile.render(lock)})
        repository.git("add", "dvlite.lock")

    for data in (b"first model", b"second model"):
        locked(data)
        repository.commit("run")
    locked(b"staged model")
    names = (b"first model", b"second model", b"staged model")
    assert contents(repository, *names) == set(names)
    uses = list(found(repository).uses_of([hash_bytes(b"first model")]))
    assert [(use.path, use.where, len(use.commits)) for use in uses] == [("model", "history", 1)]
    assert contents(repository, *names, kept=Kept(workspaces_only=True)) == set(names[1:])
    repository.write({"dvlite.lock": b"dvlite: 2\nstages:\n"})
    with pytest.raises(CorruptError, match="may name data"):
        found(repository).refuse_uncertain()
