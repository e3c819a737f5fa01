"""Curves of many runs are what numpy computes from each run's exact series."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from store_runs import START_NS, Writer

import steno
from steno.errors import RunNotFoundError, UsageError
from steno.record import Ref
from steno.store import chunkbins
from steno.store.bins import exact
from steno.store.reader import RunReader


@pytest.fixture(params=["points", "bins"], autouse=True)
def way(request, monkeypatch):
    """Runs are read by their points, or by the bins beside their parts, and of points in none, wherever there are some."""
    if request.param == "bins":
        monkeypatch.setattr(exact, "POINTS_A_BIN", 0)
        monkeypatch.setattr(exact, "_BESIDE", 8)
        monkeypatch.setattr(chunkbins, "LEAST_ROWS", 0)
    return request.param


STAGES = ["unsealed", "sealed", "half", "finished"]


def made(place, name, records, stage="sealed", *, rewinds=(), ranks=1):
    """A run with `records`, in pieces, at a stage; `rewinds`: (attempt, step, records)."""
    run_dir = place / "tests" / name
    with Writer(run_dir) as writer:
        writer.attempt(1)
        for rank in range(ranks):
            some = [
                (step, {key: value if isinstance(value, str | Ref) else value + rank for key, value in row.items()})
                for step, row in records
            ]
            half = len(some) // 2
            for piece in (some[:half], some[half:]):
                if piece:
                    writer.log(*piece, rank=rank)
                if stage == "sealed" or (stage == "half" and piece is not some[half:]):
                    writer.seal()
        for attempt, step, more in rewinds:
            writer.attempt(attempt, rewind=step)
            writer.log(*more, attempt=attempt)
            if stage == "sealed":
                writer.seal()
        if stage == "finished":
            writer.finish()
    return run_dir


def odd_records(rng, count, keys=("loss",)):
    """Falling and repeated steps, NaN, infinities, texts, big ints."""
    steps = rng.integers(-500, 4 * count, count)
    out = []
    for step in steps.tolist():
        row = {}
        for key in keys:
            value = float(rng.normal(1e8, 1.0)) if rng.random() < 0.5 else float(rng.normal())
            pick = rng.random()
            if pick < 0.02:
                value = math.nan
            elif pick < 0.04:
                value = math.inf
            elif pick < 0.06:
                value = -math.inf
            elif pick < 0.08:
                value = "a text"
            elif pick < 0.09:
                value = 2**60 + 1
            row[key] = value
        out.append((step, row))
    return out


def place_is(place, at, series, x):
    assert place.value[at].tobytes() == np.float64(series.value[x]).tobytes() or (
        math.isnan(place.value[at]) and math.isnan(series.value[x])
    )
    assert place.step[at] == series.step[x]
    assert place.time[at] == series.time[x]
    assert place.attempt[at] == series.attempt[x]


def check(curves, x=None, low=None, high=None):
    """Every curve against the exact series of its run."""
    assert curves.curves
    for curve in curves.curves:
        with RunReader(curve.dir) as reader:
            series = reader.series(curve.key, rank=curve.rank)
        where = series.step if x is None else x(series)
        keep = np.ones(len(series), bool)
        if low is not None:
            keep &= where >= low
        if high is not None:
            keep &= where <= high
        rows = np.flatnonzero(keep)
        if x is not None:
            rows = rows[np.argsort(where[rows], kind="stable")]
        series, where = series.take(rows), where[rows]
        assert curve.total == len(series)
        text = np.array([isinstance(one, str | Ref) for one in series.exact])
        if curve.bins is None:
            points = curve.points
            assert len(points) == len(series)
            for name in ("step", "time", "rank", "attempt"):
                assert (getattr(points, name) == getattr(series, name)).all()
            assert points.value.tobytes() == series.value.tobytes()
            assert (points.other == text).all()
            continue
        bins = curve.bins
        unit = 1 if x is None else 1e9
        number = where // int(curves.width * unit)
        assert bins.index.tolist() == np.unique(number).tolist()
        for at, index in enumerate(bins.index.tolist()):
            rows = np.flatnonzero(number == index)
            value = series.value[rows]
            finite = rows[np.isfinite(value) & ~text[rows]]
            assert bins.count[at] == len(rows)
            assert bins.nan[at] == (np.isnan(value) & ~text[rows]).sum()
            assert bins.posinf[at] == (value == math.inf).sum()
            assert bins.neginf[at] == (value == -math.inf).sum()
            assert bins.other[at] == text[rows].sum()
            assert bins.finite[at] == len(finite)
            place_is(bins.first, at, series, rows[0])
            place_is(bins.last, at, series, rows[-1])
            if not len(finite):
                assert math.isnan(bins.mean[at])
                assert math.isnan(bins.min.value[at])
                assert math.isnan(bins.std[at])
                continue
            place_is(bins.min, at, series, finite[np.argmin(series.value[finite])])
            place_is(bins.max, at, series, finite[np.argmax(series.value[finite])])
            most = np.abs(series.value[finite]).max()
            assert abs(bins.mean[at] - math.fsum(series.value[finite]) / len(finite)) <= 1e-12 * most
            exact = series.value[finite].astype(np.longdouble)
            assert abs(bins.std[at] - float(np.std(exact))) <= 1e-12 * most


@pytest.mark.parametrize("stage", STAGES)
def test_curves_are_what_numpy_computes(tmp_path, stage):
    rng = np.random.default_rng(1)
    for number in range(3):
        records = odd_records(rng, 400, ("loss", "val/acc"))
        again = [(step, row) for step, row in odd_records(rng, 100) if step >= 300]
        made(tmp_path, f"r{number}", records, stage, rewinds=[(2, 300, again)] if number else (), ranks=1 + number % 2)
    runs = steno.runs(tmp_path)
    for width in (7, 100):
        for ranks in (None, "all", 0):
            curves = steno.bins(["loss", "val/acc"], runs, width=width, ranks=ranks)
            assert curves.left_out == ()
            if ranks != "all" and ranks != [0, 1]:
                assert len(curves) == 6
            low = min(one.bins.index[0] for one in curves.curves if one.bins)
            high = max(one.bins.index[-1] for one in curves.curves if one.bins)
            assert high - low < width
            if ranks is None:
                check(curves)
            else:
                assert {one.rank for one in curves.curves} <= {0, 1}
                check(curves)


@pytest.mark.parametrize("stage", STAGES)
def test_a_range_cuts_bins_exactly(tmp_path, stage):
    rng = np.random.default_rng(2)
    made(tmp_path, "r", odd_records(rng, 600), stage)
    for low, high in [(100, 1501), (None, 77), (33, None), (99.5, 1200.5)]:
        curves = steno.bins("loss", tmp_path, range=(low, high), width=8)
        assert curves.curve().bins is not None
        check(curves, low=low, high=high)


def neighbours(curves, axis, low, high, known=None):
    """Whether each curve has the points next to the range that its run's exact series has, which are read once each."""
    seen, known = set(), {} if known is None else known
    for curve in curves.curves:
        seen.add((curve.run, curve.rank))
        which = (curve.dir, curve.key, curve.rank)
        if which not in known:
            with RunReader(curve.dir) as reader:
                known[which] = reader.series(curve.key, rank=curve.rank)
        series = known[which]
        where = series.step if axis is None else axis(series)
        order = np.argsort(where, kind="stable")
        before = order[where[order] < low] if low is not None else []
        after = order[where[order] > high] if high is not None else []
        for place, rows, at in ((curve.before, before, -1), (curve.after, after, 0)):
            if len(rows):
                assert len(place) == 1
                place_is(place, 0, series, rows[at])
            else:
                assert place is None
        if not curve.total:
            assert len(before)
            assert len(after)
            assert len(curve.points) == 0
    return seen


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("ranks", [None, "all"])
def test_the_points_next_to_a_range_are_the_true_neighbours(tmp_path, stage, ranks):
    rng = np.random.default_rng(6)
    again = [(step, row) for step, row in odd_records(rng, 300) if step >= 900]
    made(tmp_path, "r", odd_records(rng, 600), stage, rewinds=[(2, 900, again)], ranks=2)
    made(tmp_path, "gap", [(step, {"loss": float(step)}) for step in (-700, -3, *range(2000, 2600), 5000)], stage)
    ranges = [(100, 1501), (0, 511), (256, 767), (None, 77), (33, None), (-600, 3000), (2001, 2001), (2700, 4900)]
    known = {}
    for low, high in [*ranges, (-(2**63), 2**63 - 1), (4000, 6000)]:
        curves = steno.bins("loss", tmp_path, range=(low, high), width=8, ranks=ranks, edges=True)
        seen = neighbours(curves, None, low, high, known)
        exact = steno.bins("loss", tmp_path, range=(low, high), width=8, ranks=ranks)
        assert {(one.run, one.rank) for one in exact.curves} <= seen
        assert exact.width == curves.width or not any(one.total for one in exact.curves)
        assert all(one.before is one.after is None for one in exact.curves)
        if (low, high) == (2700, 4900):
            assert ("tests/gap", None if ranks is None else 0) in seen


