"""`StenoLogger` inside real Lightning: fit, test, a second fit, failures, checkpoints, ranks, spawned and forked.

Runs where Lightning is installed: scripts/test-integrations lightning.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from framework_runs import settled, with_points

import steno
import under_test

pytest.importorskip("lightning", reason="scripts/test-integrations lightning")

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers.logger import Logger

from steno.integrations.checkpoints import keep
from steno.integrations.lightning import StenoLogger
from steno.record import ARTIFACT

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]  # Lightning's and torch's own, about this machine


class Line(pl.LightningModule):
    """y = 2x by gradient descent; keeps the losses it has logged."""

    def __init__(self, lr: float = 0.1, fail_at: int = -1):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def _loss(self, batch):
        return ((self.layer(batch) - 2 * batch) ** 2).mean()

    def training_step(self, batch, batch_idx):
        if self.global_step == self.hparams.fail_at:
            raise ValueError("the data is bad")
        loss = self._loss(batch)
        self.log("train/loss", loss)
        self.seen.append(loss.item())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self._loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("test/loss", self._loss(batch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def data():
    torch.manual_seed(0)
    return torch.utils.data.DataLoader(torch.randn(32, 1), batch_size=8)


def trainer(logger, tmp_path, **options):
    given = {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "enable_checkpointing": False, **options}
    return pl.Trainer(
        logger=logger, default_root_dir=tmp_path, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, **given,
    )  # fmt: skip


def entries(run_dir):
    return [entry.payload for entry in settled(run_dir).records(ARTIFACT)]


def test_a_fit_and_a_test_are_one_run(tmp_path):
    logger = StenoLogger(project="line", name="one", dir=tmp_path, tags=["lightning"])
    assert isinstance(logger, Logger)
    assert (logger.name, logger.version, logger.log_dir, logger.save_dir, logger.root_dir) == (None,) * 5
    model, loader = Line(), data()
    loop = trainer(logger, tmp_path)
    loop.fit(model, loader, loader)
    book = with_points(tmp_path / "line" / "one", "train/loss", 8)
    loss = book.series("train/loss")
    assert loss.step.tolist() == list(range(8))
    assert loss.value.tolist() == [pytest.approx(value) for value in model.seen]
    assert loss.value[-1] < loss.value[0]
    assert book.info.state == "running"
    loop.test(model, loader, verbose=False)
    logger.finish()
    book = settled(tmp_path / "line" / "one")
    assert book.series("val/loss").step.tolist() == [3, 7]
    assert len(book.series("test/loss").value) == 1
    assert book.series("epoch").value.tolist()[-1] == 2
    assert book.info.config == {"lr": 0.1, "fail_at": -1}
    assert book.info.state == "finished"
    assert len(book.info.attempts) == 1
    assert (logger.name, logger.version) == ("line", "one")
    assert steno.current() is None


def test_what_it_is_asked_to_record_does_not_wait_and_is_one_record(tmp_path):
    with StenoLogger(project="line", dir=tmp_path, prefix="ours") as logger:
        logger.log_metrics({"a": torch.tensor(1.5), "b": {"c": 2.0}}, step=3)
        logger.log_metrics({"a": 2.5})
        logger.experiment.log({"picture": steno.Image([[0, 255]])}, 4)
        where = logger.log_dir
    book = settled(where)
    assert (book.series("ours/a").step.tolist(), book.series("ours/a").value.tolist()) == ([3, 4], [1.5, 2.5])
    assert book.series("ours/b/c").record.tolist() == book.series("ours/a").record.tolist()[:1]
    assert len(list(book.media("picture"))) == 1


def test_an_exception_in_training_is_the_runs_failure(tmp_path):
    logger = StenoLogger(project="line", name="bad", dir=tmp_path)
    with pytest.raises(ValueError, match="the data is bad"):
        trainer(logger, tmp_path).fit(Line(fail_at=3), data())
    info = settled(tmp_path / "line" / "bad").info
    assert info.state == "failed"
    assert "the data is bad" in info.error
    assert logger.experiment.attempt == 2, "used again, it is the run's next attempt"
    trainer(logger, tmp_path).fit(Line(), data())
    logger.finish()
    book = settled(tmp_path / "line" / "bad")
    assert book.info.state == "finished"
    assert sorted(book.series("train/loss", attempt="all").step.tolist()) == sorted([0, 1, 2, *range(8)])


def test_the_callers_run_is_the_callers(tmp_path):
    with steno.init(project="mine", name="given", dir=tmp_path) as run:
        for logger in (StenoLogger(run), StenoLogger()):
            assert logger.experiment is run
            trainer(logger, tmp_path, max_epochs=1).fit(Line(), data())
            logger.finish()
            assert not run.ended
        with pytest.raises(ValueError, match="the data is bad"):
            trainer(StenoLogger(), tmp_path).fit(Line(fail_at=0), data())
        assert not run.ended
        with StenoLogger(project="beside", dir=tmp_path) as other:
            assert other.experiment is not run
        assert steno.current() is run
    assert settled(tmp_path / "mine" / "given").series("train/loss").step.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(steno.UsageError, match="run= is there already and project"):
        StenoLogger(run, project="mine")


def test_one_loggers_run_is_not_taken_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("STENO_DIR", str(tmp_path))
    with StenoLogger() as first, StenoLogger() as second:
        assert first.experiment is not second.experiment
        assert first.experiment is first.experiment


def test_checkpoints_lie_in_the_runs_directory(tmp_path):
    from lightning.pytorch.callbacks import ModelCheckpoint

    saver = ModelCheckpoint(monitor="val/loss", save_last=True)
    with StenoLogger(project="line", name="saved", dir=tmp_path, checkpoints=True) as logger:
        loop = trainer(logger, tmp_path, enable_checkpointing=True, callbacks=[saver])
        loop.fit(Line(), data(), data())
    made = tmp_path / "line" / "saved" / "checkpoints"
    assert sorted(made.iterdir()) == [made / "epoch=1-step=8.ckpt", made / "last.ckpt"]
    kept = {payload["name"]: payload for payload in entries(made.parent) if payload["op"] == "file"}
    assert set(kept) == {"checkpoints/epoch=0-step=4.ckpt", "checkpoints/epoch=1-step=8.ckpt", "checkpoints/last.ckpt"}
    assert (kept["checkpoints/epoch=1-step=8.ckpt"]["size"]) == os.path.getsize(saver.best_model_path)
    links = [payload for payload in entries(made.parent) if payload["op"] == "link"]
    assert links[-1]["name"] == "best/val/loss"
    assert links[-1]["target"] == "checkpoints/epoch=1-step=8.ckpt"


def test_a_checkpoint_that_cannot_be_kept_does_not_end_the_training(tmp_path):
    with (
        StenoLogger(project="line", name="lost", dir=tmp_path, checkpoints=True) as logger,
        pytest.warns(RuntimeWarning, match="was not kept with the run"),
    ):
        keep(logger.experiment, str(tmp_path / "gone.ckpt"), step=0)


def test_a_pickled_logger_records_into_the_same_run(tmp_path):
    logger = StenoLogger(project="line", name="sent", dir=tmp_path, config={"seed": 1})
    logger.log_metrics({"x": 1.0}, 0)
    with pickle.loads(pickle.dumps(logger)) as copy:
        copy.log_metrics({"x": 2.0}, 1)
        assert copy.version == "sent"
    logger.finish()
    assert settled(tmp_path / "line" / "sent").series("x").value.tolist() == [1.0, 2.0]


def test_mode_off_records_nothing(tmp_path):
    with StenoLogger(project="line", dir=tmp_path, mode="off") as logger:
        trainer(logger, tmp_path / "lightning").fit(Line(), data())
        with pickle.loads(pickle.dumps(logger)) as copy:
            copy.log_metrics({"x": 1.0})
    assert not (tmp_path / "line").exists()


RANKS = """
import sys

