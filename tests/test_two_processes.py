"""Several dvlite processes at once: both succeed, and what they leave is consistent."""

from __future__ import annotations

import random

import pytest

from tests.repositories import Repository, finished


def files(folder: str, seed: int, count: int = 150) -> dict[str, bytes]:
    source = random.Random(seed)
    some = {f"{folder}/f{n:03}": source.randbytes(source.randrange(9000)) for n in range(count)}
    return {**some, f"{folder}/large": source.randbytes(2_000_000)}


def at_once(*started: tuple[Repository, tuple[str, ...]]) -> None:
    """Runs commands at the same time; all have to succeed."""
    processes = [repository.start(*words) for repository, words in started]
    for process in processes:
        finished(process)


def test_two_adds_of_different_paths_both_succeed(repository: Repository) -> None:
    repository.write({**files("one", 1), **files("two", 2)})
    expected = repository.data("one"), repository.data("two")
    at_once((repository, ("add", "one")), (repository, ("add", "two")))
    staged = repository.git("diff", "--cached", "--name-only").split()
    assert staged == [".gitignore", "one.dvl", "two.dvl"]
    assert {b"/one", b"/two"} <= set(repository.read(".gitignore").split())
    repository.dvlite("status", "--exit-code")
    repository.commit()
    repository.share()
    clone = repository.clone("clone")
    clone.dvlite("pull")
    assert (clone.data("one"), clone.data("two")) == expected


def test_two_adds_of_the_same_path_both_succeed(repository: Repository) -> None:
    repository.write(files("data", 1))
    expected = repository.data()
    at_once(*[(repository, ("add", "data"))] * 3)
    repository.dvlite("status", "--exit-code")
    repository.commit()
    (repository.path / "data").rename(repository.path.parent / "kept")
    repository.dvlite("checkout")
    assert repository.data() == expected


def test_adds_in_two_worktrees_share_one_cache(repository: Repository) -> None:
    tree = Repository(repository.path.parent / "tree", repository.store)
    repository.git("worktree", "add", "--quiet", "-b", "other", str(tree.path))
    for one, seed in ((repository, 1), (tree, 2)):
        one.write({**files("data", seed), **files("both", 3)})
    at_once((repository, ("add", "data", "both")), (tree, ("add", "data", "both")))
    for one in (repository, tree):
        expected = one.data(), one.data("both")
        for name in ("data", "both"):
            (one.path / name).rename(one.path.parent / f"{one.path.name}-{name}")
        one.dvlite("checkout")
        assert (one.data(), one.data("both")) == expected


def test_two_clones_push_at_once_to_one_remote(repository: Repository) -> None:
    repository.git("push", "--quiet", "origin", "HEAD")
    clones = [repository.clone(name) for name in ("one", "two")]
    for seed, clone in enumerate(clones):
        clone.write({**files(clone.path.name, seed), **files("both", 9)})
        clone.dvlite("add", clone.path.name, "both")
        clone.commit()
    at_once(*[(clone, ("push",)) for clone in clones])
    for clone in clones:
        clone.git("push", "--quiet", "origin", f"HEAD:refs/heads/{clone.path.name}")
    for clone in clones:
        reader = repository.clone(f"reader-{clone.path.name}")
        reader.git("checkout", "--quiet", clone.path.name)
        reader.dvlite("pull")
        assert reader.data(clone.path.name) == clone.data(clone.path.name)
        assert reader.data("both") == clone.data("both")


@pytest.mark.parametrize("first", ["push", "pull"])
def test_a_pull_during_a_push_gets_what_its_commit_names(
    repository: Repository, first: str
) -> None:
    repository.add_and_commit(files("data", 1), "data")
    repository.share()
    expected = repository.data()
    clone = repository.clone("clone")
    repository.add_and_commit({**files("data", 2), **files("more", 3)}, "data", "more")
    commands = [(repository, ("push",)), (clone, ("pull",))]
    at_once(*(commands if first == "push" else reversed(commands)))
    assert clone.data() == expected
    repository.git("push", "--quiet", "origin", "HEAD")
    clone.git("pull", "--quiet", "origin", "main")
    clone.dvlite("pull")
    assert (clone.data(), clone.data("more")) == (repository.data(), repository.data("more"))


def test_status_during_an_add_never_fails(repository: Repository) -> None:
    repository.add_and_commit(files("data", 1), "data")
    repository.write(files("data", 2))
    at_once((repository, ("add", "-u")), *[(repository, ("status",))] * 3)
    repository.dvlite("status", "--exit-code")
