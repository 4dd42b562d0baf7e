"""Azure Blob Storage as a remote, from the command line and at its edges; Azurite."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend, open_backend
from tests.repositories import Repository
from tests.servers.azure import ACCOUNT, KEY, AzureServer
from tests.servers.faultproxy import Fault, at, fault_proxy

DRIVERS = ["obstore", "adlfs"]
WRONG = base64.b64encode(b"wrong").decode()
pytestmark = pytest.mark.usefixtures("no_cloud")


def opened(server: AzureServer, url: str, **options: str) -> Backend:
    return open_backend(url, {**server.options, "retries": "1", **options})


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_missing_container_fails_at_once_and_is_never_an_empty_remote(
    azure_server: AzureServer, driver: str
) -> None:
    for action in (
        lambda remote: remote.read("a"),
        lambda remote: remote.list("index"),
        lambda remote: remote.write("a", b"1"),
        lambda remote: remote.write_if_absent("a", b"1"),
    ):
        with pytest.raises(RemoteError, match=r"no (such bucket|container)") as caught:
            action(opened(azure_server, "az://nobody-made-this/x", driver=driver))
        assert "make it first" in str(caught.value.hint)
        assert "tried" not in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_wrong_key_fails_at_once_and_is_not_shown(azure_server: AzureServer, driver: str) -> None:
    backend = opened(azure_server, azure_server.new_url(), driver=driver, account_key=WRONG)
    for action in (
        lambda: backend.read("a"),
        lambda: backend.write("a", b"1"),
        lambda: backend.list("index"),
    ):
        with pytest.raises(RemoteError, match="refuses access") as caught:
            action()
        assert "credentials" in str(caught.value.hint)
        assert "tried" not in str(caught.value)
        assert WRONG not in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_signature_that_may_only_read_cannot_write(
    azure_server: AzureServer, driver: str
) -> None:
    url = azure_server.new_url()
    opened(azure_server, url).write("packs/x", b"1")
    sas = azure_server.sas("rl")
    reader = opened(azure_server, url, driver=driver, account_key="", sas_token="?" + sas)
    assert reader.read("packs/x") == b"1"
    assert [item.name for item in reader.list("packs")] == ["packs/x"]
    assert reader.list("index") == []
    with pytest.raises(RemoteError, match="refuses access") as caught:
        reader.write("packs/y", b"2")
    assert "sig=" not in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_connection_string_of_the_environment_is_used(
    azure_server: AzureServer, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azure_server.connection_string)
    backend = open_backend(azure_server.new_url(), {"driver": driver})
    backend.write("a", b"1")
    assert backend.read("a") == b"1"


def test_no_credentials_at_all_are_an_error_that_says_what_to_do(azure_server: AzureServer) -> None:
    options = {"account_name": ACCOUNT, "endpoint": azure_server.account_url}
    with pytest.raises(RemoteError, match="no Azure credentials") as caught:
        open_backend(azure_server.new_url(), options)
    assert "az login" in str(caught.value.hint)


def test_a_key_that_is_none_is_refused_and_not_shown(azure_server: AzureServer) -> None:
    backend = opened(azure_server, azure_server.new_url(), account_key="not*base64")
    with pytest.raises(RemoteError) as caught:
        backend.read("a")
    assert "not*base64" not in str(caught.value) + str(caught.value.hint)


def test_throttling_and_broken_connections_are_tried_again(azure_server: AzureServer) -> None:
    with fault_proxy(azure_server.port) as proxy:
        endpoint = f"{proxy.endpoint}/{ACCOUNT}"
        backend = opened(azure_server, azure_server.new_url(), endpoint=endpoint)
        for fault in (Fault.SLOW_DOWN, Fault.ERROR_500, Fault.RESET_EARLY):
            proxy.begin(at(0, fault))
            backend.write("packs/x", fault.value.encode())
            assert len(proxy.log) == 2
            assert backend.read("packs/x") == fault.value.encode()


def test_nobody_listening_is_tried_again_and_then_said() -> None:
    options = {"account_name": ACCOUNT, "account_key": KEY, "retries": "1"}
    backend = open_backend("az://abc/x", {**options, "endpoint": "http://127.0.0.1:9/abc"})
    with pytest.raises(RemoteError, match=r"(?i)connect.*tried 2 times"):
        backend.read("a")


def test_both_drivers_see_the_same_remote(azure_server: AzureServer) -> None:
    url = azure_server.new_url() + "/some folder/50%"
    first, second = (opened(azure_server, url, driver=driver) for driver in DRIVERS)
    first.write("packs/ab/x", b"one")
    assert not second.write_if_absent("packs/ab/x", b"two")
    assert second.read("packs/ab/x") == b"one"
    assert [item.name for item in first.list("packs")] == ["packs/ab/x"]
    assert [item.name for item in second.list("packs")] == ["packs/ab/x"]


def test_adlfs_is_refused_what_it_cannot_do() -> None:
    with pytest.raises(UsageError, match="adlfs has no option proxy"):
        open_backend("az://abc/x", {"driver": "adlfs", "proxy": "http://127.0.0.1:9"})


def configure(repository: Repository, server: AzureServer) -> None:
    for option, text in server.options.items():
        repository.dvlite("config", "--local", f"remote.store.{option}", text)


def test_the_main_job_works_on_azure(repository: Repository, azure_server: AzureServer) -> None:
    repository.set_remote(azure_server.new_url())
    configure(repository, azure_server)
    large = bytes(range(256)) * 4000
    repository.add_and_commit({"data/a.txt": b"first", "data/big.bin": large}, "data")
    assert "pushed to store" in repository.dvlite("push").out
    assert "everything is on store" in repository.dvlite("push").out
    repository.share()
    clone = repository.clone("clone")
    configure(clone, azure_server)
    clone.dvlite("pull")
    assert clone.read("data/a.txt") == b"first"
    assert clone.read("data/big.bin") == large
    assert KEY not in clone.dvlite("config", "--json").out


@pytest.mark.slow  # a page is 5,000 names, and Azurite writes 50 to 100 a second
def test_a_listing_of_many_pages_is_whole(azure_server: AzureServer) -> None:
    backend = opened(azure_server, azure_server.new_url())
    ids = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(5200))
    names = [f"index/s-0-{number % 7}-1-{one}" for number, one in enumerate(ids)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: backend.write(name, b"x"), names))
    backend.write("roots/other", b"x")
    assert [item.name for item in backend.list("index")] == sorted(names)
