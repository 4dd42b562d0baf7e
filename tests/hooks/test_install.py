"""Hooks live beside the user's own, in the folder that git uses, and go without a trace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dvlite.errors import ConflictError
from dvlite.ops.hookfiles import HOOKS, hooks_state
from dvlite.ops.install import install, states, uninstall
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.repositories import Listing, Repository, listing

# Writes down how it was called, and fails if told to.
USERS = """#!/bin/sh
{ echo "$0 $*"; cat; } >> "$(git rev-parse --git-common-dir)/calls"
exit ${FAIL:-0}
"""


def project(repository: Repository) -> Project:
    return Project.open(str(repository.path))


def write_hook(path: Path, text: str = USERS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def calls(repository: Repository) -> str:
    return repository.read(".git/calls").decode()


def hooks(repository: Repository) -> Listing:
    return listing(repository.path / ".git" / "hooks")


def settings(repository: Repository) -> str:
    return repository.git("config", "--list", "--local")


def test_installing_again_changes_nothing(repository: Repository, program: str) -> None:
    assert set(install(project(repository), program)["hooks"]) == {*HOOKS, "dvlite.program"}
    before = hooks(repository), settings(repository)
    assert not any(install(project(repository), program).values())
    assert (hooks(repository), settings(repository)) == before
    assert all(state.installed for state in states(project(repository), program))


def test_what_was_there_is_as_it_was(repository: Repository, program: str, tmp_path: Path) -> None:
    folder = repository.path / ".git" / "hooks"
    write_hook(folder / "pre-push")
    (folder / "pre-commit").write_text("not executable")
    write_hook(tmp_path / "linked")
    (folder / "post-merge").symlink_to(tmp_path / "linked")
    before = hooks(repository), settings(repository)
    install(project(repository), program)
    assert hooks(repository) != before[0]
    uninstall(project(repository))
    assert (hooks(repository), settings(repository)) == before


def test_the_users_hooks_are_called_as_git_would(repository: Repository, program: str) -> None:
    folder = repository.path / ".git" / "hooks"
    for name in HOOKS:
        write_hook(folder / name)
    install(project(repository), program)
    first = repository.add_and_commit({"model": b"1"}, "model")
    assert "pre-commit.before-dvlite \n" in calls(repository)
    repository.git("push", "--quiet", "origin", "main")
    origin = repository.path.parent / "origin.git"
    zero = "0" * 40
    expected = (
        f"pre-push.before-dvlite origin {origin}\nrefs/heads/main {first} refs/heads/main {zero}\n"
    )
    assert expected in calls(repository)
    repository.git("checkout", "--quiet", "-b", "other")
    assert f"post-checkout.before-dvlite {first} {first} 1\n" in calls(repository)
    repository.git("commit", "--quiet", "--amend", "-m", "again")
    second = repository.git("rev-parse", "HEAD").strip()
    assert f"post-rewrite.before-dvlite amend\n{first} {second}\n" in calls(repository)


def test_the_users_hook_may_refuse(repository: Repository, program: str) -> None:
    folder = repository.path / ".git" / "hooks"
    for name in HOOKS:
        write_hook(folder / name)
    install(project(repository), program)
    for env in ({"FAIL": "7"}, {"FAIL": "7", "DVLITE_SKIP_HOOKS": "1"}):
        assert git(repository, "commit", "--allow-empty", "-m", "x", env=env).code == 1
        assert git(repository, "push", "origin", "main", env=env).code == 1
        assert git(repository, "checkout", "-b", "b" + str(len(env)), env=env).code == 1


def test_a_hook_that_is_not_executable_is_not_called(repository: Repository, program: str) -> None:
    folder = repository.path / ".git" / "hooks"
    (folder / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    install(project(repository), program)
    assert git(repository, "commit", "--allow-empty", "-m", "x").code == 0


def test_a_hook_of_an_older_version_is_replaced(repository: Repository, program: str) -> None:
    install(project(repository), program)
    path = repository.path / ".git" / "hooks" / "pre-push"
    path.write_text(path.read_text().replace("dvlite hook 1", "dvlite hook 0"))
    assert hooks_state(project(repository).repo, program).states["pre-push"] == "outdated"
    assert "outdated: pre-push" in repository.dvlite("doctor", code=1).out
    assert install(project(repository), program)["hooks"] == ("pre-push",)
    assert not (repository.path / ".git" / "hooks" / "pre-push.before-dvlite").exists()


def test_a_hook_of_ours_that_was_changed_stays(repository: Repository, program: str) -> None:
    install(project(repository), program)
    path = repository.path / ".git" / "hooks" / "pre-push"
    text = path.read_text() + "echo mine\n"
    path.write_text(text)
    assert not any(install(project(repository), program).values())
    with pytest.raises(ConflictError, match="pre-push"):
        uninstall(project(repository))
    assert path.read_text() == text
    assert not (repository.path / ".git" / "hooks" / "pre-commit").exists()


def test_a_hook_that_came_later_is_the_users(repository: Repository, program: str) -> None:
    """Another tool wrote over ours; its hook is kept, not our former one."""
    install(project(repository), program)
    path = repository.path / ".git" / "hooks" / "pre-push"
    write_hook(path)
    install(project(repository), program)
    uninstall(project(repository))
    assert path.read_text() == USERS


def test_two_unknown_hooks_are_not_chosen_between(repository: Repository, program: str) -> None:
    folder = repository.path / ".git" / "hooks"
    write_hook(folder / "pre-push")
    install(project(repository), program)
    write_hook(folder / "pre-push", "#!/bin/sh\n")
    with pytest.raises(ConflictError, match="neither is dvlite's"):
        install(project(repository), program)


def test_a_hooks_folder_of_the_repository(repository: Repository, program: str) -> None:
    repository.git("config", "core.hooksPath", "tools/hooks")
    before = hooks(repository)
    install(project(repository), program)
    assert hooks(repository) == before
    assert (repository.path / "tools" / "hooks" / "pre-push").exists()
    repository.write({"model": b"1"})
    repository.dvlite("add", "model")
    repository.write({"model": b"2"})
    inside = Repository(repository.path / "tools", repository.store)
    assert "dvlite add ../model" in git(inside, "commit", "-m", "x").err


def test_hooks_that_are_committed_are_not_touched(repository: Repository, program: str) -> None:
    repository.git("config", "core.hooksPath", "githooks")
    write_hook(repository.path / "githooks" / "pre-push")
    repository.git("add", "githooks")
    with pytest.raises(ConflictError, match="committed") as error:
        install(project(repository), program)
    assert 'githooks/pre-push: dvlite hook pre-push -- "$@" || exit' in str(error.value.hint)
    assert os.listdir(repository.path / "githooks") == ["pre-push"]
    assert "program" not in settings(repository)
    text = USERS.replace("exit", 'dvlite hook pre-push -- "$@" || exit\nexit')
    write_hook(repository.path / "githooks" / "pre-push", text)
    install(project(repository), program)
    assert repository.read("githooks/pre-push").decode() == text
    assert hooks_state(project(repository).repo, program).installed


def test_hooks_that_husky_makes_are_not_touched(repository: Repository, program: str) -> None:
    repository.git("config", "core.hooksPath", ".husky/_")
    write_hook(repository.path / ".husky" / "_" / "pre-push")
    with pytest.raises(ConflictError, match="husky") as error:
        install(project(repository), program)
    assert ".husky/pre-push: dvlite hook pre-push" in str(error.value.hint)


@pytest.mark.parametrize("how", ["elsewhere", "global", "nowhere", "link"])
def test_hooks_that_others_use_too_are_not_touched(
    repository: Repository, program: str, tmp_path: Path, how: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    if how == "link":
        shutil.rmtree(repository.path / ".git" / "hooks")
        (repository.path / ".git" / "hooks").symlink_to(shared)
    else:
        place = "/dev/null" if how == "nowhere" else str(shared)
        scope = "--global" if how == "global" else "--local"
        repository.git("config", scope, "core.hooksPath", place)
    with pytest.raises(ConflictError, match="outside this repository") as error:
        install(project(repository), program)
    uninstall(project(repository))
    assert "git config core.hooksPath" in str(error.value.hint)
    assert not os.listdir(shared)
    assert "note     hooks" in repository.dvlite("doctor").out


def test_a_second_work_tree_has_the_same_hooks(
    repository: Repository, program: str, tmp_path: Path
) -> None:
    repository.git("worktree", "add", "--quiet", str(tmp_path / "second"), "-b", "second")
    second = Repository(tmp_path / "second", repository.store)
    install(project(second), program)
    assert hooks_state(project(repository).repo, program).installed
    second.write({"model": b"1"})
    second.dvlite("add", "model")
    second.write({"model": b"2"})
    assert git(second, "commit", "-m", "x").code == 1


def test_a_submodule_has_hooks_of_its_own(
    repository: Repository, program: str, tmp_path: Path
) -> None:
    repository.git("push", "--quiet", "origin", "main")
    outer = Repository(tmp_path / "outer", repository.store)
    outer.path.mkdir()
    outer.git("init", "--quiet")
    words = ["-c", "protocol.file.allow=always", "submodule", "add", "--quiet"]
    outer.git(*words, str(tmp_path / "origin.git"), "sub")
    sub = Repository(outer.path / "sub", repository.store)
    install(project(sub), program)
    assert not (outer.path / ".git" / "hooks" / "pre-push").exists()
    sub.write({"model": b"1"})
    sub.dvlite("add", "model")
    sub.write({"model": b"2"})
    assert git(sub, "commit", "-m", "x").code == 1
    assert git(outer, "commit", "-m", "x").code == 0


def test_without_dvlite_only_a_push_of_data_is_stopped(
    repository: Repository, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(project(repository), "/gone/bin/dvlite")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    told = git(repository, "push", "origin", "main")
    assert told.code == 0 and "was not found" in told.err
    repository.write({"model": b"1"})
    repository.dvlite("add", "model")
    told = git(repository, "commit", "-m", "x")
    assert told.code == 0 and "which git's hook pre-commit calls, was not found" in told.err
    assert git(repository, "checkout", "-b", "b").code == 0
    told = git(repository, "push", "origin", "main")
    assert told.code == 1 and "hint: git push --no-verify" in told.err


def test_the_command(repository: Repository) -> None:
    first = repository.dvlite("install").out
    assert "changed    hooks: dvlite.program, pre-commit, pre-push" in first
    assert "drivers: merge.dvlite.name" in first
    assert repository.dvlite("install").out == "everything is installed already\n"
    assert "hooks      installed in" in repository.dvlite("doctor").out
    assert "removed    hooks: pre-commit" in repository.dvlite("install", "--uninstall").out
    assert "dvlite" not in settings(repository)
    assert "hint: dvlite install" in repository.dvlite("doctor").out
    assert (
        "exclude each other"
        in repository.dvlite("install", "--uninstall", "--pre-commit", code=2).err
    )


def test_a_repository_without_a_project_is_left_alone(tmp_path: Path, own_home: Path) -> None:
    """A hook that several repositories share may call dvlite in all of them."""
    plain = Repository(tmp_path / "plain", tmp_path)
    plain.path.mkdir()
    plain.git("init", "--quiet")
    for name in HOOKS:
        assert plain.process("hook", name, "--", "a", "b").out == ""
    plain.git("init", "--quiet", "--bare", str(tmp_path / "bare"))
    assert Repository(tmp_path / "bare", tmp_path).process("hook", "pre-push").err == ""
    assert os.listdir(plain.path) == [".git"]
