"""One key over ranks is what numpy computes from each rank's own series."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_runs import Writer

from steno.errors import UsageError
from steno.record import Ref
from steno.store.ranks import OVERS
from steno.store.reader import RunReader

TOLERANCE = 1e-12


@pytest.fixture
def run_dir(tmp_path):
    return tmp_path / "tests" / "run"


def finite(values: list[float]) -> np.ndarray:
    found = np.array(values, np.float64)
    return found[np.isfinite(found)]


def expected(over: str, values: list[float]) -> float:
    """What numpy says of the values of the ranks at one step."""
    some = finite(values)
    if over == "count":
        return float(len(values))
    if over in {"min", "max"}:
        numbers = [one for one in values if not math.isnan(one)]
        return getattr(np, over)(numbers) if numbers else math.nan
    if not len(some):
        return math.nan
    # Squares of float64 are too large or too small where the result is not.
    return float(getattr(np, over)(some if over == "sum" else some.astype(np.longdouble)))


def by_place(book: RunReader, key: str, x: str, ranks: set[int]) -> dict[int, list[float]]:
    """Per step or ordinal, the values of the ranks that have one, from each rank's own series."""
    places: dict[int, dict[int, float]] = {}
    for rank in sorted(ranks):
        own = book.series(key, rank=rank)
        for at, (step, value) in enumerate(zip(own.step.tolist(), own.value.tolist(), strict=True)):
            places.setdefault(at if x == "index" else step, {})[rank] = value
    return {place: list(found.values()) for place, found in sorted(places.items())}


def same(read: float, wanted: float, scale: float, over: str) -> bool:
    if over in {"min", "max", "count"} or not math.isfinite(wanted):
        return read == wanted or (math.isnan(read) and math.isnan(wanted))
    return abs(read - wanted) <= TOLERANCE * max(scale, abs(wanted))


def compare(book: RunReader, key: str, ranks: set[int]) -> None:
    for x in ("step", "index"):
        places = by_place(book, key, x, ranks)
        for over in OVERS:
            series = book.series(key, over=over, x=x)
            assert series.step.tolist() == list(places)
            for read, values in zip(series.value.tolist(), places.values(), strict=True):
                scale = float(np.abs(finite(values)).sum()) if len(finite(values)) else 0.0
                assert same(read, expected(over, values), scale, over), (over, x, values, read)


VALUES = st.one_of(
    st.floats(-1e3, 1e3),
    st.sampled_from(
        [math.nan, math.inf, -math.inf, -0.0, 1e308, -1e308, 5e-324, "text", 2**60, Ref("ab", "image", {})]
    ),
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(
        st.tuples(st.integers(-4, 4), VALUES, st.integers(0, 3), st.sampled_from(["", "", "", "seal", "rewind"])),
        min_size=1,
        max_size=30,
    ),
    offset=st.sampled_from([0.0, 1e8, -1e8]),
)
def test_ranks_are_united_as_numpy_does(records, offset, tmp_path_factory):
    """Falling and repeated steps, texts, rewinds, sealed or not."""
    run_dir = tmp_path_factory.mktemp("runs") / "tests" / "run"
    attempt = 1
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.attempt(1)
        for step, value, rank, then in records:
            writer.log((step, {"a": value + offset if isinstance(value, float) else value}), rank=rank, attempt=attempt)
            if then == "seal":
                writer.seal()
            elif then == "rewind":
                attempt += 1
                writer.attempt(attempt, rewind=step)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's own, of sums beyond 1e308
            compare(book, "a", {rank for _, _, rank, _ in records})


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8, -1e8])
def test_a_large_offset_costs_no_digit(run_dir, offset):
    random = np.random.default_rng(1)
    data = offset + random.normal(0, 1e-3, (16, 50))
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank, row in enumerate(data):
            writer.log(*((step, {"loss": value}) for step, value in enumerate(row.tolist())), rank=rank)
        writer.seal()
        for over in ("mean", "std", "sum", "median"):
            wanted = getattr(np, over)(data, axis=0)
            bound = TOLERANCE * np.abs(data).max() * (16 if over == "sum" else 1)
            assert np.abs(book.series("loss", over=over).value - wanted).max() <= bound
        exact = np.std(data - offset, axis=0)
        assert np.abs(book.series("loss", over="std").value - exact).max() <= TOLERANCE * np.abs(data).max()
        assert np.array_equal(book.series("loss", over="min").value, data.min(0))
        assert np.array_equal(book.series("loss", over="max").value, data.max(0))


def test_the_smallest_and_the_largest_say_which_rank(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank, value in enumerate([3.0, 1.0, 2.0, 1.0, math.nan, "text"]):
            writer.log((7, {"a": value}), rank=rank)
        least, most = book.series("a", over="min"), book.series("a", over="max")
        assert (least.rank.tolist(), least.value.tolist()) == ([1], [1.0])
        assert (most.rank.tolist(), most.value.tolist()) == ([0], [3.0])
        (own,) = book.series("a", rank=1).record.tolist()
        assert least.record.tolist() == [own]
        mean = book.series("a", over="mean")
        assert (mean.rank.tolist(), mean.record.tolist(), mean.value.tolist()) == ([-1], [-1], [7 / 4])
        assert mean.time[0] == book.series("a").time.max()
        assert book.series("a", over="count").value.tolist() == [6.0]


def test_of_a_ranks_several_points_at_a_step_the_last_record_counts(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"a": 1.0}), (0, {"a": 2.0}), (0, {"a": math.nan}), (0, {"a": 5.0}), rank=0)
        writer.log((0, {"a": 9.0}), (0, {"a": 7.0}), rank=1)
        assert book.series("a", over="mean").value.tolist() == [6.0]
        assert book.series("a", over="sum", steps=(0, 0)).value.tolist() == [12.0]
        # By index each point counts.
        assert str(book.series("a", over="max", x="index").value.tolist()) == "[9.0, 7.0, nan, 5.0]"


