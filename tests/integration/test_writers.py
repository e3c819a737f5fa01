"""SummaryWriter with the real collector, read back by TensorBoard's own reader, its protos, and steno.open."""

from __future__ import annotations

import json
import math
import multiprocessing
import pickle
import struct
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
from steno.writers import everywhere

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.compat.proto import event_pb2, graph_pb2
    from tensorboard.plugins.custom_scalar import layout_pb2
    from tensorboard.plugins.hparams import plugin_data_pb2 as hparams_pb2
    from tensorboard.plugins.mesh import plugin_data_pb2 as mesh_pb2
    from tensorboard.plugins.pr_curve import plugin_data_pb2 as curve_pb2
    from tensorboard.util import tensor_util

RNG = np.random.default_rng(5)


def events(folder):
    """All events of one directory, as the real reader returns them."""
    return [
        event
        for path in sorted(Path(folder).glob("events.out.tfevents.*"))
        for event in EventFileLoader(str(path)).Load()
    ]


def values(folder, tag):
    """(step, value) of a tag in one directory."""
    return [(event.step, value) for event in events(folder) for value in event.summary.value if value.tag == tag]


def numbers(folder, tag):
    return [(step, float(tensor_util.make_ndarray(value.tensor))) for step, value in values(folder, tag)]


