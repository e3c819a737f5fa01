"""What the constructors of media values take and refuse, and what they capture."""

from __future__ import annotations

import datetime as dt
import re

import numpy as np
import pytest

from steno import Audio, Figure, Histogram, Html, Image, Object3D, Table, Text, UsageError, Video
from steno.media import kinds
from steno.media.raw import Raw


def captured(value):
    """(what readers are told, the raw form read back)"""
    made = value.__steno__()
    data = b"".join(made.parts)
    assert len(data) == made.size_bytes
    return made, Raw.read(memoryview(data)) if data else None


def back(value):
    made, raw = captured(value)
    return kinds.from_raw(made.kind, raw)


RGB = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize(
    ("data", "axes", "expected"),
    [
        (RGB, None, RGB),
        (RGB.transpose(2, 0, 1), None, RGB),
        (RGB[..., 0], None, RGB[..., :1]),
        (RGB[::-1, ::2], None, RGB[::-1, ::2]),
        (RGB.astype(np.int64), None, RGB),
        (RGB.astype(">i4"), None, RGB),
        (np.asfortranarray(RGB), None, RGB),
        (RGB[..., 0] > 7, None, np.where(RGB[..., :1] > 7, 255, 0)),
        (RGB.astype(np.float64) / 255, None, RGB),
        ((RGB / 255).astype(np.float32), None, RGB),
        (np.zeros((3, 5, 3), np.uint8), "CHW", np.zeros((5, 3, 3))),
        (np.dstack([RGB, RGB[..., :1]]), None, np.dstack([RGB, RGB[..., :1]])),
        (RGB.tolist(), None, RGB),
        (RGB.transpose(1, 2, 0), "WCH", RGB),
    ],
)
def test_an_image_is_its_pixels_whatever_the_layout(data, axes, expected):
    assert np.array_equal(back(Image(data, axes=axes)), expected)


def test_a_batch_of_images_is_a_grid():
    images = np.stack([np.full((2, 3, 1), value, np.uint8) for value in (10, 20, 30)])
    picture = back(Image(images, axes="NHWC"))[..., 0]
    assert picture.tolist() == [[10] * 3 + [20] * 3] * 2 + [[30] * 3 + [0] * 3] * 2


def test_a_torch_tensor_has_its_channels_first():
    torch = pytest.importorskip("torch")
    data = torch.arange(27, dtype=torch.uint8).reshape(3, 3, 3)
    assert np.array_equal(back(Image(data)), data.numpy().transpose(1, 2, 0))
    assert np.array_equal(back(Image(data.numpy())), data.numpy())
    some = torch.rand(3, 4, 5, dtype=torch.bfloat16, requires_grad=True)
    assert back(Image(some)).shape == (4, 5, 3)


def test_an_image_of_pil_and_of_a_figure():
    from matplotlib.figure import Figure as Plot
    from PIL import Image as Pil

    assert np.array_equal(back(Image(Pil.fromarray(RGB))), RGB)
    clear = Pil.fromarray(RGB).convert("P")
    assert back(Image(clear)).shape == (4, 5, 3)
    plot = Plot(figsize=(2, 1), dpi=50)
    plot.subplots().plot([1, 2])
    assert back(Image(plot)).shape == (50, 100, 4)
    assert np.array_equal(back(Figure(plot)), back(Image(plot)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.zeros((0, 3)), "empty"),
        (np.zeros(5), "shape"),
        (np.zeros((6, 5, 2), np.uint8), "1, 3 or 4"),
        (np.zeros((2, 4, 5, 3), np.uint8), "list of images"),
        (np.array([["a", "b"]]), "no numbers"),
        ([[1, 2], [3]], "array"),
        (None, "numbers"),
        ("/nowhere/x.png", "cannot be read"),
        ("/nowhere/x.txt", "not a type of file"),
    ],
)
def test_an_image_that_is_none_is_refused(data, words):
    with pytest.raises(UsageError, match=words):
        Image(data)


@pytest.mark.parametrize("axes", ["HH", "HWX", "NCHW", 3, ""])
def test_axes_that_do_not_fit_are_refused(axes):
    with pytest.raises(UsageError, match="axes"):
        Image(RGB, axes=axes)


