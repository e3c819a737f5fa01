"""Media in event files, read with TensorBoard's own protos and readers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensorboard import data_compat
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.mesh import metadata as mesh_metadata
from tensorboard.plugins.mesh import plugin_data_pb2
from tensorboard.util import tensor_util

from steno import Audio, Histogram, Html, Image, Object3D, Table, Text, Video
from steno.destinations.tensorboard.destination import TensorBoard
from steno.destinations.tensorboard.media import Media
from steno.journal.flatten import histogram
from steno.media import files, kinds
from steno.media.raw import Raw
from steno.record import Ref, RunInfo
from steno.testing import make_batch


def posted(run_dir, value):
    """The `Ref` a collector would post, its file made."""
    made = value.__steno__()
    data = b"".join(made.parts)
    if not data:
        return Ref("", made.kind, made.meta)
    raw = Raw.read(memoryview(data))
    if made.kind == "histogram":
        return Ref("", "histogram", kinds.from_raw("histogram", raw))
    ref = Ref(files.digest_of_bytes(data), made.kind, made.meta)
    path = run_dir / ref.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        kinds.encode(raw, path)
    return ref


def values(run_dir, value, tag="a/b"):
    ref = value if isinstance(value, Ref) else posted(run_dir, value)
    return [summary_pb2.Summary.Value.FromString(data) for data in Media(run_dir, 0).values(tag, ref)]


def opened(image):
    import PIL.Image

    with PIL.Image.open(io.BytesIO(image.encoded_image_string)) as found:
        return np.asarray(found.convert("RGB"))


def test_an_image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 5, 3), np.uint8)
    (found,) = values(tmp_path, Image(pixels))
    assert found.tag == "a/b"
    assert (found.image.height, found.image.width, found.image.colorspace) == (4, 5, 3)
    assert np.array_equal(opened(found.image), pixels)


def test_an_image_with_boxes_has_them_drawn(tmp_path):
    pixels = np.zeros((40, 50, 1), np.uint8)
    box = {"box": (5, 20, 30, 35), "label": "ünd 猫", "score": 0.5}
    (found,) = values(tmp_path, Image(pixels, boxes=[box]))
    shown = opened(found.image)
    assert found.image.colorspace == 3
    assert shown[35, 20].tolist() == [255, 0, 0]
    assert shown[39, 49].tolist() == [0, 0, 0]


def test_an_image_file_says_its_size(tmp_path):
    from PIL import Image as Pil

    path = tmp_path / "a.jpg"
    Pil.new("RGB", (30, 20)).save(path)
    (found,) = values(tmp_path, Image(path))
    assert (found.image.height, found.image.width, found.image.colorspace) == (20, 30, 3)


@pytest.mark.parametrize("format", ["mp4", "gif"])
def test_a_video_is_a_gif(tmp_path, format):
    import PIL.Image

    frames = np.random.default_rng(0).integers(0, 255, (6, 21, 31, 3), np.uint8)
    (found,) = values(tmp_path, Video(frames, 5, format))
    assert (found.image.height, found.image.width) == (21, 31)
    with PIL.Image.open(io.BytesIO(found.image.encoded_image_string)) as shown:
        assert (shown.format, shown.n_frames, shown.info["duration"]) == ("GIF", 6, 200)


def test_audio(tmp_path):
    (found,) = values(tmp_path, Audio(np.zeros((100, 2)), 8000))
    audio = found.audio
    assert (audio.sample_rate, audio.num_channels, audio.length_frames) == (8000, 2, 100)
    assert audio.content_type == "audio/wav"
    assert audio.encoded_audio_string[:4] == b"RIFF"


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6)))
def test_a_histogram_is_what_tensorboard_makes_of_it(tmp_path_factory, data):
    tmp_path = tmp_path_factory.getbasetemp()
    for ref in (histogram(data), posted(tmp_path, Histogram(data))):
        (found,) = values(tmp_path, ref)
        assert (found.histo.num, found.histo.min, found.histo.max) == (len(data), data.min(), data.max())
        assert found.histo.sum == pytest.approx(data.sum(), rel=1e-9, abs=1e-3)
        counts, edges = np.histogram(data, 64)
        assert list(found.histo.bucket_limit) == pytest.approx(edges.tolist())
        assert list(found.histo.bucket) == [0, *counts]
        bins = tensor_util.make_ndarray(data_compat.migrate_value(found).tensor)
        assert bins[:, 2].sum() == len(data)


def test_an_empty_histogram_is_one(tmp_path):
    (found,) = values(tmp_path, Histogram([float("nan")]))
    assert (found.histo.num, found.histo.min) == (0, 0)


def test_texts_and_tables(tmp_path):
    (found,) = values(tmp_path, Text("# ü"))
    assert found.metadata.plugin_data.plugin_name == "text"
    assert tensor_util.make_ndarray(found.tensor).item().decode() == "# ü"
    (long,) = values(tmp_path, Text("x" * 100_000))
    assert len(tensor_util.make_ndarray(long.tensor).item()) == 100_000
    (table,) = values(tmp_path, Table({"a": [1, 2], "b": ["x|y", None]}))
    assert tensor_util.make_ndarray(table.tensor).item().decode().splitlines() == [
        "| a | b |", "| --- | --- |", "| 1 | x\\|y |", "| 2 | None |",
    ]  # fmt: skip


def test_a_mesh_is_what_the_plugin_reads(tmp_path):
    vertices = np.random.default_rng(0).random((1, 5, 3)).astype(np.float32)
    config = {"camera": {"cls": "PerspectiveCamera"}}
    found = values(tmp_path, Object3D(vertices, np.full((5, 3), 200), [[0, 1, 2]], config=config), "m")
    kind = plugin_data_pb2.MeshPluginData
    assert {one.tag for one in found} == {"m_VERTEX", "m_COLOR", "m_FACE"}
    for one in found:
        about = mesh_metadata.parse_plugin_metadata(one.metadata.plugin_data.content)
        assert (one.metadata.plugin_data.plugin_name, about.name) == ("mesh", "m")
        assert one.tag == mesh_metadata.get_instance_name("m", about.content_type)
        assert about.components == mesh_metadata.get_components_bitmask([kind.VERTEX, kind.FACE, kind.COLOR])
        assert "PerspectiveCamera" in about.json_config
        array = tensor_util.make_ndarray(one.tensor)
        assert list(array.shape) == list(about.shape)
        if about.content_type == kind.VERTEX:
            assert np.array_equal(array, vertices)


def test_what_tensorboard_has_no_place_for_is_left_out_and_counted(tmp_path):
    media = Media(tmp_path, 0)
    for ref in (
        posted(tmp_path, Html("<p>")),
        Ref("ab" * 20, "image", {"ext": "png"}),
        Ref("", "image", {"lost": "x"}),
    ):
        assert media.values("k", ref) == []
    damaged = posted(tmp_path, Video(np.zeros((2, 8, 8), np.uint8)))
    (tmp_path / damaged.file).write_bytes(b"nothing")
    assert media.values("k", damaged) == []
    assert media.left_out == {
        "html": 1, "image without a file": 1, "image that could not be encoded": 1, "video (InvalidDataError)": 1,
    }  # fmt: skip


def test_the_real_reader_gets_every_kind_beside_the_scalars(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (3, 4, 5, 3), np.uint8)
    records = [
        {
            "loss": step / 2,
            "picture": posted(tmp_path, Image(pixels[step])),
            "sound": posted(tmp_path, Audio(np.zeros(10), 8000)),
            "weights": histogram(np.arange(100.0)),
            "words": posted(tmp_path, Text(f"step {step}")),
            "page": posted(tmp_path, Html("<p>")),
        }
        for step in range(3)
    ]
    destination = TensorBoard()
    destination.open(RunInfo(tmp_path, "id", "name", "project"))
    destination.write(make_batch(enumerate(records)))
    destination.close()
    found = EventAccumulator(str(tmp_path / "tensorboard"), {"histograms": 0})
    found.Reload()
    assert [event.value for event in found.Scalars("loss")] == [0, 0.5, 1]
    assert [np.array_equal(opened(event), pixels[event.step]) for event in found.Images("picture")] == [True] * 3
    assert [event.sample_rate for event in found.Audio("sound")] == [8000] * 3
    assert [event.histogram_value.num for event in found.Histograms("weights")] == [100] * 3
    texts = [tensor_util.make_ndarray(event.tensor_proto).item() for event in found.Tensors("words")]
    assert texts == [b"step 0", b"step 1", b"step 2"]
    assert "page" not in str(found.Tags())


def test_encoding_again_gives_the_same_bytes(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 20, 20, 3), np.uint8)
    for value in (Video(frames), Image(frames[0], boxes=[(1, 2, 3, 4)])):
        ref = posted(tmp_path, value)
        assert Media(tmp_path).values("k", ref) == Media(tmp_path).values("k", ref)