@pytest.mark.parametrize("stage", ["half", "finished"])
def test_the_points_next_to_a_range_of_a_long_run_are_the_true_neighbours(tmp_path, stage):
    rng = np.random.default_rng(7)
    again = [(step, row) for step, row in odd_records(rng, 2500) if step >= 5300]
    made(tmp_path, "r", odd_records(rng, 3000), stage, rewinds=[(2, 5300, again)], ranks=2)
    known = {}
    for low, high in [(1001, 8777), (5299, 5300), (5301, 5400), (2048, 4095), (0, 8191), (-500, 20_000)]:
        for ranks in (None, "all"):
            curves = steno.bins("loss", tmp_path, range=(low, high), width=20, ranks=ranks, edges=True)
            neighbours(curves, None, low, high, known)


def test_the_points_next_to_a_narrow_window_are_found_however_far_away(tmp_path):
    records = [(step, {"loss": math.sin(step), **({"val": 1.0} if step % 3000 == 0 else {})}) for step in range(8000)]
    made(tmp_path, "r", records, "half")
    made(tmp_path, "gap", [*records[:2500], *records[6500:]], "finished", rewinds=[(2, 7100, records[7100:7200])])
    known = {}
    for low, high in [(3100, 3200), (7050, 7120), (2990, 3010), (0, 50), (7990, 9000), (1, 2999)]:
        curves = steno.bins(["loss", "val"], tmp_path, range=(low, high), width=200, edges=True)
        neighbours(curves, None, low, high, known)
        assert {one.key for one in curves.curves if one.run == "tests/r"} >= {"loss"}
        if any(one.total for one in curves.curves):
            check(replace(curves, curves=tuple(one for one in curves.curves if one.total)), low=low, high=high)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("way", ["bins"], indirect=True)
