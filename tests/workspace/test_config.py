"""Settings: what may be written where, what is read, and that comments stay."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import DvliteError, FormatVersionError, ProjectError, UsageError
from dvlite.workspace.config import FILE, KEYS, check, check_url, load, redact
from dvlite.workspace.configedit import edit

GOLDEN = 'dvlite = 1\n\n[core]\nremote = "store"\n\n[remote.store]\nurl = "/mnt/store"\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".dvlite").mkdir()
    return tmp_path


def test_the_bytes_of_new_settings_never_change(root: Path) -> None:
    changes: dict[str, str | None] = {"core.remote": "store", "remote.store.url": "/mnt/store"}
    edit(str(root / FILE), changes, committed=True)
    assert (root / FILE).read_text() == GOLDEN


def test_comments_and_unknown_settings_survive_a_change(root: Path) -> None:
    (root / FILE).write_text("# ours\ndvlite = 1\n[future]\nthing = 3 # kept\n")
    edit(str(root / FILE), {"core.remote": "a"}, committed=True)
    edit(str(root / FILE), {"core.remote": None}, committed=True)
    assert (root / FILE).read_text().startswith("# ours\ndvlite = 1\n[future]\nthing = 3 # kept\n")
    assert load(str(root), str(root / "none")).text("future.thing") == "3"


def test_private_settings_win_and_are_nobody_elses(root: Path) -> None:
    (root / FILE).write_text(GOLDEN)
    private = root / "private" / "config.toml"
    edit(str(private), {"remote.store.url": "/near", "core.fsync": "false"}, committed=False)
    assert private.stat().st_mode & 0o077 == 0
    config = load(str(root), str(private))
    assert config.remotes()["store"].url == "/near"
    assert config.get("core.fsync") is False
    assert config.get("core.jobs") == 4


@pytest.mark.parametrize(
    "text", ["", "dvlite = 0\n", 'dvlite = "x"\n', "dvlite = [\n", "x = [1]\n"]
)
def test_what_is_no_settings_file_is_refused(root: Path, text: str) -> None:
    (root / FILE).write_text(text)
    with pytest.raises(ProjectError):
        load(str(root), "/nowhere")


def test_a_newer_version_is_refused(root: Path) -> None:
    (root / FILE).write_text("dvlite = 2\n")
    with pytest.raises(FormatVersionError):
        load(str(root), "/nowhere")


@pytest.mark.parametrize(
    "url",
    ["", "ftp://x/y", "simplecache::s3://b", "ext::sh -c x", "s3://a\n", "javascript:x://y\0"],
)
def test_places_that_a_remote_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        check_url(url)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("core.nothing", "x"),
        ("core.jobs", "0"),
        ("core.max_rate", "0"),
        ("core.max_rate", "fast"),
        ("core.max_rate", "-1M"),
        ("core.max_rate", "1T"),
        ("core.fsync", "perhaps"),
        ("cache.link", "reflink,teleport"),
        ("cache.dir", "/x"),
        ("remote.a.secret", "x"),
        ("remote.a.key", "x"),
        ("remote.a.aws_session_token", "x"),
        ("remote.a.url", "https://me:word@host/x"),
        ("remote.a.private_key", "x"),
        ("remote.a.connection_string", "x"),
        ("remote.a.endpoint_url", "https://me:word@host/x"),
        ("core.remote", "a\nb"),
        ("remote../x.url", "/x"),
        ("remote.a.bad option", "x"),
    ],
)
def test_what_must_not_be_committed_is_refused(key: str, text: str) -> None:
    with pytest.raises(UsageError):
        check(key, text, private=False)


def test_secrets_may_stay_in_one_clone_and_passwords_are_never_shown() -> None:
    check("remote.a.secret", "x", private=True)
    check("cache.dir", "/x", private=True)
    assert redact("sftp://me:word@host/x") == "sftp://me:***@host/x"
    assert redact("/a:b@c/d") == "/a:b@c/d"


def test_a_name_with_dots_is_one_name(root: Path) -> None:
    name = ".".join("ab" * 16)
    keys: dict[str, str | None] = {f"remote.{name}.url": "/x", "remote.a.b.url": "/y"}
    edit(str(root / FILE), keys, committed=True)
    assert set(load(str(root), "/nowhere").remotes()) == {name, "a.b"}
    edit(str(root / FILE), {"remote.a.b.url": None}, committed=True)
    assert set(load(str(root), "/nowhere").remotes()) == {name}


@pytest.mark.parametrize(
    "text",
    ["core = 3\n", 'remote = "x"\n', 'remote = {b = {url = "/q"}}\n', '[remote.b.c]\nurl="x"'],
)
def test_what_only_a_person_can_change_is_said_and_left(root: Path, text: str) -> None:
    (root / FILE).write_text("dvlite = 1\n" + text)
    changes = {"core.jobs": "3", "remote.a.url": "/x", "remote.b.c.url": None}
    with pytest.raises(ProjectError, match="cannot be changed by a command"):
        edit(str(root / FILE), changes, committed=True)
    assert (root / FILE).read_text() == "dvlite = 1\n" + text


def test_line_ends_of_windows_stay(root: Path) -> None:
    (root / FILE).write_bytes(b"dvlite = 1\r\n# ours\r\n")
    edit(str(root / FILE), {"core.jobs": "3"}, committed=True)
    assert (root / FILE).read_bytes().startswith(b"dvlite = 1\r\n# ours\r\n")
    assert load(str(root), "/nowhere").get("core.jobs") == 3


def test_a_committed_setting_for_one_clone_is_not_in_force(root: Path) -> None:
    (root / FILE).write_text('dvlite = 1\n[cache]\ndir = "/hostile"\n')
    config = load(str(root), "/nowhere")
    assert config.text("cache.dir") is None and "cache.dir" not in config.everything()


@given(st.text(max_size=80))
def test_no_text_makes_reading_fail_otherwise_than_with_words(text: str) -> None:
    with TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/.dvlite")
        Path(folder, FILE).write_bytes(b"dvlite = 1\n" + text.encode("utf-8", "replace"))
        with suppress(DvliteError):
            load(folder, "/nowhere").remotes()


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1", 1), ("500K", 500_000), ("20M", 20_000_000), ("1.5 MB", 1_500_000), ("2g", 2 * 10**9)],
)
def test_a_rate_is_bytes_a_second(text: str, rate: int) -> None:
    assert KEYS["core.max_rate"].read("core.max_rate", text) == rate
