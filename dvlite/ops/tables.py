"""What changed in a table: its columns and rows, from the bytes of two versions.

Owns reading CSV, TSV and (where pyarrow is installed) Parquet just so far. Whatever cannot be
read is no table, and never an error: files may be named so without being one.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Format = Literal["csv", "tsv", "parquet"]
_ENDS: tuple[tuple[bytes, Format], ...] = (
    (b".csv", "csv"),
    (b".tsv", "tsv"),
    (b".parquet", "parquet"),
)
# Rows of more take seconds, and whoever reads a log does not wait for them.
MAX_TABLE_BYTES = 32 << 20
_MAX_CELL = 1 << 20


@dataclass(frozen=True, slots=True)
class Table:
    """A table's columns, and how many rows it has. `cells`: the rows; None where only their
    number was read."""

    columns: tuple[str, ...]
    rows: int
    cells: tuple[Sequence[str], ...] | None = None


@dataclass(frozen=True, slots=True)
class TableChange:
    """What differs. `added` and `removed` count rows (a row that changed is both), as far as the
    columns go that both have; None where rows were not compared."""

    new_columns: tuple[str, ...]
    lost_columns: tuple[str, ...]
    before: int
    after: int
    added: int | None = None
    removed: int | None = None


def format_of(name: bytes) -> Format | None:
    """What kind of table a file's name promises."""
    lowered = name.lower()
    return next((kind for end, kind in _ENDS if lowered.endswith(end)), None)


def read_table(data: bytes, kind: Format) -> Table | None:
    """Reads a table; None where the bytes are none."""
    return _read_parquet(data) if kind == "parquet" else _read_text(data, kind)


def compare_tables(old: Table, new: Table) -> TableChange:
    """What differs between two versions of a table."""
    change = TableChange(
        tuple(one for one in new.columns if one not in old.columns),
        tuple(one for one in old.columns if one not in new.columns),
        old.rows,
        new.rows,
    )
    if old.cells is None or new.cells is None:
        return change
    common = [one for one in old.columns if one in new.columns]
    before, after = (Counter(_keys(table, common)) for table in (old, new))
    return TableChange(
        change.new_columns,
        change.lost_columns,
        old.rows,
        new.rows,
        (after - before).total(),
        (before - after).total(),
    )


def _keys(table: Table, columns: Sequence[str]) -> Iterator[int]:
    """Each row's hash over some columns; rows that are shorter lack the last ones."""
    places = [table.columns.index(one) for one in columns]
    assert table.cells is not None
    if places == list(range(len(table.columns))):
        yield from (hash(tuple(row)) for row in table.cells)
        return
    for row in table.cells:
        yield hash(tuple(row[place] if place < len(row) else "" for place in places))


def _read_text(data: bytes, kind: Format) -> Table | None:
    if b"\0" in data[:4096]:
        return None
    text = io.StringIO(data.decode("utf-8-sig", "replace"), newline="")
    before = csv.field_size_limit(_MAX_CELL)
    try:
        rows = [row for row in csv.reader(text, delimiter="\t" if kind == "tsv" else ",") if row]
    except csv.Error:
        return None
    finally:
        csv.field_size_limit(before)
    if not rows:
        return None
    if _is_head(rows[0]):
        return Table(tuple(rows[0]), len(rows) - 1, tuple(rows[1:]))
    names = tuple(f"column {number}" for number in range(1, len(rows[0]) + 1))
    return Table(names, len(rows), tuple(rows))


def _is_head(row: Sequence[str]) -> bool:
    """Whether a first row names columns: names are no numbers, and each is there once."""
    return all(row) and len(set(row)) == len(row) and not any(map(_is_number, row))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_parquet(data: bytes) -> Table | None:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        return None
    try:
        found = ParquetFile(io.BytesIO(data))
        return Table(tuple(found.schema_arrow.names), int(found.metadata.num_rows))
    except (ArrowException, OSError, ValueError):
        return None
