"""The pre-commit framework calls dvlite: the real one, without network."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dvlite.errors import ProjectError
from dvlite.ops.hookfiles import HOOKS
from dvlite.ops.install import install, install_for_framework, states
from dvlite.ops.precommitconfig import FILE, add_to_config
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.hooks.conftest import ROOT
from tests.repositories import Repository


def project(repository: Repository) -> Project:
    return Project.open(str(repository.path))


def install_framework(repository: Repository) -> None:
    pytest.importorskip("pre_commit", reason="NOT TESTED: pip install pre-commit")
    types = [word for name in HOOKS for word in ("-t", name)]
    words = [sys.executable, "-m", "pre_commit", "install", *types]
    subprocess.run(words, cwd=repository.path, check=True, capture_output=True)


@pytest.fixture
def framed(repository: Repository, program: str) -> Repository:
    """A repository where the framework calls dvlite; the file `model` is in its last commit."""
    install_for_framework(project(repository), program)
    install_framework(repository)
    repository.add_and_commit({"model": b"one"}, "model")
    return repository


def check_all_hooks(repository: Repository) -> None:
    """Commits, checkouts, merges, rebases and pushes do what they do with hooks of git's own."""
    repository.write({"model": b"two"})
    told = git(repository, "commit", "--allow-empty", "-m", "x")
    assert told.code == 1 and "hint: dvlite add model" in told.out + told.err
    repository.git("checkout", "--quiet", "-b", "two")
    repository.add_and_commit({"model": b"two"}, "model")
    repository.git("checkout", "--quiet", "main")
    assert repository.read("model") == b"one"
    repository.git("merge", "--quiet", "two")
    assert repository.read("model") == b"two"
    repository.git("revert", "--no-edit", "HEAD")
    assert repository.read("model") == b"one"
    repository.git("checkout", "--quiet", "-b", "three", "two~1")
    repository.add_and_commit({"other": b"other"}, "other")
    repository.git("rebase", "--quiet", "two")
    assert (repository.read("model"), repository.read("other")) == (b"two", b"other")
    told = git(repository, "push", "origin", "three")
    assert told.code == 0 and "everything is on" in push_of(repository, "three")
    os.rename(repository.store, str(repository.store) + "-gone")
    repository.store.write_text("gone")
    repository.add_and_commit({"other": b"more"}, "other")
    told = git(repository, "push", "origin", "three")
    assert told.code == 1 and "git push --no-verify" in told.out + told.err


def push_of(repository: Repository, revision: str) -> str:
    return repository.dvlite("push", "--dry-run", "--rev", revision).out


def test_as_local_hooks(framed: Repository) -> None:
    check_all_hooks(framed)


def test_as_a_repository_of_hooks(
    repository: Repository, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the documentation, but that dvlite is installed already."""
    hooks = Repository(tmp_path / "hooks", tmp_path)
    hooks.path.mkdir()
    hooks.git("init", "--quiet")
    hooks.write({".pre-commit-hooks.yaml": (ROOT / ".pre-commit-hooks.yaml").read_bytes()})
    hooks.git("add", "--all")
    ids = [{"id": f"dvlite-{name}", "language": "system"} for name in HOOKS]
    entry = {"repo": str(hooks.path), "rev": hooks.commit(), "hooks": ids}
    repository.write({FILE: yaml.safe_dump({"repos": [entry]}).encode()})
    repository.git("add", FILE)
    folder = os.path.dirname(shlex.split(program)[0])
    monkeypatch.setenv("PATH", folder + os.pathsep + os.environ["PATH"])
    install_framework(repository)
    repository.add_and_commit({"model": b"one"}, "model")
    check_all_hooks(repository)


def test_what_is_not_staged_is_put_aside_and_the_data_stays(
    framed: Repository, program: str
) -> None:
    """The framework checks out what is staged meanwhile, which must not move the data."""
    framed.write({FILE: b"repos: []\n"})
    framed.commit("no hooks of dvlite")
    for name in HOOKS[1:]:
        (framed.path / ".git" / "hooks" / name).unlink()
    install(project(framed), program)
    framed.write({"model": b"two"})
    framed.dvlite("add", "model")
    framed.git("reset", "--quiet", "model.dvl")
    base = framed.read(".git/dvlite/top/base")
    framed.write({"code.py": b"more\n"})
    framed.git("add", "code.py")
    git(framed, "commit", "-m", "code")
    assert framed.read("model") == b"two" and framed.read(".git/dvlite/top/base") == base


def test_a_hook_that_the_framework_has_moved_is_found(repository: Repository, program: str) -> None:
    write = repository.path / ".git" / "hooks" / "pre-push"
    write.write_text("#!/bin/sh\nexit 0\n")
    install(project(repository), program)
    install_framework(repository)
    assert states(project(repository), program)[1].installed
    install_for_framework(project(repository), program)
    folder = repository.path / ".git" / "hooks"
    assert (folder / "pre-push.legacy").read_text() == "#!/bin/sh\nexit 0\n"
    assert not (folder / "pre-commit.legacy").exists()


FLAT = """\
# ours
exclude: ^vendor/
repos:
- repo: https://example.org/lint   # a comment
  rev: v1
  hooks:
  - id: lint

# the end
fail_fast: true
"""


INDENTED = """\
repos:
    - repo: local
      hooks:
          - {id: lint, name: lint, entry: lint, language: system}"""


@pytest.mark.parametrize("text", [FLAT, INDENTED, "repos:\n"], ids=["flat", "indented", "empty"])
def test_a_file_that_is_there_is_extended(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    before = yaml.safe_load(text)
    assert add_to_config(str(tmp_path)) == str(tmp_path / FILE)
    after = (tmp_path / FILE).read_text()
    assert all(line in after.splitlines() for line in text.splitlines())
    now = yaml.safe_load(after)
    assert {**now, "repos": None} == {**before, "repos": None}
    assert now["repos"][:-1] == (before["repos"] or [])
    assert [hook["stages"] for hook in now["repos"][-1]["hooks"]] == [[name] for name in HOOKS]
    assert add_to_config(str(tmp_path)) is None


@pytest.mark.parametrize(
    "text", ["repos: []\n", "{repos: [], fail_fast: true}\n", "a: b\n", ":\n\t"]
)
def test_a_file_that_cannot_be_extended_stays(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ProjectError) as error:
        add_to_config(str(tmp_path))
    assert "- id: dvlite-pre-push" in str(error.value.hint)
    assert (tmp_path / FILE).read_text() == text


def test_the_command(repository: Repository) -> None:
    told = repository.dvlite("install", "--pre-commit")
    assert f"changed    hooks: {FILE}" in told.out
    assert "next: pre-commit install -t pre-commit -t pre-push" in told.err
    assert FILE in repository.git("diff", "--cached", "--name-only")
    assert "called by the pre-commit framework" in repository.dvlite("doctor").out
    assert repository.dvlite("install", "--pre-commit").out == "everything is installed already\n"
