"""A remote on S3 or a store that speaks its protocol.

Owns S3's credentials and the choice between the fast driver (obstore, the Rust object_store) and
s3fs. On the same server and machine s3fs moved a 2 GB file at a third of the speed, with a core
busy in Python.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from dvlite.errors import RemoteError, UsageError
from dvlite.storage.backend import Backend
from dvlite.storage.objectstore import WRITE_FACTOR, Network, ObjectStore, Place, first_line
from dvlite.storage.s3options import S3Options, s3_options, to_s3fs

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

# Credentials from a role are asked for again well before AWS's shortest life time, 15 minutes.
_CREDENTIALS_LIVE = timedelta(minutes=5)
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


def _opened(url: str, options: S3Options) -> ObjectStore:
    import obstore

    bucket, _, prefix = url.partition("://")[2].partition("/")
    if not bucket:
        raise UsageError(f"{url} names no bucket", "s3://BUCKET or s3://BUCKET/PREFIX")
    try:
        reads, writes = (
            _store(bucket, prefix.strip("/"), options, factor) for factor in (1, WRITE_FACTOR)
        )
    except (ValueError, obstore.exceptions.BaseError) as error:
        raise UsageError(
            f"the options of the remote {url} are not accepted: {first_line(error)}"
        ) from error
    return ObjectStore(url, Place(bucket, "bucket", _BAD_CREDENTIALS), (reads, writes))


def _store(bucket: str, prefix: str, options: S3Options, factor: int) -> S3Store:
    from obstore.store import S3Store

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
        # the server compares what arrived with this: a flipped bit is refused, not stored
        "checksum_algorithm": "SHA256" if options.checksum == "sha256" else "",
    }
    given: S3Config = {key: value for key, value in config.items() if value}  # type: ignore[assignment]
    given["virtual_hosted_style_request"] = not options.path_style
    provider = None
    if not options.anon and not options.access_key_id:
        provider = _Credentials.of_chain(options, given)
    network = Network(options.endpoint_url, options.timeout, options.proxy, options.ca_bundle)
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=given,
        client_options=network.client(factor),
        retry_config={"max_retries": 0},  # RetryingBackend's business, the same for all storages
        credential_provider=provider,
    )


class _Credentials:
    """Credentials of the AWS chain, as botocore finds and renews them."""

    def __init__(self, found: Any) -> None:
        self._found = found

    @classmethod
    def of_chain(cls, options: S3Options, config: S3Config) -> _Credentials | None:
        """The chain's credentials; its region goes into `config` where none is given.

        None where obstore finds all by itself, in the environment: loading botocore takes 0.2 s.
        """
        environ = os.environ  # the AWS chain's own place for them
        region = options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        placed = options.endpoint_url or region
        if placed and not options.profile and "AWS_ACCESS_KEY_ID" in environ:
            return None
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        try:
            session = Session(profile=options.profile or None)
            found = session.get_credentials()
            if not region and session.get_config_variable("region"):
                config["region"] = session.get_config_variable("region")
            if not options.endpoint_url and session.get_config_variable("endpoint_url"):
                config["endpoint"] = session.get_config_variable("endpoint_url")
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
