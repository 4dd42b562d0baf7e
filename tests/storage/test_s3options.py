"""Options of S3 remotes: what is accepted, and what the two libraries are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvlite.errors import UsageError
from dvlite.storage.s3options import S3Options, s3_options, to_s3fs


def test_without_options_everything_is_aws_s_default() -> None:
    assert s3_options({}) == S3Options()
    assert not S3Options().path_style("")


def test_another_store_has_the_bucket_in_the_path_unless_told_otherwise() -> None:
    own = "http://127.0.0.1:9000"
    assert s3_options({"endpoint_url": own}).path_style(own)
    assert not s3_options({"addressing_style": "virtual"}).path_style(own)
    assert s3_options({"addressing_style": "path"}).path_style("")


def test_what_s3fs_calls_an_option_is_understood() -> None:
    found = s3_options({"key": "a", "secret": "b", "token": "c", "region_name": "d"})
    assert (found.access_key_id, found.secret_access_key) == ("a", "b")
    assert (found.session_token, found.region) == ("c", "d")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("nonsense", "1"),
        ("anon", "yes"),
        ("requester_pays", ""),
        ("timeout", "0"),
        ("timeout", "soon"),
        ("timeout", "nan"),
        ("timeout", "1e9"),
        ("driver", "curl"),
        ("addressing_style", "both"),
        ("checksum", "md5"),
        ("endpoint_url", "s3.example.org"),
        ("endpoint_url", "ftp://s3.example.org"),
        ("endpoint_url", "http://[::1"),
        ("proxy", "socks"),
        ("ca_bundle", "/nowhere/at/all.pem"),
    ],
)
def test_wrong_options_are_refused_by_name(option: str, text: str) -> None:
    with pytest.raises(UsageError, match=option):
        s3_options({option: text})


def test_s3fs_is_given_everything(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("certificates")
    given = {
        "endpoint_url": "https://s3.example.org",
        "region": "r",
        "profile": "p",
        "sse": "aws:kms",
        "sse_kms_key_id": "k",
        "ca_bundle": str(bundle),
        "proxy": "http://proxy:3128",
        "requester_pays": "true",
        "timeout": "5",
        "key": "a",
        "secret": "b",
    }
    found = to_s3fs(s3_options(given))
    config = found.pop("config_kwargs")
    assert config["connect_timeout"] == config["read_timeout"] == 5
    assert config["proxies"] == {"http": "http://proxy:3128", "https": "http://proxy:3128"}
    assert config["s3"] == {"addressing_style": "path"}
    assert found == {
        "endpoint_url": "https://s3.example.org",
        "profile": "p",
        "key": "a",
        "secret": "b",
        "requester_pays": True,
        "client_kwargs": {"region_name": "r", "verify": str(bundle)},
        "s3_additional_kwargs": {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "k"},
    }
