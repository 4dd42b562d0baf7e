"""Settings: the committed `.dvlite/config.toml` and this clone's private one on top of it.

Owns their keys, types and limits; `configedit` writes them. The committed file comes from whoever
can push, so it is hostile input: no secrets may be written to it, and the places it names are
limited to known protocols. An option of a remote is the key `remote.NAME.OPTION`.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dvlite.errors import FormatVersionError, MissingError, ProjectError, UsageError
from dvlite.workspace.entering import read_small

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = ".dvlite/config.toml"
VERSION = 1
LINK_TYPES = ("reflink", "hardlink", "symlink", "copy")
_PROTOCOLS = "file memory s3 s3a gs gcs az abfs abfss sftp ssh http https"
PROTOCOLS = frozenset(_PROTOCOLS.split())
_MAX_BYTES = 1 << 20
# A remote's name may hold dots, each of which TOML may take for a table; 64 characters hold 32.
_MAX_DEPTH = 40
_REMOTE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}\Z")
_SECRET = re.compile(
    r"secret|password|passphrase|passwd|token|access_key|account_key|private_key|credential"
    r"|connection_string|^key$|^auth"
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)\Z", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUERY = re.compile(r"([?&][^=&#]*=)[^&#]*")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGkmg]?)B?")
_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([KMGTkmgt]?)B?")
_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}

# Whose key answers a server, and which server is believed, is for whoever runs the command to say;
# also which one is sent a cloud's token, which opens all that its owner may open.
_PRIVATE_OPTIONS = frozenset(("keyfile", "known_hosts", "endpoint", "connection_string"))

Value = str | int | bool


@dataclass(frozen=True, slots=True)
class Key:
    """A setting: how its text becomes a value, its default, and who may set it."""

    read: Callable[[str, str], Value]
    default: Value | None
    about: str
    private: bool = False


def _text(key: str, text: str) -> Value:
    return text


def _truth(key: str, text: str) -> Value:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise UsageError(f"{key} is true or false, not {text!r}")


def _jobs(key: str, text: str) -> Value:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 256:
        raise UsageError(f"{key} is a number from 1 to 256, not {text!r}")
    return int(text)


def _rate(key: str, text: str) -> Value:
    found = _RATE.fullmatch(text)
    rate = int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
    if rate < 1:
        raise UsageError(f"{key} is bytes a second, such as 500K, 20M or 1G, not {text!r}")
    return rate


def _size(key: str, text: str) -> Value:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError(f"{key} is a size, such as 500K, 20M or 1G, or 0, not {text!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def _folders(key: str, text: str) -> Value:
    if not all(text.split(os.pathsep)):
        raise UsageError(f"{key} is one or more folders with '{os.pathsep}' between them")
    return text


def _remote(key: str, text: str) -> Value:
    check_remote_name(text)
    return text


def _links(key: str, text: str) -> Value:
    kinds = [kind.strip() for kind in text.split(",")]
    if not kinds or any(kind not in LINK_TYPES for kind in kinds) or len(set(kinds)) < len(kinds):
        raise UsageError(
            f"{key} is a list of link types, not {text!r}", f"choose from: {', '.join(LINK_TYPES)}"
        )
    return ",".join(kinds)


KEYS: Mapping[str, Key] = {
    "core.remote": Key(_remote, None, "name of the default remote"),
    "core.jobs": Key(_jobs, 4, "transfers that run at the same time"),
    "core.fsync": Key(_truth, True, "make data durable before anything names it"),
    "core.max_rate": Key(
        _rate,
        None,
        "bytes a second to and from a remote, on average: 500K, 20M (default: any)",
    ),
    "core.merge_fetch": Key(
        _truth,
        True,
        "fetch the listings that a merge of git needs, from a remote used before",
        private=True,
    ),
    "core.fetch_on_checkout": Key(
        _truth, False, "fetch what git's checkouts and merges need", private=True
    ),
    "core.max_git_file_size": Key(
        _size, 10_000_000, "largest file that may be committed to git itself; 0: any"
    ),
    "core.id": Key(_text, None, "random id of the project, made by dvlite init"),
    "run.push_records": Key(
        _truth, False, "dvlite push also sends records of runs, and what those made"
    ),
    "run.trust_remote": Key(
        _truth,
        False,
        "dvlite run believes the records of runs that were fetched from remotes",
        private=True,
    ),
    "cache.dir": Key(_text, None, "folder of the cache (default: inside .git)", private=True),
    "cache.link": Key(
        _links, "reflink,copy", "how workspace files are made from the cache: the first that works"
    ),
    "cache.max_size": Key(
        _size,
        None,
        "largest size of the cache, such as 200G; above, what a remote has and was not used for "
        "longest goes (default: any)",
        private=True,
    ),
    "cache.sources": Key(
        _folders,
        None,
        "other caches to read from, never written to; see dvlite cache link",
        private=True,
    ),
}


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """A remote as configured. `options` go to the storage library as they are."""

    name: str
    url: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Config:
    """Both files, read and checked. The private one wins."""

    committed_path: str
    private_path: str
    committed: Mapping[str, str] = field(default_factory=dict)
    private: Mapping[str, str] = field(default_factory=dict)

    def get(self, key: str) -> Value | None:
        """The value of a known setting, or its default."""
        text = self.text(key)
        return KEYS[key].default if text is None else KEYS[key].read(key, text)

    def text(self, key: str) -> str | None:
        """A setting as it is written; None where it is not set."""
        if key in self.private:
            return self.private[key]
        return None if is_private(key) else self.committed.get(key)

    def everything(self) -> dict[str, str]:
        """All settings that are in force, the private ones on top."""
        committed = {key: text for key, text in self.committed.items() if not is_private(key)}
        return {**committed, **self.private}

    def remotes(self) -> dict[str, RemoteSettings]:
        """The remotes by name."""
        found: dict[str, dict[str, str]] = {}
        for key, text in self.everything().items():
            if key.startswith("remote."):
                name, _, option = key[len("remote.") :].rpartition(".")
                found.setdefault(name, {})[option] = text
        return {
            name: RemoteSettings(name, options.pop("url"), tuple(sorted(options.items())))
            for name, options in sorted(found.items())
            if "url" in options
        }


def load(root: str, private_path: str) -> Config:
    """Reads the settings of the project at `root`.

    Raises:
        ProjectError: one of the files is invalid.
        FormatVersionError: the committed one was written by a newer dvlite.
    """
    committed_path = os.path.join(root, FILE)
    committed = _read(committed_path)
    version = committed.pop("dvlite", None)
    if version != str(VERSION):
        if version is not None and version.isdigit() and int(version) > VERSION:
            raise FormatVersionError(
                f"{FILE} has format version {version}, this dvlite reads {VERSION}",
                "upgrade dvlite: pip install --upgrade dvlite",
            )
        raise ProjectError(f"{FILE} does not say 'dvlite = {VERSION}'", "restore it: git checkout")
    private = _read(private_path)
    for key, text in committed.items():
        _check(key, text, committed_path)
    for key, text in private.items():
        _check(key, text, private_path)
    return Config(committed_path, private_path, committed, private)


def private_text(path: str, key: str) -> str | None:
    """A setting of this clone's own file as it is written there now; None where it is not set."""
    return _read(path).get(key)


