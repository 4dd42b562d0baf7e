"""What DVC writes into a repository: `.dvc` files, `dvc.lock`, `dvc.yaml`, manifests, settings.

Owns reading these, of DVC 1 to 3, as hostile input: a value of a wrong form is refused, a path
that leads out of the repository is a problem of that output alone. Nothing of DVC is imported.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dvlite.errors import CorruptError
from dvlite.storage.foreign import Algorithm, check_digest
from dvlite.storage.tree import check_name
from dvlite.storage.treewalk import MAX_DEPTH
from dvlite.workspace.yamltext import parse_yaml

LOCKFILE = "dvc.lock"
PIPELINE = "dvc.yaml"
SUFFIX = ".dvc"
# DVC writes about 100 bytes a file: five million files.
MAX_MANIFEST_BYTES = 512 << 20
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SECTION = re.compile(r"""\['?([a-z]+)(?:\s+"([^"]+)")?'?\]\s*\Z""")


@dataclass(frozen=True, slots=True)
class ForeignName:
    """Content as DVC names it: `folder` means that the digest is of a manifest."""

    algorithm: Algorithm
    digest: str
    folder: bool = False

    @property
    def text(self) -> str:
        """As DVC writes it, with the algorithm in front."""
        return f"{self.algorithm}:{self.digest}{'.dir' if self.folder else ''}"


@dataclass(frozen=True, slots=True)
class Out:
    """One output that a file of DVC names. `path` is relative to the repository of DVC, `source`
    the file. `problem`: why it cannot be taken over; `notes`: what is worth knowing of it."""

    path: str
    source: str
    name: ForeignName | None = None
    executable: bool = False
    cached: bool = True
    remote: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""


def read_any(data: bytes, path: str, pipeline: bytes | None = None) -> list[Out]:
    """The outputs that a file of DVC names; none for a file that only ends like one.

    Raises:
        CorruptError: it cannot be read.
    """
    name = path.rpartition("/")[2]
    if path.startswith(".dvc/") or name == SUFFIX:
        return []
    if name == LOCKFILE:
        return read_lockfile(data, path, pipeline)
    return read_dvc_file(data, path) if name.endswith(SUFFIX) else []


def read_dvc_file(data: bytes, source: str) -> list[Out]:
    """The outputs of a `.dvc` file at the path `source`.

    Raises:
        CorruptError: it is none.
    """
    content = _mapping(parse_yaml(data, source), source)
    wdir = _text(content, "wdir", source) or "."
    folder = posixpath.join(posixpath.dirname(source), wdir)
    notes = list(_origins(content, source))
    if "cmd" in content:
        notes.append("a stage of DVC before 1.0: its command was not taken over")
    outs = [_out(item, source, folder) for item in _list(content, "outs", source)]
    return [replace(out, notes=(*notes, *out.notes)) for out in outs]


def read_lockfile(data: bytes, source: str, pipeline: bytes | None = None) -> list[Out]:
    """The outputs of a `dvc.lock`; `pipeline`: the `dvc.yaml` beside it, which says what of them
    is not in the cache.

    Raises:
        CorruptError: it is none.
    """
    content = _mapping(parse_yaml(data, source), source)
    stages = content.get("stages") if "schema" in content or "stages" in content else content
    uncached = _uncached(pipeline)
    outs = []
    for stage, text in _mapping(stages or {}, source).items():
        folder = posixpath.dirname(source)
        for item in _list(_mapping(text, source), "outs", source):
            out = _out(item, source, folder)
            plain = item.get("path") if isinstance(item, dict) else None
            if plain in uncached.get(stage.partition("@")[0], ()):
                out = replace(out, cached=False)
            outs.append(out)
    return outs


def read_manifest(data: bytes, algorithm: Algorithm) -> dict[bytes, tuple[ForeignName, bool]]:
    """A folder's files: path -> name, and whether it is executable.

    Raises:
        CorruptError: it is none, or has a path that could lead out of its folder.
    """
    try:
        items = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CorruptError("the folder's manifest is not valid JSON") from error
    if not isinstance(items, list):
        raise CorruptError("the folder's manifest is no list")
    found: dict[bytes, tuple[ForeignName, bool]] = {}
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("relpath"), str):
            raise CorruptError("the folder's manifest has an entry without a path")
        try:
            path = item["relpath"].encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:  # half a surrogate pair
            raise CorruptError("the folder's manifest has a path that is not Unicode") from error
        parts = path.split(b"/")
        for part in parts:
            check_name(part)
        if path in found or len(parts) > MAX_DEPTH:
            raise CorruptError(f"the folder's manifest has {path[:80]!r} twice or nests too deeply")
        digest = check_digest(algorithm, str(item.get("md5")))
        found[path] = (ForeignName(algorithm, digest), item.get("isexec") is True)
    _refuse_files_as_folders(found)
    return found


def read_settings(data: bytes, source: str) -> dict[tuple[str, str], dict[str, str]]:
    """DVC's settings: (section, name) -> option -> text, as configobj writes them.

    Raises:
        CorruptError: a line that is none of them.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    section: dict[str, str] | None = None
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        match = _SECTION.match(bare)
        if match:
            section = found.setdefault((match[1], match[2] or ""), {})
            continue
        option, equals, text = bare.partition("=")
        if not equals or section is None:
            raise CorruptError(f"{source}, line {number}: not a setting of DVC")
        section[option.strip().lower()] = _unquoted(text.strip())
    return found