def test_the_points_next_to_a_range_are_found_in_parts_that_overlap(tmp_path, seed, way):
    rng = np.random.default_rng(seed)
    with Writer(tmp_path / "tests" / "r") as writer:
        writer.attempt(1)
        for part in range(5):
            for rank in range(2):
                steps = rng.integers(0, 500, 250) + int(rng.integers(-3, 4)) * 400
                rows = [(step, {"loss": float(rank), "val": 1.0}) for step in steps.tolist()]
                writer.log(*(rows if part != 2 else [(step, {"val": 2.0}) for step, _ in rows]), rank=rank)
            if part < 4:
                writer.seal()
    known = {}
    for low in (-1300, -800, -1, 0, 256, 700, 1500):
        for ranks in (None, "all"):
            high = low + int(rng.integers(256))
            curves = steno.bins(["loss", "val"], tmp_path, range=(low, high), width=20, ranks=ranks, edges=True)
            neighbours(curves, None, low, high, known)


@pytest.mark.parametrize("x", ["time", "relative"])
def test_the_points_next_to_a_range_of_time_are_the_true_neighbours(tmp_path, x):
    made(tmp_path, "r", [(step, {"loss": math.sin(step)}) for step in range(3000)], "sealed")
    with RunReader(tmp_path / "tests" / "r") as reader:
        time = reader.series("loss").time.astype(np.int64)
    begun = int(time[0]) if x == "relative" else 0
    for low, high in [(100, 2500), (7, 9), (0, 10)]:
        span = tuple(np.timedelta64(int(time[at]) - begun, "ns") for at in (low, high))
        span = span if begun else tuple(np.datetime64(int(time[at]), "ns") for at in (low, high))
        curves = steno.bins("loss", tmp_path, x=x, range=span, width=50, edges=True)
        neighbours(
            curves, lambda series: series.time.astype(np.int64) - begun, *(time[at] - begun for at in (low, high))
        )
    # Between two points: the line passes through.
    middle = (np.datetime64(int(time[5]) + 1, "ns"), np.datetime64(int(time[6]) - 1, "ns"))
    (curve,) = steno.bins("loss", tmp_path, x="time", range=middle, edges=True).curves
    assert (curve.total, curve.before.step.tolist(), curve.after.step.tolist()) == (0, [5], [6])


