"""What a commit waits for: data that was forgotten, and files that do not belong into git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dvlite.gitrepo import GitRepo
from dvlite.ops.install import install
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.hooks.conftest import bare_environment
from tests.repositories import Ran, Repository


def commit(repository: Repository, *words: str, env: dict[str, str] | None = None) -> Ran:
    return git(repository, "commit", "--allow-empty", "-m", "more", *words, env=env)


def refused(ran: Ran, *texts: str) -> None:
    assert ran.code == 1 and "hint: git commit --no-verify" in ran.err
    for text in texts:
        assert text in ran.err, ran.err


def test_a_forgotten_add_is_refused(hooked: Repository) -> None:
    hooked.write({"data/b": b"new", "model": b"two", "code.py": b"print()\n"})
    texts = ("tracked data has changed and is not added:\n  data\n  model\n",)
    refused(commit(hooked, "-a"), *texts, "hint: dvlite add data model\n")
    hooked.dvlite("add", "data", "model")
    assert commit(hooked, "-a").code == 0


def test_a_folder_that_is_a_link_now_does_not_stop_everything(hooked: Repository) -> None:
    """git would not say whether it ignores what lies behind it."""
    hooked.add_and_commit({"in/x": b"x"}, "in/x")
    (hooked.path / "in").rename(hooked.path / "moved")
    (hooked.path / "in").symlink_to("moved")
    assert hooked.dvlite("status").code == 0
    assert commit(hooked).code == 0
    hooked.write({".gitignore": b""})
    refused(commit(hooked), "git does not ignore", "model")


def test_one_name_behind_a_link_costs_few_questions_of_git(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred folders with something ignored in each, and one that is a link."""
    folders = [f"f{number:02d}" for number in range(100)]
    repository.write({f"{folder}/.gitignore": b"/x\n" for folder in folders})
    (repository.path / "link").symlink_to("f00")
    project = Project.open(str(repository.path))
    asked: list[list[str]] = []
    start = GitRepo._start

    def counted(
        repo: GitRepo, words: list[str], stdin: bytes | None
    ) -> subprocess.CompletedProcess[bytes]:
        asked.append(words)
        return start(repo, words, stdin)

    monkeypatch.setattr(GitRepo, "_start", counted)
    names = [
        f"{folder}/{name}" for folder in [*folders[:50], "link", *folders[50:]] for name in "xy"
    ]
    assert project.repo.ignored(names) == {f"{folder}/x" for folder in folders} | {
        "link/x",
        "link/y",
    }
    assert len(asked) <= 16


def test_the_command_that_is_named_fits_the_folder(hooked: Repository) -> None:
    hooked.write({"model": b"two", "src/x.py": b""})
    inside = Repository(hooked.path / "src", hooked.store)
    refused(commit(inside, env={"PWD": str(inside.path)}), "dvlite add ../model")


def test_a_large_file_is_refused(hooked: Repository) -> None:
    with open(hooked.path / "big file.bin", "wb") as stream:
        stream.truncate(200_000_000)
    hooked.git("add", "big file.bin")
    refused(
        commit(hooked),
        "larger than 9.54 MiB, and about to be committed to git itself:\n  big file.bin  190.7 MiB",
        "git rm --cached 'big file.bin' && dvlite add 'big file.bin'",
    )
    hooked.git("rm", "--quiet", "--cached", "big file.bin")
    assert commit(hooked).code == 0


def test_the_limit_is_a_setting(hooked: Repository) -> None:
    hooked.write({"code.bin": b"x" * 2000})
    hooked.dvlite("config", "core.max_git_file_size", "1K")
    hooked.git("add", "code.bin")
    refused(commit(hooked), "code.bin  1.95 KiB")
    hooked.dvlite("config", "core.max_git_file_size", "0")
    assert commit(hooked).code == 0


def test_a_large_file_that_a_merge_takes_over_is_not_new(hooked: Repository) -> None:
    hooked.dvlite("config", "core.max_git_file_size", "1K")
    hooked.commit("limit")
    hooked.git("checkout", "--quiet", "-b", "other")
    hooked.write({"code.bin": b"x" * 2000, "code.py": b"theirs\n"})
    hooked.git("add", "code.bin")
    hooked.git("commit", "--quiet", "--no-verify", "-a", "-m", "large")
    hooked.git("checkout", "--quiet", "main")
    hooked.write({"code.py": b"ours\n"})
    hooked.commit()
    git(hooked, "merge", "other")
    hooked.write({"code.py": b"both\n"})
    assert commit(hooked, "-a").code == 0


def test_tracked_data_that_git_would_not_ignore_is_refused(hooked: Repository) -> None:
    (hooked.path / ".gitignore").unlink()
    refused(commit(hooked), "git does not ignore it:\n  data\n  model\n", "dvlite add data model")


def test_tracked_data_that_was_forced_into_git_is_refused(hooked: Repository) -> None:
    hooked.git("add", "--force", "data/a", "model")
    refused(commit(hooked), "to git as well:\n  data/a\n  model\n", "git rm -r --cached data/a")