def raw_values(folder, tag):
    """Values as the bytes in the file say, without TensorBoard's conversions."""
    found = []
    for path in sorted(Path(folder).glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = event_pb2.Event.FromString(data[at + 12 : at + 12 + length])
            found += [(event.step, value) for value in event.summary.value if value.tag == tag]
            at += length + 16
    return found


def plugins(logdir):
    found = EventMultiplexer().AddRunsFromDirectory(str(logdir))
    found.Reload()
    return {
        (run, tag): metadata.plugin_data.plugin_name
        for run in found.Runs()
        for tag, metadata in found.GetAccumulator(run).summary_metadata.items()
    }


@pytest.fixture(autouse=True)
def lingering(monkeypatch):
    monkeypatch.setenv("STENO_LINGER", "5")
    monkeypatch.setenv("STENO_WRITER", "")
    monkeypatch.setattr(everywhere, "_writer", None)


def test_every_kind_is_shown_by_its_own_plugin(tmp_path):
    pixels = RNG.integers(0, 255, (3, 20, 30), np.uint8)
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("scalar", 0.5, 1)
        writer.add_scalars("many", {"sin": 0.1, "cos": np.float32(0.25)}, 2)
        writer.add_histogram("histogram", RNG.normal(size=500), 3)
        writer.add_histogram_raw("raw", 0, 2, 3, 3, 5, [1, 2], [1, 2], 3)
        writer.add_image("image", pixels, 4)
        writer.add_images("images", np.stack([pixels] * 3), 4)
        writer.add_image_with_boxes("boxes", pixels, [[1, 2, 10, 12]], 4, labels=["cat"])
        writer.add_video("video", RNG.random((1, 4, 3, 16, 16)), 5)
        writer.add_audio("audio", np.sin(np.arange(400) / 9), 6, sample_rate=8000)
        writer.add_text("text", "**words**", 7)
        writer.add_pr_curve("curve", RNG.integers(0, 2, 100), RNG.random(100), 8)
        writer.add_mesh("mesh", RNG.random((1, 5, 3)), faces=[[[0, 1, 2]]], global_step=9)
        writer.add_hparams({"lr": 0.1, "kind": "adam", "nesterov": True}, {"hparam/acc": 0.9}, name="session")
        writer.add_custom_scalars({"group": {"chart": ["Multiline", ["scalar", "other"]]}})
        writer.add_embedding(RNG.random((4, 3)), list("abcd"), RNG.random((4, 3, 8, 8)), 10)
    shown = plugins(tmp_path / "log")
    assert {(run, tag): name for (run, tag), name in shown.items() if run == "."} == {
        (".", "scalar"): "scalars", (".", "histogram"): "histograms", (".", "raw"): "histograms",
        (".", "image"): "images", (".", "images"): "images", (".", "boxes"): "images", (".", "video"): "images",
        (".", "audio"): "audio", (".", "text/text_summary"): "text", (".", "curve"): "pr_curves",
        (".", "mesh_VERTEX"): "mesh", (".", "mesh_FACE"): "mesh", (".", "custom_scalars__config__"): "custom_scalars",
    }  # fmt: skip
    assert shown["many/sin", "many"] == shown["many/cos", "many"] == "scalars"
    assert {tag: name for (run, tag), name in shown.items() if run == "session"} == {
        "_hparams_/experiment": "hparams", "_hparams_/session_start_info": "hparams",
        "_hparams_/session_end_info": "hparams", "hparam/acc": "scalars",
    }  # fmt: skip
    assert (tmp_path / "log/00010/default/tensors.tsv").read_text().count("\n") == 4
    assert (tmp_path / "log/00010/default/metadata.tsv").read_text() == "a\nb\nc\nd\n"
    book = steno.open(tmp_path / "log")
    assert book.series("scalar").value.tolist() == [0.5]
    assert sorted(book.series(key).value[0] for key in ("many/sin:many", "many/cos:many")) == [0.1, 0.25]
    assert np.array_equal(book.media("image")[0].value, pixels.transpose(1, 2, 0))
    assert book.media("text")[0].value == "**words**"
    assert set(book.media("curve")[0].value) >= {"precision", "recall"}
    assert book.media("default")[0].value["points"].shape == (4, 3)


def test_projector_reads_the_config(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_embedding(
            np.eye(3), [["a", "1"], ["b", "2"], ["c\t", "3"]], tag="x/y", metadata_header=["name", "n"]
        )
        writer.add_embedding(np.eye(3), label_img=np.ones((3, 1, 4, 4)), global_step=2)
    config = text_format.Parse((tmp_path / "log/projector_config.pbtxt").read_text(), ProjectorConfig())
    assert [one.tensor_name for one in config.embeddings] == ["x/y:00000", "default:00002"]
    for one in config.embeddings:
        rows = (tmp_path / "log" / one.tensor_path).read_text().splitlines()
        assert [float(cell) for cell in rows[0].split("\t")] == [1.0, 0.0, 0.0]
    assert (tmp_path / "log" / config.embeddings[0].metadata_path).read_text() == "name\tn\na\t1\nb\t2\nc \t3\n"
    assert list(config.embeddings[1].sprite.single_image_dim) == [4, 4]
    from PIL import Image

    with Image.open(tmp_path / "log" / config.embeddings[1].sprite.image_path) as sprite:
        assert sprite.size == (8, 8)


def test_the_protos_say_what_was_given(tmp_path):
    labels, predictions = RNG.integers(0, 2, 300), RNG.random(300)
    weights = RNG.random(300)
    layout = {"a": {"x": ["Multiline", ["p", "q"]], "y": ["Margin", ["v", "lo", "hi"]]}, "b": {"z": ["Multiline", []]}}
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_pr_curve("curve", labels, predictions, 3, num_thresholds=50, weights=weights)
        writer.add_pr_curve_raw("given", [3, 2], [1, 0], [0, 1], [0, 1], [0.75, 1.0], [1.0, 2 / 3], 4, num_thresholds=2)
        writer.add_custom_scalars(layout)
        writer.add_hparams({"lr": 0.1, "n": 3, "f": max, "on": False, "none": None}, {"acc": 1.5}, "s", 7)
        writer.add_mesh("m", np.arange(6.0).reshape(1, 2, 3), colors=np.full((1, 2, 3), 9), config_dict={"cls": 1})
        writer.add_scalar("d", 2.5, 1, display_name="Title", summary_description="words")
    ((step, value),) = values(tmp_path / "log", "curve")
    from tensorboardX.summary import compute_curve

    assert step == 3
    assert np.allclose(
        tensor_util.make_ndarray(value.tensor), compute_curve(labels, predictions, 50, weights), rtol=1e-6
    )
    about = curve_pb2.PrCurvePluginData.FromString(value.metadata.plugin_data.content)
    assert (about.version, about.num_thresholds) == (0, 50)
    ((_, value),) = values(tmp_path / "log", "given")
    assert tensor_util.make_ndarray(value.tensor).tolist()[:5] == [[3, 2], [1, 0], [0, 1], [0, 1], [0.75, 1]]
    ((_, value),) = values(tmp_path / "log", "custom_scalars__config__")
    found = layout_pb2.Layout.FromString(value.tensor.string_val[0])
    assert [(one.title, [chart.title for chart in one.chart]) for one in found.category] == [
        ("a", ["x", "y"]),
        ("b", ["z"]),
    ]
    assert list(found.category[0].chart[0].multiline.tag) == ["p", "q"]
    series = found.category[0].chart[1].margin.series[0]
    assert (series.value, series.lower, series.upper) == ("v", "lo", "hi")
    session = {
        value.tag: hparams_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events(tmp_path / "log/s")
        for value in event.summary.value
        if value.tag.startswith("_hparams_")
    }
    given = session["_hparams_/session_start_info"].session_start_info.hparams
    assert {name: getattr(one, one.WhichOneof("kind")) for name, one in given.items()} == {
        "lr": 0.1, "n": 3.0, "f": "max", "on": False,
    }  # fmt: skip
    experiment = session["_hparams_/experiment"].experiment
    assert [(one.name, one.type) for one in experiment.hparam_infos] == [("lr", 3), ("n", 3), ("f", 1), ("on", 2)]
    assert [one.name.tag for one in experiment.metric_infos] == ["acc"]
    assert session["_hparams_/session_end_info"].session_end_info.status == 1
    assert numbers(tmp_path / "log/s", "acc") == [(7, 1.5)]
    ((_, value),) = values(tmp_path / "log", "m_VERTEX")
    assert tensor_util.make_ndarray(value.tensor).tolist() == [[[0, 1, 2], [3, 4, 5]]]
    about = mesh_pb2.MeshPluginData.FromString(value.metadata.plugin_data.content)
    assert (about.name, json.loads(about.json_config), list(about.shape)) == ("m", {"cls": 1}, [1, 2, 3])
    ((_, value),) = raw_values(tmp_path / "log", "d")
    assert (value.metadata.display_name, value.metadata.summary_description, value.simple_value) == (
        "Title",
        "words",
        2.5,
    )


def test_histograms_are_those_of_tensorboardx(tmp_path):
    from tensorboardX.summary import make_histogram
    from tensorboardX.writer import SummaryWriter as Theirs

    data = RNG.normal(size=1000)
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_histogram("default", data, 1)
        writer.add_histogram("edges", data, 1, bins=[-1, 0, 1])
    theirs = Theirs(str(tmp_path / "theirs"), write_to_disk=False)
    for tag, bins in (("default", theirs.default_bins), ("edges", [-1, 0, 1])):
        ((_, value),) = raw_values(tmp_path / "log", tag)
        wanted = make_histogram(data, bins)
        ours = {
            limit: count for limit, count in zip(value.histo.bucket_limit, value.histo.bucket, strict=True) if count
        }
        other = {limit: count for limit, count in zip(wanted.bucket_limit, wanted.bucket, strict=True) if count}
        assert sorted(ours.values()) == sorted(other.values())
        assert np.allclose(sorted(ours), sorted(other), rtol=1e-9)
        assert math.isclose(value.histo.sum, wanted.sum)
        assert math.isclose(value.histo.sum_squares, wanted.sum_squares)
        assert (value.histo.min, value.histo.max) == (wanted.min, wanted.max)


TAGS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    points=st.lists(
        st.tuples(TAGS, st.floats(width=32) | st.integers(-(2**24), 2**24) | st.booleans(), st.integers(-(2**62), 2**62)),
        min_size=1, max_size=150,
    ),
    arrays=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4])), max_size=4),
)  # fmt: skip
@pytest.mark.usefixtures("road")
def test_tags_values_and_arrays_come_back_as_given(tmp_path_factory, points, arrays):
    folder = tmp_path_factory.mktemp("log")
    pictures = [RNG.integers(0, 256, (height, width, channels), np.uint8) for height, width, channels in arrays]
    with steno.SummaryWriter(folder) as writer:
        for tag, value, step in points:
            writer.add_scalar(tag, value, step)
        for step, picture in enumerate(pictures):
            writer.add_image("\U0001f5bc", picture, step, dataformats="HWC")
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "scalars":
                found.setdefault(value.tag, []).append((event.step, float(tensor_util.make_ndarray(value.tensor))))
    wanted = {}
    for tag, value, step in points:
        wanted.setdefault(tag, []).append((step, float(value)))
    assert {tag: repr(rows) for tag, rows in found.items()} == {tag: repr(rows) for tag, rows in wanted.items()}
    import io

    from PIL import Image

    for step, value in values(folder, "\U0001f5bc"):
        width, height, data = value.tensor.string_val[:3]
        with Image.open(io.BytesIO(data)) as image:
            pixels = np.asarray(image)
        assert (int(height), int(width)) == pixels.shape[:2]
        assert np.array_equal(pixels.reshape(pictures[step].shape), pictures[step])
    assert {tag: len(steno.open(folder).series(tag).value) for tag in wanted} == {
        tag: len(rows) for tag, rows in wanted.items()
    }


