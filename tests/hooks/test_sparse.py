"""Sparse checkouts: what git leaves out is not missed, and comes when git brings it."""

from __future__ import annotations

import pytest

from dvlite.ops.install import install
from dvlite.project import Project
from tests.repositories import Repository


@pytest.fixture
def sparse(hooked: Repository, program: str) -> Repository:
    """A clone with the folder `near` and without the folder `far`."""
    hooked.add_and_commit({"near/a": b"near", "far/b": b"far"}, "near/a", "far/b")
    hooked.share()
    path = hooked.path.parent / "sparse"
    hooked.git("clone", "--quiet", "--no-checkout", "../origin.git", str(path))
    clone = Repository(path, hooked.store)
    clone.git("sparse-checkout", "set", "--cone", "near")
    clone.git("checkout", "--quiet")
    return clone


def test_settings_that_are_left_out_are_named(sparse: Repository) -> None:
    ran = sparse.dvlite("status", code=3)
    assert "hint: git has its settings, but they are not checked out: git sparse-" in ran.err


def test_what_is_left_out_is_not_missed(sparse: Repository, program: str) -> None:
    sparse.git("sparse-checkout", "add", ".dvlite")
    install(Project.open(str(sparse.path)), program)
    sparse.dvlite("pull")
    sparse.dvlite("status", "--exit-code")
    assert sparse.read("near/a") == b"near" and not (sparse.path / "far").exists()
    sparse.add_and_commit({"near/a": b"nearer"}, "near/a")
    sparse.git("push", "--quiet", "origin", "HEAD")
    sparse.git("sparse-checkout", "add", "far")
    assert "far/b: not in the workspace" in sparse.dvlite("status").out
    sparse.dvlite("pull")
    assert sparse.read("far/b") == b"far"
    sparse.git("sparse-checkout", "set", "--cone", "near", ".dvlite")
    sparse.dvlite("status", "--exit-code")
    sparse.git("checkout", "--quiet", "HEAD~1")
    assert sparse.read("near/a") == b"near"


def test_a_push_brings_the_data_of_commits_that_are_left_out(
    sparse: Repository, program: str
) -> None:
    sparse.git("sparse-checkout", "disable")
    install(Project.open(str(sparse.path)), program)
    sparse.dvlite("pull")
    sparse.add_and_commit({"far/b": b"farther"}, "far/b")
    sparse.git("sparse-checkout", "set", "--cone", "near")
    sparse.git("push", "--quiet", "origin", "HEAD")
    other = sparse.clone("other")
    other.dvlite("pull")
    assert other.read("far/b") == b"farther"
