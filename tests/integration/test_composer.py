"""`StenoLogger` inside a real Composer Trainer: fit, evaluation, checkpoints, images, failures, two ranks.

Runs where Composer is installed: scripts/test-integrations composer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from framework_runs import settled, with_points

import steno
import under_test

pytest.importorskip("composer", reason="scripts/test-integrations composer")

import torch
from composer import Callback, Event, Trainer
from composer.loggers import InMemoryLogger, LoggerDestination
from composer.models import ComposerClassifier
from torchmetrics.classification import MulticlassAccuracy

from steno.integrations.composer import StenoLogger
from steno.record import EVENT

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]  # Composer's and torch's own, about this machine


class Points(torch.utils.data.Dataset):
    """Points of the plane, and on which side of a line they are."""

    def __init__(self, size=32):
        torch.manual_seed(0)
        self.x = torch.randn(size, 2)
        self.y = (self.x.sum(1) > 0).long()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class FailAt(Callback):
    def __init__(self, batch):
        self.batch = batch

    def batch_end(self, state, logger):
        if int(state.timestamp.batch) == self.batch:
            raise ValueError("the data is bad")


class Shows(Callback):
    """Logs what a callback can at the end of an epoch."""

    def epoch_end(self, state, logger):
        logger.log_images(torch.zeros(2, 3, 4, 4), name="pictures", masks={"m": torch.ones(2, 4, 4, dtype=torch.uint8)},
                          mask_class_labels={1: "one"})  # fmt: skip
        logger.log_images([np.zeros((4, 6, 3), np.uint8)], name="last", channels_last=True)
        logger.log_images(np.zeros((4, 6)), name="plain")
        logger.log_table(["a", "b"], [[1, 2], [3, 4]], name="table")
        logger.log_traces({"algorithm": "none"})


def trainer(*loggers, duration="2ep", callbacks=(), sampled=False, **options):
    torch.manual_seed(0)
    model = ComposerClassifier(
        torch.nn.Linear(2, 2), num_classes=2,
        train_metrics=MulticlassAccuracy(2, average="micro"), val_metrics=MulticlassAccuracy(2, average="micro"),
    )  # fmt: skip
    data = Points()
    sampler = (
        torch.utils.data.DistributedSampler(data, shuffle=False, num_replicas=2, rank=int(os.environ["RANK"]))
        if sampled
        else None
    )
    return Trainer(
        model=model, train_dataloader=torch.utils.data.DataLoader(data, batch_size=8, sampler=sampler),
        eval_dataloader=torch.utils.data.DataLoader(data, batch_size=16, sampler=sampler), max_duration=duration,
        optimizers=torch.optim.SGD(model.parameters(), lr=0.5), loggers=list(loggers), callbacks=list(callbacks),
        progress_bar=False, device="cpu", **options,
    )  # fmt: skip


def test_what_the_trainer_logs_is_recorded_as_it_was(tmp_path):
    logger, memory = StenoLogger(project="points", dir=tmp_path, config={"mine": 1}), InMemoryLogger()
    assert isinstance(logger, LoggerDestination)
    assert logger.run is None
    loop = trainer(logger, memory, run_name="first")
    assert logger.run.name == "first"
    loop.fit()
    book = with_points(tmp_path / "points" / "first", "loss/train/total", 8)
    assert book.series("loss/train/total").step.tolist() == list(range(8))
    assert book.info.state == "running"
    loop.close()
    assert logger.run.ended
    book = settled(tmp_path / "points" / "first")
    assert book.info.state == "finished"
    compared = 0
    for key, told in memory.data.items():
        values = [float(value) for _, value in told if not isinstance(value, str)]
        if values:
            series = book.series(key)
            assert sorted(series.value.tolist()) == sorted(values), key
            assert series.step.tolist() == sorted(int(stamp.batch) for stamp, _ in told), key
            compared += 1
    assert compared >= 8
    loss = book.series("loss/train/total").value
    assert loss[-1] < loss[0]
    assert book.series("metrics/eval/MulticlassAccuracy").step.tolist() == [4, 8]
    assert {"mine", "composer_version", "num_nodes", "rank_zero_seed"} <= set(book.info.config)

    events = [(entry.payload["name"], entry.step, entry.payload) for entry in book.records(EVENT)]
    names = [name for name, *_ in events]
    assert names[:4] == ["init", "before_load", "after_load", "fit_start"]
    assert names[-1] == "fit_end"
    assert [step for name, step, _ in events if name == "batch_end"] == list(range(1, 9))
    ends = [
        (payload["epoch"], payload["batch"], payload["sample"]) for name, _, payload in events if name == "epoch_end"
    ]
    assert ends == [(1, 4, 32), (2, 8, 64)]
    assert next(payload for name, _, payload in events if name == "fit_start")["max_duration"] == "2ep"
    assert names.count("eval_end") == 2
    assert "before_forward" not in names


def test_what_a_callback_shows_is_recorded(tmp_path):
    loop = trainer(StenoLogger(project="points", name="shown", dir=tmp_path), callbacks=[Shows()])
    loop.fit()
    loop.close()
    book = settled(tmp_path / "points" / "shown")
    for key, shape in (("pictures/0", (4, 4, 3)), ("pictures/1", (4, 4, 3)), ("last/0", (4, 6, 3)), ("plain", (4, 6))):
        items = list(book.media(key))
        assert [item.step for item in items] == [4, 8], key
        assert items[0].value.shape[:2] == shape[:2], key
    assert [item.step for item in book.media("table")] == [4, 8]
    traces = [entry.payload for entry in book.records(EVENT) if entry.payload["name"] == "traces"]
    assert [payload["traces"] for payload in traces] == [{"algorithm": "none"}] * 2


def test_every_event_and_a_further_trainer(tmp_path):
    logger = StenoLogger(project="points", dir=tmp_path, all_events=True)
    first = trainer(logger, duration="2ba", run_name="one")
    first.fit()
    first.close()
    second = trainer(logger, duration="1ba", run_name="two")
    second.fit()
    second.close()
    one, two = (settled(tmp_path / "points" / name) for name in ("one", "two"))
    names = [entry.payload["name"] for entry in one.records(EVENT)]
    for event in ("before_forward", "after_loss", "before_backward", "batch_checkpoint", "eval_batch_end"):
        assert event in names, event
    assert {Event(name) for name in names}, "Composer's own names"
    ends = [entry.payload["batch"] for entry in one.records(EVENT) if entry.payload["name"] == "eval_batch_end"]
    assert ends[:2] == [1, 2], "an evaluation counts its own batches"
    assert one.info.state == two.info.state == "finished"
    assert two.series("loss/train/total").step.tolist() == [0]


def test_composers_events_move_the_state_of_stenos_own_destinations(tmp_path):
    seen = []

    class Mine(steno.LoggerDestination):
        def log_data(self, state, log_level, data):
            if "loss/train/total" in data:
                seen.append((int(state.timestamp.epoch), int(state.timestamp.batch)))

    loop = trainer(StenoLogger(project="points", dir=tmp_path, destinations=[Mine()]))
    loop.fit()
    loop.close()
    assert seen == [(batch // 4, batch) for batch in range(8)]


def test_checkpoints_become_artifacts(tmp_path):
    from composer.callbacks import CheckpointSaver

    logger = StenoLogger(project="points", name="saved", dir=tmp_path)
    saver = CheckpointSaver(
        folder=str(tmp_path / "out"), remote_file_name="{run_name}/ep{epoch}-rank{rank}.pt", save_interval="1ep",
        latest_remote_file_name=None, num_checkpoints_to_keep=1,
    )  # fmt: skip
    loop = trainer(logger, callbacks=[saver], run_name="first")
    assert loop.logger.has_file_upload_destination()
    loop.fit()
    path = tmp_path / "note{x}.txt"
    path.write_text("hello")
    logger.upload_file(loop.state, "note{x}.txt", path, overwrite=False)
    path.write_text("bye")
    with pytest.raises(FileExistsError):
        logger.upload_file(loop.state, "note{x}.txt", path, overwrite=False)
    loop.close()
    names = [one.name for one in settled(tmp_path / "points" / "saved").artifacts()]
    assert names == ["first/ep1-rank0.pt", "first/ep2-rank0.pt", "note{x}.txt"]
    on = trainer(StenoLogger(project="points", name="saved", dir=tmp_path, resume=True), duration="3ep",
                 load_path=str(tmp_path / "out" / "latest-rank0.pt"))  # fmt: skip
    on.fit()
    on.close()
    book = settled(tmp_path / "points" / "saved")
    assert book.series("loss/train/total", attempt="all").step.tolist() == list(range(12))
    assert len(book.info.attempts) == 2


def test_files_come_back_and_a_trainer_loads_its_checkpoint_from_the_run(tmp_path):
    logger = StenoLogger(project="points", name="back", dir=tmp_path)
    loop = trainer(logger, duration="1ep")
    loop.fit()
    path = loop.save_checkpoint(str(tmp_path / "made.pt"))
    logger.upload_file(loop.state, "checkpoints/one.pt", path, overwrite=False)
    os.remove(path)
    (tmp_path / "note").write_text("hello")
    logger.upload_file(loop.state, "note", tmp_path / "note", overwrite=False)
    logger.download_file("note", str(tmp_path / "back.txt"), progress_bar=False)
    assert (tmp_path / "back.txt").read_text() == "hello"
    with pytest.raises(FileExistsError, match="there already"):
        logger.download_file("note", str(tmp_path / "back.txt"))
    logger.download_file("note", str(tmp_path / "back.txt"), overwrite=True)
    with pytest.raises(FileNotFoundError, match="nothing"):
        logger.download_file("nothing", str(tmp_path / "nothing"))
    loop.close()
    again = StenoLogger(project="points", name="back", dir=tmp_path, resume=True, rewind=4)
    on = trainer(again, duration="2ep", load_path="checkpoints/one.pt", load_object_store=again)
    assert int(on.state.timestamp.batch) == 4
    on.fit()
    on.close()
    assert settled(tmp_path / "points" / "back").series("loss/train/total").step.tolist() == list(range(8))


def test_the_callers_run_is_the_callers(tmp_path):
    with steno.init(project="mine", name="given", dir=tmp_path) as run:
        for logger in (StenoLogger(run), StenoLogger()):
            loop = trainer(logger, duration="2ba")
            loop.fit()
            loop.close()
            assert logger.run is run
            assert not run.ended
    assert settled(tmp_path / "mine" / "given").series("loss/train/total").step.tolist() == [0, 0, 1, 1]


def test_a_trainer_that_is_closed_while_an_exception_is_handled_has_failed(tmp_path):
    loop = trainer(StenoLogger(project="points", name="bad", dir=tmp_path), callbacks=[FailAt(3)])
    with pytest.raises(ValueError, match="the data is bad"):
        try:
            loop.fit()
        finally:
            loop.close()
    book = settled(tmp_path / "points" / "bad")
    assert book.info.state == "failed"
    assert "the data is bad" in book.info.error
    assert book.series("loss/train/total").step.tolist() == [0, 1, 2]


def test_images_that_are_none_are_refused(tmp_path):
    loop = trainer(StenoLogger(project="points", name="refused", dir=tmp_path))
    with pytest.raises(steno.UsageError, match="one for each"):
        loop.logger.log_images(torch.zeros(2, 3, 4, 4), masks={"m": torch.zeros(1, 4, 4)})
    with pytest.raises(steno.UsageError):
        loop.logger.log_images(torch.zeros(2, 5, 5, 4, 4))
    loop.close()


PROGRAM = """
import os
import sys