def test_a_smoothed_line_goes_on_to_the_points_next_to_a_range(tmp_path):
    made(tmp_path, "r", [(step, {"loss": math.sin(step)}) for step in range(3000)])
    whole = steno.bins("loss", tmp_path, width=4000, smooth=("ema", 20.0)).curve().smoothed
    for width in (20, 4000):
        line = (
            steno.bins("loss", tmp_path, range=(500, 999), width=width, smooth=("ema", 20.0), edges=True)
            .curve()
            .smoothed
        )
        assert (line.row[0], line.row[-1]) == (-1, max(line.row[:-1]) + 1)
        assert (line.step[0], line.step[-1]) == (499, 1000)
        assert (line.value == whole.value[line.step]).all()


def test_the_width_is_the_smallest_power_of_two_that_gives_at_most_so_many_bins(tmp_path):
    made(tmp_path, "r", [(step, {"loss": float(step)}) for step in range(1000)])
    curves = steno.bins("loss", tmp_path, width=100)
    assert (curves.width, len(curves.curve().bins)) == (16, 63)
    assert steno.bins("loss", tmp_path, width=63).width == 16
    assert steno.bins("loss", tmp_path, width=62).width == 32
    # Two bins more than the steps have when they do not begin at an edge.
    assert steno.bins("loss", tmp_path, range=(1, 512), width=32).width == 32
    assert steno.bins("loss", tmp_path, range=(0, 511), width=32).width == 16


def test_edges_are_the_same_for_all_runs_and_windows(tmp_path):
    made(tmp_path, "short", [(step, {"loss": 1.0}) for step in range(500, 600)])
    made(tmp_path, "long", [(step, {"loss": 1.0}) for step in range(-3000, 5000)])
    curves = steno.bins("loss", tmp_path, width=40)
    assert curves.width == 256
    short, long = curves.curve("short"), curves.curve("long")
    assert set(short.bins.index.tolist()) == {1, 2}
    assert long.bins.index[0] == -3000 // 256
    part = steno.bins("loss", tmp_path, width=20, range=(0, 10_000)).curve("long").bins
    inside = np.isin(long.bins.index, part.index[:-1])
    assert long.bins.count[inside].tolist() == part.count[:-1].tolist()


def test_a_series_of_few_points_comes_as_its_points(tmp_path):
    made(tmp_path, "few", [(step * 1000, {"loss": step / 3}) for step in range(100)])
    made(tmp_path, "many", [(step, {"loss": step / 3}) for step in range(101)])
    curves = steno.bins("loss", tmp_path, width=50)
    assert (curves.curve("few").bins, curves.curve("many").points) == (None, None)
    check(curves)
    curves = steno.bins("loss", tmp_path, width=50, range=(0, 99))
    assert curves.curve("many").total == len(curves.curve("many").points) == 100


@pytest.mark.parametrize("stage", STAGES)
def test_bins_of_time(tmp_path, stage):
    made(tmp_path, "r", [(step % 100, {"loss": float(step)}) for step in range(3000)], stage)
    curves = steno.bins("loss", tmp_path, x="time", width=100)
    assert curves.width == 2.0**-5
    check(curves, lambda series: series.time.view(np.int64))
    bins = curves.curve().bins
    assert bins.first.x.dtype == np.dtype("datetime64[ns]")
    assert (bins.first.x == bins.first.time).all()
    low = START_NS / 1e9 + 1
    part = steno.bins("loss", tmp_path, x="time", range=(low, None), width=100)
    assert (part.curve().bins.first.time[0].astype(np.int64) - START_NS) / 1e9 >= 1
    assert part.total == sum(part.curve().bins.count) < 3000
    import datetime as dt

    moment = dt.datetime.fromtimestamp(START_NS / 1e9, dt.UTC) + dt.timedelta(seconds=1)
    assert steno.bins("loss", tmp_path, x="time", range=(moment, None)).total == part.total
    assert (
        steno.bins("loss", tmp_path, x="time", range=(np.datetime64(START_NS + 10**9, "ns"), None)).total == part.total
    )


