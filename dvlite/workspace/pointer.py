"""Pointers: the small text files in git that name one object or one tree.

Owns their format, and which paths can have one. Parsed by a strict pattern, not as YAML, which
would turn folders named `no` into booleans and is 30 to 200 times slower. A pointer never holds
a path, so `git mv` cannot make it lie. Unknown keys are kept, so that a later dvlite may add to
the format.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from dvlite.errors import ConflictError, CorruptError, FormatVersionError, PathError
from dvlite.storage.names import MAY_BE_RESERVED, is_reserved
from dvlite.storage.oid import from_text, to_text

SUFFIX = ".dvl"
MAX_POINTER_BYTES = 64 << 10
# File systems allow 255 bytes; `.dvl` has to fit behind the name.
MAX_TRACKED_BYTES = 251
_VERSION = "1"
_LINE = re.compile(r"([a-z][a-z0-9_-]{0,63}): ([^\r\n]*)\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_OURS = ("dvlite", "kind", "oid", "size", "files", "executable")
PointerKind = Literal["file", "tree"]


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says. `size` in bytes and `files` count everything below a tree."""

    kind: PointerKind
    oid: bytes
    size: int
    files: int = 1
    executable: bool = False
    extra: tuple[tuple[str, str], ...] = ()

    def same_content(self, other: Pointer | None) -> bool:
        """Whether both name the same object and would materialise alike."""
        return other is not None and self.identity == other.identity

    @property
    def identity(self) -> tuple[str, bytes, bool]:
        """What decides how the data looks in the workspace."""
        return self.kind, self.oid, self.executable


def data_path(pointer_path: str) -> str:
    """`images` for `images.dvl`."""
    return pointer_path[: -len(SUFFIX)]


def pointer_path(data_path: str) -> str:
    """`images.dvl` for `images`."""
    return data_path + SUFFIX


def covering(pointers: Mapping[str, Pointer], path: str) -> tuple[str, str] | None:
    """The tracked path that is `path` or holds it, and the rest of the path inside it."""
    if path in pointers:
        return path, ""
    parts = path.split("/")
    for count in range(len(parts) - 1, 0, -1):
        head = "/".join(parts[:count])
        if head in pointers and pointers[head].kind == "tree":
            return head, "/".join(parts[count:])
    return None


def render(pointer: Pointer) -> bytes:
    """The pointer's canonical text."""
    lines = [
        ("dvlite", _VERSION),
        ("kind", pointer.kind),
        ("oid", to_text(pointer.oid)),
        ("size", str(pointer.size)),
        ("files", str(pointer.files)),
    ]
    if pointer.executable:
        lines.append(("executable", "yes"))
    return "".join(f"{key}: {value}\n" for key, value in (*lines, *pointer.extra)).encode()


def parse(data: bytes, name: str) -> Pointer:
    """Reads a pointer; `name` is what messages call it.

    Raises:
        ConflictError: it holds git's conflict markers.
        FormatVersionError: written by a newer dvlite.
        CorruptError: anything else that `render` would not write.
    """
    if len(data) > MAX_POINTER_BYTES:
        raise CorruptError(f"{name} is too large for a pointer", "restore it: git checkout")
    values = _read_lines(_to_text(data, name), name)
    version = values.get("dvlite")
    if version != _VERSION:
        if version is not None and _NUMBER.match(version) and int(version) > int(_VERSION):
            raise FormatVersionError(
                f"{name} has format version {version}, this dvlite reads {_VERSION}",
                "upgrade dvlite: pip install --upgrade dvlite",
            )
        raise _corrupt(name, "it does not begin with 'dvlite: 1'")
    return _build(values, name)


def check_trackable(path: str) -> None:
    """Refuses a path that cannot have a pointer of its own.

    Raises:
        PathError: with the reason and what to do instead.
    """
    name = path.rpartition("/")[2]
    if name in ("", ".", ".."):  # of a pointer named `.dvl`, `..dvl` or `...dvl`
        raise PathError(f"{path + '.dvl'} names no file or folder as data", "remove it")
    if name.endswith(".dvl"):
        raise PathError(
            f"{path} is a pointer (its name ends with .dvl)", "pointers belong to git: git add"
        )
    encoded = os.fsencode(path)
    if len(encoded) > MAX_TRACKED_BYTES and len(os.fsencode(name)) > MAX_TRACKED_BYTES:
        raise PathError(
            f"the name {name[:40]}… has {len(os.fsencode(name))} bytes; on its own a tracked name "
            f"has at most {MAX_TRACKED_BYTES}, so that .dvl fits behind it",
            "put it into a folder and add the folder",
        )
    if MAY_BE_RESERVED.search(encoded) is None:
        return
    for part in path.split("/"):
        if is_reserved(os.fsencode(part)):
            raise PathError(f"{path} is inside {part}, which belongs to git or dvlite")


def fold(name: str) -> str:
    """What a case-folding, Unicode-normalising file system makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _build(values: dict[str, str], name: str) -> Pointer:
    kind, executable = values.get("kind"), values.get("executable")
    if kind not in ("file", "tree"):
        raise _corrupt(name, "its kind is neither file nor tree")
    if executable not in (None, "yes") or (executable and kind == "tree"):
        raise _corrupt(name, "its line 'executable' is wrong")
    files = _number(values, "files", name)
    if kind == "file" and files != 1:
        raise _corrupt(name, "a file counts as one file")
    try:
        oid = from_text(values.get("oid", ""))
    except CorruptError as error:
        raise _corrupt(name, str(error)) from error
    extra = tuple((key, value) for key, value in values.items() if key not in _OURS)
    size = _number(values, "size", name)
    return Pointer(cast(PointerKind, kind), oid, size, files, executable == "yes", extra)


def _to_text(data: bytes, name: str) -> str:
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise _corrupt(name, "it is not text") from error
    shown = name[: -len(SUFFIX)] if name.endswith(SUFFIX) else name
    if re.search(r"^(<<<<<<<|=======|>>>>>>>)", text, re.MULTILINE):
        raise ConflictError(
            f"{name} holds git's conflict markers",
            f"see what conflicts: dvlite resolve; choose: dvlite resolve "
            f"--ours {shown} or --theirs",
        )
    if not text.endswith("\n"):
        raise _corrupt(name, "its last line is cut short")
    return text


def _read_lines(text: str, name: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for line in text[:-1].split("\n"):
        match = _LINE.match(line)
        if match is None:
            raise _corrupt(name, f"this line is not 'key: value': {line[:60]!r}")
        if match[1] in values:
            raise _corrupt(name, f"it says {match[1]} twice")
        values[match[1]] = match[2]
    return values


def _number(values: dict[str, str], key: str, name: str) -> int:
    text = values.get(key, "")
    if not _NUMBER.match(text):
        raise _corrupt(name, f"its line '{key}' is not a number")
    return int(text)


def _corrupt(name: str, why: str) -> CorruptError:
    return CorruptError(
        f"{name} is not a valid pointer: {why}", f"restore it: git checkout -- {name}"
    )