def test_boxes_and_masks():
    mask = np.zeros((4, 5), np.int64)
    mask[1, 2] = 3
    made, _ = captured(
        Image(
            RGB,
            "two",
            boxes=[{"box": (0, 1, 2, 3), "label": "cat", "score": 0.5}, (1, 1, 2, 2)],
            masks={"truth": {"data": mask, "classes": {3: "dog"}}},
        )
    )
    assert made.meta["caption"] == "two"
    assert made.meta["boxes"] == [
        {"box": [0.0, 1.0, 2.0, 3.0], "label": "cat", "score": 0.5},
        {"box": [1.0, 1.0, 2.0, 2.0]},
    ]
    truth = made.attached["truth"]
    assert truth.meta["classes"] == {"3": "dog"}
    assert np.array_equal(kinds.from_raw("mask", Raw.read(memoryview(b"".join(truth.parts))))[..., 0], mask)


@pytest.mark.parametrize("boxes", [[(1, 2, 3)], np.zeros((2, 3)), [{"x": 1}], [("a", 1, 2, 2)]])
def test_bad_boxes_are_refused(boxes):
    with pytest.raises(UsageError, match="box"):
        Image(RGB, boxes=boxes)


@pytest.mark.parametrize(
    "mask", [np.zeros((4, 4), int), np.full((4, 5), -1), np.zeros((4, 5, 1), int), np.zeros((4, 5))]
)
def test_bad_masks_are_refused(mask):
    with pytest.raises(UsageError, match="mask"):
        Image(RGB, masks={"m": mask})


def test_a_caption_must_be_text():
    with pytest.raises(UsageError, match="caption"):
        Image(RGB, caption=5)
    assert Image(RGB, caption="\ud800").__steno__().meta["caption"] == "\\ud800"


def test_a_file_is_kept_as_it_is(tmp_path):
    from PIL import Image as Pil

    path = tmp_path / "picture.PNG"
    Pil.fromarray(RGB).save(path)
    made, raw = captured(Image(str(path), "mine"))
    assert bytes(raw.body) == path.read_bytes()
    assert made.meta == {"ext": "png", "caption": "mine"}
    assert np.array_equal(back(Image(path)), RGB)
    path.write_bytes(b"not a png at all")
    with pytest.raises(UsageError, match="is not a png"):
        Image(path)


@pytest.mark.parametrize(
    ("data", "frames", "channels"),
    [
        (np.sin(np.arange(1000) / 9), 1000, 1),
        (np.zeros((1000, 2), np.float32), 1000, 2),
        (np.zeros((2, 1000), np.float32), 1000, 2),
        (np.arange(100, dtype=np.int16), 100, 1),
    ],
)
def test_audio_is_its_frames(data, frames, channels):
    made, _ = captured(Audio(data, 8000))
    assert (made.meta["frames"], made.meta["channels"], made.meta["rate"]) == (frames, channels, 8000)
    sound = back(Audio(data, 8000))
    assert sound.shape == (frames, channels)
    if data.ndim == 1:
        expected = data / 32767 if data.dtype == np.int16 else data
        assert np.abs(sound[:, 0] - expected).max() < 1 / 32767


@pytest.mark.parametrize(
    ("data", "rate", "words"),
    [
        (np.zeros(0), 8000, "empty"),
        (np.zeros((40, 50)), 8000, "shape"),
        (np.zeros(5), 0, "sample_rate"),
        (np.zeros(5), 0.4, "sample_rate"),
        ("/nowhere.wav", 8000, "cannot be read"),
    ],
)
def test_bad_audio_is_refused(data, rate, words):
    with pytest.raises(UsageError, match=words):
        Audio(data, rate)


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [
        ((7, 4, 5), None, (7, 4, 5, 1)),
        ((7, 3, 4, 5), None, (7, 4, 5, 3)),
        ((7, 4, 5, 3), None, (7, 4, 5, 3)),
        ((2, 7, 3, 4, 5), None, (7, 4, 10, 3)),
        ((7, 3, 4, 3), "TCHW", (7, 4, 3, 3)),
    ],
)
def test_a_video_is_its_frames(shape, axes, expected):
    data = np.random.default_rng(1).integers(0, 255, shape, np.uint8)
    video = Video(data, 10, axes=axes)
    assert tuple(captured(video)[0].meta["shape"]) == expected
    assert back(video).shape == expected
    if shape == (7, 3, 4, 5):
        assert np.array_equal(back(video), data.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"data": np.zeros((4, 5))}, "shape"),
        ({"data": np.zeros((7, 2, 4, 5))}, "shape"),
        ({"data": np.zeros((0, 3, 4, 5))}, "empty"),
        ({"data": np.zeros((2, 4, 5)), "fps": 0}, "fps"),
        ({"data": np.zeros((2, 4, 5)), "fps": "x"}, "fps"),
        ({"data": np.zeros((2, 4, 5)), "format": "avi"}, "format"),
        ({"data": np.zeros((2, 4, 5)), "axes": "HWT2"}, "axes"),
    ],
)
def test_bad_videos_are_refused(kwargs, words):
    with pytest.raises(UsageError, match=words):
        Video(**kwargs)


