"""`dvlite.lock`: what each stage last ran with, and what it made.

Owns the format: YAML, for every tool to read, but written in one way only and read line by line.
Stages are sorted by name and every item has a line of its own, whose value is JSON; so git merges
most of it, and 100,000 items are read in a fraction of the time that a YAML parser takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

from dvlite.errors import ConflictError, CorruptError, FormatVersionError, PathError
from dvlite.storage.oid import from_text, to_text
from dvlite.workspace.pointer import Pointer, PointerKind, check_trackable

FILE = "dvlite.lock"
MAX_BYTES = 256 << 20
_HEAD = "dvlite: 1\nstages:\n"
_VERSION = re.compile(r"dvlite: ([0-9]{1,9})\n")
_PLAIN = re.compile(r"[A-Za-z_][\w.@+-]*\Z", re.ASCII)
# what YAML would not take for text
_NO_TEXT = frozenset(("true", "false", "null", "yes", "no", "on", "off", "y", "n"))
_LISTS = ("deps", "params", "outs")
_VALUES = ("cmd", "wdir", "env")
_FILE_KEYS = frozenset(("path", "kind", "oid", "size", "files", "executable", "cached", "rev"))
# What nearly every item looks like: read 4 times as fast as by way of JSON, and nothing else
# matches than what JSON would take for the same.
_PLAIN_FILE = re.compile(
    r'\{"path": "([^"\\\x00-\x1f]+)", "kind": "(?:file|(tree))", "oid": "([^"\\]+)", '
    r'"size": (0|[1-9][0-9]{0,17})(?(2), "files": (0|[1-9][0-9]{0,17}))\}\Z'
)
_MARKERS = re.compile(r"^(<<<<<<<|=======$|>>>>>>>|\|\|\|\|\|\|\|)", re.MULTILINE)
# What is left may be of one side for one stage, and of the other for the next: `dvlite run` runs
# those that do not fit.
TO_DECIDE = (
    f"delete one side of each stage and the marker lines in {FILE}, "
    f"or git checkout --ours {FILE} (or --theirs); then dvlite run"
)
_HINT = "restore it: git checkout -- dvlite.lock"


@dataclass(frozen=True, slots=True)
class LockedFile:
    """A file or folder as a stage read or made it; `size` in bytes. `cached`: kept by dvlite, not
    by git. `revision`: that of a dependency on an older version."""

    path: str
    kind: PointerKind
    oid: bytes
    size: int
    files: int = 1
    executable: bool = False
    cached: bool = True
    revision: str = ""

    @property
    def pointer(self) -> Pointer:
        """The same as a pointer."""
        return Pointer(self.kind, self.oid, self.size, self.files, self.executable)

    def same_content(self, other: LockedFile | None) -> bool:
        """Whether both are the same bytes (and both or none can be run)."""
        return other is not None and (self.kind, self.oid, self.executable) == (
            other.kind,
            other.oid,
            other.executable,
        )


@dataclass(frozen=True, slots=True)
class LockedParam:
    """The value of a parameter; with no key, all of the file's."""

    file: str
    key: str
    value: Any


@dataclass(frozen=True, slots=True)
class LockedStage:
    """One stage's entry. Items are sorted by path, and by key."""

    commands: tuple[str, ...]
    deps: tuple[LockedFile, ...] = ()
    params: tuple[LockedParam, ...] = ()
    outs: tuple[LockedFile, ...] = ()
    wdir: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


Lock = Mapping[str, LockedStage]


def outs_as_pointers(lock: Lock) -> dict[str, Pointer]:
    """Path -> pointer of every output that dvlite keeps."""
    return {out.path: out.pointer for stage in lock.values() for out in stage.outs if out.cached}


def disowned(lock: Lock, own: Mapping[str, Collection[str]]) -> Lock:
    """The lock without what others than its stage say of an output. `own`: stage -> the outputs
    that it makes now; from other entries these go, what is in one, and what holds one; an entry
    that had nothing else goes too (the stage was renamed). The same lock where nothing goes."""
    claimed = {path for paths in own.values() for path in paths}
    around = claimed.union(*map(_above, claimed))
    changed: dict[str, LockedStage | None] = {}
    for name, stage in lock.items():
        mine = own.get(name, ())
        outs = tuple(
            one
            for one in stage.outs
            if one.path in mine
            or not (one.path in around or any(above in claimed for above in _above(one.path)))
        )
        if len(outs) < len(stage.outs):
            changed[name] = replace(stage, outs=outs) if outs else None
    if not changed:
        return lock
    both = {**lock, **changed}
    return {name: stage for name, stage in both.items() if stage is not None}


