"""The options of a remote as text, and how they become values.

Owns what is the same for every cloud: known names only, flags, seconds, URLs, files. A wrong value
is an error that names the option, before anything is asked of a server.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar
from urllib.parse import urlsplit

from dvlite.errors import UsageError

# Seconds without a byte before a connection is given up.
TIMEOUT_S = 60.0
_MAX_TIMEOUT_S = 3600.0

Options = TypeVar("Options")


def read_options(
    kind: type[Options], what: str, given: Mapping[str, str], other_names: Mapping[str, str]
) -> Options:
    """A remote's options as a `kind`, a dataclass whose fields are the names that it knows.

    `other_names` are what a library calls some of them: what was configured for it goes on working.

    Raises:
        UsageError: an unknown option, or a value that cannot be.
    """
    known = {one.name: one.default for one in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for option, text in given.items():
        name = other_names.get(option, option)
        if name not in known:
            raise UsageError(f"{what} has no option {option}", "known: " + ", ".join(sorted(known)))
        values[name] = _value(name, text, known[name])
    return kind(**values)


def one_of(name: str, text: str, choices: tuple[str, ...]) -> None:
    """Refuses a value that is none of the choices; an empty one is not offered."""
    if text not in choices:
        raise UsageError(
            f"the remote's option {name} is {text!r}",
            "one of: " + ", ".join(choice for choice in choices if choice),
        )


def check_http(name: str, text: str) -> None:
    """Refuses what is no http:// or https:// URL; no text at all is fine."""
    try:
        parts = urlsplit(text)
        good = not text or (parts.scheme in ("http", "https") and bool(parts.hostname))
    except ValueError:
        good = False
    if not good:
        raise UsageError(f"the remote's option {name} is no http:// or https:// URL: {text}")


def check_file(name: str, path: str) -> None:
    """Refuses a path where no file is; no path at all is fine."""
    if path and not os.path.isfile(path):
        raise UsageError(f"the remote's option {name} names no file: {path}")


def _value(name: str, text: str, default: object) -> object:
    if isinstance(default, bool):
        one_of(name, text, ("true", "false"))
        return text == "true"
    if not isinstance(default, float):
        return text
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= _MAX_TIMEOUT_S:
        raise UsageError(f"the remote's option {name} is {text!r}, not a number of seconds")
    return number