def test_a_histogram_counts_what_numpy_counts():
    data = np.random.default_rng(3).normal(size=(50, 40)).astype(np.float32)
    found = back(Histogram(data, bins=30))
    counts, edges = np.histogram(data.astype(np.float64), 30)
    assert found["counts"] == counts.tolist()
    assert np.allclose(found["edges"], edges)
    assert (found["min"], found["max"]) == (data.min(), data.max())
    assert found["sum"] == pytest.approx(data.sum(dtype=np.float64))


@pytest.mark.parametrize("bins", [1, 64, "auto", "fd", "tensorflow", [0.0, 0.5, 1.0]])
def test_every_rule_of_bins_counts_everything_in_range(bins):
    data = np.random.default_rng(4).random(10_000)
    found = back(Histogram(data, bins=bins))
    assert sum(found["counts"]) == 10_000
    assert len(found["edges"]) == len(found["counts"]) + 1


def test_histograms_of_odd_data():
    found = back(Histogram([1.0, float("nan"), float("inf"), 3.0]))
    assert (sum(found["counts"]), found["outside"]) == (2, 2)
    assert sum(back(Histogram([5, 5, 5]))["counts"]) == 3
    nothing = back(Histogram([float("nan")]))
    assert (sum(nothing["counts"]), nothing["outside"]) == (0, 1)
    wide = back(Histogram([-1.7e308, 1.7e308]))
    assert sum(wide["counts"]) == 2


def test_a_histogram_of_bins_needs_no_file():
    made, raw = captured(Histogram(counts=[1, 0, 3], edges=[0, 1, 2, 3], statistics={"sum": 8.5}))
    assert raw is None
    assert made.meta["counts"] == [1, 0, 3]
    assert (made.meta["min"], made.meta["max"], made.meta["sum"]) == (0.0, 3.0, 8.5)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, "either"),
        ({"data": [1], "counts": [1], "edges": [0, 1]}, "either"),
        ({"counts": [1]}, "either"),
        ({"data": []}, "empty"),
        ({"data": [1], "bins": 0}, "bins"),
        ({"data": [1], "bins": "many"}, "rule"),
        ({"data": [1], "bins": [1]}, "edges"),
        ({"counts": [1], "edges": [0, 1, 2]}, "edges"),
        ({"counts": [1, 1], "edges": [0, 2, 1]}, "rising"),
        ({"counts": [1], "edges": [0, 1], "statistics": {"mode": 1}}, "statistics"),
    ],
)
def test_bad_histograms_are_refused(kwargs, words):
    with pytest.raises(UsageError, match=words):
        Histogram(**kwargs)


def test_texts():
    made, raw = captured(Text("# ünïcode"))
    assert raw is None
    assert made.meta == {"text": "# ünïcode"}
    assert back(Text("x" * 100_000)) == "x" * 100_000
    assert back(Html("<b>é</b>")) == "<b>é</b>"
    assert back(Html("caf\udce9")) == "caf\\udce9"
    assert captured(Text("caf\udce9"))[0].meta == {"text": "caf\\udce9"}
    for bad in (5, None):
        with pytest.raises(UsageError):
            Text(bad)
    with pytest.raises(UsageError, match="empty"):
        Html("")


