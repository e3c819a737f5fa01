"""Histograms of any numbers: every finite one is counted, whatever they are, and no rule raises or takes the memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from steno import Histogram
from steno.histograms import count, equal_edges
from steno.journal.flatten import histogram as of_array
from steno.media.histogram import _RULES, counted
from steno.media.raw import Raw

WIDE = float(np.finfo(np.float64).max)
NARROW = [
    pytest.param(1_796_034_119_000_000_000 + np.arange(0, 2000, 200), id="nanoseconds"),
    pytest.param(np.array([1.0, np.nextafter(1.0, 2.0)]), id="one ulp apart"),
    pytest.param(np.full(5, 1e16), id="constant 1e16"),
    pytest.param(np.full(3, 1e300), id="constant 1e300"),
    pytest.param(np.full(3, WIDE), id="constant max"),
    pytest.param(np.array([-WIDE, WIDE]), id="the widest range"),
    pytest.param(np.array([0.0, 5e-324]), id="the smallest range"),
    pytest.param(np.array([0, 2**63 - 1]), id="int64"),
    pytest.param(np.array([0, 2**64 - 1], np.uint64), id="uint64"),
    pytest.param(np.array([np.nan, np.inf, 1.0]), id="one finite"),
    pytest.param(np.array([np.nan, -np.inf]), id="none finite"),
    pytest.param(np.concatenate([np.random.default_rng(1).normal(size=1000) * 1e-9, [1e9]]), id="a far outlier"),
    pytest.param(np.array([True, False, True]), id="bool"),
    pytest.param(np.array([1e-7, 6e4], np.float16), id="float16"),
]


def finite(data):
    as_float = np.asarray(data).astype(np.float64)
    return as_float[np.isfinite(as_float)]


def check(found, data):
    edges, counts = np.array(found["edges"]), found["counts"]
    assert len(edges) == len(counts) + 1
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert sum(counts) == len(finite(data))
    assert found["outside"] == np.asarray(data).size - len(finite(data))
    json.dumps(found)


@given(
    hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.integers(1, 200),
)
def test_equal_bins_count_every_number(values, bins):
    edges = equal_edges(float(values.min()), float(values.max()), bins)
    assert 1 <= len(edges) - 1 <= bins
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert edges[0] <= values.min()
    assert edges[-1] >= values.max()
    with np.errstate(all="ignore"):
        assert count(values, edges, equal=True).sum() == len(values)
        assert count(values, edges, equal=False).sum() == len(values)


@given(hnp.arrays(np.float64, st.integers(2, 50), elements=st.floats(-1e6, 1e6, width=32)))
def test_ordinary_numbers_have_the_bins_of_numpy(values):
    wanted, edges = np.histogram(values, 64) if np.ptp(values) > 1e-6 else (None, None)
    if wanted is not None:
        found = of_array(values).meta
        assert found["counts"] == wanted.tolist()
        np.testing.assert_allclose(found["edges"], edges, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("data", NARROW)
def test_an_array_logged_as_a_histogram_counts_every_number(data):
    check(of_array(data).meta, data)


@pytest.mark.parametrize("bins", [1, 64, 16_384, *_RULES])
@pytest.mark.parametrize("data", NARROW)
def test_a_histogram_value_counts_every_number_under_every_rule(data, bins):
    captured = Histogram(data, bins=bins).__steno__()
    raw = b"".join(bytes(part) for part in captured.parts)
    found = counted(Raw.read(memoryview(raw)))
    if bins == "tensorflow":
        assert sum(found["counts"]) <= len(finite(data))  # its edges end at 1e20
    else:
        check(found, data)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint64, np.int8]), st.integers(1, 40)),
    st.sampled_from([3, 64, "auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt"]),
)
def test_any_data_is_counted(data, bins):
    captured = Histogram(data, bins=bins).__steno__()
    check(counted(Raw.read(memoryview(b"".join(bytes(part) for part in captured.parts)))), data)


def test_edges_of_any_width_are_checked_without_a_warning():
    """-max and max differ by more than a float64 holds."""
    found = Histogram(counts=[1, 2], edges=[-WIDE, 0.0, WIDE]).__steno__().meta
    assert found["edges"] == [-WIDE, 0.0, WIDE]