import lightning.pytorch as pl
import torch
from test_lightning import Line, data, trainer

from steno.integrations.lightning import StenoLogger


class Ranked(Line):
    def training_step(self, batch, batch_idx):
        self.logger.experiment.log({"seen by": self.global_rank}, step=batch_idx)
        self.log("rank", float(self.global_rank))
        return super().training_step(batch, batch_idx)


if __name__ == "__main__":
    logger = StenoLogger(project="ranks", name="two", dir=sys.argv[1])
    options = {"strategy": sys.argv[2], "devices": 2, "max_epochs": 1, "enable_checkpointing": True}
    trainer(logger, sys.argv[1], **options).fit(Ranked(), data())
    logger.log_metrics({"after": 1.0}, 9)
    logger.finish()
"""


@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn", "ddp_fork"])
def test_rank_zero_records_for_two(tmp_path, strategy):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path), strategy],
        check=False, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "ranks").iterdir()) == ["two"]
    book = settled(tmp_path / "ranks" / "two")
    assert book.series("rank").value.tolist() == [0.0, 0.0], "Lightning logs rank zero's value"
    assert book.series("seen by").value.tolist() == [0.0, 0.0]
    assert book.series("train/loss").step.tolist() == [0, 1]
    assert book.series("after").step.tolist() == [9]
    assert book.info.state == "finished"
    assert list((tmp_path / "ranks" / "two" / "checkpoints").glob("*.ckpt"))


def test_pytorch_lightning_is_served_too(tmp_path):
    pytest.importorskip("pytorch_lightning")
    script = tmp_path / "old.py"
    script.write_text(
        "import sys\n"
        "import pytorch_lightning as pl\n"
        "from steno.integrations.lightning import StenoLogger\n"
        "from pytorch_lightning.demos.boring_classes import BoringModel\n"
        "class Model(BoringModel):\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        found = super().training_step(batch, batch_idx)\n"
        "        self.log('loss', found['loss'])\n"
        "        return found\n"
        "logger = StenoLogger(project='old', name='one', dir=sys.argv[1])\n"
        "assert isinstance(logger, pl.loggers.Logger)\n"
        "pl.Trainer(logger=logger, max_steps=3, log_every_n_steps=1, accelerator='cpu', devices=1,\n"
        "    enable_progress_bar=False).fit(Model())\n"
        "assert 'lightning.pytorch' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    book = settled(tmp_path / "old" / "one")
    assert book.series("loss").step.tolist() == [0, 1, 2]
    assert book.info.state == "finished", "the end of the program ends it"
