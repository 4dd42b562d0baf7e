"""What hostile names and settings make dvlite say and start: no secret, no escape, no option."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvlite.cli.output import emit_json
from dvlite.errors import UsageError
from dvlite.storage.sshlogin import command, place_of, sftp_options
from dvlite.workspace.config import redact
from tests.attacks.hostile import SECRET, arm, check_words, executed, surroundings
from tests.repositories import Repository

USAGE, PROJECT, MISSING, REMOTE = 2, 3, 6, 7

REPORTS = (
    ("config",),
    ("config", "--json"),
    ("remote", "list"),
    ("remote", "list", "--json"),
    ("remote", "show", "a"),
    ("remote", "show", "a", "--json"),
    ("doctor",),
    ("doctor", "--json"),
    ("status",),
    ("push", "-r", "a"),
    ("fetch", "-r", "a"),
)


def configure(r: Repository, text: str) -> None:
    (r.path / ".dvlite" / "config.toml").write_text("dvlite = 1\n" + text)


@pytest.mark.parametrize(
    "url",
    [
        f"sftp://me:{SECRET}@127.0.0.1:1/x",
        f"http://{SECRET}@127.0.0.1:1/x",
        f"https://me:{SECRET}@127.0.0.1:1/x",
        f"https://127.0.0.1:1/x?X-Amz-Signature={SECRET}&b={SECRET}",
    ],
)
def test_secrets_in_urls_are_never_shown(repository: Repository, url: str) -> None:
    """Somebody has committed them, which dvlite itself would have refused."""
    configure(repository, f'[remote.a]\nurl = "{url}"\nretries = "0"\ntimeout = "2"\n')
    repository.write({"model": b"m"})
    repository.dvlite("add", "model")
    for words in REPORTS:
        check_words(repository.dvlite(*words, code=None))


def test_secret_options_are_never_shown(repository: Repository) -> None:
    options = ("secret_access_key", "session_token", "password", "connection_string", "key", "auth")
    lines = "".join(f'{name} = "{SECRET}"\n' for name in options)
    configure(repository, f'[remote.a]\nurl = "memory://x"\n{lines}')
    for words in REPORTS[:9]:
        check_words(repository.dvlite(*words, code=None))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("/a:b@c?x=y", "/a:b@c?x=y"),
        ("s3://bucket/a@b?versionId=1", "s3://bucket/a@b?versionId=***"),
        ("sftp://me@host/x", "sftp://me@host/x"),
        ("sftp://me:pw@host/x", "sftp://me:***@host/x"),
        ("https://token@host/x", "https://***@host/x"),
        ("HTTPS://a:b@host", "HTTPS://***:***@host"),
        ("https://h/p?sig=a&t=b#f", "https://h/p?sig=***&t=***#f"),
    ],
)
def test_redacted_urls(url: str, shown: str) -> None:
    assert redact(url) == shown


HOSTS = (
    "-oProxyCommand=touch executed",
    "$(touch executed)",
    "h;touch executed",
    "h\ntouch executed",
    "`touch executed`",
    "|touch executed",
    "a b",
    "%h",
    "",
)


@pytest.mark.parametrize("scheme", ["ssh", "sftp"])
@pytest.mark.parametrize("host", HOSTS)
def test_hosts_and_users_are_plain_words(scheme: str, host: str) -> None:
    for url in (f"{scheme}://{host}/x", f"{scheme}://{host}@h/x"):
        if url != f"{scheme}://@h/x":
            with pytest.raises(UsageError):
                place_of(url, sftp_options({}))
    with pytest.raises(UsageError):
        place_of(f"{scheme}://h/x", sftp_options({"user": host or " "}))
    with pytest.raises(UsageError):
        place_of(f"{scheme}://h/x", sftp_options({"port": host or " "}))


def test_an_ssh_command_line_ends_its_options_before_the_host() -> None:
    words = command(place_of("ssh://h/-rf", sftp_options({})), sftp_options({}))
    assert words[words.index("--") :] == ["--", "h", "sftp"]


@pytest.mark.parametrize("option", ["keyfile", "known_hosts", "endpoint", "connection_string"])
def test_whose_key_and_which_server_is_not_for_others_to_say(
    repository: Repository, tmp_path: Path, option: str
) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"private")
    configure(repository, f'[remote.a]\nurl = "sftp://h/x"\n{option} = "{key}"\n')
    ran = repository.dvlite("config", "--json")
    assert f"remote.a.{option}" not in json.loads(ran.out)
    ran = repository.dvlite("config", f"remote.a.{option}", str(key), code=USAGE)
    assert "for this clone only" in ran.err and "--local" in ran.err
    repository.dvlite("config", "--local", f"remote.a.{option}", str(key))
    assert f"remote.a.{option}" in json.loads(repository.dvlite("config", "--json").out)


@pytest.mark.parametrize("name", ["--output=executed", "-x", "--upload-pack=touch executed"])
def test_branches_and_tags_that_look_like_options(repository: Repository, name: str) -> None:
    """git itself refuses to make them, and a hostile server can send them."""
    arm(repository)
    commit = repository.add_and_commit({"data/a": b"a"}, "data")
    for kind in ("heads", "tags"):
        path = repository.path / ".git" / "refs" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(commit + "\n")
    before = surroundings(repository)
    for words in (
        ("log", "--all"),
        ("du",),
        ("status",),
        ("push", "--all-commits"),
        ("fetch", f"--rev={name}"),
        ("ls", f"--rev={name}"),
        ("diff", "--", name),
        ("get", f"{name}:data", "-o", "../got"),
        ("checkout", f"--rev={name}", "data"),
        ("reproduce", "-o", "../again", "--", name),
    ):
        check_words(repository.dvlite(*words, code=None))
        assert not executed(repository)
    now = {k: v for k, v in surroundings(repository).items() if not k.startswith(("got", "again"))}
    assert now == before


ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\u009b2J\u202e"


def test_commits_that_would_write_over_the_terminal(repository: Repository) -> None:
    repository.add_and_commit({"data/a": b"a"}, "data")
    repository.write({"data/a": b"b"})
    repository.dvlite("add", "data")
    repository.git(
        "-c",
        f"user.name=x{ESCAPES}".replace("\r", ""),
        "commit",
        "--quiet",
        "-a",
        "-m",
        f"subject {ESCAPES} subject",
    )
    repository.write({f"data/{ESCAPES}".replace("/", ""): b"c", f"data/{ESCAPES}": b"d"})
    repository.dvlite("add", "data")
    for words in (
        ("log",),
        ("log", "--json"),
        ("diff",),
        ("diff", "HEAD~1"),
        ("diff", "--json"),
        ("ls", "-R"),
        ("ls", "-R", "--json"),
        ("status",),
        ("get", f"data/{ESCAPES}", "-o", "../got"),
    ):
        check_words(repository.dvlite(*words, code=None))


def test_json_escapes_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"a": ESCAPES, "ü": "日本"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": ESCAPES, "ü": "日本"}
    assert "ü" in out and all(char.isprintable() or char == "\n" for char in out)


@pytest.mark.parametrize("words", [("ls", "-R"), ("ls", "-R", "--json"), ("log",)])
def test_a_reader_that_goes_away_is_no_error(
    repository: Repository, words: tuple[str, ...]
) -> None:
    repository.add_and_commit({f"data/{'n' * 200}{n}": b"" for n in range(2000)}, "data")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "dvlite", *words],
        cwd=repository.path,
        stdout=writing,
        stderr=subprocess.PIPE,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_without_a_standard_output_nothing_fails(repository: Repository) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -m dvlite status >&-', sys.executable],
        cwd=repository.path,
        stderr=subprocess.PIPE,
    )
    assert (done.returncode, done.stderr) == (0, b"")
