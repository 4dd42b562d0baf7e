"""Documentation that lags behind the program fails here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import dvlite.errors
from dvlite.cli.main import COMMANDS
from dvlite.cli.main import dvlite as group
from dvlite.errors import DvliteError
from dvlite.workspace.config import KEYS, PROTOCOLS
from tests.repositories import Repository

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
EVERYWHERE = {"--directory", "-C", "-q", "--quiet", "-v", "--verbose", "-h", "--help"}
_MD5 = "d41d8cd98f00b204e9800998ecf8427e"  # of nothing
HEAVY = {"blake3", "zstandard", "git", "rich", "fsspec", "numpy", "tomlkit"}


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for verb in COMMANDS:
        command = group.get_command(context, verb)
        assert command is not None
        yield verb, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                yield f"{verb} {name}", below


def section(path: str) -> str:
    """The part of the page below a command's heading."""
    found = re.search(rf"^#+ dvlite {re.escape(path)}\n(.*?)(?=^#+ |\Z)", PAGE, re.M | re.S)
    assert found, f"docs/commands.md has no section on dvlite {path}"
    return found[1]


def options(command: click.Command) -> list[click.Option]:
    return [item for item in command.params if isinstance(item, click.Option)]


EVERY = dict(commands())


@pytest.mark.parametrize("path", EVERY)
def test_every_command_explains_itself_with_examples(path: str) -> None:
    text = EVERY[path].help or ""
    assert len(text.splitlines()[0]) > 10
    assert "Examples:\n" in text
    assert f"dvlite {path.split()[0]}" in text.partition("Examples:")[2]


@pytest.mark.parametrize("path", EVERY)
def test_every_option_has_help_and_is_on_the_page(path: str) -> None:
    text = section(path)
    for option in options(EVERY[path]):
        assert option.help, f"dvlite {path} {option.opts[-1]} has no help"
        for name in set(option.opts) - EVERYWHERE:
            assert re.search(rf"{re.escape(name)}(?![a-z-])", text), f"{path} {name}"


@pytest.mark.parametrize("path", EVERY)
def test_the_page_gives_the_commands_own_examples(path: str) -> None:
    examples = (EVERY[path].help or "").partition("Examples:\n")[2]
    for line in examples.splitlines():
        assert line.strip() in section(path)


@pytest.mark.parametrize("path", EVERY)
def test_json_is_described_where_there_is_json(path: str) -> None:
    has = any("--json" in option.opts for option in options(EVERY[path]))
    assert has == ("`--json`: " in section(path))


def test_the_overview_says_what_the_commands_say() -> None:
    for verb, (_, about) in COMMANDS.items():
        assert (EVERY[verb].help or "").splitlines()[0] == about


def test_the_page_has_no_command_that_does_not_exist() -> None:
    assert set(re.findall(r"^#+ dvlite (.+)$", PAGE, re.M)) == set(EVERY)


