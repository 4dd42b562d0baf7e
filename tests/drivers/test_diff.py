"""`git diff`, `git log -p` and `git show` tell what changed in the data."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.cli import gitdriver
from dvlite.ops import diffdriver
from dvlite.ops.drivers import install_drivers
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.repositories import Repository

TABLE = b"id,name,price\n1,a,10\n2,b,20\n3,c,30\n"
FILES = {"data/a": b"a", "data/b": b"bb", "data/sub/moved": b"moved", "data/t.csv": TABLE}


@pytest.fixture
def changed(driven: Repository) -> Repository:
    """Two commits: the second adds, removes, changes and renames a file, and changes a table."""
    driven.add_and_commit(FILES, "data")
    (driven.path / "data/b").unlink()
    (driven.path / "data/sub/moved").rename(driven.path / "data/there")
    driven.write(
        {
            "data/a": b"A" * 2000,
            "data/new": b"n",
            "data/t.csv": b"id,name,size\n1,a,10\n3,c,30\n4,d,40\n5,e,50\n",
        }
    )
    driven.dvlite("add", "-u")
    driven.commit("changed")
    return driven


def test_git_diff_tells_what_changed(changed: Repository) -> None:
    assert changed.git("diff", "HEAD~1", "HEAD").splitlines() == [
        "diff --dvlite a/data.dvl b/data.dvl",
        "data: 4 files, 43 B -> 4 files, 2.00 KiB",
        "M  data/a  1 B -> 1.95 KiB",
        "D  data/b  2 B",
        "A  data/new  1 B",
        "M  data/t.csv  35 B -> 41 B",
        "     columns: +size -price",
        "     rows: 3 -> 4 (2 added, 1 removed)",
        "R  data/sub/moved -> data/there  5 B",
        "1 added, 1 removed, 2 changed, 1 renamed: 43 B -> 2.00 KiB",
    ]


@pytest.mark.parametrize("words", [["show"], ["log", "-p", "-1"]], ids=["show", "log"])
def test_the_history_tells_what_changed(changed: Repository, words: list[str]) -> None:
    lines = changed.git(*words, "--format=").splitlines()
    signs = [line for line in lines if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    shown = [(line[0], line[1:].split("  ")[0], line.split("  ")[1:2]) for line in signs]
    assert ("-", "tree: 4 files, 43 B", []) in shown
    assert ("-", "a", ["1 B"]) in shown and ("+", "a", ["1.95 KiB"]) in shown
    assert ("-", "b", ["2 B"]) in shown and ("+", "new", ["1 B"]) in shown
    assert ("-", "sub/moved", ["5 B"]) in shown and ("+", "there", ["5 B"]) in shown
    assert not any("oid" in line for line in lines)


def test_the_history_tells_as_much_as_git_diff_when_asked(changed: Repository) -> None:
    shown = changed.git("log", "-p", "--ext-diff", "-1", "--format=")
    assert shown.strip() == changed.git("diff", "HEAD~1", "HEAD").strip()


def test_what_is_staged_and_what_is_not_is_told(driven: Repository) -> None:
    driven.add_and_commit(FILES, "data")
    driven.write({"data/new": b"1"})
    driven.dvlite("add", "data")
    assert "A  data/new  1 B" in driven.git("diff", "--cached")
    assert "A  data/new  1 B" in driven.git("diff", "HEAD")
    driven.git("reset", "--quiet")
    assert "A  data/new  1 B" in driven.git("diff")


def test_a_new_pointer_and_one_that_is_gone(driven: Repository) -> None:
    driven.add_and_commit(FILES, "data")
    shown = driven.git("diff", "HEAD~1")
    assert "data: nothing -> 4 files, 43 B" in shown and "A  data/sub/moved  5 B" in shown
    driven.dvlite("rm", "data")
    assert "data: 4 files, 43 B -> nothing" in driven.git("diff", "--cached")
    driven.commit("gone")
    assert "-a  1 B" in driven.git("show")


def test_a_single_table_tells_its_columns_and_rows(driven: Repository) -> None:
    driven.add_and_commit({"t.csv": TABLE}, "t.csv")
    driven.add_and_commit({"t.csv": TABLE.replace(b"3,c,30", b"3,c,31\n4,d,40")}, "t.csv")
    assert "     rows: 3 -> 4 (2 added, 1 removed)" in driven.git("diff", "HEAD~1")
    shown = driven.git("show")
    assert "-rows: 3\n" in shown and "+rows: 4\n" in shown and " column: price\n" in shown


def test_the_mode_of_a_single_file(driven: Repository) -> None:
    driven.add_and_commit({"tool": b"tool"}, "tool")
    (driven.path / "tool").chmod(0o755)
    driven.dvlite("add", "tool")
    assert "tool: 4 B -> 4 B, executable" in driven.git("diff", "HEAD")
    driven.commit()
    assert "+file: 4 B, executable" in driven.git("show")


def test_a_renamed_pointer(driven: Repository) -> None:
    driven.add_and_commit({**FILES, **{f"data/{n}": b"%d" % n for n in range(9)}}, "data")
    driven.dvlite("mv", "data", "moved")
    shown = driven.git("diff", "--cached").split("diff --dvlite ")[1].splitlines()
    assert shown == ["a/data.dvl b/moved.dvl", "data -> moved: 13 files, 52 B, unchanged"]
    driven.write({"moved/new": b"1"})
    driven.dvlite("add", "-u")
    shown = driven.git("diff", "--cached", "-M1%").split("diff --dvlite ")[1].splitlines()
    assert shown[1:] == ["data -> moved: 13 files, 52 B -> 14 files, 53 B", "A  moved/new  1 B"]


def test_content_that_is_not_here_is_told_from_the_pointer(changed: Repository) -> None:
    changed.dvlite("push")
    changed.git("push", "--quiet", "origin", "HEAD")
    clone = changed.clone("clone")
    install_drivers(Project.open(str(clone.path)))
    shown = clone.git("diff", "HEAD~1", "HEAD")
    assert "data: 4 files, 43 B -> 4 files, 2.00 KiB" in shown
    assert "?  data/ differs; its listing is not in the cache" in shown
    shown = clone.git("show")
    assert "not in the cache: dvlite fetch" in shown and "+tree: " in shown


def test_a_table_whose_content_is_not_here(changed: Repository) -> None:
    cache = changed.path / ".git/dvlite/cache/objects"
    oid = changed.dvlite("diff", "--json", "HEAD~1", "HEAD", "data/t.csv").out
    old = oid.partition('"old_oid": "blake3:')[2][:64]
    os.unlink(cache / old[:2] / old[2:])
    shown = changed.git("diff", "HEAD~1", "HEAD")
    assert "its content is not in the cache: only the size is known" in shown


def test_a_conflict_is_shown_as_the_files_that_conflict(driven: Repository) -> None:
    driven.add_and_commit(FILES, "data")
    for branch in ("theirs", "ours"):
        driven.git("checkout", "--quiet", "-b", branch, "main")
        driven.dvlite("checkout")
        driven.write({"data/a": branch.encode(), f"data/{branch}": b"1"})
        driven.dvlite("add", "-u")
        driven.commit()
    assert git(driven, "merge", "theirs").code == 1
    lines = [line.split("  ")[0] for line in driven.git("diff").splitlines()]
    assert lines[lines.index("++<<<<<<< ours") :][:5] == [
        "++<<<<<<< ours",
        " +a",
        "++=======",
        "+ a",
        "++>>>>>>> theirs",
    ]


def test_too_many_files_are_summed_up_by_folder(
    driven: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    driven.add_and_commit({"data/a": b"1", "data/x/y/b": b"2", "data/x/c": b"3"}, "data")
    monkeypatch.setattr(diffdriver, "MAX_LISTED", 2)
    shown = driven.dvlite("git-driver", "textconv", "data.dvl").out.splitlines()
    assert [line.split("  ")[0] for line in shown] == ["tree: 3 files, 3 B", "./", "x/", "x/y/"]
    assert "(too many files to list)" in shown[1]


def test_a_long_list_is_cut(driven: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    driven.add_and_commit({f"data/{number}": b"1" for number in range(9)}, "data")
    driven.git("show", "HEAD:data.dvl")
    monkeypatch.setattr(gitdriver, "_LISTED", 4)
    words = [os.devnull, ".", ".", "data.dvl", "0" * 40, "100644"]
    shown = driven.dvlite("git-driver", "diff", "data.dvl", *words).out.splitlines()
    assert len(shown) == 8 and "… and 5 more (dvlite diff A B lists them)" in shown


GARBAGE = [b"garbage\n", b"\xff\0\x1b[2J\n" * 9, b"dvlite: 1\nkind: tree\n", b"dvlite: 9\n", b""]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_pointer_is_shown_as_it_is(driven: Repository, garbage: bytes) -> None:
    driven.add_and_commit(FILES, "data")
    driven.write({"data.dvl": garbage})
    driven.commit("garbage")
    for words in (["diff", "HEAD~1"], ["show"], ["log", "-p", "--ext-diff"]):
        ran = git(driven, *words)
        assert ran.code == 0 and "Traceback" not in ran.err and "fatal" not in ran.err
    assert "\x1b" not in driven.git("diff", "HEAD~1")


def test_large_files_of_others_that_end_so_are_shown_whole(driven: Repository) -> None:
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    driven.write({"notes.dvl": lines})
    driven.git("add", "--force", "notes.dvl")
    driven.commit()
    driven.write({"notes.dvl": lines + b"last\n"})
    assert driven.git("diff").splitlines()[-1] == "+last"
    driven.commit()
    assert driven.git("show").splitlines()[-1] == "+last"


def test_showing_imports_nothing_heavy(changed: Repository) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "dvlite", "git-driver", "textconv"]
    done = subprocess.run(
        [*command, "data.dvl"], cwd=changed.path, capture_output=True, text=True, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "blake3" in imported
    assert not imported & {"git", "rich", "fsspec", "numpy", "pyarrow", "obstore", "asyncio"}


def test_git_shows_pointers_when_dvlite_is_gone(changed: Repository, tmp_path: Path) -> None:
    project = Project.open(str(changed.path))
    install_drivers(project, str(tmp_path / "gone" / "dvlite"))
    for words in (["diff", "HEAD~1"], ["show"]):
        ran = git(changed, *words)
        assert ran.code == 0 and "+oid: blake3:" in ran.out, ran.err


def test_colours_are_gits(changed: Repository) -> None:
    words = ["diff", "HEAD~1", "HEAD"]
    paged = {"GIT_PAGER_IN_USE": "true", "TERM": "xterm"}
    assert "\x1b[" in git(changed, *words, env=paged).out
    assert "\x1b[" not in git(changed, *words).out
    assert "\x1b[" not in git(changed, *words, env={**paged, "NO_COLOR": "1"}).out
    changed.git("config", "color.diff", "false")
    assert "\x1b[" not in git(changed, *words, env=paged).out


def test_from_a_folder_below_and_in_a_project_below(driven: Repository) -> None:
    driven.git("rm", "-r", "--quiet", ".dvlite", ".gitattributes")
    folder = driven.path / "side"
    folder.mkdir()
    inner = Repository(folder, driven.store)
    inner.dvlite("init")
    install_drivers(Project.open(str(folder)))
    driven.commit("side")
    inner.add_and_commit(FILES, "data")
    inner.write({"data/new": b"1"})
    inner.dvlite("add", "-u")
    assert "A  side/data/new  1 B" in inner.git("diff", "HEAD")
    inner.commit()
    assert "+new  1 B" in inner.git("show")
