"""What the two writers can be called with: as tensorboardX's and torch's are."""

from __future__ import annotations

import inspect

import pytest
import tensorboardX
import torch.utils.tensorboard

import steno
from steno.errors import UsageError
from steno.writers import everywhere

X, X_GLOBAL = tensorboardX.SummaryWriter, tensorboardX.GlobalSummaryWriter
TORCH = torch.utils.tensorboard.SummaryWriter


def methods(kind):
    return [name for name, one in inspect.getmembers(kind) if not name.startswith("_") and callable(one)]


def parameters(method):
    return [one for one in inspect.signature(method).parameters.values() if one.kind is not one.VAR_KEYWORD]


@pytest.mark.parametrize(
    ("theirs", "ours", "name"),
    [
        pytest.param(theirs, ours, name, id=f"{ours.__name__}.{name}")
        for theirs, ours in ((X, steno.SummaryWriter), (X_GLOBAL, steno.GlobalSummaryWriter))
        for name in ["__init__", *methods(theirs)]
    ],
)
def test_a_method_takes_what_that_of_tensorboardx_takes(theirs, ours, name):
    wanted, found = (parameters(getattr(one, name)) for one in (theirs, ours))
    assert [one.name for one in found[: len(wanted)]] == [one.name for one in wanted]
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in found[: len(wanted)] if name != "use_metadata")
    given = {one.name: one.default for one in found}
    for one in wanted:
        # Comet's settings are off by default here too; a file may also be given by torch's name for it.
        assert given[one.name] == one.default or one.name in {"comet_config", "onnx_model_file"}, one.name


@pytest.mark.parametrize(
    "name", ["add_scalars", "add_image", "add_text", "add_pr_curve", "add_embedding", "add_hparams"]
)
def test_the_global_writers_methods_are_the_writers_without_a_step(name):
    with_step, without = getattr(steno.SummaryWriter, name), getattr(steno.GlobalSummaryWriter, name)
    steps = {"global_step", "torch_step"}
    names = [one for one in inspect.signature(with_step).parameters if one not in steps]
    assert list(inspect.signature(without).parameters) == names
    assert without.__qualname__ == f"GlobalSummaryWriter.{name}"
    assert not any(step in inspect.getdoc(without) for step in steps)
    assert inspect.getdoc(without).partition("\n")[0] == inspect.getdoc(with_step).partition("\n")[0]


def test_a_step_is_no_argument_of_the_global_writer(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_WRITER", "")
    monkeypatch.setattr(everywhere, "_writer", None)
    with steno.GlobalSummaryWriter(tmp_path / "log", write_to_disk=False) as writer:
        with pytest.raises(UsageError, match=r"no argument 'global_step': .* use steno\.SummaryWriter to give steps"):
            writer.add_text("words", "a", global_step=3)
        with pytest.raises(UsageError, match=r"no argument 'stp'; it takes tag, text_string, walltime$"):
            writer.add_text("words", "a", stp=3)
        with pytest.raises(UsageError, match="at most 3 positional arguments, and 4 were given"):
            writer.add_text("words", "a", 0.0, 3)
        with pytest.raises(UsageError, match="positional"):
            writer.add_hparams({"a": 1}, {"b": 1}, "name", 3)
        writer.add_text("words", "a", 1.0)
        writer.add_text(walltime=1.0, text_string="a", tag="words")


@pytest.mark.parametrize("name", methods(TORCH))
def test_a_method_takes_the_names_that_that_of_torch_takes(name):
    # The order is tensorboardX's; where torch's differs, it is told apart by the types, which `test_writers` tries.
    found = {one.name for one in parameters(getattr(steno.SummaryWriter, name))}
    assert {one.name for one in parameters(getattr(TORCH, name))} <= found


def test_the_edges_of_a_histogram_are_those_of_tensorboardx(tmp_path):
    with steno.SummaryWriter(tmp_path / "log", write_to_disk=False) as writer:
        theirs = X(str(tmp_path / "theirs"), write_to_disk=False).default_bins
        assert writer.default_bins == pytest.approx(theirs, rel=1e-9)
        writer.add_histogram("x", [1.0, 2.0], bins=writer.default_bins)