@pytest.mark.parametrize(
    "misuse",
    [
        lambda w: w.add_scalar("x", "text", 1),
        lambda w: w.add_scalar("x", None, 1),
        lambda w: w.add_scalar("x", np.zeros(3), 1),
        lambda w: w.add_scalar("x", 1j, 1),
        lambda w: w.add_scalar(5, 1.0, 1),
        lambda w: w.add_scalar("x", 1.0, "soon"),
        lambda w: w.add_scalar("x", 1.0, math.nan),
        lambda w: w.add_scalar("x", 1.0, 2**64),
        lambda w: w.add_scalar("x", 1.0, 1, walltime="now"),
        lambda w: w.add_scalars("x", {"a": 1.0, "b": "no"}, 1),
        lambda w: w.add_histogram("x", [], 1),
        lambda w: w.add_histogram("x", ["a"], 1),
        lambda w: w.add_histogram("x", [1.0], 1, bins="nonsense"),
        lambda w: w.add_histogram("x", [1.0], 1, max_bins=0),
        lambda w: w.add_histogram_raw("x", 0, 1, 1, 1, 1, [1, 2], [1], 1),
        lambda w: w.add_image("x", np.zeros((3, 4)), 1),
        lambda w: w.add_image("x", np.zeros((5, 4, 4)), 1),
        lambda w: w.add_image("x", np.zeros((3, 0, 4)), 1),
        lambda w: w.add_images("x", [np.zeros((3, 4, 4)), np.zeros((3, 4, 5))], 1, dataformats="CHW"),
        lambda w: w.add_image_with_boxes("x", np.zeros((3, 4, 4)), [[1, 2, 3]], 1),
        lambda w: w.add_figure("x", "no figure", 1),
        lambda w: w.add_video("x", np.zeros((4, 3, 8, 8)), 1),
        lambda w: w.add_audio("x", np.full((50, 60), 2.0), 1),
        lambda w: w.add_text("x", 5, 1),
        lambda w: w.add_pr_curve("x", [0, 1], [0.5], 1),
        lambda w: w.add_pr_curve_raw("x", [1], [1], [1], [1], [1], [1, 2], 1),
        lambda w: w.add_mesh("x", np.zeros((2, 2))),
        lambda w: w.add_hparams([], {}),
        lambda w: w.add_hparams({"a": 1}, {"b": None}),
        lambda w: w.add_custom_scalars({"a": {"b": ["Margin", ["one"]]}}),
        lambda w: w.add_embedding(np.zeros(3)),
        lambda w: w.add_embedding(np.zeros((3, 2)), ["one"]),
        lambda w: w.add_embedding(np.zeros((3, 2)), label_img=np.zeros((2, 3, 4, 4))),
        lambda w: w.add_tensor("x", ["words"]),
        lambda w: w.add_graph(object(), None),
        lambda w: w.add_onnx_graph("nothing.onnx"),
        lambda w: w.add_openvino_graph("nothing.xml"),
    ],
)
def test_misuse_is_said_at_the_call_and_records_nothing(misuse, misused):
    before = misused.run.health()["reports"]
    with pytest.raises(steno.UsageError) as caught:
        misuse(misused)
    assert len(str(caught.value)) > 10
    assert misused.run.health()["reports"] == before
    assert misused.flush()
    assert steno.open(misused.logdir).keys() == []


