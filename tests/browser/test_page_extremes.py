"""Values and steps at the ends of what a double and a step can hold, in a real browser: each chart is drawn, none hangs."""

from __future__ import annotations

import math

import pytest
from viewed import Picture, ready

import steno
import viewer_server

KEYS = {
    "huge": lambda step: (-1) ** step * 1.7e308,
    "tiny": lambda step: 5e-324 * step,
    "denormal": lambda step: 1e-310 * (step + 1),
    "offset": lambda step: 1e15 + step,
    "constant": lambda step: 3.0,
    "zero": lambda step: 0.0,
    "nan": lambda step: math.nan,
    "inf": lambda step: math.inf,
}


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("extremes")
    with steno.init(project="p", name="values", dir=str(place)) as run:
        for step in range(50):
            run.log({key: value(step) for key, value in KEYS.items()}, step=step)
        assert run.finish(60)
    with steno.init(project="p", name="steps", dir=str(place)) as run:
        for step in (2**53 - 3, 2**53 - 1):
            run.log({"late": float(step % 7)}, step=step)
        assert run.finish(60)
    with viewer_server.viewing(place) as viewer:
        yield viewer


@pytest.mark.parametrize("axes", ["", "&logY=1", "&logX=1&logY=1", "&robust=1"])
@pytest.mark.parametrize("key", [*KEYS, "late"])
def test_each_is_drawn(browse, viewer, key, axes):
    page = browse(f"{viewer.url}#filter=^{key}$&runs=all{axes}")
    card = ready(page, key)
    empty = key == "zero" and "logY" in axes
    assert bool(Picture(card).columns()) != empty
