"""Data goes before commits: what `git push` waits for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dvlite.ops.install import install
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.hooks.conftest import bare_environment
from tests.repositories import Repository


def remote_has(repository: Repository, *revisions: str) -> bool:
    words = [word for revision in revisions for word in ("--rev", revision)]
    found = repository.dvlite("push", "--dry-run", *words).out
    return "everything is on" in found


def change(repository: Repository, name: str, data: bytes) -> str:
    return repository.add_and_commit({name: data}, name.split("/")[0])


def drop_store(repository: Repository) -> None:
    """Where the remote was is a file now: nobody can make a new one there."""
    shutil.rmtree(repository.store)
    repository.store.write_text("gone")


def test_the_data_goes_first(hooked: Repository) -> None:
    first = change(hooked, "model", b"two")
    second = change(hooked, "model", b"three")
    told = git(hooked, "push", env=bare_environment())
    assert told.code == 0 and "pushed to store: 2 new files" in told.err
    assert remote_has(hooked, first, second)


def test_only_what_the_commits_name_goes(hooked: Repository) -> None:
    hooked.git("checkout", "--quiet", "-b", "other")
    other = change(hooked, "model", b"unfinished")
    hooked.git("checkout", "--quiet", "main")
    change(hooked, "data/c", b"c")
    hooked.git("push", "--quiet")
    assert not remote_has(hooked, other)


def test_a_push_without_pointers_asks_no_remote(hooked: Repository) -> None:
    drop_store(hooked)
    hooked.write({"code.py": b"more\n"})
    hooked.commit()
    assert git(hooked, "push").code == 0


def test_a_remote_that_is_down_stops_the_push(hooked: Repository) -> None:
    new = change(hooked, "model", b"two")
    drop_store(hooked)
    told = git(hooked, "push")
    assert told.code == 1 and "error: " in told.err
    assert "git push --no-verify pushes the commits without their data" in told.err
    assert new not in hooked.git("ls-remote", "origin")
    hooked.git("push", "--quiet", "--no-verify")
    assert new in hooked.git("ls-remote", "origin")


def test_a_remote_that_was_there_is_not_made_anew(hooked: Repository) -> None:
    """Where a disk is not mounted is an empty folder, or none."""
    change(hooked, "model", b"two")
    shutil.rmtree(hooked.store)
    told = git(hooked, "push")
    assert told.code == 1 and "the remote store is gone from" in told.err
    hooked.store.mkdir()
    assert git(hooked, "push").code == 1
    refused = hooked.dvlite("push", code=None)
    assert refused.code == 7 and "dvlite push --all-commits" in refused.err
    assert hooked.dvlite("push", "--dry-run", code=None).code == 7
    assert not os.listdir(hooked.store)
    hooked.dvlite("push", "--all-commits", "--dry-run")
    assert not os.listdir(hooked.store)
    hooked.dvlite("push", "--all-commits")
    assert git(hooked, "push").code == 0


def test_content_that_is_nowhere_stops_the_push(hooked: Repository) -> None:
    change(hooked, "model", b"two")
    shutil.rmtree(hooked.path / ".git" / "dvlite" / "cache")
    told = git(hooked, "push")
    assert told.code == 1 and "neither in the cache nor on the remote" in told.err


def test_a_project_without_a_remote_stops_the_push(hooked: Repository) -> None:
    hooked.dvlite("remote", "remove", "store")
    change(hooked, "model", b"two")
    told = git(hooked, "push")
    assert told.code == 1 and "dvlite remote add" in told.err and "--no-verify" in told.err


def test_a_new_branch_and_tags(hooked: Repository) -> None:
    hooked.git("checkout", "--quiet", "-b", "new")
    new = change(hooked, "model", b"two")
    assert "1 new file" in git(hooked, "push", "origin", "new").err
    hooked.git("checkout", "--quiet", "--detach")
    tagged = change(hooked, "model", b"three")
    hooked.git("tag", "-a", "-m", "v1", "v1")
    assert "1 new file" in git(hooked, "push", "origin", "v1").err
    light = change(hooked, "model", b"four")
    hooked.git("tag", "v2")
    assert "1 new file" in git(hooked, "push", "--tags").err
    assert remote_has(hooked, new, tagged, light)


@pytest.mark.parametrize("what", ["HEAD^{/new model of mine}", "HEAD", "a\u2028b"])
def test_what_is_pushed_may_be_named_in_any_way(hooked: Repository, what: str) -> None:
    """git tells the hook what the user typed, spaces and all; a branch may hold what ends lines."""
    hooked.write({"model": b"two"})
    hooked.dvlite("add", "model")
    new = hooked.commit("new model of mine")
    hooked.git("branch", "a\u2028b")
    assert "1 new file" in git(hooked, "push", "origin", f"{what}:refs/heads/b\u2029c").err
    assert remote_has(hooked, new)
    assert "everything is on" in hooked.dvlite("push", "--all-branches").out


def test_tags_of_no_commit_are_let_through(hooked: Repository) -> None:
    hooked.git("tag", "tree", "HEAD^{tree}")
    hooked.git("tag", "blob", "HEAD:model.dvl")
    assert git(hooked, "push", "origin", "tree", "blob").code == 0


def test_a_deleted_ref_brings_nothing(hooked: Repository) -> None:
    hooked.git("push", "--quiet", "origin", "main:gone")
    drop_store(hooked)
    change(hooked, "model", b"two")
    assert git(hooked, "push", "origin", ":gone").code == 0
    told = git(hooked, "push", "--delete", "origin", "gone")
    assert told.code == 1 and "remote ref does not exist" in told.err


def test_a_forced_push(hooked: Repository, cloned: Callable[[str], Repository]) -> None:
    """The commit that is replaced may be one that this clone has never seen."""
    other = cloned("other")
    change(other, "data/c", b"theirs")
    other.git("push", "--quiet")
    mine = change(hooked, "data/c", b"mine")
    told = git(hooked, "push", "--force")
    assert told.code == 0 and "1 new file" in told.err
    assert remote_has(hooked, mine)
    amended = {"data/c": b"amended"}
    hooked.write(amended)
    hooked.dvlite("add", "data")
    hooked.git("commit", "--quiet", "--amend", "--no-edit")
    assert "1 new file" in git(hooked, "push", "--force").err


def test_all_refs_of_a_push(hooked: Repository) -> None:
    commits = []
    for name in ("one", "two"):
        hooked.git("checkout", "--quiet", "-b", name, "main")
        commits.append(change(hooked, "model", name.encode() * 2))
    assert git(hooked, "push", "origin", "one", "two", ":refs/heads/none").code == 0
    assert remote_has(hooked, *commits)


def test_a_result_that_only_a_merge_has(hooked: Repository) -> None:
    for name, data in (("ours", b"ours"), ("theirs", b"theirs")):
        hooked.git("checkout", "--quiet", "-b", name, "main")
        change(hooked, "model", data)
    git(hooked, "merge", "ours")
    hooked.dvlite("resolve", "--ours", "model")
    hooked.write({"model": b"neither"})
    hooked.dvlite("add", "model")
    hooked.commit("merged")
    assert "3 new files" in git(hooked, "push", "origin", "theirs").err


def test_a_shallow_clone(hooked: Repository, program: str) -> None:
    for text in (b"two", b"three"):
        change(hooked, "model", text)
    hooked.git("push", "--quiet")
    place = hooked.path.parent / "shallow"
    url = f"file://{hooked.path.parent / 'origin.git'}"
    hooked.git("clone", "--quiet", "--depth", "1", url, str(place))
    shallow = Repository(place, hooked.store)
    install(Project.open(str(place)), program)
    shallow.dvlite("pull")
    change(shallow, "data/c", b"c")
    assert "pushed to store: 1 new file" in git(shallow, "push").err


def test_another_git_remote(hooked: Repository, tmp_path: Path) -> None:
    hooked.git("init", "--quiet", "--bare", str(tmp_path / "fork.git"))
    new = change(hooked, "model", b"two")
    assert git(hooked, "push", str(tmp_path / "fork.git"), "main").code == 0
    assert remote_has(hooked, new)
    hooked.git("remote", "add", "fork", str(tmp_path / "fork.git"))
    assert git(hooked, "push", "fork", "main").code == 0


def test_lost_data_of_other_peoples_commits_is_not_ours_to_bring(
    hooked: Repository, tmp_path: Path
) -> None:
    """They are on another remote of git already."""
    change(hooked, "model", b"lost")
    hooked.git("push", "--quiet", "--no-verify")
    shutil.rmtree(hooked.path / ".git" / "dvlite" / "cache")
    mine = change(hooked, "data/c", b"c")
    hooked.git("init", "--quiet", "--bare", str(tmp_path / "fork.git"))
    hooked.git("remote", "add", "fork", str(tmp_path / "fork.git"))
    told = git(hooked, "push", "fork", "main")
    assert told.code == 0 and "neither here nor on the remote: 1 object" in told.err
    assert mine in hooked.git("ls-remote", "fork")


def test_a_project_that_only_another_branch_has(hooked: Repository) -> None:
    new = change(hooked, "model", b"two")
    hooked.git("branch", "data")
    hooked.git("checkout", "--quiet", "--orphan", "docs")
    hooked.git("rm", "-r", "--quiet", "--cached", ".")
    shutil.rmtree(hooked.path / ".dvlite")
    hooked.write({"readme": b"docs"})
    hooked.git("add", "readme")
    hooked.git("commit", "--quiet", "-m", "docs")
    told = git(hooked, "push", "origin", "data")
    assert told.code == 0 and "pushed to store: 1 new file" in told.err
    hooked.git("checkout", "--quiet", "--force", "data")
    assert remote_has(hooked, new)


def test_a_project_in_a_folder_and_one_beside_it(
    hooked: Repository, program: str, tmp_path: Path
) -> None:
    """Each goes to its own remote."""
    folder = tmp_path / "several"
    folder.mkdir()
    several = Repository(folder, hooked.store)
    several.git("init", "--quiet")
    several.git("init", "--quiet", "--bare", str(tmp_path / "several.git"))
    several.git("remote", "add", "origin", str(tmp_path / "several.git"))
    for name in ("one", "two"):
        (folder / name).mkdir()
        several.dvlite("-C", name, "init")
        several.dvlite("-C", name, "remote", "add", "store", f"../../store-{name}", "--default")
        several.write({f"{name}/data": name.encode()})
        several.dvlite("-C", name, "add", "data")
    several.commit()
    install(Project.open(str(folder / "two")), program)
    told = git(several, "push", "origin", "main")
    assert told.code == 0
    for name in ("one", "two"):
        assert f"{name}: pushed to store: 1 new file" in told.err
        assert "everything is on" in several.dvlite("-C", name, "status", "--remote").out


def test_what_stands_for_another_tools_content_goes_too(hooked: Repository) -> None:
    """Old commits name it; the mapping that says so is committed once."""
    hooked.add_and_commit({"old": b"content of old"}, "old")
    pointer = dict(line.split(": ") for line in hooked.read("old.dvl").decode().splitlines())
    hooked.git("reset", "--quiet", "--hard", "HEAD~1")
    line = f"md5:{'0' * 32} file {pointer['oid']} {pointer['size']} 1"
    hooked.write({".dvlite/imported": f"dvlite imported 1\n{line}\n".encode()})
    hooked.git("add", ".dvlite/imported")
    hooked.commit("the mapping")
    told = git(hooked, "push")
    assert told.code == 0 and "pushed to store: 1 new file" in told.err


def test_what_another_branch_maps_goes_though_it_is_not_checked_out(hooked: Repository) -> None:
    hooked.add_and_commit({"old": b"content of old"}, "old")
    pointer = dict(line.split(": ") for line in hooked.read("old.dvl").decode().splitlines())
    hooked.git("reset", "--quiet", "--hard", "HEAD~1")
    hooked.git("checkout", "--quiet", "-b", "importing")
    line = f"md5:{'0' * 32} file {pointer['oid']} {pointer['size']} 1"
    hooked.write({".dvlite/imported": f"dvlite imported 1\n{line}\n".encode()})
    hooked.git("add", ".dvlite/imported")
    hooked.commit("the mapping")
    hooked.git("checkout", "--quiet", "main")
    assert "1 new file" in git(hooked, "push", "origin", "importing").err


def test_a_place_that_is_new_is_not_pushed_to_unasked(hooked: Repository, tmp_path: Path) -> None:
    hooked.set_remote(str(tmp_path / "elsewhere"))
    change(hooked, "model", b"two")
    told = git(hooked, "push")
    assert told.code == 1 and "dvlite push --yes" in told.err
    assert not os.path.exists(tmp_path / "elsewhere")


def test_a_pointer_that_cannot_be_read_is_told(hooked: Repository) -> None:
    hooked.write({"odd.dvl": b"dvlite: 1\nkind: nonsense\n"})
    hooked.git("add", "odd.dvl")
    hooked.commit()
    told = git(hooked, "push")
    assert told.code == 0 and "odd.dvl" in told.err


@pytest.mark.parametrize("how", ["--no-verify", "DVLITE_SKIP_HOOKS"])
def test_skipping(hooked: Repository, how: str) -> None:
    new = change(hooked, "model", b"two")
    if how == "--no-verify":
        hooked.git("push", "--quiet", how)
    else:
        assert git(hooked, "push", env={how: "1"}).code == 0
    assert not remote_has(hooked, new)
