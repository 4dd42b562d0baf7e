"""remote and config, as people use them."""

from __future__ import annotations

import json

import pytest

from tests.repositories import Repository


@pytest.fixture(name="repository")
def without_a_remote(repository: Repository) -> Repository:
    repository.dvlite("remote", "remove", "store")
    repository.git("commit", "-q", "-a", "--allow-empty", "-m", "no remote")
    return repository


def test_the_first_remote_becomes_the_default_and_is_committed(repository: Repository) -> None:
    repository.dvlite("remote", "add", "near", str(repository.store))
    repository.dvlite("remote", "add", "far", "s3://bucket/x")
    assert repository.dvlite("remote", "default").out == "near\n"
    assert ".dvlite/config.toml" in repository.git("diff", "--cached", "--name-only")
    listed = json.loads(repository.dvlite("remote", "list", "--json").out)
    assert [(one["name"], one["default"]) for one in listed] == [("far", False), ("near", True)]


def test_a_relative_folder_counts_from_where_one_is(repository: Repository) -> None:
    (repository.path / "sub").mkdir()
    repository.dvlite("remote", "add", "near", "../../elsewhere", "-C", "sub")
    assert repository.dvlite("config", "remote.near.url").out == "../elsewhere\n"
    repository.add_and_commit({"f": b"1"}, "f")
    repository.dvlite("push")
    assert (repository.path.parent / "elsewhere" / "dvlite.json").exists()


def test_renaming_and_removing_take_options_and_secrets_along(repository: Repository) -> None:
    repository.dvlite("remote", "add", "a", "s3://bucket")
    repository.dvlite("config", "remote.a.endpoint_url", "http://127.0.0.1:1")
    repository.dvlite("config", "--local", "remote.a.secret", "hush")
    repository.dvlite("remote", "rename", "a", "b")
    settings = repository.dvlite("config").out
    assert "remote.b.endpoint_url" in settings and "remote.b.secret = ***" in settings
    assert "remote.a" not in settings and "core.remote = b" in settings
    repository.dvlite("remote", "remove", "b")
    assert "remote" not in repository.dvlite("config").out


def test_secrets_are_neither_committed_nor_shown(repository: Repository) -> None:
    repository.dvlite("config", "remote.a.secret", "hush", code=2)
    repository.dvlite("config", "--local", "remote.a.secret", "hush")
    shown = repository.dvlite("config").out + repository.dvlite("config", "--json").out
    assert "hush" not in shown
    assert "hush" not in (repository.path / ".dvlite" / "config.toml").read_text()


def test_a_password_is_not_shown_when_a_name_is_taken(repository: Repository) -> None:
    repository.dvlite("remote", "add", "--local", "a", "sftp://me:hush@host/x")
    refused = repository.dvlite("remote", "add", "a", "/y", code=5)
    assert "sftp://me:***@host/x" in refused.err
    repository.dvlite("config", "--local", "remote.a.proxy_url", "http://me:hush@host")
    shown = [repository.dvlite("remote", *words).out for words in (["show"], ["list", "--json"])]
    assert "hush" not in "".join(shown)


def test_replacing_a_remote_also_replaces_what_this_clone_said(repository: Repository) -> None:
    repository.dvlite("remote", "add", "--local", "a", "/x")
    repository.dvlite("remote", "add", "--force", "a", "/y")
    assert repository.dvlite("config", "remote.a.url").out == "/y\n"


def test_names_that_begin_alike_are_not_taken_for_each_other(repository: Repository) -> None:
    repository.dvlite("remote", "add", "a", "/x")
    repository.dvlite("remote", "add", "a.b.c", "/y")
    repository.dvlite("remote", "rename", "a", "z")
    repository.dvlite("remote", "remove", "z")
    assert repository.dvlite("config", "--json").out.count("remote.") == 1
    assert repository.dvlite("config", "remote.a.b.c.url").out == "/y\n"


def test_a_refused_rename_changes_nothing(repository: Repository) -> None:
    repository.dvlite("remote", "add", "a", "/x")
    repository.dvlite("remote", "add", "b", "/y")
    before = repository.everything()
    repository.dvlite("remote", "rename", "a", "b", code=5)
    repository.dvlite("remote", "rename", "nothing", "c", code=6)
    repository.dvlite("remote", "rename", "a", "-c/", code=2)
    assert repository.everything() == before


def test_settings_are_listed_and_unset(repository: Repository) -> None:
    repository.dvlite("config", "cache.link", "copy")
    repository.dvlite("config", "--local", "core.jobs", "8")
    listed = repository.dvlite("config", "--list").out
    assert "cache.link = copy\n" in listed and "core.jobs = 8  (this clone only)\n" in listed
    assert "cache.link" not in repository.dvlite("config", "--list", "--local").out
    assert "--local" in repository.dvlite("config", "--unset", "core.jobs", code=2).err
    repository.dvlite("config", "--local", "--unset", "core.jobs")
    repository.dvlite("config", "--unset", "cache.link")
    assert repository.dvlite("config", "cache.link").out == "reflink,copy\n"


def test_a_setting_that_is_not_set_exits_with_1(repository: Repository) -> None:
    assert repository.dvlite("config", "core.remote", code=1).out == ""
    assert repository.dvlite("config", "core.jobs").out == "4\n"


def test_show_tells_what_a_remote_holds(repository: Repository) -> None:
    repository.dvlite("remote", "add", "near", str(repository.store))
    assert "nothing was pushed" in repository.dvlite("remote", "show").out
    repository.add_and_commit({"f": b"1" * 300_000}, "f")
    repository.dvlite("push")
    state = json.loads(repository.dvlite("remote", "show", "--json").out)
    assert state["made"] and state["packs"] == 2 and state["segments"] == 1


def test_another_endpoint_is_another_place_and_has_to_be_confirmed(repository: Repository) -> None:
    repository.dvlite("remote", "add", "near", str(repository.store))
    repository.add_and_commit({"f": b"1"}, "f")
    repository.dvlite("push")
    repository.dvlite("config", "remote.near.endpoint_url", "http://elsewhere.example")
    refused = repository.dvlite("push", code=5)
    assert "endpoint_url=http://elsewhere.example" in refused.err and "--yes" in refused.err
    repository.dvlite("push", "--yes")
    repository.dvlite("push")


def test_a_fetch_does_not_make_a_new_place_a_known_one(repository: Repository) -> None:
    repository.dvlite("remote", "add", "near", str(repository.store))
    repository.add_and_commit({"f": b"1"}, "f")
    repository.dvlite("push")
    repository.store.rename(repository.store.with_name("moved"))
    repository.dvlite("config", "remote.near.url", str(repository.store.with_name("moved")))
    (repository.path / "f").unlink()
    repository.dvlite("fetch", "-q", "--rev", "HEAD")
    repository.dvlite("pull")
    repository.dvlite("push", code=5)


def test_what_was_seen_at_another_place_is_not_said_of_the_new_one(repository: Repository) -> None:
    repository.add_and_commit({"a": b"1", "b": b"2"}, "a", "b")
    repository.dvlite("remote", "add", "store", str(repository.store))
    repository.dvlite("push")
    other = repository.path.parent / "other"
    repository.dvlite("remote", "add", "store", str(other), "--force")
    assert json.loads(repository.dvlite("status", "--json", code=None).out)["remote"] is None
    repository.dvlite("push", "--yes", "a")
    found = json.loads(repository.dvlite("status", "--json", code=None).out)["remote"]
    assert found["not_pushed"] == ["b"]
    assert json.loads(repository.dvlite("remote", "check", "--json").out)["clean"]