def test_an_undecided_merge_is_refused(hooked: Repository) -> None:
    for name, data in (("ours", b"ours"), ("theirs", b"theirs")):
        hooked.git("checkout", "--quiet", "-b", name, "main")
        hooked.add_and_commit({"model": data}, "model")
    git(hooked, "merge", "ours")
    hooked.git("add", "model.dvl")
    refused(commit(hooked), "a merge of these is not decided:\n  model\n", "dvlite resolve")


@pytest.mark.parametrize("what", ["absent", "behind"])
def test_data_that_is_not_here_or_waits_for_its_pointer_is_no_edit(
    hooked: Repository, what: str
) -> None:
    if what == "absent":
        (hooked.path / "model").unlink()
    else:
        hooked.add_and_commit({"model": b"two"}, "model")
        hooked.git("reset", "--quiet", "--hard", "HEAD~1")
    assert commit(hooked).code == 0


def test_a_partial_commit_is_judged_by_what_it_commits(hooked: Repository) -> None:
    """git names a temporary index to the hook: what is staged besides is not in it."""
    hooked.dvlite("config", "core.max_git_file_size", "1K")
    hooked.commit("limit")
    hooked.write({"large.bin": b"x" * 2000, "code.py": b"more\n"})
    hooked.git("add", "large.bin")
    assert commit(hooked, "--", "code.py").code == 0
    assert "large.bin" in hooked.git("diff", "--cached", "--name-only")
    refused(commit(hooked), "large.bin")


def test_the_first_commit(hooked: Repository) -> None:
    hooked.write({"large.bin": b"x" * 11_000_000})
    hooked.git("checkout", "--quiet", "--orphan", "fresh")
    hooked.git("add", "large.bin")
    refused(commit(hooked), "large.bin  10.5 MiB")


def test_an_inactive_environment_and_skipping(hooked: Repository) -> None:
    hooked.write({"model": b"two"})
    env = bare_environment()
    words = ["commit", "--allow-empty", "-m", "x"]
    refused(finished(hooked, words, env), "dvlite add model")
    assert finished(hooked, words, {**env, "DVLITE_SKIP_HOOKS": "1"}).code == 0
    assert finished(hooked, [*words, "--no-verify"], env).code == 0


def finished(repository: Repository, words: list[str], env: dict[str, str]) -> Ran:
    done = subprocess.run(["git", *words], cwd=repository.path, capture_output=True, env=env)
    return Ran(done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))


def test_projects_beside_each_other(hooked: Repository) -> None:
    """Both are checked; what is in neither is not dvlite's business."""
    alone = Repository(hooked.path.parent / "two", hooked.store)
    hooked.path.parent.joinpath("two").mkdir()
    alone.git("init", "--quiet")
    for name in ("one", "two"):
        (alone.path / name).mkdir()
        alone.dvlite("init", "-C", name)
        alone.write({f"{name}/model": b"one"})
        alone.dvlite("-C", name, "add", "model")
    alone.write({"large.bin": b"x" * 11_000_000})
    alone.git("add", "large.bin")
    install(Project.open(str(alone.path / "one")), hooked.git("config", "dvlite.program").strip())
    assert commit(alone).code == 0
    alone.write({"one/model": b"1", "two/model": b"2"})
    texts = "\n  one/model\n", "dvlite -C one add model", "dvlite -C two add model"
    refused(commit(alone), *texts)
    ran = git(alone, "-C", "one", "commit", "--quiet", "--allow-empty", "-m", "below")
    refused(ran, "\n  model\n", "hint: dvlite add model\n", "dvlite -C ../two add model")
    assert "the projects of this repository: one, two" in alone.dvlite("status", code=3).err
    for name in ("one", "two"):
        alone.dvlite("-C", name, "add", "model")
    assert commit(alone).code == 0


def test_a_second_work_tree_is_judged_by_its_own_index(hooked: Repository, tmp_path: Path) -> None:
    place = tmp_path / "second"
    hooked.git("worktree", "add", "--quiet", "-b", "second", str(place), "main")
    second = Repository(place, hooked.store)
    hooked.write({"model": b"edited in the first"})
    assert commit(second).code == 0
    second.write({"data/a": b"edited in the second"})
    refused(commit(second), "\n  data\n")


def test_the_index_of_another_work_trees_commit_is_not_written_to(hooked: Repository) -> None:
    """git tells its hooks which index it is about to commit: here, not the one of who calls."""
    place = hooked.path.parent / "beside"
    hooked.git("worktree", "add", "--quiet", "-b", "beside", str(place))
    index = hooked.git("-C", str(place), "rev-parse", "--git-path", "index").strip()
    hooked.write({"more": b"more"})
    env = {"GIT_INDEX_FILE": str(place / index), "GIT_DIR": str((place / index).parent)}
    hooked.process("add", "more", env=env)
    assert "A  more.dvl" in hooked.git("status", "--porcelain")
    assert not hooked.git("-C", str(place), "status", "--porcelain")
