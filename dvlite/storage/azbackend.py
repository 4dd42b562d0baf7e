"""A remote on Azure Blob Storage.

Owns Azure's credentials and the choice between the fast driver (obstore, the Rust object_store) and
adlfs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.azoptions import Account, AzOptions, account_of, az_options, split_url, to_adlfs
from dvlite.storage.backend import Backend
from dvlite.storage.objectstore import WRITE_FACTOR, Network, ObjectStore, Place, first_line

if TYPE_CHECKING:
    from obstore.store import AzureConfig, AzureStore

# Names that Azure lists in one answer.
_PAGE = 5000
_SCOPE = "https://storage.azure.com/.default"
_ADVICE = (
    "check the credentials (az login, the environment, account_key or sas_token) and their rights"
)


def open_az(url: str, given: dict[str, str]) -> Backend:
    """The storage at `az://container/prefix`: through obstore if it is there, else through adlfs.

    Raises:
        RemoteError: neither is installed, or there are no credentials.
        UsageError: an option, or a name, cannot be.
    """
    from dvlite.storage.fsspecbackend import missing_package

    options = az_options(given)
    container, prefix, of_url = split_url(url)
    account = account_of(options, of_url, os.environ)
    # It logs what it raises all the same, which Python would print.
    logging.getLogger("azure").addHandler(logging.NullHandler())
    if options.driver != "adlfs":
        try:
            return _through_obstore(url, (container, prefix), options, account)
        except ImportError as error:
            if options.driver == "obstore":
                raise missing_package("az") from error
    try:
        return _through_adlfs(url, (container, prefix), options, account)
    except ImportError as error:
        raise missing_package("az") from error


def _through_obstore(
    url: str, where: tuple[str, str], options: AzOptions, account: Account
) -> Backend:
    import obstore

    place = Place(where[0], "container", _ADVICE, has_suffixes=False, page=_PAGE)
    provider = None if options.anon else _provider(account)
    try:
        reads, writes = (
            _store(where, options, account, (provider, factor)) for factor in (1, WRITE_FACTOR)
        )
    except (ValueError, obstore.exceptions.BaseError) as error:
        raise UsageError(
            f"the options of the remote {url} are not accepted: {first_line(error)}"
        ) from None  # the library's text may hold the key
    return ObjectStore(url, place, (reads, writes))


def _store(
    where: tuple[str, str], options: AzOptions, account: Account, how: tuple[Any, int]
) -> AzureStore:
    from obstore.store import AzureStore

    config: AzureConfig = {
        "account_name": account.name,
        "endpoint": account.endpoint,
        "skip_signature": options.anon,
    }
    network = Network(account.endpoint, options.timeout, options.proxy, options.ca_bundle)
    return AzureStore(
        where[0],
        prefix=where[1] or None,
        config=config,
        client_options=network.client(how[1]),
        retry_config={"max_retries": 0},  # RetryingBackend's business, the same for all storages
        credential_provider=how[0],
    )


def _provider(account: Account) -> Callable[[], Any]:
    """What obstore asks for credentials, again whenever the last answer has ended.

    Given always, so that it looks for none by itself, in places where adlfs does not.
    """
    if account.key:
        return lambda: {"access_key": account.key, "expires_at": None}
    if account.sas:
        return lambda: {"sas_token": account.sas, "expires_at": None}
    from azure.core.exceptions import AzureError
    from azure.identity import DefaultAzureCredential

    chain = DefaultAzureCredential()

    def token() -> Any:
        found = chain.get_token(_SCOPE)
        ends = datetime.fromtimestamp(found.expires_on, timezone.utc)
        return {"token": found.token, "expires_at": ends}

    try:
        token()  # now, where the reason can be told
    except AzureError as error:
        raise RemoteError(
            "no Azure credentials are found",
            "az login, or AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or "
            "AZURE_STORAGE_CONNECTION_STRING in the environment; for public data: "
            "dvlite config remote.NAME.anon true",
        ) from error
    return token


def _through_adlfs(
    url: str, where: tuple[str, str], options: AzOptions, account: Account
) -> Backend:
    from adlfs import AzureBlobFileSystem

    from dvlite.storage.fsspecbackend import NO_CACHES, FsspecBackend

    try:
        filesystem = AzureBlobFileSystem(**to_adlfs(options, account), **NO_CACHES)
    except ValueError as error:
        raise UsageError(f"the options of the remote {url} are not accepted") from error
    root = "/".join(part for part in where if part)
    check = _container_check(filesystem, where[0])
    return FsspecBackend(url, filesystem, root, check, has_suffixes=False)


def _container_check(filesystem: Any, container: str) -> Callable[[], bool]:
    """Whether the container exists, asked with the right to list, which all users of it have."""
    from azure.core.exceptions import ResourceNotFoundError
    from fsspec.asyn import sync

    async def first() -> None:
        async with filesystem.service_client.get_container_client(container) as client:
            async for _ in client.list_blobs(results_per_page=1):
                break

    def is_there() -> bool:
        try:
            sync(filesystem.loop, first)
        except ResourceNotFoundError:
            return False
        return True

    return is_there
