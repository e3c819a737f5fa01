"""The charts of a page are read together, and each is what it is by itself."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from store_runs import Writer

import steno
from steno.errors import UsageError
from steno.ledger import bins_format
from steno.store import binfiles, chunk, chunkbins
from steno.store.bins import exact
from steno.store.bins.groups import names_of
from steno.store.bins.question import ask
from steno.store.bins.several import CurveRequest, answers
from steno.store.image import PartImage

STAGES = ["unsealed", "sealed", "half", "finished"]


@pytest.fixture(params=["points", "bins"], autouse=True)
def way(request, monkeypatch):
    """Runs are read by their points, or by the bins beside their parts, and of points in none, wherever there are some."""
    if request.param == "bins":
        monkeypatch.setattr(exact, "POINTS_A_BIN", 0)
        monkeypatch.setattr(chunkbins, "LEAST_ROWS", 0)
    return request.param


def runs(place, stage, count=3):
    """Keys of very different lengths, of which one is not in all runs, with values that are no numbers."""
    rng = np.random.default_rng(0)
    for number in range(count):
        with Writer(place / "tests" / f"r{number}") as writer:
            writer.attempt(1)
            for half in range(2):
                rows = [
                    (step, {"loss": float(rng.normal()), **({"val": float(step)} if step % 50 == 0 else {})})
                    for step in range(1000 * half, 1000 * half + 1000)
                ]
                rows += [
                    (-90_000 + 7 * step + 4000 * half, {"late": math.nan if step % 9 == 0 else step * 0.5})
                    for step in range(500)
                ]
                if number:
                    rows.append((5, {"rare": "a text"}))
                writer.log(*rows, rank=half)
                if stage in {"sealed", "finished"} or (stage == "half" and not half):
                    writer.seal()
            writer.attempt(2, rewind=1500)
            writer.log(*[(step, {"loss": 0.5}) for step in range(1500, 1600)], attempt=2)
            if stage == "finished":
                writer.finish()
    return place


def same(mine, theirs):
    assert type(mine) is type(theirs)
    if is_dataclass(mine):
        for one in fields(mine):
            same(getattr(mine, one.name), getattr(theirs, one.name))
    elif isinstance(mine, np.ndarray):
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
    elif isinstance(mine, tuple):
        assert len(mine) == len(theirs)
        for pair in zip(mine, theirs, strict=True):
            same(*pair)
    else:
        assert mine == theirs


@pytest.mark.parametrize(
    ("stage", "x"), [*((stage, "step") for stage in STAGES), ("half", "time"), ("finished", "relative")]
)
def test_charts_that_are_read_together_are_each_what_they_are_alone(tmp_path, stage, x):
    place = runs(tmp_path, stage, 2)
    more = (
        {},
        {"range": (200, 1700), "edges": True},
        {"ranks": "all", "width": 20},
        {"group": []},
        {"smooth": ("ema", 30.0), "width": 40},
    )
    lists = (["loss"], ["late"], ["val", "loss"], ["loss", "val"], ["rare"], ["nowhere"])
    every = [{"keys": keys, "x": x, "width": 64, **one} for keys in lists for one in more]
    every.append({"keys": ["loss"], "x": "val", "width": 500})
    asked = [
        CurveRequest(
            ask(
                one["keys"],
                one["x"],
                one.get("range"),
                one.get("width", 500),
                one.get("ranks"),
                one.get("smooth"),
                edges=one.get("edges", False),
            ),
            names_of(one.get("group")),
        )
        for one in every
    ]
    together = answers(asked, place)
    widths = {
        found.width for one, found in zip(every, together, strict=True) if "range" not in one and one["width"] == 64
    }
    assert x != "step" or len(widths) > 2  # bins of one chart are no wider because another is longer
    for one, found in zip(every, together, strict=True):
        same(found, steno.bins(runs=place, **one))


def test_a_page_of_charts_looks_at_each_run_once(tmp_path, monkeypatch):
    place = runs(tmp_path, "half")
    looked = []
    look = exact.look
    monkeypatch.setattr(exact, "look", lambda shown, *more: looked.append(shown.name) or look(shown, *more))
    answers([CurveRequest(ask([key], "step", None, 64, None)) for key in ("loss", "val", "late", "rare")], place)
    assert sorted(looked) == ["tests/r0", "tests/r1", "tests/r2"]


def test_points_in_memory_are_those_of_a_bounded_number_of_series(tmp_path, monkeypatch):
    place = runs(tmp_path, "sealed")
    monkeypatch.setattr(exact, "_MOST_SERIES", 6)
    read, keys = exact.Exact.read, []
    monkeypatch.setattr(
        exact.Exact, "read", lambda self, asked, shown: keys.append(asked.keys) or read(self, asked, shown)
    )
    answers([CurveRequest(ask([key], "step", None, 64, None)) for key in ("loss", "val", "late", "rare")], place)
    assert keys == [("loss", "val"), ("late", "rare")]


def test_each_chart_says_what_a_damaged_part_has_lost(tmp_path):
    place = runs(tmp_path, "finished", 2)
    part = next((place / "tests" / "r0" / "metrics").glob("*.parquet"))
    data = bytearray(part.read_bytes())
    data[100] ^= 255
    part.write_bytes(data)
    keys = ("loss", "val", "late")
    with pytest.warns(RuntimeWarning, match="damaged"):
        together = answers([CurveRequest(ask([key], "step", None, 64, None)) for key in keys], place)
    for key, found in zip(keys, together, strict=True):
        same(found, steno.bins(key, place, width=64))
        assert {one.run for one in found.left_out} == {"tests/r0"}
        assert found.curve("r1").total


def test_groups_over_a_key_are_refused():
    with pytest.raises(UsageError, match="over a key there are none"):
        CurveRequest(ask(["loss"], "val", None, 64, None), ())


def four_parts(place, monkeypatch):
    """A run that is read by its bins."""
    monkeypatch.setattr(exact, "POINTS_A_BIN", 0)
    with Writer(place / "tests" / "r") as writer:
        writer.attempt(1)
        for begin in range(0, 4 * 8192, 8192):
            steps = range(begin, begin + 8192)
            writer.log(*[(step, {"loss": math.sin(step / 40), "val": step % 13}) for step in steps])
            writer.seal()


def test_a_zoom_unpacks_the_narrow_bins_of_the_parts_that_it_overlaps_alone(tmp_path, monkeypatch, way):
    four_parts(tmp_path, monkeypatch)
    read, levels = bins_format.read_block, []
    monkeypatch.setattr(
        bins_format,
        "read_block",
        lambda head, block, level, body: levels.append(level) or read(head, block, level, body),
    )
    monkeypatch.setattr(exact, "_kept", {})
    asked = [CurveRequest(ask([key], "step", (18_432, 19_455), 4, None, edges=True)) for key in ("loss", "val")]
    found = answers(asked, tmp_path)
    assert levels.count(1) <= 2  # of one part, the keys in a block or two
    for one in found:
        curve = one.curve()
        value = steno.open(curve.dir).series(curve.key).value
        assert one.width == 256
        for at, index in enumerate(curve.bins.index.tolist()):
            some = value[256 * index : 256 * index + 256]
            assert (curve.bins.min.value[at], curve.bins.max.value[at]) == (some.min(), some.max())
        assert (curve.before.step[0], curve.after.step[0]) == (18_431, 19_456)


def test_a_zoom_looks_at_the_bins_of_the_parts_that_it_overlaps_alone(tmp_path, monkeypatch):
    four_parts(tmp_path, monkeypatch)
    monkeypatch.setattr(exact, "_kept", {})
    choose, looked = binfiles.chosen, []
    monkeypatch.setattr(
        binfiles, "chosen", lambda bins, *more: looked.append(int(bins.start[0])) or choose(bins, *more)
    )
    asked = [CurveRequest(ask([key], "step", (18_432, 19_455), 4, None, edges=True)) for key in ("loss", "val")]
    for one in answers(asked, tmp_path):
        curve = one.curve()
        assert (curve.before.step[0], curve.after.step[0]) == (18_431, 19_456)
    assert set(looked) == {2 * 8192}
    assert len(looked) <= 2 * 3  # for each key the range and what lies on its sides
    looked.clear()
    (curve,) = steno.bins("loss", tmp_path, range=(16_384, 24_575), width=4, edges=True).curves
    assert (curve.before.step[0], curve.after.step[0]) == (16_383, 24_576)
    assert sorted(looked) == [8192, 2 * 8192, 3 * 8192]


def test_a_zoom_that_bins_are_too_wide_for_reads_the_points_of_each_key_once(tmp_path, monkeypatch):
    four_parts(tmp_path, monkeypatch)
    monkeypatch.setattr(exact, "_kept", {})
    table, read = PartImage.table, []
    monkeypatch.setattr(PartImage, "table", lambda self, *more: read.append(more) or table(self, *more))
    asked = [CurveRequest(ask([key], "step", (18_500, 18_799), 250, None, edges=True)) for key in ("loss", "val")]
    found = answers(asked, tmp_path)
    assert len(read) <= 2
    for one in found:
        curve = one.curve()
        value = steno.open(curve.dir).series(curve.key).value
        assert (curve.before.step[0], curve.after.step[0]) == (18_499, 18_800)
        np.testing.assert_array_equal(curve.points.value, value[18_500:18_800])


def test_the_points_of_a_run_that_goes_on_are_sorted_once(tmp_path, monkeypatch, way):
    with Writer(tmp_path / "tests" / "r") as writer:
        writer.attempt(1)
        writer.log(*[(step, {"loss": float(step), "val": -float(step)}) for step in range(2000)])
        sorted_ = []
        made = chunk._made
        monkeypatch.setattr(chunk, "_made", lambda *columns: sorted_.append(len(columns[1])) or made(*columns))
        monkeypatch.setattr(exact, "POINTS_A_BIN", 10**9)
        asked = [CurveRequest(ask([key], "step", None, 64, None)) for key in ("loss", "val")]
        answers(asked, tmp_path)
        writer.log(*[(step, {"loss": float(step), "val": -float(step)}) for step in range(2000, 2010)])
        loss, val = answers(asked, tmp_path)
        assert sorted_ == [4000, 20]
        assert (loss.total, loss.curve().bins.max.value.max(), val.curve().bins.min.value.min()) == (2010, 2009, -2009)


def test_most_points_of_a_run_that_goes_on_are_counted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(chunkbins, "LEAST_ROWS", 1000)
    monkeypatch.setattr(exact, "POINTS_A_BIN", 0)
    counted = []
    count = chunkbins._bins
    monkeypatch.setattr(chunkbins, "_bins", lambda chunk: counted.append(len(chunk)) or count(chunk))
    with Writer(tmp_path / "tests" / "r") as writer:
        writer.attempt(1)
        writer.log(*[(step, {"loss": math.sin(step), "val": -float(step)}) for step in range(3000)])
        asked = [CurveRequest(ask([key], "step", None, 64, None)) for key in ("loss", "val")]
        answers(asked, tmp_path)
        writer.log(*[(step, {"loss": 5.0, "val": -float(step)}) for step in range(3000, 3010)])
        loss, val = answers(asked, tmp_path)
        assert counted == [6000]
        assert (loss.total, loss.curve().bins.max.value[-1], val.curve().bins.min.value[-1]) == (3010, 5.0, -3009)
        assert loss.curve().bins.max.value[0] == max(math.sin(step) for step in range(64))
