"""Who uses a shared cache: a small file in it for each repository, so that gc asks them all.

Owns `users/` in a cache that lies outside of the repository (the setting `cache.dir`), and the id
of a clone. A repository that was moved writes itself down anew, and its id tells that both are one.
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass

from dvlite.atomic import make_folders, publish, publish_if_absent
from dvlite.errors import CorruptError
from dvlite.storage.oid import hash_bytes
from dvlite.workspace.base import quote, unquote

_FOLDER = "users"
_KEY_DIGITS = 32
_MAX_BYTES = 64 << 10
_ID_BYTES = 16
_TEXT = re.compile(r"dvlite: 1\nclone: ([0-9a-f]{32})\ngit: ([^\n]+)\ntop: ([^\n]+)\n")


@dataclass(frozen=True, slots=True)
class User:
    """A repository: its id, git's folder of it, and the work tree that used the cache last.
    `path`: where this is written down."""

    path: str
    clone: str
    common_dir: str
    top: str


def clone_id(common_dir: str) -> bytes:
    """16 random bytes that name a clone; made when first asked for, and made anew for what `cp -r`
    made of it: under one name, each of the two would take back what the other needs of a remote.

    Raises:
        OSError: they cannot be written.
    """
    folder = os.path.join(common_dir, "dvlite")
    path, place = os.path.join(folder, "clone-id"), os.fsencode(os.path.realpath(folder))
    try:
        name, before = _read_id(path)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        publish_if_absent(path, _id_text(secrets.token_bytes(_ID_BYTES), place))
        return _read_id(path)[0]
    except ValueError:  # damaged: as good as none
        name, before = secrets.token_bytes(_ID_BYTES), b""
    if before == place:
        return name
    if before and _is_elsewhere(name, os.fsdecode(before), folder):
        name = secrets.token_bytes(_ID_BYTES)
    with suppress(OSError):  # another user's: theirs to mend
        publish(path, _id_text(name, place))
        name, _ = _read_id(path)  # of two who do this at once, the last counts
    return name


def _is_elsewhere(name: bytes, before: str, folder: str) -> bool:
    """Whether the clone of that name is still in the folder where it was before, so that the one
    here is a copy; else it was moved, or is reached by another path."""
    with suppress(OSError, ValueError):
        return (
            not os.path.samefile(before, folder)
            and _read_id(os.path.join(before, "clone-id"))[0] == name
        )
    return False


def _id_text(name: bytes, place: bytes) -> bytes:
    return f"{name.hex()}\n{place.hex()}\n".encode()


def _read_id(path: str) -> tuple[bytes, bytes]:
    """The name, and the folder where it was written; empty where that was not written down.

    Raises:
        ValueError: it is damaged.
    """
    with open(path, "rb") as stream:
        data = bytes.fromhex(stream.read().decode("ascii").strip())
    if len(data) < _ID_BYTES:
        raise ValueError(f"{path} is cut short")
    return data[:_ID_BYTES], data[_ID_BYTES:]


def register(cache_folder: str, common_dir: str, top: str) -> None:
    """Writes a repository down as one that uses the cache, unless it is or cannot be: what cannot
    be written to, nothing is added to either."""
    path = _path_of(cache_folder, common_dir)
    if os.path.exists(path):
        return
    with suppress(OSError):
        lines = f"clone: {clone_id(common_dir).hex()}", f"git: {quote(common_dir)}"
        text = "\n".join(("dvlite: 1", *lines, f"top: {quote(top)}", ""))
        make_folders(os.path.dirname(path), cache_folder)
        publish(path, text.encode("ascii"), top=cache_folder)


def users(cache_folder: str) -> tuple[list[User], list[str]]:
    """All that are written down, and the files there that cannot be read."""
    folder = os.path.join(cache_folder, _FOLDER)
    found, broken = [], []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name)
        if name.startswith(".tmp-"):
            continue
        user = _read(path)
        if user is None:
            broken.append(path)
        else:
            found.append(user)
    return found, broken


def _read(path: str) -> User | None:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            match = _TEXT.fullmatch(stream.read(_MAX_BYTES))
        return match and User(path, match[1], unquote(match[2]), unquote(match[3]))
    except (OSError, CorruptError):
        return None


def _path_of(cache_folder: str, common_dir: str) -> str:
    key = hash_bytes(os.fsencode(common_dir)).hex()[:_KEY_DIGITS]
    return os.path.join(cache_folder, _FOLDER, key)
