"""A remote on S3 or a store that speaks its protocol.

Owns S3's credentials and the choice between the fast driver (obstore, the Rust object_store) and
s3fs. On the same server and machine s3fs moved a 2 GB file at a third of the speed, with a core
busy in Python.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend
from dvlite.storage.objectstore import WRITE_FACTOR, Network, ObjectStore, Place, first_line
from dvlite.storage.packsums import WRONG, PackSums, S3ObjectStore
from dvlite.storage.s3options import S3Options, s3_options, to_s3fs

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

# Credentials from a role are asked for again well before AWS's shortest life time, 15 minutes.
_CREDENTIALS_LIVE = timedelta(minutes=5)
# Where the AWS chain has another store's address, in the order in which obstore looks there too.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn")
# The bodies stay out of the signatures: their checksums are in.
_UNSIGNED = {"unsigned_payload": True}
_BAD_CREDENTIALS = "check the credentials (environment, ~/.aws, profile) and their rights"


def open_s3(url: str, given: dict[str, str]) -> Backend:
    """The storage at `s3://bucket/prefix`: through obstore if it is there, else through s3fs.

    Raises:
        RemoteError: neither is installed, or there are no credentials.
    """
    from dvlite.storage.fsspecbackend import missing_package, open_fsspec
    from dvlite.storage.s3fsbackend import S3fsBackend

    options = s3_options(given)
    if options.driver != "s3fs":
        try:
            return _opened(url, options)
        except ImportError as error:
            if options.driver == "obstore":
                raise missing_package("s3") from error
    return open_fsspec(url, to_s3fs(options), S3fsBackend if options.checksum != "none" else None)


def _opened(url: str, options: S3Options) -> S3ObjectStore:
    import obstore

    bucket, _, prefix = url.partition("://")[2].partition("/")
    if not bucket:
        raise UsageError(f"{url} names no bucket", "s3://BUCKET or s3://BUCKET/PREFIX")
    place = Place(bucket, "bucket", _BAD_CREDENTIALS)
    try:
        make = _Stores.of(bucket, prefix.strip("/"), options)
        stores = make.store(1, make.sum), make.store(WRITE_FACTOR, make.sum)
    except (ValueError, obstore.exceptions.BaseError) as error:
        raise UsageError(
            f"the options of the remote {url} are not accepted: {first_line(error)}"
        ) from error

    def wrong() -> ObjectStore:
        return ObjectStore(url, place, (stores[0], make.store(1, _UNSIGNED, WRONG)))

    sums = None
    if options.checksum == "auto":
        sums = PackSums(
            lambda: make.store(WRITE_FACTOR, {"checksum_algorithm": "CRC64NVME"} | _UNSIGNED),
            None if make.is_aws else wrong,
        )
    return S3ObjectStore(url, place, stores, sums)


@dataclass(frozen=True, slots=True)
class _Stores:
    """Makes stores for one place, which differ in their patience and checksums.

    `sum`: the configuration of the checksum that goes with everything.
    """

    bucket: str
    prefix: str
    config: dict[str, Any]
    credentials: _Credentials | None
    network: Network
    sum: dict[str, Any]

    @classmethod
    def of(cls, bucket: str, prefix: str, options: S3Options) -> _Stores:
        """By a remote's options. Raises: RemoteError."""
        config: dict[str, Any] = {
            "endpoint": options.endpoint_url,
            "region": options.region,
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
            "session_token": options.session_token,
            "skip_signature": options.anon,
            "server_side_encryption": options.sse,
            "sse_kms_key_id": options.sse_kms_key_id,
            "request_payer": options.requester_pays,
        }
        config = {key: value for key, value in config.items() if value}
        credentials = None
        if not options.anon and not options.access_key_id:
            credentials = _Credentials.of_chain(options, config)
        endpoint = config.get("endpoint") or next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
        config["virtual_hosted_style_request"] = not options.path_style(endpoint)
        network = Network(endpoint, options.timeout, options.proxy, options.ca_bundle)
        # the server compares what arrived with this: a flipped bit is refused, not stored
        checksum = {} if options.checksum == "none" else {"checksum_algorithm": "SHA256"}
        return cls(bucket, prefix, config, credentials, network, checksum)

    def store(
        self, factor: int, more: dict[str, Any], headers: dict[str, str] | None = None
    ) -> S3Store:
        """A store for which silence may last `factor` times as long."""
        from obstore.store import S3Store

        config: S3Config = self.config | more  # type: ignore[assignment]
        client = self.network.client(factor)
        if headers:
            client["default_headers"] = headers
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            config=config,
            client_options=client,
            retry_config={"max_retries": 0},  # RetryingBackend's business, for all storages
            credential_provider=self.credentials,
        )

    @property
    def is_aws(self) -> bool:
        """Whether the place is on AWS itself."""
        host = urlsplit(self.network.endpoint).hostname or ""
        return not host or host.endswith(_AWS_HOSTS)


def _may_configure_endpoint() -> bool:
    """Whether the AWS configuration file may name another store."""
    path = os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config"
    try:
        with open(os.path.expanduser(path), "rb") as stream:
            return b"endpoint_url" in stream.read()
    except OSError:
        return False


class _Credentials:
    """Credentials of the AWS chain, as botocore finds and renews them."""

    def __init__(self, found: Any) -> None:
        self._found = found

    @classmethod
    def of_chain(cls, options: S3Options, config: dict[str, Any]) -> _Credentials | None:
        """The chain's credentials; its region and endpoint go into `config` where none is given.

        None where obstore finds all by itself, in the environment: loading botocore takes 0.2 s.
        """
        environ = os.environ  # the AWS chain's own place for them
        region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        placed = options.endpoint_url or (region and not _may_configure_endpoint())
        if placed and not options.profile and "AWS_ACCESS_KEY_ID" in environ:
            return None
        from botocore.configprovider import ConfiguredEndpointProvider
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            session = Session(profile=options.profile or None)
            found = session.get_credentials()
            if not region and session.get_config_variable("region"):
                config["region"] = session.get_config_variable("region")
            profile = session.get_scoped_config()
            endpoint = ConfiguredEndpointProvider(session.full_config, profile, "s3").provide()
            if endpoint and not options.endpoint_url:
                config["endpoint"] = endpoint
        except BotoCoreError as error:
            raise RemoteError(f"the AWS configuration cannot be used: {error}") from error
        if found is None:
            raise RemoteError(
                "no AWS credentials are found",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (aws configure); "
                "for public data: dvlite config remote.NAME.anon true",
            )
        return cls(found)

    def __call__(self) -> Any:
        """What obstore asks for, again whenever the last answer has ended."""
        frozen = self._found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _CREDENTIALS_LIVE,
        }
