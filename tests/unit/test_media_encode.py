"""The encoders, each read back by somebody else's decoder."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from steno import Audio, Image, Object3D, Table, Video
from steno.media import kinds
from steno.media.png import write_png
from steno.media.raw import Raw


def encoded(value, path):
    made = value.__steno__()
    kinds.encode(Raw.read(memoryview(b"".join(made.parts))), path)
    return path


def pixels(channels):
    shape = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(channels))
    return shape.flatmap(lambda shape: hnp.arrays(np.uint8, shape))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 3, 4]).flatmap(pixels), st.integers(1, 7))
def test_a_png_is_what_pillow_reads(image, rows):
    import PIL.Image

    out = io.BytesIO()
    height, width, channels = image.shape
    write_png(out, (image[at : at + rows] for at in range(0, height, rows)), width, height, channels)
    out.seek(0)
    with PIL.Image.open(out) as found:
        assert np.array_equal(np.asarray(found).reshape(image.shape), image)


def test_a_deep_png_is_what_pillow_reads():
    import PIL.Image

    image = np.arange(0, 60_000, 100, dtype=np.uint16).reshape(20, 30, 1)
    out = io.BytesIO()
    write_png(out, [image], 30, 20, 1)
    with PIL.Image.open(out) as found:
        assert np.array_equal(np.asarray(found).astype(np.uint16), image[..., 0])


def test_a_smooth_png_is_small(tmp_path):
    ramp = np.add.outer(np.arange(256), np.arange(256)).astype(np.uint8)
    path = encoded(Image(ramp), tmp_path / "a")
    assert path.stat().st_size < ramp.nbytes / 50


def test_equal_pixels_make_equal_files(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)
    one = encoded(Image(image), tmp_path / "a").read_bytes()
    assert one == encoded(Image(image.copy()), tmp_path / "b").read_bytes()


def test_a_wav_is_what_the_standard_library_and_av_read(tmp_path):
    import wave

    import av

    sound = np.stack([np.sin(np.arange(5000) / 10), np.cos(np.arange(5000) / 20)], 1)
    path = encoded(Audio(sound, 16_000), tmp_path / "a.wav")
    with wave.open(str(path)) as found:
        assert (found.getframerate(), found.getnchannels(), found.getnframes()) == (16_000, 2, 5000)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 16_000
    assert np.abs(kinds.from_file("audio", path) - sound).max() < 1 / 32767


def moving(count=12, height=31, width=47):
    frames = np.zeros((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index, 5:20, index : index + 15] = (250, 20 * index, 10)
    return frames


@pytest.mark.parametrize("format", ["mp4", "gif"])
def test_a_video_is_seen_again(tmp_path, format):
    frames = moving()
    path = encoded(Video(frames, 10, format), tmp_path / f"a.{format}")
    found = kinds.from_file("video", path)[:, :31, :47]
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < (1 if format == "gif" else 4)


def test_a_gif_is_what_pillow_says_it_is(tmp_path):
    import PIL.Image

    gray = np.random.default_rng(1).integers(0, 255, (5, 20, 30), np.uint8)
    with PIL.Image.open(encoded(Video(gray, 20, "gif"), tmp_path / "a.gif")) as found:
        assert (found.n_frames, found.size, found.info["duration"], found.info["loop"]) == (5, (30, 20), 50, 0)
        for index in range(5):
            found.seek(index)
            assert np.array_equal(np.asarray(found.convert("L")), gray[index])


@pytest.mark.parametrize("shape", [(1, 1, 1, 3), (2, 1, 9, 1), (3, 40, 3, 3), (2, 200, 300, 3)])
@pytest.mark.parametrize("colors", [1, 2, 3, 17, 250])
def test_a_gif_keeps_few_colors_exactly_whatever_its_size(tmp_path, shape, colors):
    rng = np.random.default_rng(colors)
    palette = rng.integers(0, 256, (colors, 1 if shape[-1] == 1 else 3), np.uint8)
    frames = palette[rng.integers(0, colors, shape[:-1])]
    found = kinds.from_file("video", encoded(Video(frames, 10, "gif", axes="THWC"), tmp_path / "a.gif"))
    assert found.shape[:3] == shape[:3]
    # Pillow's quantizer averages neighbours of the color cube: a gray one has a palette of its own, with all grays.
    assert np.abs(found.astype(int) - frames).max() <= (0 if shape[-1] == 1 or colors <= 2 else 60)
    with open(tmp_path / "a.gif", "rb") as file:
        data = file.read()
    assert data.count(b"\x21\xf9\x04\x00\x0a\x00") >= shape[0]
    assert data[-1:] == b";"


def test_an_mp4_has_its_rate_and_plays_anywhere(tmp_path):
    import av

    with av.open(str(encoded(Video(moving(), 12.5), tmp_path / "a.mp4"))) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12.5
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.width, stream.codec_context.height) == (48, 32)


def test_a_clear_video_stands_on_white(tmp_path):
    frames = np.zeros((2, 8, 8, 4), np.uint8)
    path = encoded(Video(frames, format="gif"), tmp_path / "a.gif")
    assert (kinds.from_file("video", path) == 255).all()


def test_tables_and_meshes_are_plain_files(tmp_path):
    import duckdb

    path = encoded(Table({"a": [1, 2], "b": ["x", "y"]}), tmp_path / "a.parquet")
    assert duckdb.sql(f"select * from '{path}'").fetchall() == [(1, "x"), (2, "y")]
    with np.load(encoded(Object3D(np.eye(3)), tmp_path / "a.npz")) as found:
        assert found["vertices"].tolist() == [np.eye(3).tolist()]


@pytest.mark.parametrize("format", ["png", "gif"])
def test_a_large_value_passes_through_little_memory(tmp_path, format):
    import PIL.Image  # noqa: F401 - its own memory is not what is measured

    shape = (120, 512, 512, 1) if format == "gif" else (1, 5000, 6000, 1)
    data = np.zeros(shape, np.uint8)
    value = Video(data, format="gif") if format == "gif" else Image(data[0])
    source = tmp_path / "raw"
    with open(source, "wb") as file:
        file.writelines(value.__steno__().parts)
    tracemalloc.start()
    try:
        kinds.encode(Raw.open(source), tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert data.nbytes >= 30_000_000
    assert peak < 32 << 20
