"""The demo's training: a small classifier of handwritten digits, data-parallel over a few processes."""

from __future__ import annotations

import contextlib
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

PIXELS, HIDDEN, CLASSES = 64, (1024, 512), 10
BATCH = 128
"""Images per rank and step."""
WARMUP_STEPS = 20
PEAK_RATE = 0.03
MOMENTUM = 0.9
STALL_SECS = 60.0
"""How long a rank waits for the others at the end of a step before it gives up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What all ranks agree on."""

    dir: str
    project: str
    name: str
    steps: int
    workers: int
    destinations: tuple[str, ...]
    seed: int = 0


def parameter_count() -> int:
    """Floats in the model, all layers in one vector."""
    sizes = (PIXELS, *HIDDEN, CLASSES)
    return sum(rows * columns + columns for rows, columns in itertools.pairwise(sizes))


def train(plan: Plan, rank: int, gradients: Any, barrier: Barrier, stop: Any) -> None:
    """One rank's training, start to end; what a worker process runs.

    Ctrl-C does not interrupt it: a KeyboardInterrupt inside a barrier of multiprocessing makes that barrier useless
    for all ranks, with failed assertions or an endless wait. The demo hears Ctrl-C, sets `stop`, breaks the barrier.

    Args:
        plan: the same for all ranks.
        rank: 0 … plan.workers - 1.
        gradients: shared float32 array of plan.workers rows of parameter_count(); each rank writes its own row.
        barrier: of plan.workers parties.
        stop: a shared number; not 0: the user has stopped the demo.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    import steno

    images, labels, test_images, test_labels = _load(plan, rank)
    table = np.frombuffer(gradients, np.float32).reshape(plan.workers, -1)
    model = _Model(plan.seed)
    velocity = np.zeros_like(model.flat)
    rng = np.random.default_rng((plan.seed, rank))
    config = {
        "hidden": list(HIDDEN),
        "steps": plan.steps,
        "workers": plan.workers,
        "batch": BATCH,
        "peak_rate": PEAK_RATE,
    }

    # One BLAS thread each: the ranks are the parallelism, more threads would only fight over the cores.
    with (
        contextlib.suppress(KeyboardInterrupt),
        threadpool_limits(1),
        steno.init(
            project=plan.project,
            name=plan.name,
            config=config,
            dir=plan.dir,
            destinations=list(plan.destinations),
            settings=steno.Settings(rank=rank, quiet=True),
        ) as run,
    ):
        try:
            for step in range(plan.steps):
                chosen = rng.choice(len(images), BATCH, replace=False)
                loss, accuracy, table[rank] = model.gradient(images[chosen], labels[chosen])
                barrier.wait(STALL_SECS)
                mean = table.mean(axis=0)
                # All have read the table before anyone writes the next step's gradient into it.
                barrier.wait(STALL_SECS)
                rate = _rate(step, plan.steps)
                velocity = MOMENTUM * velocity - rate * mean
                model.flat += velocity
                run.log(
                    {
                        "train/loss": loss,
                        "train/accuracy": accuracy,
                        "learning_rate": rate,
                        "gradient_norm": float(np.linalg.norm(mean)),
                    },
                    step=step,
                )
            test_loss, test_accuracy = model.score(test_images, test_labels)
            run.log({"test/loss": test_loss, "test/accuracy": test_accuracy}, step=plan.steps - 1)
        except BaseException:
            # The others must not wait for a rank that is gone.
            barrier.abort()
            if stop.value:
                raise KeyboardInterrupt from None
            raise


def _load(plan: Plan, rank: int) -> tuple[Floats, NDArray[np.int64], Floats, NDArray[np.int64]]:
    """This rank's shard of the training images, shape (n, 64) in 0..1, and the test images that all share."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(plan.seed).permutation(len(images))
    images, labels = (images[order] / 16).astype(np.float32), labels[order]
    train_count = len(images) * 4 // 5
    shard = slice(rank, train_count, plan.workers)
    return images[shard], labels[shard], images[train_count:], labels[train_count:]


def _rate(step: int, steps: int) -> float:
    """A warm-up, then a cosine down to zero."""
    if step < WARMUP_STEPS:
        return PEAK_RATE * (step + 1) / WARMUP_STEPS
    return PEAK_RATE * (1 + math.cos(math.pi * (step - WARMUP_STEPS) / max(steps - WARMUP_STEPS, 1))) / 2


class _Model:
    """A perceptron with two hidden layers; every weight is a view into `flat`. Not thread-safe."""

    def __init__(self, seed: int) -> None:
        import numpy as np

        rng = np.random.default_rng(seed)
        self.flat: Floats = np.zeros(parameter_count(), np.float32)
        self.layers = _views(self.flat)
        for weight, _ in self.layers:
            weight[:] = rng.standard_normal(weight.shape, np.float32) * math.sqrt(2 / weight.shape[0])

    def gradient(self, images: Floats, labels: NDArray[np.int64]) -> tuple[float, float, Floats]:
        """Mean cross-entropy, accuracy, and the gradient of the loss, shape (parameter_count(),)."""
        import numpy as np

        inputs, chances = self._forward(images)
        rows = np.arange(len(labels))
        loss = float(-np.log(chances[rows, labels] + 1e-12).mean())
        accuracy = float((chances.argmax(axis=1) == labels).mean())
        out: Floats = np.empty_like(self.flat)
        delta = chances
        delta[rows, labels] -= 1
        delta /= len(labels)
        for index, (weight, bias) in reversed(list(enumerate(_views(out)))):
            weight[:] = inputs[index].T @ delta
            bias[:] = delta.sum(axis=0)
            if index:
                delta = (delta @ self.layers[index][0].T) * (inputs[index] > 0)
        return loss, accuracy, out

    def score(self, images: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
        """Mean cross-entropy and accuracy."""
        import numpy as np

        _, chances = self._forward(images)
        loss = float(-np.log(chances[np.arange(len(labels)), labels] + 1e-12).mean())
        return loss, float((chances.argmax(axis=1) == labels).mean())

    def _forward(self, images: Floats) -> tuple[list[Floats], Floats]:
        """Each layer's input, and the class probabilities, shape (n, 10)."""
        import numpy as np

        inputs = [images]
        for weight, bias in self.layers[:-1]:
            inputs.append(np.maximum(inputs[-1] @ weight + bias, 0))
        weight, bias = self.layers[-1]
        scores = inputs[-1] @ weight + bias
        scores -= scores.max(axis=1, keepdims=True)
        chances = np.exp(scores)
        chances /= chances.sum(axis=1, keepdims=True)
        return inputs, chances


def _views(flat: Floats) -> list[tuple[Floats, Floats]]:
    """Weight and bias of each layer as views into one vector."""
    sizes, start, layers = (PIXELS, *HIDDEN, CLASSES), 0, []
    for rows, columns in itertools.pairwise(sizes):
        middle, end = start + rows * columns, start + rows * columns + columns
        layers.append((flat[start:middle].reshape(rows, columns), flat[middle:end]))
        start = end
    return layers
