"""Keys side by side."""

from __future__ import annotations

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import Writer

from steno.errors import UsageError
from steno.store.reader import RunReader


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "tests" / "run"


@pytest.fixture(params=[False, True], ids=["unsealed", "sealed"])
def book(request, run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"a": 1.0, "b": 10.0}), (1, {"a": 2.0}), (1, {"a": 3.0, "step": 7.0}), (2, {"b": math.nan}))
        writer.log((1, {"a": -1.0, "word": "x", "big": 2**60}), rank=1)
        if request.param:
            writer.seal()
        yield book


def test_rows_are_joined_on_step_and_the_last_record_wins(book):
    table = book.frame(["a", "b"], as_="arrow")
    assert table.to_pydict() | {"b": None} == {
        "step": [0, 1, 1, 2],
        "rank": [0, 0, 1, 0],
        "attempt": [1, 1, 1, 1],
        "a": [1.0, 3.0, -1.0, None],
        "b": None,
    }
    b = table["b"].to_pylist()
    assert (b[0], b[1], b[2]) == (10.0, None, None)
    assert math.isnan(b[3])


def test_one_row_per_call(book):
    table = book.frame(["a", "b"], on="record", as_="arrow")
    assert table["record"].to_pylist() == [1, 2, 3, 4, 5]
    assert table["a"].to_pylist() == [1.0, 2.0, 3.0, None, -1.0]
    assert table.column_names == ["node", "record", "step", "time", "rank", "attempt", "a", "b"]


def test_rows_in_order_of_time(book):
    table = book.frame("a", on="time", as_="arrow")
    assert table.column_names == ["time", "rank", "attempt", "a"]
    times = [one.value for one in table["time"]]
    assert times == sorted(times)
    assert table["a"].to_pylist() == [1.0, 2.0, 3.0, -1.0]


def test_pandas_and_polars_get_the_same_table(book):
    pandas, polars = book.frame(["a", "word"]), book.frame(["a", "word"], as_="polars")
    assert list(pandas.columns) == polars.columns == ["step", "rank", "attempt", "a", "word"]
    assert pandas["a"].tolist() == polars["a"].to_list() == [1.0, 3.0, -1.0]
    assert polars["word"].to_list() == [None, None, "x"]


def test_what_a_float_cannot_hold_makes_the_column_int_or_text(book):
    table = book.frame(["big", "word", "a"], as_="arrow")
    assert [str(table[key].type) for key in ("big", "word", "a")] == ["int64", "string", "double"]
    assert table["big"].to_pylist()[-1] == 2**60


def test_a_key_named_like_a_column_of_the_join_keeps_its_name(book):
    table = book.frame(["step", "a"], as_="arrow")
    assert table.column_names == ["_step", "rank", "attempt", "step", "a"]
    assert table["step"].to_pylist() == [None, 7.0, None]


def test_all_keys_without_a_list_and_no_rows_for_no_points(book):
    assert book.frame(as_="arrow").column_names == ["_step", "rank", "attempt", "a", "b", "big", "step", "word"]
    assert len(book.frame("a", rank=9, as_="arrow")) == 0
    assert book.frame("a", steps=(1, 1), rank=0, as_="arrow")["a"].to_pylist() == [3.0]


@pytest.mark.parametrize(("arguments", "said"), [({"on": "epoch"}, "on='epoch'"), ({"as_": "excel"}, "as_='excel'")])
def test_wrong_arguments_are_said(book, arguments, said):
    with pytest.raises(UsageError, match=said):
        book.frame("a", **arguments)


def test_a_missing_library_is_said_with_the_remedy(book, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "polars", None)
    with pytest.raises(UsageError, match=r"pip install 'stenolog\[frames\]'"):
        book.frame("a", as_="polars")


STEPS = st.one_of(st.integers(-3, 3), st.sampled_from([2**62, -(2**62), 2**61]))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(
        st.tuples(
            STEPS,
            st.dictionaries(
                st.sampled_from("abcd"), st.one_of(st.floats(allow_nan=False), st.text(max_size=2)), min_size=1
            ),
            st.integers(0, 2),
            st.booleans(),
        ),
        min_size=1,
        max_size=25,
    ),
    on=st.sampled_from(["step", "time", "record"]),
    several=st.booleans(),
)
def test_a_row_holds_what_was_logged_at_its_place(records, on, several, tmp_path_factory):
    """Whatever steps keys share, in whatever order, how often, and by how many ranks."""
    run_dir = tmp_path_factory.mktemp("runs") / "tests" / "run"
    with Writer(run_dir) as writer, RunReader(run_dir) as reader:
        for step, values, rank, seals in records:
            writer.log((step, values), rank=rank)
            if seals:
                writer.seal()
        keys = sorted({key for _, values, *_ in records for key in values})
        if several:  # so many are read at once
            writer.log((9, {f"other{number}": 1.0 for number in range(20)}), rank=9)
            keys = [*keys, *(f"other{number}" for number in range(20))]
        expected: dict[tuple, dict] = {}
        for key in keys:
            series = reader.series(key)
            place = {"step": series.step, "time": series.time.view("int64"), "record": series.record}[on].tolist()
            for at, rank, number, value in sorted(
                zip(place, series.rank.tolist(), series.record.tolist(), series.exact.tolist(), strict=True),
                key=lambda row: row[2],
            ):
                expected.setdefault((at, rank), {})[key] = value
        table = reader.frame(keys, on=on, as_="arrow")
        place = table[on].cast("int64").to_pylist()
        assert list(zip(place, table["rank"].to_pylist(), strict=True)) == sorted(expected)
        for key in keys:
            column = table[key].to_pylist()
            is_text = table[key].type == "string"
            for row, found in zip(sorted(expected), column, strict=True):
                value = expected[row].get(key)
                assert found == (repr(value) if is_text and isinstance(value, float) else value), (row, key)
