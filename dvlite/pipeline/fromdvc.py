"""`dvc.yaml` as `dvlite.yaml`: the two are alike, and what differs is named.

Owns which keys of DVC have no counterpart. One file at the top of which nothing is left out
is taken as it is, with its comments; others become one file, where each stage keeps its folder.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from dvlite.errors import PipelineError
from dvlite.pipeline.graph import Graph
from dvlite.pipeline.stagefile import FILE, OUT_KEYS, STAGE_KEYS, TOP_KEYS, Read, load
from dvlite.pipeline.yamlnodes import parse_nodes, to_plain

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# What DVC says of outputs and dvlite says elsewhere, or not at all.
_LOST_OUT_KEYS = ("remote", "push", "type", "labels", "meta", "checkpoint", "fs_config", "files")
_OUTS = ("outs", "metrics", "plots")


@dataclass(slots=True)
class Converted:
    """What became of DVC's pipelines. `data`: a `dvlite.yaml`, None where none could be made.
    `names`: (file of DVC, stage) -> stage here; `wdirs`: the folder of each stage of DVC's; `lost`:
    where, and what could not be taken over."""

    data: bytes | None = None
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    wdirs: dict[tuple[str, str], str] = field(default_factory=dict)
    lost: list[tuple[str, str]] = field(default_factory=list)


def convert(files: Mapping[str, bytes], read: Read) -> Converted:
    """A `dvlite.yaml` of all `dvc.yaml` files (project path -> bytes). `read`: the other files,
    of parameters for example."""
    result = Converted()
    trees: dict[str, dict[str, Any]] = {}
    for path in sorted(files):
        try:
            tree = to_plain(parse_nodes(files[path], path))
            if isinstance(tree, dict) and tree:
                trees[path] = tree
            elif tree:
                result.lost.append((path, "it is no mapping"))
        except PipelineError as error:
            result.lost.append((path, str(error)))
    merged = _merge(trees, result)
    if not merged:
        return result
    whole = set(trees) == {"dvc.yaml"} and not result.lost
    data = files["dvc.yaml"] if whole else _dump(merged)
    try:
        Graph.of(load(lambda path: data if path == FILE else read(path)))
    except PipelineError as error:
        result.lost.append((FILE, f"DVC's pipelines are not converted: {error}"))
        return result
    result.data = data
    return result


def _dump(tree: Mapping[str, Any]) -> bytes:
    text: str = yaml.safe_dump(
        dict(tree), sort_keys=False, allow_unicode=True, default_flow_style=False, width=1 << 20
    )
    return text.encode()


def _merge(trees: Mapping[str, dict[str, Any]], result: Converted) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for path, tree in trees.items():
        folder = posixpath.dirname(path)
        for key in tree:
            if key not in TOP_KEYS:
                result.lost.append((path, f"{key} has no counterpart"))
        if folder and "vars" in tree:
            result.lost.append((path, "its vars: put them into the vars of its stages"))
        elif tree.get("vars"):
            merged["vars"] = tree["vars"]
        stages = tree.get("stages")
        for name, stage in stages.items() if isinstance(stages, dict) else ():
            _add_stage(path, str(name), stage, merged.setdefault("stages", {}), result)
        for key in ("params", "metrics", "plots"):
            items = _below(folder, tree.get(key))
            if items:
                merged.setdefault(key, []).extend(items)
    return merged


def _add_stage(path: str, name: str, stage: Any, stages: dict[str, Any], result: Converted) -> None:
    folder, where = posixpath.dirname(path), f"{path}: {name}"
    if not isinstance(stage, dict):
        result.lost.append((where, "it is no stage"))
        return
    new = name
    if new in stages:
        new = f"{folder.replace('/', '-')}-{name}"
    result.names[path, name] = new
    inner_stage = stage.get("do")
    body: dict[str, Any] = inner_stage if isinstance(inner_stage, dict) else stage
    wdir = posixpath.normpath(posixpath.join(folder, str(body.get("wdir") or "")))
    result.wdirs[path, name] = "" if wdir == "." else wdir
    if "do" in stage and isinstance(stage["do"], dict):
        inner = _stage(where, stage["do"], result)
        stages[new] = {**{key: stage[key] for key in stage if key != "do"}, "do": inner}
        _set_wdir(stages[new]["do"], folder)
    else:
        stages[new] = _stage(where, stage, result)
        _set_wdir(stages[new], folder)


def _set_wdir(stage: dict[str, Any], folder: str) -> None:
    if folder:
        stage["wdir"] = posixpath.normpath(posixpath.join(folder, str(stage.get("wdir") or "")))


def _stage(where: str, stage: Mapping[str, Any], result: Converted) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in stage.items():
        if key not in STAGE_KEYS:
            result.lost.append((where, f"{key} has no counterpart"))
        elif key == "deps":
            found[key] = list(_deps(where, value, result))
        elif key in _OUTS:
            found[key] = list(_outs(where, key, value, result))
        else:
            found[key] = value
    return found


def _deps(where: str, deps: Any, result: Converted) -> Iterator[Any]:
    for dep in deps if isinstance(deps, list) else [deps]:
        text = next(iter(dep), "") if isinstance(dep, dict) else dep
        if _URL.match(str(text)):
            result.lost.append((where, f"it depends on {text}, outside the repository"))
        else:
            yield text


def _outs(where: str, key: str, outs: Any, result: Converted) -> Iterator[Any]:
    items: list[Any] = outs if isinstance(outs, list) else [outs]
    for item in items:
        if not isinstance(item, dict):
            if _URL.match(str(item)):
                result.lost.append((where, f"it makes {item}, outside the repository"))
            else:
                yield item
            continue
        for path, options in item.items():
            if not isinstance(options, dict):
                yield path
                continue
            kept = {}
            for option, value in options.items():
                lost = option in _LOST_OUT_KEYS or (key != "plots" and option not in OUT_KEYS)
                if lost and (option, value) != ("push", True):
                    result.lost.append((where, f"{path}: {option} has no counterpart"))
                elif not lost:
                    kept[option] = value
            yield {path: kept} if kept else path


def _below(folder: str, value: Any) -> list[Any]:
    """Files that stand beside stages, seen from the project's folder."""
    if not value:
        return []
    items = value if isinstance(value, list) else [value]
    if not folder:
        return items
    found: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            found.append({posixpath.join(folder, str(key)): inner for key, inner in item.items()})
        else:
            found.append(posixpath.join(folder, str(item)))
    return found
