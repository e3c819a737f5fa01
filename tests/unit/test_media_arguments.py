"""What a media class says to arguments that it does not take: its own, and what to write for those of W&B."""

from __future__ import annotations

import inspect
import os
import socket

import numpy as np
import pytest

import steno
from steno.errors import UsageError
from steno.habits import MEDIA

PIXELS = np.zeros((4, 4), np.uint8)
CLASSES = ("Audio", "Figure", "Histogram", "Html", "Image", "Object3D", "Table", "Text", "Video")


@pytest.mark.parametrize("name", CLASSES)
def test_an_unknown_argument_is_answered_with_those_there_are(name):
    parameters = inspect.signature(getattr(steno, name)).parameters
    with pytest.raises(steno.UsageError, match="has no argument 'colour'") as said:
        getattr(steno, name)(**{next(iter(parameters)): "x", "colour": 1})
    assert str(said.value).endswith("it takes " + ", ".join(parameters))


@pytest.mark.parametrize(("name", "theirs"), [(name, theirs) for name in MEDIA for theirs in MEDIA[name]])
def test_an_argument_of_wandb_is_answered_with_what_to_write(name, theirs):
    assert theirs not in inspect.signature(getattr(steno, name)).parameters
    with pytest.raises(steno.UsageError, match=f"steno.{name} has no argument {theirs!r}: ") as said:
        getattr(steno, name)(**{theirs: "x"})
    assert MEDIA[name][theirs] in str(said.value)


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "Histogram"])
def test_a_value_that_is_left_out_is_named(name):
    first = next(iter(inspect.signature(getattr(steno, name)).parameters))
    with pytest.raises(steno.UsageError, match=f"steno.{name} needs {first}=…"):
        getattr(steno, name)()


@pytest.mark.parametrize("name", CLASSES)
def test_too_many_arguments_are_counted(name):
    with pytest.raises(steno.UsageError, match="and 9 were given; it takes"):
        getattr(steno, name)(*"123456789")


def test_an_argument_that_is_given_twice_is_named():
    with pytest.raises(steno.UsageError, match="steno.Text: text is given twice"):
        steno.Text("a", text="b")


@pytest.mark.parametrize(
    ("name", "ext"),
    [("Image", "png"), ("Image", "gif"), ("Audio", "wav"), ("Audio", "mp3"), ("Video", "mp4"), ("Html", "html")],
)
def test_a_path_to_a_fifo_is_refused_and_never_waited_for(name, ext, tmp_path):
    os.mkfifo(tmp_path / f"fifo.{ext}")
    (tmp_path / f"link.{ext}").symlink_to(f"fifo.{ext}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / f"socket.{ext}"))
        for found in ("fifo", "link", "socket"):
            with pytest.raises(UsageError, match="neither a file nor a directory"):
                getattr(steno, name)(tmp_path / f"{found}.{ext}")


def test_a_file_that_became_a_fifo_is_left_out_and_never_waited_for(tmp_path, capsys):
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG" + b"\0" * 100)
    image = steno.Image(path)
    path.unlink()
    os.mkfifo(path)
    with steno.init(project="p", dir=tmp_path, collector=False) as run:
        run.log({"image": image, "x": 1.0})
    assert "neither a file nor a directory" in capsys.readouterr().err
    steno.sync(run.dir)
    with steno.open(run.dir) as book:
        assert book.keys() == ["x"]


HUGE = 10**5000
"""Python refuses to write it as text."""


@pytest.mark.parametrize(
    "boxes",
    [7, "x", b"x", {"predictions": {"box_data": []}}, [7], [(HUGE, 1, 2, 3)], [{"box": (0, 0, 1, 1), "score": "high"}],
     [{"box": (0, 0, 1, 1), "score": HUGE}]],
    ids=lambda boxes: type(boxes).__name__,
)  # fmt: skip
def test_boxes_of_another_form_are_one_error(boxes):
    with pytest.raises(steno.UsageError, match="^boxes: "):
        steno.Image(PIXELS, boxes=boxes)


@pytest.mark.parametrize(
    "masks",
    [7, "x", [PIXELS], {"a": 7}, {"a": {"mask_data": PIXELS}}, {"a": {"data": PIXELS, "classes": 7}}],
    ids=lambda masks: type(masks).__name__,
)
def test_masks_of_another_form_are_one_error(masks):
    with pytest.raises(steno.UsageError, match="^masks?\\b"):
        steno.Image(PIXELS, masks=masks)


def test_a_class_of_a_mask_may_have_any_number():
    image = steno.Image(PIXELS, masks={"a": {"data": PIXELS, "classes": {HUGE: "sky", np.int64(1): "road"}}})
    classes = image.__steno__().attached["a"].meta["classes"]
    assert sorted(classes.values()) == ["road", "sky"]
    assert classes["1"] == "road"


@pytest.mark.parametrize("bins", [HUGE, -HUGE], ids=["huge", "negative"])
def test_a_number_of_bins_of_any_size_is_cut_or_refused(bins):
    if bins > 0:
        assert "was cut to" in steno.Histogram([1.0, 2.0], bins=bins).remark
    else:
        with pytest.raises(steno.UsageError, match="is not a number of bins"):
            steno.Histogram([1.0, 2.0], bins=bins)


@pytest.mark.parametrize("name", [7, HUGE, b"x", object()], ids=lambda name: type(name).__name__)
def test_a_name_of_an_artifact_that_is_no_text_is_one_error(tmp_path, name):
    with (
        steno.init(project="p", name="r", dir=tmp_path, collector=False) as run,
        pytest.raises(steno.UsageError, match="a name is a str, not"),
    ):
        run.log_artifact(__file__, name=name)


def test_writers_answer_numbers_that_python_writes_no_text_of(tmp_path):
    with steno.SummaryWriter(str(tmp_path / "tb"), collector=False) as writer:
        for tag, step in (("a", HUGE), (HUGE, 1)):
            with pytest.raises(steno.UsageError, match="an integer of"):
                writer.add_scalar(tag, 1.0, step)
        writer.add_histogram("a", [1, 2], 1, HUGE)
        writer.add_hparams({"a": HUGE, HUGE: 1}, {"m": 1.0})
