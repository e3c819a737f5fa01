"""`StenoTracker` inside real Accelerate: a training loop, one process and two.

Runs where Accelerate is installed: scripts/test-integrations accelerate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from framework_runs import settled

import steno
import under_test

pytest.importorskip("accelerate", reason="scripts/test-integrations accelerate")

import torch
from accelerate import Accelerator
from accelerate.tracking import GeneralTracker

from steno.integrations.accelerate import StenoTracker

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]  # Accelerate's and torch's own, about this machine


def train(tracker, steps=6):
    """(the accelerator, the losses)."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("any", config={"lr": 0.1, "layers": [1, 2]})
    model = torch.nn.Linear(1, 1)
    loader = torch.utils.data.DataLoader(torch.randn(steps * 8, 1), batch_size=8)
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.1), loader)
    losses = []
    for step, batch in enumerate(loader):
        loss = ((model(batch) - 2 * batch) ** 2).mean()
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        accelerator.log({"train": {"loss": loss.detach()}, "lr": 0.1}, step=step)
        losses.append(loss.item())
    return accelerator, losses


def test_a_training_loop_is_recorded_as_it_was(tmp_path):
    tracker = StenoTracker(project="line", name="one", dir=tmp_path)
    assert isinstance(tracker, GeneralTracker)
    assert tracker.tracker is None
    accelerator, losses = train(tracker)
    run = accelerator.get_tracker("steno", unwrap=True)
    assert isinstance(run, steno.Run)
    accelerator.log({"level": 1.0}, step=6, log_kwargs={"steno": {"level": 2}})
    ours = accelerator.get_tracker("steno")
    ours.log_images({"one": np.zeros((4, 4), np.uint8), "two": [np.zeros((4, 4, 3), np.uint8)] * 2}, step=6)
    ours.log_table("table", ["a", "b"], [[1, 2], [3, 4]], step=6)
    accelerator.end_training()
    assert run.ended
    book = settled(tmp_path / "line" / "one")
    loss = book.series("train/loss")
    assert loss.step.tolist() == list(range(6))
    assert loss.value.tolist() == losses
    assert losses[-1] < losses[0]
    assert set(loss.record.tolist()) == set(book.series("lr").record.tolist()), "one record each"
    assert book.info.config == {"lr": 0.1, "layers": [1, 2]}
    assert book.info.state == "finished"
    for key in ("one", "two/0", "two/1", "table"):
        assert [item.step for item in book.media(key)] == [6], key


def test_the_callers_run_is_the_callers(tmp_path):
    with steno.init(project="mine", name="given", dir=tmp_path) as run:
        for tracker in (StenoTracker(run), StenoTracker()):
            accelerator, _ = train(tracker, steps=2)
            accelerator.end_training()
            assert not run.ended
    assert settled(tmp_path / "mine" / "given").series("train/loss").step.tolist() == [0, 0, 1, 1]


def test_a_second_training_is_the_next_attempt(tmp_path):
    tracker = StenoTracker(project="line", name="twice", dir=tmp_path)
    for _ in range(2):
        accelerator, _ = train(tracker, steps=2)
        accelerator.end_training()
    book = settled(tmp_path / "line" / "twice")
    assert len(book.info.attempts) == 2
    assert len(book.series("train/loss", attempt="all").value) == 4
    assert book.info.state == "finished"


PROGRAM = """
import sys

from test_accelerate import train

from steno.integrations.accelerate import StenoTracker

if __name__ == "__main__":
    tracker = StenoTracker(project="line", name="program", dir=sys.argv[1])
    accelerator, _ = train(tracker)
    assert accelerator.num_processes == int(sys.argv[2]), accelerator.num_processes
    assert (tracker.tracker is None) is not accelerator.is_main_process
    if accelerator.num_processes == 1:
        raise ValueError("the data is bad")
    accelerator.end_training()
"""


def program(tmp_path, processes, *command):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command, str(script), str(tmp_path), str(processes)],
        check=False, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2]), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
    )  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "line").iterdir()) == ["program"]
    return done, settled(tmp_path / "line" / "program")


def test_an_exception_that_ends_the_program_is_the_runs_failure(tmp_path):
    done, book = program(tmp_path, 1)
    assert done.returncode == 1
    assert "the data is bad" in book.info.error
    assert book.info.state == "failed"
    assert book.series("train/loss").step.tolist() == list(range(6))


def test_the_main_process_records_for_two(tmp_path):
    done, book = program(tmp_path, 2, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert book.series("train/loss").step.tolist() == [0, 1, 2]
    assert book.series("train/loss").rank.tolist() == [0, 0, 0]
    assert book.info.state == "finished"
