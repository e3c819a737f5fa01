"""Every engine of reading answers what numpy computes from the points that were logged; see `steno.store.seam`."""

from __future__ import annotations

import contextlib
import itertools
import math

import numpy as np
import pytest

import steno
from reading_engines import ENGINES, record
from steno.errors import RunNotFoundError, UsageError
from steno.record import Ref


@pytest.fixture(scope="module", params=sorted(ENGINES))
def known(request, tmp_path_factory):
    """(place, models by name): runs of an engine, and what is in them."""
    place = tmp_path_factory.mktemp("runs")
    models = [
        record(place, "ended", 1, 300),
        record(place, "several", 2, 120),
        record(place, "parts", 3, 200, stage="parts"),
        record(place, "live", 5, 160, stage="unsealed"),
        record(place, "short", 6, 16),
    ]
    with ENGINES[request.param](place) as where:
        yield where, {one.name: one for one in models}
        for at in [at for at in _readers if at.startswith(where)]:
            _readers.pop(at).close()


_readers = {}
"""By URL or path: a run is opened once, for an object store takes its time."""


@pytest.fixture
def place(known):
    return known[0]


@pytest.fixture
def models(known):
    return known[1]


def opened(place, model):
    at = f"{place}/tests/{model.name}"
    if at not in _readers:
        _readers[at] = steno.open(at)
    return contextlib.nullcontext(_readers[at])


def same_float(found, wanted):
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    np.testing.assert_array_equal(found, wanted)
    number = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(found[number]), np.signbit(wanted[number]))


def same_series(series, points):
    """Bit by bit; a time may be rounded to the microsecond."""
    assert len(series) == len(points)
    for name in ("step", "attempt", "rank"):
        assert getattr(series, name).tolist() == [getattr(one, name) for one in points], name
    same_float(series.value, [one.number for one in points])
    for found, one in zip(series.exact, points, strict=True):
        assert type(found) is type(one.value)
        if not isinstance(one.value, float):
            assert found == one.value
    time = series.time.astype(np.int64)
    assert (np.abs(time - np.array([one.time for one in points], np.int64)) < 1000).all()
    # (node, record) tells calls apart, and rises with them.
    pairs = list(zip(series.node.tolist(), series.record.tolist(), strict=True))
    wanted = [(one.node, one.record) for one in points]
    order = [at for _, at in sorted(zip(wanted, range(len(wanted)), strict=True))]
    assert [pairs[at] for at in order] == sorted(pairs)
    assert len(set(pairs)) == len(set(wanted))


CHOICES = [
    {}, {"attempt": "all"}, {"attempt": 1}, {"rank": 1}, {"steps": (10, 100)}, {"steps": (None, 40), "rank": 0},
    {"attempt": "all", "steps": (90, None)},
]  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_a_series_has_the_points_that_were_logged(place, models, choice):
    for model in models.values():
        with opened(place, model) as run:
            for key in model.keys:
                wanted = model.series(key, **choice)
                if wanted:
                    same_series(run.series(key, **choice), wanted)
                else:
                    assert len(run.series(key, **choice)) == 0


def test_keys_and_attempts(place, models):
    for model in models.values():
        with opened(place, model) as run:
            assert run.keys() == model.keys
            info = run.info
            assert (info.project, info.name) == ("tests", model.name)
            assert {one.attempt: one.rewind for one in info.attempts if one.rewind is not None} == model.rewinds
            assert dict(info.config) == model.about["config"]
            assert list(info.tags) == model.about["tags"]
            assert info.points == len(model.points)


def test_what_is_not_a_point_is_there_in_order(place, models):
    for model in models.values():
        with opened(place, model) as run:
            found = run.records("note")
            assert sorted((one.kind, one.payload["text"]) for one in found) == sorted(
                (kind, payload["text"]) for kind, payload in model.entries
            )
            assert [(one.node, one.record) for one in found] == sorted((one.node, one.record) for one in found)
            last = run.records("note", last=2)
            assert [one.payload for one in last] == [one.payload for one in found[-2:]]
            assert run.records("no such kind") == []