def test_html_of_a_file(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<p>")
    assert back(Html(page)) == "<p>"
    with pytest.raises(UsageError, match="cannot be read"):
        Html(tmp_path / "none.html")


def tables():
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    columns = {"a": [1, 2], "b": ["x", None]}
    yield pd.DataFrame(columns)
    yield pl.DataFrame(columns)
    yield pa.table(columns)
    yield columns
    yield [{"a": 1, "b": "x"}, {"a": 2}]


@pytest.mark.parametrize("data", list(tables()), ids=lambda data: type(data).__module__)
def test_a_table_of_anything(data):
    made, _ = captured(Table(data))
    assert (made.meta["rows"], made.meta["columns"]) == (2, ["a", "b"])
    assert back(Table(data)).to_pydict() == {"a": [1, 2], "b": ["x", None]}


def test_tables_of_rows_and_mixed_columns():
    found = back(Table([(1, "x"), (2.5, "y")], columns=["n", "s"])).to_pydict()
    assert found == {"n": [1.0, 2.5], "s": ["x", "y"]}
    mixed = back(Table({"m": [1, "two", None, dt.date(2020, 1, 1)]})).to_pydict()
    assert mixed == {"m": ["1", "two", None, "2020-01-01"]}
    assert back(Table([], columns=["n"])).to_pydict() == {"n": []}
    for bad in (5, [], [1, 2], {"a": [1], "b": [1, 2]}, {}):
        with pytest.raises(UsageError, match="Table"):
            Table(bad)
    with pytest.raises(UsageError, match="row 1"):
        Table([(1, 2), (1,)], columns=["a", "b"])


def test_a_mesh():
    vertices, faces = np.random.default_rng(5).random((5, 3)), [[0, 1, 4]]
    made, _ = captured(Object3D(vertices, np.full((5, 3), 9), faces, config={"camera": {"fov": 75}}))
    assert made.meta["shape"] == [1, 5, 3]
    found = back(Object3D(vertices, np.full((5, 3), 9), faces))
    assert np.array_equal(found["vertices"][0], vertices.astype(np.float32))
    assert found["colors"].dtype == np.uint8
    assert found["faces"].tolist() == [faces]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (([[1, 2]],), r"\(n, 3\)"),
        (([[[[1, 2, 3]]]],), r"\(n, 3\)"),
        ((["a", "b", "c"],), "no numbers"),
    ],
)
def test_bad_meshes_are_refused(args, words):
    with pytest.raises(UsageError, match=words):
        Object3D(*args)


def test_a_figure_must_be_one():
    with pytest.raises(UsageError, match="matplotlib or plotly"):
        Figure(5)


def test_a_large_strided_array_is_taken_a_little_at_a_time():
    data = np.zeros((3, 3000, 3000), np.uint8).transpose(1, 2, 0)
    data[1234, 567] = (1, 2, 3)
    made = Image(data).__steno__()
    sizes = [len(part) for part in made.parts]
    assert sum(sizes) == made.size_bytes
    assert max(sizes) <= 4 << 20
    assert back(Image(data))[1234, 567].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "words", "shown"),
    [
        (Image(np.array([[-0.5, 0.0, 0.5, 1.0, 2.5]])), r"\[0, 1\]; scale", [[0, 0, 128, 255, 255]]),
        (Image(np.array([[0.0, 200.0]])), "convert to uint8", [[0, 255]]),
        (Image(np.array([[np.nan, 0.5, np.inf, -np.inf]])), "NaN were drawn black", [[0, 128, 255, 0]]),
        (Image(np.array([[-1, 7, 256, 70_000]])), r"0\.\.255", [[0, 7, 255, 255]]),
        (Image(np.array([[0.5 + 2j, 1]])), "real part", [[128, 255]]),
        (Image(np.array([[1e300, -1e300]])), "clipped", [[255, 0]]),
        (Video(np.array([[[300.0, -1.0]]])), "clipped", [[[255, 0]]]),
        (Video(np.array([[[np.nan, 0.5]]])), "NaN were drawn black", [[[0, 128]]]),
        (Audio(np.array([1.5, -3.0, 0.0])), r"\[-1, 1\]", [1, -1, 0]),
        (Audio(np.array([np.nan, np.inf, -np.inf])), "silence", [0, 1, -1]),
        (Audio(np.array([2**40, 0, -(2**40)])), "32 bits", [1, 0, -1]),
        (Object3D([[1, 2, 3]], [[1, 2, 256]]), "clipped to 0..255", [[[1, 2, 255]]]),
        (Object3D([[1, 2, 3]], [[0.6, -2.0, np.nan]]), "rounded", [[[1, 0, 0]]]),
        (Object3D([[1, 2, 3]], None, [[0, 0, 1], [0, 0, 0]]), "not there", [[[0, 0, 0]]]),
        (Histogram(counts=[-1, 2, np.nan], edges=[0, 1, 2, 3]), "taken as 0", [0, 2, 0]),
        (Histogram(counts=[1, 2], edges=[-np.inf, 0, np.inf]), "not finite", [1, 2]),
    ],
)
def test_what_is_out_of_range_is_kept_and_remarked(value, words, shown):
    assert re.search(words, value.remark)
    assert value.__steno__().remark == value.remark
    found = back(value) if not isinstance(value, Histogram) else value.__steno__().meta["counts"]
    if isinstance(found, dict):
        found = found.get("colors", found.get("faces"))
    if isinstance(value, Audio | Image | Video):
        found = found[..., 0]
    assert np.abs(np.asarray(found, float) - np.asarray(shown, float)).max() < 1e-4


