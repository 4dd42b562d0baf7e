"""git merges pointers by what they name: real branches, merged by git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from dvlite.ops.drivers import install_drivers
from dvlite.project import Project
from dvlite.storage.oid import hash_bytes
from tests.drivers.conftest import git
from tests.repositories import Repository

Files = Mapping[str, bytes | None]
CONFLICT = 5
FIVE = {f"data/{name}": name.encode() for name in ("a", "b", "c", "sub/d", "sub/e")}


def put(r: Repository, files: Files) -> None:
    """Writes files, or removes them (None)."""
    for name, data in files.items():
        if data is None:
            (r.path / name).unlink()
        else:
            r.write({name: data})


def on_branch(r: Repository, branch: str, files: Files, start: str = "base") -> None:
    """A branch with one commit that has these changes."""
    r.git("checkout", "--quiet", "-B", branch, start)
    r.dvlite("checkout")
    put(r, files)
    r.dvlite("add", "-u")
    r.commit(branch)


def branches(r: Repository, ours: Files, theirs: Files, base: Files = FIVE) -> None:
    """`base`, and from it `ours` and `theirs`; the workspace is at `ours`."""
    put(r, base)
    r.dvlite("add", *sorted({name.partition("/")[0] for name in base}))
    r.commit("base")
    r.git("branch", "--force", "base")
    on_branch(r, "theirs", theirs)
    on_branch(r, "ours", ours)


def files(r: Repository) -> dict[str, bytes]:
    """What the workspace has in `data`, after a checkout."""
    r.dvlite("checkout")
    root = r.path / "data"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def unmerged(r: Repository) -> list[str]:
    return sorted({line.split("\t")[1] for line in r.git("ls-files", "-u").splitlines()})


OURS: Files = {"data/a": b"ours", "data/b": None, "data/new": b"n", "data/sub/o": b"o"}
THEIRS: Files = {"data/c": b"theirs", "data/sub/e": None, "data/other": b"t", "data/x/y": b"y"}
BOTH = {"a": b"ours", "c": b"theirs", "new": b"n", "other": b"t"}
BOTH |= {"sub/d": b"sub/d", "sub/o": b"o", "x/y": b"y"}


def merge(r: Repository) -> int:
    return git(r, "merge", "--quiet", "-m", "merged", "theirs").code


def rebase(r: Repository) -> int:
    return git(r, "rebase", "--quiet", "theirs").code


def cherry_pick(r: Repository) -> int:
    return git(r, "cherry-pick", "theirs").code


def revert_of_a_revert(r: Repository) -> int:
    r.git("checkout", "--quiet", "theirs")
    r.git("revert", "--no-edit", "HEAD")
    reverted = r.git("rev-parse", "HEAD").strip()
    r.git("checkout", "--quiet", "ours")
    return (
        git(r, "merge", "-m", "both", "theirs").code or git(r, "revert", "--no-edit", reverted).code
    )


def stash_pop(r: Repository) -> int:
    r.git("checkout", "--quiet", "base")
    r.git("checkout", "--quiet", "theirs", "--", "data.dvl")
    r.git("stash", "--quiet")
    r.git("checkout", "--quiet", "ours")
    return git(r, "stash", "pop").code


WAYS: list[Callable[[Repository], int]] = [
    merge,
    rebase,
    cherry_pick,
    revert_of_a_revert,
    stash_pop,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_changes_of_different_files_merge_however_git_is_asked(
    driven: Repository, way: Callable[[Repository], int]
) -> None:
    branches(driven, OURS, THEIRS)
    assert way(driven) == 0
    assert not unmerged(driven)
    assert files(driven) == BOTH
    assert "clean" in driven.dvlite("status").out


def test_an_octopus_is_refused_by_git_and_one_after_another_works(driven: Repository) -> None:
    branches(driven, OURS, THEIRS)
    on_branch(driven, "third", {"data/third": b"3"})
    driven.git("checkout", "--quiet", "ours")
    before = driven.work_files()
    assert git(driven, "merge", "-m", "octopus", "theirs", "third").code != 0
    driven.git("reset", "--merge")
    assert driven.work_files() == before
    for branch in ("theirs", "third"):
        assert git(driven, "merge", "-m", "merged", branch).code == 0
    assert files(driven) == {**BOTH, "third": b"3"}


@pytest.mark.parametrize("way", [merge, rebase, cherry_pick, stash_pop], ids=lambda w: w.__name__)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_one_file_that_both_changed_is_the_only_thing_to_decide(
    driven: Repository, way: Callable[[Repository], int], side: str
) -> None:
    branches(driven, {**OURS, "data/sub/d": b"mine"}, {**THEIRS, "data/sub/d": b"yours"})
    assert way(driven) != 0
    assert unmerged(driven) == ["data.dvl"]
    text = driven.read("data.dvl").decode()
    assert text.count("sub/d") == 1 and "new" not in text
    listed = driven.dvlite("resolve", code=1).out
    assert listed == "conflict   data/sub/d\n"

    driven.dvlite("resolve", f"--{side}", "data/sub/d")
    assert not unmerged(driven)
    swapped = way is rebase  # git's own words: ours is what the commits are put on
    mine = (side == "ours") != swapped
    assert files(driven) == {**BOTH, "sub/d": b"mine" if mine else b"yours"}


def test_a_conflict_is_refused_by_every_command_and_says_what_to_do(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {"data/a": b"2"})
    assert merge(driven) == 1
    for words in (["add", "data"], ["checkout"], ["push"], ["pull"], ["rm", "data"], ["fetch"]):
        ran = driven.dvlite(*words, code=CONFLICT)
        assert "dvlite resolve --ours data or --theirs" in ran.err, words
    assert "dvlite resolve" in driven.dvlite("status").out
    assert "UU data.dvl" in driven.git("status", "--short")


def test_git_says_which_file_conflicts(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {"data/a": b"2"})
    ran = git(driven, "merge", "theirs")
    assert "conflict: data/a: both sides changed it" in ran.err
    assert "hint: dvlite resolve --ours PATH, or --theirs" in ran.err


def test_conflicts_are_decided_one_by_one(driven: Repository) -> None:
    ours = {"data/a": b"1", "data/b": b"1", "data/sub/d": b"1", "data/mine": b"1"}
    theirs = {"data/a": b"2", "data/b": None, "data/sub/d": b"2", "data/yours": b"2"}
    branches(driven, ours, theirs)
    assert merge(driven) == 1
    driven.dvlite("resolve", "--ours", "data/a")
    assert unmerged(driven) == ["data.dvl"]
    left = driven.dvlite("resolve", code=1).out.splitlines()
    assert left == ["conflict   data/b", "conflict   data/sub/d"]
    driven.dvlite("resolve", "--theirs", "data/sub", "data/b")
    driven.commit("decided")
    assert files(driven) == {
        "a": b"1",
        "c": b"c",
        "mine": b"1",
        "yours": b"2",
        "sub/d": b"2",
        "sub/e": b"sub/e",
    }


def test_a_conflict_can_be_merged_by_hand(driven: Repository) -> None:
    branches(driven, {**OURS, "data/sub/d": b"1"}, {**THEIRS, "data/sub/d": b"2"})
    assert merge(driven) == 1
    lines = driven.read("data.dvl").decode().splitlines(keepends=True)
    middle = next(at for at, line in enumerate(lines) if line.startswith("======="))
    driven.write({"data.dvl": "".join(lines[middle + 1 : -1]).encode()})
    driven.dvlite("resolve", "data")
    driven.commit("by hand")
    assert files(driven) == {**BOTH, "sub/d": b"2"}


def test_deleted_on_one_side_and_changed_on_the_other_is_a_conflict(driven: Repository) -> None:
    branches(driven, {"data/a": None}, {"data/a": b"2"})
    assert merge(driven) == 1
    driven.dvlite("resolve", "--ours", "data/a")
    assert "a" not in files(driven)


def test_a_file_and_a_folder_of_the_same_name_are_one_conflict(driven: Repository) -> None:
    branches(driven, {"data/x": b"file", "data/m": b"m"}, {"data/x/y": b"1", "data/x/z": b"2"})
    assert merge(driven) == 1
    assert driven.dvlite("resolve", code=1).out == "conflict   data/x\n"
    assert "decide it as one" in driven.dvlite("resolve", "--ours", "data/x/y", code=4).err
    driven.dvlite("resolve", "--theirs", "data/x")
    assert files(driven) == {
        "a": b"a",
        "b": b"b",
        "c": b"c",
        "m": b"m",
        "sub/d": b"sub/d",
        "sub/e": b"sub/e",
        "x/y": b"1",
        "x/z": b"2",
    }


def test_a_new_mode_and_new_content_of_a_file_merge(driven: Repository) -> None:
    put(driven, {**FIVE, "tool": b"tool"})
    driven.dvlite("add", "data", "tool")
    driven.commit()
    driven.git("branch", "base")
    on_branch(driven, "theirs", {"data/a": b"new", "tool": b"new"})
    driven.git("checkout", "--quiet", "-b", "ours", "base")
    driven.dvlite("checkout")
    (driven.path / "data/a").chmod(0o755)
    (driven.path / "tool").chmod(0o755)
    driven.dvlite("add", "-u")
    driven.commit()
    assert merge(driven) == 0
    assert files(driven)["a"] == b"new" and driven.read("tool") == b"new"
    assert os.access(driven.path / "data/a", os.X_OK) and os.access(driven.path / "tool", os.X_OK)


def test_links_and_empty_folders_merge(driven: Repository) -> None:
    put(driven, FIVE)
    driven.dvlite("add", "data")
    driven.commit()
    driven.git("branch", "base")
    driven.git("checkout", "--quiet", "-b", "theirs")
    (driven.path / "data/link").symlink_to("a")
    (driven.path / "data/empty").mkdir()
    driven.dvlite("add", "-u")
    driven.commit()
    on_branch(driven, "ours", {"data/empty/now": b"full", "data/b": b"B"})
    assert merge(driven) == 0
    found = files(driven)
    assert os.readlink(driven.path / "data/link") == "a"
    assert found["empty/now"] == b"full" and found["b"] == b"B"


def test_both_sides_track_the_same_new_folder(driven: Repository) -> None:
    branches(driven, {}, {})
    for branch, content in (("theirs", b"2"), ("ours", b"1")):
        driven.git("checkout", "--quiet", "-B", branch, "base")
        driven.write({f"more/{branch}": b"x", "more/same": b"s", "more/other": content})
        driven.dvlite("add", "more")
        driven.commit()
        if branch == "theirs":
            for name in ("theirs", "same", "other"):
                (driven.path / "more" / name).unlink()
    assert merge(driven) == 1
    assert "AA more.dvl" in driven.git("status", "--short")
    assert driven.dvlite("resolve", code=1).out == "conflict   more/other\n"
    driven.dvlite("resolve", "--theirs", ".")
    names = {path.name: path.read_bytes() for path in (driven.path / "more").iterdir()}
    assert names == {"ours": b"x", "theirs": b"x", "same": b"s", "other": b"2"}


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_single_file_that_both_changed_is_chosen(driven: Repository, side: str) -> None:
    branches(driven, {"model": b"ours"}, {"model": b"theirs"}, {**FIVE, "model": b"base"})
    assert merge(driven) == 1
    listed = driven.dvlite("resolve", code=1).out
    assert listed == "conflict   model: both sides changed it\n"
    driven.dvlite("resolve", f"--{side}", "model")
    assert driven.read("model") == side.encode()
    assert not unmerged(driven)


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_tracked_no_longer_on_one_side_and_changed_on_the_other(
    driven: Repository, side: str
) -> None:
    branches(driven, {"data/a": b"1"}, {})
    driven.git("checkout", "--quiet", "theirs")
    driven.dvlite("checkout")
    driven.dvlite("rm", "--delete", "data")
    driven.commit()
    driven.git("checkout", "--quiet", "ours")
    driven.dvlite("checkout")
    assert merge(driven) == 1
    assert "stopped tracking it" in driven.dvlite("resolve", code=1).out
    driven.dvlite("resolve", f"--{side}", "data")
    assert not unmerged(driven)
    driven.commit()
    assert (driven.path / "data").exists() == (side == "ours")
    assert (driven.path / "data.dvl").exists() == (side == "ours")
    assert not driven.git("status", "--short")


def test_a_side_that_git_wrote_with_crlf_is_not_taken_for_a_decision(driven: Repository) -> None:
    driven.git("config", "core.autocrlf", "true")
    branches(driven, {"data/a": b"1"}, {})
    driven.git("checkout", "--quiet", "theirs")
    driven.dvlite("checkout")
    driven.dvlite("rm", "--delete", "data")
    driven.commit()
    driven.git("checkout", "--quiet", "ours")
    assert merge(driven) == 1  # git leaves our version in the work tree
    assert b"\r\n" in driven.read("data.dvl")
    assert "stopped tracking it" in driven.dvlite("resolve", code=1).out
    assert unmerged(driven)


def test_unsaved_edits_stay_whatever_is_decided(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {"data/a": b"2", "data/b": b"2"})
    assert merge(driven) == 1
    driven.write({"data/a": b"unsaved", "data/c": b"unsaved"})
    ran = driven.dvlite("resolve", "--theirs", "data")
    assert "data/a holds an edit that is not added" in ran.err
    assert driven.read("data/a") == b"unsaved" and driven.read("data/c") == b"unsaved"
    assert not unmerged(driven)


def test_edits_of_other_files_do_not_keep_the_workspace_back(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {"data/a": b"2", "data/b": b"2"})
    assert merge(driven) == 1
    driven.write({"data/c": b"unsaved"})
    driven.dvlite("resolve", "--theirs", "data")
    assert driven.read("data/a") == b"2" and driven.read("data/b") == b"2"
    assert driven.read("data/c") == b"unsaved"


def test_a_pointer_that_was_renamed_on_one_side_merges(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {})
    driven.git("checkout", "--quiet", "theirs")
    driven.dvlite("checkout")
    driven.dvlite("mv", "data", "moved")
    driven.commit()
    driven.write({"moved/b": b"2"})
    driven.dvlite("add", "-u")
    driven.commit()
    driven.git("checkout", "--quiet", "ours")
    driven.dvlite("checkout")
    ran = git(driven, "merge", "-m", "merged", "-X", "find-renames=20", "theirs")
    assert ran.code == 0, ran.out + ran.err
    driven.dvlite("checkout")
    assert driven.read("moved/a") == b"1" and driven.read("moved/b") == b"2"


def test_criss_cross_merges_have_a_base(driven: Repository) -> None:
    branches(driven, {"data/a": b"1", "data/n": b"1"}, {"data/a": b"2", "data/m": b"2"})
    driven.git("tag", "one", "ours")
    driven.git("tag", "two", "theirs")
    for branch, other, side in (("ours", "two", "ours"), ("theirs", "one", "ours")):
        driven.git("checkout", "--quiet", branch)
        driven.dvlite("checkout")
        assert git(driven, "merge", other).code == 1
        driven.dvlite("resolve", f"--{side}", "data")
        driven.commit()
    on_branch(driven, "theirs", {"data/c": b"3"}, "theirs")
    on_branch(driven, "ours", {"data/b": b"4"}, "ours")
    ran = git(driven, "merge", "theirs")
    assert ran.code == 1 and ran.err.count("conflict: ") == 1
    assert driven.dvlite("resolve", code=1).out == "conflict   data/a\n"
    driven.dvlite("resolve", "--theirs", ".")
    assert files(driven) == {
        "a": b"2",
        "b": b"4",
        "c": b"3",
        "m": b"2",
        "n": b"1",
        "sub/d": b"sub/d",
        "sub/e": b"sub/e",
    }


@pytest.fixture
def cloned(driven: Repository) -> Repository:
    """A clone at `ours` with nothing of `theirs` in its cache."""
    branches(driven, OURS, THEIRS)
    for branch in ("base", "theirs", "ours"):
        driven.git("checkout", "--quiet", branch)
        driven.dvlite("checkout")
        driven.dvlite("push")
        driven.git("push", "--quiet", "origin", branch)
    clone = driven.clone("clone")
    clone.git("checkout", "--quiet", "ours")
    clone.git("branch", "theirs", "origin/theirs")
    install_drivers(Project.open(str(clone.path)))
    clone.dvlite("pull")
    return clone


def test_listings_that_are_not_here_are_a_conflict_until_they_are_fetched(
    cloned: Repository,
) -> None:
    cloned.dvlite("config", "--local", "core.merge_fetch", "false")
    ran = git(cloned, "merge", "-m", "merged", "theirs")
    assert ran.code == 1 and "dvlite resolve --fetch data" in ran.err
    assert "dvlite resolve --fetch" in cloned.dvlite("resolve", "--ours", "data", code=6).err
    ran = cloned.dvlite("resolve", "--fetch")
    assert "data: 3 files not in the cache yet: dvlite pull" in ran.err
    cloned.commit("merged")
    cloned.dvlite("pull")
    assert files(cloned) == BOTH


def test_a_remote_that_was_never_used_is_not_asked_by_a_merge(
    cloned: Repository, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(cloned.store, elsewhere)
    cloned.set_remote(str(elsewhere))
    cloned.commit("another place")
    ran = git(cloned, "merge", "-m", "merged", "theirs")
    assert ran.code == 1 and "dvlite resolve --fetch data" in ran.err
    assert "data" in cloned.dvlite("resolve", "--fetch").out


def test_listings_are_fetched_by_the_merge_itself(cloned: Repository) -> None:
    ran = git(cloned, "merge", "-m", "merged", "theirs")
    assert ran.code == 0, ran.err
    cache = Project.open(str(cloned.path)).cache()
    assert not cache.has(hash_bytes(b"t")) and cache.has(hash_bytes(b"ours"))
    cloned.dvlite("pull")
    assert files(cloned) == BOTH


def test_a_remote_that_is_away_leaves_the_conflict(cloned: Repository) -> None:
    cloned.store.rename(cloned.store.with_name("away"))
    ran = git(cloned, "merge", "-m", "merged", "theirs")
    assert ran.code == 1 and "listings cannot be fetched: " in ran.err
    assert "dvlite resolve --fetch data" in ran.err
    assert unmerged(cloned) == ["data.dvl"]


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_conflict_that_was_committed_can_still_be_decided(driven: Repository, side: str) -> None:
    base = {**FIVE, "model": b"base"}
    branches(driven, {"data/a": b"1", "model": b"1"}, {"data/a": b"2", "model": b"2"}, base)
    assert merge(driven) == 1
    driven.commit("conflicts and all")
    assert not unmerged(driven)
    assert len(driven.dvlite("resolve", code=1).out.splitlines()) == 2
    driven.dvlite("resolve", f"--{side}", ".")
    chosen = b"1" if side == "ours" else b"2"
    assert driven.read("data/a") == chosen and driven.read("model") == chosen
    assert not driven.git("diff")


def test_git_remembers_how_it_was_decided(driven: Repository) -> None:
    driven.git("config", "rerere.enabled", "true")
    branches(driven, {**OURS, "data/sub/d": b"1"}, {**THEIRS, "data/sub/d": b"2"})
    before = driven.git("rev-parse", "HEAD").strip()
    assert merge(driven) == 1
    driven.dvlite("resolve", "--theirs", "data")
    driven.commit()
    driven.git("reset", "--quiet", "--hard", before)
    ran = git(driven, "merge", "theirs")
    assert ran.code == 1 and "using previous resolution" in ran.out + ran.err
    driven.dvlite("resolve", "data")
    driven.commit()
    assert files(driven) == {**BOTH, "sub/d": b"2"}


def test_a_decision_that_was_broken_off_is_finished_by_the_next(driven: Repository) -> None:
    changes = dict.fromkeys(("data/a", "data/b"), b"1")
    branches(driven, changes, dict.fromkeys(changes, b"2"))
    assert merge(driven) == 1
    driven.dvlite("resolve", "--theirs", "data/a")
    stages = driven.git("ls-files", "-u").encode()
    driven.dvlite("resolve", "--ours", "data/b")
    decided = driven.read("data.dvl")
    # as kill -9 leaves it after the pointer is written and before git is told
    command = ["git", "-C", str(driven.path), "update-index", "--index-info"]
    subprocess.run(command, input=b"0 %040d\tdata.dvl\n" % 0 + stages, check=True)
    assert unmerged(driven) == ["data.dvl"]
    driven.dvlite("resolve", "--ours", "data/b")
    assert not unmerged(driven) and driven.read("data.dvl") == decided
    assert files(driven)["a"] == b"2" and files(driven)["b"] == b"1"


GARBAGE = [
    b"garbage\n",
    b"\0\xff" * 50,
    b"dvlite: 1\nkind: tree\n",
    b"dvlite: 99\n",
    b"x" * 100_000,
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_what_is_no_pointer_is_left_to_git(driven: Repository, garbage: bytes, side: str) -> None:
    branches(driven, {"data/a": b"1"}, {"data/a": b"2"})
    driven.git("checkout", "--quiet", side)
    driven.write({"data.dvl": garbage})
    driven.commit("garbage")
    driven.git("checkout", "--quiet", "ours")
    ran = git(driven, "merge", "theirs")
    assert ran.code == 1
    assert "data.dvl is not merged: " in ran.err and "Traceback" not in ran.err
    assert unmerged(driven) == ["data.dvl"]
    driven.dvlite("resolve", code=1)
    ran = driven.dvlite("resolve", f"--{side}", "data", code=9 if b"99" in garbage else 8)
    assert "take the other side" in ran.err
    other = "theirs" if side == "ours" else "ours"
    driven.dvlite("resolve", f"--{other}", "data")
    assert files(driven)["a"] == (b"1" if other == "ours" else b"2")


def test_a_damaged_listing_is_a_conflict_with_the_reason(driven: Repository) -> None:
    branches(driven, {"data/a": b"1"}, {"data/b": b"2"})
    oid = driven.git("show", "theirs:data.dvl").partition("blake3:")[2][:64]
    path = driven.path / ".git/dvlite/cache/objects" / oid[:2] / oid[2:]
    path.chmod(0o644)
    path.write_bytes(b"rubbish")
    ran = git(driven, "merge", "theirs")
    assert ran.code == 1 and "is damaged" in ran.err and "Traceback" not in ran.err
    assert unmerged(driven) == ["data.dvl"]


def test_other_files_that_end_so_are_merged_as_text(driven: Repository) -> None:
    lines = [f"{number}\n" for number in range(20)]
    driven.write({"notes.dvl": "".join(lines).encode()})
    driven.git("add", "--force", "notes.dvl")
    driven.commit()
    driven.git("branch", "theirs")
    driven.write({"notes.dvl": "".join(["first\n", *lines[1:]]).encode()})
    driven.commit()
    driven.git("checkout", "--quiet", "theirs")
    driven.write({"notes.dvl": "".join([*lines[:-1], "last\n"]).encode()})
    driven.commit()
    assert git(driven, "merge", "-m", "text", "main").code == 0
    assert driven.read("notes.dvl") == "".join(["first\n", *lines[1:-1], "last\n"]).encode()


def test_a_conflict_survives_a_dvlite_that_is_gone(driven: Repository) -> None:
    branches(driven, OURS, THEIRS)
    driven.git("config", "merge.dvlite.driver", "/nowhere/dvlite git-driver merge %O %A %B")
    assert merge(driven) == 1
    assert unmerged(driven) == ["data.dvl"]
    driven.dvlite("resolve")
    driven.commit()
    assert files(driven) == BOTH


def test_a_project_in_a_folder_of_the_repository(driven: Repository) -> None:
    driven.git("rm", "-r", "--quiet", ".dvlite", ".gitattributes")
    folder = driven.path / "side"
    folder.mkdir()
    inner = Repository(folder, driven.store)
    inner.dvlite("init")
    install_drivers(Project.open(str(folder)))
    driven.commit("side")
    branches(inner, {**OURS, "data/sub/d": b"1"}, {**THEIRS, "data/sub/d": b"2"})
    assert merge(inner) == 1
    assert "conflict   data/sub/d" in inner.dvlite("resolve", code=1).out
    inner.dvlite("resolve", "--theirs", "data/sub/d")
    inner.commit()
    assert files(inner) == {**BOTH, "sub/d": b"2"}


def test_in_another_work_tree_of_the_repository_and_from_a_folder_of_it(
    driven: Repository,
) -> None:
    branches(driven, {**OURS, "data/sub/d": b"1"}, {**THEIRS, "data/sub/d": b"2"})
    driven.git("checkout", "--quiet", "base")
    driven.git("worktree", "add", "--quiet", str(driven.path.parent / "other"), "ours")
    other = Repository(driven.path.parent / "other", driven.store)
    other.dvlite("checkout")
    (other.path / "code").mkdir()
    assert git(other, "-C", "code", "merge", "theirs").code == 1
    assert other.dvlite("resolve", code=1).out == "conflict   data/sub/d\n"
    other.dvlite("-C", "data/sub", "resolve", "--theirs", "d")
    other.commit()
    assert files(other) == {**BOTH, "sub/d": b"2"}


def test_many_files_added_on_both_sides_of_a_large_folder(driven: Repository) -> None:
    """A folder of more than 65,536 entries would be cut: see tests of trees; here, that 1,000
    and 1,000 are merged, and none is lost."""
    base = {f"data/{number}": b"" for number in range(2000)}
    ours: dict[str, bytes | None] = {f"data/o{number}": b"" for number in range(1000)}
    theirs: dict[str, bytes | None] = {f"data/t{number}": b"" for number in range(1000)}
    ours |= {f"data/{number}": None for number in range(10)}
    theirs |= {f"data/{number}": None for number in range(5, 15)}
    branches(driven, ours, theirs, base)
    assert merge(driven) == 0
    expected = {name[5:] for name in (*base, *ours, *theirs)} - {str(one) for one in range(15)}
    assert set(files(driven)) == expected