def _above(path: str) -> list[str]:
    """The folders that a path is in."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


# -- writing ---------------------------------------------------------------------------------------


def render(lock: Lock) -> bytes:
    """The canonical text."""
    return join_stages({name: render_stage(name, stage) for name, stage in lock.items()})


def join_stages(texts: Mapping[str, str]) -> bytes:
    """The canonical text of stages whose own texts (`render_stage`) are known."""
    return (_HEAD + "".join(texts[name] for name in sorted(texts))).encode()


def render_stage(name: str, stage: LockedStage) -> str:
    """The lines of one stage."""
    plain = _PLAIN.match(name) and name.lower() not in _NO_TEXT
    lines = [f"  {name if plain else _json(name)}:", f"    cmd: {_json(list(stage.commands))}"]
    if stage.wdir:
        lines.append(f"    wdir: {_json(stage.wdir)}")
    if stage.env:
        lines.append(f"    env: {_json(dict(sorted(stage.env.items())))}")
    for key, items in zip(_LISTS, _items(stage), strict=True):
        if items:
            lines.append(f"    {key}:")
            lines += [f"      - {_json(item)}" for item in items]
    return "\n".join(lines) + "\n"


def _items(stage: LockedStage) -> Iterator[list[dict[str, Any]]]:
    yield [_file_item(file) for file in sorted(stage.deps, key=_place)]
    params = sorted(stage.params, key=lambda param: (param.file, param.key))
    yield [{"file": one.file, "key": one.key, "value": one.value} for one in params]
    yield [_file_item(file) for file in sorted(stage.outs, key=_place)]


def _place(file: LockedFile) -> tuple[str, str]:
    return file.path, file.revision


def _file_item(file: LockedFile) -> dict[str, Any]:
    item: dict[str, Any] = {"path": file.path}
    if file.revision:
        item["rev"] = file.revision
    item.update(kind=file.kind, oid=to_text(file.oid), size=file.size)
    if file.kind == "tree":
        item["files"] = file.files
    if file.executable:
        item["executable"] = True
    if not file.cached:
        item["cached"] = False
    return item


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can hold and UTF-8 cannot
        return json.dumps(value)
    return text


# -- reading ---------------------------------------------------------------------------------------


def parse(data: bytes, name: str = FILE) -> dict[str, LockedStage]:
    """Reads a lockfile; `name` is what messages call it.

    Raises:
        ConflictError: it holds git's conflict markers. FormatVersionError: of a newer dvlite.
        CorruptError: anything else that `render` would not write.
    """
    if len(data) > MAX_BYTES:
        raise CorruptError(f"{name} is larger than {MAX_BYTES >> 20} MiB", _HINT)
    return dict(_parse(data, name))


@lru_cache(maxsize=1)  # what is tracked and what stages ran with are asked one after the other
def _parse(data: bytes, name: str) -> Lock:
    try:
        text = data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise CorruptError(f"{name} is not UTF-8 text", _HINT) from error
    if not text.startswith(_HEAD):
        _refuse_head(text, name)
    reader = _Reader(name)
    try:
        return reader.read(text)
    except CorruptError:
        _refuse_markers(text, name)
        raise


def _refuse_head(text: str, name: str) -> None:
    _refuse_markers(text, name)
    version = _VERSION.match(text)
    if version is not None and int(version[1]) > 1:
        raise FormatVersionError(
            f"{name} has format version {version[1]}, this dvlite reads 1",
            "upgrade dvlite: pip install --upgrade dvlite",
        )
    raise CorruptError(f"{name} does not begin with 'dvlite: 1' and 'stages:'", _HINT)


def _refuse_markers(text: str, name: str) -> None:
    if _MARKERS.search(text):
        raise ConflictError(
            f"{name} holds git's conflict markers",
            TO_DECIDE,
        )


class _Reader:
    """Reads the lines behind the head."""

    def __init__(self, name: str) -> None:
        self.name, self.number = name, 2
        self.stages: dict[str, dict[str, Any]] = {}
        self.stage: dict[str, Any] = {}
        self.items: list[Any] = []

    def read(self, text: str) -> dict[str, LockedStage]:
        """All stages."""
        if not text.endswith("\n"):
            raise self._error("the last line is cut short")
        for line in text[len(_HEAD) : -1].split("\n") if len(text) > len(_HEAD) else ():
            self.number += 1
            if line.startswith("      - "):
                plain = _PLAIN_FILE.match(line, 8)
                self.items.append(plain.groups() if plain else self._value(line[8:]))
            elif line.startswith("    "):
                self._key(line[4:])
            elif line.startswith("  "):
                self._stage(line[2:])
            else:
                raise self._error("this line is not one of a lockfile")
        return {name: self._built(name, stage) for name, stage in self.stages.items()}

    def _stage(self, line: str) -> None:
        quoted = line.startswith('"')
        name = self._value(line[:-1]) if quoted else line[:-1]
        known = isinstance(name, str) and (quoted or _PLAIN.match(name))
        if not line.endswith(":") or not known or name in self.stages:
            raise self._error("this names no stage, or one that is there already")
        self.stage = self.stages[name] = {}
        self.items = []

    def _key(self, line: str) -> None:
        key, _, value = line.partition(":")
        if not self.stages or key in self.stage or key not in (*_LISTS, *_VALUES):
            raise self._error("this is not known here")
        if key in _LISTS and not value:
            self.items = self.stage[key] = []
        elif key in _VALUES and value.startswith(" "):
            self.stage[key] = self._value(value[1:])
            self.items = []
        else:
            raise self._error(f"{key} is given otherwise")

    def _value(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._error("this is not JSON") from error

    # -- values --------------------------------------------------------------------------------

    def _built(self, name: str, stage: Mapping[str, Any]) -> LockedStage:
        try:
            commands = stage["cmd"]
            env, wdir = stage.get("env", {}), stage.get("wdir", "")
            _check(isinstance(commands, list) and bool(commands))
            _check(all(isinstance(one, str) for one in (*commands, wdir, *env, *env.values())))
            _check(isinstance(env, dict))
            return LockedStage(
                tuple(commands),
                tuple(_any_file(item) for item in stage.get("deps", ())),
                tuple(_param(item) for item in stage.get("params", ())),
                tuple(_any_file(item) for item in stage.get("outs", ())),
                wdir,
                env,
            )
        except (KeyError, TypeError, ValueError, AttributeError, CorruptError) as error:
            raise CorruptError(f"{self.name}: the stage {name} is not valid", _HINT) from error
        except PathError as error:
            raise CorruptError(f"{self.name}: the stage {name}: {error}", _HINT) from error

    def _error(self, why: str) -> CorruptError:
        return CorruptError(f"{self.name}:{self.number}: {why}", _HINT)


def _check(right: bool) -> None:
    if not right:
        raise ValueError


def _any_file(item: Any) -> LockedFile:
    """An item, or the groups of one that is plain."""
    if not isinstance(item, tuple):
        return _file(item)
    path, tree, oid, size, files = item
    _check_path(path)
    kind: PointerKind = "tree" if tree else "file"
    return LockedFile(path, kind, from_text(oid), int(size), int(files) if tree else 1)


def _file(item: Mapping[str, Any]) -> LockedFile:
    path, kind, size = item["path"], item["kind"], item["size"]
    files, executable = item.get("files", 1), item.get("executable", False)
    cached, revision = item.get("cached", True), item.get("rev", "")
    _check(_FILE_KEYS.issuperset(item) and isinstance(path, str) and isinstance(revision, str))
    _check(kind in ("file", "tree") and type(size) is int and 0 <= size < 1 << 63)
    _check(type(files) is int and 0 <= files < 1 << 63 and (kind == "tree" or files == 1))
    _check(isinstance(executable, bool) and isinstance(cached, bool))
    _check_path(path)
    oid = from_text(item["oid"])
    return LockedFile(path, cast(PointerKind, kind), oid, size, files, executable, cached, revision)


def _check_path(path: str) -> None:
    _check("\0" not in path and not path.startswith("/") and "\\" not in path)
    _check(not {"", ".", ".."}.intersection(path.split("/")))
    check_trackable(path if not path.endswith(".dvl") else path[:-4])


def _param(item: Mapping[str, Any]) -> LockedParam:
    file, key = item["file"], item["key"]
    _check(item.keys() == {"file", "key", "value"})
    _check(isinstance(file, str) and isinstance(key, str))
    return LockedParam(file, key, item["value"])


# -- merging ---------------------------------------------------------------------------------------


def merge(base: Lock, ours: Lock, theirs: Lock) -> tuple[dict[str, LockedStage], list[str]]:
    """Both sides' changes, stage by stage; and the stages that both changed, each in another way.

    Those have our entry in the result, or theirs where ours has none.
    """
    merged: dict[str, LockedStage] = {}
    conflicts = []
    for name in sorted(base.keys() | ours.keys() | theirs.keys()):
        before, mine, other = base.get(name), ours.get(name), theirs.get(name)
        chosen = other if mine == before else mine
        if mine != other and before not in (mine, other):
            conflicts.append(name)
            chosen = mine or other
        if chosen is not None:
            merged[name] = chosen
    return merged, conflicts


def render_conflicted(
    merged: Lock,
    conflicts: Mapping[str, tuple[LockedStage | None, LockedStage | None]],
    labels: tuple[str, str] = ("ours", "theirs"),
    marker: int = 7,
) -> bytes:
    """The merged text, with both entries of each stage that conflicts between git's markers."""
    parts = [_HEAD]
    for name in sorted(merged.keys() | conflicts.keys()):
        if name not in conflicts:
            parts.append(render_stage(name, merged[name]))
            continue
        ours, theirs = (render_stage(name, one) if one else "" for one in conflicts[name])
        begin, middle, end = "<" * marker, "=" * marker, ">" * marker
        parts.append(f"{begin} {labels[0]}\n{ours}{middle}\n{theirs}{end} {labels[1]}\n")
    return "".join(parts).encode()
