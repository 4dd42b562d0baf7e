"""The JSON Schema of `dvlite.yaml`, by which editors complete and check it.

Owns what an editor says of each key. It accepts what `stagefile` accepts as far as a schema can say
that; paths, templates and cycles are checked when the file is read.
"""

from __future__ import annotations

from typing import Any

ADDRESS = "https://json-schema.org/draft/2020-12/schema"
_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean"]}
_TEXT = {"type": ["string", "number"]}
_FLAG = {"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": r"^\$\{[^{}]*\}$"}]}


def _some(item: dict[str, Any], about: str) -> dict[str, Any]:
    """One of these, or a list of them."""
    return {"description": about, "anyOf": [item, {"type": "array", "items": item}]}


def _out_options(extra: bool) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": {
            "cache": {**_FLAG, "description": "false: git keeps it, not dvlite"},
            "persist": {**_FLAG, "description": "true: not removed before the stage runs"},
            "desc": {**_TEXT, "description": "what it is"},
        },
        "additionalProperties": extra,
    }


def _outs(about: str, extra: bool = False) -> dict[str, Any]:
    mapping = {"type": "object", "additionalProperties": _out_options(extra)}
    return _some({"anyOf": [{"type": "string"}, mapping]}, about)


def _deps() -> dict[str, Any]:
    versioned = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "a file or folder"},
            "rev": {**_TEXT, "description": "as it was at this revision of the repository"},
        },
        "required": ["path"],
        "additionalProperties": False,
    }
    return _some({"anyOf": [_TEXT, versioned]}, "what the stage reads: files and folders")


def _params() -> dict[str, Any]:
    keys = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}, {"type": "null"}]}
    file = {"type": "object", "additionalProperties": keys}
    return _some(
        {"anyOf": [{"type": "string"}, file]},
        "parameters that the stage reads: keys of params.yaml, or FILE: [KEY…], or FILE: for all",
    )


def _stage() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "cmd": _some(_TEXT, "the command, or several that run one after the other"),
            "deps": _deps(),
            "params": _params(),
            "outs": _outs("what the stage makes: files and folders"),
            "metrics": _outs("files of numbers that tell how good the result is"),
            "plots": _outs("files of points to draw, and images", extra=True),
            "wdir": {**_TEXT, "description": "where the command runs; paths count from there"},
            "env": {
                "description": "environment variables of the command",
                "type": ["object", "null"],
                "additionalProperties": _SCALAR,
            },
            "desc": {**_TEXT, "description": "what the stage is for"},
            "frozen": {**_FLAG, "description": "true: never run again"},
            "always_changed": {**_FLAG, "description": "true: run every time"},
            "vars": _vars("names for ${} in this stage"),
            "matrix": {
                "description": "a stage for each combination of values: ${item.NAME}, ${key}",
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "additionalProperties": {"type": ["array", "string"]}},
                ],
            },
            "foreach": {
                "description": "a stage for each item, as do defines it: ${item}, ${key}",
                "type": ["array", "object", "string"],
            },
            "do": {"$ref": "#/$defs/stage", "description": "the stage that foreach makes"},
            "meta": {"description": "anything; for other tools"},
        },
        "anyOf": [{"required": ["cmd"]}, {"required": ["foreach", "do"]}],
        "additionalProperties": False,
    }


def _vars(about: str) -> dict[str, Any]:
    return _some({"type": ["string", "object"]}, about)


def schema() -> dict[str, Any]:
    """The schema, as JSON has it."""
    return {
        "$schema": ADDRESS,
        "title": "dvlite.yaml",
        "description": "The stages of a dvlite pipeline",
        "type": ["object", "null"],
        "properties": {
            "stages": {
                "description": "name: what it runs, reads and makes",
                "type": ["object", "null"],
                "propertyNames": {"pattern": r"^\w[\w.-]*$"},
                "additionalProperties": {"$ref": "#/$defs/stage"},
            },
            "vars": _vars("names for ${}: mappings, files, or FILE:KEY,KEY"),
            "params": _params(),
            "metrics": _outs("files of metrics that no stage makes"),
            "plots": {
                "description": "plots apart from stages: files, or NAME: {x, y, title, …}",
                "type": ["array", "object", "null"],
            },
        },
        "additionalProperties": False,
        "$defs": {"stage": _stage()},
    }
