"""`StenoCallback` inside real Keras 3, on torch and on JAX, each in a process of its own.

Runs where Keras is installed: scripts/test-integrations keras.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from framework_runs import settled

import under_test

if importlib.util.find_spec("keras") is None:
    pytest.skip("scripts/test-integrations keras", allow_module_level=True)

pytestmark = pytest.mark.timeout(300)
BACKENDS = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
# Keras chooses its backend when it is imported, and JAX should not come to life beside other tests.
PRELUDE = """
import sys, threading
from pathlib import Path

import keras
import numpy as np
from framework_runs import settled, with_points

import steno
from steno.integrations.keras import StenoCallback

where = Path(sys.argv[1])
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).normal(size=(32, 1)).astype("float32")
y = 2 * x


def build():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="line")
    model.compile(keras.optimizers.SGD(0.1), loss="mse")
    return model


class Seen(keras.callbacks.Callback):
    async_safe = True

    def __init__(self):
        super().__init__()
        self.batches, self.epochs, self.threads = [], [], set()

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, logs["loss"]))
        self.threads.add(threading.current_thread() is threading.main_thread())

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(dict(logs))


class FailAt(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise ValueError("the data is bad")
"""


def run(tmp_path, backend, code, *, wanted=0):
    script = tmp_path / "program.py"
    script.write_text(PRELUDE + code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(tmp_path)],
        check=False, capture_output=True, text=True, timeout=280,
        env={**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path), "PYTHONPATH": under_test.import_path(*Path(__file__).parents[:2])},
    )  # fmt: skip
    assert done.returncode == wanted, done.stdout + done.stderr
    return done


@pytest.mark.parametrize("backend", BACKENDS)
def test_fit_and_evaluate_are_one_run(tmp_path, backend):
    run(
        tmp_path,
        backend,
        """
callback, seen = StenoCallback(project="line", name="one", dir=where, config={"mine": 1}), Seen()
assert callback.run is None
model = build()
fit = dict(batch_size=8, verbose=0, validation_data=(x, y), callbacks=[callback, seen])
model.fit(x, y, epochs=2, **fit)
book = with_points(where / "line" / "one", "batch/loss", 8)
loss = book.series("batch/loss")
assert loss.step.tolist() == list(range(8)), loss.step
seen.batches[:4] = sorted(seen.batches[:4])
seen.batches[4:] = sorted(seen.batches[4:])
assert loss.value.tolist() == [value for _, value in seen.batches]
assert book.info.state == "running"
model.fit(x, y, epochs=4, initial_epoch=2, **fit)
model.evaluate(x, y, verbose=0, callbacks=[callback])
assert seen.threads == {False}, "batches are told on other threads, training does not wait"
callback.finish()
assert callback.run.ended
book = settled(where / "line" / "one")
assert book.series("batch/loss").step.tolist() == list(range(16))
epochs = book.series("epoch/loss")
assert epochs.step.tolist() == [3, 7, 11, 15]
assert epochs.value.tolist() == [found["loss"] for found in seen.epochs]
assert book.series("epoch/val_loss").value.tolist() == [found["val_loss"] for found in seen.epochs]
assert epochs.value[-1] < epochs.value[0]
assert book.series("epoch/epoch").value.tolist() == [0, 1, 2, 3]
assert np.allclose(book.series("epoch/learning_rate").value, 0.1)
assert book.series("test/loss").step.tolist() == [15]
assert set(epochs.record.tolist()) == set(book.series("epoch/val_loss").record.tolist()), "one record each"
config = book.info.config
assert (config["mine"], config["model"], config["fit"]["epochs"]) == (1, {"name": "line", "parameters": 2}, 4), config
assert abs(config["optimizer"]["learning_rate"] - 0.1) < 1e-6
assert book.info.state == "finished"
""",
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exception_is_the_runs_failure(tmp_path, backend):
    done = run(
        tmp_path,
        backend,
        """
try:
    with StenoCallback(project="line", name="with", dir=where) as callback:
        build().fit(x, y, epochs=2, verbose=0, callbacks=[callback, FailAt()])
except ValueError:
    pass
assert settled(where / "line" / "with").info.state == "failed"
callback = StenoCallback(project="line", name="program", dir=where)
build().fit(x, y, epochs=2, verbose=0, callbacks=[callback, FailAt()])
""",
        wanted=1,
    )
    assert "the data is bad" in done.stderr
    info = settled(tmp_path / "line" / "program").info
    assert info.state == "failed"
    assert "the data is bad" in info.error


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_callers_run_and_a_fit_in_a_new_process(tmp_path, backend):
    run(
        tmp_path,
        backend,
        """
with steno.init(project="mine", name="given", dir=where) as run:
    callback = StenoCallback(batches=False)
    build().fit(x, y, epochs=1, batch_size=8, verbose=0, callbacks=[callback])
    callback.finish()
    assert callback.run is run and not run.ended
    StenoCallback(run)
book = settled(where / "mine" / "given")
assert book.series("epoch/loss").step.tolist() == [3]
assert "batch/loss" not in book.keys()
with StenoCallback(project="mine", name="given", dir=where, resume=True) as callback:
    build().fit(x, y, initial_epoch=1, epochs=2, batch_size=8, verbose=0, callbacks=[callback])
book = settled(where / "mine" / "given")
assert book.series("epoch/loss", attempt="all").step.tolist() == [3, 7], "steps go on where the epoch says"
assert book.series("batch/loss").step.tolist() == [4, 5, 6, 7]
""",
    )
