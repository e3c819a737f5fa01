"""Smoothed values are the weighted means that their definitions say."""

from __future__ import annotations

import time

import numpy as np
import pytest

from steno.store.bins.smoothing import KINDS, smooth


def shares(kind, x, width):
    """What of each point is in each smoothed value, by the definition, in extended precision."""
    gap = x[:, None] - x[None, :]
    return {
        "ema": lambda: np.where(np.tri(len(x), dtype=bool), np.exp(-np.maximum(gap, 0) / width), 0),
        "gaussian": lambda: np.where(np.abs(gap) <= 7 * width, np.exp(-((gap / width) ** 2) / 2), 0),
        "mean": lambda: np.abs(gap) <= width / 2,
    }[kind]().astype(np.longdouble)


def direct(share, value, weight):
    weight = np.ones(len(value)) if weight is None else weight
    return ((share @ (value * weight.astype(np.longdouble))) / (share @ weight)).astype(float)


AXES = {
    "regular": lambda rng, n: np.arange(n) * 3.0,
    "random": lambda rng, n: np.sort(rng.integers(0, 4 * n, n)).astype(float),
    "far apart": lambda rng, n: np.cumsum(rng.exponential(1, n) ** 4) + 1e9,
    "repeated": lambda rng, n: np.repeat(np.arange(n // 4 + 1), 4)[:n].astype(float),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("width", [1e-3, 0.9, 7.0, 250.0, 1e5])
def test_it_is_the_weighted_mean(kind, axis, width):
    rng = np.random.default_rng(4)
    for n in (1, 2, 3, 1024, 1500):
        x = AXES[axis](rng, n)
        share = shares(kind, x, width)
        for offset, weight in ((0.0, None), (1e8, None), (0.0, rng.integers(1, 300, n).astype(float))):
            value = rng.normal(offset, 1.0, n)
            found = smooth(kind, x, value, weight, width)
            scale = np.abs(value).max()
            limit = 2e-7 if kind == "gaussian" and offset == 0 else 1e-12 if offset == 0 else 1e-13
            np.testing.assert_allclose(found, direct(share, value, weight), rtol=0, atol=max(limit, 1e-13) * scale)


@pytest.mark.parametrize("kind", KINDS)
def test_an_outlier_costs_nothing_that_does_not_feel_it(kind):
    rng = np.random.default_rng(5)
    x, value = np.arange(20_000.0), rng.normal(size=20_000)
    before = smooth(kind, x, value, None, 50.0)
    for huge in (1e20, 1e300, 1.7e308):
        spiked = value.copy()
        spiked[3000] = huge
        found = smooth(kind, x, spiked, None, 50.0)
        assert np.isfinite(found).all()
        far = slice(15_000, None)
        if huge < 1e290:
            np.testing.assert_allclose(found[far], before[far], rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [3.0, 1000.0, 30_000.0])
def test_a_million_points_take_milliseconds(kind, width):
    rng = np.random.default_rng(6)
    x, value = np.arange(1_000_000.0), rng.normal(size=1_000_000)
    best = 1e9
    for _ in range(3):
        begun = time.process_time()
        smooth(kind, x, value, None, width)
        best = min(best, time.process_time() - begun)
    print(kind, width, round(best * 1000), "ms")
    assert best < 1.0  # a quadratic one takes minutes