def test_relative_time_begins_with_each_run_and_leaves_the_gap_between_attempts_out(tmp_path):
    for name, pause in (("a", 0), ("b", 3600 * 10**9)):
        run_dir = tmp_path / "tests" / name
        with Writer(run_dir) as writer:
            writer.attempt(1)
            writer.mono = 5 * pause
            writer.log(*[(step, {"loss": 1.0}) for step in range(10)])
            writer.mono += pause
            writer.attempt(2, rewind=8)
            began = START_NS + writer.mono + 1
            with writer.connection:
                writer.log(*[(step, {"loss": 2.0}) for step in range(8, 12)], attempt=2)
                writer.connection.execute("update streams set started = ? where attempt = 1", (START_NS + 5 * pause,))
                writer.connection.execute("update streams set started = ? where attempt = 2", (began,))
            writer.seal()
    curves = steno.bins("loss", tmp_path, x="relative")
    a, b = curves.curve("a").points, curves.curve("b").points
    assert a.x.dtype == np.dtype("timedelta64[ns]")
    assert a.value.tolist() == [1.0] * 8 + [2.0] * 4
    assert a.x.astype(np.int64).tolist() == b.x.astype(np.int64).tolist()
    assert a.x[0] < np.timedelta64(2, "ms")
    assert a.x[-1] < np.timedelta64(20, "ms")
    mark = next(one for one in curves.marks if one.run == "tests/b")
    assert (mark.attempt, mark.step) == (2, 8)
    assert mark.gap == pytest.approx(3600, abs=0.01)
    assert mark.x == pytest.approx(0.01, abs=0.001)
    assert steno.bins("loss", tmp_path, x="relative", range=(0, 0.008)).total == 16
    by_step = steno.bins("loss", tmp_path)
    assert [mark.x for mark in by_step.marks] == [8, 8]


def test_a_run_that_is_gone_or_damaged_costs_no_other(tmp_path):
    for name in ("good", "gone", "bad"):
        made(tmp_path, name, [(step, {"loss": float(step)}) for step in range(3000)], "finished")
    runs = steno.runs(tmp_path)
    shutil.rmtree(tmp_path / "tests" / "gone")
    part = next((tmp_path / "tests" / "bad" / "metrics").glob("*.parquet"))
    part.write_bytes(b"PAR1" + b"\0" * 500)
    with pytest.warns(RuntimeWarning, match="damaged"):
        curves = steno.bins("loss", runs, width=100)
    assert [one.run for one in curves.curves] == ["tests/good"]
    left = {one.run.rpartition("/")[2]: one.why for one in curves.left_out}
    assert "gone" in left["gone"]
    assert "damaged" in left["bad"]
    assert "3,000" in left["bad"]
    check(curves)
    # Named by texts as well.
    names = [str(run.path) for run in runs]
    assert len(steno.bins("loss", names, width=100)) == 1


def test_a_part_that_stays_missing_costs_its_run_alone(tmp_path):
    for name in ("good", "bad"):
        made(tmp_path, name, [(step, {"loss": float(step)}) for step in range(30)], "finished")
    next((tmp_path / "tests" / "bad" / "metrics").glob("*.parquet")).unlink()
    curves = steno.bins("loss", tmp_path)
    assert [one.run for one in curves.curves] == ["tests/good"]
    assert [one.run for one in curves.left_out] == ["tests/bad"]
    assert "not there" in curves.left_out[0].why


def test_no_run_at_all_is_an_error(tmp_path):
    with pytest.raises(RunNotFoundError):
        steno.bins("loss", tmp_path)
    with pytest.raises(RunNotFoundError):
        steno.bins("loss", ["no-such-run"], dir=tmp_path)
    with pytest.raises(RunNotFoundError):
        steno.bins("loss", [])


