"""The options of a remote on Google Cloud Storage.

Owns the names that users write. Credentials come from Google's own chain (`gcloud auth`, a file
that the environment names, the role of a machine), or from the private configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dvlite.storage.optionvalues import TIMEOUT_S, check_file, check_http, read_options


@dataclass(frozen=True, slots=True)
class GsOptions:
    """Validated options; see docs/commands.md for what each does. `timeout`: seconds."""

    endpoint: str = ""
    project: str = ""
    anon: bool = False
    requester_pays: bool = False
    timeout: float = TIMEOUT_S
    keyfile: str = ""
    token: str = ""


def gs_options(given: Mapping[str, str]) -> GsOptions:
    """Reads a remote's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    options = read_options(GsOptions, "a Google Cloud Storage remote", given, {})
    check_http("endpoint", options.endpoint)
    check_file("keyfile", options.keyfile)
    return options
