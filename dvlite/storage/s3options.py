"""The options of an S3 remote, and what they are called by the libraries that speak S3.

Owns the names that users write, the same for both drivers. Secrets are no concern of this
module: credentials come from the AWS chain (environment, shared files, instance or container
role, single sign-on), or from the private configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dvlite.storage.optionvalues import TIMEOUT_S, check_file, check_http, one_of, read_options

DRIVERS = ("obstore", "s3fs")
_STYLES = ("auto", "path", "virtual")
_CHECKSUMS = ("auto", "sha256", "none")


@dataclass(frozen=True, slots=True)
class S3Options:
    """Validated options; see docs/commands.md for what each does. `timeout`: seconds."""

    driver: str = ""
    endpoint_url: str = ""
    region: str = ""
    profile: str = ""
    anon: bool = False
    sse: str = ""
    sse_kms_key_id: str = ""
    addressing_style: str = "auto"
    checksum: str = "auto"
    ca_bundle: str = ""
    proxy: str = ""
    requester_pays: bool = False
    timeout: float = TIMEOUT_S
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""

    def path_style(self, endpoint: str) -> bool:
        """Whether the bucket is part of the path; by itself for endpoints other than AWS's ("")."""
        if self.addressing_style == "auto":
            return bool(endpoint)
        return self.addressing_style == "path"


# What s3fs calls some of them: what was configured for it goes on working.
_OTHER_NAMES = {
    "key": "access_key_id",
    "secret": "secret_access_key",
    "token": "session_token",
    "region_name": "region",
    "server_side_encryption": "sse",
}


def s3_options(given: Mapping[str, str]) -> S3Options:
    """Reads a remote's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    options = read_options(S3Options, "an S3 remote", given, _OTHER_NAMES)
    one_of("driver", options.driver, ("", *DRIVERS))
    one_of("addressing_style", options.addressing_style, _STYLES)
    one_of("checksum", options.checksum, _CHECKSUMS)
    for name in ("endpoint_url", "proxy"):
        check_http(name, getattr(options, name))
    check_file("ca_bundle", options.ca_bundle)
    return options


def to_s3fs(options: S3Options) -> dict[str, Any]:
    """The same for s3fs."""
    client = {"region_name": options.region, "verify": options.ca_bundle}
    extra = {
        "ServerSideEncryption": options.sse,
        "SSEKMSKeyId": options.sse_kms_key_id,
    }
    style = "path" if options.path_style(options.endpoint_url) else "virtual"
    config: dict[str, Any] = {
        "connect_timeout": options.timeout,
        "read_timeout": options.timeout,
        "retries": {"max_attempts": 0},
        "s3": {"addressing_style": style},
        # other stores than AWS's do not all know the checksums that botocore adds by itself
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if options.proxy:
        config["proxies"] = {"http": options.proxy, "https": options.proxy}
    named = {
        "endpoint_url": options.endpoint_url,
        "profile": options.profile,
        "anon": options.anon,
        "key": options.access_key_id,
        "secret": options.secret_access_key,
        "token": options.session_token,
        "requester_pays": options.requester_pays,
        "client_kwargs": {name: value for name, value in client.items() if value},
        "s3_additional_kwargs": {name: value for name, value in extra.items() if value},
    }
    return {name: value for name, value in named.items() if value} | {"config_kwargs": config}
