"""The options of a remote on Azure Blob Storage, and the account that they lead to.

Owns the names that users write, the same for both drivers, and what the environment adds to them.
An account's name becomes part of a host's: it is checked, so that a committed one cannot lead away
from Azure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dvlite.errors import UsageError
from dvlite.storage.optionvalues import TIMEOUT_S, check_file, check_http, one_of, read_options

DRIVERS = ("obstore", "adlfs")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}\Z")
_CONTAINER = re.compile(r"(?:[a-z0-9](?:-?[a-z0-9]){2,62}|\$web|\$root)\Z")
_HOSTS = (".dfs.core.windows.net", ".blob.core.windows.net")
_FORMS = "az://CONTAINER/PREFIX, or abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX"


@dataclass(frozen=True, slots=True)
class AzOptions:
    """Validated options; see docs/commands.md for what each does. `timeout`: seconds."""

    driver: str = ""
    account_name: str = ""
    anon: bool = False
    timeout: float = TIMEOUT_S
    proxy: str = ""
    ca_bundle: str = ""
    endpoint: str = ""
    account_key: str = field(default="", repr=False)
    sas_token: str = field(default="", repr=False)
    connection_string: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Account:
    """Where a storage account answers, and the secrets for it, if any."""

    name: str
    endpoint: str
    key: str = field(default="", repr=False)
    sas: str = field(default="", repr=False)


def az_options(given: Mapping[str, str]) -> AzOptions:
    """Reads a remote's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    options = read_options(AzOptions, "an Azure remote", given, {})
    one_of("driver", options.driver, ("", *DRIVERS))
    for name in ("endpoint", "proxy"):
        check_http(name, getattr(options, name))
    check_file("ca_bundle", options.ca_bundle)
    for name in ("proxy", "ca_bundle"):
        if options.driver == "adlfs" and getattr(options, name):
            raise UsageError(f"the driver adlfs has no option {name}", "use the driver obstore")
    return options


def split_url(url: str) -> tuple[str, str, str]:
    """Container, prefix, and the account where the URL names one.

    Raises:
        UsageError: it is of another form, or on a host that is not Azure's.
    """
    authority, _, prefix = url.partition("://")[2].partition("/")
    container, _, host = authority.partition("@")
    if not _CONTAINER.match(container):
        raise UsageError(f"{url} names no container", _FORMS)
    account, _, _ = host.partition(".")
    if host and host[len(account) :] not in _HOSTS:
        raise UsageError(f"{url} is not on a host of Azure's", _FORMS)
    return container, prefix.strip("/"), account


def account_of(options: AzOptions, of_url: str, environ: Mapping[str, str]) -> Account:
    """The account that options, URL and environment lead to, the first of them first.

    The environment's secrets are used only for the environment's account, or where it names none.

    Raises:
        UsageError: none is named, or a name cannot be.
    """
    if options.connection_string:
        return _of_connection(options.connection_string)
    name = options.account_name or of_url
    theirs = Account("", "")
    if "AZURE_STORAGE_CONNECTION_STRING" in environ:
        theirs = _of_connection(environ["AZURE_STORAGE_CONNECTION_STRING"])
    elif not name or name == environ.get("AZURE_STORAGE_ACCOUNT_NAME", name):
        theirs = _of_environment(environ)
    if options.account_key or options.sas_token:
        endpoint = theirs.endpoint if name in ("", theirs.name) else ""
        theirs = Account(theirs.name, endpoint, options.account_key, options.sas_token)
    elif name not in ("", theirs.name) and theirs.name:
        theirs = Account("", "")
    return _checked(name or theirs.name, options.endpoint or theirs.endpoint, theirs)


def to_adlfs(options: AzOptions, account: Account) -> dict[str, Any]:
    """The same for adlfs."""
    named: dict[str, Any] = {
        "connection_timeout": int(min(options.timeout, 20)) or 1,
        "read_timeout": int(options.timeout) or 1,
        "account_name": account.name,
        "anon": options.anon,
    }
    if options.anon or not (account.key or account.sas):
        return {**named, "account_host": account.endpoint.partition("://")[2]}
    secret = f"AccountKey={account.key}" if account.key else f"SharedAccessSignature={account.sas}"
    text = f"AccountName={account.name};{secret};BlobEndpoint={account.endpoint}"
    return {**named, "connection_string": text}


def _of_environment(environ: Mapping[str, str]) -> Account:
    def get(name: str) -> str:
        return environ.get(f"AZURE_STORAGE_{name}", "")

    return Account(get("ACCOUNT_NAME"), "", get("ACCOUNT_KEY"), get("SAS_TOKEN"))


def _of_connection(text: str) -> Account:
    """What a connection string of Azure's says: `NAME=VALUE` parted by semicolons."""
    parts = [part.partition("=") for part in text.strip().split(";") if part]
    values = {name.strip().lower(): value for name, _, value in parts}
    name, endpoint = values.get("accountname", ""), values.get("blobendpoint", "")
    if not endpoint and name:
        scheme = values.get("defaultendpointsprotocol", "https")
        endpoint = f"{scheme}://{name}.blob.{values.get('endpointsuffix', 'core.windows.net')}"
    if not endpoint:
        raise UsageError("the connection string for Azure names no account")
    check_http("connection_string", endpoint)
    name = name or endpoint.partition("://")[2].partition(".")[0]
    secrets = values.get("accountkey", ""), values.get("sharedaccesssignature", "")
    return _checked(name, endpoint, Account("", "", *secrets))


def _checked(name: str, endpoint: str, secrets: Account) -> Account:
    if not name:
        raise UsageError(
            "no storage account is named for the Azure remote",
            "dvlite config remote.NAME.account_name ACCOUNT, or AZURE_STORAGE_ACCOUNT_NAME",
        )
    if not _ACCOUNT.match(name):
        raise UsageError(f"{name!r} cannot name a storage account", "3 to 24 of a-z and 0-9")
    endpoint = endpoint.rstrip("/") or f"https://{name}.blob.core.windows.net"
    return Account(name, endpoint, secrets.key, secrets.sas.lstrip("?"))
