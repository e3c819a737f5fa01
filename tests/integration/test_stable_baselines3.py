"""`StenoWriter` inside real Stable-Baselines3: PPO and A2C on CartPole, media, an exception.

Runs where Stable-Baselines3 is installed: scripts/test-integrations stable_baselines3.
"""

from __future__ import annotations

import numpy as np
import pytest
from framework_runs import settled

import steno

pytest.importorskip("stable_baselines3", reason="scripts/test-integrations stable_baselines3")

import torch
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Logger, Video, configure

from steno.integrations.stable_baselines3 import StenoWriter

pytestmark = pytest.mark.filterwarnings("ignore")  # of gymnasium and torch, about themselves


class Seen(KVWriter):
    """What the logger gives to its writers."""

    def __init__(self):
        self.dumps = []

    def write(self, key_values, key_excluded, step=0):
        self.dumps.append((step, dict(key_values)))

    def close(self):
        pass


class FailAt(BaseCallback):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        if self.num_timesteps >= self.step:
            raise ValueError("the environment is bad")
        return True


def learn(kind, writer, steps, *, callback=None, **options):
    """What another writer of the same logger has seen."""
    torch.manual_seed(0)
    model = kind("MlpPolicy", "CartPole-v1", device="cpu", seed=0, **options)
    logger = configure(None, [])
    seen = Seen()
    logger.output_formats += [writer, seen]
    model.set_logger(logger)
    model.learn(steps, callback=callback, log_interval=1 if kind is PPO else 10)
    return model, seen.dumps


def test_ppo_is_recorded_as_it_was(tmp_path):
    writer = StenoWriter(project="cartpole", name="ppo", dir=tmp_path, config={"n_steps": 64})
    assert writer.run is None
    model, dumps = learn(PPO, writer, 256, n_steps=64, n_epochs=2)
    assert [step for step, _ in dumps] == [64, 128, 192, 256]
    model.learn(64, reset_num_timesteps=False)
    assert not writer.run.ended
    model.logger.close()
    assert writer.run.ended
    book = settled(tmp_path / "cartpole" / "ppo")
    for key in dumps[-1][1]:
        series = book.series(key)
        wanted = [(step, float(found[key])) for step, found in dumps if key in found]
        assert list(zip(series.step.tolist(), series.value.tolist(), strict=True))[: len(wanted)] == wanted, key
    assert book.series("rollout/ep_rew_mean").step.tolist() == [64, 128, 192, 256, 320]
    assert set(book.series("train/loss").record.tolist()) <= set(book.series("rollout/ep_rew_mean").record.tolist())
    assert book.info.config == {"n_steps": 64}
    assert book.info.state == "finished"
    assert len(book.info.attempts) == 1


def test_a2c_in_the_callers_run(tmp_path):
    with steno.init(project="mine", name="given", dir=tmp_path) as run:
        model, dumps = learn(A2C, StenoWriter(), 200)
        model.logger.close()
        assert not run.ended
    book = settled(tmp_path / "mine" / "given")
    assert book.series("time/total_timesteps").step.tolist() == [step for step, _ in dumps] == [50, 100, 150, 200]
    assert book.series("train/value_loss").value.tolist() == [found["train/value_loss"] for _, found in dumps]


def test_an_exception_in_a_with_statement_is_the_runs_failure(tmp_path):
    with (
        pytest.raises(ValueError, match="the environment is bad"),
        StenoWriter(project="cartpole", name="bad", dir=tmp_path) as writer,
    ):
        learn(PPO, writer, 256, callback=FailAt(100), n_steps=64, n_epochs=1)
    book = settled(tmp_path / "cartpole" / "bad")
    assert book.info.state == "failed"
    assert "the environment is bad" in book.info.error
    assert book.series("time/iterations").step.tolist() == [64]


def test_everything_that_can_be_recorded(tmp_path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    with StenoWriter(project="kinds", name="one", dir=tmp_path) as writer:
        logger = Logger(None, [writer])
        figure = pyplot.figure(figsize=(1, 1))
        logger.record("image", Image(np.zeros((4, 6, 3), np.uint8), "HWC"))
        logger.record("figure", Figure(figure, close=True))
        logger.record("weights", torch.arange(100.0))
        logger.record("hparams", HParam({"lr": 0.5, "kind": "ppo"}, {"loss": 0.0}))
        logger.record("words", "hello")
        logger.record("secret", 1.0, exclude="steno")
        logger.record_mean("mean", 1.0)
        logger.record_mean("mean", 2.0)
        if steno_video():
            logger.record("video", Video(torch.zeros(1, 3, 3, 16, 16, dtype=torch.uint8), fps=10))
        logger.dump(7)
        assert not pyplot.fignum_exists(figure.number)
    book = settled(tmp_path / "kinds" / "one")
    (image,) = book.media("image")
    assert (image.step, image.value.shape) == (7, (4, 6, 3))
    assert [sum(one.value["counts"]) for one in book.media("weights")] == [100]
    assert len(list(book.media("figure"))) == 1
    if steno_video():
        assert [len(one.value) for one in book.media("video")] == [3]
    assert book.series("mean").value.tolist() == [1.5]
    assert book.info.config == {"lr": 0.5, "kind": "ppo"}
    assert "secret" not in book.keys()
    assert {"words"} <= set(book.keys())


def steno_video():
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True