from test_composer import FailAt, trainer

from steno.integrations.composer import StenoLogger

if __name__ == "__main__":
    where, kind = sys.argv[1:3]
    logger = StenoLogger(project="points", name="program", dir=where, rank_zero_only=kind != "all")
    two = kind != "fails"
    loop = trainer(logger, sampled=two, duration="2ba", callbacks=[] if two else [FailAt(1)])
    assert (logger.run is None) is (kind == "zero" and os.environ["RANK"] == "1")
    loop.fit()
"""


def program(tmp_path, kind, *command):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [*command, str(script), str(tmp_path), kind],
        check=False, capture_output=True, text=True, timeout=280, cwd=tmp_path,
        env={
            **os.environ, "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2]), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1",
            "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        },
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "points").iterdir()) == ["program"]
    return done, settled(tmp_path / "points" / "program")


def test_a_program_that_an_exception_ends_has_failed(tmp_path):
    done, book = program(tmp_path, "fails", sys.executable)
    assert done.returncode == 1
    assert book.info.state == "failed"
    assert "the data is bad" in book.info.error


@pytest.mark.parametrize("kind", ["zero", "all"])
def test_two_ranks_of_composers_own_launcher(tmp_path, kind):
    done, book = program(tmp_path, kind, sys.executable, "-m", "composer.cli", "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    loss = book.series("loss/train/total")
    assert loss.step.tolist() == ([0, 1] if kind == "zero" else [0, 0, 1, 1])
    assert set(loss.rank.tolist()) == ({0} if kind == "zero" else {0, 1})
    assert book.info.state == "finished"