def test_a_summary_is_that_of_the_points_that_rewinds_leave(place, models):
    for model in models.values():
        with opened(place, model) as run:
            summary = run.summary
            for key in model.keys:
                points = model.series(key)
                if not points:
                    continue
                row, last = summary[key], points[-1]
                assert row["count"] == len(points)
                assert (row["last_step"], row["last_rank"]) == (last.step, last.rank)
                assert row["last"] == last.value or (math.isnan(row["last"]) and math.isnan(last.number))
                numbers = [one for one in points if not math.isnan(one.number)]
                for name, best in (("min", min), ("max", max)):
                    wanted = best((one.number for one in numbers), default=None)
                    assert row[name] == wanted
                    if wanted is not None:
                        assert row[f"{name}_step"] == min(one.step for one in numbers if one.number == wanted)


@pytest.mark.parametrize("over", ["mean", "min", "max", "std", "sum", "count", "median"])
def test_across_ranks_a_step_has_what_numpy_computes(place, models, over):
    for model in models.values():
        with opened(place, model) as run:
            series = run.series("loss", over=over)
            steps = [(step, list(some)) for step, some in itertools.groupby(model.series("loss"), lambda one: one.step)]
            assert series.step.tolist() == [step for step, _ in steps]
            for found, (_, some) in zip(series.value.tolist(), steps, strict=True):
                values = np.array([one.number for one in {one.rank: one for one in some}.values()])
                finite = values[np.isfinite(values)]
                if over == "count":
                    assert found == len(values)
                elif over in {"min", "max"}:
                    with np.errstate(invalid="ignore"):
                        wanted = values[~np.isnan(values)]
                    assert math.isnan(found) if not len(wanted) else found == getattr(wanted, over)()
                elif not len(finite):
                    assert math.isnan(found)
                elif np.abs(finite).max() < 1e150:
                    wanted = getattr(np, over)(finite.astype(np.longdouble))
                    assert abs(found - float(wanted)) <= 4e-16 * len(finite) * np.abs(finite).max()


@pytest.mark.parametrize("points", [2, 7, 50, 10_000])
def test_at_few_points_ends_and_extremes_stay(place, models, points):
    for model in models.values():
        with opened(place, model) as run:
            few, exact = run.series("loss", points=points), model.series("loss")
            assert len(few) <= max(points, 2)
            whole = {(one.step, one.attempt, one.rank, one.number): one for one in exact}
            for row in zip(few.step.tolist(), few.attempt.tolist(), few.rank.tolist(), few.value.tolist(), strict=True):
                assert row in whole or math.isnan(row[3])
            numbers = [one.number for one in exact if not math.isnan(one.number)]
            assert np.nanmin(few.value) == min(numbers)
            assert np.nanmax(few.value) == max(numbers)
            if points >= 4:
                assert few.step[0] == exact[0].step
                assert few.step[-1] == exact[-1].step


def test_a_frame_has_the_last_value_of_each_step(place, models):
    for model in models.values():
        with opened(place, model) as run:
            frame = run.frame(["loss", "lr"], as_="arrow")
            wanted = {}
            for key in ("loss", "lr"):
                for one in model.series(key):
                    wanted.setdefault((one.step, one.rank, one.attempt), {})[key] = one.value
            rows = frame.to_pylist()
            assert [(row["step"], row["rank"], row["attempt"]) for row in rows] == sorted(
                wanted, key=lambda place: (place[0], place[1], place[2])
            )
            for row in rows:
                values = wanted[row["step"], row["rank"], row["attempt"]]
                for key in ("loss", "lr"):
                    value = values.get(key)
                    assert value is None or isinstance(value, Ref | str) or row[key] is not None