@pytest.fixture
def misused(tmp_path):
    with steno.SummaryWriter(tmp_path / "misuse") as writer:
        yield writer


# What torch and tensorboardX take although it is out of range; said once per tag, counted, an error for a strict writer.
ADJUSTED = {
    "image": lambda w: w.add_image("image", np.linspace(-1, 1, 48).reshape(3, 4, 4)),
    "images": lambda w: w.add_images("images", RNG.normal(size=(4, 3, 4, 4))),
    "diverged": lambda w: w.add_image("diverged", np.full((3, 4, 4), np.nan)),
    "boxes": lambda w: w.add_image_with_boxes("boxes", np.zeros((3, 9, 9)), [[5, 5, 1, 1]], labels=["a", "b"]),
    "film": lambda w: w.add_video("film", np.full((1, 2, 3, 4, 4), 1.5)),
    "sound": lambda w: w.add_audio("sound", np.array([0.0, 1.5])),
    "curve": lambda w: w.add_pr_curve("curve", [0, 1], [-2.0, 3.0]),
    "cloud": lambda w: w.add_mesh("cloud", np.zeros((1, 2, 3)), colors=np.full((1, 2, 3), 0.5)),
    "points": lambda w: w.add_embedding(np.eye(3), label_img=RNG.random((3, 1, 4, 4)) * 12.4, tag="points"),
    "raw": lambda w: w.add_histogram_raw("raw", 0, 2, 50, 3, 5, [1, 2], [1, 2]),
    "step": lambda w: w.add_scalar("step", 1.0, 1.5),
    "time": lambda w: w.add_scalar("time", 1.0, 1, math.nan),
    "": lambda w: w.add_scalar("", 1.0),
}  # fmt: skip


