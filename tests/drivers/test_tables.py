"""Tables: what their bytes say of columns and rows, and that nothing else is taken for one."""

from __future__ import annotations

import io

import pytest

from dvlite.ops.tables import compare_tables, format_of, read_table


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        (b"a,b\n1,2\n", ("a", "b"), 1),
        (b'\xef\xbb\xbfa,"b,c"\r\n"1\n2",3\r\n', ("a", "b,c"), 1),
        (b"1,2\n3,4\n", ("column 1", "column 2"), 2),
        (b"a,a\n1,2\n", ("column 1", "column 2"), 2),
        (b"a\n\n\n", ("a",), 0),
        (b"\xff\xfe,b\n1,2\n", ("\ufffd\ufffd", "b"), 1),
    ],
)
def test_columns_and_rows(data: bytes, columns: tuple[str, ...], rows: int) -> None:
    table = read_table(data, "csv")
    assert table is not None and (table.columns, table.rows) == (columns, rows)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"a,b\0c\n", b"x" * (2 << 20)])
def test_what_is_no_table(data: bytes) -> None:
    assert read_table(data, "csv") is None


def test_rows_are_compared_on_the_columns_that_both_have() -> None:
    old = read_table(b"id\tgone\n1\tx\n2\tx\n2\tx\n", "tsv")
    new = read_table(b"new\tid\n?\t2\n?\t3\n?\n", "tsv")
    assert old is not None and new is not None
    change = compare_tables(old, new)
    assert (change.new_columns, change.lost_columns) == (("new",), ("gone",))
    assert (change.added, change.removed) == (2, 2)


def test_names_promise_tables() -> None:
    names = [b"a.csv", b"a.TSV", b"a.parquet", b"a.csv.gz", b"csv"]
    assert [format_of(name) for name in names] == ["csv", "tsv", "parquet", None, None]


def test_parquet_is_read_where_pyarrow_is_installed() -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="NOT TESTED: Parquet (needs pyarrow)")
    from pyarrow.parquet import write_table

    stream = io.BytesIO()
    write_table(pyarrow.table({"a": [1, 2], "b": ["x", "y"]}), stream)
    table = read_table(stream.getvalue(), "parquet")
    assert table is not None and (table.columns, table.rows) == (("a", "b"), 2)
    assert read_table(b"PAR1 nonsense PAR1", "parquet") is None
    assert read_table(stream.getvalue()[:-20] + b"PAR1", "parquet") is None
