"""`StenoCallback` inside the real Trainer of Transformers: a tiny model made from a configuration, nothing downloaded.

Runs where Transformers is installed: scripts/test-integrations transformers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from framework_runs import settled, with_points

import steno
import under_test

pytest.importorskip("transformers", reason="scripts/test-integrations transformers")
pytest.importorskip("accelerate", reason="scripts/test-integrations transformers")

import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from steno.integrations.transformers import StenoCallback
from steno.record import ARTIFACT

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.timeout(300),
]  # Transformers' and torch's own, about this machine


class Parity(torch.utils.data.Dataset):
    """Rows of 0 and 1, and whether their sum is odd."""

    def __len__(self):
        return 24

    def __getitem__(self, index):
        bits = torch.tensor([(index >> shift) & 1 for shift in range(6)])
        return {"input_ids": bits, "labels": bits.sum() % 2}


def model(trial=None):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=8,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def trainer(callback, tmp_path, *more, **options):
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), use_cpu=True, report_to="none", disable_tqdm=True, seed=0,
        per_device_train_batch_size=8, per_device_eval_batch_size=8,
        **{"max_steps": 6, "logging_steps": 2, "save_strategy": "no", **options},
    )  # fmt: skip
    return Trainer(
        model_init=model, args=arguments, train_dataset=Parity(), eval_dataset=Parity(),
        callbacks=[callback, *more], compute_metrics=lambda found: {"size": float(len(found.label_ids))},
    )  # fmt: skip


class FailAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise ValueError("the data is bad")


def test_training_evaluation_and_prediction_are_one_run(tmp_path):
    callback = StenoCallback(project="parity", name="one", dir=tmp_path, config={"note": "mine"})
    assert isinstance(callback, TrainerCallback)
    assert callback.run is None
    loop = trainer(callback, tmp_path, eval_strategy="steps", eval_steps=3)
    loop.train()
    book = with_points(tmp_path / "parity" / "one", "train/train_runtime", 1)
    assert book.info.state == "running"
    loss = book.series("train/loss")
    told = [entry for entry in loop.state.log_history if "loss" in entry]
    assert loss.step.tolist() == [entry["step"] for entry in told] == [2, 4, 6]
    assert loss.value.tolist() == [entry["loss"] for entry in told]
    assert set(loss.record.tolist()) == set(book.series("train/learning_rate").record.tolist()), "one record each"
    assert book.series("eval/loss").step.tolist() == [3, 6]
    assert book.series("train/train_runtime").step.tolist() == [6]
    loop.evaluate()
    loop.predict(Parity())
    callback.finish()
    book = settled(tmp_path / "parity" / "one")
    assert book.series("eval/size").value.tolist() == [24.0] * 3
    assert book.series("test/size").value.tolist() == [24.0]
    config = book.info.config
    assert (config["note"], config["args"]["max_steps"], config["model"]["hidden_size"]) == ("mine", 6, 8)
    assert book.info.state == "finished"
    assert len(book.info.attempts) == 1


def test_a_training_that_goes_on_from_a_checkpoint_hides_what_it_repeats(tmp_path):
    options = {"save_strategy": "steps", "save_steps": 2, "logging_steps": 1}
    with pytest.raises(ValueError, match="the data is bad"), StenoCallback(project="p", name="on", dir=tmp_path) as one:
        trainer(one, tmp_path, FailAt(5), **options).train()
    info = settled(tmp_path / "p" / "on").info
    assert info.state == "failed"
    assert "the data is bad" in info.error
    with StenoCallback(project="p", name="on", dir=tmp_path, resume=True) as two:
        trainer(two, tmp_path, **options).train(resume_from_checkpoint=True)
    book = settled(tmp_path / "p" / "on")
    assert book.series("train/loss").step.tolist() == [1, 2, 3, 4, 5, 6]
    assert [(attempt.attempt, attempt.rewind) for attempt in book.info.attempts] == [(1, None), (2, 5)]
    assert book.info.state == "finished"


def test_checkpoints_are_kept_and_the_best_is_known(tmp_path):
    with StenoCallback(project="p", name="kept", dir=tmp_path, checkpoints=True) as callback:
        loop = trainer(
            callback, tmp_path, max_steps=4, save_strategy="steps", save_steps=2, eval_strategy="steps", eval_steps=2,
            metric_for_best_model="loss", load_best_model_at_end=True, save_total_limit=1,
        )  # fmt: skip
        loop.train()
    payloads = [entry.payload for entry in settled(tmp_path / "p" / "kept").records(ARTIFACT)]
    made = [payload["name"] for payload in payloads if payload["op"] == "dir"]
    assert made == ["checkpoints/checkpoint-2", "checkpoints/checkpoint-4"]
    best = [(payload["name"], payload["target"]) for payload in payloads if payload["op"] == "link"][-1]
    assert best == ("best/loss", f"checkpoints/{os.path.basename(loop.state.best_model_checkpoint)}")


def test_the_callers_run_is_the_callers(tmp_path):
    with steno.init(project="mine", name="given", dir=tmp_path) as run:
        for callback in (StenoCallback(run), StenoCallback()):
            trainer(callback, tmp_path, max_steps=2).train()
            callback.finish()
            assert not run.ended
    book = settled(tmp_path / "mine" / "given")
    assert book.series("train/loss").step.tolist() == [2, 2]
    assert book.info.config["args"]["max_steps"] == 2


def test_a_second_training_goes_on_in_the_run(tmp_path):
    with StenoCallback(project="p", name="twice", dir=tmp_path) as callback:
        trainer(callback, tmp_path, max_steps=2).train()
        trainer(callback, tmp_path, max_steps=2).train()
    book = settled(tmp_path / "p" / "twice")
    assert book.series("train/loss").step.tolist() == [2, 2]


def test_each_trial_of_a_search_is_a_run(tmp_path):
    pytest.importorskip("optuna", reason="scripts/test-integrations transformers")
    with StenoCallback(project="search", dir=tmp_path) as callback:
        trainer(callback, tmp_path, max_steps=2).hyperparameter_search(
            hp_space=lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2)},
            hp_name=lambda trial: f"trial-{trial.number}",
            n_trials=2, backend="optuna", direction="minimize", compute_objective=lambda found: found["eval_loss"],
        )  # fmt: skip
    for number in range(2):
        book = settled(tmp_path / "search" / f"trial-{number}")
        assert book.info.state == "finished"
        assert book.series("train/loss").step.tolist() == [2]
        assert book.info.config["args"]["learning_rate"] == book.info.config["trial"]["learning_rate"]


PROGRAM = """
import sys

from test_transformers import FailAt, trainer
from pathlib import Path

from steno.integrations.transformers import StenoCallback

if __name__ == "__main__":
    tmp_path, fail_at = Path(sys.argv[1]), int(sys.argv[2])
    callback = StenoCallback(project="p", name="program", dir=tmp_path)
    loop = trainer(callback, tmp_path, FailAt(fail_at), max_steps=2)
    loop.train()
    assert (callback.run is None) is (loop.args.process_index > 0)
"""


def program(tmp_path, *command):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "-W", "ignore", *command, str(script), str(tmp_path)] + ["-1"] * (len(command) > 0) + ["1"] * (not command),
        check=False, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_a_program_that_an_exception_ends_has_failed(tmp_path):
    done = program(tmp_path)
    assert done.returncode == 1
    info = settled(tmp_path / "p" / "program").info
    assert info.state == "failed"
    assert "the data is bad" in info.error


def test_rank_zero_records_for_two(tmp_path):
    done = program(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == ["program"]
    book = settled(tmp_path / "p" / "program")
    assert book.series("train/loss").step.tolist() == [2]
    assert book.series("train/loss").rank.tolist() == [0]
    assert book.info.state == "finished"