@pytest.mark.parametrize(
    "arguments",
    [
        {"keys": []}, {"keys": [1]}, {"keys": 5}, {"width": 0}, {"width": 1.5}, {"width": 10**9}, {"width": True}, {"x": ""}, {"x": 3},
        {"range": 5}, {"range": (1, 2, 3)}, {"range": ("a", None)}, {"range": (math.nan, None)}, {"range": (2, 1)},
        {"ranks": "some"}, {"ranks": []}, {"ranks": [1.5]}, {"ranks": True}, {"runs": 5}, {"runs": [5]},
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(tmp_path, arguments):
    made(tmp_path, "r", [(0, {"loss": 1.0})])
    with pytest.raises(UsageError):
        steno.bins(**{"keys": "loss", "runs": str(tmp_path), **arguments})


def test_extreme_steps_have_bins_too(tmp_path):
    steps = [-(2**62), -5, 0, 7, 2**62]
    made(tmp_path, "r", [(step, {"loss": 1.0}) for step in steps * 5])
    curves = steno.bins("loss", tmp_path, width=2)
    assert curves.curve().bins.count.sum() == 25
    check(curves)


def test_keys_that_are_no_valid_unicode_are_found_as_they_were_escaped(tmp_path):
    from steno.utf8 import escaped

    made(tmp_path, "r", [(0, {escaped("a\udc80"): 1.0, "ü b": 2.0})])
    assert len(steno.bins(["a\udc80", "ü b", "not there"], tmp_path)) == 2


@pytest.mark.parametrize("as_", ["pandas", "polars", "arrow"])
def test_frame_has_a_row_per_bin_or_point(tmp_path, as_):
    made(tmp_path, "many", [(step, {"loss": float(step)}) for step in range(1000)])
    made(tmp_path, "few", [(step, {"loss": float(step), "text": "t"}) for step in range(10)])
    for x in ("step", "time", "relative"):
        curves = steno.bins(["loss", "text"], tmp_path, width=100, ranks="all", x=x)
        frame = curves.frame(as_)
        rows = sum(len(one.bins if one.bins is not None else one.points) for one in curves.curves)
        assert len(frame) == rows
    if as_ == "pandas":
        curves = steno.bins(["loss", "text"], tmp_path, width=100)
        frame = curves.frame()
        many = frame[frame.run == "tests/many"]
        assert many["count"].sum() == 1000
        assert many.x.tolist() == [16 * index for index in range(63)]
        assert many["max"].tolist() == [min(16 * index + 15, 999) for index in range(63)]
        assert frame["rank"].isna().all()
        assert frame[frame.key == "text"]["other"].sum() == 10


def test_an_empty_answer_has_a_frame(tmp_path):
    made(tmp_path, "r", [(0, {"loss": 1.0})])
    curves = steno.bins("loss", tmp_path, range=(5, 6))
    assert (len(curves), curves.total, len(curves.frame("arrow"))) == (0, 0, 0)
    assert repr(curves) == "<Curves of 'loss': 0 over step>"


def test_a_late_value_stands_in_its_place(tmp_path):
    """Records of equal steps stand in order of their numbers, however they came into parts."""
    run_dir = tmp_path / "tests" / "r"
    with Writer(run_dir) as writer:
        for at in range(30):
            writer.log((at % 3, {"loss": float(at)}))
            if at % 7 == 0:
                writer.seal()
        check(steno.bins("loss", tmp_path, width=5))
        check(steno.bins("loss", tmp_path, width=500))


def test_a_running_run_is_followed(tmp_path):
    run_dir = tmp_path / "tests" / "r"
    with Writer(run_dir) as writer:
        for at in range(50):
            writer.log(*[(at * 40 + step, {"loss": float(at)}) for step in range(40)])
            if at % 9 == 0:
                writer.seal()
            assert steno.bins("loss", tmp_path, width=20).total == (at + 1) * 40
        check(steno.bins("loss", tmp_path, width=20))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_reads_too(tmp_path):
    made(tmp_path, "r", [(step, {"loss": 1.0}) for step in range(30)])
    assert steno.bins("loss", tmp_path).total == 30
    pid = os.fork()
    if not pid:
        os._exit(0 if steno.bins("loss", tmp_path).total == 30 else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("stage", STAGES)
def test_over_a_key_each_point_has_its_last_value(tmp_path, stage):
    records, expected, epoch = [], [], None
    rng = np.random.default_rng(3)
    for at in range(400):
        row = {}
        if rng.random() < 0.1:
            epoch = float(rng.integers(0, 50))
            row["epoch"] = epoch
        if rng.random() < 0.02:
            row["epoch"] = "no number"
        if rng.random() < 0.7 or not row:
            row["loss"] = float(at)
            if epoch is not None:
                expected.append((epoch, float(at)))
        records.append((int(rng.integers(0, 100)), row))
    made(tmp_path, "r", records, stage)
    curves = steno.bins("loss", tmp_path, x="epoch", width=10)
    points = curves.curve().points
    assert list(zip(points.x.tolist(), points.value.tolist(), strict=True)) == expected
    assert not curves.curve().is_monotonic
    before = sum("loss" in row for _, row in records) - len(expected)
    assert [one.why for one in curves.left_out] == (
        [f"no value of 'epoch' comes before {before} points of 'loss'"] if before else []
    )
    some = steno.bins("loss", tmp_path, x="epoch", range=(10, 20.5)).curve().points
    assert list(zip(some.x.tolist(), some.value.tolist(), strict=True)) == [
        one for one in expected if 10 <= one[0] <= 20.5
    ]
    assert len(curves.frame("arrow")) == len(expected)


def test_over_a_key_that_rises_is_monotonic_and_ranks_without_it_go_by_time(tmp_path):
    with Writer(tmp_path / "tests" / "r") as writer:
        for epoch in range(5):
            writer.log((epoch, {"epoch": float(epoch)}), rank=0)
            for step in range(3):
                writer.log((step, {"loss": 10.0 * epoch + step}), rank=1)
            writer.log((epoch, {"loss": -1.0}), rank=0)
    one = steno.bins("loss", tmp_path, x="epoch", ranks=1).curve()
    assert one.is_monotonic
    assert one.points.x.tolist() == [float(epoch) for epoch in range(5) for _ in range(3)]
    assert one.points.value.tolist() == [10.0 * epoch + step for epoch in range(5) for step in range(3)]
    assert steno.bins("loss", tmp_path, x="epoch", ranks=0).curve().points.x.tolist() == [0, 1, 2, 3, 4]
    assert len(steno.bins("loss", tmp_path, x="epoch").curve().points) == 20


def test_over_a_key_after_a_rewind_hidden_values_are_not_used(tmp_path):
    records = [(step, {"epoch": float(step // 10), "loss": float(step)}) for step in range(50)]
    again = [(step, {"loss": float(-step)}) for step in range(20, 30)]
    made(tmp_path, "r", records, rewinds=[(2, 20, again)])
    points = steno.bins("loss", tmp_path, x="epoch").curve().points
    assert points.value.tolist() == [float(step) for step in range(20)] + [float(-step) for step in range(20, 30)]
    assert points.x.tolist() == [0.0] * 10 + [1.0] * 20


@pytest.mark.parametrize("x", ["step", "time", "relative"])
def test_a_bin_without_a_finite_value_has_no_extremes(tmp_path, x):
    made(
        tmp_path,
        "r",
        [(step, {"loss": math.nan if step < 200 else "text" if step < 400 else 1.0}) for step in range(600)],
    )
    bins = steno.bins("loss", tmp_path, width=10, x=x).curve().bins
    assert math.isnan(bins.min.value[0])
    assert math.isnan(bins.max.value[0])
    assert (bins.min.step[0], bins.min.time[0].astype(np.int64), bins.max.attempt[0]) == (0, 0, 0)
    assert bins.nan.sum() == bins.other.sum() == 200


@pytest.mark.parametrize("stage", ["half", "finished"])
@pytest.mark.parametrize("ranks", [None, "all"])
def test_long_runs_are_what_numpy_computes(tmp_path, stage, ranks):
    rng = np.random.default_rng(11)
    for number in range(2):
        records = odd_records(rng, 3000)
        again = [(step, row) for step, row in odd_records(rng, 2500) if step >= 5300]
        made(tmp_path, f"r{number}", records, stage, rewinds=[(2, 5300, again)] if number else (), ranks=2)
    made(tmp_path, "little", odd_records(rng, 30), stage, ranks=2)
    for low, high in [(None, None), (1001, 8_777), (5001, 5555)]:
        for width in (3, 40) if low is None else (20,):
            curves = steno.bins("loss", tmp_path, width=width, ranks=ranks, range=(low, high))
            assert len(curves) == (3 if low is None else 2) * (2 if ranks == "all" else 1)
            check(curves, low=low, high=high)


def test_the_bins_beside_the_parts_are_used(tmp_path, monkeypatch, way):
    run_dir = made(
        tmp_path, "r", [(step, {"loss": math.sin(step), "other": 1.0}) for step in range(20_000)], "finished"
    )
    if way == "points":
        return
    monkeypatch.setattr(exact.part_rows, "read", None)
    part = next((run_dir / "metrics").glob("*.parquet"))
    before = part.read_bytes()
    part.write_bytes(before[:4] + b"\0" * (len(before) - 8) + before[-4:])
    curves = steno.bins("loss", tmp_path, width=100)
    assert curves.width == 256
    assert curves.curve().bins.count.sum() == 20_000
    assert curves.curve().bins.max.value.max() > 0.99


def test_answers_about_ended_runs_are_kept_until_a_file_changes(tmp_path, monkeypatch):
    import json
    import time

    from steno.store import stamps
    from steno.store.bins import several
    from steno.store.bins.kept import WeightedCache

    run_dir = made(tmp_path, "r", [(step, {"loss": float(step)}) for step in range(3000)], "finished")
    (run_dir / "manifest.json").write_text(json.dumps(manifest_of(run_dir)))
    first = steno.bins("loss", tmp_path, width=100)
    assert steno.bins("loss", tmp_path, width=100) is not first  # its files are too young to be told apart
    monkeypatch.setattr(stamps, "YOUNG_NANOS", -(10**18))
    first = steno.bins("loss", tmp_path, width=100)
    assert steno.bins("loss", tmp_path, width=100) is first
    assert steno.bins("loss", tmp_path, width=101) is not first
    for array in (first.curve().bins.count, first.curve().bins.max.value):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 5
    run = json.loads((run_dir / "run.json").read_text())
    time.sleep(0.01)
    (run_dir / "run.json").write_text(json.dumps({**run, "notes": "changed"}))
    assert steno.bins("loss", tmp_path, width=100) is not first
    shutil.rmtree(run_dir)
    made(tmp_path, "r", [(step, {"loss": float(step)}) for step in range(2000)], "finished")
    assert steno.bins("loss", tmp_path, width=100).total == 2000
    assert isinstance(several._kept, WeightedCache)


def manifest_of(run_dir):
    """What a collector would write at the end."""
    from dataclasses import asdict

    from steno.ledger.read import Reader

    snapshot = Reader(run_dir).snapshot(batches=False)
    return {
        "format": 2, "state": "finished", "config": {}, "summary": {}, "attempts": [],
        "parts": [asdict(one) for one in snapshot.parts], "streams": [asdict(one) for one in snapshot.streams],
    }  # fmt: skip


@pytest.mark.parametrize("ranks", [None, "all"])
def test_several_runs_over_time_are_what_numpy_computes(tmp_path, ranks):
    rng = np.random.default_rng(12)
    for number in range(3):
        made(tmp_path, f"r{number}", odd_records(rng, 500 if number else 20), "half", ranks=2)
    low = START_NS + 100_000_000
    for width in (30, 200):
        curves = steno.bins("loss", tmp_path, x="time", width=width, ranks=ranks)
        assert len(curves) == 3 * (2 if ranks == "all" else 1)
        check(curves, lambda series: series.time.view(np.int64))
        part = steno.bins("loss", tmp_path, x="time", width=width, ranks=ranks, range=(low / 1e9, None), group=[])
        assert part.groups[0].n.max() >= 2
        assert part.total < curves.total


def test_what_is_read_of_one_key_does_not_hold_the_others(tmp_path):
    """Rows of many runs are kept: those of a key must not keep all columns of its row group in memory."""
    from steno.ledger import verify
    from steno.store import part_rows
    from steno.store.bins import sealed
    from steno.store.image import PartImage

    records = [(step, {f"k{number:02d}": float(number + step) for number in range(40)}) for step in range(50)]
    (part,) = (made(tmp_path, "many", records, "finished") / "metrics").glob("*.parquet")
    with PartImage(part, verify.checksum(part)) as image:
        found = part_rows.read(image, ["k07"], sealed.COLUMNS)
        assert found is not None
        rows = sealed.by_key(found, 1)[0]
    np.testing.assert_array_equal(rows.value, 7.0 + np.arange(50))
    for column in (rows.x, rows.step, rows.time, rows.record, rows.value, rows.rank):
        assert column.base is None or column.base.nbytes <= 2 * column.nbytes
