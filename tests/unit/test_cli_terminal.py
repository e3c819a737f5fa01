"""How values look to people and to programs."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest

from steno.cli import terminal


def test_json_keeps_what_json_has_no_number_for(capsys):
    terminal.print_json({"a": [float("nan"), float("inf"), -float("inf"), 2**70, True, None], "b": np.arange(3)})
    line = capsys.readouterr().out
    found = json.loads(line, parse_constant=lambda name: pytest.fail(f"not JSON: {name}"))
    assert found == {"a": ["NaN", "Infinity", "-Infinity", 2**70, True, None], "b": [0, 1, 2]}


def test_json_keeps_times_to_the_nanosecond():
    times = np.array([1_700_000_000_123_456_789], "datetime64[ns]")
    assert terminal.plain(times) == ["2023-11-14T22:13:20.123456789Z"]
    assert terminal.plain(times[0]) == "2023-11-14T22:13:20.123456789Z"
    assert terminal.plain(dt.datetime(2026, 1, 2, tzinfo=dt.UTC)) == "2026-01-02T00:00:00+00:00"


def test_json_turns_numpy_scalars_into_numbers():
    assert terminal.plain({"x": np.float32(0.5), "y": np.int64(-3), "z": np.float64("nan")}) == {
        "x": 0.5,
        "y": -3,
        "z": "NaN",
    }


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes(size_bytes, text):
    assert terminal.size(size_bytes) == text


@pytest.mark.parametrize(
    ("value", "text"), [(1.0, "1"), (0.123456789, "0.123457"), (1e300, "1e+300"), ("on", "on"), (None, ""), (7, "7")]
)
def test_numbers(value, text):
    assert terminal.number(value) == text


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.5 s"), (75, "1 min 15 s"), (3725, "1 h 02 min")])
def test_durations(seconds, text):
    assert terminal.duration(seconds) == text


def test_a_moment_is_told_alike_in_each_form():
    nanos = 1_700_000_000_000_000_000
    moment = dt.datetime.fromtimestamp(nanos / 1e9, tz=dt.UTC)
    assert terminal.when(nanos) == terminal.when(np.datetime64(nanos, "ns")) == terminal.when(moment)
    assert terminal.when(None) == ""
