"""`StenoLogger` inside real TorchRL: a training loop, the Trainer, the video recorder, the process service.

Runs where TorchRL is installed: scripts/test-integrations torchrl.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import steno

pytest.importorskip("torchrl", reason="scripts/test-integrations torchrl")
torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore")  # TorchRL's and torch's own, about their own parts

TRAINING = '''
import sys

import torch
from tensordict.nn import TensorDictModule
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, ReplayBuffer, SamplerWithoutReplacement
from torchrl.envs import PendulumEnv, StepCounter, TransformedEnv, Transform
from torchrl.modules import NormalParamExtractor, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE
from torchrl.record import VideoRecorder

from steno.integrations.torchrl import StenoLogger


class Drawn(Transform):
    """Pixels of the pendulum: a bright point where its end is."""

    def _draw(self, tensordict):
        theta = float(tensordict["th"])
        pixels = torch.zeros(3, 16, 16, dtype=torch.uint8)
        pixels[:, int(8 + 6 * torch.tensor(theta).sin()), int(8 + 6 * torch.tensor(theta).cos())] = 255
        tensordict["pixels"] = pixels.permute(1, 2, 0)
        return tensordict

    def _call(self, tensordict):
        return self._draw(tensordict)

    def _reset(self, tensordict, tensordict_reset):
        return self._draw(tensordict_reset)


class Together(torch.nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, outputs))

    def forward(self, th, thdot):
        return self.net(torch.stack([th, thdot], -1))


torch.manual_seed(0)
logger = StenoLogger(exp_name="pendulum", log_dir=sys.argv[1], video_format="gif")
logger.log_hparams({"lr": 3e-3, "frames": 192, "ppo": {"epochs": 2}})
env = TransformedEnv(PendulumEnv(), StepCounter(16))


class Policy(Together):
    def forward(self, th, thdot):
        return NormalParamExtractor()(super().forward(th, thdot))


actor = ProbabilisticActor(
    TensorDictModule(Policy(2), in_keys=["th", "thdot"], out_keys=["loc", "scale"]),
    in_keys=["loc", "scale"],
    distribution_class=TanhNormal,
    distribution_kwargs={"low": -2.0, "high": 2.0},
    spec=env.action_spec,
    return_log_prob=True,
)
critic = ValueOperator(Together(1), in_keys=["th", "thdot"])
collector = Collector(env, actor, frames_per_batch=64, total_frames=192)
advantage = GAE(gamma=0.98, lmbda=0.95, value_network=critic)
loss_module = ClipPPOLoss(actor, critic)
optimizer = torch.optim.Adam(loss_module.parameters(), lr=3e-3)
buffer = ReplayBuffer(storage=LazyTensorStorage(64), sampler=SamplerWithoutReplacement(), batch_size=32)
frames = updates = 0
expected = []
for data in collector:
    frames += data.numel()
    for epoch in range(2):
        with torch.no_grad():
            advantage(data)
        buffer.extend(data.reshape(-1))
        for _ in range(2):
            losses = loss_module(buffer.sample())
            loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            returned = logger.log_metrics({"train": losses, "loss": loss}, step=updates)
            assert type(returned) is dict, type(returned)
            assert returned["loss"] == loss.item()
            assert set(returned) >= {"train/loss_objective", "train/loss_critic"}
            expected.append(returned["loss"])
            updates += 1
    logger.log_scalar("reward", data["next", "reward"].mean().item(), step=frames)
    logger.log_histogram("action", data["action"], step=frames)
collector.shutdown()

recorder = VideoRecorder(logger, tag="rollout", skip=1, in_keys=["pixels"], fps=10)
filmed = TransformedEnv(PendulumEnv(), Drawn())
filmed.append_transform(recorder)
with torch.no_grad():
    filmed.rollout(8, actor)
filmed.transform.dump()
print(repr(logger))
logger.flush()
state = logger.state_dict()
logger.close()
assert not logger.is_alive
print("expected", *map(repr, expected))
'''


def test_a_ppo_training_loop_is_recorded_as_it_was(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TRAINING)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "ppo")],
        check=False, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "StenoLogger(exp_name='pendulum'" in done.stdout
    expected = [float(one) for one in done.stdout.partition("expected ")[2].split()]
    steno.sync(tmp_path / "ppo" / "pendulum")
    book = steno.open(tmp_path / "ppo" / "pendulum")
    loss = book.series("loss")
    assert loss.step.tolist() == list(range(len(expected)))
    assert loss.value.tolist() == expected
    assert len(expected) == 12
    assert len(book.series("train/loss_critic").value) == 12
    assert book.series("reward").step.tolist() == [64, 128, 192]
    assert book.info.config == {"lr": 3e-3, "frames": 192, "ppo": {"epochs": 2}}
    assert book.info.state == "finished"
    assert [sum(one.value["counts"]) for one in book.media("action")] == [64, 64, 64]
    (video,) = book.media("rollout")
    assert video.value.shape[1:] == (16, 16, 3)
    assert len(video.value) >= 8
    assert video.value.any()
    # One call is one record: a loss and its parts share their number.
    assert set(loss.record.tolist()) == set(book.series("train/loss_critic").record.tolist())


def test_it_is_torchrls_own_kind(tmp_path):
    from torchrl.record.loggers import Logger

    from steno.integrations.torchrl import StenoLogger

    logger = StenoLogger("one", tmp_path / "logs", collector=False)
    assert isinstance(logger, Logger)
    assert logger.experiment.dir == tmp_path / "logs" / "one"
    assert (logger.client(), logger.start(), logger.is_alive, logger.service_backend) == (
        logger,
        logger,
        True,
        "direct",
    )
    logger.shutdown()
    assert not logger.is_alive


def test_values_are_converted_as_torchrl_converts_them(tmp_path):
    from tensordict import TensorDict
    from torchrl.record.loggers.common import _make_metrics_safe

    from steno.integrations.torchrl import StenoLogger

    logger = StenoLogger("one", tmp_path / "logs", collector=False)
    plain = {"t": torch.tensor(1.5), "p": 2, "list": torch.arange(4.0), "s": "x", "n": np.float32(0.5)}
    nested = TensorDict({"a": {"b": torch.tensor(1), "c": torch.ones(2)}, "d": torch.tensor(True)})
    for metrics in (plain, nested):
        assert logger.log_metrics(metrics, step=0) == _make_metrics_safe(metrics)
    assert list(logger.log_metrics(plain, step=1)) == list(plain), "ours keeps the order"
    assert logger.log_metrics(nested, 2, keys_sep=".") == _make_metrics_safe(nested, keys_sep=".")
    logger.shutdown()


def test_it_works_as_a_process_service(tmp_path):
    """TorchRL's own child process runs it; spawned, so from a program with a guard."""
    script = tmp_path / "service.py"
    script.write_text(
        "import sys, torch\n"
        "from steno.integrations.torchrl import StenoLogger\n"
        "if __name__ == '__main__':\n"
        "    logger = StenoLogger('one', sys.argv[1], service_backend='process')\n"
        "    for step in range(5):\n"
        "        logger.log_scalar('x', float(step), step=step)\n"
        "    print(logger.log_metrics({'y': torch.tensor(2.0)}, step=5))\n"
        "    logger.shutdown()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "logs")],
        check=False, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip() == "{'y': 2.0}"
    steno.sync(tmp_path / "logs" / "one")
    book = steno.open(tmp_path / "logs" / "one")
    assert book.series("x").value.tolist() == [0, 1, 2, 3, 4]
    assert book.series("y").value.tolist() == [2.0]