def x_of(axis, model, points):
    """The x of points in whole numbers, of a step or a nanosecond."""
    if axis == "step":
        return np.array([one.step for one in points], np.int64)
    return np.array([one.time // 1000 * 1000 for one in points], np.int64)


def is_text(one):
    return isinstance(one.value, str | Ref)


def check_curve(curve, curves, axis, points):
    assert curve.total == len(points)
    if curve.points is not None:
        assert curve.points.step.tolist() == [one.step for one in points]
        same_float(curve.points.value, [one.number for one in points])
        assert curve.points.other.tolist() == [is_text(one) for one in points]
        return
    bins, width = curve.bins, int(curves.width * (1 if axis == "step" else 10**9))
    number = x_of(axis, None, points) // width
    assert bins.index.tolist() == np.unique(number).tolist()
    for at, index in enumerate(bins.index.tolist()):
        some = [one for one, its in zip(points, number.tolist(), strict=True) if its == index]
        value = np.array([one.number for one in some])
        text = np.array([is_text(one) for one in some])
        assert bins.count[at] == len(some)
        assert bins.other[at] == text.sum()
        assert bins.nan[at] == (np.isnan(value) & ~text).sum()
        assert bins.posinf[at] == (value == math.inf).sum()
        assert bins.neginf[at] == (value == -math.inf).sum()
        for place, one in ((bins.first, some[0]), (bins.last, some[-1])):
            same_float(place.value[at], one.number)
            assert place.step[at] == one.step
            assert place.attempt[at] == one.attempt
        finite = value[np.isfinite(value)]
        assert bins.finite[at] == len(finite)
        if not len(finite):
            assert math.isnan(bins.mean[at])
            continue
        same_float(bins.min.value[at], finite.min() + 0.0 if finite.min() else bins.min.value[at])
        same_float(bins.max.value[at], finite.max() + 0.0 if finite.max() else bins.max.value[at])
        most = np.abs(finite).max()
        if most < 1e150:
            exact = finite.astype(np.longdouble)
            assert abs(bins.mean[at] - float(exact.mean())) <= 1e-12 * most
            assert abs(bins.std[at] - float(exact.std())) <= 1e-12 * most


def in_time(points):
    return sorted(points, key=lambda one: (one.time // 1000, one.order))


@pytest.mark.parametrize("width", [5, 40])
@pytest.mark.parametrize(
    "asked", [{}, {"range": (7, 150)}, {"range": (None, 60)}, {"ranks": "all"}, {"ranks": 1}, {"x": "time"}], ids=str
)
def test_curves_are_what_numpy_computes(place, models, width, asked):
    curves = steno.bins(["loss", "lr"], place, width=width, **asked)
    assert curves.left_out == ()
    axis = asked.get("x", "step")
    steps = asked.get("range", (None, None))
    met = set()
    for curve in curves.curves:
        model = models[curve.run.partition("/")[2]]
        points = model.series(curve.key, rank=curve.rank, steps=steps)
        check_curve(curve, curves, axis, points if axis == "step" else in_time(points))
        met.add((model.name, curve.key, curve.rank))
    ranks = [0, 1] if asked.get("ranks") == "all" else [asked.get("ranks")]
    wanted = itertools.product(models.values(), ("loss", "lr"), ranks)
    assert met == {(one.name, key, of) for one, key, of in wanted if one.series(key, rank=of, steps=steps)}


def test_a_group_is_the_mean_of_its_runs(place, models):
    curves = steno.bins("loss", place, width=20, group="config.lr")
    assert sum(len(set(one.runs)) for one in curves.groups) == len(models)
    for group in curves.groups:
        mine = [models[name.partition("/")[2]] for name in group.runs]
        assert len({one.about["config"]["lr"] for one in mine}) == 1
        for at, index in enumerate(group.index.tolist()):
            means = []
            for model in mine:
                found = [
                    one.number for one in model.series("loss")
                    if one.step // int(curves.width) == index and math.isfinite(one.number)
                ]  # fmt: skip
                if found:
                    means.append(np.mean(np.array(found, np.longdouble)))
            assert group.n[at] == len(means)
            if means:
                assert float(group.mean[at]) == pytest.approx(float(np.mean(means)), rel=1e-9, abs=1e-9)
            if len(means) > 1:
                most = max(map(abs, means))
                assert abs(group.std[at] - np.std(np.array(means), ddof=1)) <= 1e-9 * most


def test_over_another_key_a_curve_is_in_order_of_record(place, models):
    curves = steno.bins("loss", place, x="val/acc ü")
    for curve in curves.curves:
        model = models[curve.run.partition("/")[2]]
        assert curve.total == len(model.series("loss"))


def rows(place, query, values=None):
    return steno.sql(query, place, values=values).fetchall()


def test_sql_counts_what_rewinds_leave(place, models):
    asked = "select run, key, count(*), count(text), min(step), max(step), sum(rank) from {} group by run, key order by run, key"
    for table, attempt in (("metrics", "latest"), ("metrics_all", "all")):
        wanted = []
        for name in sorted(models):
            for key in models[name].keys:
                points = models[name].series(key, attempt)
                if points:
                    steps = [one.step for one in points]
                    texts = sum(isinstance(one.value, str) for one in points)
                    ranks = sum(one.rank for one in points)
                    wanted.append((f"tests/{name}", key, len(points), texts, min(steps), max(steps), ranks))
        assert [tuple(row) for row in rows(place, asked.format(table))] == wanted


def test_sql_gives_values_bit_by_bit(place, models):
    for model in models.values():
        found = rows(
            place,
            "select node, record, value, exact, text, ref from metrics_all where key = 'loss' and run = 'tests/"
            f"{model.name}' order by node, record",
        )
        points = sorted((one for one in model.points if one.key == "loss"), key=lambda one: (one.node, one.record))
        assert len(found) == len(points)
        for (_, _, value, exact, text, ref), one in zip(found, points, strict=True):
            assert (text, ref is not None) == (
                one.value if isinstance(one.value, str) else None,
                isinstance(one.value, Ref),
            )
            if isinstance(one.value, int):
                assert exact == one.value
            elif isinstance(one.value, float):
                same_float(value, one.value)


def test_sql_knows_runs_and_their_configuration(place, models):
    assert [row[0] for row in rows(place, "select run from runs order by run")] == sorted(
        f"tests/{one}" for one in models
    )
    found = {(run, key): value for run, key, value in rows(place, "select run, key, value from config")}
    for model in models.values():
        assert float(found[f"tests/{model.name}", "lr"]) == model.about["config"]["lr"]
        assert found[f"tests/{model.name}", "opt.name"] == model.about["config"]["opt"]["name"]
    with opened(place, models["short"]) as run:
        assert run.sql("select count(*) from metrics_all").fetchall() == [(len(models["short"].points),)]


def test_a_wrong_query_is_an_error(place):
    with pytest.raises(UsageError):
        rows(place, "select nothing from nowhere")


def test_runs_are_listed_chosen_and_sorted(place, models):
    runs = steno.runs(place)
    assert {one.name: one.points for one in runs} == {name: len(one.points) for name, one in models.items()}
    for one in runs:
        model = models[one.name]
        assert one.project == "tests"
        assert list(one.tags) == model.about["tags"]
        assert dict(one.config) == model.about["config"]
        assert one.metrics["loss"]["count"] == len(model.series("loss"))
    assert {one.name for one in steno.runs(place, where='"t2" in tags')} == {"several"}
    low = {name for name, one in models.items() if one.about["config"]["lr"] < 0.5}
    assert {one.name for one in steno.runs(place, where="config.lr < 0.5")} == low
    by_points = [one.name for one in steno.runs(place, sort="-points", limit=2)]
    assert by_points == sorted(models, key=lambda name: -len(models[name].points))[:2]
    # A run of a list is a run to the other functions.
    curves = steno.bins("loss", [one for one in runs if one.name == "short"])
    assert [one.run for one in curves.curves] == ["tests/short"]


def test_what_is_not_there_is_said(place, models):
    with pytest.raises(RunNotFoundError):
        steno.open(f"{place}/tests/nobody")
    with opened(place, models["ended"]) as run, pytest.raises(UsageError, match="no-such-key"):
        run.series("no-such-key")
    assert len(steno.bins("no-such-key", place)) == 0
