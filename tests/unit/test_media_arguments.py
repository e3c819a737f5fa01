"""What a media class says to arguments that it does not take: its own, and what to write for those of W&B."""

from __future__ import annotations

import inspect

import pytest

import steno
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