# -- one output ------------------------------------------------------------------------------------


def _out(item: Any, source: str, folder: str) -> Out:
    item = _mapping(item, source)
    path = _text(item, "path", source)
    if not path:
        raise CorruptError(f"{source} has an output without a path")
    where, problem = _place(path, folder)
    out = Out(
        where,
        source,
        executable=_text(item, "isexec", source).lower() == "true",
        cached=_text(item, "cache", source).lower() != "false",
        remote=_text(item, "remote", source),
        problem=problem,
    )
    if problem:
        return out
    md5 = _text(item, "md5", source)
    if not md5:
        versioned = "files" in item or "version_id" in item or "etag" in item
        why = "it is versioned by its cloud, DVC's file has no md5" if versioned else "no md5"
        return replace(out, problem=f"{why}: get it with DVC, then dvlite add")
    algorithm: Algorithm = "md5" if _text(item, "hash", source) == "md5" else "md5-dos2unix"
    digest = check_digest("md5", md5.removesuffix(".dir"))
    return replace(out, name=ForeignName(algorithm, digest, md5.endswith(".dir")))


def _place(path: str, folder: str) -> tuple[str, str]:
    """An output's path in the repository, and why it cannot be used there."""
    if _URL.match(path) or path.startswith("remote://"):
        return path, "it is outside the repository (an external output)"
    joined = posixpath.normpath(posixpath.join(folder, path))
    if posixpath.isabs(joined) or joined in (".", "..") or joined.startswith("../"):
        return path, "it is outside the repository"
    try:
        for part in joined.encode("utf-8", "surrogateescape").split(b"/"):
            check_name(part)
    except CorruptError as error:
        return path, str(error)
    return joined, ""


def _origins(content: Mapping[str, Any], source: str) -> Iterator[str]:
    """Where the output of an import comes from."""
    for dep in _list(content, "deps", source):
        dep = _mapping(dep, source)
        if "repo" in dep:
            repo = _mapping(dep["repo"], source)
            url, path = _text(repo, "url", source), _text(dep, "path", source)
            rev = _text(repo, "rev_lock", source) or _text(repo, "rev", source)
            yield f"imported by DVC from {url} {path} at {rev}; dvlite does not update it"
        else:
            path = _text(dep, "path", source)
            yield f"imported by DVC from {path}; dvlite does not update it"


def _uncached(pipeline: bytes | None) -> dict[str, set[str]]:
    """Stage -> outputs that `dvc.yaml` keeps out of the cache. What cannot be read says nothing:
    it may use templates, and only explains what is missing."""
    try:
        stages = parse_yaml(pipeline or b"", PIPELINE)
        stages = stages.get("stages") if isinstance(stages, dict) else None
    except CorruptError:
        return {}
    found: dict[str, set[str]] = {}
    for stage, content in stages.items() if isinstance(stages, dict) else ():
        content = content.get("do", content) if isinstance(content, dict) else {}
        for kind in ("outs", "metrics", "plots"):
            items = content.get(kind) if isinstance(content, dict) else None
            for item in items if isinstance(items, list) else ():
                for path, how in item.items() if isinstance(item, dict) else ():
                    if isinstance(how, dict) and str(how.get("cache")).lower() == "false":
                        found.setdefault(stage, set()).add(path)
    return found


def _refuse_files_as_folders(paths: Mapping[bytes, object]) -> None:
    for path in paths:
        above = path.rpartition(b"/")[0]
        while above:
            if above in paths:
                raise CorruptError(f"the folder's manifest has {above[:80]!r} as file and folder")
            above = above.rpartition(b"/")[0]


def _unquoted(text: str) -> str:
    if text[:1] in ("'", '"') and text[:1] in text[1:]:
        return text[1 : text.index(text[0], 1)]
    return text.partition(" #")[0].rstrip()


def _mapping(value: Any, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CorruptError(f"{source} is no file of DVC: a mapping is missing")
    return value


def _list(content: Mapping[str, Any], key: str, source: str) -> Sequence[Any]:
    value = content.get(key) or []
    if not isinstance(value, list):
        raise CorruptError(f"{source} is no file of DVC: {key} is no list")
    return value


def _text(content: Mapping[str, Any], key: str, source: str) -> str:
    value = content.get(key, "")
    if not isinstance(value, str):
        raise CorruptError(f"{source} is no file of DVC: {key} is no text")
    return value