def test_automatic_steps_are_aligned_by_their_ordinal(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for number in range(10):
            for rank in range(4):
                writer.log((None, {"loss": float(number * 10 + rank)}), rank=rank)
        assert book.series("loss", over="count").value.tolist() == [1.0] * 40
        series = book.series("loss", over="mean", x="index")
        assert series.step.tolist() == list(range(10))
        assert series.value.tolist() == [number * 10 + 1.5 for number in range(10)]
        assert len(book.series("loss", over="mean", x="index", points=4)) <= 4


def test_a_rank_that_has_no_point_at_a_step_does_not_count(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        assert len(book.series("a", over="mean")) == len(book.series("a", over="min")) == 0
        writer.log((0, {"a": 1.0}), (1, {"a": 2.0}), (3, {"a": 4.0}), rank=0)
        writer.log((1, {"a": 6.0}), (2, {"a": 3.0}), rank=5)
        mean = book.series("a", over="mean")
        assert (mean.step.tolist(), mean.value.tolist()) == ([0, 1, 2, 3], [1.0, 4.0, 3.0, 4.0])
        assert book.series("a", over="std").value.tolist() == [0.0, 2.0, 0.0, 0.0]


def test_what_cannot_be_asked_is_said(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"a": 1.0}))
        with pytest.raises(UsageError, match="over='average': ranks are united by 'mean', 'min'"):
            book.series("a", over="average")
        with pytest.raises(UsageError, match="x='time': ranks are aligned by 'step', 'index'"):
            book.series("a", over="mean", x="time")
        with pytest.raises(UsageError, match="say with over= how"):
            book.series("a", x="index")
        with pytest.raises(UsageError, match="x='epoch'"):
            book.stragglers("a", x="epoch")


def test_the_slow_rank_is_found(run_dir):
    random = np.random.default_rng(3)
    steps, slow = 60, 5
    base = 0.1 + 0.05 * random.random(steps)  # the steps themselves differ by more than the slow rank does
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank in range(16):
            took = base + random.normal(0, 0.002, steps) + (0.02 if rank == slow else 0.0)
            took[random.integers(0, steps)] += 3.0  # each rank has a pause once
            writer.log(*((step, {"step_secs": one}) for step, one in enumerate(took.tolist())), rank=rank)
        writer.seal()
        found = book.stragglers("step_secs")
    assert [one.rank for one in found if one.is_outlier] == [slow]
    first = found[0]
    assert (first.rank, first.steps) == (slow, steps)
    assert first.deviation == pytest.approx(0.02, rel=0.15)
    assert first.largest > 0.5
    assert len(found) == 16
    assert "outlier" in repr(found).splitlines()[3]


@pytest.mark.parametrize("ranks", [4, 16, 64])
def test_ranks_that_differ_by_chance_are_no_stragglers(run_dir, ranks):
    random = np.random.default_rng(ranks)
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank in range(ranks):
            took = random.lognormal(-2, 0.2, 200).tolist()
            writer.log(*((step, {"step_secs": one}) for step, one in enumerate(took)), rank=rank)
        assert [one for one in book.stragglers("step_secs") if one.is_outlier] == []


def test_stragglers_are_what_the_formula_says(run_dir):
    random = np.random.default_rng(4)
    data = random.normal(10, 1, (7, 31)) + np.arange(7)[:, None] * [[0.1]]
    data[3, 4], data[2, 5], data[1] = math.nan, math.inf, data[1] - 5
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        for rank, row in enumerate(data):
            writer.log(*((step, {"a": value}) for step, value in enumerate(row.tolist())), rank=rank)
        found = {one.rank: one for one in book.stragglers("a")}
    kept = np.where(np.isfinite(data), data, np.nan)
    deviation = np.nanmedian(kept - np.nanmedian(kept, axis=0), axis=1)
    apart = deviation - np.median(deviation)
    score = apart / (1.4826 * np.median(np.abs(apart)))
    assert [found[rank].deviation for rank in range(7)] == pytest.approx(deviation.tolist())
    assert [found[rank].score for rank in range(7)] == pytest.approx(score.tolist())
    assert [found[rank].typical for rank in range(7)] == pytest.approx(np.nanmedian(kept, axis=1).tolist())
    assert found[3].steps == found[2].steps == 30
    assert found[1].is_outlier
    assert found[1].score < 0


def test_stragglers_of_few_ranks(run_dir):
    with Writer(run_dir) as writer, RunReader(run_dir) as book:
        writer.log((0, {"a": 1.0, "alone": 1.0}), (1, {"a": 2.0}), rank=0)
        assert book.stragglers("a") == []
        assert "no steps" in repr(book.stragglers("a"))
        writer.log((0, {"a": 5.0}), (1, {"a": 6.0}), rank=1)
        two = book.stragglers("a")
        assert [(one.rank, one.is_outlier) for one in two] == [(0, False), (1, False)]
        assert {one.largest for one in two} == {0.0, 1.0}
        for rank in range(2, 9):
            writer.log((0, {"a": 1.0}), (1, {"a": 2.0}), rank=rank)
        assert [one.rank for one in book.stragglers("a") if one.is_outlier] == [1]
        assert len(book.stragglers("a", x="index")) == 9
