"""Data becomes columns, and columns become points, whatever is in the files."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvlite.errors import CorruptError
from dvlite.plots.scales import LARGEST, Scale, fit, nice_ticks, rounded, write
from dvlite.plots.series import smoothed, thin_line, thin_points, to_numbers
from dvlite.plots.table import Table, read_table


def columns(data: bytes, path: str, header: bool = True) -> dict[str, list[object]]:
    return {name: list(cells) for name, cells in read_table(data, path, header).columns.items()}


def test_csv_and_tsv_are_columns_under_a_header() -> None:
    assert columns(b"a,b\n1,2\n3,4\n", "x.csv") == {"a": ["1", "3"], "b": ["2", "4"]}
    assert columns(b"\xef\xbb\xbfa\tb\r\n1\t2\r\n", "x.TSV") == {"a": ["1"], "b": ["2"]}
    assert columns(b"1,2\n3,4\n", "x.csv", header=False) == {"0": ["1", "3"], "1": ["2", "4"]}


def test_rows_of_unequal_length_and_columns_of_equal_name_lose_nothing() -> None:
    assert columns(b"a,a,b\n1,2\n\n3,4,5,6\n", "x.csv") == {
        "a": ["1", "3"],
        "a (2)": ["2", "4"],
        "b": ["", "5"],
    }


@pytest.mark.parametrize(
    "tree",
    [
        [{"a": 1, "b": 2}, {"a": 3}],
        {"deep": {"history": [{"a": 1, "b": 2}, {"a": 3}]}, "later": [{"z": 1}]},
        {"a": [1, 3], "b": [2]},
    ],
)
def test_json_tables_have_three_forms(tree: object) -> None:
    assert columns(json.dumps(tree).encode(), "x.json") == {"a": [1, 3], "b": [2, None]}


def test_yaml_is_read_too() -> None:
    assert columns(b"- {a: 1}\n- {a: 2}\n", "x.yaml") == {"a": ["1", "2"]}


@pytest.mark.parametrize(
    ("data", "path", "why"),
    [
        (b'{"a": 1}', "x.json", "holds no table"),
        (b"{", "x.json", "not valid JSON"),
        (b"[" * 100_000, "x.json", "nested too deeply"),
        (b"\xff\xfe,", "x.csv", "not UTF-8"),
        (b'a\n"' + b"x" * (2 << 20), "x.csv", "not a table"),
        (b"a: *b", "x.yaml", "anchors"),
        (b"a" + b",a" * 20_000, "x.csv", "columns"),
        (b"", "x.bin", "drawn from"),
    ],
)
def test_what_is_no_table_is_refused_with_its_name(data: bytes, path: str, why: str) -> None:
    with pytest.raises(CorruptError, match=why) as error:
        read_table(data, path)
    assert path in str(error.value)


@given(st.binary(max_size=300), st.sampled_from(["x.csv", "x.json", "x.yaml"]))
def test_any_bytes_are_a_table_or_refused(data: bytes, path: str) -> None:
    with suppress(CorruptError):
        assert isinstance(read_table(data, path), Table)


def test_cells_that_are_no_numbers_become_gaps() -> None:
    found = to_numbers(["1", "", "x", None, True, 10**400, "inf", "-1e308", [1]])
    assert " ".join(map(str, found)) == "1.0 nan nan nan 1.0 inf inf -inf nan"


def test_a_long_line_keeps_its_outline_and_a_gap() -> None:
    ys = [math.sin(at / 5000) for at in range(200_000)]
    ys[123_456] = 99.0
    ys[50_000] = -99.0
    ys[80_000] = math.nan
    kept = thin_line(range(len(ys)), ys)
    assert len(kept) <= 600 * 5
    assert kept == sorted(set(kept))
    assert {0, 199_999, 123_456, 50_000, 80_000} <= set(kept)


def test_a_large_scatter_keeps_its_corners() -> None:
    xs = [float(at % 1000) for at in range(300_000)]
    ys = [float(at // 1000) for at in range(300_000)]
    kept = thin_points(xs, ys)
    assert len(kept) <= 5000
    assert min(xs[at] for at in kept) == 0
    assert max(ys[at] for at in kept) > 290


def test_smoothing_has_no_bias_and_skips_gaps() -> None:
    assert smoothed([2.0, 2.0, math.nan, 2.0], 0.9)[:2] == pytest.approx([2.0, 2.0])
    assert smoothed([0.0, 1.0], 0.5) == pytest.approx([0, 2 / 3])


finite = st.floats(-LARGEST, LARGEST)


@given(st.lists(finite, min_size=1, max_size=5), st.booleans())
def test_every_value_has_a_pixel_and_ticks_lie_between(values: list[float], zero: bool) -> None:
    scale = rounded(fit("linear", values, (0.0, 100.0), zero), 6)
    for value in values:
        assert -1e-6 <= scale(value) <= 100 + 1e-6
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 20
    for value, words in ticks:
        assert -0.01 <= scale(value) <= 100.01
        assert words


@given(st.lists(st.floats(5e-307, LARGEST), min_size=1, max_size=5))
def test_log_scales_show_every_positive_value(values: list[float]) -> None:
    scale = rounded(fit("log", values, (0.0, 100.0)), 6)
    for value in values:
        assert -1e-6 <= scale(value) <= 100 + 1e-6
    assert scale.ticks(6)


def test_ticks_are_round_and_written_as_people_write() -> None:
    assert nice_ticks(0.03, 0.97, 5) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert [words for _, words in Scale("linear", 0, 0.1, 0, 1).ticks(4)][:2] == ["0.00", "0.02"]
    assert [words for _, words in Scale("log", 1e-6, 1, 0, 1).ticks(3)] == ["10⁻⁶", "10⁻³", "10⁰"]
    assert [words for _, words in Scale("time", 0, 86400 * 3, 0, 1).ticks(4)] == [
        "1970-01-01",
        "1970-01-02",
        "1970-01-03",
        "1970-01-04",
    ]
    assert write(12345.678) == "12,346"
    assert write(-0.00001234) == "−1.23×10⁻⁵"
    assert write(math.inf) == "∞"
