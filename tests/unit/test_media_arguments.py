"""What a media class says to arguments that it does not take: its own, and what to write for those of W&B."""

from __future__ import annotations

import inspect
import os
import socket

import pytest

import steno
from steno.errors import UsageError
from steno.habits import MEDIA

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
