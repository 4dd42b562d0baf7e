"""Options of Google and Azure remotes: known names, values that can be, no way to other hosts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from dvlite.errors import UsageError
from dvlite.storage.azoptions import AzOptions, account_of, az_options, split_url, to_adlfs
from dvlite.storage.backend import open_backend
from dvlite.storage.gsoptions import GsOptions, gs_options
from dvlite.storage.s3options import S3Options

COMMANDS = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
SECTIONS = {
    "Options of an S3 remote": S3Options,
    "Options of a Google Cloud Storage remote": GsOptions,
    "Options of an Azure remote": AzOptions,
}


@pytest.mark.parametrize("url", ["s3://me:secret@b/p", "az://me:secret@c/p", "gs://me:secret@b"])
def test_a_password_in_a_url_that_does_not_use_it_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError, match="a password in the URL") as caught:
        open_backend(url)
    assert "secret@" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("title", SECTIONS)
def test_every_option_of_a_cloud_is_on_the_page(title: str) -> None:
    section = COMMANDS.partition(f"### {title}\n")[2].partition("\n### ")[0]
    lacking = [one.name for one in fields(SECTIONS[title]) if f"`{one.name}`" not in section]
    assert section and not lacking


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("nonsense", "1"),
        ("anon", "yes"),
        ("timeout", "0"),
        ("endpoint", "storage.example.org"),
        ("endpoint", "ftp://storage.example.org"),
    ],
)
def test_wrong_options_are_refused_by_name(option: str, text: str) -> None:
    for read in (gs_options, az_options):
        with pytest.raises(UsageError, match=option):
            read({option: text})  # type: ignore[operator]
    with pytest.raises(UsageError, match="keyfile"):
        gs_options({"keyfile": "/nowhere/at/all.json"})
    with pytest.raises(UsageError, match="driver"):
        az_options({"driver": "curl"})


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("az://abc", ("abc", "", "")),
        ("abfs://abc/a/b/", ("abc", "a/b", "")),
        ("abfss://abc@lab1.dfs.core.windows.net/a", ("abc", "a", "lab1")),
        ("az://abc@lab1.blob.core.windows.net/a", ("abc", "a", "lab1")),
    ],
)
def test_a_url_names_container_prefix_and_account(url: str, expected: tuple[str, ...]) -> None:
    assert split_url(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "az://",
        "az://ab",
        "az://UPPER/x",
        "abfss://abc@evil.example.org/x",
        "abfss://abc@lab.dfs.core.windows.net.evil.example.org/x",
        "abfss://abc@evil.example.org:1@lab.dfs.core.windows.net/x",
    ],
)
def test_a_url_cannot_lead_away_from_azure(url: str) -> None:
    with pytest.raises(UsageError):
        account = split_url(url)[2]
        account_of(az_options({}), account, {})


@pytest.mark.parametrize("name", ["evil.example.org/", "evil#", "a@b", "UPPER", "ab", "a" * 25])
def test_an_account_s_name_cannot_lead_away_from_azure(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a storage account"):
        account_of(az_options({"account_name": name}), "", {})


def test_the_environment_s_secrets_go_to_no_other_account() -> None:
    environ = {"AZURE_STORAGE_ACCOUNT_NAME": "mine", "AZURE_STORAGE_SAS_TOKEN": "?sig=s"}
    assert account_of(az_options({}), "", environ).sas == "sig=s"
    assert account_of(az_options({"account_name": "mine"}), "", environ).sas == "sig=s"
    assert account_of(az_options({"account_name": "theirs"}), "", environ).sas == ""
    assert account_of(az_options({}), "theirs", environ).sas == ""
    text = "AccountName=mine;AccountKey=a2V5;BlobEndpoint=https://mine.example.org"
    environ = {"AZURE_STORAGE_CONNECTION_STRING": text}
    assert account_of(az_options({}), "", environ).key == "a2V5"
    theirs = account_of(az_options({"account_name": "theirs"}), "", environ)
    assert (theirs.key, theirs.endpoint) == ("", "https://theirs.blob.core.windows.net")


def test_a_connection_string_names_key_and_endpoint() -> None:
    text = "DefaultEndpointsProtocol=https;AccountName=lab1;AccountKey=a2V5PQ==;EndpointSuffix=e.cn"
    account = account_of(az_options({"connection_string": text}), "", {})
    assert (account.name, account.key) == ("lab1", "a2V5PQ==")
    assert account.endpoint == "https://lab1.blob.e.cn"
    with pytest.raises(UsageError, match="names no account"):
        account_of(az_options({"connection_string": "AccountKey=a2V5"}), "", {})


def test_secrets_are_in_no_text_of_the_options() -> None:
    options = az_options({"account_name": "lab1", "account_key": "hidden", "sas_token": "hidden"})
    assert "hidden" not in repr(options) + repr(account_of(options, "", {}))


def test_adlfs_is_given_everything() -> None:
    options = az_options({"account_name": "lab1", "account_key": "a2V5", "timeout": "5"})
    found = to_adlfs(options, account_of(options, "", {}))
    assert (found["connection_timeout"], found["read_timeout"]) == (5, 5)
    endpoint = "https://lab1.blob.core.windows.net"
    assert found["connection_string"] == (
        f"AccountName=lab1;AccountKey=a2V5;BlobEndpoint={endpoint}"
    )
    options = az_options({"account_name": "lab1"})
    found = to_adlfs(options, account_of(options, "", {}))
    assert found["account_host"] == "lab1.blob.core.windows.net"
    assert "connection_string" not in found


@pytest.mark.parametrize(
    ("url", "blocked", "extra"),
    [
        ("gs://abc/x", ["gcsfs"], "dvlite[gs]"),
        ("az://abc/x", ["obstore", "adlfs"], "dvlite[az]"),
        ("abfss://abc@lab1.dfs.core.windows.net/x", ["obstore", "adlfs"], "dvlite[az]"),
        ("s3://abc/x", ["obstore", "s3fs"], "dvlite[s3]"),
    ],
)
def test_a_missing_package_is_named_with_how_to_install_it(
    url: str, blocked: list[str], extra: str
) -> None:
    azure = {"account_name": "lab1", "account_key": "a2V5"}
    options = azure if extra == "dvlite[az]" else {}
    program = f"""
import sys
sys.modules.update(dict.fromkeys({blocked!r}))
from dvlite.errors import RemoteError
from dvlite.storage.backend import open_backend
try:
    open_backend({url!r}, {options!r})
except RemoteError as error:
    print(error, "|", error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "need a package that is not installed" in done.stdout
    assert f"pip install '{extra}'" in done.stdout
