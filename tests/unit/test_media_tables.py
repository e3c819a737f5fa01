"""`steno.Table` of what people have: types that Parquet or its readers do not know, odd columns; nothing is refused late."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from steno import Table, UsageError
from steno.media.raw import Raw
from steno.media.table import encode, from_file

NANO = pa.month_day_nano_interval()


@pytest.fixture
def kept(tmp_path):
    """What a reader finds of a table that the collector kept."""

    def keep(data, **more):
        made = Table(data, **more).__steno__()
        path = tmp_path / "t.parquet"
        path.unlink(missing_ok=True)
        encode(Raw.read(memoryview(b"".join(made.parts))), path)
        return from_file(path)

    return keep


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pd.period_range("2026-01", periods=2, freq="M"), ["2026-01", "2026-02"]),
        (pd.arrays.IntervalArray.from_breaks([0, 1, 2]), ["(0, 1]", "(1, 2]"]),
        (pd.cut([1, 2, 3], 2), ["(0.998, 2.0]", "(0.998, 2.0]", "(2.0, 3.0]"]),
        (pd.Categorical(["x", None, "y"]), ["x", None, "y"]),
        ([{1, 2}, {3}], [[1, 2], [3]]),
        ([np.zeros(2), np.ones((1, 2))], ["[0. 0.]", "[[1. 1.]]"]),
        ([1 + 2j, 3], ["(1+2j)", "(3+0j)"]),
    ],
    ids=["period", "interval", "cut", "category", "sets", "arrays", "complex"],
)
def test_a_column_of_pandas_is_kept_or_is_text(kept, column, found):
    table = kept(pd.DataFrame({"a": column, "n": range(len(column))}))
    assert table["a"].to_pylist() == found
    assert table.to_pandas()["n"].tolist() == list(range(len(found)))


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (pa.array([(1, 2, 3), None], NANO), ["MonthDayNano(months=1, days=2, nanoseconds=3)", None]),
        (pa.array([[(1, 2, 3)]], pa.list_(NANO)), ["[MonthDayNano(months=1, days=2, nanoseconds=3)]"]),
        (pa.array([{}, None], pa.struct([])), ["{}", None]),
        (pa.RunEndEncodedArray.from_arrays([2, 3], [7.5, None]), [7.5, 7.5, None]),
        (pa.DictionaryArray.from_arrays([1, 0, None], pa.array([[1], [2, 3]])), [[2, 3], [1], None]),
        (pa.array([1, "x"][:1]).dictionary_encode(), [1]),
        (pa.array([dt.timedelta(seconds=1)]), [dt.timedelta(seconds=1)]),
        (pa.nulls(2), [None, None]),
    ],
    ids=["months", "list of months", "no fields", "runs", "nested dictionary", "dictionary", "duration", "nulls"],
)
@pytest.mark.parametrize("rows", ["all", "none"])
def test_a_column_of_any_arrow_type_is_kept_or_is_text(kept, column, found, rows):
    table = pa.table({"a": column})
    assert kept(table if rows == "all" else table.slice(0, 0))["a"].to_pylist() == (found if rows == "all" else [])


def test_objects_of_polars_are_text(kept):
    class Named:
        def __str__(self):
            return "named"

    frame = pl.DataFrame({"a": [1, 2], "o": pl.Series([Named(), None], dtype=pl.Object), "b": ["x", "y"]})
    assert kept(frame).to_pydict() == {"a": [1, 2], "o": ["named", None], "b": ["x", "y"]}


def test_names_of_several_types_are_text_without_a_warning(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept(pd.DataFrame(np.eye(2), columns=[("a", 1), 3.5])).column_names == ["('a', 1)", "3.5"]


def test_a_structured_array_has_a_column_for_each_field(kept):
    rows = np.array([(1, 2.5, "x"), (2, np.nan, "")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
    found = kept(rows).to_pydict()
    assert (found["a"], found["c"], found["b"][0]) == ([1, 2], ["x", ""], 2.5)


@pytest.mark.parametrize("value", [5, "text", b"bytes", None])
def test_a_column_that_is_one_value_is_named(value):
    with pytest.raises(UsageError, match=r"the column 'b' is .*, not a sequence of values"):
        Table({"a": [1, 2], "b": value})


def test_what_holds_itself_or_has_no_text_is_text_and_the_process_lives():
    """Arrow goes down in lists until the process dies."""
    cyclic, deep = [], 1
    cyclic.append(cyclic)
    for _ in range(200_000):
        deep = [deep]
    array = np.empty(2, object)
    array[:] = [array, 1]
    for data in ({"a": [cyclic]}, {"a": [array]}, {"a": [{"b": cyclic}]}, pd.DataFrame({"a": [cyclic, [1]]})):
        assert "1 rows" in repr(Table(data)) or "2 rows" in repr(Table(data))
    Table({"a": [deep], "b": [10**5000], 10**5000: [1]})
    while isinstance(deep, list):  # not by the collector, which goes down in it too
        deep = deep.pop()
