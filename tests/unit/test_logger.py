"""`steno.Logger` is enforced, and `steno.RunLogger` keeps what TorchRL's loggers promise."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import steno

torch = pytest.importorskip("torch")
tensordict = pytest.importorskip("tensordict")

from steno.writers.converted import LateMetrics, converted, flattened  # noqa: E402 - it needs torch
from steno.writers.transfer import started_fetches  # noqa: E402


@pytest.fixture
def logger(tmp_path):
    with steno.RunLogger("one", tmp_path / "ppo", collector=False) as made:
        yield made


def book_of(logger):
    logger.close()
    steno.sync(logger.experiment.dir)
    return steno.open(logger.experiment.dir)


def records(book):
    return [one for one in book.tail(last=100, follow=False) if isinstance(one, steno.Record)]


class Listing(steno.Logger):
    """The least that can be instantiated: keeps what it is told; refuses lists."""

    def _create_experiment(self):
        return []

    def log_scalar(self, name, value, step=None):
        self.experiment.append((name, float(value), step))

    def log_video(self, name, video, step=None, **kwargs): ...

    def log_hparams(self, cfg): ...

    def log_histogram(self, name, data, **kwargs): ...

    def __repr__(self):
        return "Listing"


METHODS = ["_create_experiment", "log_scalar", "log_video", "log_hparams", "log_histogram", "__repr__"]


# -- the template ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", METHODS)
def test_a_logger_that_lacks_a_method_cannot_be_made(missing):
    whole = {name: getattr(Listing, name) for name in METHODS if name != missing}
    partial = type("Partial", (steno.Logger,), whole)
    with pytest.raises(TypeError, match=missing):
        partial("a", "b")


def test_the_template_keeps_name_place_and_experiment(tmp_path):
    made = Listing("name", tmp_path)
    assert (made.exp_name, made.log_dir, made.experiment) == ("name", tmp_path, [])


def test_elsewhere_than_on_a_run_a_refused_value_costs_only_itself(tmp_path):
    made = Listing("name", tmp_path)
    with pytest.warns(RuntimeWarning, match="left out 'b'"):
        returned = made.log_metrics({"a": torch.tensor(1.5), "b": torch.ones(3), "c": {"d": 2}}, step=4)
    assert made.experiment == [("a", 1.5, 4), ("c/d", 2.0, 4)]
    assert returned == {"a": 1.5, "b": [1.0, 1.0, 1.0], "c/d": 2}


def test_a_logger_of_ones_own_on_a_run_logs_one_record(tmp_path):
    class Own(Listing):
        def _create_experiment(self):
            return steno.init("own", "run", dir=tmp_path, collector=False)

    made = Own("run", tmp_path)
    made.log_metrics({"b": 1.0, "a": 2.0}, step=3)
    made.experiment.finish()
    steno.sync(made.experiment.dir)
    (record,) = records(steno.open(made.experiment.dir))
    assert record.values == {"a": 2.0, "b": 1.0}


# -- log_metrics -------------------------------------------------------------------------------------------


def test_metrics_are_one_record_in_their_order(logger):
    metrics = {"z": torch.tensor(1.0), "a": 2, "m": np.float32(0.5), "t": torch.tensor([1, 2])}
    returned = logger.log_metrics(metrics, step=7)
    assert type(returned) is dict
    assert list(returned.items()) == [("z", 1.0), ("a", 2), ("m", np.float32(0.5)), ("t", [1, 2])]
    (record,) = records(book_of(logger))
    assert record.step == 7
    assert record.values == {"z": 1.0, "a": 2.0, "m": 0.5, "t/0": 1.0, "t/1": 2.0}


def test_nested_dicts_and_tensordicts_are_flattened(logger):
    inner = tensordict.TensorDict({"loss": torch.tensor(1.0), "deep": {"x": torch.tensor(2)}})
    words = tensordict.NonTensorData("words")
    returned = logger.log_metrics({"train": inner, "note": {"text": words}, ("a", "b"): 3}, 1, keys_sep=".")
    assert returned == {"train.loss": 1.0, "train.deep.x": 2, "note.text": "words", "a.b": 3}
    (record,) = records(book_of(logger))
    assert record.values == {"train.loss": 1.0, "train.deep.x": 2.0, "note.text": "words", "a.b": 3.0}


def test_a_tensordict_of_batches_gives_lists(logger):
    batch = tensordict.TensorDict({"reward": torch.arange(3.0), "who": tensordict.NonTensorStack("a", "b", "c")}, [3])
    assert logger.log_metrics(batch, 0) == {"reward": [0.0, 1.0, 2.0], "who": ["a", "b", "c"]}


def test_of_two_values_of_one_name_the_last_stays(logger):
    assert logger.log_metrics({"a": {"b": 1}, "a/b": 2}, 0) == {"a/b": 2}


def test_a_bad_value_costs_only_itself(logger, capfd):
    metrics = {
        "good": torch.tensor(1.0),
        "meta": torch.empty((), device="meta"),
        "thing": object(),
        "none": None,
        "last": 2.0,
    }
    returned = logger.log_metrics(metrics, step=1)
    assert list(returned) == list(metrics)
    assert (returned["meta"], returned["thing"]) == (None, metrics["thing"])
    (record,) = records(book_of(logger))
    assert record.values == {"good": 1.0, "last": 2.0}
    said = capfd.readouterr().err
    assert all(repr(name) in said for name in ("meta", "thing", "none"))


def test_a_key_that_its_tensordict_cannot_give_costs_only_itself(logger, capfd):
    uneven = tensordict.lazy_stack(
        [
            tensordict.TensorDict({"x": torch.zeros(2), "y": torch.tensor(1.0)}),
            tensordict.TensorDict({"x": torch.zeros(3), "y": torch.tensor(2.0)}),
        ]
    )
    assert logger.log_metrics(uneven, 0) == {"x": None, "y": [1.0, 2.0]}
    assert "'x' was left out" in capfd.readouterr().err
    (record,) = records(book_of(logger))
    assert record.values == {"y/0": 1.0, "y/1": 2.0}


@pytest.mark.parametrize(
    ("tensor", "value"),
    [
        (torch.tensor([[3.14]], dtype=torch.bfloat16), 3.140625),
        (torch.tensor(True), True),
        (torch.tensor(2.5, requires_grad=True), 2.5),
        (torch.nn.Parameter(torch.tensor([4.0])), 4.0),
        (torch.tensor(2**63, dtype=torch.uint64), 2**63),
        (torch.empty(0), []),
        (torch.eye(2).to_sparse(), [[1.0, 0.0], [0.0, 1.0]]),
        (torch.tensor(1 + 2j), 1 + 2j),
    ],
    ids=str,
)
def test_tensors_are_converted_as_in_torchrl(tensor, value):
    assert converted({"x": tensor}) == {"x": value}


def test_a_later_change_does_not_show(logger):
    value = torch.zeros(())
    for step in range(5):
        value += 1
        assert logger.log_metrics({"x": value}, step) == {"x": step + 1}
    assert book_of(logger).series("x").value.tolist() == [1, 2, 3, 4, 5]


def test_no_metrics_are_no_record(logger):
    assert logger.log_metrics({}) == {}
    assert records(book_of(logger)) == []


@pytest.mark.parametrize("wrong", [[1.0], 1.0, "loss", None])
def test_what_are_no_metrics_is_an_error(logger, wrong):
    with pytest.raises(steno.UsageError, match="a dict or a TensorDict"):
        logger.log_metrics(wrong)


# -- values that are late ------------------------------------------------------------------------------------


def late():
    asked = []

    def fetch():
        asked.append(1)
        return {"b": 2.0, "d": [1, 2]}

    marker = converted.__globals__["_LATE"]
    return LateMetrics({"a": 1, "b": marker, "c": "x", "d": marker}, [fetch]), asked


def test_what_is_known_of_late_metrics_does_not_wait():
    metrics, asked = late()
    assert list(metrics) == ["a", "b", "c", "d"]
    assert (len(metrics), "b" in metrics, "e" in metrics, metrics["a"], metrics["c"]) == (4, True, False, 1, "x")
    assert repr(metrics) == "<4 metrics, 2 of them on a device>"
    assert asked == []


def test_reading_one_waits_once_for_all():
    metrics, asked = late()
    assert metrics["d"] == [1, 2]
    assert dict(metrics) == metrics.to_dict() == {"a": 1, "b": 2.0, "c": "x", "d": [1, 2]}
    assert type(metrics.to_dict()) is dict
    assert list(metrics.to_dict()) == ["a", "b", "c", "d"]
    assert asked == [1]
    assert repr(metrics) == repr(metrics.to_dict())


def test_late_metrics_travel_as_a_dict():
    metrics, _ = late()
    assert pickle.loads(pickle.dumps(metrics)) == metrics.to_dict()


def test_an_interrupted_wait_can_be_taken_up_again():
    answers = [KeyboardInterrupt(), {"b": 1}]

    def fetch():
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    metrics = LateMetrics({"b": converted.__globals__["_LATE"]}, [fetch])
    with pytest.raises(KeyboardInterrupt):
        metrics["b"]
    assert metrics["b"] == 1


# -- the other methods ---------------------------------------------------------------------------------------


def test_every_kind_is_read_back(logger):
    logger.log_scalar("loss", torch.tensor(0.5), step=1)
    logger.log_scalar("loss", 0.25)
    logger.log_histogram("weights", np.arange(100.0), step=2, bins=10)
    logger.log_video("sample", torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8), step=3, fps=5, format="gif")
    logger.log_str("note", "**done**", step=4)
    logger.log_hparams({"lr": 0.1, "net": {"depth": 2}})
    book = book_of(logger)
    assert book.series("loss").value.tolist() == [0.5, 0.25]
    assert book.series("loss").step.tolist() == [1, 2]
    (weights,) = book.media("weights")
    assert (sum(weights.value["counts"]), len(weights.value["counts"])) == (100, 10)
    (sample,) = book.media("sample")
    assert sample.value.shape == (4, 8, 16, 3)
    assert [one.value for one in book.media("note")] == ["**done**"]
    assert book.info.config == {"lr": 0.1, "net": {"depth": 2}}


@dataclasses.dataclass
class Settings:
    lr: float = 0.1


@pytest.mark.parametrize(
    "cfg", [{"lr": 0.1}, Settings(), argparse.Namespace(lr=0.1)], ids=lambda cfg: type(cfg).__name__
)
def test_hparams_come_in_every_form(logger, cfg):
    logger.log_hparams(cfg)
    assert book_of(logger).info.config == {"lr": 0.1}


@pytest.mark.parametrize("wrong", [None, 3, "lr=1", [("lr", 1)], Settings])
def test_what_are_no_hparams_is_an_error(logger, wrong):
    with pytest.raises(steno.UsageError, match="log_hparams takes"):
        logger.log_hparams(wrong)


@pytest.mark.parametrize(
    "call",
    [
        lambda logger: logger.log_video("v", torch.zeros(3, 8, 8)),
        lambda logger: logger.log_video("v", "no array"),
        lambda logger: logger.log_video("v", torch.zeros(1, 4, 5, 8, 8)),
        lambda logger: logger.log_video("v", torch.zeros(1, 4, 3, 8, 8), video_codec="vp9"),
        lambda logger: logger.log_histogram("h", []),
        lambda logger: logger.log_histogram("h", [1.0], walltime=3),
        lambda logger: logger.log_histogram("h", [1.0], bins=0),
        lambda logger: logger.log_str("s", 3),
    ],
)
def test_misuse_raises_before_anything_is_recorded(logger, call):
    with pytest.raises(steno.UsageError):
        call(logger)
    assert records(book_of(logger)) == []


def test_repr_says_name_and_place(logger, tmp_path):
    assert repr(logger).startswith(
        f"RunLogger(exp_name='one', log_dir='{tmp_path}/ppo', experiment=<steno.Run ppo/one "
    )


def test_a_run_lies_where_torchrl_puts_it(logger, tmp_path):
    assert logger.experiment.dir == tmp_path / "ppo" / "one"


def test_options_reach_the_run(tmp_path):
    with steno.RunLogger("one", tmp_path / "ppo", collector=False, tags=("a",), config={"seed": 1}) as logger:
        assert dict(logger.experiment.config) == {"seed": 1}


def test_an_exception_is_the_runs_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), steno.RunLogger("one", tmp_path / "ppo", collector=False) as logger:
        1 / 0  # noqa: B018
    assert book_of(logger).info.state == "failed"


def test_flattened_keeps_what_is_no_metric_as_it_is():
    thing = object()
    assert flattened({"a": thing, 3: [1, 2]}) == {"a": thing, "3": [1, 2]}


# -- beside other runs ---------------------------------------------------------------------------------------


def test_a_logger_leaves_the_current_run_alone(tmp_path, monkeypatch):
    with steno.init("p", "mine", dir=tmp_path, collector=False) as run:
        exported = dict(os.environ)
        with (
            steno.RunLogger("train", tmp_path / "ppo", collector=False) as train,
            steno.RunLogger("eval", tmp_path / "ppo", collector=False) as evaluation,
        ):
            assert steno.current() is run
            assert dict(os.environ) == exported, "children join the current run"
            for step in range(3):
                steno.log({"mine": step}, step)
                train.log_scalar("x", step, step)
                evaluation.log_scalar("x", -step, step)
    for directory, key, values in [
        (run.dir, "mine", [0, 1, 2]),
        (train.experiment.dir, "x", [0, 1, 2]),
        (evaluation.experiment.dir, "x", [0, -1, -2]),
    ]:
        steno.sync(directory)
        book = steno.open(directory)
        assert book.series(key).value.tolist() == values
        assert book.info.state == "finished"


def test_a_logger_is_the_current_run_where_there_is_none(logger):
    assert steno.current() is logger.experiment
    logger.close()
    assert steno.current() is None


def test_two_loggers_of_one_name_lose_nothing(tmp_path):
    """In one process the second one gets a suffix, as after the end of the first."""
    with (
        steno.RunLogger("one", tmp_path / "ppo", collector=False) as first,
        steno.RunLogger("one", tmp_path / "ppo", collector=False) as second,
    ):
        first.log_scalar("a", 1.0, 0)
        second.log_scalar("b", 2.0, 0)
    assert [one.experiment.name for one in (first, second)] == ["one", "one-2"]
    assert book_of(first).series("a").value.tolist() == [1.0]
    assert book_of(second).series("b").value.tolist() == [2.0]


@pytest.mark.parametrize(("end", "state"), [("", "finished"), ("1 / 0", "failed")])
def test_loggers_that_are_left_open_end_with_the_program(tmp_path, end, state):
    program = (
        "import sys, steno\n"
        "one, two = (steno.RunLogger(name, sys.argv[1], collector=False) for name in ('one', 'two'))\n"
        "one.log_scalar('x', 1.0)\n"
        f"two.log_scalar('x', 2.0)\n{end}\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "ppo")],
        check=False, capture_output=True, timeout=30,
    )  # fmt: skip
    for name in ("one", "two"):
        steno.sync(tmp_path / "ppo" / name)
        book = steno.open(tmp_path / "ppo" / name)
        assert (book.info.state, len(book.series("x").value)) == (state, 1)


# -- packing -------------------------------------------------------------------------------------------------


def test_packed_copies_keep_dtype_order_and_the_moment():
    """The road of device tensors, with tensors of the host: a device's differ in where they are, not in this."""
    tensors = {
        "f": torch.tensor(1.5),
        "i": torch.tensor([7]),
        "g": torch.tensor([[2.5]]),
        "b": torch.tensor(True),
        "m": torch.arange(4.0),
        "h": torch.tensor(0.5, dtype=torch.float16),
        "s": torch.eye(2).to_sparse(),
        "e": torch.empty(0),
    }
    (fetch,) = started_fetches(tensors)
    for name in "figbm":
        tensors[name].zero_()
    assert fetch() == {
        "f": 1.5, "i": 7, "g": 2.5, "b": True, "m": [0, 1, 2, 3], "h": 0.5, "s": [[1, 0], [0, 1]], "e": [],
    }  # fmt: skip
