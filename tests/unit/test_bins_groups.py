"""Means over groups of runs are numpy's over the runs' own means in each bin."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from test_bins_curves import made, odd_records, way  # noqa: F401 - each test reads both ways

import steno
from steno.errors import UsageError
from steno.record import Ref
from steno.store.reader import RunReader


def configured(place, name, records, config, **how):
    run_dir = made(place, name, records, **how)
    run = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps({**run, "config": config}))
    return run_dir


def series_of(run_dir, key):
    """A series, and which of its values are finite numbers."""
    with RunReader(run_dir) as reader:
        series = reader.series(key)
    return series, np.isfinite(series.value) & [not isinstance(one, str | Ref) for one in series.exact]


def by_hand(found, index, width):
    """The means of the runs that have a finite value in a bin, and the largest size of a value in it."""
    means, most = [], 0.0
    for series, number in found:
        rows = (series.step // width == index) & number
        if rows.any():
            means.append(series.value[rows].astype(np.longdouble).mean())
            most = max(most, np.abs(series.value[rows]).max())
    return means, most


@pytest.mark.parametrize("ranks", [None, "all"])
@pytest.mark.parametrize("width", [9, 200])
def test_groups_are_what_numpy_computes(tmp_path, ranks, width):
    rng = np.random.default_rng(7)
    places = {0.1: [], 0.01: []}
    for number in range(7):
        lr = 0.1 if number % 3 else 0.01
        records = odd_records(rng, int(rng.integers(5, 300)))
        places[lr].append(configured(tmp_path, f"r{number}", records, {"opt": {"lr": lr}}, ranks=1 + number % 2))
    curves = steno.bins("loss", tmp_path, width=width, group="config.opt.lr", ranks=ranks)
    assert sorted(one.group for one in curves.groups) == [(0.01,), (0.1,)]
    for one in curves.groups:
        dirs = places[one.group[0]]
        assert len(one.runs) == len(dirs)
        found = [series_of(run_dir, "loss") for run_dir in dirs]
        known = []
        for at, index in enumerate(one.index.tolist()):
            means, most = by_hand(found, index, curves.width)
            assert one.n[at] == len(means)
            assert abs(one.mean[at] - np.mean(means)) <= 1e-12 * most
            assert abs(one.min[at] - min(means)) <= 1e-12 * most
            assert abs(one.max[at] - max(means)) <= 1e-12 * most
            if len(means) == 1:
                assert math.isnan(one.std[at])
                assert math.isnan(one.stderr[at])
            else:
                assert abs(one.std[at] - np.std(means, ddof=1)) <= 1e-12 * most
                assert abs(one.stderr[at] - np.std(means, ddof=1) / len(means) ** 0.5) <= 1e-12 * most
            known.append(index)
        every = {int(step // curves.width) for series, _ in found for step in series.step}
        assert all(not by_hand(found, index, curves.width)[0] for index in every - set(known))


def test_another_run_in_another_group_changes_no_mean(tmp_path):
    for number in range(4):
        configured(tmp_path, f"a{number}", [(step, {"loss": number + step / 7}) for step in range(3000)], {"lr": 1})
        configured(tmp_path, f"b{number}", [(step, {"loss": number - step / 7}) for step in range(3000)], {"lr": 2})
    runs = steno.runs(tmp_path)
    both = steno.bins("loss", runs, width=100, group="config.lr")
    one = steno.bins("loss", [run for run in runs if run.config["lr"] == 1], width=100, group="config.lr").groups[0]
    same = next(group for group in both.groups if group.group == (1,))
    for name in ("index", "n", "mean", "std", "stderr", "min", "max"):
        assert getattr(one, name).tobytes() == getattr(same, name).tobytes()


def test_what_runs_share(tmp_path):
    values = [1, 1.0, True, "1", None, [1, 2], {"a": 1}, math.nan]
    for number, value in enumerate([*values, 1, math.nan, [1, 2.0]]):
        config = {} if value is None else {"x": value}
        configured(tmp_path, f"r{number:02d}", [(0, {"loss": 1.0})], config)
    curves = steno.bins("loss", tmp_path, group=["config.x", "project"])
    sizes = sorted((repr(one.group), len(one.runs)) for one in curves.groups)
    assert sorted(size for _, size in sizes) == [1, 1, 1, 1, 2, 2, 3]
    assert all(one.group[1] == "tests" for one in curves.groups)
    every = steno.bins("loss", tmp_path, group=[]).groups
    assert [(one.group, int(one.n[0]), one.std[0]) for one in every] == [((), 11, 0.0)]
    assert steno.bins("loss", tmp_path).groups == ()


def test_names_that_no_group_can_have(tmp_path):
    configured(tmp_path, "r", [(0, {"loss": 1.0})], {"lr": 1})
    for wrong in ("lr", "loss.max", "config.", 5, [5], "config.lr > 1", "stat"):
        with pytest.raises((UsageError, TypeError)):
            steno.bins("loss", tmp_path, group=wrong)
    with pytest.raises(UsageError, match=r"did you mean 'config\.lr'"):
        steno.bins("loss", tmp_path, group="lr")
    with pytest.raises(UsageError, match="group= needs bins"):
        steno.bins("loss", tmp_path, group="config.lr", x="epoch")


def test_means_of_equal_values_are_exactly_that(tmp_path):
    for number in range(3):
        configured(tmp_path, f"r{number}", [(step, {"loss": 0.1}) for step in range(1000)], {})
    group = steno.bins("loss", tmp_path, width=10, group=[]).groups[0]
    assert (group.mean == 0.1).all()
    assert (group.std == 0).all()
