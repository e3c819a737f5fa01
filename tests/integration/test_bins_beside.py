"""Bins of a real run through its life: live, ended, in a store, resumed and rewound, they are the points."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest

import steno
from bins_of_runs import parted, same
from steno import files
from steno.store.binfiles import Level

pytestmark = pytest.mark.timeout(180)


def check(place: object, keys: tuple[str, ...] = ("a", "b")) -> int:
    """All levels and choices of a run are what its points say; how many points no bin has."""
    raw = 0
    with steno.open(place) as reader:
        for key in keys:
            for chosen in ({}, {"attempt": "all"}, {"steps": (333, 9001)}):
                for level in (Level(1), Level(2), Level(1, is_plain=True)):
                    found, exact, rest = parted(reader, key, level, **chosen)
                    same(found, exact)
                    raw += rest if not chosen else 0
            few, exact_series = reader.series(key, points=100), reader.series(key)
            assert len(few) <= 100
            assert np.nanmax(few.value) == np.nanmax(exact_series.value)
            assert (few.step[0], few.step[-1]) == (exact_series.step[0], exact_series.step[-1])
    return raw


def log(run: steno.Run, first: int, last: int) -> None:
    rng = np.random.default_rng(first)
    for step, value in enumerate(rng.standard_normal(last - first).tolist(), first):
        run.log({"a": value + 1e8, "b": math.nan if step % 997 == 0 else value}, step=step)


def test_bins_are_the_points_from_the_first_to_the_last_day_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    store = f"file://{tmp_path}/store"
    run = steno.init("p", "life", dir=tmp_path / "runs", store=store)
    log(run, 0, 12_000)
    assert run.flush(timeout=60)
    assert check(run.dir) > 0, "nothing is sealed yet"
    assert run.finish(timeout=60)
    assert steno.sync(run.dir, timeout=60).complete
    assert check(run.dir, ("a",)) == 0, "all is in bins"
    check(run.dir)
    check(f"{store}/p/life")

    run = steno.init("p", "life", dir=tmp_path / "runs", resume=True, rewind=7_777)
    log(run, 7_777, 15_000)
    assert run.finish(timeout=60)
    assert steno.sync(run.dir, timeout=60).complete
    check(run.dir)
    check(f"{store}/p/life")
    listed = {path.stem for path in (run.dir / "metrics").glob("*.parquet")}
    assert {path.stem for path in (run.dir / "metrics").glob("*.bins")} == listed

    # As a person copies it who knows of parts, and not of what lies beside them.
    copy = tmp_path / "copy"
    shutil.copytree(run.dir, copy)
    for path in (copy / "metrics").glob("*.bins"):
        files.unlink(path)
    check(copy)