def check(key: str, text: str, private: bool) -> None:
    """Refuses a setting that must not be written.

    Raises:
        UsageError: unknown key, wrong value, a secret or a private key in the committed file; text
        that is not UTF-8, as the settings are.
    """
    if not (key + text).isascii():
        try:
            (key + text).encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{ascii(text)[1:-1]} is not UTF-8, which settings have to be",
                "name a folder of another name, or a symbolic link to this one",
            ) from error
    name, option = split_remote_key(key)
    if name:
        if option == "url":
            check_url(text)
        if not private and is_private(key):
            raise UsageError(f"{key} is for this clone only", "set it with --local")
        if not private and (is_secret(key) or has_password(text)):
            raise UsageError(
                f"{key} is a secret, and {FILE} is committed",
                "keep it in this clone only: --local (or use the cloud's own credentials)",
            )
        return
    known = KEYS.get(key)
    if known is None:
        close = difflib.get_close_matches(key, [*KEYS, "remote.NAME.url"], 2)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(KEYS)}"
        raise UsageError(f"there is no setting {key}", hint)
    if known.private and not private:
        raise UsageError(f"{key} is for this clone only", "set it with --local")
    known.read(key, text)


def split_remote_key(key: str) -> tuple[str, str]:
    """Name and option of a key `remote.NAME.OPTION`; two empty texts for other keys."""
    if not key.startswith("remote."):
        return "", ""
    name, _, option = key[len("remote.") :].rpartition(".")
    check_remote_name(name)
    if not _OPTION.match(option):
        raise UsageError(f"{key} is not of the form remote.NAME.OPTION")
    return name, option