@pytest.mark.parametrize(
    "value",
    [
        Image(np.array([[-1e-4, 0.5, 1 + 1e-4]])), Image(np.array([[0, 255]])), Image(RGB), Audio(np.array([1.0005, -1])),
        Audio(np.array([3, -7], np.int16)), Video(np.zeros((2, 4, 5))), Object3D([[1, 2, 3]], [[1.0, 2.0, 255.0]]),
        Histogram([1.0, np.nan]), Histogram(counts=[1], edges=[0, 1]),
    ],
)  # fmt: skip
def test_what_is_as_it_should_be_has_no_remark(value):
    assert value.remark == value.__steno__().remark == ""


def test_boxes_are_turned_round_or_left_out():
    made = Image(RGB, boxes=[(3, 1, 2, 2), (0, 0, 1, float("nan")), (0, 0, 1, 1)])
    assert [box["box"] for box in made.__steno__().meta["boxes"]] == [[2, 1, 3, 2], [0, 0, 1, 1]]
    assert "1 boxes that ended before they began" in made.remark
    assert "1 boxes with a corner that is not finite" in made.remark


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, ">u2", np.int16, np.int64])
def test_pixels_of_any_integer_type_stand_as_given(dtype):
    assert np.array_equal(back(Image(RGB.astype(dtype))), RGB)
    film = np.stack([RGB, RGB])
    assert np.array_equal(back(Video(film.astype(dtype))), film)


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (np.array([0, 128, 255], np.uint8), [-1, 0, 127 / 128]),
        (np.array([0, 2**30, -(2**31)], np.int32), [0, 0.5, -1]),
        (np.array([0, 16384, -16384], np.int64), [0, 0.5, -0.5]),
        (np.array([True, False]), [1, 0]),
    ],
)
def test_samples_of_any_integer_type_are_those_of_wav(samples, heard):
    sound = Audio(samples, 8000)
    assert sound.remark == ""
    assert np.abs(back(sound)[:, 0] - heard).max() < 1e-3


def test_two_channels_are_gray_and_alpha_where_the_axes_say_so():
    pixels = RGB[:, :, :2]
    assert np.array_equal(back(Image(pixels, axes="HWC")), pixels)
    assert back(Video(np.stack([pixels]), axes="THWC")).shape == (1, *pixels.shape)


class _Unreadable:
    def __array__(self, dtype=None, copy=None):
        raise OSError("gone")


@pytest.mark.parametrize("kind", [Image, Histogram, Object3D, lambda data: Audio(data, sample_rate=8000), Video])
def test_an_array_that_cannot_be_read_is_one_error_whatever_refuses_it(kind):
    for data in (_Unreadable(), [10**400, 1], np.array([None, 10**400])):
        with pytest.raises(UsageError):
            kind(data)


@pytest.mark.parametrize("fps", [10**400, -1, float("nan"), "8", None, object()])
def test_no_number_of_frames_per_second_is_one_error(fps):
    with pytest.raises(UsageError, match="frames per second"):
        Video(np.zeros((2, 8, 8, 3), np.uint8), fps=fps)


@pytest.mark.parametrize("edges", [[10**400, 2 * 10**400], [1, 10**400]])
def test_edges_beyond_any_float_are_one_error(edges):
    with pytest.raises(UsageError):
        Histogram(np.arange(3.0), bins=edges)
    with pytest.raises(UsageError):
        Histogram(counts=[10**400], edges=[0, 1])


@pytest.mark.filterwarnings("ignore")
def test_a_tensor_of_any_type_is_read_and_one_without_an_array_is_refused_with_the_remedy():
    torch = pytest.importorskip("torch")
    ones = torch.ones(4, 4)
    for data in (
        *(ones.to(getattr(torch, name)) for name in dir(torch) if name.startswith("float8_e4m3") or name == "bfloat16"),
        torch.quantize_per_tensor(ones, 0.5, 0, torch.quint8),
        ones.to(torch.complex64).conj(),
        ones.to(torch.complex32),
        (ones * -1j).conj().imag,  # a view that negates
    ):
        assert Histogram(data).__steno__()
        assert back(Image(data)).min() == 255
    for data, remedy in (
        (ones.to_sparse(), "to_dense"),
        (ones.to_sparse_csr(), "to_dense"),
        (ones.to("meta"), "on a device"),
        (torch.nested.nested_tensor([ones[0], ones[0, :2]]), "unbind"),
    ):
        for kind in (Image, Histogram, Object3D, Video):
            with pytest.raises(UsageError, match=remedy):
                kind(data)
        with pytest.raises(UsageError):
            Table(data)
