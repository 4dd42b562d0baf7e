"""A remote on Google Cloud Storage, through gcsfs.

Owns Google's credentials, and how gcsfs is set up. obstore has a driver too, for Google's XML
interface. None of the servers that run in a test takes writes through that, so it is not used.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend
from dvlite.storage.fsspecbackend import NO_CACHES, FsspecBackend, missing_package
from dvlite.storage.gsoptions import GsOptions, gs_options

# The right to read and write files, not to change who may.
_SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
# aiohttp's clock for silence also runs while a pack is sent, to which nobody answers.
_WRITE_FACTOR = 10
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")


def open_gs(url: str, given: dict[str, str]) -> Backend:
    """The storage at `gs://bucket/prefix`.

    Raises:
        RemoteError: gcsfs is not installed, or there are no credentials.
        UsageError: an option, or the bucket's name, cannot be.
    """
    options = gs_options(given)
    root = url.partition("://")[2].strip("/")
    bucket = root.partition("/")[0]
    if not _BUCKET.match(bucket):
        raise UsageError(f"{url} names no bucket", "gs://BUCKET or gs://BUCKET/PREFIX")
    try:
        # The core: what `gcsfs.GCSFileSystem` is asks another service of Google's, by gRPC, what
        # kind of bucket it is, before each request until that has an answer (a minute without).
        from gcsfs.core import GCSFileSystem
    except ImportError as error:
        raise missing_package("gs") from error
    # It logs tracebacks of what it raises all the same, which Python would print.
    logging.getLogger("gcsfs").addHandler(logging.NullHandler())
    filesystem = _file_system(GCSFileSystem, options)
    return FsspecBackend(url, filesystem, root, _bucket_check(filesystem, bucket))


def _file_system(kind: Any, options: GsOptions) -> Any:
    """A file system that asks once: asking again is RetryingBackend's business.

    By itself gcsfs asks six times, within half a minute, and nobody hears of it.
    """
    credentials = _credentials(options)
    reads, writes = (_made(kind, options, credentials, factor) for factor in (1, _WRITE_FACTOR))
    once = kind._request.__wrapped__

    async def request(method: str, *words: Any, **named: Any) -> Any:
        return await once(reads if method == "GET" else writes, method, *words, **named)

    reads._request = request
    return reads


def _made(kind: Any, options: GsOptions, credentials: Any, factor: int) -> Any:
    import aiohttp

    return kind(
        project=options.project,
        access="read_write",
        token=credentials,
        endpoint_url=options.endpoint.rstrip("/") or None,
        requester_pays=options.requester_pays,
        # what the server says that it has stored is compared with what was sent
        consistency="md5",
        requests_timeout=aiohttp.ClientTimeout(
            total=None,
            sock_connect=min(options.timeout, 20),
            sock_read=options.timeout * factor,
        ),
        session_kwargs={"trust_env": True},  # HTTPS_PROXY
        **NO_CACHES,
    )


def _credentials(options: GsOptions) -> Any:
    """What gcsfs takes for credentials. Without any it would try browsers and files of its own."""
    if options.anon:
        return "anon"
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2 import credentials

    of_token: Any = credentials.Credentials
    if options.token:
        return of_token(options.token)
    if options.keyfile:
        return _of_file(options.keyfile)
    try:
        return google.auth.default(scopes=_SCOPES)[0]
    except DefaultCredentialsError as error:
        raise RemoteError(
            "no Google credentials are found",
            "gcloud auth application-default login, or name a file with "
            "GOOGLE_APPLICATION_CREDENTIALS; for public data: "
            "dvlite config remote.NAME.anon true",
        ) from error


def _of_file(path: str) -> Any:
    """A service account, whose key is in a file."""
    from google.oauth2 import service_account

    read: Any = service_account.Credentials.from_service_account_file
    try:
        return read(path, scopes=_SCOPES)
    except ValueError as error:
        raise UsageError(f"the remote's option keyfile names no service account: {path}") from error


def _bucket_check(filesystem: Any, bucket: str) -> Callable[[], bool]:
    """Whether the bucket exists, asked with the right to list, which all users of it have."""

    def is_there() -> bool:
        try:
            filesystem.call("GET", "b/{}/o", bucket, maxResults=1, json_out=True)
        except FileNotFoundError:
            return False
        return True

    return is_there
