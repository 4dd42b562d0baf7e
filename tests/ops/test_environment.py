"""What commands ran in: recorded and compared."""

from __future__ import annotations

import json
import platform

import pytest

from dvlite.errors import CorruptError
from dvlite.ops.environment import (
    FILE,
    Differs,
    Environment,
    compare,
    look,
    parse,
    record,
    recorded_at,
    render,
)
from dvlite.project import Project
from tests.repositories import Repository


def test_it_is_recorded_in_git_and_read_back(repository: Repository) -> None:
    repository.write({"requirements.txt": b"click\n"})
    project = Project.open(str(repository.path))
    made = record(project)
    assert made.python == platform.python_version() and "click" in made.packages
    assert list(made.locks) == ["requirements.txt"]
    assert FILE in repository.git("diff", "--cached", "--name-only")
    commit = repository.commit()
    assert recorded_at(project, commit) == made
    assert recorded_at(project, repository.git("rev-parse", "HEAD~1").strip()) is None
    assert compare(made, look(project)) == []


def test_what_differs_is_named() -> None:
    then = Environment(
        "Linux 5", "x86_64", "3.10.1", "CPython", {"a": "1", "b": "2"}, {"uv.lock": "0" * 64}
    )
    now = Environment(
        "Linux 5", "x86_64", "3.11.0", "CPython", {"a": "2", "c": "3"}, {"uv.lock": "1" * 64}
    )
    assert compare(then, now) == [
        Differs("python", "3.10.1", "3.11.0"),
        Differs("lock file uv.lock", "0" * 12, "1" * 12),
        Differs("package a", "1", "2"),
        Differs("package b", "2", ""),
        Differs("package c", "", "3"),
    ]


def test_the_bytes_are_these() -> None:
    data = render(Environment("Linux 5", "x86_64", "3.10.1", "CPython", {"a": "1"}, {}))
    assert data.decode() == (
        '{\n "dvlite": 1,\n "implementation": "CPython",\n "locks": {},\n "machine": "x86_64",\n'
        ' "packages": {\n  "a": "1"\n },\n "python": "3.10.1",\n "system": "Linux 5"\n}\n'
    )


@pytest.mark.parametrize(
    "change", [{"dvlite": 2}, {"packages": []}, {"packages": {"a": 1}}, {"python": None}]
)
def test_anything_else_is_refused(change: dict[str, object]) -> None:
    content = {**json.loads(render(Environment())), **change}
    with pytest.raises(CorruptError, match=r"environment\.json cannot be read"):
        parse(json.dumps(content).encode())


def test_without_python_the_system_is_still_known(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    found = look(Project.open(str(repository.path)))
    assert found.python == "" and found.machine == platform.machine()
