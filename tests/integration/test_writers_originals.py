"""Whatever torch's and tensorboardX's writers take, ours take, and TensorBoard's files have it: values of all kinds,
in and out of range, are given to all three."""

from __future__ import annotations

import contextlib
import decimal
import fractions
import io
import json
import math
import random
import warnings

import numpy as np
import pytest
import tensorboardX
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.tensorboard import SummaryWriter as TorchWriter

import steno

DTYPES = (
    ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "u2", "u4", "u8", "bool", "c8", ">f4", ">u2", "longdouble"]
)  # fmt: skip
ODD = (
    0.0, 1.0, -1.0, 0.5, 1.0000001, -1e-9, 2.0, 255.0, 256.0, -3.5, math.nan, math.inf, -math.inf, 1e300, 1e-300,
    1e20, -1e20,
)  # fmt: skip
TAGS = ("a", "b/c", "", "x y", "ü", None, b"bytes", "a:b", "long" * 100, "..", "/lead", "trail/")
STEPS = (None, 0, 1, 5, -3, 1.5, np.int64(3), np.float32(2.7), torch.tensor(4), "7", True, 10**10, np.array(3))
TIMES = (None, None, None, 1.5, 1e9, np.float64(3), -5, math.nan, math.inf, 1e300, torch.tensor(2.0), True)


class Draw(random.Random):
    """Arguments out of and within all ranges."""

    def shape(self, *sizes):
        return tuple(self.choice(size) if isinstance(size, tuple) else size for size in sizes)

    def array(self, *shape):
        """An array, a tensor, a list or a view of one, of any dtype."""
        rng, count = np.random.default_rng(self.getrandbits(32)), math.prod(shape)
        made = self.choice(
            (
                lambda: rng.random(shape),
                lambda: rng.normal(size=shape),
                lambda: rng.integers(0, 256, shape),
                lambda: rng.integers(-300, 70_000, shape),
                lambda: np.full(shape, self.choice(ODD)),
                lambda: np.array([self.choice(ODD) for _ in range(count)]).reshape(shape),
            )
        )()
        with np.errstate(all="ignore"):
            made = np.asarray(made, float).astype(self.choice(DTYPES))
        form = self.randrange(6)
        if form == 0 and made.dtype.isnative and made.dtype.itemsize <= 8:
            return torch.tensor(made)
        if form == 1 and made.dtype in (np.float32, np.float64):
            return torch.tensor(made).bfloat16() if self.random() < 0.5 else torch.tensor(made).requires_grad_()
        if form == 2:
            return made.tolist()
        return (made, made[::-1] if made.ndim else made, np.asfortranarray(made))[form % 3]

    def number(self):
        return self.choice(
            (
                lambda: self.choice(ODD),
                lambda: self.randrange(-(10**20), 10**20),
                lambda: self.array(),
                lambda: self.array(1),
                lambda: self.array(1, 1),
                lambda: self.choice(("3.5", b"2", True, np.str_("4"), [2.0], [[3]], decimal.Decimal("1.5"))),
                lambda: self.choice((fractions.Fraction(1, 3), torch.empty(1, device="meta"), None, "x", 1j)),
            )
        )()

    def picture(self):
        axes = self.choice(("CHW", "HWC", "HW", "WH", "CWH", "chw", "NCHW", "NHWC", "CNHW", "CHWN"))
        sizes = {"C": self.choice((1, 1, 3, 3, 4, 2)), "H": 3, "W": self.choice((1, 4)), "N": self.choice((1, 2, 5))}
        return self.array(*(sizes[axis.upper()] for axis in axes)), axes


def scalar(draw, tag, step, time):
    value, more = draw.number(), draw.choice(((), ("name",), ("name", "words"), (True,), (False, True)))
    return lambda w: w.add_scalar(tag, value, step, time, *more)


def scalars(draw, tag, step, time):
    values = {draw.choice(("a", "b", "", "c/d", "..")): draw.number() for _ in range(draw.randrange(3))}
    return lambda w: w.add_scalars(tag, values, step, time)


def histogram(draw, tag, step, time):
    values = draw.array(*draw.shape((0, 1, 3, 9), (1, 4)))
    bins = draw.choice(
        (
            "tensorflow", "auto", "fd", "doane", 1, 5, 30, [0, 1], [0, 0.5, 1, 2], [-math.inf, 0, math.inf], [0, 0, 1],
            np.linspace(0, 1, 9), torch.linspace(0, 1, 5), 20_000, "nonsense", 0, [1, 0],
        )
    )  # fmt: skip
    most = draw.choice((None, None, 1, 3, 5, 1000, 0, 1e9))
    return lambda w: w.add_histogram(tag, values, step, bins, time, most)


