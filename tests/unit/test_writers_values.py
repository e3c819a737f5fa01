"""What `add_*` is given, made into values; and the pieces that carry them: names of sub-runs, curves, scopes."""

from __future__ import annotations

import math
import warnings
from decimal import Decimal
from fractions import Fraction

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


@pytest.mark.parametrize(("step", "cut"), [(1.5, 1), (-2.7, -2), ("3", 3), (np.float32(4.9), 4), (True, 1)])
def test_what_is_behind_the_point_of_a_step_is_cut(step, cut):
    assert values.step(step) == cut
    assert values.is_same(cut, step) == (step is True)


@pytest.mark.parametrize("step", ["no", math.nan, math.inf, 2**63, -(2**63) - 1, [1, 2], object(), None])
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
        (np.int64(-4), -4), ([2.5], 2.5), ("2.5", 2.5), (b"3", 3.0), (Decimal("0.5"), 0.5), (Fraction(1, 4), 0.25),
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
    st.lists(
        st.tuples(
            st.integers(0, 1) | st.floats(-3, 3),
            st.floats(0, 1) | st.sampled_from([1.0000001, -1e-9, 1.005, 2.0, -3.0, math.nan, math.inf]),
            st.floats(-1, 5),
        ),
        max_size=60,
    ),
    st.integers(1, 200),
)
def test_curves_are_those_of_tensorboardx(rows, thresholds):
    from tensorboardX.summary import compute_curve

    labels, predictions, weights = np.array(rows, np.float64).reshape(-1, 3).T
    captured = curve.PrCurve(labels, predictions, thresholds, weights).__steno__()
    raw = Raw.read(memoryview(b"".join(bytes(part) for part in captured.parts)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, of NaN as an integer
        wanted = compute_curve(labels, predictions, min(thresholds, 127), weights)
    assert np.allclose(np.array(curve.counted(raw)["curve"]), wanted, rtol=1e-6, atol=1e-9)


def test_raw_histograms_keep_their_limits_and_statistics():
    made = values.histogram_raw(-1, 2, 4, 3.5, 9, [0, 1, 2], np.array([1, 2, 1])).__steno__().meta
    assert made["edges"] == [-1, 0, 1, 2]
    assert made["counts"] == [1, 2, 1]
    assert (made["min"], made["max"], made["sum"], made["sum_squares"]) == (-1, 2, 3.5, 9)


@pytest.mark.parametrize("bins", ["tensorflow", "auto", "fd", "doane", 11, 100, [-9.0, -1.0, 0.0, 0.5, 2.0, 9.0]])
@pytest.mark.parametrize("max_bins", [1, 2, 3, 5, 20, 30, 1000, 10**9])
def test_bins_are_joined_as_tensorboardx_joins_them(bins, max_bins):
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import make_histogram

    data = np.random.default_rng(1).normal(size=1024)
    made = values.histogram(data, bins, max_bins).__steno__().meta
    edges = SummaryWriter("nowhere", write_to_disk=False).default_bins if bins == "tensorflow" else bins
    wanted = make_histogram(data, edges, max_bins)
    assert np.allclose(made["edges"], wanted.bucket_limit, rtol=1e-9)
    assert made["counts"] == list(wanted.bucket)[1:]
    assert wanted.bucket[0] == 0


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
    assert "1 labels for 0 boxes" in values.image(np.zeros((3, 4, 5)), "CHW", [], ["cat"]).remark


def test_a_session_is_named_in_the_order_of_either_writer():
    assert values.session("name", 3, ()) == ("name", 3)
    assert values.session(None, None, ()) == (None, None)
    assert values.session({"lr": [0.1]}, "name", (3,)) == ("name", 3)
    assert values.session({"lr": [0.1]}, None, ()) == (None, None)
    assert values.session(None, "name", ()) == ("name", None)
    assert values.session("name", "7", ()) == ("name", "7")  # a step that is text
    for wrong in (("name", 3, (4,)), ({}, "name", (1, 2)), ({}, 3, ())):
        with pytest.raises(UsageError, match="add_hparams"):
            values.session(*wrong)


def test_a_tensor_without_a_number_in_it_is_no_scalar():
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match="sparse"):
        values.scalar(torch.ones(1).to_sparse())
    assert math.isnan(values.scalar(torch.empty(1, device="meta")))
    assert values.scalar(torch.ones(1, 1)) == 1.0


@pytest.mark.parametrize("rate", ["x", None, math.nan, 0, -1, 2**31, [1]])
def test_a_rate_that_is_no_number_of_hertz_is_refused(rate):
    with pytest.raises(UsageError, match="sample_rate"):
        values.audio(np.zeros(8), rate)


def test_raw_histograms_are_put_in_order():
    made = values.histogram_raw(0, 9, 50, 1, 1, [3, 1, math.inf, 2], [1, -2, 4, 5])
    meta = made.__steno__().meta
    assert meta["edges"] == [0, 1, 2, 3, np.finfo(float).max]
    assert meta["counts"] == [0, 5, 1, 4]
    assert meta["num"] == 50
    assert "sorted" in made.remark
    assert "num=50, but its counts add up to 10" in made.remark
    assert values.histogram_raw(0, 0, 0, 0, 0, [], []).__steno__().meta["counts"] == [0]


@pytest.mark.parametrize(
    ("shape", "words"), [((4, 3, 5, 5), ""), ((4, 1, 5, 5), ""), ((4, 3, 5, 7), "square"), ((4, 3, 4200, 4200), "8192")]
)
def test_pictures_of_an_embedding_are_made_square_and_small_enough(shape, words):
    made = values.embedding(np.eye(4), None, np.zeros(shape, np.uint8), None)
    assert words in made.remark
    assert bool(words) == bool(made.remark)
    side = min(max(shape[2:]), 2100)
    assert made.__steno__().meta["picture"] == [side, side]


def test_labels_of_other_lengths_than_the_header_are_filled_up():
    made = values.embedding(np.eye(3), [["a", 1], ["b"], ["c", 3, 4]], None, ["name", "number"])
    assert "cut or filled up" in made.remark
    raw = Raw.read(memoryview(b"".join(bytes(part) for part in made.__steno__().parts)))
    assert raw.arrays()["labels"].tobytes() == b"name\tnumber\na\t1\nb\t\nc\t3\n"


@pytest.mark.parametrize("factor", [0.5, 1, 2, 2.5])
def test_a_picture_is_made_larger_with_its_boxes(factor):
    made = values.image(np.zeros((3, 8, 6)), "CHW", [[1, 2, 3, 4]], None, factor).__steno__().meta
    assert made["shape"] == [int(8 * factor), int(6 * factor), 3]
    assert made["boxes"][0]["box"] == [1 * factor, 2 * factor, 3 * factor, 4 * factor]


@pytest.mark.parametrize(
    ("made", "remedy"),
    [
        (lambda: values.tag(3), r"pass str"),
        (lambda: values.step(2**63), r"pass a step between"),
        (lambda: values.wall_nanos("noon"), r"pass time\.time\(\) or nothing"),
        (lambda: values.scalar(object()), r"pass float"),
        (lambda: values.scalar(np.zeros(3)), r"pass its mean"),
        (lambda: values.scalar(1j), r"pass x\.real and x\.imag"),
        (lambda: values.scalars([1.0]), r"a dict \{name: number\}, not list"),
        (lambda: values.histogram([1.0], 10, "many"), r"max_bins='many'.*leave it out"),
        (lambda: values.histogram([1.0], 10, 0), r"max_bins=0 .*leave it out"),
        (lambda: values.histogram_raw(0, 1, 2, 3, 4, [1.0], [1, 2]), r"pass one count for each limit"),
        (lambda: values.image(np.zeros((2, 2)), 3), r"pass one letter for each axis"),
        (lambda: values.image([np.zeros((2, 2)), np.zeros((3, 2))], "HW"), r"resize them"),
        (lambda: values.image(np.zeros((2, 2)), "HW", [[1, 2]], ["a"]), r"pass x0, y0, x1, y1"),
        (lambda: values.figure([3], False), r"pass other pictures to add_image"),
        (lambda: values.hparams([], {}), r"not list and dict"),
        (lambda: values.tensor(["a"]), r"pass text by add_text"),
        (lambda: values.embedding(np.zeros(3), None, None, None), r"pass one row for each point"),
        (lambda: values.embedding(np.zeros((3, 2)), ["a"], None, None), r"pass one for each point"),
        (lambda: values.embedding(np.zeros((1, 2)), [3], None, ["a"]), r"pass a list with a value for each column"),
        (lambda: values.layout({"loss": {"all": 3}}), r"'Multiline'"),
    ],
)
def test_what_is_refused_says_what_to_pass(made, remedy):
    with pytest.raises(UsageError, match=remedy):
        made()