def test_every_field_of_json_is_on_the_page(repository: Repository) -> None:
    repository.write({"data/a": b"1", "data/b": b"2", "model": b"3"})
    seen: dict[str, set[str]] = {}

    def see(*words: str, of: int = 1) -> None:
        """Runs a command, named by its first `of` words."""
        fields = _fields(json.loads(repository.dvlite(*words, "--json").out))
        seen.setdefault(" ".join(words[:of]), set()).update(fields)

    see("add", "data", "model")
    repository.commit()
    see("push", "--dry-run")
    see("push", "--run-cache")
    repository.write({"data/a": b"11", "data/new": b"4"})
    (repository.path / "data" / "b").rename(repository.path / "data" / "c")
    for words in (["status", "--remote"], ["diff"], ["ls", "data"], ["checkout", "--force"]):
        see(*words)
    repository.dvlite("add", "-u")
    repository.commit()
    for words in (
        ["log"],
        ["du", "--remote"],
        ["fetch", "--run-cache"],
        ["fetch", "--dry-run"],
        ["doctor"],
    ):
        see(*words)
    see("gc", "--dry-run")
    see("cache", "show", of=2)
    see("cache", "trim", "--max-size", "1K", "--dry-run", of=2)
    see("cache", "move", "../a-cache", of=2)
    see("cache", "share", "--dry-run", of=2)
    (repository.path.parent / "second" / "packs").mkdir(parents=True)
    see("cache", "link", "../second", of=2)
    see("cache", "link", of=2)
    see("cache", "link", "--remove", "../second", of=2)
    see("fsck", "--remote")
    see("remote", "list", of=2)
    see("remote", "show", of=2)
    see("remote", "check", of=2)
    see("remote", "copy", "store", "./copy", of=2)
    see("remote", "publish", of=2)
    see("pull", "--run-cache")
    see("reproduce", "HEAD~1")
    see("get", "HEAD:model", "-o", "got")
    see("resolve")
    see("mv", "model", "moved")
    repository.write({".dvc/config": b"['remote \"far\"']\nurl = s3://bucket\n"})
    repository.write({".dvc/cache/" + _MD5[:2] + "/" + _MD5[2:]: b"", "old": b""})
    repository.write({"old.dvc": f"outs:\n- md5: {_MD5}\n  path: old\n".encode()})
    see("import-dvc", "--history", "--remove-old")
    see("import-lfs", "--history")
    repository.write({"train.csv": b"step,loss\n0,1\n"})
    see("plots", "show", "train.csv", "gone.csv", "--rev", "HEAD", "-x", "step", of=2)
    see("plots", "diff", "--targets", "train.csv", "-y", "loss", of=2)
    repository.write({"dvlite.yaml": b"stages: {a: {cmd: x, deps: [b], params: [c], outs: [d]}}\n"})
    repository.write({"b": b"1", "params.yaml": b"c: 1\n"})
    see("stage", "list", of=2)
    see("run", "--dry-run")
    repository.write({"m.json": b'{"a": 1}'})
    see("metrics", "show", "m.json", of=2)
    see("metrics", "diff", "--targets", "m.json", of=2)
    see("params", "diff", of=2)
    see("dag")
    see("rm", "moved")

    has = {path for path, one in EVERY.items() if any("--json" in o.opts for o in options(one))}
    assert has - seen.keys() == {"config", "version"}  # their fields are names, not ours
    seen["pull"] -= seen["checkout"]
    for path, fields in seen.items():
        described = section(path).partition("`--json`: ")[2]
        assert not [one for one in sorted(fields) if f"`{one}`" not in described], path


def _fields(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list):
            yield from _fields(item)


def test_every_setting_is_on_the_page_with_its_default() -> None:
    for key, known in KEYS.items():
        default = {None: "", True: "`true`", False: "`false`"}.get(
            known.default, f"`{known.default}`"
        )
        assert f"\n| `{key}` | {default} | {known.about}" in PAGE


def test_every_protocol_is_on_the_page() -> None:
    line = next(one for one in PAGE.splitlines() if one.startswith("| `remote.NAME.url`"))
    for protocol in PROTOCOLS:
        assert f"`{protocol}`" in line


def test_every_variable_of_the_environment_is_on_the_page() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "dvlite/cli").glob("*.py"))
    names = re.findall(r'environ(?:\.get\(|\[)"(\w+)"|"(\w+)" (?:not )?in os\.environ', code)
    assert names
    for one in {first or second for first, second in names}:
        assert f"\n| `{one}` | " in PAGE


def test_every_exit_code_is_on_the_page() -> None:
    classes = [getattr(dvlite.errors, name) for name in dvlite.errors.__all__]
    codes = {one.exit_code for one in classes if issubclass(one, DvliteError)}
    for code in codes | {0, 1, 130}:
        assert f"\n| {code} | " in PAGE


def test_the_links_between_the_documents_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("words", [["--version"], ["--help"], []])
def test_help_and_version_import_nothing_heavy(words: list[str]) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "dvlite", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "click" in imported
    assert not imported & HEAVY
