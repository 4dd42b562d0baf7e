"""The options of a remote on a web server. Passwords are none of them: they stand in the private
URL or in ~/.netrc, both bound to a host, so that a URL which comes with a commit gets none."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from dvlite.errors import UsageError

_NAMES = ("ca_bundle", "proxy", "timeout")
_TIMEOUT_S = 60.0
_MAX_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Validated options; see docs/commands.md for what each does. `timeout`: seconds."""

    ca_bundle: str = ""
    proxy: str = ""
    timeout: float = _TIMEOUT_S


def web_options(given: Mapping[str, str]) -> WebOptions:
    """Reads a remote's options.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    for option in given:
        if option not in _NAMES:
            raise UsageError(
                f"a remote on a web server has no option {option}",
                f"known: {', '.join(_NAMES)}, retries; a password belongs into the URL (set with "
                "--local) or into ~/.netrc",
            )
    ca_bundle, proxy = given.get("ca_bundle", ""), given.get("proxy", "")
    if ca_bundle and not os.path.isfile(ca_bundle):
        raise UsageError(f"the remote's option ca_bundle names no file: {ca_bundle}")
    if proxy and not _is_http(proxy):
        raise UsageError(f"the remote's option proxy is no http:// URL: {proxy}")
    return WebOptions(ca_bundle, proxy, _seconds(given.get("timeout")))


def _seconds(text: str | None) -> float:
    try:
        number = _TIMEOUT_S if text is None else float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_TIMEOUT_S:
        raise UsageError(f"the remote's option timeout is {text!r}, not a number of seconds")
    return number


def _is_http(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
