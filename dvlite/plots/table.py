"""Reading the data of a plot: CSV, TSV, JSON and YAML become columns.

Owns what counts as a table: rows under a header (CSV, TSV); a list of objects, or the first such
list inside other objects, or an object of equally named lists (JSON, YAML). Data is hostile: sizes
and columns are bounded, and whatever cannot be read is an error with the file's name.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any

from dvlite.errors import CorruptError

# A million rows of five numbers are 50 MB, and take 2 s.
MAX_DATA_BYTES = 256 << 20
_MAX_COLUMNS = 10_000
_MAX_CELL = 1 << 20
# Rows are read so many at a time, so that no second copy of all of them is made.
_ROWS_A_TIME = 4096
SUFFIXES = (".csv", ".tsv", ".json", ".yaml", ".yml")
Cell = Any


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, in their order; all are equally long."""

    columns: Mapping[str, Sequence[Cell]]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return max((len(column) for column in self.columns.values()), default=0)


def is_data(path: str) -> bool:
    """Whether a file's name promises data that can be drawn."""
    return path.lower().endswith(SUFFIXES)


def read_table(data: bytes, path: str, header: bool = True) -> Table:
    """Reads the file at `path`; `header`: whether the first row of CSV and TSV names the columns.

    Raises:
        CorruptError: it is no such file, or too large.
    """
    if len(data) > MAX_DATA_BYTES:
        raise CorruptError(
            f"{path} is larger than {MAX_DATA_BYTES >> 20} MiB, too large to draw",
            "keep every tenth row of it for the plot",
        )
    lowered = path.lower()
    if lowered.endswith((".csv", ".tsv")):
        return _read_rows(data, path, "\t" if lowered.endswith(".tsv") else ",", header)
    if lowered.endswith((".json", ".yaml", ".yml")):
        return _of_tree(_parse(data, path, lowered.endswith(".json")), path)
    raise CorruptError(f"{path}: plots are drawn from {', '.join(SUFFIXES)} and images")


def _read_rows(data: bytes, path: str, delimiter: str, header: bool) -> Table:
    try:
        stream = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
        csv.field_size_limit(_MAX_CELL)
        rows = (row for row in csv.reader(stream, delimiter=delimiter) if row)
        first = next(rows, [])
        if len(first) > _MAX_COLUMNS:
            raise CorruptError(f"{path} has more than {_MAX_COLUMNS:,} columns")
        names = _unique(first) if header else [str(at) for at in range(len(first))]
        found: list[list[Cell]] = [[] for _ in names]
        for batch in _batches(rows if header else chain([first] if first else [], rows)):
            # a row that ends early lacks its last cells; what is beyond the header has no name
            for column, cells in zip(found, zip_longest(names, *batch, fillvalue=""), strict=False):
                column.extend(cells[1:])
    except UnicodeDecodeError as error:
        raise CorruptError(f"{path} is not UTF-8 text") from error
    except csv.Error as error:
        raise CorruptError(f"{path} is not a table: {error}") from error
    return Table(dict(zip(names, found, strict=True)))


def _batches(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    batch: list[list[str]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch


def _unique(names: Sequence[str]) -> list[str]:
    """Columns that have the same name get a number behind it."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _parse(data: bytes, path: str, is_json: bool) -> Any:
    if not is_json:
        from dvlite.workspace.yamltext import parse_yaml  # slow to import, and rarely needed

        return parse_yaml(data, path)
    try:
        return json.loads(data.decode("utf-8-sig"))
    except RecursionError as error:
        raise CorruptError(f"{path} is nested too deeply") from error
    except ValueError as error:
        raise CorruptError(f"{path} is not valid JSON: {error}") from error


def _of_tree(tree: Any, path: str) -> Table:
    rows = _find_rows(tree, 0)
    if rows is not None:
        names = dict.fromkeys(key for row in rows for key in row)
        if len(names) > _MAX_COLUMNS:
            raise CorruptError(f"{path} has more than {_MAX_COLUMNS:,} columns")
        return Table({str(name): [row.get(name) for row in rows] for name in names})
    if isinstance(tree, dict):
        lists = {str(key): value for key, value in tree.items() if isinstance(value, list)}
        longest = max((len(value) for value in lists.values()), default=0)
        if lists:
            filled = {key: value + [None] * (longest - len(value)) for key, value in lists.items()}
            return Table(filled)
    if tree in (None, [], {}):
        return Table({})
    raise CorruptError(
        f"{path} holds no table",
        'a list of objects is one: [{"step": 0, "loss": 0.9}, {"step": 1, "loss": 0.7}]',
    )


def _find_rows(tree: Any, depth: int) -> list[dict[str, Any]] | None:
    """The first list of objects, from outside in."""
    if isinstance(tree, list):
        return tree if tree and all(isinstance(item, dict) for item in tree) else None
    if isinstance(tree, dict) and depth < 32:
        for value in tree.values():
            found = _find_rows(value, depth + 1)
            if found is not None:
                return found
    return None
