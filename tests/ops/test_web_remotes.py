"""Remotes on a web server from the command line: publishing, reading, and what is refused."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvlite.errors import RemoteError
from dvlite.storage.folderbackend import FolderBackend
from tests.repositories import Repository, listing
from tests.servers.s3 import S3Server
from tests.servers.web import WebServer, serve


@pytest.fixture
def shared(repository: Repository) -> Repository:
    """Two commits of a folder and a model, pushed."""
    source = random.Random(7)
    files = {f"data/sub/{number}": b"%d" % number for number in range(80)}
    repository.add_and_commit({**files, "model": source.randbytes(400_000)}, "data", "model")
    repository.share()
    repository.add_and_commit({"data/big": source.randbytes(300_000)}, "data")
    repository.share()
    return repository


@pytest.fixture
def server(shared: Repository) -> Iterator[WebServer]:
    with serve(shared.store) as running:
        yield running


@pytest.fixture
def reader(shared: Repository, server: WebServer) -> Repository:
    """Another clone, which knows the web server's URL only."""
    clone = shared.clone("reader")
    clone.set_remote(server.url)
    return clone


def push_more(repository: Repository, name: str = "data/more") -> None:
    repository.add_and_commit({name: name.encode() * 50}, "data")
    repository.share()


def test_a_published_remote_is_read_by_every_command(
    shared: Repository, reader: Repository, server: WebServer
) -> None:
    assert "published store: " in shared.dvlite("remote", "publish").out
    reader.dvlite("pull")
    assert reader.data() == shared.data() and reader.read("model") == shared.read("model")
    assert "not pushed" not in reader.dvlite("status", "--remote").out
    reader.dvlite("fetch", "--all-commits")
    reader.dvlite("reproduce", "HEAD~1", "-o", str(reader.path.parent / "old"))
    assert not (reader.path.parent / "old" / "data" / "big").exists()
    reader.dvlite("get", "HEAD:data/big", "-o", str(reader.path.parent / "got"))
    assert "store is undamaged" in reader.dvlite("remote", "check", "--full").out
    assert "packs" in reader.dvlite("remote", "show").out
    assert reader.dvlite("du", "--remote").out
    reader.dvlite("doctor")
    reader.dvlite("remote", "copy", server.url, "./copy")
    copied = [one for one in listing(reader.path / "copy") if one.startswith("packs/")]
    assert copied == [one for one in listing(shared.store) if one.startswith("packs/")]


def test_publishing_again_changes_nothing(shared: Repository) -> None:
    assert json.loads(shared.dvlite("remote", "publish", "--dry-run", "--json").out)["written"]
    assert not (shared.store / "index" / "list").exists()
    first = json.loads(shared.dvlite("remote", "publish", "--json").out)
    assert first["written"] and first["size"] == (shared.store / "index/list").stat().st_size
    before = listing(shared.store)
    again = json.loads(shared.dvlite("remote", "publish", "--json").out)
    assert again == {**first, "written": False}
    assert "published as it is" in shared.dvlite("remote", "publish", "--dry-run").out
    assert listing(shared.store) == before


def test_an_unpublished_remote_says_what_to_do(reader: Repository) -> None:
    ran = reader.dvlite("pull", code=7)
    assert "has no index/list" in ran.err and "dvlite remote publish" in ran.err


def test_after_publishing_every_push_is_seen(shared: Repository, server: WebServer) -> None:
    shared.dvlite("remote", "publish")
    push_more(shared)
    clone = shared.clone("later")
    clone.set_remote(server.url)
    clone.dvlite("pull")
    assert clone.data() == shared.data()
    assert shared.dvlite("remote", "publish", "--dry-run").out.startswith("store is published")


def test_a_push_to_an_unpublished_remote_writes_no_list(shared: Repository) -> None:
    push_more(shared)
    assert not (shared.store / "index" / "list").exists()


def test_a_push_with_nothing_new_mends_a_stale_list(shared: Repository) -> None:
    shared.dvlite("remote", "publish")
    stale = (shared.store / "index/list").read_bytes()
    push_more(shared)
    fresh = (shared.store / "index/list").read_bytes()
    (shared.store / "index/list").write_bytes(stale)
    shared.dvlite("push")
    assert (shared.store / "index/list").read_bytes() == fresh


