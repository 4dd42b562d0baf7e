"""`dvlite.yaml`: the stages of a pipeline, as people write them, and what is wrong with them.

Owns which keys there are and what they mean; templates are `templating`'s, the cells of a matrix
are `cells`'. Close to DVC's `dvc.yaml`, so that one converts nearly line by line.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from dvlite.errors import PathError, PipelineError
from dvlite.pipeline.cells import cells
from dvlite.pipeline.params import NoSuchKeyError, lookup, read_params
from dvlite.pipeline.stage import Dep, Out, OutKind, Param, Pipeline, PlotSpec, Stage
from dvlite.pipeline.templating import Scope
from dvlite.pipeline.yamlnodes import Node, parse_nodes
from dvlite.workspace.pointer import SUFFIX, check_trackable

FILE = "dvlite.yaml"
LOCKFILE = "dvlite.lock"
DEFAULT_PARAMS = "params.yaml"
MAX_STAGES = 100_000
TOP_KEYS = ("stages", "vars", "params", "metrics", "plots")
STAGE_KEYS = (
    *("cmd", "deps", "params", "outs", "metrics", "plots", "wdir", "env", "desc"),
    *("frozen", "always_changed", "vars", "matrix", "foreach", "do", "meta"),
)
OUT_KEYS = ("cache", "persist", "desc")
DEP_KEYS = ("path", "rev")
_NAME = re.compile(r"\w[\w.-]{0,199}\Z")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_REVISION = re.compile(r"[^\s\0-]\S{0,199}\Z")

# The bytes of a file of the project; None if there is no such file.
Read = Callable[[str], bytes | None]


def load(read: Read) -> Pipeline:
    """The pipeline of a workspace or a revision, whose files `read` gives; without a `dvlite.yaml`
    it is empty.

    Raises:
        PipelineError: with file, line and column.
    """
    data = read(FILE)
    root = parse_nodes(data, FILE) if data is not None else None
    if data is None or root is None:
        return Pipeline()
    return _Loader(read, data, root).pipeline()


class _Loader:
    """Reads one file."""

    def __init__(self, read: Read, data: bytes, root: Node) -> None:
        self.read, self.root = read, root
        self.scope = Scope({})
        self.has_templates = b"${" in data
        self.stages: dict[str, Stage] = {}

    def pipeline(self) -> Pipeline:
        """All of it."""
        top = self._mapping(self.root, TOP_KEYS)
        self._load_vars(top.get("vars"))
        for name, node in self._mapping(top.get("stages")).items():
            self._add(name, node)
        _check_outs(self.stages.values(), self.scope)
        params = self._params(self.scope, top.get("params"), "")
        metrics = self._outs(self.scope, top.get("metrics"), "", OutKind.METRIC)
        plots = tuple(self._top_plots(top.get("plots")))
        return Pipeline(self.stages, plots, tuple(out.path for out in metrics), params)

    # -- variables -----------------------------------------------------------------------------

    def _load_vars(self, node: Node | None) -> None:
        values: dict[str, Any] = {}
        if self.has_templates and self.read(DEFAULT_PARAMS) is not None:
            values.update(self._file_vars(DEFAULT_PARAMS, None))
        self.scope = Scope(self._vars(self.scope, node, values, ""))

    def _vars(
        self, scope: Scope, node: Node | None, values: dict[str, Any], wdir: str
    ) -> dict[str, Any]:
        """`values` with what `vars` adds: mappings, files, some keys of a file (`f.yaml:a,b`)."""
        for item in self._list(node, mappings=True):
            if isinstance(item.value, dict):
                added: Mapping[str, Any] = scope.instead(values).value(item)
            else:
                file, _, keys = scope.text(item).partition(":")
                path = self._path(scope, item, file, wdir)
                if path == DEFAULT_PARAMS and not keys:
                    continue
                added = self._file_vars(path, item, [key for key in keys.split(",") if key])
            twice = _merge(values, added)
            if twice is not None:
                raise scope.error(item, f"{twice} is given twice, with another value")
        return values

    def _file_vars(
        self, path: str, node: Node | None, keys: Sequence[str] = ()
    ) -> Mapping[str, Any]:
        at = node or self.root
        data = self.read(path)
        if data is None:
            raise self.scope.error(at, f"there is no file {path}")
        tree = read_params(data, path)
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            raise self.scope.error(at, f"{path} holds no names: it is no mapping")
        try:
            return {key: lookup(tree, key) for key in keys} if keys else tree
        except NoSuchKeyError as error:
            raise self.scope.error(at, f"{path} has no {error.args[0]}") from error

    # -- stages --------------------------------------------------------------------------------

    def _add(self, name: str, node: Node) -> None:
        line, _ = self._stages_node.places[name]
        if not _NAME.match(name):
            raise PipelineError(
                f"{FILE}:{line}: {name!r} cannot name a stage",
                "letters, digits, _, - and . can; the first is a letter, a digit or _",
            )
        keys = self._mapping(node, STAGE_KEYS)
        body, scopes = cells(self.scope, name, node, keys)
        for full, scope in scopes:
            if full in self.stages:
                raise scope.error(node, f"two stages are named {full}")
            if len(self.stages) >= MAX_STAGES:
                raise scope.error(node, f"more than {MAX_STAGES:,} stages")
            self.stages[full] = self._stage(full, scope, body, line)

    @property
    def _stages_node(self) -> Node:
        assert isinstance(self.root.value, dict)
        return self.root.value["stages"]

    def _stage(self, name: str, scope: Scope, node: Node, line: int) -> Stage:
        keys = self._mapping(node, STAGE_KEYS)
        wdir = self._wdir(scope, keys.get("wdir"))
        if "vars" in keys:
            scope = scope.instead(self._vars(scope, keys["vars"], dict(scope.values), wdir))
        if "cmd" not in keys:
            raise scope.error(node, f"the stage {name} has no cmd")
        commands = tuple(scope.command(item) for item in self._list(keys["cmd"]))
        if not commands or not all(command.strip() for command in commands):
            raise scope.error(keys["cmd"], f"the cmd of {name} is empty")
        if any("\0" in command for command in commands):
            raise scope.error(keys["cmd"], "a NUL cannot stand in a command")
        outs = [
            out
            for key, kind in (("outs", OutKind.DATA), ("metrics", OutKind.METRIC))
            for out in self._outs(scope, keys.get(key), wdir, kind)
        ] + self._outs(scope, keys.get("plots"), wdir, OutKind.PLOT)
        return Stage(
            name,
            commands,
            wdir,
            tuple(dict.fromkeys(self._deps(scope, keys.get("deps"), wdir))),
            self._params(scope, keys.get("params"), wdir),
            tuple(outs),
            self._env(scope, keys.get("env")),
            scope.text(keys["desc"]) if "desc" in keys else "",
            self._flag(scope, keys.get("frozen")),
            self._flag(scope, keys.get("always_changed")),
            line,
        )

    def _deps(self, scope: Scope, node: Node | None, wdir: str) -> Iterator[Dep]:
        for item in self._list(node, mappings=True):
            if isinstance(item.value, str):
                yield Dep(self._path(scope, item, scope.text(item), wdir))
                continue
            keys = self._mapping(item, DEP_KEYS)
            if "path" not in keys:
                raise scope.error(item, "this dependency has no path")
            path = self._path(scope, keys["path"], scope.text(keys["path"]), wdir)
            revision = scope.text(keys["rev"]) if "rev" in keys else ""
            if revision and not _REVISION.match(revision):
                raise scope.error(keys["rev"], f"{revision!r} cannot be a revision")
            yield Dep(path, revision)

    def _params(self, scope: Scope, node: Node | None, wdir: str) -> tuple[Param, ...]:
        found: dict[str, dict[str, None] | None] = {}
        for item in self._list(node, mappings=True):
            if isinstance(item.value, str):
                path = self._path(scope, item, DEFAULT_PARAMS, wdir)
                _add_keys(found, path, [scope.text(item)])
                continue
            assert isinstance(item.value, dict)
            for file, keys in item.value.items():
                filled = scope.text(Node(file, *item.places[file]))
                path = self._path(scope, item, filled, wdir)
                whole = keys.value in ("", "~", "null") and keys.plain
                texts = [] if whole else [scope.text(key) for key in self._list(keys)]
                _add_keys(found, path, texts)
        return tuple(Param(file, tuple(keys or ())) for file, keys in found.items())

    def _outs(self, scope: Scope, node: Node | None, wdir: str, kind: OutKind) -> list[Out]:
        found = []
        for item in self._list(node, mappings=True):
            if isinstance(item.value, str):
                found.append(Out(self._out_path(scope, item, scope.text(item), wdir), kind))
                continue
            assert isinstance(item.value, dict)
            for name, options in item.value.items():
                path = self._out_path(scope, item, scope.text(Node(name, *item.places[name])), wdir)
                found.append(self._out(scope, path, kind, options))
        return found

    def _out(self, scope: Scope, path: str, kind: OutKind, node: Node) -> Out:
        plain = isinstance(node.value, str) and node.plain and node.value in ("", "~", "null")
        keys = {} if plain else self._mapping(node, None if kind is OutKind.PLOT else OUT_KEYS)
        options = {key: scope.value(item) for key, item in keys.items() if key not in OUT_KEYS}
        return Out(
            path,
            kind,
            self._flag(scope, keys.get("cache"), True),
            self._flag(scope, keys.get("persist")),
            scope.text(keys["desc"]) if "desc" in keys else "",
            options,
        )

    def _top_plots(self, node: Node | None) -> Iterator[PlotSpec]:
        items = self._list(node, mappings=True) if node is not None else []
        for item in items:
            if isinstance(item.value, str):
                path = self._path(self.scope, item, self.scope.text(item), "")
                yield PlotSpec(path, path)
                continue
            assert isinstance(item.value, dict)
            for name, options in item.value.items():
                found = self.scope.value(options) or {}
                if not isinstance(found, dict):
                    raise self.scope.error(options, "how a plot is drawn has to be a mapping")
                several = any(isinstance(found.get(axis), dict) for axis in ("x", "y"))
                path = "" if several else self._path(self.scope, item, name, "")
                yield PlotSpec(name, path, found)

    def _env(self, scope: Scope, node: Node | None) -> Mapping[str, str]:
        found = {}
        for name, item in self._mapping(node).items():
            if not _ENV_NAME.match(name):
                raise scope.error(item, f"{name!r} cannot name an environment variable")
            found[name] = scope.text(item)
            if "\0" in found[name]:
                raise scope.error(item, "a NUL cannot stand in the environment")
        return found

    # -- values --------------------------------------------------------------------------------

    def _mapping(self, node: Node | None, known: Sequence[str] | None = None) -> dict[str, Node]:
        """A mapping whose keys are among `known`, if that is given."""
        if node is None or (node.value == "" and node.plain):
            return {}
        if not isinstance(node.value, dict):
            raise self.scope.error(node, "this has to be a mapping (key: value)")
        for key in node.value if known is not None else ():
            if known is not None and key not in known:
                line, column = node.places[key]
                close = difflib.get_close_matches(key, known, 1)
                hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
                raise PipelineError(f"{FILE}:{line}:{column}: {key!r} is not known here", hint)
        return node.value

    def _list(self, node: Node | None, mappings: bool = False) -> list[Node]:
        """A list of texts, and of mappings where those make sense; one alone counts as a list."""
        if node is None or (node.value == "" and node.plain):
            return []
        if isinstance(node.value, dict) and mappings:
            items = []
            for key, value in node.value.items():
                place = node.places[key]
                items.append(Node({key: value}, *place, places={key: place}))
            return items
        items = node.value if isinstance(node.value, list) else [node]
        for item in items:
            if isinstance(item.value, list) or (isinstance(item.value, dict) and not mappings):
                raise self.scope.error(item, "this has to be text")
        return items

    def _flag(self, scope: Scope, node: Node | None, default: bool = False) -> bool:
        if node is None:
            return default
        value = scope.value(node)
        if not isinstance(value, bool):
            raise scope.error(node, "this has to be true or false")
        return value

    def _wdir(self, scope: Scope, node: Node | None) -> str:
        if node is None:
            return ""
        text = scope.text(node)
        return "" if posixpath.normpath(text) == "." else self._path(scope, node, text, "")

    def _out_path(self, scope: Scope, node: Node, text: str, wdir: str) -> str:
        path = self._path(scope, node, text, wdir)
        if path in (FILE, LOCKFILE) or path.endswith(SUFFIX):
            raise scope.error(node, f"{path} cannot be an output")
        return path

    def _path(self, scope: Scope, node: Node, text: str, wdir: str) -> str:
        """A path as the project names it.

        Raises:
            PipelineError: it leads out of the project, or into git's or dvlite's folders.
        """
        path = posixpath.normpath(posixpath.join(wdir, text)) if text else ""
        reason = _refusal(path)
        if reason is not None or "\0" in text:
            raise scope.error(node, f"the path {text!r} {reason or 'holds a NUL'}")
        return path


def _refusal(path: str) -> str | None:
    if path in ("", "."):
        return "names no file or folder inside the project"
    if path.startswith("/") or path == ".." or path.startswith("../"):
        return "leads out of the project"
    try:
        check_trackable(path if not path.endswith(SUFFIX) else path[: -len(SUFFIX)] or path)
    except PathError as error:
        return f"cannot be used: {error}"
    return None


def _add_keys(found: dict[str, dict[str, None] | None], file: str, keys: Sequence[str]) -> None:
    """No keys: all of the file, whatever else is said."""
    if not keys:
        found[file] = None
    elif found.setdefault(file, {}) is not None:
        found[file].update(dict.fromkeys(keys))  # type: ignore[union-attr]


def _merge(values: dict[str, Any], added: Mapping[str, Any]) -> str | None:
    """Adds names, mappings in depth; the first that is there already with another value."""
    for key, value in added.items():
        before = values.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            inner = dict(before)
            twice = _merge(inner, value)
            if twice is not None:
                return f"{key}.{twice}"
            values[key] = inner
        elif key in values and before != value:
            return key
        else:
            values[key] = value
    return None


def _check_outs(stages: Iterable[Stage], scope: Scope) -> None:
    """No output twice, and none inside another.

    Raises:
        PipelineError: naming both stages.
    """
    owners: dict[str, Stage] = {}
    for stage in stages:
        for out in stage.outs:
            if out.path in owners:
                other = owners[out.path].name
                both = f"both {other} and {stage.name}" if other != stage.name else stage.name
                raise PipelineError(
                    f"{scope.name}:{stage.line}: {out.path} is an output of {both}"
                    + ("" if other != stage.name else " twice")
                )
            owners[out.path] = stage
    for path, stage in owners.items():
        parts = path.split("/")
        for count in range(1, len(parts)):
            above = "/".join(parts[:count])
            if above in owners:
                raise PipelineError(
                    f"{scope.name}:{stage.line}: {path}, an output of {stage.name}, is inside "
                    f"{above}, an output of {owners[above].name}"
                )