def test_what_is_out_of_range_is_recorded_said_once_and_counted(tmp_path, capfd):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        for _ in range(3):
            for call in ADJUSTED.values():
                call(writer)
        reported = writer.run.health()["reported"]
        said = capfd.readouterr().err.splitlines()
        assert len(said) == len(ADJUSTED), said
        for tag in ADJUSTED:
            assert sum(line.startswith(f"steno: {tag!r}: ") for line in said) == 1, tag
            assert [reported.get(f"{tag} {what}") for what in ("adjusted", "argument")].count(3) == 1, tag
    with steno.open(tmp_path / "log") as book:
        assert sorted(book.keys()) == sorted(ADJUSTED)
        assert book.media("diverged")[0].value.max() == 0
        assert book.series("step").step.tolist() == [1, 1, 1]
    found = plugins(tmp_path / "log")
    assert {tag for _, tag in found} >= set(ADJUSTED) - {"points", "cloud"}


@pytest.mark.parametrize("tag", ADJUSTED)
@pytest.mark.parametrize("kind", ["SummaryWriter", "GlobalSummaryWriter"])
def test_a_strict_writer_refuses_what_is_out_of_range(tag, kind, tmp_path):
    if kind == "GlobalSummaryWriter" and tag in {"step", "time"}:
        pytest.skip("it has no such argument there")
    with getattr(steno, kind)(tmp_path / "log", write_to_disk=False, strict=True) as writer:
        with pytest.raises(steno.UsageError):
            ADJUSTED[tag](writer)
        with pickle.loads(pickle.dumps(writer)) as again, pytest.raises(steno.UsageError):
            ADJUSTED[tag](again)


def test_a_normalised_batch_as_in_the_tutorial_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    images = (torch.rand(4, 1, 28, 28) - 0.5) / 0.5
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
    writer = steno.SummaryWriter(tmp_path / "fashion_mnist")
    writer.add_image("four_fashion_mnist_images", torch.cat(list(images), 2).expand(3, 28, 112))
    writer.add_graph(net, images)
    writer.add_embedding(images.view(-1, 28 * 28), metadata=["a", "b", "c", "d"], label_img=images)
    for step in range(3):
        writer.add_scalar("training loss", torch.tensor(0.5), step)
    scores = torch.softmax(net(images), 1)
    for index in range(10):
        writer.add_pr_curve(str(index), torch.arange(4) == index, scores[:, index], global_step=0)
    assert writer.close()
    shown = plugins(tmp_path / "fashion_mnist")
    assert shown[".", "four_fashion_mnist_images"] == "images"
    assert [shown[".", str(index)] for index in range(10)] == ["pr_curves"] * 10


def test_curves_of_one_name_are_told_apart(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        for step in range(5):
            writer.add_scalar("loss/train", 1000.0 + step, step)
            writer.add_scalars("loss", {"train": 1.0 + step, "a/b": 3.0}, step)
            writer.add_scalars("loss/a", {"b": 4.0}, step)
        writer.add_hparams({"lr": 0.1}, {"train": 7.0}, name="loss")
    with steno.open(tmp_path / "log") as book:
        assert book.series("loss/train").value.tolist() == [1000.0 + step for step in range(5)]
        assert book.series("loss/train:loss").value.tolist() == [1.0 + step for step in range(5)]
        assert book.series("loss/a/b:loss").value.tolist() == [3.0] * 5
        assert book.series("loss/a/b:loss/a").value.tolist() == [4.0] * 5
        assert book.series("loss:train").value.tolist() == [7.0]
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "log"))
    found.Reload()
    assert {(run, tag): len(found.Tensors(run, tag)) for (run, tag) in plugins(tmp_path / "log") if tag[0] != "_"} == {
        (".", "loss/train"): 5, ("loss/train", "loss"): 5, ("loss/a/b", "loss"): 5, ("loss/a/b", "loss/a"): 5,
        ("loss", "train"): 1,
    }  # fmt: skip