def histogram_raw(draw, tag, step, time):
    count = draw.randrange(5)
    limits = draw.choice((sorted(draw.random() for _ in range(count)), [draw.choice(ODD) for _ in range(count)]))
    counts = draw.choice(([draw.randrange(9) for _ in range(count)], [draw.choice(ODD) for _ in range(count)]))
    known = [draw.choice((draw.choice(ODD), draw.randrange(100), None, np.float32(2))) for _ in range(5)]
    return lambda w: w.add_histogram_raw(tag, *known, limits, counts, step, time)


def image(draw, tag, step, time):
    pixels, axes = draw.picture()
    return lambda w: w.add_image(tag, pixels, step, time, axes)


def images(draw, tag, step, time):
    if draw.random() < 0.3:
        many = [draw.array(3, 4, 5) for _ in range(draw.randrange(1, 4))]
        return lambda w: w.add_images(tag, many, step, time, "CHW")
    pixels, axes = draw.picture()
    pixels = np.array(pixels) if isinstance(pixels, list) else pixels
    return lambda w: w.add_images(tag, pixels, step, time, axes)


def image_with_boxes(draw, tag, step, time):
    pixels, axes = draw.picture()
    boxes = draw.array(draw.randrange(4), draw.choice((4, 4, 4, 5)))
    labels = draw.choice((None, [], ["a"], ["a", "b"], "solo", ["a", "b", "c"]))
    scale = draw.choice((1, 1, 2, 0.5))
    if draw.random() < 0.3:
        return lambda w: w.add_image_with_boxes(tag, pixels, boxes, step, time, scale, axes, labels)
    return lambda w: w.add_image_with_boxes(
        tag, pixels, boxes, step, time, rescale=scale, dataformats=axes, labels=labels
    )


def video(draw, tag, step, time):
    film = draw.array(*draw.shape((1, 2, 3), (1, 3), (1, 3, 4), 4, 5))
    fps = draw.choice((4, 1, 30, 0.5, 1000, 5000, np.float32(3)))
    return lambda w: w.add_video(tag, film, step, fps, time)


def audio(draw, tag, step, time):
    sound = draw.array(*draw.choice(((9,), (1, 9), (9, 1), (1, 1, 9), (9, 2), (0,))))
    rate = draw.choice((44100, 8000, 8000.5, np.int64(16000), 1, 0, -1, True, torch.tensor(8000)))
    return lambda w: w.add_audio(tag, sound, step, rate, time)


def text(draw, tag, step, time):
    words = draw.choice(("a", "", "ü", "**b**", 5, ["a"], None, np.str_("q"), "x" * 100_000))
    return lambda w: w.add_text(tag, words, step, time)


def pr_curve(draw, tag, step, time):
    shape = draw.choice(((0,), (5,), (2, 3)))
    labels, predictions = draw.array(*shape), draw.array(*shape)
    thresholds = draw.choice((127, 1, 2, 50, 500, 0, True))
    weights = draw.choice((None, 1.0, 2, -1.5, draw.array(*shape), draw.array(shape[-1])))
    return lambda w: w.add_pr_curve(tag, labels, predictions, step, thresholds, weights, time)


def pr_curve_raw(draw, tag, step, time):
    rows = [draw.array(3) for _ in range(6)]
    thresholds = draw.choice((127, 3, 1, 0, -1, 500, True))
    return lambda w: w.add_pr_curve_raw(tag, *rows, step, thresholds, None, time)


def mesh(draw, tag, step, time):
    batch, points = draw.randrange(1, 3), draw.randrange(4)
    vertices = draw.array(batch, points, draw.choice((3, 3, 3, 2, 4)))
    colors = draw.choice((None, draw.array(batch, points, 3), draw.array(1, 1, 3), draw.array(batch, points + 1, 3)))
    faces = draw.choice((None, draw.array(batch, 2, 3), draw.array(batch + 1, 2, 3), np.zeros((batch, 1, 3), int)))
    config = draw.choice((None, {}, {"a": 1}, {"a": math.nan}))
    return lambda w: w.add_mesh(tag, vertices, colors, faces, config, step, time)


