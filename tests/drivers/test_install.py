"""Telling git of the drivers: settings and .gitattributes, without disturbing what is there."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from dvlite.ops.drivers import (
    RULES,
    drivers_state,
    install_drivers,
    program_of,
    uninstall_drivers,
)
from dvlite.project import Project
from tests.drivers.conftest import git
from tests.drivers.test_merge import BOTH, OURS, THEIRS, branches, files, merge
from tests.repositories import Repository

KEYS = (
    "merge.dvlite.name",
    "merge.dvlite.driver",
    "diff.dvlite.command",
    "diff.dvlite.textconv",
)


def project(r: Repository) -> Project:
    return Project.open(str(r.path))


def test_the_line_stands_beside_others_and_is_staged(repository: Repository) -> None:
    before = repository.read(".gitattributes")
    repository.write({".gitattributes": b"*.png binary\n" + before})
    assert install_drivers(project(repository)) == (*KEYS, ".gitattributes")
    lines = repository.read(".gitattributes").splitlines()
    assert (
        lines[0] == b"*.png binary" and {*RULES} <= {*lines} and b".gitignore merge=union" in lines
    )
    assert ".gitattributes" in repository.git("diff", "--cached", "--name-only")
    asked = repository.git("check-attr", "merge", "diff", "--", "a.dvl", ".gitignore")
    assert asked.count("dvlite") == 2 and "union" in asked


def test_again_changes_nothing(repository: Repository) -> None:
    install_drivers(project(repository))
    before = repository.everything(), repository.read(".git/config")
    assert install_drivers(project(repository)) == ()
    assert (repository.everything(), repository.read(".git/config")) == before
    assert drivers_state(project(repository)).installed


def test_a_clone_has_the_line_and_not_the_settings(repository: Repository) -> None:
    install_drivers(project(repository))
    repository.commit()
    repository.git("push", "--quiet", "origin", "main")
    clone = repository.clone("clone")
    state = drivers_state(project(clone))
    assert state.attributes and state.settings == KEYS and not state.installed
    assert install_drivers(project(clone)) == KEYS


@pytest.fixture
def several(repository: Repository) -> Repository:
    """Two projects in folders of one repository."""
    repository.git("rm", "-r", "--quiet", ".dvlite", ".gitattributes")
    for name in ("one", "two"):
        (repository.path / name).mkdir()
        repository.dvlite("-C", name, "init")
    return repository


def test_all_projects_of_a_repository_have_the_lines(several: Repository) -> None:
    """The settings count for all of them; where the lines lack, git would merge as text."""
    ran = several.dvlite("install")  # at the top, which is in none of them
    assert "one/.gitattributes, two/.gitattributes" in ran.out
    assert "dvlite" in several.git("check-attr", "merge", "--", "two/a.dvl")
    staged = several.git("diff", "--cached", "--name-only")
    assert "one/.gitattributes" in staged and "two/.gitattributes" in staged
    two = Project.open(str(several.path / "two"))
    assert drivers_state(two).installed
    several.write({"two/.gitattributes": b""})
    assert not drivers_state(Project.open(str(several.path / "one"))).attributes
    assert install_drivers(two) == ("two/.gitattributes",)
    uninstall_drivers(two, attributes=True)
    assert "dvlite.lock" not in several.read("one/.gitattributes").decode()


def test_a_project_that_comes_later_has_the_lines(several: Repository) -> None:
    several.dvlite("-C", "one", "install")
    (several.path / "three").mkdir()
    several.dvlite("-C", "three", "init")
    assert "dvlite" in several.git("check-attr", "merge", "--", "three/a.dvl")
    assert several.dvlite("install").out == "everything is installed already\n"
    assert several.git("diff", "--name-only") == ""


def test_taking_it_back(repository: Repository) -> None:
    before = repository.read(".gitattributes")
    install_drivers(project(repository))
    assert uninstall_drivers(project(repository)) == KEYS
    assert RULES[0] in repository.read(".gitattributes")
    assert uninstall_drivers(project(repository), attributes=True) == (".gitattributes",)
    assert repository.read(".gitattributes") == before
    assert "dvlite" not in repository.git("config", "--list", "--local")


def test_another_place_of_dvlite_is_seen_and_corrected(repository: Repository) -> None:
    install_drivers(project(repository), "/old/place/dvlite")
    assert drivers_state(project(repository)).settings == KEYS[1:]
    assert install_drivers(project(repository)) == KEYS[1:]


def test_a_name_with_spaces_percents_and_quotes(driven: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "it's 100 %P $HOME"
    folder.mkdir()
    script = folder / "dvlite"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m dvlite "$@"\n')
    script.chmod(0o755)
    install_drivers(project(driven), shlex.quote(str(script)))
    branches(driven, OURS, THEIRS)
    assert merge(driven) == 0
    assert files(driven) == BOTH
    assert "M  data/a" in driven.git("diff", "base", "ours")
    assert "tree: " in driven.git("show", "theirs")


def test_nothing_in_the_repository_is_run(
    driven: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pip's script Python starts dvlite, and git starts that in the work tree."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    program = program_of()
    monkeypatch.undo()
    assert " -c " in program
    evil = b"open('/proc/self/cwd/EVIL', 'w').close()"
    driven.write({f"{name}/__init__.py": evil for name in ("dvlite", "click", "blake3")})
    driven.write({"os.py": evil, "click.py": evil})
    install_drivers(project(driven), program)
    branches(driven, OURS, THEIRS)
    assert merge(driven) == 0
    assert "tree: " in git(driven, "show", "theirs").out
    assert "M  data/c" in git(driven, "diff", "base", "theirs").out
    assert not os.path.exists(driven.path / "EVIL")
