"""DVC's settings: where its cache is, its remotes, and what dvlite makes of them.

Owns the translation of options, and that secrets go into private settings only.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from dvlite.errors import CorruptError, DvliteError
from dvlite.ops.importing import ImportResult, TakenRemote
from dvlite.project import Project
from dvlite.storage.backend import Backend, open_backend
from dvlite.workspace.adopting import BackendSource, FolderSource, Source
from dvlite.workspace.config import (
    check,
    check_remote_name,
    check_url,
    has_password,
    is_private,
    is_secret,
    redact,
)
from dvlite.workspace.dvcfiles import read_settings

_MAX_BYTES = 1 << 20
# dvlite's own packs lie beside what DVC has stored, and `dvc gc` knows nothing of them.
_BESIDE = "dvlite"
_S3 = {
    "endpointurl": "endpoint_url",
    "profile": "profile",
    "region": "region",
    "access_key_id": "access_key_id",
    "secret_access_key": "secret_access_key",
    "session_token": "session_token",
    "sse": "sse",
    "sse_kms_key_id": "sse_kms_key_id",
    "allow_anonymous_login": "anon",
}
_SECRET = re.compile("secret|password|token|access_key_id|sas|connection_string|passphrase")


@dataclass(slots=True)
class DvcRemote:
    """A remote of DVC. `options` in dvlite's words, `other` those that have none; `secret`: the
    keys that were in private settings, or are secrets."""

    name: str
    url: str
    options: dict[str, str] = field(default_factory=dict)
    relative: bool = False
    other: list[str] = field(default_factory=list)
    secret: set[str] = field(default_factory=set)

    def backend(self) -> Backend:
        """Opened for reading what DVC stored.

        Raises:
            UsageError, RemoteError: it cannot be.
        """
        check_url(self.url)
        return open_backend(self.url, self.options)


@dataclass(slots=True)
class DvcSettings:
    """What counts of DVC's settings. `cache`: absolute."""

    cache: str
    default: str = ""
    remotes: dict[str, DvcRemote] = field(default_factory=dict)


def read_dvc_settings(folder: str, result: ImportResult) -> DvcSettings:
    """Of the repository at `folder` (absolute), the private ones over the committed ones."""
    config = os.path.join(folder, ".dvc")
    found = DvcSettings(os.path.join(config, "cache"))
    for name in ("config", "config.local"):
        path = os.path.join(config, name)
        try:
            sections = read_settings(_read(path), f".dvc/{name}")
        except (CorruptError, OSError) as error:
            if not isinstance(error, FileNotFoundError):
                result.left.append((f".dvc/{name}", str(error)))
            continue
        for (section, remote), options in sections.items():
            if section == "core":
                found.default = options.get("remote", found.default)
            elif section == "cache" and "dir" in options:
                found.cache = os.path.join(config, os.path.expanduser(options["dir"]))
            elif section == "remote" and remote:
                _take_options(found, remote, options, name == "config.local")
    for one in list(found.remotes.values()):
        _resolve(found, one, config, result)
    return found


def sources_of(settings: DvcSettings, result: ImportResult) -> list[tuple[str, Source]]:
    """Where content is looked for besides the cache: (remote's name, source), the default first."""
    found: list[tuple[str, Source]] = []
    for name in sorted(settings.remotes, key=lambda one: (one != settings.default, one)):
        remote = settings.remotes[name]
        label = f"remote {name}"
        if os.path.isabs(remote.url):
            found.append((name, FolderSource(label, remote.url)))
            continue
        try:
            found.append((name, BackendSource(label, remote.backend())))
        except DvliteError as error:
            result.left.append((label, str(error)))
    return found


def take_remotes(
    project: Project, settings: DvcSettings, result: ImportResult
) -> list[tuple[dict[str, str | None], bool]]:
    """The changes of settings that make them remotes of dvlite: (changes, private)."""
    known = project.config.remotes()
    changes: dict[str, str | None] = {}
    private: dict[str, str | None] = {}
    for name, remote in settings.remotes.items():
        try:
            check_remote_name(name)
            check_url(remote.url)
        except DvliteError as error:
            result.left.append((f"remote {name}", str(error)))
            continue
        if name in known:
            result.left.append((f"remote {name}", "dvlite has a remote of this name"))
            continue
        url = _url(project, remote)
        hidden = "url" in remote.secret or has_password(url)
        (private if hidden else changes)[f"remote.{name}.url"] = url
        kept = [*(["url"] if hidden else []), *_options(remote, changes, private, result)]
        result.remotes.append(TakenRemote(name, redact(url), tuple(kept)))
        for option in remote.other:
            result.left.append((f"remote {name}, option {option}", "dvlite has no such option"))
        if name == settings.default and not project.config.text("core.remote"):
            (private if hidden else changes)["core.remote"] = name
    return [(changes, False), (private, True)]


def _options(
    remote: DvcRemote,
    changes: dict[str, str | None],
    private: dict[str, str | None],
    result: ImportResult,
) -> list[str]:
    """Puts options where they belong; the names of the private ones."""
    kept = []
    for option, text in remote.options.items():
        key = f"remote.{remote.name}.{option}"
        is_hidden = is_secret(key) or has_password(text) or bool(_SECRET.search(option))
        if is_hidden and option not in remote.secret:
            result.left.append(
                (f"remote {remote.name}, option {option}", "git has this secret: change it")
            )
        hidden = is_hidden or option in remote.secret or "url" in remote.secret or is_private(key)
        check(key, text, private=hidden)
        (private if hidden else changes)[key] = text
        if hidden:
            kept.append(option)
    return kept


def _url(project: Project, remote: DvcRemote) -> str:
    """Beside DVC's data; a folder that was written down relative stays so."""
    url = f"{remote.url.rstrip('/')}/{_BESIDE}"
    return os.path.relpath(url, project.root) if remote.relative else url


def _take_options(
    settings: DvcSettings, name: str, options: Mapping[str, str], private: bool
) -> None:
    remote = settings.remotes.setdefault(name, DvcRemote(name, ""))
    for option, text in options.items():
        if option == "url":
            remote.url = text
            remote.secret |= {"url"} if private else set()
        elif option in _S3:
            value = text.lower() if option == "allow_anonymous_login" else text
            remote.options[_S3[option]] = value
            if private:
                remote.secret.add(_S3[option])
        elif (option, text.lower()) not in (("use_ssl", "true"), ("autopush", "false")):
            remote.other.append(option)


def _resolve(settings: DvcSettings, remote: DvcRemote, config: str, result: ImportResult) -> None:
    """`remote://other/path`, and folders that count from `.dvc`."""
    other, _, rest = remote.url.removeprefix("remote://").partition("/")
    if remote.url.startswith("remote://") and other in settings.remotes:
        above = settings.remotes[other]
        if above.url.startswith("remote://"):
            remote.url = ""
        else:
            remote.url = f"{above.url.rstrip('/')}/{rest}"
            remote.options = {**above.options, **remote.options}
            remote.secret |= above.secret
    if not remote.url or remote.url.startswith("remote://"):
        result.left.append((f"remote {remote.name}", "its URL leads nowhere"))
        del settings.remotes[remote.name]
    elif "://" not in remote.url:
        remote.relative = not os.path.isabs(os.path.expanduser(remote.url))
        remote.url = os.path.normpath(os.path.join(config, os.path.expanduser(remote.url)))
    elif remote.url.startswith("file://"):
        remote.url = remote.url.removeprefix("file://")


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise CorruptError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
    return data