def embedding(draw, tag, step, time):  # noqa: ARG001 - it has no time
    count = draw.randrange(5)
    points = draw.array(count, draw.randrange(1, 4))
    labels, header = draw.choice(
        (
            (None, None), (["l"] * count, None), (list(range(count)), None), ([["a", "b"]] * count, ["p", "q"]),
            ([["a", "b"]] * max(count - 1, 0) + [["a"]], ["p", "q"]), (["l"] * (count + 1), None),
        )
    )  # fmt: skip
    height, width = draw.choice(((4, 4), (4, 4), (3, 4)))
    pictures = draw.choice((None, torch.randn(count, 3, height, width) * 12, torch.full((count, 1, 4, 4), math.nan)))
    name = tag if isinstance(tag, str) else "default"
    return lambda w: w.add_embedding(points, labels, pictures, step, name, header)


def hparams(draw, tag, step, time):  # noqa: ARG001 - it has no tag and no time
    odd = (1, 0.5, True, "s", None, [1, 2], {"q": 1}, np.float32(2), torch.tensor([1.0, 2.0]), len, math.nan, (1,))
    given_ = {draw.choice("abcd"): draw.choice(odd) for _ in range(draw.randrange(3))}
    metrics = {draw.choice("mno"): draw.number() for _ in range(draw.randrange(3))}
    name = draw.choice((None, "", "session", "a/b"))
    return lambda w: w.add_hparams(
        given_, metrics, **{"run_name" if isinstance(w, TorchWriter) else "name": name}, global_step=step
    )


def custom_scalars(draw, tag, step, time):  # noqa: ARG001 - it has none of them
    layout = draw.choice(
        (
            {}, {"a": {}}, {"a": {"b": ["Multiline", ["x", "y"]]}}, {"a": {"b": ["Margin", ["x", "y", "z"]]}},
            {"a": {"b": ["Other", ["x"]]}}, {"a": {"b": ["Multiline", "xyz"]}}, {"a": {"b": ["Multiline", ("x",), 1]}},
            {"a": {"b": ("Multiline", [])}}, {"a": {"b": ["Margin", ["x"]]}}, [],
        )
    )  # fmt: skip
    return lambda w: w.add_custom_scalars(layout)


def tensor(draw, tag, step, time):
    value = draw.array(*draw.shape((0, 1, 3), (1, 2)))
    return lambda w: w.add_tensor(tag, value, step, time)


METHODS = (
    scalar, scalars, histogram, histogram_raw, image, images, image_with_boxes, video, audio, text, pr_curve,
    pr_curve_raw, mesh, embedding, hparams, custom_scalars, tensor,
)  # fmt: skip


@pytest.fixture
def originals(tmp_path_factory):
    # Deep enough for tags that climb: the originals follow them.
    torchs, tensorboardxs = (tmp_path_factory.mktemp(name) / "a" / "b" / "c" for name in ("torch", "x"))
    theirs = TorchWriter(torchs), tensorboardX.SummaryWriter(str(tensorboardxs))
    yield theirs
    for writer in theirs:
        writer.close()


def takes(writer, call):
    """Whether a writer takes the values, with whatever it prints and warns of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            call(writer)
        except Exception:
            return False
    return True


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.__name__)
def test_what_the_originals_take_is_taken_and_arrives(method, originals, tmp_path_factory):
    folder, lead = tmp_path_factory.mktemp(method.__name__), tmp_path_factory.mktemp("lead")
    ours, taken = steno.SummaryWriter(folder), []

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.integers(0, 2**63))
    def same(seed):
        draw = Draw(seed)
        tag = draw.choice(TAGS)
        # To the originals' `add_scalars` it is a path of the machine.
        call = method(draw, str(lead) if tag == "/lead" else tag, draw.choice(STEPS), draw.choice(TIMES))
        wanted = [takes(writer, call) for writer in originals]
        try:
            call(ours)
            taken.append(seed)
        except steno.UsageError:
            # Nothing else is raised; and only what neither of the others takes.
            assert not any(wanted)

    same()
    assert taken
    assert ours.close(60)
    (status,) = folder.glob(".steno/nodes/*/status.json")
    delivered = json.loads(status.read_text())["destinations"]["tensorboard"]
    assert (delivered["skipped"], delivered["retries"], delivered["error"]) == (0, 0, None)
    said = [line for path in folder.glob(".steno/**/collector.log") for line in path.read_text().splitlines()]
    # An image without pixels, a tensor of a type that TensorBoard has not.
    assert [line for line in said if "tensorboard has no place for" not in line] == []
    assert sum("has no place for" in line for line in said) == len(delivered.get("left_out", {}))
    with steno.open(folder) as book:
        for key in book.keys():
            for item in book.media(key):
                assert item.value is not None
