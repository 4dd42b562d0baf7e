"""A folder becomes a symbolic link in the middle of a command: nothing is written where it leads.

The swap happens at the worst moment, inside the command: after everything was looked at, right
before a certain system call.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.hostile import arm, check_words, executed, surroundings
from tests.repositories import Repository

Swap = Callable[[], None]


def before_call(monkeypatch: pytest.MonkeyPatch, name: str, when: Any, swap: Swap) -> list[str]:
    """Has `swap` done once, before the first call of `os.<name>` of which `when` says yes."""
    original, done = getattr(os, name), list[str]()

    def call(*words: Any, **more: Any) -> Any:
        if not done and when(*words):
            done.append(name)
            swap()
        return original(*words, **more)

    monkeypatch.setattr(os, name, call)
    return done


def becomes_link(folder: Path, target: Path) -> Swap:
    def swap() -> None:
        folder.rename(folder.with_name(folder.name + ".moved"))
        folder.symlink_to(target)

    return swap


def is_named(*names: bytes | str) -> Callable[..., bool]:
    wanted = {os.fsencode(name) for name in names}
    return lambda path, *rest: (
        isinstance(path, str | bytes) and os.path.basename(os.fsencode(path)) in wanted
    )


@pytest.fixture
def project(repository: Repository) -> Repository:
    """Two versions of `in/data`, the second checked out; `v1` is the first."""
    arm(repository)
    files = {f"in/data/sub/{n}": b"%d" % n for n in range(5)}
    repository.add_and_commit({**files, "in/data/top": b"1"}, "in/data")
    repository.git("tag", "v1")
    repository.add_and_commit({"in/data/sub/3": b"three", "in/data/new/x": b"x"}, "in/data")
    return repository


def run_and_check(r: Repository, *words: str) -> None:
    before = surroundings(r)
    ran = r.dvlite(*words, code=None)
    check_words(ran)
    assert surroundings(r) == before
    assert not executed(r)


@pytest.mark.parametrize("call", ["open", "mkdir", "rename", "unlink"])
@pytest.mark.parametrize("what", ["in", "in/data", "in/data/sub", ".dvlite/tmp", ".dvlite"])
def test_a_folder_that_changes(
    project: Repository, monkeypatch: pytest.MonkeyPatch, what: str, call: str
) -> None:
    """Whichever is swapped before whichever call; twenty moments, of which the first fits."""
    old = project.git("show", "v1:in/data.dvl")
    project.write({"in/data.dvl": old.encode()})
    swap = becomes_link(project.path / what, project.path.parent / "victim" / "tmp")
    places = {
        "open": is_named("sub", "data"),
        "mkdir": lambda name, *rest: os.fsencode(name) != b"tmp",
        "rename": is_named("0", "1", "2", "3"),
        "unlink": is_named("3", "x"),
    }
    done = before_call(monkeypatch, call, places[call], swap)
    run_and_check(project, "checkout")
    assert done == [call], "the moment did not come"


@pytest.mark.parametrize("what", ["in", ".dvlite/tmp"])
@pytest.mark.parametrize("call", ["mkdir", "rename"])
def test_a_folder_above_one_that_is_made_anew(
    project: Repository, monkeypatch: pytest.MonkeyPatch, what: str, call: str
) -> None:
    (project.path / "in" / "data").rename(project.path / "gone")
    (project.path / ".dvlite" / "tmp").mkdir(exist_ok=True)
    swap = becomes_link(project.path / what, project.path.parent / "victim" / "tmp")
    when = {"mkdir": is_named("sub"), "rename": lambda name, *rest: "new-" in os.fsdecode(name)}
    done = before_call(monkeypatch, call, when[call], swap)
    run_and_check(project, "checkout")
    assert done == [call], "the moment did not come"


def test_what_is_added_is_not_read_from_elsewhere(
    project: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that becomes a link to secrets after it was scanned: none of them is taken up."""
    victim = project.path.parent / "victim"
    (victim / "0").write_bytes(b"secret of somebody")
    project.write({"in/data/sub/0": b"my own new bytes.."})
    swap = becomes_link(project.path / "in" / "data" / "sub", victim)
    done = before_call(monkeypatch, "open", is_named("0"), lambda: None)
    scanned = before_call(monkeypatch, "scandir", lambda *rest: False, lambda: None)
    assert not scanned

    from dvlite.workspace.take import Taker

    original = Taker.take

    def take(self: Taker, batch: Any) -> Any:
        if not (project.path / "in" / "data" / "sub").is_symlink():
            swap()
        return original(self, batch)

    monkeypatch.setattr(Taker, "take", take)
    before = surroundings(project)
    check_words(project.dvlite("add", "in/data", code=None))
    assert surroundings(project) == before
    objects = project.path / ".git" / "dvlite" / "cache"
    assert not any(
        b"secret of somebody" in path.read_bytes() for path in objects.rglob("*") if path.is_file()
    )
    assert done in ([], ["open"])
