"""What `add_*` is given, made into values; and the pieces that carry them: names of sub-runs, curves, scopes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import steno
from steno.destinations.tensorboard.subruns import folder
from steno.errors import UsageError
from steno.media import curve
from steno.media.raw import Raw
from steno.writers import graphs, values


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_steps_are_kept(step):
    assert values.step(step) == step
    assert type(values.step(np.int64(step))) is int


@pytest.mark.parametrize("step", [1.5, "no", math.nan, math.inf, 2**63, -(2**63) - 1, [1, 2], object()])
def test_other_steps_are_refused(step):
    with pytest.raises(UsageError, match="global_step"):
        values.step(step)


@given(st.floats(-9e9, 9e9))
def test_times_are_whole_nanoseconds(seconds):
    nanos = values.wall_nanos(seconds)
    assert abs(nanos - seconds * 1e9) <= max(1024, abs(seconds) * 1e9 * 2**-50)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, 1), (3, 3), (2**70, 2**70), (np.float32(0.5), 0.5), (np.array([[7]]), 7), (np.bool_(True), True),
        (np.int64(-4), -4), ([2.5], 2.5),
    ],
)  # fmt: skip
def test_scalars_are_one_number(value, found):
    assert values.scalar(value) == found


@given(st.text(max_size=600))
def test_a_sub_run_stays_below_and_shows_itself(name):
    path = folder(name)
    parts = path.split("/") if path else []
    assert not path.startswith("/")
    assert "\0" not in path
    assert all(part and not part.startswith(".") and len(part.encode()) <= 255 for part in parts)
    assert folder(path) == path


def test_long_names_that_differ_at_their_ends_stay_apart():
    assert folder("x" * 300 + "a") != folder("x" * 300 + "b")


@settings(deadline=None)  # importing tensorboardX takes seconds
@given(
    st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1), st.floats(0, 5)), min_size=1, max_size=60),
    st.integers(2, 200),
)
def test_curves_are_those_of_tensorboardx(rows, thresholds):
    from tensorboardX.summary import compute_curve

    labels, predictions, weights = (np.array(column) for column in zip(*rows, strict=True))
    captured = curve.PrCurve(labels, predictions, thresholds, weights).__steno__()
    raw = Raw.read(memoryview(b"".join(bytes(part) for part in captured.parts)))
    wanted = compute_curve(labels, predictions, min(thresholds, 127), weights)
    assert np.allclose(np.array(curve.counted(raw)["curve"]), wanted, rtol=1e-9, atol=1e-12)


def test_raw_histograms_keep_their_limits_and_statistics():
    made = values.histogram_raw(-1, 2, 4, 3.5, 9, [0, 1, 2], np.array([1, 2, 1])).__steno__().meta
    assert made["edges"] == [-1, 0, 1, 2]
    assert made["counts"] == [1, 2, 1]
    assert (made["min"], made["max"], made["sum"], made["sum_squares"]) == (-1, 2, 3.5, 9)


def test_joined_bins_hold_all_values():
    data = np.random.default_rng(1).normal(size=500)
    made = values.histogram(data, "tensorflow", 30).__steno__().meta
    assert len(made["counts"]) <= 30
    assert sum(made["counts"]) == 500
    assert made["edges"][0] <= data.min()
    assert made["edges"][-1] >= data.max()


def test_a_missing_package_is_said(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match="pip install onnx"):
        graphs.of_onnx("model.onnx")
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard._pytorch_graph", None)
    with pytest.raises(UsageError, match="torch"):
        graphs.of_torch(None, None, verbose=False, use_strict_trace=True)


@pytest.mark.parametrize("none", [None, [], np.zeros((0, 4)), np.zeros(0)])
def test_a_detector_that_found_nothing_gives_a_picture_without_boxes(none):
    made = values.image(np.zeros((3, 4, 5)), "CHW", none, [] if none is not None else None)
    assert "boxes" not in made.__steno__().meta
    assert "boxes" not in steno.Image(np.zeros((4, 5)), boxes=none).__steno__().meta
    with pytest.raises(UsageError, match="labels"):
        values.image(np.zeros((3, 4, 5)), "CHW", [], ["cat"])


def test_a_session_is_named_in_the_order_of_either_writer():
    assert values.session("name", 3, ()) == ("name", 3)
    assert values.session(None, None, ()) == (None, None)
    assert values.session({"lr": [0.1]}, "name", (3,)) == ("name", 3)
    assert values.session({"lr": [0.1]}, None, ()) == (None, None)
    assert values.session(None, "name", ()) == ("name", None)
    for wrong in (("name", "other", ()), ("name", 3, (4,)), ({}, "name", (1, 2)), ({}, 3, ())):
        with pytest.raises(UsageError, match="add_hparams"):
            values.session(*wrong)


def test_a_tensor_without_a_number_in_it_is_no_scalar():
    torch = pytest.importorskip("torch")
    for tensor in (torch.empty(1, device="meta"), torch.ones(1).to_sparse()):
        with pytest.raises(UsageError, match="meta, sparse"):
            values.scalar(tensor)
    assert values.scalar(torch.ones(1, 1)) == 1.0


@pytest.mark.parametrize("rate", ["x", None, math.nan, 0, -1, 2**31, True, 8000.5, [1]])
def test_a_rate_that_is_no_whole_number_of_hertz_is_refused(rate):
    with pytest.raises(UsageError, match="sample_rate"):
        values.audio(np.zeros(8), rate)