def test_a_list_that_cannot_be_written_is_a_warning(
    shared: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.dvlite("remote", "publish")
    write = FolderBackend.write

    def refuse(self: FolderBackend, name: str, data: bytes | memoryview) -> None:
        if name == "index/list":
            raise RemoteError("no right to write that")
        write(self, name, data)

    monkeypatch.setattr(FolderBackend, "write", refuse)
    shared.add_and_commit({"data/new": b"new"}, "data")
    ran = shared.dvlite("push")
    assert "pushed to store" in ran.out
    assert "no right to write that; dvlite remote publish store" in ran.err
    assert "no right" in json.loads(shared.dvlite("push", "--json").out)["list_problem"]
    monkeypatch.undo()
    assert shared.dvlite("push").err == ""
    assert "index/list" not in shared.dvlite("remote", "check").out


def test_writing_to_a_web_server_is_refused(
    shared: Repository, reader: Repository, server: WebServer
) -> None:
    shared.dvlite("remote", "publish")
    before = listing(shared.store)
    reader.dvlite("pull")
    for words in (
        ("push",),
        ("push", "--dry-run"),
        ("remote", "publish"),
        ("remote", "check", "--repair"),
        ("remote", "copy", str(shared.store), "store"),
        ("remote", "copy", str(shared.store), server.url),
    ):
        ran = reader.dvlite(*words, code=7)
        assert "can only be read" in ran.err and "hint: " in ran.err, words
    assert listing(shared.store) == before


def test_a_hook_lets_commits_through_whose_data_is_there(
    shared: Repository, reader: Repository
) -> None:
    shared.dvlite("remote", "publish")
    reader.dvlite("pull")
    reader.dvlite("install")
    reader.git("checkout", "-q", "-b", "mine")
    reader.commit("of code")
    reader.git("push", "--quiet", "origin", "mine")
    reader.add_and_commit({"data/mine": b"not on the remote"}, "data")
    with pytest.raises(AssertionError, match="can only be read"):
        reader.git("push", "--quiet", "origin", "mine")


def test_check_finds_a_stale_list_and_repair_writes_it_anew(
    shared: Repository, reader: Repository
) -> None:
    shared.dvlite("remote", "publish")
    path = shared.store / "index/list"
    stale = path.read_bytes()
    push_more(shared)
    fresh = path.read_bytes()
    path.write_bytes(stale)
    assert "note     index/list: lacks " in shared.dvlite("remote", "check").out
    ran = shared.dvlite("remote", "check", "--repair", "--dry-run")
    assert "would be rewritten: index/list" in ran.out
    assert path.read_bytes() == stale
    assert "rewritten: index/list" in shared.dvlite("remote", "check", "--repair").out
    assert path.read_bytes() == fresh
    assert "index/list" not in shared.dvlite("remote", "check", "--repair").out
    reader.dvlite("remote", "check")


@pytest.mark.parametrize("how", ["damaged", "names what is gone"])
def test_a_list_that_readers_fail_on_is_damage(shared: Repository, how: str) -> None:
    shared.dvlite("remote", "publish")
    path = shared.store / "index/list"
    good = path.read_bytes()
    if how == "damaged":
        path.write_bytes(good[:-10])
    else:
        away = shared.store / "index" / "s-away"
        segment = next(one for one in (shared.store / "index").glob("s-*"))
        shutil.copy(segment, away)
        name = segment.name.replace(segment.name[-32:], "f" * 32)
        segment.rename(segment.with_name(name))
        shared.dvlite("remote", "publish")
        segment.with_name(name).unlink()
        away.rename(segment)
    assert "damaged  index/list: " in shared.dvlite("remote", "check", code=1).out
    shared.dvlite("remote", "check", "--repair")
    shared.dvlite("remote", "check")
    assert path.read_bytes() == good


def test_a_repair_leaves_a_list_of_what_it_wrote(shared: Repository, reader: Repository) -> None:
    shared.dvlite("remote", "publish")
    for pack in (shared.store / "packs").rglob("*"):
        if pack.is_file():
            pack.write_bytes(pack.read_bytes()[:-1] + b"?")
    shared.dvlite("remote", "check", "--full", "--repair")
    reader.dvlite("pull")
    assert reader.data() == shared.data()
    assert "index/list" not in shared.dvlite("remote", "check").out


def test_a_copy_to_a_published_remote_is_seen(shared: Repository, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    shared.dvlite("remote", "add", "archive", str(target))
    shared.dvlite("remote", "copy", "store", "archive")
    shared.dvlite("remote", "publish", "archive")
    push_more(shared)
    shared.dvlite("remote", "copy", "store", "archive")
    with serve(target) as server:
        clone = shared.clone("clone")
        clone.set_remote(server.url)
        clone.dvlite("pull")
        assert clone.data() == shared.data()


def test_a_changed_url_is_confirmed_with_the_command_at_hand(
    shared: Repository, tmp_path: Path
) -> None:
    shared.dvlite("remote", "copy", "store", str(tmp_path / "elsewhere"))
    shared.dvlite("config", "remote.store.url", str(tmp_path / "elsewhere"))
    for words in (("push",), ("remote", "publish"), ("remote", "check", "--repair")):
        ran = shared.dvlite(*words, code=5)
        assert f"confirm it once: dvlite {' '.join(words)} --yes" in ran.err
    shared.dvlite("remote", "publish", "--yes")
    shared.dvlite("remote", "check", "--repair", "--yes")


def test_a_bucket_is_published_like_a_folder(
    shared: Repository, s3_remote: S3Server, tmp_path: Path
) -> None:
    """And what is in it, behind a web server, is what is read there."""
    url, options = s3_remote.new_url(), ("--to-option", f"endpoint_url={s3_remote.endpoint}")
    shared.dvlite("remote", "copy", "store", url, *options)
    shared.dvlite("remote", "add", "cloud", url)
    shared.dvlite("config", "remote.cloud.endpoint_url", s3_remote.endpoint)
    shared.dvlite("remote", "publish", "cloud")
    client = s3_remote.client()
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        path = tmp_path / "mirror" / item["Key"].removeprefix(prefix).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
    with serve(tmp_path / "mirror") as server:
        clone = shared.clone("clone")
        clone.set_remote(server.url)
        clone.dvlite("pull")
        assert clone.data() == shared.data()
