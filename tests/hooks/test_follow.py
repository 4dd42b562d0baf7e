"""The data follows git: checkouts, merges, rebases, and what runs no hook."""

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

ONE = {"a": b"a", "b": b"b"}


def files(repository: Repository, name: str = "data") -> dict[str, bytes]:
    folder = repository.path / name
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def in_step(repository: Repository) -> bool:
    return repository.dvlite("status", "--exit-code", "-q", code=None).code == 0


def change(repository: Repository, name: str, data: bytes) -> str:
    return repository.add_and_commit({name: data}, name.split("/")[0])


def branch(repository: Repository, name: str, start: str = "main") -> None:
    repository.git("checkout", "--quiet", "-b", name, start)


def test_a_checkout_of_a_branch_and_back(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    change(hooked, "model", b"two")
    hooked.git("checkout", "--quiet", "main")
    assert files(hooked) == ONE and hooked.read("model") == b"one" and in_step(hooked)
    told = git(hooked, "checkout", "-", env=bare_environment())
    assert told.code == 0 and "data, model followed git: 2 files written" in told.err
    assert files(hooked) == {"a": b"a", "b": b"other"} and hooked.read("model") == b"two"


def test_a_path_that_one_branch_lacks_comes_and_goes(hooked: Repository) -> None:
    branch(hooked, "more")
    change(hooked, "extra/x", b"x")
    hooked.git("checkout", "--quiet", "main")
    assert not (hooked.path / "extra").exists()
    hooked.git("checkout", "--quiet", "more")
    assert files(hooked, "extra") == {"x": b"x"}
    told = git(hooked, "checkout", "--quiet", "main")
    assert told.err == "dvlite: extra followed git: 1 file removed\n"


@pytest.mark.parametrize("name", ["model", "data"])
def test_what_git_itself_has_on_one_branch_is_left_to_git(hooked: Repository, name: str) -> None:
    """The same bytes as the pointer's: they look like what dvlite put there."""
    before = {path: hooked.read(path) for path in ("model", "data/a", "data/b")}
    branch(hooked, "plain")
    hooked.git("rm", "--quiet", f"{name}.dvl")
    hooked.git("add", "--force", name)
    told = git(hooked, "commit", "--quiet", "-m", "plain")
    for _ in range(2):
        assert "removed" not in told.err and not hooked.git("status", "--porcelain")
        assert {path: hooked.read(path) for path in before} == before
        hooked.git("checkout", "--quiet", "main")
        assert {path: hooked.read(path) for path in before} == before and in_step(hooked)
        told = git(hooked, "checkout", "--quiet", "plain")
    assert "left" not in hooked.dvlite("checkout").out
    assert {path: hooked.read(path) for path in before} == before


def test_files_that_only_go_are_told(hooked: Repository) -> None:
    branch(hooked, "less")
    (hooked.path / "data/b").unlink()
    hooked.dvlite("add", "data")
    hooked.commit("less")
    hooked.git("checkout", "--quiet", "main")
    told = git(hooked, "checkout", "--quiet", "less")
    assert told.err == "dvlite: data followed git: 1 file removed\n"
    assert files(hooked) == {"a": b"a"}


def test_a_pointer_that_git_moved_and_nothing_ignores_is_told(hooked: Repository) -> None:
    hooked.git("mv", "model.dvl", "renamed.dvl")
    told = git(hooked, "commit", "--quiet", "-m", "moved")
    assert "git does not ignore renamed\nhint: dvlite add renamed\n" in told.err
    hooked.dvlite("add", "renamed")
    assert hooked.git("status", "--porcelain") == "M  .gitignore\n"


def test_projects_beside_each_other_are_named(hooked: Repository, tmp_path: Path) -> None:
    place = tmp_path / "several"
    place.mkdir()
    several = Repository(place, hooked.store)
    several.git("init", "--quiet")
    for name in ("one", "two"):
        (place / name).mkdir()
        several.dvlite("-C", name, "init")
        several.write({f"{name}/model": b"1"})
        several.dvlite("-C", name, "add", "model")
    install(Project.open(str(place / "one")), hooked.git("config", "dvlite.program").strip())
    several.commit()
    several.write({"one/model": b"2", "two/model": b"3"})
    for name in ("one", "two"):
        several.dvlite("-C", name, "add", "model")
    several.commit()
    told = git(several, "checkout", "--quiet", "HEAD~1").err
    assert "one/model followed git" in told and "two/model followed git" in told
    shutil.rmtree(place / ".git/dvlite/cache")
    told = git(several, "-C", "one", "checkout", "--quiet", "main").err
    assert "warning: model was left as it is" in told
    assert "warning: ../two/model was left as it is" in told
    assert "hint: dvlite -C ../two add PATH keeps it" in told


def test_a_project_that_git_moves_takes_its_data_along(hooked: Repository, tmp_path: Path) -> None:
    place = tmp_path / "moving"
    (place / "deep/one").mkdir(parents=True)
    moving = Repository(place, hooked.store)
    moving.git("init", "--quiet")
    moving.dvlite("-C", "deep/one", "init")
    moving.write({"deep/one/data/a": b"1"})
    moving.dvlite("-C", "deep/one", "add", "data")
    moving.dvlite("install")
    moving.commit()
    moving.git("mv", "deep/one", "deep/two")
    moving.commit("moved")
    assert moving.read("deep/two/data/a") == b"1" and not (place / "deep/one").exists()
    moving.git("checkout", "--quiet", "HEAD~1")
    assert moving.read("deep/one/data/a") == b"1" and not (place / "deep/two").exists()


def test_a_checkout_of_files(hooked: Repository) -> None:
    before = hooked.git("rev-parse", "HEAD").strip()
    change(hooked, "data/b", b"new")
    hooked.git("checkout", "--quiet", before, "--", "data.dvl")
    assert files(hooked) == ONE
    hooked.git("restore", "--source=HEAD", "--staged", "--worktree", "data.dvl")
    assert files(hooked) == {"a": b"a", "b": b"new"} and in_step(hooked)


def test_a_checkout_of_files_brings_a_new_path(hooked: Repository) -> None:
    branch(hooked, "more")
    change(hooked, "extra/x", b"x")
    hooked.git("checkout", "--quiet", "main")
    hooked.git("checkout", "--quiet", "more", "--", "extra.dvl")
    assert files(hooked, "extra") == {"x": b"x"}


@pytest.mark.parametrize("how", ["a branch without a project", "no commits"])
def test_a_branch_without_the_project(hooked: Repository, how: str) -> None:
    """The data goes, or `git add` would put it into git there; edits stay."""
    if how == "no commits":
        hooked.write({"data/a": b"edit"})
        hooked.git("switch", "--quiet", "--orphan", "docs")
    else:
        hooked.git("checkout", "--quiet", "--orphan", "docs")
        hooked.git("rm", "-r", "--quiet", "--force", ".")
        hooked.write({"page": b"page"})
        hooked.git("add", "page")
        hooked.git("commit", "--quiet", "--no-verify", "-m", "docs")
        hooked.git("checkout", "--quiet", "main")
        hooked.dvlite("checkout")
        hooked.write({"data/a": b"edit"})
        hooked.git("checkout", "--quiet", "docs")
    assert not (hooked.path / "model").exists()
    assert files(hooked)["a"] == b"edit"
    assert not (hooked.path / ".dvlite" / "config.toml").exists()
    hooked.git("checkout", "--quiet", "main")
    assert files(hooked) == {"a": b"edit", "b": b"b"} and hooked.read("model") == b"one"


def test_edits_stay_and_the_rest_follows(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    change(hooked, "model", b"two")
    hooked.write({"data/a": b"edit", "model": b"my edit"})
    told = git(hooked, "checkout", "main")
    assert told.code == 0
    assert hooked.read("model") == b"my edit" and files(hooked) == {"a": b"edit", "b": b"b"}
    assert "model was left as it is: it has edits that are not added" in told.err
    assert "your edits in data are kept" in told.err


def test_a_path_with_something_in_the_way_does_not_stop_the_others(hooked: Repository) -> None:
    """Ignored, so it is in no plan: it shows when the file is to be made."""
    branch(hooked, "other")
    change(hooked, "data/a.log", b"theirs")
    change(hooked, "model", b"two")
    hooked.git("checkout", "--quiet", "main")
    hooked.write({".dvliteignore": b"*.log\n", "data/a.log": b"mine"})
    told = git(hooked, "checkout", "--quiet", "other")
    assert "a.log is in the way" in told.err
    assert hooked.read("data/a.log") == b"mine" and hooked.read("model") == b"two"


def test_the_only_copy_stays(hooked: Repository) -> None:
    """Somebody removed the cache, or it was on a disk that is gone."""
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    change(hooked, "extra/x", b"x")
    change(hooked, "model", b"two")
    hooked.add_and_commit({"single": b"x"}, "single")
    cache = hooked.path / ".git" / "dvlite" / "cache"
    cache.rename(cache.with_name("away"))
    told = git(hooked, "checkout", "main")
    assert told.code == 0
    for name in ("extra", "single"):
        assert f"{name} was left as it is: what was there before is neither in" in told.err
    assert files(hooked) == {"a": b"a", "b": b"other"} and files(hooked, "extra") == {"x": b"x"}
    assert hooked.read("model") == b"two" and hooked.read("single") == b"x"
    os.rename(cache.with_name("away"), cache)
    hooked.dvlite("checkout")
    assert files(hooked) == ONE and not (hooked.path / "single").exists()


def test_what_the_cache_lacks_is_named(
    hooked: Repository, cloned: Callable[..., Repository]
) -> None:
    other = cloned("other")
    change(hooked, "data/c", b"c")
    hooked.git("push", "--quiet")
    told = git(other, "pull")
    assert told.code == 0 and "not in the cache: data (" in told.err
    assert "hint: dvlite pull" in told.err
    assert files(other) == ONE


def test_what_the_cache_lacks_is_fetched_where_set(
    hooked: Repository, cloned: Callable[..., Repository]
) -> None:
    other = cloned("other")
    other.dvlite("config", "--local", "core.fetch_on_checkout", "true")
    change(hooked, "data/c", b"c")
    hooked.git("push", "--quiet")
    other.git("pull", "--quiet")
    assert files(other) == {**ONE, "c": b"c"} and in_step(other)
    change(hooked, "data/d", b"d")
    hooked.git("push", "--quiet")
    os.rename(hooked.store, str(hooked.store) + "-gone")
    told = git(other, "pull")
    assert told.code == 0 and "could not be fetched" in told.err


def test_what_was_never_pulled_is_left_out(hooked: Repository, program: str) -> None:
    other = hooked.clone("other")
    install(Project.open(str(other.path)), program)
    other.dvlite("pull", "model")
    change(hooked, "data/c", b"c")
    change(hooked, "model", b"two")
    hooked.git("push", "--quiet")
    other.dvlite("config", "--local", "core.fetch_on_checkout", "true")
    told = git(other, "pull")
    assert not (other.path / "data").exists() and "data" not in told.err.replace("data.dvl", "")
    assert other.read("model") == b"two"


def test_a_merge(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    hooked.git("checkout", "--quiet", "main")
    change(hooked, "model", b"two")
    hooked.git("merge", "--quiet", "--no-edit", "other")
    assert files(hooked) == {"a": b"a", "b": b"other"} and hooked.read("model") == b"two"
    assert in_step(hooked)


def test_a_squashed_merge(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    change(hooked, "extra/x", b"x")
    hooked.git("checkout", "--quiet", "main")
    hooked.git("merge", "--squash", "other")
    assert files(hooked) == {"a": b"a", "b": b"other"} and files(hooked, "extra") == {"x": b"x"}


def test_a_merge_with_a_conflict_elsewhere(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    hooked.write({"code.py": b"theirs\n"})
    hooked.commit()
    hooked.git("checkout", "--quiet", "main")
    hooked.write({"code.py": b"ours\n"})
    hooked.commit()
    assert git(hooked, "merge", "--no-edit", "other").code == 1
    hooked.git("checkout", "--quiet", "--ours", "code.py")
    hooked.git("add", "code.py")
    hooked.git("commit", "--quiet", "--no-edit")
    assert files(hooked) == {"a": b"a", "b": b"other"} and in_step(hooked)


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_a_rebase_is_followed_at_its_end(hooked: Repository, backend: str) -> None:
    branch(hooked, "other")
    change(hooked, "model", b"two")
    change(hooked, "extra/x", b"x")
    hooked.git("checkout", "--quiet", "main")
    change(hooked, "data/b", b"main")
    hooked.git("checkout", "--quiet", "other")
    told = git(hooked, "rebase", backend, "main")
    assert told.code == 0 and (backend == "--apply" or told.err.count("followed git") == 1)
    assert files(hooked) == {"a": b"a", "b": b"main"} and hooked.read("model") == b"two"
    assert files(hooked, "extra") == {"x": b"x"} and in_step(hooked)


def test_a_rebase_that_only_goes_forward(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    hooked.git("checkout", "--quiet", "main")
    hooked.git("rebase", "--quiet", "other")
    assert files(hooked) == {"a": b"a", "b": b"other"} and in_step(hooked)


def test_an_aborted_rebase_leaves_the_data_as_it_was(hooked: Repository) -> None:
    branch(hooked, "other")
    hooked.write({"code.py": b"theirs\n"})
    hooked.commit()
    change(hooked, "data/b", b"other")
    hooked.git("checkout", "--quiet", "main")
    hooked.write({"code.py": b"ours\n"})
    hooked.commit()
    change(hooked, "model", b"two")
    hooked.git("checkout", "--quiet", "other")
    assert git(hooked, "rebase", "main").code == 1
    hooked.git("rebase", "--abort")
    assert files(hooked) == {"a": b"a", "b": b"other"} and hooked.read("model") == b"one"
    assert in_step(hooked)


def test_a_cherry_pick_and_a_revert(hooked: Repository) -> None:
    branch(hooked, "other")
    picked = change(hooked, "data/b", b"other")
    hooked.git("checkout", "--quiet", "main")
    change(hooked, "model", b"two")
    hooked.git("cherry-pick", picked)
    assert files(hooked) == {"a": b"a", "b": b"other"} and in_step(hooked)
    hooked.git("revert", "--no-edit", "HEAD")
    assert files(hooked) == ONE and hooked.read("model") == b"two" and in_step(hooked)


def test_an_amended_commit(hooked: Repository) -> None:
    change(hooked, "data/b", b"new")
    hooked.write({"data/b": b"newer"})
    hooked.dvlite("add", "data")
    told = git(hooked, "commit", "--amend", "--no-edit")
    assert told.code == 0 and "dvlite" not in told.err
    assert files(hooked) == {"a": b"a", "b": b"newer"} and in_step(hooked)


def test_a_stash_runs_no_hook_and_status_and_checkout_know(hooked: Repository) -> None:
    hooked.write({"data/b": b"stashed"})
    hooked.dvlite("add", "data")
    hooked.git("stash")
    assert files(hooked) == {"a": b"a", "b": b"stashed"}
    status = hooked.dvlite("status").out
    assert "data: its pointer has news (dvlite checkout)" in status
    hooked.dvlite("checkout")
    assert files(hooked) == ONE and in_step(hooked)
    hooked.git("stash", "pop")
    assert not in_step(hooked)
    hooked.dvlite("checkout")
    assert files(hooked) == {"a": b"a", "b": b"stashed"} and in_step(hooked)


def test_a_new_work_tree_gets_its_data(hooked: Repository, tmp_path: Path) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    place = tmp_path / "second"
    hooked.git("worktree", "add", "--quiet", str(place), "main")
    second = Repository(place, hooked.store)
    assert files(second) == ONE and second.read("model") == b"one" and in_step(second)
    second.git("checkout", "--quiet", "--detach", "other")
    assert files(second) == {"a": b"a", "b": b"other"}
    assert files(hooked) == {"a": b"a", "b": b"other"} and in_step(hooked)


def test_nothing_is_done_where_no_pointer_differs(hooked: Repository) -> None:
    branch(hooked, "other")
    hooked.write({"code.py": b"more\n"})
    hooked.commit()
    base = hooked.path / ".git" / "dvlite" / "top" / "base"
    base.write_bytes(b"damaged")
    told = git(hooked, "checkout", "main")
    assert told.code == 0 and "damaged" not in told.err


def test_trouble_is_told_and_does_not_stop_git(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    (hooked.path / ".git" / "dvlite" / "top" / "base").write_bytes(b"damaged")
    told = git(hooked, "checkout", "main")
    assert told.code == 0 and "error: " in told.err and "base is damaged" in told.err
    assert hooked.git("branch", "--show-current").strip() == "main"


def test_skipping(hooked: Repository) -> None:
    branch(hooked, "other")
    change(hooked, "data/b", b"other")
    told = git(hooked, "checkout", "main", env={"DVLITE_SKIP_HOOKS": "1"})
    assert told.code == 0 and files(hooked) == {"a": b"a", "b": b"other"}
    hooked.dvlite("checkout")
    assert files(hooked) == ONE
