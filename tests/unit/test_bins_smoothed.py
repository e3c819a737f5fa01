"""A smoothed line is of the whole series, whatever is shown of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from test_bins_curves import made, odd_records, way  # noqa: F401 - each test reads both ways

import steno
from steno.errors import UsageError
from steno.record import Ref
from steno.store.bins import engine, in_memory
from steno.store.bins.smoothing import KINDS, smooth
from steno.store.reader import RunReader


def whole(run_dir, kind, width, x="step"):
    """By (step, time) the smoothed value at each finite point."""
    with RunReader(run_dir) as reader:
        series = reader.series("loss")
    number = np.array([not isinstance(one, str | Ref) for one in series.exact], bool)
    series = series.take(np.flatnonzero(np.isfinite(series.value) & number))
    place = series.step if x == "step" else series.time.view(np.int64)
    order = np.argsort(place, kind="stable")
    series, place = series.take(order), place[order]
    place = (place - place[0]) / (1 if x == "step" else 1e9)
    value = smooth(kind, place, series.value, None, width)
    return dict(zip(zip(series.step.tolist(), series.time.tolist(), strict=True), value.tolist(), strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stage", ["unsealed", "half", "finished"])
def test_a_value_at_a_step_is_the_same_at_every_zoom(tmp_path, kind, stage):
    run_dir = made(tmp_path, "r", odd_records(np.random.default_rng(8), 900), stage)
    known = whole(run_dir, kind, 40.0)
    seen = set()
    for low, high in [(None, None), (0, 4000), (700, 2100), (1000, 1300), (1001, 1100), (-100, None)]:
        for width in (5, 60, 700):
            curve = steno.bins("loss", tmp_path, range=(low, high), width=width, smooth=(kind, 40)).curve()
            line = curve.smoothed
            assert line.of == "points"
            assert len(line)
            for step, time, value in zip(line.step.tolist(), line.time.tolist(), line.value.tolist(), strict=True):
                assert abs(value - known[step, time]) <= 1e-12 * 1e8
                seen.add((step, time))
            rows = curve.points if curve.bins is None else curve.bins
            assert len(set(line.row.tolist())) == len(line)
            if curve.bins is None:
                assert (curve.points.step[line.row] == line.step).all()
                assert len(line) == np.isfinite(rows.value).sum()
            else:
                assert (
                    curve.bins.index[line.row]
                    == line.step // int(steno.bins("loss", tmp_path, range=(low, high), width=width).width)
                ).all()
                assert len(line) == (curve.bins.finite > 0).sum()
    assert len(seen) == len(known)


@pytest.mark.parametrize("kind", KINDS)
def test_over_time_the_width_is_in_seconds(tmp_path, kind):
    run_dir = made(tmp_path, "r", [(step % 7, {"loss": math.sin(step)}) for step in range(2000)])
    known = whole(run_dir, kind, 0.05, "time")
    for x in ("time", "relative"):
        line = steno.bins("loss", tmp_path, x=x, width=100, smooth=(kind, 0.05)).curve().smoothed
        assert len(line) > 50
        for step, time, value in zip(line.step.tolist(), line.time.tolist(), line.value.tolist(), strict=True):
            assert value == pytest.approx(known[step, time], abs=1e-9)


def test_a_long_series_is_smoothed_over_means_and_says_so(tmp_path, monkeypatch):
    made(tmp_path, "r", [(step, {"loss": math.sin(step / 3000) + step % 2}) for step in range(20_000)])
    exact = steno.bins("loss", tmp_path, width=100, smooth=("gaussian", 1500)).curve().smoothed
    monkeypatch.setattr(in_memory, "SMOOTHED_POINTS", 10_000)
    from steno.store.bins import smoothed

    monkeypatch.setattr(smoothed, "_kept", smoothed._Kept())
    curves = steno.bins("loss", tmp_path, width=50, smooth=("gaussian", 1500))
    line = curves.curve().smoothed
    assert line.of == "bins of 256 steps"
    assert np.abs(line.value - np.interp(line.step, exact.step, exact.value)).max() < 0.02
    every = dict(zip(line.step.tolist(), line.value.tolist(), strict=True))
    zoomed = steno.bins("loss", tmp_path, width=500, range=(5000, 5900), smooth=("gaussian", 1500)).curve()
    assert zoomed.bins is None
    assert zoomed.smoothed.of == "bins of 256 steps"
    assert zoomed.smoothed.step.tolist() == [5247, 5503, 5759]
    assert (zoomed.points.step[zoomed.smoothed.row] == zoomed.smoothed.step).all()
    shared = [step for step in zoomed.smoothed.step.tolist() if step in every]
    assert shared
    assert [every[step] for step in shared] == [zoomed.smoothed.value[(step - 5247) // 256] for step in shared]


def test_what_was_smoothed_is_kept_up_to_so_many_bytes(tmp_path, monkeypatch):
    from steno.store.bins import smoothed

    kept = smoothed._Kept()
    monkeypatch.setattr(smoothed, "_kept", kept)
    monkeypatch.setattr(smoothed, "_BYTES_KEPT", 500_000)
    for number in range(10):
        made(tmp_path, f"r{number}", [(step, {"loss": 1.0}) for step in range(3000)], "finished")
    steno.bins("loss", tmp_path, smooth=("ema", 10))
    assert 1 <= len(kept._held) <= 5
    assert kept._bytes <= 500_000
    before = {key: id(value) for key, value in kept._held.items()}
    steno.bins("loss", [tmp_path / "tests" / "r9"], smooth=("ema", 10), range=(0, 100))
    assert {key: id(value) for key, value in kept._held.items()} == before


def test_a_running_run_is_smoothed_anew(tmp_path):
    from store_runs import Writer

    with Writer(tmp_path / "tests" / "r") as writer:
        for at in range(5):
            writer.log(*[(at * 10 + step, {"loss": float(at)}) for step in range(10)])
            line = steno.bins("loss", tmp_path, smooth=("mean", 1)).curve().smoothed
            assert line.value.tolist() == [float(number) for number in range(at + 1) for _ in range(10)]


def test_groups_have_the_mean_of_smoothed_values(tmp_path):
    for number in range(3):
        made(tmp_path, f"r{number}", [(step, {"loss": float(step * number)}) for step in range(1000)])
    curves = steno.bins("loss", tmp_path, width=10, group=[], smooth=("ema", 100))
    group = curves.groups[0]
    lines = [one.smoothed.value for one in curves.curves]
    np.testing.assert_allclose(group.smooth, np.mean(lines, axis=0), rtol=1e-12)
    assert steno.bins("loss", tmp_path, width=10, group=[]).groups[0].smooth is None


@pytest.mark.parametrize(
    "wrong",
    [
        "ema",
        ("ema",),
        ("ema", 0),
        ("ema", -1),
        ("ema", math.nan),
        ("ema", math.inf),
        ("ema", "5"),
        ("median", 5),
        ("ema", True),
        5,
        (5, 5),
    ],
)
def test_bad_smoothing_is_refused(tmp_path, wrong):
    made(tmp_path, "r", [(0, {"loss": 1.0})])
    with pytest.raises(UsageError, match="smooth="):
        steno.bins("loss", tmp_path, smooth=wrong)
    with pytest.raises(UsageError, match="smooth="):
        steno.bins("loss", tmp_path, x="loss", smooth=("ema", 5))


def test_the_limit_is_what_the_docs_say():
    assert engine.SMOOTHED_POINTS == 100_000
