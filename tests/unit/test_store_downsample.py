"""Downsampling keeps what a chart must show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.errors import UsageError
from steno.store.downsample import downsample

VALUES = st.lists(
    st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.just(float("nan")), st.integers(-3, 3).map(float)),
    min_size=1,
    max_size=400,
)


@settings(max_examples=300, deadline=None)
@given(values=VALUES, points=st.integers(2, 120))
def test_at_most_so_many_rows_in_order_with_the_extremes(values, points):
    value = np.array(values)
    rows = downsample(value, points)
    assert len(rows) <= points
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 0
    assert rows.max() < len(value)
    kept = value[rows]
    if not np.isnan(value).all():
        assert np.nanmin(kept) == np.nanmin(value)
        assert np.nanmax(kept) == np.nanmax(value)
    if points >= 4:
        assert rows[0] == 0
        assert rows[-1] == len(value) - 1
    if points >= len(value):
        assert len(rows) == len(value)
    if points >= 16 and np.isnan(value).any():
        assert np.isnan(kept).any()


def test_a_single_spike_among_a_million_points_stays():
    value = np.random.default_rng(1).random(1_000_000)
    value[654_321], value[123] = 1e9, -1e9
    rows = downsample(value, 2000)
    assert {654_321, 123} <= set(rows.tolist())
    assert 1000 < len(rows) <= 2000


@pytest.mark.parametrize("points", [16, 100, 300, 400, 2000])
def test_the_ends_stay_for_any_length(points):
    """tsdownsample leaves the last row out where the edges of its bins are rounded so, as at 314 rows for 300."""
    value = np.random.default_rng(0).standard_normal(12 * points)
    for length in range(points + 1, len(value), max(points // 16, 1)):
        value[length - 1] = 1e9
        rows = downsample(value[:length], points)
        assert (rows[0], rows[-1]) == (0, length - 1), length
        assert len(rows) <= points
        value[length - 1] = 0.0


def test_the_edges_of_a_run_of_nan_stay():
    value = np.arange(100_000, dtype=float)
    value[40_000:60_000] = np.nan
    rows = set(downsample(value, 100).tolist())
    assert {40_000, 59_999} <= rows


def test_every_second_value_nan_leaves_room_for_the_numbers():
    value = np.arange(10_000, dtype=float)
    value[::2] = np.nan
    rows = downsample(value, 64)
    assert np.isfinite(value[rows]).sum() >= 20
    assert {1, 9_999} <= set(rows.tolist())


def test_nothing_but_nan_and_nothing_at_all():
    assert len(downsample(np.full(1000, np.nan), 50)) == 50
    assert len(downsample(np.empty(0), 50)) == 0


@pytest.mark.parametrize("points", [1, 0, -5, 2.5, "100", True, None])
def test_a_wrong_number_of_points_is_said(points):
    with pytest.raises(UsageError, match="points="):
        downsample(np.zeros(10), points)


@pytest.mark.parametrize("points", range(4, 16))
def test_a_few_points_are_used_up_between_the_ends(points):
    value = np.sin(np.arange(1000) / 50)
    rows = downsample(value, points)
    assert points - 2 <= len(rows) <= points
    assert {0, 999, int(value.argmin()), int(value.argmax())} <= set(rows.tolist())
