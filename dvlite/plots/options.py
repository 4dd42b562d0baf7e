"""How a plot is drawn, from the options that somebody wrote in `dvlite.yaml` or a template.

Owns the names of the options, what each accepts, and templates: the built-in kinds, and files with
options for several plots, in which `{title}`, `{x}`, `{y}` and `{path}` stand for the plot's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dvlite.errors import CorruptError

KINDS = ("line", "scatter", "bar", "bar_horizontal", "confusion", "image")
# The names of DVC's templates, and what they are here.
_BUILT_IN: dict[str, dict[str, Any]] = {
    **{kind: {"kind": kind} for kind in KINDS},
    "linear": {"kind": "line"},
    "simple": {"kind": "line"},
    "smooth": {"kind": "line", "smooth": 0.6},
    "scatter_jitter": {"kind": "scatter"},
    "bar_horizontal_sorted": {"kind": "bar_horizontal", "sort": True},
    "confusion_normalized": {"kind": "confusion", "normalized": True},
}
TEMPLATES = tuple(sorted(_BUILT_IN))
_TEXTS = ("title", "x_label", "y_label")
_MOST_COLUMNS = 200
_PLACEHOLDER = re.compile(r"\{(title|x|y|path)\}")

Columns = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Options:
    """How to draw. `x` and `y` are pairs of a file ("" for the plot's own) and a column; none:
    the rows' numbers, and the last column. `smooth`: weight of what came before, 0 to 1."""

    kind: str = "line"
    x: Columns = ()
    y: Columns = ()
    title: str = ""
    x_label: str = ""
    y_label: str = ""
    x_log: bool = False
    y_log: bool = False
    normalized: bool = False
    sort: bool = False
    smooth: float = 0.0
    header: bool = True


def parse_options(options: Mapping[str, Any], where: str) -> Options:
    """Checks options, those of a built-in template included.

    Raises:
        CorruptError: an option that there is not, or a value that it cannot have.
    """
    written = dict(options)
    template = written.pop("template", None)
    if template is not None:
        if not isinstance(template, str) or template not in _BUILT_IN:
            raise CorruptError(
                f"{where}: there is no template {template!r}",
                f"there are {', '.join(TEMPLATES)}, and files: .dvlite/plots/NAME.yaml",
            )
        written = {**_BUILT_IN[template], **written}
    found = Options()
    for name, value in written.items():
        found = replace(found, **_read(str(name), value, where))
    if found.kind not in KINDS:
        raise CorruptError(
            f"{where}: there is no kind {found.kind!r}", f"one of {', '.join(KINDS)}"
        )
    return found


def apply_template(
    template: Mapping[str, Any], options: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """Options with those of a template file below them, and its placeholders filled in."""
    own = {
        "path": path,
        "title": str(options.get("title") or path),
        **{key: _words(options.get(key)) for key in ("x", "y")},
    }
    filled = {
        key: _PLACEHOLDER.sub(lambda one: own[one[1]], value) if isinstance(value, str) else value
        for key, value in template.items()
    }
    rest = {key: value for key, value in options.items() if key != "template"}
    kept = {key: value for key, value in rest.items() if key != "title" or "title" not in filled}
    return {**filled, **kept}


def _read(name: str, value: Any, where: str) -> dict[str, Any]:
    if name in ("x", "y"):
        return {name: _columns(value, f"{where}: {name}")}
    if name in (*_TEXTS, "kind"):
        if not isinstance(value, str | int | float):
            raise CorruptError(f"{where}: {name} is a text")
        return {name: str(value)[:1000]}
    if name in ("x_scale", "y_scale"):
        if value not in ("linear", "log"):
            raise CorruptError(f"{where}: {name} is linear or log, not {value!r}")
        return {f"{name[0]}_log": value == "log"}
    if name in ("normalized", "sort", "header"):
        return {name: _flag(value, f"{where}: {name}")}
    if name == "smooth":
        return {name: _part(value, f"{where}: {name}")}
    raise CorruptError(
        f"{where}: plots have no option {name!r}",
        "there are x, y, title, x_label, y_label, x_scale, y_scale, template, normalized, sort, "
        "smooth, header",
    )


def _flag(value: Any, where: str) -> bool:
    """YAML read as text gives words."""
    if isinstance(value, bool):
        return value
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    raise CorruptError(f"{where} is true or false, not {value!r}")


def _part(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < 1:
        raise CorruptError(f"{where} is from 0 to less than 1, not {value!r}")
    return number


def _columns(value: Any, where: str) -> Columns:
    """`loss`, `[loss, accuracy]`, `{file.csv: loss}` or `{file.csv: [loss, accuracy]}`."""
    pairs: list[tuple[str, str]] = []
    given = value if isinstance(value, dict) else {"": value}
    for path, columns in given.items():
        for column in columns if isinstance(columns, list) else [columns]:
            if isinstance(column, dict | list) or column is None:
                raise CorruptError(f"{where} is a column, a list of columns, or FILE: column")
            pairs.append((str(path), str(column)))
    if len(pairs) > _MOST_COLUMNS:
        raise CorruptError(f"{where} names more than {_MOST_COLUMNS} columns")
    return tuple(pairs)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(_words(item) for item in value.values())
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value or "")