def check_remote_name(name: str) -> None:
    """Refuses names that do not fit into keys, options and files."""
    if not _REMOTE_NAME.match(name) or ".." in name:
        raise UsageError(
            f"{name!r} cannot name a remote", "use letters, digits, '-', '_' and '.', at most 64"
        )


def check_url(url: str) -> None:
    """Refuses places that a remote cannot be, or that a hostile config could abuse.

    Raises:
        UsageError: with what is allowed.
    """
    if not url or _CONTROL.search(url):
        raise UsageError("the URL of a remote is empty or holds a control character")
    if "::" in url:
        raise UsageError(f"{redact(url)} chains protocols with '::', which is not allowed")
    match = _SCHEME.match(url)
    if match and match[1].lower() not in PROTOCOLS:
        raise UsageError(
            f"remotes cannot use the protocol {match[1]}://",
            f"use a folder, or one of {', '.join(sorted(PROTOCOLS))}",
        )


def is_local(url: str) -> bool:
    """Whether a URL is a folder on this machine."""
    match = _SCHEME.match(url)
    return match is None or match[1].lower() == "file"


def has_password(url: str) -> bool:
    """Whether a URL carries a password."""
    match = _SCHEME.match(url)
    user, at, _ = match[2].partition("/")[0].rpartition("@") if match else ("", "", "")
    return bool(at) and ":" in user


def redact(url: str) -> str:
    """A URL fit for messages: without a password, without the values of a query (which sign a
    request, as a rule), and over HTTP without the user, who may be a token."""
    match = _SCHEME.match(url)
    if match is None or is_local(url):
        return url
    scheme, rest = match.groups()
    authority, slash, path = rest.partition("/")
    who, at, place = authority.rpartition("@")
    user, colon, _ = who.partition(":")
    if scheme.lower() in ("http", "https"):
        user = "***"
    shown = f"{user}{':***' if colon else ''}{at}" if at else ""
    return _QUERY.sub(r"\1***", f"{scheme}://{shown}{place}{slash}{path}")


def is_private(key: str) -> bool:
    """Whether a setting counts only where this clone has it, and is passed over in what others
    committed."""
    if key.startswith("remote."):
        return key.rpartition(".")[2] in _PRIVATE_OPTIONS
    return key in KEYS and KEYS[key].private


def is_secret(key: str) -> bool:
    """Whether a setting's value must not be shown."""
    return key.startswith("remote.") and bool(_SECRET.search(key.rpartition(".")[2]))


def _read(path: str) -> dict[str, str]:
    try:
        data = read_small(path, _MAX_BYTES)
        if len(data) > _MAX_BYTES:
            raise ProjectError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        content = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:  # a ValueError that is no other: a huge number
        raise ProjectError(f"{path} is not valid TOML: {error}", "correct it by hand") from error
    return dict(flatten(content, "", path))


def flatten(table: Mapping[str, Any], prefix: str, path: str) -> list[tuple[str, str]]:
    """The settings in a table of `path`, each with its full key and as text.

    Raises:
        ProjectError: one is neither text nor number nor true or false.
    """
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict) and name.count(".") < _MAX_DEPTH:
            found += flatten(value, name + ".", path)
        elif isinstance(value, bool):
            found.append((name, "true" if value else "false"))
        elif isinstance(value, str | int):
            found.append((name, str(value)))
        else:
            raise ProjectError(
                f"{path}: {name} is neither text nor number nor true or false", "correct it by hand"
            )
    return found


def _check(key: str, text: str, path: str) -> None:
    """What is read is checked as what is written, except that unknown keys may be of later
    versions, and that a secret which is committed already is no reason to stop."""
    try:
        if key.startswith("remote."):
            if split_remote_key(key)[1] == "url":
                check_url(text)
        elif key in KEYS:
            KEYS[key].read(key, text)
    except UsageError as error:
        raise ProjectError(f"{path}: {error}", error.hint or "correct it by hand") from error


def need_remote(config: Config, name: str) -> RemoteSettings:
    """The settings of a remote.

    Raises:
        MissingError: there is none of this name.
    """
    known = config.remotes()
    if name not in known:
        raise MissingError(
            f"there is no remote named {name}",
            "known: " + (", ".join(known) or "none; dvlite remote add NAME URL"),
        )
    return known[name]
