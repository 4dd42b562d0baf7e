"""The servers that other tests trust: signed requests pass, and each fault is what it says."""

from __future__ import annotations

import contextlib
import urllib.request
from collections.abc import Iterator

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers.faultproxy import Fault, FaultProxy, at, at_random, fault_proxy
from tests.servers.s3 import S3Server

BODY = bytes(range(256)) * 40


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(s3_server: S3Server, proxy: FaultProxy):
    """Signs for the proxy's address."""
    return S3Server(proxy.endpoint).client(wait_s=0.5)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    name = s3_server.new_bucket()
    s3_server.client().put_object(Bucket=name, Key="packs/x", Body=BODY)
    return name


def get(client, bucket: str) -> bytes:
    return client.get_object(Bucket=bucket, Key="packs/x")["Body"].read()


def test_signed_requests_pass_and_are_counted(proxy: FaultProxy, client, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="index/a", Body=b"1")
    assert get(client, bucket) == BODY
    client.head_object(Bucket=bucket, Key="packs/x")
    assert client.list_objects_v2(Bucket=bucket)["KeyCount"] == 2
    client.delete_object(Bucket=bucket, Key="index/a")
    assert [(one.method, one.what) for one in proxy.log] == [
        ("PUT", "index"),
        ("GET", "packs"),
        ("HEAD", "packs"),
        ("GET", "list"),
        ("DELETE", "index"),
    ]
    assert proxy.log[1].response_size == len(BODY)


def test_wrong_signatures_are_refused(s3_server: S3Server, bucket: str) -> None:
    stranger = S3Server(s3_server.endpoint, secret_key="another").client()
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        get(stranger, bucket)


@pytest.mark.parametrize(
    "fault",
    [
        Fault.ERROR_500,
        Fault.SLOW_DOWN,
        Fault.RESET_EARLY,
        Fault.RESET_LATE,
        Fault.RESET_IN_RESPONSE,
        Fault.CLOSE_IN_RESPONSE,
        Fault.STALL,
    ],
)
def test_a_read_fails_once(proxy: FaultProxy, client, bucket: str, fault: Fault) -> None:
    proxy.begin(at(0, fault))
    with pytest.raises((BotoCoreError, ClientError)):
        get(client, bucket)
    assert [one.fault for one in proxy.hits] == [fault]
    assert get(client, bucket) == BODY


def test_silent_damage_is_what_it_says(proxy: FaultProxy, client, bucket: str) -> None:
    url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "packs/x"})

    def damaged(fault: Fault) -> bytes:
        proxy.begin(at(0, fault))
        with urllib.request.urlopen(url) as answer:
            return answer.read()

    assert damaged(Fault.SHORTEN_RESPONSE) == BODY[: len(BODY) // 2]
    flipped = damaged(Fault.FLIP_IN_RESPONSE)
    changed = [one ^ other for one, other in zip(flipped, BODY, strict=True)]
    assert sum(one.bit_count() for one in changed) == 1


def test_a_broken_upload_leaves_nothing(proxy: FaultProxy, client, bucket: str) -> None:
    proxy.begin(at(0, Fault.RESET_IN_REQUEST))
    with pytest.raises((BotoCoreError, ClientError)):
        client.put_object(Bucket=bucket, Key="index/broken", Body=BODY)
    assert "index/broken" not in listed(client, bucket)


def test_an_upload_that_was_reset_late_is_there(proxy: FaultProxy, client, bucket: str) -> None:
    proxy.begin(at(0, Fault.RESET_LATE))
    with pytest.raises(BotoCoreError):
        client.put_object(Bucket=bucket, Key="index/late", Body=BODY)
    assert "index/late" in listed(client, bucket)


def test_a_flipped_upload_is_refused_by_the_server(proxy: FaultProxy, client, bucket: str) -> None:
    proxy.begin(at(0, Fault.FLIP_IN_REQUEST))
    with pytest.raises(ClientError):
        client.put_object(Bucket=bucket, Key="index/flipped", Body=BODY)
    assert "index/flipped" not in listed(client, bucket)


def test_the_same_seed_breaks_the_same_requests(proxy: FaultProxy, client, bucket: str) -> None:
    def broken() -> list[int]:
        proxy.begin(at_random(5, 0.4, [Fault.ERROR_500]))
        for _ in range(20):
            with contextlib.suppress(ClientError):
                get(client, bucket)
        return [one.index for one in proxy.hits]

    first = broken()
    assert 2 < len(first) < 18
    assert broken() == first


def listed(client, bucket: str) -> list[str]:
    return [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", [])]