def test_arguments_in_the_order_of_torch(tmp_path):
    pixels = np.zeros((4, 6, 3), np.uint8)
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("new", 1.0, 1, None, True, True)
        writer.add_image_with_boxes("boxes", pixels, [[1, 1, 2, 2]], 1, None, 2, "HWC", ["cat"])
        writer.add_image_with_boxes("named", pixels, [[1, 1, 2, 2]], 1, rescale=0.5, dataformats="HWC")
        with pytest.raises(steno.UsageError, match="add_onnx_graph"):
            writer.add_onnx_graph(prototxt="nowhere.onnx")
    ((_, value),) = raw_values(tmp_path / "log", "new")
    assert value.metadata.display_name == ""
    with steno.open(tmp_path / "log") as book:
        assert book.media("boxes")[0].value.shape == (8, 12, 3)
        assert book.media("boxes")[0].meta["boxes"] == [{"box": [2, 2, 4, 4], "label": "cat"}]
        assert book.media("named")[0].value.shape == (2, 3, 3)


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4", "i8", "u1", "u2", "?", "c8", ">i4"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3, 1)])
def test_tensors_come_back_as_they_are(dtype, shape, tensors):
    value, tag = (RNG.random(shape) * 9).astype(dtype), f"{dtype} {shape}"
    tensors.add_tensor(tag, value, 3)
    assert tensors.flush()
    found = steno.open(tensors.logdir).media(tag)[0].value["tensor"]
    assert (found.shape, found.dtype) == (shape, value.dtype)
    assert np.array_equal(found, value)
    ((step, shown),) = raw_values(tensors.logdir, tag)
    assert (step, shown.metadata.plugin_data.plugin_name) == (3, "tensor")
    assert np.array_equal(tensor_util.make_ndarray(shown.tensor), value)


@pytest.fixture
def tensors(tmp_path):
    with steno.SummaryWriter(tmp_path / "tensors") as writer:
        yield writer


def test_programs_keep_what_they_like_on_a_writer(tmp_path):
    for kind in (steno.SummaryWriter, steno.GlobalSummaryWriter):
        with kind(tmp_path / kind.__name__, write_to_disk=False) as writer:
            writer.global_step = 0
            writer.global_step += 1
            assert writer.global_step == 1


@pytest.mark.usefixtures("road")
def test_steps_and_times_are_as_given(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("none", 1.0)
        writer.add_scalar("numpy", np.float64(2.0), np.int64(7))
        writer.add_scalar("then", 3.0, 8, walltime=1234567890.25)
        with writer.use_metadata(global_step=11, walltime=99.5):
            writer.add_scalar("meta", 4.0)
            writer.add_text("words", "x")
            writer.add_scalar("own", 5.0, 12, walltime=3.0)
        with pytest.raises(ValueError), writer.use_metadata():
            pass
        with pytest.raises(RuntimeError), writer.use_metadata(global_step=1):
            raise RuntimeError
        writer.add_scalar("after", 6.0)
    found = {
        value.tag: (event.step, event.wall_time) for event in events(tmp_path / "log") for value in event.summary.value
    }
    assert {tag: step for tag, (step, _) in found.items()} == {
        "none": 0, "numpy": 7, "then": 8, "meta": 11, "words/text_summary": 11, "own": 12, "after": 0,
    }  # fmt: skip
    assert found["then"][1] == pytest.approx(1234567890.25, abs=1e-6)
    assert found["meta"][1] == found["words/text_summary"][1] == pytest.approx(99.5, abs=1e-6)
    assert found["own"][1] == 3.0
    assert abs(found["after"][1] - time.time()) < 60


def test_export_of_scalars(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalars("m", {"a": 1.0, "b": np.float32(2)}, 3, walltime=5.0)
        writer.export_scalars_to_json(tmp_path / "out.json")
        writer.export_scalars_to_json(tmp_path / "again.json")
    assert json.loads((tmp_path / "out.json").read_text()) == {
        f"{tmp_path}/log/m/a": [[5.0, 3, 1.0]], f"{tmp_path}/log/m/b": [[5.0, 3, 2.0]],
    }  # fmt: skip
    assert json.loads((tmp_path / "again.json").read_text()) == {}


def test_two_writers_in_one_directory_and_second_lose_nothing(tmp_path):
    one, two = steno.SummaryWriter(tmp_path / "log"), steno.SummaryWriter(tmp_path / "log")
    for step in range(50):
        one.add_scalar("one", step, step)
        two.add_scalar("two", step, step)
    one.close()
    two.add_scalar("two", 50, 50)
    two.close()
    assert [step for step, _ in numbers(tmp_path / "log", "one")] == list(range(50))
    assert [step for step, _ in numbers(tmp_path / "log", "two")] == list(range(51))


def test_a_closed_writer_goes_on(tmp_path):
    writer = steno.SummaryWriter(tmp_path / "log")
    for round in range(3):
        writer.add_scalar("x", float(round), round)
        assert writer.close()
    assert writer.close()
    assert numbers(tmp_path / "log", "x") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert steno.open(tmp_path / "log").series("x").value.tolist() == [0.0, 1.0, 2.0]


def test_files_of_another_writer_stay_and_are_purged_as_they_would_be(tmp_path):
    from tensorboardX import SummaryWriter as Theirs

    with Theirs(str(tmp_path / "log")) as theirs:
        for step in range(6):
            theirs.add_scalar("x", step, step)
    before = {path: path.read_bytes() for path in (tmp_path / "log").glob("events*")}
    with steno.SummaryWriter(tmp_path / "log", purge_step=4) as writer:
        writer.add_scalar("x", 40.0, 4)
    assert all(path.read_bytes() == data for path, data in before.items())
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "log"))
    found.Reload()
    assert [event.step for event in found.Tensors(".", "x")] == [0, 1, 2, 3, 4]


