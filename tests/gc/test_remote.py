"""`dvlite gc --remote`: what nobody needs goes, and nothing else, whatever happens meanwhile."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dvlite.atomic import temporary_name
from dvlite.errors import RemoteError
from dvlite.ops import gcremote
from dvlite.ops.gcremote import GcRemoteRequest, plan_remote, run_remote
from dvlite.project import Project
from dvlite.storage.backend import Backend, Stored
from dvlite.storage.folderbackend import FolderBackend
from dvlite.storage.publishedlist import read_names
from dvlite.storage.remote import Marker, marker_name, read_marker, render_marker
from tests.repositories import Repository, make_repository
from tests.servers.azure import AzureServer
from tests.servers.gcs import GcsServer
from tests.servers.s3 import S3Server

NOW = ("gc", "--remote", "--grace-days", "0", "--exclusive", "--yes")
REQUEST = GcRemoteRequest(grace_days=0, exclusive=True)
Versions = dict[str, dict[str, bytes]]


def files_of(number: int) -> dict[str, bytes]:
    """Version `number`: files of its own, some that all have, and one that changes a little."""
    own, common = random.Random(number), random.Random(0)
    large = bytearray(common.randbytes(600_000))
    large[number * 1000 : number * 1000 + 500] = own.randbytes(500)
    return {
        **{f"data/own{one}": own.randbytes(900) for one in range(5)},
        **{f"data/same{one}": common.randbytes(900) for one in range(5)},
        "data/large": bytes(large),
        "model": own.randbytes(200_000),
    }


def make_versions(repository: Repository, numbers: range) -> Versions:
    """A commit for each version, pushed; commit -> its files."""
    versions = {}
    for number in numbers:
        files = files_of(number)
        for name in ("data", "model"):
            path = repository.path / name
            if path.is_dir():
                for inside in path.iterdir():
                    inside.unlink()
            else:
                path.unlink(missing_ok=True)
        commit = repository.add_and_commit(files, "data", "model")
        repository.share()
        versions[commit] = files
    return versions


def check(repository: Repository, versions: Versions) -> None:
    """Every version is restored from a fresh clone with an empty cache."""
    name = f"fresh{sum(1 for _ in repository.path.parent.iterdir())}"
    fresh = repository.clone(name)
    for commit, files in versions.items():
        fresh.git("checkout", "--quiet", commit)
        fresh.dvlite("pull")
        assert {one: fresh.read(one) for one in files} == files


def drop_all_but_the_last(repository: Repository, versions: Versions) -> Versions:
    """Makes the newest version the only one that git knows, here and at the origin."""
    last = list(versions)[-1]
    tree = repository.git("rev-parse", "HEAD^{tree}").strip()
    commit = repository.git("commit-tree", tree, "-m", "alone").strip()
    repository.git("reset", "--quiet", "--hard", commit)
    repository.git("push", "--quiet", "--force", "origin", "HEAD")
    forget_history(repository)
    origin = Repository(repository.path.parent / "origin.git", repository.store)
    origin.git("gc", "--quiet", "--prune=now")
    return {commit: versions[last]}


def forget_history(repository: Repository) -> None:
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")


def packs(repository: Repository) -> set[str]:
    return {path.name for path in (repository.store / "packs").glob("*/*")}


def stored(store: Path) -> int:
    return sum(path.stat().st_size for path in store.rglob("*") if path.is_file())


def collected(repository: Repository, *words: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(repository.dvlite(*NOW, "--json", *words).out)
    return found


@pytest.fixture
def versions(repository: Repository) -> Versions:
    return make_versions(repository, range(4))


def test_the_marker_has_these_bytes() -> None:
    marker = Marker(frozenset(["bb" * 16, "aa" * 16]), frozenset(["cc" * 32]))
    assert render_marker(marker).decode() == (
        '{\n "dvlite": 1,\n "new": [\n'
        f'  "{"aa" * 16}",\n  "{"bb" * 16}"\n ],\n "condemned": [\n  "{"cc" * 32}"\n ]\n}}\n'
    )
    assert read_marker(render_marker(marker), 7) == marker
    assert marker_name(7) == "index/gc-0000000000000007"


def test_what_is_needed_stays(repository: Repository, versions: Versions) -> None:
    before = packs(repository)
    found = collected(repository)
    assert found["deleted_packs"] == found["condemned_packs"] == 0
    assert packs(repository) == before
    check(repository, versions)


def test_what_nobody_needs_goes_after_the_grace_period(
    repository: Repository, versions: Versions
) -> None:
    left = drop_all_but_the_last(repository, versions)
    before = stored(repository.store)
    spared = json.loads(repository.dvlite("gc", "--remote", "--yes", "--json").out)
    assert spared["condemned_packs"] == 0 and spared["young_packs"] > 0
    first = collected(repository)
    assert first["condemned_packs"] > 0 and first["deleted_packs"] == 0
    check(repository, left)
    second = collected(repository)
    assert second["deleted_packs"] == first["condemned_packs"]
    assert stored(repository.store) < before - 500_000
    check(repository, left)
    assert json.loads(repository.dvlite("remote", "check", "--full", "--json").out)["clean"]
    assert collected(repository)["deleted_packs"] == 0


def test_a_dry_run_changes_nothing(repository: Repository, versions: Versions) -> None:
    drop_all_but_the_last(repository, versions)
    before = repository.everything()
    ran = repository.dvlite(
        "gc", "--remote", "--dry-run", "--grace-days", "0", "--exclusive", "--no-fetch"
    )
    assert "condemn: " in ran.out and repository.everything() == before


def test_what_lives_in_a_sparse_pack_is_copied_out(repository: Repository) -> None:
    big = {f"data/f{one}": random.Random(one).randbytes(60_000) for one in range(30)}
    repository.add_and_commit(big, "data")
    repository.share()
    for one in range(28):
        (repository.path / f"data/f{one}").unlink()
    repository.add_and_commit({}, "data")
    repository.share()
    left = drop_all_but_the_last(
        repository, {"x": {name: big[name] for name in ("data/f28", "data/f29")}}
    )
    first = collected(repository)
    assert first["moved_packs"] >= 1 and first["moved_bytes"] >= 120_000
    check(repository, left)
    second = collected(repository)
    assert second["deleted_packs"] >= 1
    assert stored(repository.store) < 300_000
    check(repository, left)


def test_a_push_uses_nothing_that_gc_condemned(repository: Repository, versions: Versions) -> None:
    again = next(iter(versions.values()))
    left = drop_all_but_the_last(repository, versions)
    assert collected(repository)["condemned_packs"]
    commit = repository.add_and_commit(again, "data", "model")
    repository.share()
    assert collected(repository)["deleted_packs"]
    check(repository, {**left, commit: again})


def test_what_is_pushed_while_gc_plans_stays(repository: Repository, versions: Versions) -> None:
    """Its content is dead when gc looks; it is pushed, and found to be there, before gc marks."""
    again = next(iter(versions.values()))
    left = drop_all_but_the_last(repository, versions)
    other = repository.clone("other")
    other.dvlite("pull")
    gc = plan_remote(Project.open(str(repository.path)), REQUEST)
    assert gc.plan.condemned
    commit = other.add_and_commit(again, "data", "model")
    other.share()
    run_remote(Project.open(str(repository.path)), gc)
    for _ in range(2):
        collected(repository)
        check(repository, {**left, commit: again})
    assert json.loads(repository.dvlite("remote", "check", "--full", "--json").out)["clean"]


def test_nothing_goes_while_a_segment_is_cut_short(
    repository: Repository, versions: Versions
) -> None:
    """What only that names would look dead, though it is in use."""
    index = sorted((repository.store / "index").iterdir(), key=lambda path: path.stat().st_mtime)
    index[-1].write_bytes(index[-1].read_bytes()[:-5])
    before = packs(repository)
    for _ in range(2):
        ran = repository.dvlite(*NOW, code=8)
        assert "is damaged: it has " in ran.err and "remote check --repair" in ran.err
    assert packs(repository) == before
    repository.dvlite("remote", "check", "--repair")
    collected(repository)
    check(repository, versions)


def test_readers_behind_a_web_server_are_told_what_was_deleted(
    repository: Repository, versions: Versions
) -> None:
    repository.dvlite("remote", "publish")
    drop_all_but_the_last(repository, versions)
    assert collected(repository)["condemned_packs"]
    assert collected(repository)["deleted_packs"]
    backend = FolderBackend(str(repository.store))
    assert {one.name for one in read_names(backend)} <= {one.name for one in backend.list("")}
    assert json.loads(repository.dvlite("remote", "check", "--json").out)["clean"]


def test_damaged_word_of_this_clone_does_not_stop_gc(
    repository: Repository, versions: Versions
) -> None:
    for path in (repository.store / "roots").iterdir():
        path.write_bytes(b"damaged")
    collected(repository)
    collected(repository)
    assert json.loads(repository.dvlite("remote", "check", "--json").out)["clean"]
    check(repository, versions)


def test_what_a_killed_push_left_unfinished_goes(
    repository: Repository, versions: Versions
) -> None:
    left = Path(temporary_name(str(repository.store / "tmp"), ".tmp-"))
    left.write_bytes(bytes(1000))
    repository.dvlite("gc", "--remote", "--yes")
    assert left.exists()
    assert collected(repository)["deleted_files"] > 0
    assert not left.exists()
    check(repository, versions)


def test_two_gcs_do_not_meet(repository: Repository, versions: Versions) -> None:
    left = drop_all_but_the_last(repository, versions)
    project = Project.open(str(repository.path))
    slow, quick = plan_remote(project, REQUEST), plan_remote(project, REQUEST)
    run_remote(project, quick)
    with pytest.raises(RemoteError, match="another gc"):
        run_remote(project, slow)
    check(repository, left)


def test_what_another_clone_pushed_and_git_does_not_know_stays(
    repository: Repository, versions: Versions
) -> None:
    other = repository.clone("other")
    mine = {"data/x": b"only there" * 50}
    other.dvlite("pull")
    commit = other.add_and_commit(mine, "data")
    other.dvlite("push")
    assert collected(repository)["condemned_packs"] == 0
    collected(repository)
    other.git("push", "--quiet", "origin", "HEAD")
    check(repository, {**versions, commit: mine})


def test_what_a_copy_of_the_repository_pushed_stays(repository: Repository, tmp_path: Path) -> None:
    """As `cp -r` makes one, once the first had pushed."""
    repository.add_and_commit({"data/a": b"1"}, "data")
    repository.dvlite("push")
    copy = Repository(tmp_path / "copy", repository.store)
    shutil.copytree(repository.path, copy.path, symlinks=True)
    copy.add_and_commit({"data/x": b"only in the copy" * 50}, "data")
    copy.dvlite("push")
    found = json.loads(repository.dvlite("gc", "--remote", "--dry-run", "--json").out)
    assert len(found["clones"]) == 1
    assert collected(repository)["condemned_packs"] == 0
    collected(repository)
    shutil.rmtree(copy.path / ".git/dvlite/cache")
    copy.dvlite("fetch")


def test_a_forgotten_clone_no_longer_counts(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"1"}, "data")
    repository.share()
    other = repository.clone("other")
    other.dvlite("pull")
    other.add_and_commit({"data/x": b"only there" * 50}, "data")
    other.dvlite("push")
    clone = (other.path / ".git/dvlite/clone-id").read_text().split()[0]
    found = json.loads(repository.dvlite("gc", "--remote", "--dry-run", "--json").out)
    assert found["clones"] == [clone]
    assert "no clone" in repository.dvlite(*NOW, "--forget", "00000000", code=6).err
    assert collected(repository, "--forget", clone[:8])["condemned_packs"] > 0
    assert not [path for path in (repository.store / "roots").iterdir() if clone in path.name]


def test_another_project_on_the_same_remote_keeps_all_that_it_pushed(
    repository: Repository, versions: Versions, tmp_path: Path
) -> None:
    """Its history is not known here, only its word."""
    (tmp_path / "elsewhere").mkdir()
    made = make_repository(tmp_path / "elsewhere")
    other = Repository(made.path, repository.store)
    other.set_remote()
    # the same content as here, so that the remote needs nothing new of it
    theirs = make_versions(other, range(2))
    left = drop_all_but_the_last(repository, versions)
    for _ in range(2):
        collected(repository)
    check(repository, left)
    check(other, theirs)
    gone = drop_all_but_the_last(other, theirs)
    assert collected(other)["condemned_packs"] > 0
    assert collected(repository)["deleted_packs"] > 0
    check(other, gone)
    check(repository, left)


@pytest.mark.parametrize("words", [(), ("--no-fetch",)])
def test_refused_where_history_is_not_known(repository: Repository, words: tuple[str]) -> None:
    repository.add_and_commit({"data/a": b"1"}, "data")
    repository.share()
    repository.add_and_commit({"data/a": b"2"}, "data")
    repository.share()
    url = f"file://{repository.path.parent / 'origin.git'}"
    repository.git("clone", "--quiet", "--depth=1", url, str(repository.path.parent / "shallow"))
    shallow = Repository(repository.path.parent / "shallow", repository.store)
    assert "--unshallow" in shallow.dvlite(*NOW, *words, code=5).err


def test_words_that_do_not_fit_are_refused(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"1"}, "data")
    repository.share()
    for words in (["--keep-days", "1"], ["--force", "data"], ["--workspaces-only"], ["--unnamed"]):
        assert "not about a remote" in repository.dvlite("gc", "--remote", *words, code=2).err
    assert "--exclusive" in repository.dvlite("gc", "--remote", "--grace-days", "0", code=2).err
    assert "at least 2" in repository.dvlite("gc", "--grace-days", "1", code=2).err
    assert "goes with --remote" in repository.dvlite("gc", "--no-fetch", code=2).err
    (repository.path.parent / "origin.git").rename(repository.path.parent / "away.git")
    assert "--no-fetch" in repository.dvlite("gc", "--remote", code=6).err


def test_somebody_has_to_confirm(repository: Repository, versions: Versions) -> None:
    drop_all_but_the_last(repository, versions)
    ran = repository.dvlite("gc", "--remote", "--grace-days", "0", "--exclusive", code=5)
    assert "then: --yes" in ran.err


def test_something_needed_that_is_missing_stops_it(
    repository: Repository, versions: Versions
) -> None:
    victim = sorted((repository.store / "packs").glob("*/*"), key=lambda path: path.stat().st_size)
    before = {path for path in repository.store.rglob("*") if path.is_file()}
    victim[-1].unlink()
    assert "remote check --repair" in repository.dvlite(*NOW, code=8).err
    assert {path for path in repository.store.rglob("*") if path.is_file()} == before - {victim[-1]}
    check(repository, {})


def test_many_small_packs_and_segments_are_joined(repository: Repository) -> None:
    for number in range(34):
        repository.add_and_commit({f"data/{number}": b"%d" % number * 100}, "data")
        repository.dvlite("push")
    repository.share()
    commit = repository.git("rev-parse", "HEAD").strip()
    left = {commit: {f"data/{n}": b"%d" % n * 100 for n in range(34)}}
    assert len(packs(repository)) == 68
    found = collected(repository)
    assert found["moved_packs"] == 68
    collected(repository)
    assert len(packs(repository)) == 2
    segments = [path.name for path in (repository.store / "index").glob("s-*")]
    assert len(segments) == 1
    check(repository, left)


# -- interruptions ---------------------------------------------------------------------------------


class Interrupted(Exception):
    """The machine stops here."""


class Failing(Backend):
    """A storage whose user is gone after so many changes."""

    def __init__(self, inner: Backend, after: int) -> None:
        self.inner, self.left, self.url = inner, after, inner.url

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Interrupted

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        return self.inner.read(name, offset, length)

    def list(self, folder: str) -> list[Stored]:
        return self.inner.list(folder)

    def write(self, name: str, data: bytes | memoryview) -> None:
        self._step()
        self.inner.write(name, data)

    def write_if_absent(self, name: str, data: bytes) -> bool:
        self._step()
        return self.inner.write_if_absent(name, data)

    def delete(self, name: str) -> None:
        self._step()
        self.inner.delete(name)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    original = gcremote.open_named

    def set_up(after: int) -> None:
        def opened(project: Project, name: str) -> object:
            remote = original(project, name)
            assert isinstance(remote.backend, FolderBackend)
            return replace(remote, backend=Failing(remote.backend, after))

        monkeypatch.setattr(gcremote, "open_named", opened)

    yield set_up
    monkeypatch.setattr(gcremote, "open_named", original)


def test_interrupted_at_any_change_all_stays_readable(
    repository: Repository, failing: Callable[[int], None]
) -> None:
    big = {f"data/f{one}": random.Random(one).randbytes(60_000) for one in range(9)}
    versions: Versions = {}
    for number in range(3):
        for one in range(2 * number):
            (repository.path / f"data/f{one}").unlink(missing_ok=True)
        here = {name: big[name] for name in sorted(big)[2 * number :]}
        versions[repository.add_and_commit(here, "data")] = here
        repository.share()
    left = drop_all_but_the_last(repository, versions)
    project = Project.open(str(repository.path))
    done, points = 0, 0
    while done < 3:
        failing(points)
        try:
            run_remote(project, plan_remote(project, REQUEST))
            done += 1
            points = 0
        except Interrupted:
            points += 1
            if points % 3 == 0:
                check(repository, left)
    check(repository, left)
    assert json.loads(repository.dvlite("remote", "check", "--full", "--json").out)["clean"]


def test_on_s3_too(repository: Repository, s3_remote: S3Server) -> None:
    url = s3_remote.new_url()
    repository.set_remote(url)
    repository.dvlite("config", "remote.store.endpoint_url", s3_remote.endpoint)
    repository.git("add", "-A")
    repository.commit()
    versions = make_versions(repository, range(2))
    left = drop_all_but_the_last(repository, versions)
    assert collected(repository)["condemned_packs"] > 0
    assert collected(repository)["deleted_packs"] > 0
    check(repository, left)
    repository.dvlite("config", "remote.store.driver", "s3fs")
    repository.git("add", "-A")
    repository.commit()
    again = make_versions(repository, range(1))
    drop_all_but_the_last(repository, {**left, **again})
    assert collected(repository)["condemned_packs"] > 0
    assert collected(repository)["deleted_packs"] > 0


def collect_twice(repository: Repository) -> None:
    """Two versions, one of which nobody needs; it goes, and the other is restored elsewhere."""
    versions = make_versions(repository, range(2))
    left = drop_all_but_the_last(repository, versions)
    assert collected(repository)["condemned_packs"] > 0
    assert collected(repository)["deleted_packs"] > 0
    check(repository, left)


def test_on_google_too(
    no_cloud: None,
    repository: Repository,
    gcs_server: GcsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint)  # where clones find it too
    repository.set_remote(gcs_server.new_url())
    repository.dvlite("config", "remote.store.anon", "true")
    repository.git("add", "-A")
    repository.commit()
    collect_twice(repository)


@pytest.mark.parametrize("driver", ["obstore", "adlfs"])
def test_on_azure_too(
    no_cloud: None,
    repository: Repository,
    azure_server: AzureServer,
    driver: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)
    repository.set_remote(azure_server.new_url())
    repository.dvlite("config", "remote.store.driver", driver)
    repository.git("add", "-A")
    repository.commit()
    collect_twice(repository)
