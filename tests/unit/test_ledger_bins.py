"""Bins: what numpy says of the same points, whatever they are, and however they were cut before they were united."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.ledger import bins as bins_
from steno.ledger.bins import BinInput, Bins

ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308, 5e-324, 1e8 + 1.0, 1.0, -1.0]


@st.composite
def some_points(draw: st.DrawFn) -> BinInput:
    count = draw(st.integers(0, 300))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    step = rng.integers(-50, draw(st.sampled_from([0, 20, 3000])), count)
    if draw(st.booleans()):
        step.sort()
    step += draw(st.sampled_from([0, 10**6, -(2**63) + 60, 2**63 - 4000]))
    value = rng.standard_normal(count) + draw(st.sampled_from([0.0, 1e8, -1e6]))
    share = draw(st.sampled_from([0.0, 0.1, 0.9, 1.0]))
    value = np.where(rng.random(count) < share, rng.choice(ODD, count), value)
    other = rng.random(count) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    value[other] = np.nan
    record = rng.permutation(count)
    few = draw(st.integers(1, 3))
    return BinInput(
        key=np.sort(rng.integers(0, few, count)),
        rank=rng.integers(0, few, count),
        attempt=rng.integers(1, 1 + few, count),
        step=step,
        time=record * 1000 + 17,
        node=rng.integers(0, few, count),
        record=record,
        value=value,
        other=other if draw(st.booleans()) or other.any() else None,
        exact=rng.random(count) < 0.1,
    )


def check(found: Bins, points: BinInput, width: int, *, over_ranks: bool = False, over_attempts: bool = False) -> None:
    """Each bin is what a loop over the points says."""
    rows: dict[tuple[int, ...], list[int]] = {}
    for row in range(len(points.value)):
        begin = int(points.step[row]) // width * width
        rank = 0 if over_ranks else int(points.rank[row])
        attempt = 0 if over_attempts else int(points.attempt[row])
        rows.setdefault((int(points.key[row]), rank, attempt, begin), []).append(row)
    assert len(found) == len(rows)
    other = np.zeros(len(points.value), bool) if points.other is None else points.other
    for at, where in enumerate(sorted(rows)):
        assert (found.key[at], found.start[at], found.width[at]) == (where[0], where[3], width)
        mine = sorted(
            rows[where],
            key=lambda row: tuple(
                int(getattr(points, name)[row]) for name in ("step", "attempt", "rank", "node", "record")
            ),
        )
        value, numbers = points.value[mine], points.value[mine][~other[mine]]
        finite = np.isfinite(value)
        assert found.rank[at] == (points.rank[mine[-1]] if over_ranks else where[1])
        assert found.attempt[at] == (points.attempt[mine[-1]] if over_attempts else where[2])
        assert found.count[at] == len(mine)
        assert found.nan[at] == np.isnan(numbers).sum()
        assert found.posinf[at] == np.isposinf(numbers).sum()
        assert found.neginf[at] == np.isneginf(numbers).sum()
        assert found.other[at] == other[mine].sum()
        assert found.exact[at] == points.exact[mine].sum()
        assert found.finite[at] == finite.sum()
        expected = {"first": 0, "last": len(mine) - 1}
        if finite.any():
            expected["min"] = int(np.argmin(np.where(finite, value, np.inf)))
            expected["max"] = int(np.argmax(np.where(finite, value, -np.inf)))
            exact = value[finite].astype(np.longdouble)
            size = np.max(np.abs(exact)) + np.longdouble(1e-300)  # below that no float is exact to 1e-12
            assert abs(found.mean[at] - exact.mean()) <= 1e-12 * size
            std = float(exact.std())
            if size < 1e150:
                assert abs(np.sqrt(found.m2[at] / finite.sum()) - std) <= 1e-12 * size
        else:
            assert np.isnan(found.mean[at])
            assert np.isnan(found.m2[at])
        for name, special in (("low", -np.inf), ("high", np.inf)):
            if (value == special).any():
                expected[name] = int(np.argmax(value == special))
        for name in bins_.MARKED:
            marks = getattr(found, name)
            if name not in expected:
                assert np.isnan(marks.value[at])
                assert marks.record[at] == marks.step[at] == 0
                continue
            row = mine[expected[name]]
            for column in ("step", "time", "node", "record"):
                assert getattr(marks, column)[at] == getattr(points, column)[row], (name, column)
            assert marks.value[at].tobytes() == points.value[row].tobytes()


@settings(max_examples=150, deadline=None)
@given(some_points(), st.sampled_from([1, 2, 16, 1024, bins_.WIDEST]))
def test_bins_are_what_a_loop_over_the_points_says(points: BinInput, width: int) -> None:
    check(bins_.of_points(points, width), points, width)


@settings(max_examples=150, deadline=None)
@given(some_points(), st.sampled_from([1, 4, 64]), st.sampled_from([1, 4, 1 << 20]), st.data())
def test_united_bins_are_those_of_all_the_points(points: BinInput, width: int, times: int, data: st.DataObject) -> None:
    count = len(points.value)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=3)))
    pieces = [
        bins_.of_points(points.take(np.arange(begin, end)), width)
        for begin, end in zip([0, *cuts], [*cuts, count], strict=True)
    ]
    over_ranks, over_attempts = data.draw(st.booleans()), data.draw(st.booleans())
    united = bins_.unite(bins_.concat(pieces), width * times, over_ranks=over_ranks, over_attempts=over_attempts)
    check(united, points, width * times, over_ranks=over_ranks, over_attempts=over_attempts)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8, -1e12])
def test_means_and_deviations_are_exact_far_from_zero_after_many_unions(offset: float) -> None:
    count = 1 << 16
    value = np.random.default_rng(3).standard_normal(count) * 1e-3 + offset
    at = np.arange(count)
    found = bins_.of_points(BinInput(0, 0, 1, at, at, 0, at, value), 1)
    for width in (4, 64, 128, 1 << 12, 1 << 20):
        found = bins_.unite(found, width)
    exact = value.astype(np.longdouble)
    size = float(np.max(np.abs(exact)))
    assert len(found) == 1
    assert abs(found.mean[0] - exact.mean()) <= 1e-12 * size
    assert abs(np.sqrt(found.m2[0] / count) - exact.std()) <= 1e-12 * size


def test_a_mean_of_the_largest_floats_is_one_of_them() -> None:
    at = np.arange(8)
    value = np.full(8, np.finfo(np.float64).max)
    found = bins_.unite(bins_.of_points(BinInput(0, 0, 1, at, at, 0, at, value), 2), 8)
    assert found.mean[0] == pytest.approx(value[0], rel=1e-12)
    assert found.m2[0] == pytest.approx(0.0)
