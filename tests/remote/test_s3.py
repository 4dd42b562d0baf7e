"""S3 as a remote, from the command line and at its edges; a real server."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend, open_backend
from tests.repositories import Repository
from tests.servers.s3 import S3Server

DRIVERS = ["obstore", "s3fs"]


def opened(server: S3Server, url: str, **options: str) -> Backend:
    return open_backend(url, {"endpoint_url": server.endpoint, "retries": "1", **options})


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_missing_bucket_fails_at_once_and_is_named(s3_remote: S3Server, driver: str) -> None:
    backend = opened(s3_remote, "s3://nobody-made-this/x", driver=driver)
    with pytest.raises(RemoteError, match=r"no .*bucket") as caught:
        backend.read("a")  # the server makes a bucket for what is written
    assert "make it first" in str(caught.value.hint)
    assert "tried" not in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_wrong_credentials_fail_at_once_and_say_so(
    s3_remote: S3Server, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    backend = opened(s3_remote, s3_remote.new_url(), driver=driver)
    for action in (lambda: backend.read("a"), lambda: backend.write("a", b"1")):
        with pytest.raises(RemoteError, match="refuses access") as caught:
            action()
        assert "credentials" in str(caught.value.hint)
        assert "tried" not in str(caught.value)
        assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_no_credentials_at_all_are_an_error_and_no_traceback(
    s3_remote: S3Server, driver: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    for name in s3_remote.environment:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RemoteError, match=r"(?i)credentials|access"):
        opened(s3_remote, s3_remote.new_url(), driver=driver).write("a", b"1")


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_profile_of_the_shared_file_is_used(
    s3_remote: S3Server, driver: str, monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    for name in s3_remote.environment:
        monkeypatch.delenv(name)
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "credentials").write_text(
        f"[lab]\naws_access_key_id = {s3_remote.access_key}\n"
        f"aws_secret_access_key = {s3_remote.secret_key}\n"
    )
    (own_home / ".aws" / "config").write_text("[profile lab]\nregion = us-east-1\n")
    backend = opened(s3_remote, s3_remote.new_url(), driver=driver, profile="lab")
    backend.write("a", b"1")
    assert backend.read("a") == b"1"


@pytest.mark.parametrize("driver", DRIVERS)
def test_nobody_listening_is_tried_again_and_then_said(driver: str) -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "driver": driver,
        "retries": "1",
        "key": "a",
        "secret": "b",
    }
    with pytest.raises(RemoteError, match=r"(?i)connect.*tried 2 times"):
        open_backend("s3://bucket/x", options).read("a")


def test_a_url_without_a_bucket_is_refused() -> None:
    with pytest.raises(UsageError, match="no bucket"):
        open_backend("s3://", {"key": "a", "secret": "b", "region": "r"})


def test_both_drivers_see_the_same_remote(s3_remote: S3Server) -> None:
    url = s3_remote.new_url() + "/some folder/50%"
    first, second = (opened(s3_remote, url, driver=driver) for driver in DRIVERS)
    first.write("packs/ab/x", b"one")
    assert not second.write_if_absent("packs/ab/x", b"two")
    assert second.read("packs/ab/x") == b"one"
    assert [item.name for item in first.list("packs")] == ["packs/ab/x"]
    assert [item.name for item in second.list("packs")] == ["packs/ab/x"]


def test_the_main_job_works_on_s3(repository: Repository, s3_remote: S3Server) -> None:
    repository.set_remote(s3_remote.new_url())
    repository.dvlite("config", "remote.store.endpoint_url", s3_remote.endpoint)
    large = bytes(range(256)) * 4000
    repository.add_and_commit({"data/a.txt": b"first", "data/big.bin": large}, "data")
    assert "pushed to store" in repository.dvlite("push").out
    assert "everything is on store" in repository.dvlite("push").out
    repository.share()
    clone = repository.clone("clone")
    clone.dvlite("pull")
    assert clone.read("data/a.txt") == b"first"
    assert clone.read("data/big.bin") == large


def test_a_listing_of_many_pages_is_whole(s3_remote: S3Server) -> None:
    backend = opened(s3_remote, s3_remote.new_url())
    ids = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(2300))
    names = [f"index/s-0-{number % 7}-1-{one}" for number, one in enumerate(ids)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: backend.write(name, b"x"), names))
    backend.write("roots/other", b"x")
    assert [item.name for item in backend.list("index")] == sorted(names)