def test_purge_step_hides_and_keeps(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        for step in range(10):
            writer.add_scalar("x", float(step), step)
    with steno.SummaryWriter(tmp_path / "log", purge_step=6) as writer:
        for step in range(6, 8):
            writer.add_scalar("x", 100.0 + step, step)
    found = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "log"))
    found.Reload()
    assert [event.step for event in found.Tensors(".", "x")] == list(range(8))
    book = steno.open(tmp_path / "log")
    assert book.series("x").value.tolist() == [0, 1, 2, 3, 4, 5, 106, 107]
    assert len(book.series("x", attempt="all").value) == 12


def test_without_disk_arguments_are_checked_and_nothing_is_made(tmp_path):
    with steno.SummaryWriter(tmp_path / "log", write_to_disk=False) as writer:
        writer.add_scalar("x", 1.0, 1)
        writer.add_scalar("x", np.float32(1), 1)
        writer.add_scalars("m", {"a": 1.0}, 1)
        writer.add_image("i", np.zeros((3, 4, 4)), 1)
        with pytest.raises(ValueError):
            writer.add_image("i", np.zeros((9, 4, 4)), 1)
        assert writer.flush()
    assert not (tmp_path / "log").exists()


def test_the_name_of_the_logdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with steno.SummaryWriter(comment="-lr1", write_to_disk=False) as writer:
        assert Path(writer.logdir).parent == tmp_path / "runs"
        assert writer.logdir.endswith("-lr1")
    for writer in (
        steno.SummaryWriter("a", comment="ignored", write_to_disk=False),
        steno.SummaryWriter(log_dir="a", write_to_disk=False),
        steno.SummaryWriter(Path("a"), log_dir="b", write_to_disk=False),
    ):
        assert writer.logdir == writer.log_dir == writer.get_logdir() == str(tmp_path / "a")
        writer.close()
    with pytest.raises(steno.UsageError):
        steno.SummaryWriter(7)
    (tmp_path / "file").write_text("")
    with pytest.raises(steno.UsageError, match="logdir"):
        steno.SummaryWriter("file")


def test_a_run_of_init_is_no_logdir(tmp_path):
    run = steno.init(project="p", name="n", dir=tmp_path)
    with pytest.raises(steno.UsageError, match="steno.init"):
        steno.SummaryWriter(run.dir)
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("x", 1.0, 1)
        run.log({"y": 2.0}, step=1)
        assert steno.current() is run
    assert run.finish(60)
    assert steno.open(run.dir).keys() == ["y"]
    assert steno.open(tmp_path / "log").keys() == ["x"]


def test_a_suffix_ends_the_file_names(tmp_path):
    with steno.SummaryWriter(tmp_path / "log", filename_suffix=".mine") as writer:
        writer.add_scalar("x", 1.0, 1)
    (path,) = (tmp_path / "log").glob("events.out.tfevents.*")
    assert path.name.endswith(".mine")


def test_sub_runs_stay_below_the_logdir(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalars("../../up", {"/etc": 1.0, ".hidden": 2.0, "x" * 300: 3.0}, 1)
        writer.add_hparams({"a": 1}, {"m": 1.0}, name="../out")
    assert {path.name for path in tmp_path.iterdir()} == {"log"}
    shown = plugins(tmp_path / "log")
    assert sum(tag == "../../up" for _, tag in shown) == 3
    assert any(tag == "m" for _, tag in shown)


def test_figures_are_drawn_and_closed(tmp_path):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with steno.SummaryWriter(tmp_path / "log") as writer:
        figure = plt.figure(figsize=(1, 1), dpi=40)
        writer.add_figure("one", figure, 1)
        assert not plt.fignum_exists(figure.number)
        pair = [plt.figure(figsize=(1, 1), dpi=40) for _ in range(2)]
        writer.add_figure("pair", pair, 1, close=False)
        assert all(plt.fignum_exists(one.number) for one in pair)
        plt.close("all")
    assert [value.tensor.string_val[:2] for _, value in values(tmp_path / "log", "one")] == [[b"40", b"40"]]
    assert [value.tensor.string_val[:2] for _, value in values(tmp_path / "log", "pair")] == [[b"80", b"40"]]


def test_tensors_of_torch(tmp_path):
    torch = pytest.importorskip("torch")
    with steno.SummaryWriter(tmp_path / "log") as writer:
        for step, value in enumerate(
            [torch.tensor(1.5), torch.tensor([2.5]), torch.tensor([[3.5]], requires_grad=True),
             torch.tensor(4.5, dtype=torch.bfloat16), torch.tensor(5), torch.tensor(True)]
        ):  # fmt: skip
            writer.add_scalar("x", value, step)
        with pytest.raises(steno.UsageError):
            writer.add_scalar("x", torch.zeros(2), 9)
        shared = torch.zeros(3, 4, 4)
        writer.add_image("image", shared, 1)
        shared += 1
        writer.add_histogram("weights", torch.ones(9, requires_grad=True), 1)
        writer.add_scalar("x", 7.5, torch.tensor(6))
    assert numbers(tmp_path / "log", "x") == [(0, 1.5), (1, 2.5), (2, 3.5), (3, 4.5), (4, 5.0), (5, 1.0), (6, 7.5)]
    assert not steno.open(tmp_path / "log").media("image")[0].value.any()


def test_a_graph_of_torch_is_that_of_torch_itself(tmp_path):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    with warnings.catch_warnings(), steno.SummaryWriter(tmp_path / "log") as writer:
        warnings.simplefilter("ignore")
        writer.add_graph(model, torch.zeros(1, 2))
    graphs = [graph_pb2.GraphDef.FromString(event.graph_def) for event in events(tmp_path / "log") if event.graph_def]
    assert len(graphs) == 1
    assert any("Linear" in node.name for node in graphs[0].node)
    assert plugins(tmp_path / "log")[".", "__run_graph__"] == "graphs"
    assert plugins(tmp_path / "log")[".", "step1"] == "graph_tagged_run_metadata"


def test_a_graph_of_openvino(tmp_path):
    (tmp_path / "model.xml").write_text(
        '<net><layers><layer id="0" name="in" type="Parameter"/><layer id="1" name="conv" type="Convolution"/></layers>'
        '<edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/></edges></net>'
    )
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_openvino_graph(tmp_path / "model.xml")
        (tmp_path / "bad.xml").write_text("<net>")
        with pytest.raises(steno.UsageError, match="OpenVINO"):
            writer.add_openvino_graph(tmp_path / "bad.xml")
    (graph,) = [graph_pb2.GraphDef.FromString(event.graph_def) for event in events(tmp_path / "log") if event.graph_def]
    assert [(node.name, node.op, list(node.input)) for node in graph.node] == [
        ("in", "Parameter", []), ("conv", "Convolution", ["in"]),
    ]  # fmt: skip


@pytest.mark.usefixtures("road")
def test_many_tags_from_many_threads(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer:

        def work(number):
            for step in range(200):
                writer.add_scalar(f"thread {number}", float(step), step)
                writer.add_scalar(f"own {number} {step}", float(step), step)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(6):
        assert [step for step, _ in numbers(tmp_path / "log", f"thread {number}")] == list(range(200))
    assert len(steno.open(tmp_path / "log").keys()) == 6 * 201


def _write_in_child(writer, number):
    for step in range(20):
        writer.add_scalar(f"child {number}", float(step), step)


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_go_on_with_the_writer(tmp_path, method):
    context = multiprocessing.get_context(method)
    with steno.SummaryWriter(tmp_path / "log") as writer:
        writer.add_scalar("parent", 1.0, 1)
        children = [context.Process(target=_write_in_child, args=(writer, number)) for number in range(2)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0, 0]
        _until(lambda: all(len(steno.open(tmp_path / "log").series(f"child {n}").value) == 20 for n in range(2)))
    for number in range(2):
        assert [step for step, _ in numbers(tmp_path / "log", f"child {number}")] == list(range(20))


def test_a_writer_is_pickled_as_its_logdir(tmp_path):
    with steno.SummaryWriter(tmp_path / "log") as writer, pickle.loads(pickle.dumps(writer)) as other:
        other.add_scalar("x", 1.0, 1)
        assert other.logdir == writer.logdir
    assert numbers(tmp_path / "log", "x") == [(1, 1.0)]


def _until(check, seconds=30):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except steno.UsageError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.02)
